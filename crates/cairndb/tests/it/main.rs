//! The engine from outside.

mod smoke;
