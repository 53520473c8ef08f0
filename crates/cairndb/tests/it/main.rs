//! The engine from outside.

mod backup;
mod common;
mod concurrency;
mod model;
mod replay;
mod scripts;
mod smoke;
