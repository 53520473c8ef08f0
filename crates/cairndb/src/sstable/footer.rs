//! Footer: the last bytes of a table, from which everything else in it is found.
//!
//! # On disk
//! ```text
//! | index | filter | range deletes | bounds |: handles, each offset u64, len u32
//! | entries | deletes | older | range deletes | expiring | expiry min | expiry max |: u64 each
//! | seq min | seq max | data len | stale len | expiring len | entry len max |: u64 each
//! | file hash u64 | crc u32 | magic |
//! ```
//! A handle of length 0 means that there is no such block. The hash covers every byte before the footer, the crc the
//! footer up to itself. Agrees with FORMAT.md, "Footer".

use cairndb_storage::FileName;

use super::TableCounts;
use super::block::BlockHandle;
use crate::coding::{Decoder, Place};
use crate::error::{Error, Result};
use crate::header::MAGIC_SSTABLE;

/// The length of a footer, in bytes. FORMAT.md, "Constants".
pub(crate) const FOOTER_LEN: usize = 172;

/// The bytes before the crc.
const CHECKED_LEN: usize = FOOTER_LEN - 12;

/// A table's footer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) index: BlockHandle,
    pub(crate) filter: BlockHandle,
    pub(crate) range_deletes: BlockHandle,
    pub(crate) bounds: BlockHandle,
    pub(crate) counts: TableCounts,
    pub(crate) hash: u64,
}

impl Footer {
    /// The footer as it is to stand at `offset` of the file at `place`.
    pub(crate) fn encode(&self, place: Place, offset: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_LEN);
        for handle in [self.index, self.filter, self.range_deletes, self.bounds] {
            out.extend_from_slice(&handle.offset.to_le_bytes());
            out.extend_from_slice(&handle.len.to_le_bytes());
        }
        for field in self.counts.to_fields() {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.hash.to_le_bytes());
        let crc = place.checksum(offset, &[&out]);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(MAGIC_SSTABLE);
        assert_eq!(out.len(), FOOTER_LEN);
        out
    }

    /// Errors: `Corrupt`, also for a handle that points outside the file's blocks.
    pub(crate) fn decode(bytes: &[u8], place: Place, offset: u64, name: FileName) -> Result<Footer> {
        let corrupt = |what: &str| Error::corrupt(name, offset, what);
        if bytes.len() != FOOTER_LEN || &bytes[FOOTER_LEN - 8..] != MAGIC_SSTABLE {
            return Err(corrupt("the magic that ends a table is not there"));
        }
        if Decoder::at(bytes, CHECKED_LEN).u32() != Some(place.checksum(offset, &[&bytes[..CHECKED_LEN]])) {
            return Err(corrupt("the footer does not fit its checksum"));
        }
        let footer = Footer::take(bytes).ok_or_else(|| corrupt("the footer is short"))?;
        let inside = |handle: &BlockHandle| {
            handle.offset.checked_add(u64::from(handle.len)).is_some_and(|end| end <= offset)
        };
        if ![footer.index, footer.filter, footer.range_deletes, footer.bounds].iter().all(inside) {
            return Err(corrupt("the footer points outside the file"));
        }
        Ok(footer)
    }

    fn take(bytes: &[u8]) -> Option<Footer> {
        let mut from = Decoder::new(bytes);
        let mut handle = || Some(BlockHandle { offset: from.u64()?, len: from.u32()? });
        let (index, filter, range_deletes, bounds) = (handle()?, handle()?, handle()?, handle()?);
        let mut fields = [0; TableCounts::FIELDS];
        for field in &mut fields {
            *field = from.u64()?;
        }
        let hash = from.u64()?;
        Some(Footer { index, filter, range_deletes, bounds, counts: TableCounts::from_fields(fields), hash })
    }
}
