//! The simulation from outside.

mod app;
mod parts;
mod rot;
