//! Cairn in a browser: the same engine over the same bytes.
//!
//! `Opfs` is a storage of the files that browsers give a page, opened for synchronous use in a dedicated worker. `Engine` is
//! what JavaScript calls; the npm package in `npm/` puts a page's promises and other tabs in front of it. The directory
//! that results is one that `cairn` opens.
#![cfg(target_family = "wasm")]

// In reading order, which blank lines keep: a module uses only those above it.
mod js;

mod memory;

mod opfs;

mod tar;

mod wire;

mod engine;

pub use engine::{Engine, open_on};
pub use memory::{PAGE_LEN, take_memory};
pub use opfs::{OpenError, Opfs};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cairndb_storage::{Memory, conformance};
    use wasm_bindgen_test::wasm_bindgen_test;

    /// In node, where there is nothing but memory.
    #[wasm_bindgen_test]
    fn memory_is_a_storage_as_every_other() {
        conformance::run(&mut || Arc::new(Memory::default()));
    }
}
