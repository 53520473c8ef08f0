//! The engine from outside.

mod backup;
mod common;
mod concurrency;
mod damage;
mod limits;
mod model;
mod replay;
mod scripts;
mod smoke;
