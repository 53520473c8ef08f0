//! Salvage: reads what is whole of a table that may be damaged, and tells what is not.
//!
//! A table's blocks are whole or not, each for itself: what is lost with one is bounded by the entries around it. If the
//! index is gone, the blocks are found by walking from one to the next, for each ends where its checksum fits; a bad
//! block ends such a walk. If the header is gone, the id is the manifest's, or the one under which the footer's checksum
//! fits, and the base sequence number follows from a separator that is its block's last entry.
//!
//! # Where it sits
//! On `block`, `footer` and `reader`'s open files; `repair` copies what it yields, `check` walks it for the order of
//! entries across levels.
//!
//! # When things break
//! That is what it is for: bad bytes and bytes that cannot be read become a [`Loss`], and the walk goes on.

use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;

use cairndb_storage::{FileKind, FileName};

use super::block::{
    BLOCK_TRAILER_LEN, Block, BlockCursor, BlockHandle, PACKING_LZ4, PACKING_NONE, read_block,
};
use super::footer::{FOOTER_LEN, Footer};
use super::reader::{TableFiles, decode_bounds};
use super::{TableCounts, TableMeta};
use crate::coding::{Decoder, Place};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::files::{len_of, read_at};
use crate::header::{HEADER_LEN, Header};
use crate::key::{EntryRef, KEY_LEN_MAX, SEQ_LIMIT, SeqNo, Value, compare};
use crate::range_delete::RangeDeletes;
use crate::sync::{Arc, Mutex};

/// How much is read at first to find a block's end, in bytes, and where looking for it ends.
const WALK_LEN: usize = 64 << 10;
const WALK_LEN_MAX: usize = 64 << 20;

/// A place in the order of entries: a stored key (its keyspace's byte first) and a sequence number. Of one key, higher
/// numbers come first; with `SeqNo::MAX` it is the place before all entries of the key.
pub type EntryPlace = (Vec<u8>, SeqNo);

/// Entries that are lost: where they stood, and what is known of them. What is not in any loss of a file was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The file that held them.
    pub file: String,
    /// What is wrong with it, and where.
    pub what: String,
    /// They lie behind this place.
    pub after: EntryPlace,
    /// They lie before this place; `None` if nothing is known.
    pub before: Option<EntryPlace>,
    /// Their sequence numbers lie in here.
    pub seqs: RangeInclusive<SeqNo>,
    /// Puts and deletes of single keys are, or may be, among them.
    pub entries: bool,
    /// Range deletes are, or may be, among them: what they deleted is there again.
    pub range_deletes: bool,
}

impl Loss {
    /// A loss of everything that `file` may have held with these numbers.
    pub(crate) fn of_file(file: FileName, what: impl fmt::Display, seqs: RangeInclusive<SeqNo>) -> Loss {
        Loss {
            file: file.to_string(),
            what: what.to_string(),
            after: (Vec::new(), SeqNo::MAX),
            before: None,
            seqs,
            entries: true,
            range_deletes: true,
        }
    }

    /// Whether an entry of this stored key, or a range delete over it, may be among what is lost.
    pub fn covers(&self, stored_key: &[u8], seq: SeqNo) -> bool {
        let (key, after) = &self.after;
        let behind = compare((key, *after), (stored_key, seq)).is_lt();
        let before = |(key, before): &EntryPlace| compare((stored_key, seq), (key, *before)).is_lt();
        behind && self.before.as_ref().is_none_or(before) && self.seqs.contains(&seq)
    }
}

/// `keys 0/"a" @9 .. 0/"m", sequence numbers 3 to 17: why`.
impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.entries, self.range_deletes) {
            (true, false) => "entries",
            (false, _) => "range deletes",
            (true, true) => "entries and range deletes",
        };
        write!(f, "{}: {what}, ", self.file)?;
        let all = self.after.0.is_empty() && self.before.is_none();
        if all {
            f.write_str("any key")?;
        } else {
            f.write_str("keys ")?;
            show_place(f, &self.after)?;
            f.write_str(" .. ")?;
            self.before.as_ref().map_or(Ok(()), |before| show_place(f, before))?;
        }
        match (*self.seqs.start(), *self.seqs.end()) {
            (1, end) if end >= SEQ_LIMIT - 1 => write!(f, ", any sequence number")?,
            (start, end) if end >= SEQ_LIMIT - 1 => write!(f, ", sequence numbers from {start} on")?,
            (start, end) => write!(f, ", sequence numbers {start} to {end}")?,
        }
        write!(f, ": {}", self.what)
    }
}

fn show_place(f: &mut fmt::Formatter<'_>, (key, seq): &EntryPlace) -> fmt::Result {
    let Some((keyspace, key)) = key.split_first() else { return f.write_str("the first") };
    write!(f, "{keyspace}/\"{}\"", key.escape_ascii())?;
    if *seq == SeqNo::MAX { Ok(()) } else { write!(f, " @{seq}") }
}

/// Where losses are noted: cursors that a merge owns tell through this.
pub(crate) type Losses = Arc<Mutex<Vec<Loss>>>;

/// A table that may be damaged: what is known of it before any entry is read.
pub(crate) struct Salvage {
    shared: Arc<TableFiles>,
    name: FileName,
    len: u64,
    place: Place,
    base_seq: Option<SeqNo>,
    footer: Option<Footer>,
    /// As manifest or footer have them, if either can be read.
    counts: Option<TableCounts>,
    pub(crate) start: Vec<u8>,
    pub(crate) end: Vec<u8>,
    pub(crate) range_deletes: RangeDeletes,
}

/// What a walk from block to block has found.
#[derive(Default)]
struct Walked {
    data: Vec<BlockHandle>,
    range_deletes: Option<RangeDeletes>,
    bounds: Option<(Vec<u8>, Vec<u8>)>,
    /// Where it came to bytes that are no block.
    broken: Option<u64>,
}

impl Salvage {
    /// Opens table `number`. `known` is what the manifest says of it; without that, it was written under one of `ids`.
    ///
    /// Errors: nothing of the table can be read, or it is not the one that is known.
    pub(crate) fn open(
        shared: &Arc<TableFiles>,
        number: u64,
        known: Option<&TableMeta>,
        ids: &[u128],
        losses: &Losses,
    ) -> Result<Salvage> {
        let name = FileName { kind: FileKind::SsTable, number };
        let file = shared.file(name)?;
        let stands = len_of(file.as_ref(), name, "salvage.len")?;
        let len = known.map_or(stands, |known| known.len.min(stands));
        let header = match Header::read(file.as_ref(), name, "salvage.header") {
            Ok(header) if known.is_some_and(|known| known.id != header.id) => {
                return Err(Error::corrupt(name, 32, "another database's table under this one's name"));
            }
            Ok(header) => Ok(header),
            Err(error @ Error::Invalid { .. }) => return Err(error),
            Err(error) => Err(error),
        };
        let ids: Vec<u128> = match (&header, known) {
            (Ok(header), _) => vec![header.id],
            (_, Some(known)) => vec![known.id],
            _ => ids.to_vec(),
        };
        let mut bytes = [0; FOOTER_LEN];
        let footer_at = len.saturating_sub(FOOTER_LEN as u64);
        let read = read_at(file.as_ref(), name, footer_at, &mut bytes, "salvage.footer").unwrap_or(0);
        let found = ids.iter().find_map(|id| {
            let place = Place::new(*id, number);
            Footer::decode(&bytes[..read], place, footer_at, name).ok().map(|footer| (place, footer))
        });
        let place = match (found, &header, known) {
            (Some((place, _)), ..) => place,
            (None, Ok(header), _) => header.place(),
            (None, _, Some(known)) => Place::new(known.id, number),
            (None, Err(error), None) => return Err(error.clone()),
        };
        let footer = found.map(|(_, footer)| footer);
        let counts = known.map(|known| known.counts).or(footer.map(|footer| footer.counts));
        let mut salvage = Salvage {
            shared: Arc::clone(shared),
            name,
            len,
            place,
            base_seq: header.ok().map(|header| header.own[0]),
            footer,
            counts,
            start: Vec::new(),
            end: vec![0xFF; KEY_LEN_MAX + 2],
            range_deletes: RangeDeletes::default(),
        };
        if let Some((start, end)) = known.map(|known| (known.start.clone(), known.end.clone())) {
            (salvage.start, salvage.end) = (start, end);
        } else if let Some((start, end)) = salvage.bounds() {
            (salvage.start, salvage.end) = (start, end);
        }
        salvage.take_range_deletes(losses);
        Ok(salvage)
    }

    /// The lowest and the highest sequence number that an entry of the table can have.
    pub(crate) fn seqs(&self) -> RangeInclusive<SeqNo> {
        self.counts
            .map_or(1..=SEQ_LIMIT - 1, |counts| counts.seq_min.max(1)..=counts.seq_max.min(SEQ_LIMIT - 1))
    }

    /// The sequence number that none in the table lies below, if it is known.
    pub(crate) fn base_seq(&self) -> SeqNo {
        self.base_seq.unwrap_or(1).clamp(1, (*self.seqs().start()).max(1))
    }

    fn loss(&self, what: impl fmt::Display, after: EntryPlace, before: EntryPlace) -> Loss {
        let (entries, range_deletes) = (true, false);
        let (file, what) = (self.name.to_string(), what.to_string());
        Loss { file, what, after, before: Some(before), seqs: self.seqs(), entries, range_deletes }
    }

    fn read(&self, handle: BlockHandle) -> Result<Vec<u8>> {
        let file = self.shared.file(self.name)?;
        read_block(file.as_ref(), self.len, self.name, self.place, handle, "salvage.read")
    }

    fn bounds(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        match &self.footer {
            Some(footer) => self.read(footer.bounds).ok().and_then(|bytes| decode_bounds(&bytes)),
            None => self.walk().ok()?.bounds,
        }
    }

    fn take_range_deletes(&mut self, losses: &Losses) {
        let none = self.counts.is_some_and(|counts| counts.range_deletes == 0);
        let gone = |what: &str| Error::corrupt(self.name, self.len, what);
        let found = match &self.footer {
            _ if none => return,
            Some(footer) => self.read(footer.range_deletes).and_then(|bytes| {
                RangeDeletes::decode(&bytes).ok_or_else(|| gone("the range deletes make no sense"))
            }),
            None => match self.walk() {
                // Behind a walk that came to the end there are no more blocks.
                Ok(Walked { broken: None, range_deletes: None, .. }) if self.counts.is_none() => return,
                Ok(walked) => {
                    walked.range_deletes.ok_or_else(|| gone("the footer and range deletes are gone"))
                }
                Err(error) => Err(error),
            },
        };
        let seqs = self.seqs();
        let found = found.and_then(|deletes| {
            let within = deletes.iter().all(|fragment| {
                self.start.as_slice() <= fragment.start
                    && fragment.end <= self.end.as_slice()
                    && fragment.seqs.iter().all(|seq| seqs.contains(seq))
            });
            if within { Ok(deletes) } else { Err(gone("a range delete lies outside its table's bounds")) }
        });
        match found {
            Ok(deletes) => self.range_deletes = deletes,
            Err(error) => {
                let (after, before) = ((self.start.clone(), SeqNo::MAX), (self.end.clone(), SeqNo::MAX));
                let loss = self.loss(error, after, before);
                losses.lock().push(Loss { entries: false, range_deletes: true, ..loss });
            }
        }
    }

    /// The data blocks, by the index or by walking; and where a walk broke off.
    fn blocks(&mut self) -> (Vec<BlockHandle>, Option<Error>) {
        let has_entries = self.counts.is_none_or(|counts| counts.entries > 0);
        if !has_entries {
            return (Vec::new(), None);
        }
        let indexed = self.footer.map(|footer| self.indexed(footer.index));
        if let Some(Ok(handles)) = indexed {
            return (handles, None);
        }
        let gone = |offset| Error::corrupt(self.name, offset, "the index is gone, and here no block follows");
        match self.walk() {
            // If fewer entries are found than are known of, this is where they would have followed.
            Ok(walked) => (walked.data, walked.broken.or(self.counts.map(|_| self.len)).map(gone)),
            Err(error) => (Vec::new(), Some(error)),
        }
    }

    /// What the index says; where the header is gone, also the base sequence number.
    fn indexed(&mut self, handle: BlockHandle) -> Result<Vec<BlockHandle>> {
        let malformed = || Error::corrupt(self.name, handle.offset, "the index makes no sense");
        let block = Block::new(self.read(handle)?, 0, self.name, handle.offset)?;
        let mut index = BlockCursor::new(Arc::new(block));
        let (mut handles, mut end): (Vec<BlockHandle>, u64) = (Vec::new(), 0);
        let mut exact: Vec<(BlockHandle, EntryPlace)> = Vec::new();
        index.seek_first()?;
        while let Some(separator) = index.entry() {
            let handle = BlockHandle::decode(separator.value).filter(|handle| handle.offset >= end);
            let handle = handle.ok_or_else(malformed)?;
            end = handle.offset.saturating_add(u64::from(handle.len) + BLOCK_TRAILER_LEN as u64);
            handles.push(handle);
            if separator.seq > 0 {
                // A few of the first, and the very last, which always is its block's last entry.
                exact.truncate(7);
                exact.push((handle, (separator.key.to_vec(), separator.seq)));
            }
            index.next()?;
        }
        if self.base_seq.is_none() {
            self.base_seq = exact.iter().find_map(|(handle, (key, seq))| {
                let block = Block::new(self.read(*handle).ok()?, 0, self.name, handle.offset).ok()?;
                let mut cursor = BlockCursor::new(Arc::new(block));
                cursor.seek(key, SeqNo::MAX).ok()?;
                let mut last = None;
                while let Some(entry) = cursor.entry().filter(|entry| entry.key == key.as_slice()) {
                    last = Some(entry.seq);
                    cursor.next().ok()?;
                }
                seq.checked_sub(last?)
            });
        }
        Ok(handles)
    }

    /// Goes from block to block, from the header on: data blocks, and behind them what else can be told by its form.
    fn walk(&self) -> Result<Walked> {
        let file = self.shared.file(self.name)?;
        let end = self.len.saturating_sub(if self.footer.is_some() { FOOTER_LEN as u64 } else { 0 });
        let (mut walked, mut offset, mut in_data) = (Walked::default(), HEADER_LEN, true);
        while offset < end {
            let mut wanted = WALK_LEN;
            let handle = loop {
                let mut bytes = vec![0; wanted.min((end - offset) as usize)];
                // What stood whole before a place that cannot be read is not lost with it.
                let Ok(read) = read_at(file.as_ref(), self.name, offset, &mut bytes, "salvage.read") else {
                    break None;
                };
                if let Some(len) = block_at(&bytes[..read], self.place, offset) {
                    break Some(BlockHandle { offset, len });
                }
                if read < wanted || wanted >= WALK_LEN_MAX {
                    break None;
                }
                wanted *= 4;
            };
            let Some(handle) = handle else {
                // A footer that is no footer any more looks like this too.
                let at_footer = !in_data && end - offset <= FOOTER_LEN as u64;
                walked.broken = (!at_footer).then_some(offset);
                break;
            };
            let bytes = self.read(handle)?;
            // The filter, which follows the data, has not their form; nothing behind it is taken for data any more.
            in_data &= holds_entries(&bytes, self.name, offset);
            if in_data {
                walked.data.push(handle);
            } else if let Some(deletes) = RangeDeletes::decode(&bytes).filter(|deletes| !deletes.is_empty()) {
                walked.range_deletes = Some(deletes);
            } else if let Some(bounds) = decode_bounds(&bytes) {
                walked.bounds = Some(bounds);
            }
            offset += u64::from(handle.len) + BLOCK_TRAILER_LEN as u64;
        }
        Ok(walked)
    }
}

/// The length of the block that begins with `bytes`, which stand at `offset`: it ends where its checksum fits.
fn block_at(bytes: &[u8], place: Place, offset: u64) -> Option<u32> {
    // The checksum of what comes before, so that many plausible lengths cost no more than one.
    let (mut crc, mut crc_of) = (place.checksum(offset, &[]), 0);
    (0..bytes.len().checked_sub(BLOCK_TRAILER_LEN - 1)?).find_map(|len| {
        // All but a few lengths are ruled out by what would be the trailer.
        let unpacked_len = Decoder::at(bytes, len + 1).u32()? as usize;
        let fits = match bytes[len] {
            PACKING_NONE => unpacked_len == len,
            PACKING_LZ4 => unpacked_len > len && unpacked_len / 255 <= len,
            _ => false,
        };
        if !fits {
            return None;
        }
        crc = crc32c::crc32c_append(crc, &bytes[crc_of..len]);
        crc_of = len;
        let whole = crc32c::crc32c_append(crc, &bytes[len..len + 5]);
        (Decoder::at(bytes, len + 5).u32() == Some(whole)).then_some(len as u32)
    })
}

/// Whether these are the bytes of a data block, by their form.
fn holds_entries(bytes: &[u8], name: FileName, offset: u64) -> bool {
    let Ok(block) = Block::new(bytes.to_vec(), 0, name, offset) else { return false };
    let mut cursor = BlockCursor::new(Arc::new(block));
    let mut whole = cursor.seek_first().is_ok();
    while whole && cursor.entry().is_some() {
        whole = cursor.next().is_ok();
    }
    whole
}

/// The tables that can be walked one after the other as one run: their stretches are disjoint.
pub(crate) fn runs_of(mut tables: Vec<Salvage>) -> Vec<Vec<Salvage>> {
    tables.sort_by(|a, b| a.start.cmp(&b.start));
    let mut runs: Vec<Vec<Salvage>> = Vec::new();
    for table in tables {
        let behind = |run: &&mut Vec<Salvage>| run.last().is_some_and(|last| last.end <= table.start);
        match runs.iter_mut().find(behind) {
            Some(run) => run.push(table),
            None => runs.push(vec![table]),
        }
    }
    runs
}

/// A position in what is whole of a run of tables. It only goes forward.
pub(crate) struct SalvageCursor {
    /// Those that are still to come, and the one that it stands in.
    tables: VecDeque<Salvage>,
    current: Option<Open>,
    losses: Losses,
}

/// The table that is being read.
struct Open {
    table: Salvage,
    handles: std::vec::IntoIter<BlockHandle>,
    block: Option<BlockCursor>,
    /// The last entry of the last whole block, and how many entries there were.
    last: EntryPlace,
    entries: u64,
    /// What ended the list of blocks before its time.
    broken: Option<Error>,
    /// The first bad block since the last whole one.
    gap: Option<Error>,
    /// Whether there were any.
    lossy: bool,
}

impl SalvageCursor {
    /// Over a run of tables, in order; what cannot be read is noted in `losses`.
    pub(crate) fn new(tables: Vec<Salvage>, losses: Losses) -> SalvageCursor {
        SalvageCursor { tables: tables.into(), current: None, losses }
    }

    /// On to the next whole block that has an entry.
    fn next_block(&mut self) {
        while !self.current.as_ref().is_some_and(Open::stands) {
            let Some(open) = &mut self.current else {
                let Some(table) = self.tables.pop_front() else { return };
                self.current = Some(Open::new(table));
                continue;
            };
            match open.handles.next() {
                Some(handle) => open.take(handle, &self.losses),
                None => {
                    open.finish(&self.losses);
                    self.current = None;
                }
            }
        }
    }
}

impl Open {
    fn new(mut table: Salvage) -> Open {
        let (handles, broken) = table.blocks();
        let last = (table.start.clone(), SeqNo::MAX);
        Open {
            table,
            handles: handles.into_iter(),
            block: None,
            last,
            entries: 0,
            broken,
            gap: None,
            lossy: false,
        }
    }

    fn stands(&self) -> bool {
        self.block.as_ref().is_some_and(|block| block.entry().is_some())
    }

    /// Opens a block, unless it is bad.
    fn take(&mut self, handle: BlockHandle, losses: &Losses) {
        match self.checked(handle) {
            Ok((cursor, last, entries)) => {
                if let (Some(gap), Some(first)) = (self.gap.take(), cursor.entry()) {
                    let before = (first.key.to_vec(), first.seq);
                    losses.lock().push(self.table.loss(gap, self.last.clone(), before));
                }
                self.last = last;
                self.entries += entries;
                self.block = Some(cursor);
            }
            Err(error) => {
                (self.block, self.lossy) = (None, true);
                self.gap.get_or_insert(error);
            }
        }
    }

    /// Notes what is lost at the table's end.
    fn finish(&mut self, losses: &Losses) {
        let before = (self.table.end.clone(), SeqNo::MAX);
        let missing = self.table.counts.is_some_and(|counts| self.entries < counts.entries);
        let cut = self.broken.take().filter(|_| missing || self.table.counts.is_none());
        if let Some(gap) = self.gap.take().or(cut) {
            losses.lock().push(self.table.loss(gap, self.last.clone(), before));
        } else if missing && !self.lossy {
            let after = (self.table.start.clone(), SeqNo::MAX);
            losses.lock().push(self.table.loss("the index passes over entries", after, before));
        }
    }

    /// The block at its first entry, its last entry, and how many there are; all of them in order and within bounds.
    fn checked(&self, handle: BlockHandle) -> Result<(BlockCursor, EntryPlace, u64)> {
        let table = &self.table;
        let corrupt = |what| Error::corrupt(table.name, handle.offset, what);
        let base_seq =
            table.base_seq.ok_or_else(|| corrupt("the header is gone, and with it what numbers begin at"))?;
        let block = Arc::new(Block::new(table.read(handle)?, base_seq, table.name, handle.offset)?);
        let mut cursor = BlockCursor::new(Arc::clone(&block));
        let (mut last, mut entries, seqs) = (self.last.clone(), 0, table.seqs());
        cursor.seek_first()?;
        while let Some(entry) = cursor.entry() {
            let order = (entry.key, entry.seq);
            let within = table.start.as_slice() <= entry.key && entry.key < table.end.as_slice();
            if !within || entry.key.is_empty() || !seqs.contains(&entry.seq) {
                return Err(corrupt("an entry lies outside the table's bounds"));
            }
            if compare((&last.0, last.1), order).is_ge() {
                return Err(corrupt("the entries are not in order"));
            }
            last = (entry.key.to_vec(), entry.seq);
            entries += 1;
            cursor.next()?;
        }
        let mut cursor = BlockCursor::new(block);
        cursor.seek_first()?;
        Ok((cursor, last, entries))
    }
}

impl Cursor for SalvageCursor {
    /// Requires: the very beginning, as a merge of everything asks for it.
    fn seek(&mut self, key: &[u8], _seq: SeqNo) -> Result<()> {
        assert!(
            key.is_empty() && self.current.is_none(),
            "what is salvaged is read once, from the beginning"
        );
        self.next_block();
        Ok(())
    }

    fn seek_before(&mut self, _key: &[u8]) -> Result<()> {
        unreachable!("what is salvaged is read forward")
    }

    fn next(&mut self) -> Result<()> {
        self.current.as_mut().and_then(|open| open.block.as_mut()).expect("a cursor on an entry").next()?;
        self.next_block();
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        unreachable!("what is salvaged is read forward")
    }

    fn entry(&self) -> Option<EntryRef<'_>> {
        self.current.as_ref()?.block.as_ref()?.entry()
    }

    fn value(&self) -> Value {
        let block = self.current.as_ref().and_then(|open| open.block.as_ref());
        block.map_or_else(|| Value::from(&[][..]), BlockCursor::value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_says_which_keys_and_which_numbers() {
        let name = FileName { kind: cairndb_storage::FileKind::SsTable, number: 7 };
        let of = |after: EntryPlace, before: Option<EntryPlace>, seqs, entries, range_deletes| {
            Loss { after, before, entries, range_deletes, ..Loss::of_file(name, "why", seqs) }.to_string()
        };
        let (first, m) = ((Vec::new(), SeqNo::MAX), (b"\0m".to_vec(), SeqNo::MAX));
        let nine = (b"\x02a".to_vec(), 9);
        let told = [
            of(first.clone(), None, 1..=SEQ_LIMIT - 1, true, true),
            of(nine, Some(m.clone()), 3..=17, true, false),
            of(first, Some(m.clone()), 5..=SEQ_LIMIT - 1, false, true),
            of(m, None, 1..=SEQ_LIMIT - 2, true, false),
        ];
        let expected = [
            "entries and range deletes, any key, any sequence number: why".to_string(),
            r#"entries, keys 2/"a" @9 .. 0/"m", sequence numbers 3 to 17: why"#.to_string(),
            r#"range deletes, keys the first .. 0/"m", sequence numbers from 5 on: why"#.to_string(),
            format!(r#"entries, keys 0/"m" .. , sequence numbers 1 to {}: why"#, SEQ_LIMIT - 2),
        ];
        assert_eq!(told, expected.map(|text| format!("{name}: {text}")));
    }
}
