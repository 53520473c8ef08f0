//! The engine in a browser: what every storage must do, and the same script with the same bytes as natively.
//!
//! `cargo xtask browser` runs all of it. Natively, this binary runs the script and leaves what it wrote in the target folder;
//! compiled for a browser it holds that, and the bytes must be the same there. A browser's part runs in a dedicated worker of a
//! real browser, over real files.

mod script;

#[cfg(not(target_family = "wasm"))]
mod native;

#[cfg(target_family = "wasm")]
mod browser;
