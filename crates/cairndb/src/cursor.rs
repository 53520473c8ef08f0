//! Cursor: a position over sorted entries.
//!
//! Memtables, blocks, SSTables, levels and merges of them all are walked in one way. A cursor stands on an entry or
//! on none. It is sought to a place and then walked in one direction: forward after [`Cursor::seek`], backward after
//! [`Cursor::seek_before`]; who wants to turn seeks again from where it stands. That rule spares every cursor the code
//! for turning round, which is where such code goes wrong.
//!
//! # Where it sits
//! On `key`; one of the engine's two traits. It is not Rust's `Iterator`: it lends its entry and copies nothing.

use crate::error::Result;
use crate::key::{EntryRef, SeqNo, Value};

/// A position over sorted entries, in the order of [`crate::key::compare`].
pub(crate) trait Cursor: Send {
    /// Goes to the first entry at or behind (`key`, `seq`); with `SeqNo::MAX`, to the newest entry of `key` or behind.
    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()>;

    /// Goes to the last entry whose key lies before `key`.
    fn seek_before(&mut self, key: &[u8]) -> Result<()>;

    /// Goes one entry on.
    ///
    /// Requires: the cursor stands on an entry that it came to forward.
    fn next(&mut self) -> Result<()>;

    /// Goes one entry back.
    ///
    /// Requires: the cursor stands on an entry that it came to backward.
    fn prev(&mut self) -> Result<()>;

    /// Whether it stands on an entry.
    fn stands(&self) -> bool {
        self.entry().is_some()
    }

    /// The entry it stands on.
    fn entry(&self) -> Option<EntryRef<'_>>;

    /// That entry's value, to keep. A cursor over blocks may share the block instead of copying.
    fn value(&self) -> Value {
        Value::from(self.entry().map_or(&[][..], |entry| entry.value))
    }
}
