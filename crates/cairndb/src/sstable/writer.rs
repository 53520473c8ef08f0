//! Writer: entries in order become a table, front to back, without going back.
//!
//! What it keeps in memory is one block, the index so far, eight bytes a key for the filter, and up to a write's worth
//! of finished blocks.

use cairndb_storage::{File, FileKind, FileName};
use xxhash_rust::xxh3::Xxh3;

use super::block::{BlockBuilder, BlockHandle, Packer, RESTART_INTERVAL, encode_bounds, seal_block};
use super::filter::Filter;
use super::footer::Footer;
use super::{TableCounts, TableMeta};
use crate::error::{Error, Result};
use crate::files::sync_file;
use crate::header::{FEATURE_LZ4, Header};
use crate::key::{EntryRef, Kind, SeqNo, hash_key, successor};
use crate::options::Compression;
use crate::range_delete::RangeDeletes;
use crate::sync::Arc;

/// When a data block is full, in bytes: the page of the operating system's cache, and the roadmap's size.
const BLOCK_LEN: usize = 4 << 10;
/// How much is gathered before it is written, in bytes.
const WRITE_LEN: usize = 256 << 10;

/// A table that is being written.
pub(crate) struct TableWriter {
    file: Arc<dyn File>,
    header: Header,
    packer: Option<Packer>,
    block: BlockBuilder,
    index: BlockBuilder,
    /// The last entry's key and sequence number.
    last: Option<(Vec<u8>, SeqNo)>,
    /// The block that was just finished waits for the next key, which says where its separator can be cut.
    waiting: Option<BlockHandle>,
    hashes: Vec<u64>,
    counts: TableCounts,
    /// Bytes that are finished but not yet written, and where they go.
    out: Vec<u8>,
    written: u64,
    hasher: Xxh3,
    start: Option<Vec<u8>>,
}

impl TableWriter {
    /// Begins table `number` in an empty file. No entry's sequence number is below `base_seq`.
    pub(crate) fn new(
        file: Arc<dyn File>,
        number: u64,
        id: u128,
        manifest: u64,
        base_seq: SeqNo,
        compression: Compression,
    ) -> TableWriter {
        let features = if compression == Compression::Lz4 { FEATURE_LZ4 } else { 0 };
        let name = FileName { kind: FileKind::SsTable, number };
        let header = Header { name, features, manifest, id, own: [base_seq, 0, 0] };
        TableWriter {
            file,
            header,
            packer: Packer::new(compression),
            block: BlockBuilder::new(RESTART_INTERVAL, base_seq),
            index: BlockBuilder::new(1, 0),
            last: None,
            waiting: None,
            hashes: Vec::new(),
            counts: TableCounts::default(),
            out: header.encode(),
            written: 0,
            hasher: Xxh3::new(),
            start: None,
        }
    }

    pub(crate) fn name(&self) -> FileName {
        self.header.name
    }

    /// How long the file is so far, about.
    pub(crate) fn len(&self) -> u64 {
        self.written + self.out.len() as u64 + self.block.len() as u64
    }

    /// Adds an entry.
    ///
    /// Requires: it lies behind the last one, and is no range delete.
    pub(crate) fn add(&mut self, entry: EntryRef<'_>) -> Result<()> {
        assert_ne!(entry.kind, Kind::RangeDelete, "range deletes come at the end");
        let same_key = self.last.as_ref().is_some_and(|(key, _)| key == entry.key);
        debug_assert!(
            self.last.as_ref().is_none_or(|(key, seq)| {
                crate::key::compare((key, *seq), (entry.key, entry.seq)) == std::cmp::Ordering::Less
            }),
            "I1"
        );
        if self.block.would_pass(entry, BLOCK_LEN) {
            self.finish_block()?;
        }
        if let Some(handle) = self.waiting.take() {
            self.index_block(handle, Some(entry.key));
        }
        self.block.add(entry);
        if !same_key {
            self.hashes.push(hash_key(entry.key));
        }
        self.counts.count(entry, same_key);
        self.start.get_or_insert_with(|| entry.key.to_vec());
        match &mut self.last {
            Some((key, seq)) => {
                key.clear();
                key.extend_from_slice(entry.key);
                *seq = entry.seq;
            }
            None => self.last = Some((entry.key.to_vec(), entry.seq)),
        }
        Ok(())
    }

    /// Writes what is left, and syncs the file. Its name is the caller's to sync. The table's bounds hold all entries
    /// and all of `range_deletes`.
    ///
    /// Requires: there is an entry or a range delete.
    pub(crate) fn finish(mut self, range_deletes: &RangeDeletes) -> Result<TableMeta> {
        if !self.block.is_empty() {
            self.finish_block()?;
        }
        if let Some(handle) = self.waiting.take() {
            self.index_block(handle, None);
        }
        let (start, end) = self.bounds(range_deletes);
        self.counts.count_range_deletes(range_deletes);
        let has_entries = self.counts.entries > 0;
        let filter =
            if has_entries { self.seal(&Filter::build(&self.hashes)) } else { BlockHandle::default() };
        let index = self.index.finish();
        let index = if has_entries { self.seal(&index) } else { BlockHandle::default() };
        let range_delete_handle = if range_deletes.is_empty() {
            BlockHandle::default()
        } else {
            let mut block = Vec::new();
            range_deletes.encode(&mut block);
            self.seal(&block)
        };
        let bounds = self.seal(&encode_bounds(&start, &end));
        self.write()?;
        let hash = self.hasher.digest();
        let footer =
            Footer { index, filter, range_deletes: range_delete_handle, bounds, counts: self.counts, hash };
        self.out = footer.encode(self.header.place(), self.written);
        self.write()?;
        sync_file(self.file.as_ref(), self.name(), "sstable.sync")?;
        let (number, id, len) = (self.header.name.number, self.header.id, self.written);
        Ok(TableMeta { number, id, len, hash, start, end, counts: self.counts })
    }

    fn bounds(&self, range_deletes: &RangeDeletes) -> (Vec<u8>, Vec<u8>) {
        let last_end = self.last.as_ref().map(|(key, _)| successor(key));
        let first = range_deletes.iter().next().map(|fragment| fragment.start.to_vec());
        let last = range_deletes.iter().last().map(|fragment| fragment.end.to_vec());
        let start = self.start.iter().cloned().chain(first).min();
        let end = last_end.into_iter().chain(last).max();
        (start.expect("a table is never empty"), end.expect("a table is never empty"))
    }

    fn finish_block(&mut self) -> Result<()> {
        let block = self.block.finish();
        let offset = self.offset();
        self.waiting =
            Some(seal_block(&mut self.out, self.header.place(), offset, self.packer.as_mut(), &block));
        if self.out.len() >= WRITE_LEN { self.write() } else { Ok(()) }
    }

    /// Puts the block at `handle` into the index, under the shortest separator from the next block's first key.
    fn index_block(&mut self, handle: BlockHandle, next_key: Option<&[u8]>) {
        let (last_key, last_seq) = self.last.as_ref().expect("a finished block has entries");
        let short = next_key.and_then(|next| shorter_separator(last_key, next));
        let (key, seq) = short.as_ref().map_or((last_key, *last_seq), |short| (short, 0));
        let value = &handle.encode();
        self.index.add(EntryRef { key, seq, kind: Kind::Put, expires_at_ms: 0, value });
    }

    fn seal(&mut self, block: &[u8]) -> BlockHandle {
        let offset = self.offset();
        seal_block(&mut self.out, self.header.place(), offset, None, block)
    }

    fn offset(&self) -> u64 {
        self.written + self.out.len() as u64
    }

    fn write(&mut self) -> Result<()> {
        self.hasher.update(&self.out);
        self.file.append("sstable.append", self.written, &self.out).map_err(|e| {
            Error::io(format_args!("appending to {} at offset {}", self.name(), self.written), e)
        })?;
        self.written += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }
}

/// A key strictly between `a` and `b` that is shorter than `a`, if cutting `a` where the two part gives one.
fn shorter_separator(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let at = a.iter().zip(b).position(|(a, b)| a != b)?;
    if at + 1 >= a.len() || a[at] + 1 >= b[at] {
        return None;
    }
    let mut separator = a[..=at].to_vec();
    separator[at] += 1;
    Some(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_is_cut_where_two_keys_part() {
        let cut = |a: &str, b: &str| shorter_separator(a.as_bytes(), b.as_bytes());
        assert_eq!(cut("basalt", "granite"), Some(b"c".to_vec()));
        assert_eq!(cut("granite/1", "granite/9"), None, "no shorter than the key");
        assert_eq!(cut("granite/10", "granite/9"), Some(b"granite/2".to_vec()));
        assert_eq!(cut("chalk", "dolomite"), None, "none lies between c and d that begins with neither");
        assert_eq!(cut("gran", "granite"), None);
    }
}
