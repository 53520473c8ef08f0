//! Key: how entries are named and ordered.
//!
//! An *entry* is one (key, sequence number, kind, value). The key that is stored is one byte of *keyspace* followed by
//! the user's bytes, so that several key spaces live in one sorted order and in one log. Entries are ordered by stored
//! key upwards and, within a key, by sequence number downwards: the newest entry of a key is met first.
//!
//! A stretch of keys is always half-open, `start <= key < end`, because half-open stretches meet without touching. The
//! stretch `..= k` ends before `k` followed by a zero byte, which is the very next key.
//!
//! # Where it sits
//! Above `error`; everything that touches an entry uses it.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{
    Bound, Deref, Range, RangeBounds, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive,
};

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::sync::Arc;

/// The place of a write in the order of all writes: from 1, rising, never given twice.
pub type SeqNo = u64;

/// No sequence number reaches this: an entry's tag in a block holds it beside its kind.
pub(crate) const SEQ_LIMIT: SeqNo = 1 << 62;

/// The longest user key, in bytes. FORMAT.md, "Entries".
pub(crate) const KEY_LEN_MAX: usize = 65_535;

/// The longest value, in bytes. FORMAT.md, "Entries".
pub(crate) const VALUE_LEN_MAX: usize = 1 << 30;

/// The keyspace of the engine and the server, which no user read sees. FORMAT.md, "Entries".
pub(crate) const KEYSPACE_SYSTEM: u8 = 255;

/// What an entry does to its key. The numbers are bytes on disk: FORMAT.md, "Entries".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The key is gone (a tombstone).
    Delete = 0,
    /// The key has this value.
    Put = 1,
    /// The key has this value until a moment, and is gone from then on.
    PutWithExpiry = 2,
    /// Every key from this one up to the value, exclusive, is gone.
    RangeDelete = 3,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Delete, Kind::Put, Kind::PutWithExpiry, Kind::RangeDelete]
            .into_iter()
            .find(|k| *k as u8 == byte)
    }
}

/// One entry, borrowed from wherever it lies. `key` is the stored key, keyspace byte first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryRef<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) seq: SeqNo,
    pub(crate) kind: Kind,
    /// Milliseconds since 1970; 0 unless the kind is [`Kind::PutWithExpiry`].
    pub(crate) expires_at_ms: u64,
    /// Empty for a delete; the end of the stretch for a range delete.
    pub(crate) value: &'a [u8],
}

impl EntryRef<'_> {
    /// Whether a reader whose clock says `now_ms` finds a value here.
    pub(crate) fn is_live(&self, now_ms: u64) -> bool {
        match self.kind {
            Kind::Put => true,
            Kind::PutWithExpiry => self.expires_at_ms > now_ms,
            Kind::Delete | Kind::RangeDelete => false,
        }
    }

    /// How many bytes of key and value it carries.
    pub(crate) fn data_len(&self) -> u64 {
        (self.key.len() + self.value.len()) as u64
    }
}

impl fmt::Debug for EntryRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, value) = (self.key.escape_ascii(), self.value.escape_ascii());
        write!(f, "{:?} {key}@{} = {value}", self.kind, self.seq)?;
        if self.kind == Kind::PutWithExpiry { write!(f, " until {}", self.expires_at_ms) } else { Ok(()) }
    }
}

/// The order of entries: stored key up, sequence number down.
pub(crate) fn compare(a: (&[u8], SeqNo), b: (&[u8], SeqNo)) -> Ordering {
    a.0.cmp(b.0).then(b.1.cmp(&a.1))
}

/// The first place from `low` on, among `len`, at which it is not before.
pub(crate) fn partition(mut low: usize, mut len: usize, is_before: impl Fn(usize) -> bool) -> usize {
    while len > 0 {
        let half = len / 2;
        if is_before(low + half) {
            low += half + 1;
            len -= half + 1;
        } else {
            len = half;
        }
    }
    low
}

/// The eight bytes of `key` behind the first `skip`, as a number that sorts as they do; zeros where it ends.
pub(crate) fn hint_of(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    match rest.first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(bytes)
        }
    }
}

/// How many bytes two keys have in common before they differ.
pub(crate) fn shared_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The hash under which filters know a stored key: XXH3-64. FORMAT.md, "Filter block".
pub(crate) fn hash_key(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The order of two strings, most of which differ in their first byte: then that is all that is looked at.
#[inline]
pub(crate) fn compare_from_first(a: &[u8], b: &[u8]) -> Ordering {
    match (a.first(), b.first()) {
        (Some(a), Some(b)) if a != b => a.cmp(b),
        _ => a.cmp(b),
    }
}

/// Whether two strings, most of which differ in their last byte, are the same.
#[inline]
pub(crate) fn is_same_from_last(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.last() == b.last() && a == b
}

/// The stored form of a user's key.
pub(crate) fn stored_key(keyspace: u8, key: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + key.len());
    stored.push(keyspace);
    stored.extend_from_slice(key);
    stored
}

/// Calls `with` with the stored form of a user's key, for which no memory is taken if it is short.
pub(crate) fn with_stored_key<T>(keyspace: u8, key: &[u8], with: impl FnOnce(&[u8]) -> T) -> T {
    let mut near = [keyspace; STORED_KEY_NEAR_LEN];
    match near.get_mut(1..=key.len()) {
        Some(place) => {
            place.copy_from_slice(key);
            with(&near[..=key.len()])
        }
        None => with(&stored_key(keyspace, key)),
    }
}

/// The longest stored key that is put together without taking memory, in bytes.
const STORED_KEY_NEAR_LEN: usize = 64;

/// The key right after `key`: nothing lies between the two.
pub(crate) fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

/// Answers `Invalid` for a key that is too long.
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.len() > KEY_LEN_MAX {
        return Err(Error::invalid(format_args!(
            "the key is {} bytes long; the limit is {KEY_LEN_MAX}",
            key.len()
        )));
    }
    Ok(())
}

/// A half-open stretch of user keys.
///
/// Made from any of Rust's ranges over anything that is bytes, and from a prefix:
/// ```
/// use cairndb::KeyRange;
/// let all: KeyRange = (..).into();
/// let some: KeyRange = ("a".."b").into();
/// assert_eq!(KeyRange::prefix("a"), some);
/// assert_eq!(KeyRange::prefix(""), all);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    pub(crate) start: Vec<u8>,
    pub(crate) end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> KeyRange {
        let start = prefix.as_ref().to_vec();
        // The first key beyond them all: the prefix with its last byte that can rise risen, and the rest cut off.
        let end = start.iter().rposition(|byte| *byte < 0xFF).map(|last| {
            let mut end = start[..=last].to_vec();
            end[last] += 1;
            end
        });
        KeyRange { start, end }
    }

    /// The stretch of stored keys in `keyspace`.
    pub(crate) fn stored(&self, keyspace: u8) -> StoredRange {
        let end = match &self.end {
            Some(end) => stored_key(keyspace, end),
            // Keyspace 255 has no successor of one byte; no key is longer than this one.
            None => keyspace.checked_add(1).map_or_else(|| vec![0xFF; KEY_LEN_MAX + 2], |next| vec![next]),
        };
        StoredRange { start: stored_key(keyspace, &self.start), end }
    }

    fn from_bounds<K: AsRef<[u8]>>(range: &impl RangeBounds<K>) -> KeyRange {
        let start = match range.start_bound() {
            Bound::Included(key) => key.as_ref().to_vec(),
            Bound::Excluded(key) => successor(key.as_ref()),
            Bound::Unbounded => Vec::new(),
        };
        let end = match range.end_bound() {
            Bound::Included(key) => Some(successor(key.as_ref())),
            Bound::Excluded(key) => Some(key.as_ref().to_vec()),
            Bound::Unbounded => None,
        };
        KeyRange { start, end }
    }
}

impl From<RangeFull> for KeyRange {
    fn from(_: RangeFull) -> KeyRange {
        KeyRange { start: Vec::new(), end: None }
    }
}

macro_rules! key_range_from {
    ($($range:ty),*) => {$(
        impl<K: AsRef<[u8]>> From<$range> for KeyRange {
            fn from(range: $range) -> KeyRange {
                KeyRange::from_bounds::<K>(&range)
            }
        }
    )*};
}
key_range_from!(
    Range<K>,
    RangeInclusive<K>,
    RangeFrom<K>,
    RangeTo<K>,
    RangeToInclusive<K>,
    (Bound<K>, Bound<K>)
);

/// A half-open stretch of stored keys. One whose end is not beyond its start is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRange {
    pub(crate) start: Vec<u8>,
    pub(crate) end: Vec<u8>,
}

impl StoredRange {
    pub(crate) fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}

/// The bytes of a value, read with `Deref`. A long one may share the block it was read in, which stays in memory
/// as long as the value does.
#[derive(Clone)]
pub struct Value(ValueBytes);

#[derive(Clone)]
enum ValueBytes {
    Owned(Vec<u8>),
    Shared { block: Arc<dyn AsRef<[u8]> + Send + Sync>, range: Range<usize> },
}

/// From this length on a value shares its block instead of being copied, in bytes: below it the copy costs less than
/// keeping a 4 KiB block alive for it.
const SHARED_VALUE_LEN: usize = 1024;

impl Value {
    /// The stretch `range` of a block, copied when it is short.
    pub(crate) fn of_block<B>(block: &Arc<B>, range: Range<usize>) -> Value
    where
        B: AsRef<[u8]> + Send + Sync + 'static,
    {
        if range.len() < SHARED_VALUE_LEN {
            Value(ValueBytes::Owned((**block).as_ref()[range].to_vec()))
        } else {
            Value(ValueBytes::Shared { block: Arc::clone(block) as _, range })
        }
    }

    /// The bytes, without a copy if this value is their only owner.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            ValueBytes::Owned(bytes) => bytes,
            ValueBytes::Shared { block, range } => (*block).as_ref()[range].to_vec(),
        }
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Value {
        Value(ValueBytes::Owned(bytes))
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Value {
        Value(ValueBytes::Owned(bytes.to_vec()))
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            ValueBytes::Owned(bytes) => bytes,
            ValueBytes::Shared { block, range } => &(**block).as_ref()[range.clone()],
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Value {
    fn eq(&self, other: &T) -> bool {
        self[..] == *other.as_ref()
    }
}

impl Eq for Value {}

/// A value with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value's bytes.
    pub value: Value,
    /// The write that put it there.
    pub seq: SeqNo,
    /// When it will be gone, in milliseconds since 1970; `None` for never.
    pub expires_at_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_entry_of_a_key_comes_first() {
        assert_eq!(compare((b"a", 2), (b"a", 1)), Ordering::Less);
        assert_eq!(compare((b"a", 1), (b"b", 9)), Ordering::Less);
    }

    #[test]
    fn prefix_of_all_ones_has_no_end() {
        assert_eq!(KeyRange::prefix([0xFF, 0xFF]).end, None);
        assert_eq!(KeyRange::prefix([0x01, 0xFF]).end, Some(vec![0x02]));
    }

    #[test]
    fn bounds_become_half_open() {
        let range: KeyRange = (Bound::Excluded("a"), Bound::Included("b")).into();
        assert_eq!(range, KeyRange { start: b"a\0".to_vec(), end: Some(b"b\0".to_vec()) });
    }
}
