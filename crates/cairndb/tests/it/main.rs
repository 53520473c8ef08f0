//! The engine from outside.

mod model;
mod smoke;
