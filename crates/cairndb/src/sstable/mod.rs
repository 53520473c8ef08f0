//! SSTable: one immutable sorted file of entries.
//!
//! A memtable that is flushed, and tables that are compacted, become a file that is written once, front to back, and
//! then only read and removed. Its entries are cut into blocks of about 4 KiB, each with a checksum; a sparse index
//! holds one separator per block, so that a lookup reads one block; a Bloom filter spares most lookups for keys that
//! are not there even that.
//!
//! # Where it sits
//! On `header`, `coding`, `cursor`, `cache` and `range_delete`; `version` arranges tables in levels.
//!
//! # On disk
//! ```text
//! | header | data block | data block | ... | filter | index | range deletes | bounds | footer |
//! ```
//! The header's own fields are: base sequence number, 0, 0. Agrees with FORMAT.md, "SSTables".
//!
//! # Invariants
//! - I1. Entries are in the order of [`crate::key::compare`] and no two are equal in it.
//! - I2. `start <= key < end` for each entry's key, and each range delete lies within `start..end`.
//!
//! # When things break
//! A bad block is `Corrupt` with the file and the block's offset, when it is read. The manifest holds each table's
//! length and hash, so that a whole table in another one's stead is found out too.

mod hints;
mod block;
mod filter;
mod footer;
mod index;
mod writer;
mod reader;
mod verify;
mod salvage;

#[cfg(any(feature = "fuzz", feature = "dissect"))]
pub(crate) use block::PACKING_LZ4;
pub(crate) use block::{BLOCK_TRAILER_LEN, Block, BlockCursor, BlockHandle, read_block};
#[cfg(feature = "fuzz")]
pub(crate) use block::{BlockBuilder, Packer, seal_block};
#[cfg(feature = "dissect")]
pub(crate) use block::{PACKING_NONE, unpack};
#[cfg(feature = "dissect")]
pub(crate) use filter::FILTER_LINE_LEN;
#[cfg(any(feature = "fuzz", feature = "dissect"))]
pub(crate) use filter::Filter;
pub(crate) use footer::{FOOTER_LEN, Footer};
pub(crate) use reader::{Keep, Table, TableCursor, TableFiles, decode_bounds};
pub use salvage::{EntryPlace, Loss};
pub(crate) use salvage::{Losses, Salvage, SalvageCursor, runs_of};
pub(crate) use verify::{PROBLEMS_MAX, problems_of};
pub(crate) use writer::TableWriter;

use crate::coding::{Decoder, put_slice, put_varint};
use crate::key::{EntryRef, Kind, SEQ_LIMIT, SeqNo};
use crate::range_delete::RangeDeletes;

/// What is known of a table without opening it: what the manifest records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableMeta {
    pub(crate) number: u64,
    /// The incarnation that wrote it: the id in its header.
    pub(crate) id: u128,
    /// The file's length in bytes.
    pub(crate) len: u64,
    /// The hash of all bytes before the footer.
    pub(crate) hash: u64,
    /// No stored key lies before this one.
    pub(crate) start: Vec<u8>,
    /// All stored keys, and the ends of all range deletes, lie before this one, or end at it.
    pub(crate) end: Vec<u8>,
    pub(crate) counts: TableCounts,
}

/// Makes [`TableCounts`], and its fields in the order in which they stand on disk, from one list.
macro_rules! table_counts {
    ($($(#[$doc:meta])* $field:ident = $name:literal,)*) => {
        /// What a table holds, counted: the part of the footer that decisions are made from.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct TableCounts {
            $($(#[$doc])* pub(crate) $field: u64,)*
        }

        impl TableCounts {
            pub(crate) const FIELDS: usize = Self::NAMES.len();

            /// The fields' names, for people.
            pub(crate) const NAMES: &[&str] = &[$($name),*];

            pub(crate) fn to_fields(self) -> [u64; Self::FIELDS] {
                [$(self.$field),*]
            }

            pub(crate) fn from_fields(fields: [u64; Self::FIELDS]) -> TableCounts {
                let [$($field),*] = fields;
                TableCounts { $($field),* }
            }
        }
    };
}

table_counts! {
    /// Entries in data blocks: puts and deletes.
    entries = "entries",
    deletes = "deletes",
    /// Entries that are not the newest of their key in this table.
    older = "older",
    /// Fragments of range deletes.
    range_deletes = "range deletes",
    /// Puts with an expiry, and the first and last moment at which one expires, in ms since 1970.
    expiring = "expiring",
    expiry_min_ms = "expiry min ms",
    expiry_max_ms = "expiry max ms",
    /// The first and last sequence number, range deletes included.
    seq_min = "seq min",
    seq_max = "seq max",
    /// Bytes of keys and values: of all entries, of deletes and older entries, of puts with an expiry, and of the
    /// longest entry.
    data_len = "data len",
    stale_len = "stale len",
    expiring_len = "expiring len",
    entry_len_max = "entry len max",
}

/// No count or length in a table reaches this: so much fits no file, and products of two small numbers and a count
/// stay in 64 bits.
const COUNT_LIMIT: u64 = 1 << 48;

impl TableCounts {
    /// Counts an entry; `is_older`: one of its key was counted before.
    pub(crate) fn count(&mut self, entry: EntryRef<'_>, is_older: bool) {
        let len = entry.data_len();
        self.entries += 1;
        self.older += u64::from(is_older);
        self.data_len += len;
        self.entry_len_max = self.entry_len_max.max(len);
        if is_older || entry.kind == Kind::Delete {
            self.stale_len += len;
        }
        self.deletes += u64::from(entry.kind == Kind::Delete);
        if entry.kind == Kind::PutWithExpiry {
            let at = entry.expires_at_ms;
            self.expiry_min_ms = if self.expiring == 0 { at } else { self.expiry_min_ms.min(at) };
            self.expiry_max_ms = self.expiry_max_ms.max(at);
            self.expiring += 1;
            self.expiring_len += len;
        }
        self.count_seq(entry.seq);
    }

    /// Counts the fragments of range deletes.
    pub(crate) fn count_range_deletes(&mut self, range_deletes: &RangeDeletes) {
        self.range_deletes = range_deletes.len() as u64;
        for seq in range_deletes.iter().flat_map(|fragment| fragment.seqs) {
            self.count_seq(*seq);
        }
    }

    /// Sequence numbers begin with 1, so 0 says that none was counted yet.
    fn count_seq(&mut self, seq: SeqNo) {
        self.seq_min = if self.seq_min == 0 { seq } else { self.seq_min.min(seq) };
        self.seq_max = self.seq_max.max(seq);
    }

    /// About how many bytes of puts have expired by `now_ms`, taking expiries as spread evenly from the first to the last;
    /// 0 only if none has, so that `compact` leaves none.
    pub(crate) fn expired_len(&self, now_ms: u64) -> u64 {
        if self.expiring == 0 || now_ms < self.expiry_min_ms {
            return 0;
        }
        let span = u128::from(self.expiry_max_ms - self.expiry_min_ms) + 1;
        let passed = (u128::from(now_ms - self.expiry_min_ms) + 1).min(span);
        (u128::from(self.expiring_len) * passed / span).max(1) as u64
    }

    /// Whether a table can have such counts at all.
    fn is_sane(&self) -> bool {
        let seqs = 0 < self.seq_min && self.seq_min <= self.seq_max && self.seq_max < SEQ_LIMIT;
        let counts = [self.entries, self.range_deletes, self.data_len, self.stale_len, self.expiring_len];
        let parts =
            self.deletes <= self.entries && self.older <= self.entries && self.expiring <= self.entries;
        let expiries = self.expiry_min_ms <= self.expiry_max_ms && self.entry_len_max <= self.data_len;
        seqs && parts && expiries && counts.into_iter().all(|count| count < COUNT_LIMIT)
    }
}

impl TableMeta {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.number);
        out.extend_from_slice(&self.id.to_le_bytes());
        put_varint(out, self.len);
        out.extend_from_slice(&self.hash.to_le_bytes());
        put_slice(out, &self.start);
        put_slice(out, &self.end);
        for field in self.counts.to_fields() {
            put_varint(out, field);
        }
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Option<TableMeta> {
        let (number, id, len, hash) = (from.varint()?, from.u128()?, from.varint()?, from.u64()?);
        let (start, end) = (from.slice()?.to_vec(), from.slice()?.to_vec());
        let mut fields = [0; TableCounts::FIELDS];
        for field in &mut fields {
            *field = from.varint()?;
        }
        let counts = TableCounts::from_fields(fields);
        let sane = start < end && len < COUNT_LIMIT && counts.is_sane();
        sane.then_some(TableMeta { number, id, len, hash, start, end, counts })
    }

    pub(crate) fn overlaps(&self, start: &[u8], end: &[u8]) -> bool {
        self.start.as_slice() < end && start < self.end.as_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_sums_over_entries() {
        let entry = |kind, seq, expires_at_ms, value: &'static [u8]| EntryRef {
            key: b"key",
            seq,
            kind,
            expires_at_ms,
            value,
        };
        let mut counts = TableCounts::default();
        counts.count(entry(Kind::Put, 9, 0, b"a value"), false);
        counts.count(entry(Kind::Put, 7, 0, b"old"), true);
        counts.count(entry(Kind::Delete, 8, 0, b""), false);
        counts.count(entry(Kind::PutWithExpiry, 5, 200, b"late"), true);
        counts.count(entry(Kind::PutWithExpiry, 6, 100, b"soon"), false);
        let expected = TableCounts {
            entries: 5,
            deletes: 1,
            older: 2,
            range_deletes: 0,
            expiring: 2,
            expiry_min_ms: 100,
            expiry_max_ms: 200,
            seq_min: 5,
            seq_max: 9,
            data_len: 33,
            stale_len: 16,
            expiring_len: 14,
            entry_len_max: 10,
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn what_expires_is_taken_as_spread_evenly() {
        let counts = TableCounts {
            expiring: 3,
            expiry_min_ms: 100,
            expiry_max_ms: 199,
            expiring_len: 1_000,
            ..TableCounts::default()
        };
        assert_eq!(
            [99, 100, 149, 199, 9_999].map(|now_ms| counts.expired_len(now_ms)),
            [0, 10, 500, 1_000, 1_000]
        );
        let little = TableCounts { expiring_len: 1, ..counts };
        assert_eq!([99, 100].map(|now_ms| little.expired_len(now_ms)), [0, 1], "0 only if none has");
    }

    #[test]
    fn counts_that_no_table_can_have_make_no_table() {
        let whole = TableCounts {
            entries: 2,
            seq_min: 1,
            seq_max: 2,
            data_len: 10,
            entry_len_max: 5,
            ..TableCounts::default()
        };
        let decoded = |counts: TableCounts| {
            let (start, end) = (b"a".to_vec(), b"b".to_vec());
            let (meta, mut bytes) = (TableMeta { start, end, counts, ..TableMeta::default() }, Vec::new());
            meta.encode(&mut bytes);
            TableMeta::decode(&mut Decoder::new(&bytes)) == Some(meta)
        };
        assert!(decoded(whole));
        let none_can_be = [
            TableCounts { seq_min: 0, ..whole },
            TableCounts { seq_min: 3, ..whole },
            TableCounts { seq_max: SEQ_LIMIT, ..whole },
            TableCounts { deletes: 3, ..whole },
            TableCounts { older: 3, ..whole },
            TableCounts { expiring: 3, ..whole },
            TableCounts { expiry_min_ms: 1, ..whole },
            TableCounts { entry_len_max: 11, ..whole },
            TableCounts { stale_len: COUNT_LIMIT, ..whole },
        ];
        for counts in none_can_be {
            assert!(!decoded(counts), "{counts:?}");
        }
    }
}
