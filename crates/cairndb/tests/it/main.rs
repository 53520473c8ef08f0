//! The engine from outside.

mod model;
mod scripts;
mod smoke;
