//! The simulation from outside.

mod app;
mod matrix;
mod parts;
mod rot;
