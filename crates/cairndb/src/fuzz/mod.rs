//! Fuzz targets: one function for each reader of bytes from outside, to be thrown any bytes at.
//!
//! A target takes bytes and returns, or it has found a bug. It asserts more than that nothing panics: what can be read
//! can be written and read again, a walk backward is the walk forward turned round, a search finds what a walk meets,
//! and what a check finds sound the engine can work with.
//!
//! Checksums would keep most bytes from ever reaching a parser. So a target *signs* what it is given: it puts the right
//! checksums where the bytes say that checksums stand. A checksum is no seal against an enemy, and the parsers must do
//! without it.
//!
//! # Where it sits
//! Below everything, behind the feature `fuzz`, and hidden: it opens rooms that users never enter. `fuzz/` at the
//! repository's root drives the targets with libFuzzer, `tests/it/hostile.rs` with the inputs that are kept.

mod sign;
mod lengths;
mod parsers;
mod seeds;
mod directory;

pub use directory::{Driven, drive, read_input};
pub use lengths::lying_lengths;
pub use parsers::{block, filter, lz4, manifest, roadmap_log, table, wal};
pub use seeds::{bases, seeds};
pub use sign::sign;

use std::collections::BTreeMap;

use cairndb_storage::{FileName, Memory, Storage};

use crate::options::Options;
use crate::sync::{Arc, AtomicU64, Ordering};

/// A small budget: everything happens soon.
const BUDGET_BYTES: u64 = 64 << 10;

/// The bytes of a directory.
pub type Files = BTreeMap<FileName, Vec<u8>>;

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// Every target, by the name that it has in `fuzz/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("wal", wal),
    ("manifest", manifest),
    ("block", block),
    ("table", table),
    ("filter", filter),
    ("lz4", lz4),
    ("directory", directory),
    ("roadmap_log", roadmap_log),
];

/// A whole directory of hostile files: opened in every way, read, checked, written, compacted, copied, opened again.
pub fn directory(input: &[u8]) {
    drive(&read_input(input));
}

/// A storage that holds these files.
fn memory_of(files: &Files) -> Memory {
    let memory = Memory::default();
    for (name, bytes) in files {
        let (_, file) = memory.create("fuzz", name.kind, name.number - 1).expect("every name is free");
        file.append("fuzz", 0, bytes).expect("there is memory");
    }
    memory
}

/// One file in a storage of its own.
fn file_of(name: FileName, bytes: &[u8]) -> Arc<dyn cairndb_storage::File> {
    let memory = memory_of(&[(name, bytes.to_vec())].into());
    memory.open("fuzz", name).expect("it was just put there")
}

/// Options under which every run is the same.
fn options(first_id: u64) -> Options {
    let next = AtomicU64::new(first_id);
    let ids = move || u128::from(next.fetch_add(1, Ordering::Relaxed));
    let options = Options::new(Arc::new(|| 1 << 40), Arc::new(ids));
    Options { memory_budget_bytes: BUDGET_BYTES, open_files_max: 4, ..options }
}
