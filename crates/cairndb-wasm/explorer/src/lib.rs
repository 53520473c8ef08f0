//! Explorer: a database on a page, as bytes beside what they say, step by step, and crashed.
//!
//! A page gives the files of a directory to a [`Session`], which keeps them as they are and works on a copy: a disk in
//! memory that may lie. What the page shows comes from here as JSON; `page/` draws it and knows nothing of the format.
//! The engine that makes the steps is the one that everybody runs.
//!
//! # Where it sits
//! On the engine with its feature `dissect`, and on the storage crate's lying disk. The page's code in `page/` is the only
//! caller; natively the tests are.

// In reading order, which blank lines keep: a module uses only those above it.
mod told;

mod recorder;

mod oracle;

mod session;

mod crash;

#[cfg(target_family = "wasm")]
mod page;

pub use session::{Session, Verb};
