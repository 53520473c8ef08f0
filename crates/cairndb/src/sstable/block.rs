//! Block: about 4 KiB of sorted entries, the unit that is read, checked and cached.
//!
//! Neighbouring keys begin alike, so an entry leaves out what its key shares with the one before. Every sixteenth
//! entry shares nothing: a *restart point*. Their offsets stand at the block's end, so that a search halves its way to
//! the right restart point and walks from there.
//!
//! # On disk
//! ```text
//! entry:   | shared varint | rest len varint | tag varint | expiry u64 (kind 2) | value len varint (not kind 0) | rest of key | value |
//! block:   | entry | entry | ... | restart offset u32 | ... | restart count u32 |
//! in file: | block, packed or not | packing u8 | unpacked len u32 | crc u32 |
//! ```
//! A tag is (sequence number - the table's base) x 4 + kind. The crc covers all before it, and its place. Agrees with
//! FORMAT.md, "Blocks".

use std::cmp::Ordering as Order;
use std::ops::Range;

use cairndb_storage::{File, FileName, Site};
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

use super::hints::{BlockHints, HINTED_LEN_MAX, HintMaker, Hinted};
use crate::coding::{Decoder, Place, put_slice, put_varint, varint_len};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::files::read_at;
use crate::key::{EntryRef, KEY_LEN_MAX, Kind, SeqNo, Value, compare, compare_from_first, shared_len};
use crate::options::Compression;
use crate::sync::Arc;

/// What follows a block in the file: packing, unpacked length, crc. FORMAT.md, "Constants".
pub(crate) const BLOCK_TRAILER_LEN: usize = 9;

/// A packing byte: the block stands as it is. FORMAT.md, "Constants".
pub(crate) const PACKING_NONE: u8 = 0;

/// A packing byte: the block is packed with lz4. FORMAT.md, "Constants".
pub(crate) const PACKING_LZ4: u8 = 1;

/// The longest block, unpacked: one entry of the longest key and value, and a little. A hostile length beyond it, or
/// beyond what lz4 can reach from the packed bytes, allocates nothing.
const BLOCK_LEN_MAX: usize = (1 << 30) + (1 << 20);

/// Entries from one restart point to the next in a data block: a middle way between short blocks and short walks.
pub(super) const RESTART_INTERVAL: usize = 16;

/// No lz4 block unpacks to more than this many times its length.
const LZ4_RATIO_MAX: usize = 255;

/// Where a block stands in its file: its offset, and its length without the trailer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockHandle {
    pub(crate) offset: u64,
    pub(crate) len: u32,
}

impl BlockHandle {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.offset);
        put_varint(&mut out, u64::from(self.len));
        out
    }

    /// A handle of a block within the first `len` bytes of its file.
    pub(super) fn decode_within(bytes: &[u8], len: u64) -> Option<BlockHandle> {
        BlockHandle::decode(bytes).filter(|handle| handle.offset.saturating_add(u64::from(handle.len)) <= len)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<BlockHandle> {
        let mut from = Decoder::new(bytes);
        let handle = BlockHandle { offset: from.varint()?, len: u32::try_from(from.varint()?).ok()? };
        from.is_at_end().then_some(handle)
    }
}

/// A block that is being filled.
pub(crate) struct BlockBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    since_restart: usize,
    restart_interval: usize,
    last_key: Vec<u8>,
    base_seq: SeqNo,
}

impl BlockBuilder {
    pub(crate) fn new(restart_interval: usize, base_seq: SeqNo) -> BlockBuilder {
        let (bytes, restarts, last_key) = (Vec::new(), Vec::new(), Vec::new());
        BlockBuilder { bytes, restarts, since_restart: 0, restart_interval, last_key, base_seq }
    }

    /// Requires: `entry` lies behind the last one, and its sequence number is not below the base.
    pub(crate) fn add(&mut self, entry: EntryRef<'_>) {
        let at_restart = self.restarts.is_empty() || self.since_restart == self.restart_interval;
        let shared = if at_restart { 0 } else { shared_len(&self.last_key, entry.key) };
        if at_restart {
            self.restarts.push(self.bytes.len() as u32);
            self.since_restart = 0;
        }
        let rest = &entry.key[shared..];
        put_varint(&mut self.bytes, shared as u64);
        put_varint(&mut self.bytes, rest.len() as u64);
        put_varint(&mut self.bytes, ((entry.seq - self.base_seq) << 2) | entry.kind as u64);
        if entry.kind == Kind::PutWithExpiry {
            self.bytes.extend_from_slice(&entry.expires_at_ms.to_le_bytes());
        }
        if entry.kind != Kind::Delete {
            put_varint(&mut self.bytes, entry.value.len() as u64);
        }
        self.bytes.extend_from_slice(rest);
        self.bytes.extend_from_slice(entry.value);
        self.since_restart += 1;
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(rest);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.restarts.is_empty()
    }

    /// The block's length as it stands.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + 4 * self.restarts.len() + 4
    }

    /// Whether `entry` would take the block past `len_max`.
    pub(super) fn would_pass(&self, entry: EntryRef<'_>, len_max: usize) -> bool {
        let entry_len = entry.key.len() + entry.value.len() + varint_len(entry.seq << 2) + 6;
        !self.is_empty() && self.len() + entry_len > len_max
    }

    /// The whole block; the builder is as good as new.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        for restart in &self.restarts {
            self.bytes.extend_from_slice(&restart.to_le_bytes());
        }
        self.bytes.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        self.restarts.clear();
        self.last_key.clear();
        let capacity = self.bytes.len();
        std::mem::replace(&mut self.bytes, Vec::with_capacity(capacity))
    }
}

/// Memory for blocks up to this length is taken in steps, in bytes.
const BUFFER_LEN_USUAL: usize = 8 << 10;
const BUFFER_STEP: usize = 512;

/// So much memory is kept from one block to the next, in bytes: a long block is one of few.
const PACKED_LEN_MAX: usize = 64 << 10;

/// Packs blocks, with memory that it keeps from one to the next.
pub(crate) struct Packer {
    table: CompressTable,
    packed: Vec<u8>,
}

impl Packer {
    /// None for blocks that are to stand as they are.
    pub(crate) fn new(compression: Compression) -> Option<Packer> {
        match compression {
            Compression::None => None,
            Compression::Lz4 => Some(Packer { table: CompressTable::small(), packed: Vec::new() }),
        }
    }

    /// The block, packed; `None` if that is no shorter.
    fn pack(&mut self, block: &[u8]) -> Option<&[u8]> {
        if self.packed.len() > PACKED_LEN_MAX {
            self.packed = Vec::new();
        }
        let packed = with_len(&mut self.packed, get_maximum_output_size(block.len()));
        let len = compress_into_with_table(block, packed, &mut self.table).ok()?;
        packed.get(..len).filter(|packed| packed.len() < block.len())
    }
}

/// Appends `block` as it is to stand at `offset` of the file at `place`; returns its handle.
pub(crate) fn seal_block(
    out: &mut Vec<u8>,
    place: Place,
    offset: u64,
    packer: Option<&mut Packer>,
    block: &[u8],
) -> BlockHandle {
    let begin = out.len();
    let packed = packer.and_then(|packer| packer.pack(block));
    out.extend_from_slice(packed.unwrap_or(block));
    let len = (out.len() - begin) as u32;
    out.push(if packed.is_some() { PACKING_LZ4 } else { PACKING_NONE });
    out.extend_from_slice(&(block.len() as u32).to_le_bytes());
    let crc = place.checksum(offset, &[&out[begin..]]);
    out.extend_from_slice(&crc.to_le_bytes());
    BlockHandle { offset, len }
}

/// Memory for a block that is read: as it stands in the file, and unpacked. What is in it does not matter.
#[derive(Default)]
pub(crate) struct Buffers {
    pub(crate) packed: Vec<u8>,
    pub(crate) unpacked: Vec<u8>,
}

/// Reads, checks and unpacks the block at `handle` of a file of `file_len` bytes.
///
/// Errors: `Corrupt` with the block's offset; `Io`.
pub(crate) fn read_block(
    file: &dyn File,
    file_len: u64,
    name: FileName,
    place: Place,
    handle: BlockHandle,
    site: Site,
) -> Result<Vec<u8>> {
    read_block_with(&mut Buffers::default(), file, file_len, name, place, handle, site)
}

/// The same, with the memory of `buffers`, of which the block takes one with it.
pub(crate) fn read_block_with(
    buffers: &mut Buffers,
    file: &dyn File,
    file_len: u64,
    name: FileName,
    place: Place,
    handle: BlockHandle,
    site: Site,
) -> Result<Vec<u8>> {
    let corrupt = |what: &str| Error::corrupt(name, handle.offset, what);
    let wanted = handle.len as usize + BLOCK_TRAILER_LEN;
    // What the file cannot hold is not allocated for.
    if wanted > BLOCK_LEN_MAX || handle.offset.saturating_add(wanted as u64) > file_len {
        return Err(corrupt("a block of this length cannot be here"));
    }
    let bytes = with_len(&mut buffers.packed, wanted);
    let read = read_at(file, name, handle.offset, bytes, site)?;
    if read < wanted {
        return Err(corrupt("the file ends inside a block"));
    }
    let crc_at = wanted - 4;
    if Decoder::at(bytes, crc_at).u32() != Some(place.checksum(handle.offset, &[&bytes[..crc_at]])) {
        return Err(corrupt("the block does not fit its checksum"));
    }
    let packing = bytes[handle.len as usize];
    let unpacked_len = Decoder::at(bytes, handle.len as usize + 1).u32().unwrap_or_default() as usize;
    bytes.truncate(handle.len as usize);
    match packing {
        PACKING_NONE if unpacked_len == bytes.len() => Ok(std::mem::take(&mut buffers.packed)),
        PACKING_LZ4 if unpacked_len <= unpacked_len_max(bytes.len()) => {
            let into = with_len(&mut buffers.unpacked, unpacked_len);
            match decompress_into(bytes, into) {
                Ok(len) if len == unpacked_len => Ok(std::mem::take(&mut buffers.unpacked)),
                _ => Err(corrupt("the block does not unpack")),
            }
        }
        _ => Err(corrupt("the block's packing makes no sense")),
    }
}

/// No lz4 block of this length unpacks to more.
fn unpacked_len_max(packed_len: usize) -> usize {
    BLOCK_LEN_MAX.min(packed_len.saturating_mul(LZ4_RATIO_MAX))
}

/// What an lz4 block holds, if it holds so much.
#[cfg(feature = "dissect")]
pub(crate) fn unpack(packed: &[u8], unpacked_len: usize) -> Option<Vec<u8>> {
    if unpacked_len > unpacked_len_max(packed.len()) {
        return None;
    }
    let mut unpacked = vec![0; unpacked_len];
    (decompress_into(packed, &mut unpacked).ok()? == unpacked_len).then_some(unpacked)
}

/// The buffer, made so long: in place if it has room, without writing what it already holds.
fn with_len(buffer: &mut Vec<u8>, len: usize) -> &mut Vec<u8> {
    if buffer.capacity() < len {
        *buffer = Vec::with_capacity(capacity_for(len));
    }
    buffer.resize(len, 0);
    buffer
}

/// How much memory to take for so many bytes: of few different lengths, so that what one leaves fits the next, and with room
/// for hints, so that a block which gets them stays where it is, next to its neighbours.
fn capacity_for(len: usize) -> usize {
    if len <= BUFFER_LEN_USUAL { (len + len / 16).next_multiple_of(BUFFER_STEP) } else { len }
}

/// A block in memory, checked and unpacked.
pub(crate) struct Block {
    /// The block, and what it may have of hints.
    bytes: Vec<u8>,
    hints: BlockHints,
    restarts_at: usize,
    restart_count: usize,
    base_seq: SeqNo,
    /// Where it came from, for errors.
    name: FileName,
    offset: u64,
}

impl Block {
    /// Errors: `Corrupt` if the restart points do not fit the block: the first is 0, they rise, none lies behind the
    /// entries. Whether an entry begins at each is found when it is used, or by [`BlockCursor::check_restarts`].
    pub(crate) fn new(bytes: Vec<u8>, base_seq: SeqNo, name: FileName, offset: u64) -> Result<Block> {
        let restarts = || {
            let count_at = bytes.len().checked_sub(4)?;
            let count = Decoder::at(&bytes, count_at).u32()? as usize;
            let restarts_at = count_at.checked_sub(count.checked_mul(4)?)?;
            let mut from = Decoder::at(&bytes, restarts_at);
            let mut least = 0;
            for index in 0..count {
                let restart = from.u32()? as usize;
                let fits = if index == 0 { restart == 0 } else { restart >= least };
                least = restart.checked_add(1).filter(|least| fits && *least <= restarts_at)?;
            }
            (count > 0).then_some((restarts_at, count))
        };
        let Some((restarts_at, restart_count)) = restarts() else {
            return Err(Error::corrupt(name, offset, "the block's restart points do not fit it"));
        };
        // Whoever is longer holds few entries.
        let is_long = restarts_at > HINTED_LEN_MAX;
        let hints = if is_long { BlockHints::Unfit } else { BlockHints::Untried };
        Ok(Block { bytes, hints, restarts_at, restart_count, base_seq, name, offset })
    }

    /// How many bytes of memory it takes.
    pub(crate) fn memory_len(&self) -> u64 {
        (self.bytes.capacity() + size_of::<Block>() + 64) as u64
    }

    /// Its memory, for another one.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn name(&self) -> FileName {
        self.name
    }

    /// The first entry at or behind (`key`, `seq`), if it is one of `key`.
    pub(super) fn get(self: &Arc<Block>, key: &[u8], seq: SeqNo) -> Result<Option<BlockEntry>> {
        let hinted = match self.hints {
            BlockHints::Made(hints) => hints.find(&self.bytes, key),
            BlockHints::Untried | BlockHints::Unfit => Hinted::Unsure,
        };
        let head = match hinted {
            Hinted::Nowhere => return Ok(None),
            Hinted::At(at) => {
                let head = self.head_at(at).ok_or_else(|| self.malformed())?;
                let is_of_key = key.get(head.shared..) == Some(&self.bytes[head.rest.clone()]);
                Some(head).filter(|head| is_of_key && head.seq <= seq)
            }
            Hinted::Unsure => self.find(key, seq)?.filter(|found| found.is_of_key).map(|found| found.head),
        };
        Ok(head.map(|head| BlockEntry {
            seq: head.seq,
            kind: head.kind,
            expires_at_ms: head.expires_at_ms,
            value: Value::of_block(self, head.value),
        }))
    }

    /// Whether nobody has tried to give it hints.
    pub(super) fn is_to_have_hints(&self) -> bool {
        matches!(self.hints, BlockHints::Untried)
    }

    /// Makes its hints, in the room behind it, if its keys are fit for them.
    pub(super) fn add_hints(&mut self) {
        self.hints = BlockHints::Unfit;
        let mut maker = HintMaker::default();
        let seen = self.each_key(|key, _, _| {
            maker.see(key);
            Some(())
        });
        if seen.and_then(|()| self.each_key(|key, at, shared| maker.add(key, at, shared))).is_none() {
            return;
        }
        self.bytes.reserve_exact(maker.hints_len());
        self.hints = BlockHints::Made(maker.append_to(&mut self.bytes));
    }

    /// Calls `see` with each key, where its entry is, and how much it shares with the one before, until that says `None`.
    fn each_key(&self, mut see: impl FnMut(&[u8], usize, usize) -> Option<()>) -> Option<()> {
        let (mut at, mut key) = (0, Vec::new());
        while at < self.restarts_at {
            let head = self.head_at(at).filter(|head| head.shared <= key.len())?;
            key.truncate(head.shared);
            key.extend_from_slice(&self.bytes[head.rest.clone()]);
            see(&key, at, head.shared)?;
            at = head.next_at;
        }
        Some(())
    }

    /// The first entry at or behind (`key`, `seq`). No key is put together on the way: what an entry shares with the one
    /// before it, and what that one shares with `key`, decide most comparisons.
    fn find(&self, key: &[u8], seq: SeqNo) -> Result<Option<Found>> {
        let mut at = self.restart(self.restart_before(key, seq)?);
        // Of the last entry, all of which lie before `key`: its length, and how much of it is as in `key`.
        let (mut last_len, mut matched) = (0, 0);
        while at < self.restarts_at {
            let head =
                self.head_at(at).filter(|head| head.shared <= last_len).ok_or_else(|| self.malformed())?;
            last_len = head.key_len();
            // An entry that shares with the last one what lets that lie before `key` lies before it too.
            if head.shared <= matched {
                let (rest, wanted) = (&self.bytes[head.rest.clone()], &key[head.shared..]);
                let alike = shared_len(rest, wanted);
                matched = head.shared + alike;
                let order = rest.get(alike).cmp(&wanted.get(alike)).then(seq.cmp(&head.seq));
                if order.is_ge() {
                    let is_of_key = matched == key.len() && matched == last_len;
                    return Ok(Some(Found { at, head, is_of_key }));
                }
            }
            at = head.next_at;
        }
        Ok(None)
    }

    /// The last restart point whose entry lies before (`key`, `seq`); the first one if none does.
    fn restart_before(&self, key: &[u8], seq: SeqNo) -> Result<usize> {
        let (mut low, mut high) = (0, self.restart_count);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let head = self.head_at(self.restart(middle)).filter(|head| head.shared == 0);
            let head = head.ok_or_else(|| self.malformed())?;
            if compare((&self.bytes[head.rest], head.seq), (key, seq)).is_lt() {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The entry at `at`, its key apart; `None` if it makes no sense.
    #[inline(always)]
    fn head_at(&self, at: usize) -> Option<Head> {
        let mut from = Decoder::at(self.bytes.get(..self.restarts_at)?, at);
        let shared = usize::try_from(from.varint()?).ok()?;
        let rest_len = usize::try_from(from.varint()?).ok()?;
        let tag = from.varint()?;
        let kind = Kind::from_byte((tag & 3) as u8).filter(|kind| *kind != Kind::RangeDelete)?;
        let seq = self.base_seq.checked_add(tag >> 2)?;
        let expires_at_ms = if kind == Kind::PutWithExpiry { from.u64()? } else { 0 };
        let value_len = if kind == Kind::Delete { 0 } else { usize::try_from(from.varint()?).ok()? };
        if !(1..=KEY_LEN_MAX + 1).contains(&shared.checked_add(rest_len)?) {
            return None;
        }
        let rest_at = from.offset();
        let value_at = rest_at.checked_add(rest_len)?;
        let next_at = value_at.checked_add(value_len).filter(|next_at| *next_at <= self.restarts_at)?;
        let (rest, value) = (rest_at..value_at, value_at..next_at);
        Some(Head { shared, rest, seq, kind, expires_at_ms, value, next_at })
    }

    fn restart(&self, index: usize) -> usize {
        Decoder::at(&self.bytes, self.restarts_at + 4 * index).u32().map_or(usize::MAX, |at| at as usize)
    }

    fn malformed(&self) -> Error {
        Error::corrupt(self.name, self.offset, "the block passes its checksum, but its entries make no sense")
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// An entry as it stands in a block: its key shares `shared` bytes with the one before.
struct Head {
    shared: usize,
    rest: Range<usize>,
    seq: SeqNo,
    kind: Kind,
    expires_at_ms: u64,
    value: Range<usize>,
    next_at: usize,
}

impl Head {
    fn key_len(&self) -> usize {
        self.shared + self.rest.len()
    }
}

/// Where a search has come to.
struct Found {
    at: usize,
    head: Head,
    /// The entry's key is the one that was looked for.
    is_of_key: bool,
}

/// An entry that a block was asked for.
pub(crate) struct BlockEntry {
    pub(crate) seq: SeqNo,
    pub(crate) kind: Kind,
    pub(crate) expires_at_ms: u64,
    pub(crate) value: Value,
}

/// A position in a block, which it keeps in memory.
pub(crate) struct BlockCursor {
    block: Arc<Block>,
    /// Where the entry stands, and where the next one does; equal when the cursor stands on none.
    at: usize,
    next_at: usize,
    key: Vec<u8>,
    seq: SeqNo,
    kind: Kind,
    expires_at_ms: u64,
    value: Range<usize>,
}

impl BlockCursor {
    pub(crate) fn new(block: Arc<Block>) -> BlockCursor {
        BlockCursor {
            block,
            at: 0,
            next_at: 0,
            key: Vec::new(),
            seq: 0,
            kind: Kind::Delete,
            expires_at_ms: 0,
            value: 0..0,
        }
    }

    pub(crate) fn block(&self) -> &Arc<Block> {
        &self.block
    }

    /// Where in the block the entry stands that it stands on.
    #[cfg(feature = "dissect")]
    pub(crate) fn range(&self) -> Range<usize> {
        self.at..self.next_at
    }

    pub(super) fn into_block(self) -> Arc<Block> {
        self.block
    }

    /// Goes to the first entry.
    pub(crate) fn seek_first(&mut self) -> Result<()> {
        self.restart_at(0)
    }

    /// Goes to the last entry.
    pub(crate) fn seek_last(&mut self) -> Result<()> {
        self.restart_at(self.block.restart_count - 1)?;
        while self.next_at < self.block.restarts_at {
            self.step()?;
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.at = self.block.restarts_at;
        self.next_at = self.at;
    }

    /// Key and sequence number of the entry it stands on, or that it stood on when it left the block.
    pub(super) fn order(&self) -> (&[u8], SeqNo) {
        (&self.key, self.seq)
    }

    /// Whether an entry begins at every restart point. It leaves the cursor anywhere.
    ///
    /// Errors: `Corrupt`.
    pub(crate) fn check_restarts(&mut self) -> Result<()> {
        self.seek_first()?;
        for index in 0..self.block.restart_count {
            let restart = self.block.restart(index);
            while self.at < restart {
                self.step()?;
            }
            if self.at != restart {
                return Err(self.block.malformed());
            }
            // What it says must not depend on the entry before it either.
            self.restart_at(index)?;
        }
        Ok(())
    }

    fn restart_at(&mut self, index: usize) -> Result<()> {
        self.next_at = self.block.restart(index);
        // Before every entry, as the order of entries goes.
        self.key.clear();
        self.seq = SeqNo::MAX;
        self.step()
    }

    /// Takes the entry at `next_at` apart.
    #[inline]
    fn step(&mut self) -> Result<()> {
        self.at = self.next_at;
        if self.at == self.block.restarts_at {
            return Ok(());
        }
        self.take().ok_or_else(|| self.block.malformed())
    }

    fn take(&mut self) -> Option<()> {
        let head = self.block.head_at(self.at)?;
        let (rest, before) = (&self.block.bytes[head.rest.clone()], self.key.get(head.shared..)?);
        // I1 of the table. What the two keys share is equal, so this looks at little.
        match compare_from_first(rest, before) {
            Order::Greater => {}
            Order::Equal if head.seq < self.seq => {}
            _ => return None,
        }
        self.key.truncate(head.shared);
        self.key.extend_from_slice(rest);
        self.stand_on(head);
        Some(())
    }

    /// Takes over all but the key.
    fn stand_on(&mut self, head: Head) {
        (self.seq, self.kind, self.expires_at_ms) = (head.seq, head.kind, head.expires_at_ms);
        (self.value, self.next_at) = (head.value, head.next_at);
    }
}

impl Cursor for BlockCursor {
    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        let Some(found) = self.block.find(key, seq)? else {
            // Behind the last entry, which whoever goes on to the next block compares with.
            self.seek_last()?;
            return self.step();
        };
        self.at = found.at;
        self.key.clear();
        self.key.extend_from_slice(&key[..found.head.shared]);
        self.key.extend_from_slice(&self.block.bytes[found.head.rest.clone()]);
        self.stand_on(found.head);
        Ok(())
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        let restart = self.block.restart_before(key, SeqNo::MAX)?;
        self.restart_at(restart)?;
        if !self.stands() || self.key.as_slice() >= key {
            self.clear();
            return Ok(());
        }
        // Walk until the next entry is too far, then come back to the last one that was not.
        let mut last = self.at;
        while self.stands() && self.key.as_slice() < key {
            last = self.at;
            self.step()?;
        }
        self.restart_at(restart)?;
        while self.at < last {
            self.step()?;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        assert!(self.stands(), "a cursor that stands on no entry has no next");
        self.step()
    }

    fn prev(&mut self) -> Result<()> {
        assert!(self.stands(), "a cursor that stands on no entry has none before it");
        let here = self.at;
        let (mut low, mut high) = (0, self.block.restart_count);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.block.restart(middle) < here { low = middle } else { high = middle }
        }
        if self.block.restart(low) >= here {
            self.clear();
            return Ok(());
        }
        self.restart_at(low)?;
        while self.next_at < here {
            self.step()?;
        }
        if self.next_at == here { Ok(()) } else { Err(self.block.malformed()) }
    }

    #[inline]
    fn stands(&self) -> bool {
        self.at < self.next_at
    }

    fn entry(&self) -> Option<EntryRef<'_>> {
        if !self.stands() {
            return None;
        }
        let value = self.block.bytes.get(self.value.clone())?;
        Some(EntryRef {
            key: &self.key,
            seq: self.seq,
            kind: self.kind,
            expires_at_ms: self.expires_at_ms,
            value,
        })
    }

    fn value(&self) -> Value {
        Value::of_block(&self.block, self.value.clone())
    }
}

/// Appends the bounds of a table as the bounds block holds them.
pub(super) fn encode_bounds(start: &[u8], end: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_slice(&mut out, start);
    put_slice(&mut out, end);
    out
}

#[cfg(test)]
mod tests {
    use cairndb_storage::FileKind;

    use super::*;
    use crate::key::VALUE_LEN_MAX;

    const NAME: FileName = FileName { kind: FileKind::SsTable, number: 1 };

    fn put<'a>(key: &'a [u8], value: &'a [u8]) -> EntryRef<'a> {
        EntryRef { key, seq: 1, kind: Kind::Put, expires_at_ms: 0, value }
    }

    #[test]
    fn a_block_holds_the_longest_entry_and_little_more() {
        let longest = VALUE_LEN_MAX + KEY_LEN_MAX;
        assert!((longest + 100..longest + (2 << 20)).contains(&unpacked_len_max(usize::MAX)));
        assert_eq!(unpacked_len_max(10), 2_550);
        let (key, longer) = (vec![b'k'; KEY_LEN_MAX + 1], vec![b'k'; KEY_LEN_MAX + 2]);
        for (key, is_there) in [(key, true), (longer, false)] {
            let mut builder = BlockBuilder::new(RESTART_INTERVAL, 1);
            builder.add(put(&key, b"v"));
            let block = Arc::new(Block::new(builder.finish(), 1, NAME, 0).unwrap());
            assert_eq!(block.get(&key, 9).is_ok_and(|entry| entry.is_some()), is_there, "{}", key.len());
        }
    }

    #[test]
    fn of_one_key_the_newer_entry_comes_first_and_none_comes_twice() {
        for (seqs, makes_sense) in [([2, 1], true), ([1, 1], false), ([1, 2], false)] {
            let mut builder = BlockBuilder::new(RESTART_INTERVAL, 1);
            seqs.iter().for_each(|seq| builder.add(EntryRef { seq: *seq, ..put(b"key", b"v") }));
            let mut cursor = BlockCursor::new(Arc::new(Block::new(builder.finish(), 1, NAME, 0).unwrap()));
            cursor.seek_first().unwrap();
            assert_eq!(cursor.next().is_ok(), makes_sense, "{seqs:?}");
        }
    }

    #[test]
    fn what_passes_the_longest_block_is_known_before_it_is_added() {
        let second = EntryRef { seq: 1 << 20, ..put(b"second", b"value") };
        let mut builder = BlockBuilder::new(RESTART_INTERVAL, 1);
        assert!(!builder.would_pass(second, 1), "the first entry has to go somewhere");
        builder.add(put(b"first", b"value"));
        // Key, value, a tag of four bytes, and two for each of the three lengths.
        let reckoned = builder.len() + 6 + 5 + 4 + 6;
        assert_eq!([reckoned - 1, reckoned].map(|len| builder.would_pass(second, len)), [true, false]);
        builder.add(second);
        assert!(builder.len() <= reckoned);
    }

    #[test]
    fn every_sixteenth_entry_is_a_restart_point() {
        let mut builder = BlockBuilder::new(RESTART_INTERVAL, 1);
        let keys: Vec<_> = (0..40).map(|number| format!("key {number:02}")).collect();
        keys.iter().for_each(|key| builder.add(put(key.as_bytes(), b"v")));
        let block = Arc::new(Block::new(builder.finish(), 1, NAME, 0).unwrap());
        assert_eq!(block.restart_count, 3);
        let mut cursor = BlockCursor::new(block);
        for (index, number) in [0, 16, 32].into_iter().enumerate() {
            cursor.restart_at(index).unwrap();
            assert_eq!(cursor.entry().map(|entry| entry.key), Some(keys[number].as_bytes()));
        }
    }
}
