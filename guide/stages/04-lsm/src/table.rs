//! Table: a sorted file of records that never changes again (an SSTable).
//!
//! A `get` asks the filter whether the key may be here at all, finds the one block that it could be in by a binary
//! search over the blocks' first keys, and reads that block. So it reads about 4 KiB however large the table is.
//!
//! # On disk
//! ```text
//! | block | block | ... | index | filter | footer |
//! block:   records in the order of their keys, until they are 4 KiB long or longer
//! index:   for each block a record: its first key -> offset u64, length u64
//! filter:  a record: "filter" -> the bits
//! footer:  a record: "footer" -> offset of the index u64, offset of the filter u64
//! ```
//! All of it is records as in the log, so all of it has checksums.
//!
//! # Why this way
//! The index is sparse, a key for each block and not for each record, so it is some forty times shorter than the table.
//! The filter is Bloom's ("Space/Time Trade-offs in Hash Coding with Allowable Errors", 1970): with ten bits and seven
//! probes for each key it sends one absent key in a hundred to the disk.

use std::io;
use std::sync::Arc;

use cairndb_storage::{File, FileKind, FileName, Storage};

use crate::record::{self, Record};

/// A block is full from this length on, in bytes.
const BLOCK_LEN: usize = 4 << 10;

/// Bits of the filter for each key, and how many of them each key sets.
const FILTER_BITS: usize = 10;
const FILTER_PROBES: u64 = 7;

/// A key, and its value or that it is deleted.
pub(crate) type Entry = (Vec<u8>, Option<Vec<u8>>);

/// Entries in the order of their keys, each key once.
pub(crate) type Entries<'a> = Box<dyn Iterator<Item = io::Result<Entry>> + 'a>;

/// A table that can be read.
pub(crate) struct Table {
    /// The number in its file's name.
    pub(crate) number: u64,
    file: Arc<dyn File>,
    blocks: Vec<Block>,
    filter: Vec<u8>,
}

/// Where a block is.
struct Block {
    first_key: Vec<u8>,
    offset: u64,
    len: u64,
}

impl Table {
    /// Writes a table with these entries, above the number `above`, and syncs it; its name is left to sync.
    ///
    /// # Errors
    /// What `entries` say; what the disk says.
    pub(crate) fn write(storage: &dyn Storage, above: u64, entries: Entries<'_>) -> io::Result<Table> {
        let (number, file) = storage.create("table.create", FileKind::SsTable, above)?;
        let (mut end, mut block, mut blocks, mut hashes) = (0, Vec::new(), Vec::<Block>::new(), Vec::new());
        let mut append = |bytes: &[u8]| {
            let at = end;
            end += bytes.len() as u64;
            file.append("table.append", at, bytes).map(|()| at)
        };
        let mut first_key = None;
        let mut entries = entries.peekable();
        while let Some(entry) = entries.next() {
            let (key, value) = entry?;
            hashes.push(hash(&key));
            block.extend(record::encode(&key, value.as_deref())?);
            first_key.get_or_insert(key);
            if block.len() >= BLOCK_LEN || entries.peek().is_none() {
                let (offset, len) = (append(&block)?, block.len() as u64);
                blocks.push(Block { first_key: first_key.take().unwrap_or_default(), offset, len });
                block.clear();
            }
        }
        let mut index = Vec::new();
        for block in &blocks {
            let place = [block.offset.to_le_bytes(), block.len.to_le_bytes()].concat();
            index.extend(record::encode(&block.first_key, Some(&place))?);
        }
        let filter = filter_of(&hashes);
        let index_at = append(&index)?;
        let filter_at = append(&record::encode(b"filter", Some(&filter))?)?;
        append(&footer(index_at, filter_at)?)?;
        file.sync("table.sync")?;
        Ok(Table { number, file, blocks, filter })
    }

    /// Opens the table with this number.
    ///
    /// # Errors
    /// `InvalidData` if it is damaged; what the disk says.
    pub(crate) fn open(storage: &dyn Storage, number: u64) -> io::Result<Table> {
        let file = storage.open("table.open", FileName { kind: FileKind::SsTable, number })?;
        let mut table = Table { number, file, blocks: Vec::new(), filter: Vec::new() };
        let len = table.file.len("table.len")?;
        let footer_at = len.saturating_sub(footer(0, 0)?.len() as u64);
        let places = table.read(footer_at, len)?.value.unwrap_or_default();
        let (Some(mut at), Some(filter_at)) = (number_at(&places, 0), number_at(&places, 8)) else {
            return Err(table.damaged(footer_at));
        };
        while at < filter_at {
            let record = table.read(at, filter_at)?;
            let place = record.value.unwrap_or_default();
            let (Some(offset), Some(len)) = (number_at(&place, 0), number_at(&place, 8)) else {
                return Err(table.damaged(at));
            };
            table.blocks.push(Block { first_key: record.key, offset, len });
            at += record.len;
        }
        table.filter = table.read(filter_at, footer_at)?.value.unwrap_or_default();
        Ok(table)
    }

    /// What the table says of `key`, if anything: a value, or that it is deleted.
    ///
    /// # Errors
    /// `InvalidData` if it is damaged; what the disk says.
    pub(crate) fn get(&self, key: &[u8]) -> io::Result<Option<Option<Vec<u8>>>> {
        if !may_contain(&self.filter, hash(key)) {
            return Ok(None);
        }
        let behind = self.blocks.partition_point(|block| block.first_key.as_slice() <= key);
        let Some(block) = behind.checked_sub(1) else { return Ok(None) };
        let found = self.block(block)?.into_iter().find(|(found, _)| found == key);
        Ok(found.map(|(_, value)| value))
    }

    /// All entries, of which one block is in memory at a time.
    pub(crate) fn entries(&self) -> Entries<'_> {
        let blocks = (0..self.blocks.len()).map(|block| self.block(block));
        Box::new(blocks.flat_map(|block| match block {
            Ok(entries) => entries.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        }))
    }

    /// The entries of a block.
    fn block(&self, index: usize) -> io::Result<Vec<Entry>> {
        let Block { offset, len, .. } = self.blocks[index];
        let (mut at, mut entries) = (offset, Vec::new());
        let bytes = record::read_bytes(self.file.as_ref(), offset, offset + len)?;
        while at < offset + len {
            let record = bytes.get((at - offset) as usize..).and_then(record::decode);
            let Record { key, value, len } = record.ok_or_else(|| self.damaged(at))?;
            entries.push((key, value));
            at += len;
        }
        Ok(entries)
    }

    fn read(&self, at: u64, end: u64) -> io::Result<Record> {
        record::read(self.file.as_ref(), at, end)?.ok_or_else(|| self.damaged(at))
    }

    fn damaged(&self, at: u64) -> io::Error {
        let name = FileName { kind: FileKind::SsTable, number: self.number };
        io::Error::new(io::ErrorKind::InvalidData, format!("{name}: the record at {at} is damaged"))
    }
}

fn footer(index_at: u64, filter_at: u64) -> io::Result<Vec<u8>> {
    record::encode(b"footer", Some(&[index_at.to_le_bytes(), filter_at.to_le_bytes()].concat()))
}

/// The number that stands at `at`.
fn number_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|number| u64::from_le_bytes(*number))
}

/// FNV-1a, and a last mixing, so that the high half is as good as the low one.
fn hash(key: &[u8]) -> u64 {
    let hash = key.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    });
    (hash ^ hash >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The bits that a key with this hash sets in a filter of `len` bytes.
fn probes(hash: u64, len: usize) -> impl Iterator<Item = (usize, u8)> {
    let (first, step, bits) = (hash >> 32, hash & 0xFFFF_FFFF | 1, 8 * len as u64);
    (0..FILTER_PROBES)
        .map(move |probe| (first + probe * step) % bits)
        .map(|bit| (bit as usize / 8, 1 << (bit % 8)))
}

fn filter_of(hashes: &[u64]) -> Vec<u8> {
    let mut filter = vec![0; (hashes.len() * FILTER_BITS).div_ceil(8).max(1)];
    for hash in hashes {
        for (byte, bit) in probes(*hash, filter.len()) {
            filter[byte] |= bit;
        }
    }
    filter
}

fn may_contain(filter: &[u8], hash: u64) -> bool {
    !filter.is_empty() && probes(hash, filter.len()).all(|(byte, bit)| filter[byte] & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_knows_every_key_and_few_others() {
        let keys = |from: u64| (from..from + 10_000).map(|key| hash(&key.to_le_bytes()));
        let filter = filter_of(&keys(0).collect::<Vec<_>>());
        assert!(keys(0).all(|hash| may_contain(&filter, hash)));
        let wrong = keys(10_000).filter(|hash| may_contain(&filter, *hash)).count();
        assert!(wrong < 200, "{wrong} of 10,000 absent keys");
    }
}
