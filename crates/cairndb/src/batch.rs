//! Batch: the bytes of one atomic write.
//!
//! A batch is built once, in the form in which it goes into the WAL, and is never taken apart and put together again:
//! what the user's calls append is what the log holds and what the memtable reads. All entries of a batch appear
//! together, or none does. They get consecutive sequence numbers in the order of the calls, so a later call wins over
//! an earlier one on the same key.
//!
//! # Where it sits
//! On `key` and `coding`; `wal` frames it, `db` writes it.
//!
//! # On disk
//! ```text
//! | first seq u64 | count u32 | entry | entry | ...
//! entry: | kind u8 | key: varint length, keyspace byte, key | expiry u64 (kind 2) | value: varint length, bytes (not kind 0) |
//! ```
//! A range delete's value is the stored end of its stretch. Agrees with FORMAT.md, "Batches".

use crate::coding::{Decoder, put_slice};
use crate::error::{Error, Result};
use crate::key::{
    EntryRef, KEY_LEN_MAX, KEYSPACE_SYSTEM, KeyRange, Kind, SeqNo, VALUE_LEN_MAX, check_key, successor,
};
use crate::options::Durability;

/// The length of what stands before a batch's entries in the WAL, in bytes. FORMAT.md, "Constants".
pub(crate) const BATCH_HEADER_LEN: usize = 12;

/// What an entry takes in a batch beside its key and its value, at most: kind, keyspace, expiry, two lengths.
const ENTRY_HEADER_LEN_MAX: usize = 1 + 1 + 8 + 2 * 5;

/// Writes that happen together or not at all.
///
/// An argument that cannot be used is remembered, and the write answers `Invalid`.
/// ```
/// # use cairndb::{Batch, Db};
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = Db::open(dir.path().join("db")).unwrap();
/// let mut batch = Batch::new();
/// batch.put("from", "90").put("to", "110").delete("pending");
/// db.write(batch)?;
/// assert_eq!(db.get("to")?.unwrap(), "110");
/// # Ok::<(), cairndb::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The encoded entries.
    entries: Vec<u8>,
    count: u32,
    /// How many of them are deletes or range deletes.
    deletes: u32,
    keyspace: u8,
    durability: Option<Durability>,
    invalid: Option<Error>,
}

impl Batch {
    /// An empty batch, which writes to keyspace 0.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Gives `key` this value.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Batch {
        self.push(Kind::Put, key.as_ref(), 0, value.as_ref())
    }

    /// Gives `key` this value until `expires_at_ms`, in milliseconds since 1970.
    pub fn put_with_expiry(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        expires_at_ms: u64,
    ) -> &mut Batch {
        self.push(Kind::PutWithExpiry, key.as_ref(), expires_at_ms, value.as_ref())
    }

    /// Removes `key`, whether or not it is there.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> &mut Batch {
        self.push(Kind::Delete, key.as_ref(), 0, b"")
    }

    /// Removes every key in `range`: one entry, however many keys there are. A range that ends before it begins is
    /// invalid; one that holds nothing does nothing.
    pub fn delete_range(&mut self, range: impl Into<KeyRange>) -> &mut Batch {
        let range = range.into();
        // A bound of `successor` form may be one byte longer than a key can be; no key lies between it and the limit.
        let (start, end) = (clip_bound(range.start), range.end.map(clip_bound));
        if end.as_ref().is_some_and(|end| *end < start) {
            self.refuse(Error::invalid("the range to delete ends before it begins"));
        } else if end.as_ref() != Some(&start) {
            let stored = KeyRange { start: start.clone(), end }.stored(self.keyspace);
            self.push(Kind::RangeDelete, &start, 0, &stored.end);
        }
        self
    }

    /// Chooses the keyspace of the entries that follow: 0 to 254.
    pub fn keyspace(&mut self, keyspace: u8) -> &mut Batch {
        if keyspace == KEYSPACE_SYSTEM {
            self.refuse(Error::invalid("keyspace 255 belongs to the engine"));
        }
        self.keyspace = keyspace;
        self
    }

    /// Says what this write waits for, whatever the handle says.
    pub fn durability(&mut self, durability: Durability) -> &mut Batch {
        self.durability = Some(durability);
        self
    }

    /// How many entries the batch has.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes its entries take, keys, values and lengths together.
    pub fn encoded_len(&self) -> usize {
        self.entries.len()
    }

    /// Makes it as good as new, and keeps its memory.
    pub fn clear(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        *self = Batch { entries, ..Batch::default() };
        self.entries.clear();
    }

    /// As [`Batch::keyspace`], for the engine itself.
    pub(crate) fn any_keyspace(&mut self, keyspace: u8) -> &mut Batch {
        self.keyspace = keyspace;
        self
    }

    pub(crate) fn wanted_durability(&self) -> Option<Durability> {
        self.durability
    }

    pub(crate) fn only_deletes(&self) -> bool {
        self.deletes == self.count
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.entries
    }

    /// Answers what was wrong with the calls that built the batch, or with its length.
    pub(crate) fn check(&self, len_max: u64) -> Result<()> {
        if let Some(error) = &self.invalid {
            return Err(error.clone());
        }
        if self.entries.len() as u64 > len_max {
            return Err(Error::invalid(format_args!(
                "the write is {} bytes long; the limit is a quarter of the memory budget, {len_max}",
                self.entries.len()
            )));
        }
        Ok(())
    }

    /// The entries as they will stand when the first gets the number `first_seq`.
    pub(crate) fn entries(&self, first_seq: SeqNo) -> Entries<'_> {
        Entries::new(&self.entries, first_seq, self.count)
    }

    fn push(&mut self, kind: Kind, key: &[u8], expires_at_ms: u64, value: &[u8]) -> &mut Batch {
        // A range delete's bounds have been clipped to what can be stored.
        if let (true, Err(error)) = (kind != Kind::RangeDelete, check_key(key)) {
            self.refuse(error);
            return self;
        }
        if value.len() > VALUE_LEN_MAX || self.count == u32::MAX {
            self.refuse(Error::invalid(format_args!(
                "the value is {} bytes long; the limit is {VALUE_LEN_MAX}",
                value.len()
            )));
            return self;
        }
        // A batch of one entry, as most are, takes memory once.
        self.entries.reserve(ENTRY_HEADER_LEN_MAX + key.len() + value.len());
        self.entries.push(kind as u8);
        crate::coding::put_varint(&mut self.entries, key.len() as u64 + 1);
        self.entries.push(self.keyspace);
        self.entries.extend_from_slice(key);
        if kind == Kind::PutWithExpiry {
            self.entries.extend_from_slice(&expires_at_ms.to_le_bytes());
        }
        if kind != Kind::Delete {
            put_slice(&mut self.entries, value);
        }
        self.count += 1;
        self.deletes += u32::from(matches!(kind, Kind::Delete | Kind::RangeDelete));
        self
    }

    fn refuse(&mut self, error: Error) {
        self.invalid.get_or_insert(error);
    }
}

/// A bound that no key reaches becomes one that no key reaches either, of a length that can be stored.
fn clip_bound(mut bound: Vec<u8>) -> Vec<u8> {
    if bound.len() > KEY_LEN_MAX && bound[KEY_LEN_MAX..] != [0] {
        bound.truncate(KEY_LEN_MAX);
        bound = successor(&bound);
    }
    bound
}

/// The payload of a batch's record before its entries.
pub(crate) fn encode_batch_header(first_seq: SeqNo, count: u32) -> [u8; BATCH_HEADER_LEN] {
    let mut header = [0; BATCH_HEADER_LEN];
    header[..8].copy_from_slice(&first_seq.to_le_bytes());
    header[8..].copy_from_slice(&count.to_le_bytes());
    header
}

/// Takes a batch's record apart: its first sequence number, and its entries.
pub(crate) fn decode_batch(payload: &[u8]) -> Option<(SeqNo, Entries<'_>)> {
    let mut from = Decoder::new(payload);
    let (first_seq, count) = (from.u64()?, from.u32()?);
    first_seq.checked_add(u64::from(count))?;
    Some((first_seq, Entries::new(&payload[BATCH_HEADER_LEN..], first_seq, count)))
}

/// The entries of a batch, in order; an item is `None` where the bytes are none, and nothing follows it.
#[derive(Clone)]
pub(crate) struct Entries<'a> {
    from: Decoder<'a>,
    seq: SeqNo,
    left: u32,
}

impl<'a> Entries<'a> {
    fn new(bytes: &'a [u8], first_seq: SeqNo, count: u32) -> Entries<'a> {
        Entries { from: Decoder::new(bytes), seq: first_seq, left: count }
    }

    /// How many entries are still to come, as the batch says.
    pub(crate) fn left(&self) -> u32 {
        self.left
    }

    /// Where the next entry begins, in bytes behind the batch's header.
    pub(crate) fn offset(&self) -> usize {
        self.from.offset()
    }

    fn take(&mut self) -> Option<EntryRef<'a>> {
        let kind = Kind::from_byte(self.from.u8()?)?;
        let key = self.from.slice()?;
        if key.is_empty() || key.len() > KEY_LEN_MAX + 1 + usize::from(kind == Kind::RangeDelete) {
            return None;
        }
        let expires_at_ms = if kind == Kind::PutWithExpiry { self.from.u64()? } else { 0 };
        let value = if kind == Kind::Delete { &[] } else { self.from.slice()? };
        if kind == Kind::RangeDelete && (value <= key || value.len() > KEY_LEN_MAX + 2) {
            return None;
        }
        let entry = EntryRef { key, seq: self.seq, kind, expires_at_ms, value };
        self.seq += 1;
        Some(entry)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Option<EntryRef<'a>>;

    fn next(&mut self) -> Option<Option<EntryRef<'a>>> {
        if self.left == 0 {
            // Bytes left over are as wrong as bytes missing.
            let whole = self.from.is_at_end();
            self.from = Decoder::new(&[]);
            return if whole { None } else { Some(None) };
        }
        let entry = self.take();
        self.left = if entry.is_some() { self.left - 1 } else { 0 };
        if entry.is_none() {
            self.from = Decoder::new(&[]);
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_with_their_numbers() {
        let mut batch = Batch::new();
        batch.put("a", "1").delete("b").keyspace(3).put_with_expiry("c", "3", 99).delete_range("d".."f");
        let seen: Vec<String> = batch.entries(10).map(|entry| format!("{:?}", entry.unwrap())).collect();
        assert_eq!(
            seen,
            [
                "Put \\x00a@10 = 1",
                "Delete \\x00b@11 = ",
                "PutWithExpiry \\x03c@12 = 3 until 99",
                "RangeDelete \\x03d@13 = \\x03f"
            ]
        );
    }

    #[test]
    fn a_bad_argument_is_remembered() {
        let mut batch = Batch::new();
        batch.put("fine", "1").delete(vec![0; KEY_LEN_MAX + 1]);
        assert!(matches!(batch.check(1000), Err(Error::Invalid { .. })));
        batch.clear();
        assert!(batch.check(1000).is_ok());
        batch.delete_range("b".."a");
        assert!(matches!(batch.check(1000), Err(Error::Invalid { .. })));
        batch.clear();
        batch.delete_range("a".."a");
        assert!(batch.is_empty() && batch.check(1000).is_ok());
    }

    #[test]
    fn cut_bytes_end_in_none() {
        let mut batch = Batch::new();
        batch.put("key", "value").put("other", "value");
        for len in 0..batch.encoded().len() {
            let entries = Entries::new(&batch.encoded()[..len], 1, 2);
            assert!(entries.into_iter().any(|entry| entry.is_none()), "{len} bytes");
        }
    }
}
