//! View: one moment of the database: its memtables, its version, and a sequence number.
//!
//! Every read goes through a view. It looks from newest to oldest (active memtable, frozen memtable, level 0 from its
//! newest run, then level by level) and stops at the first entry of the key that it may see: what lies deeper is
//! older. A range delete met on the way hides everything older under it.
//!
//! # Where it sits
//! On memtables and versions; `db` takes views, snapshots keep the sequence number of one.
//!
//! # Invariants
//! - I1. A view sees exactly the entries with a sequence number up to its own (promise 4).
//! - I2. The clock is read once, when the first expiry is met, after the tables were taken: compaction can have dropped
//!   only what had expired before.

use std::cell::OnceCell;

use crate::clock::MonotonicClock;
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::key::{
    Entry, EntryRef, Kind, SeqNo, StoredRange, Value, compare_from_first, hash_key, is_same_from_last,
    successor,
};
use crate::memtable::{Memtable, MemtableCursor};
use crate::merge::Merge;
use crate::publish::Edition;
use crate::range_delete::RangeDeletes;
use crate::snapshot::Snapshots;
use crate::sstable::{Keep, Table, TableCursor};
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::version::{LevelCursor, Version};
use crate::wal::Checkpoint;

/// What readers take: everything the database holds at one moment, newest first.
#[derive(Clone)]
pub(crate) struct Tables {
    pub(crate) active: Stage,
    pub(crate) frozen: Option<Stage>,
    pub(crate) version: Arc<Version>,
    pub(crate) clock: Arc<MonotonicClock>,
}

/// A memtable, and where recovery would have to begin to fill it again.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) memtable: Arc<Memtable>,
    pub(crate) checkpoint: Checkpoint,
}

impl Tables {
    /// The memtables, newest first.
    pub(crate) fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        [Some(&self.active), self.frozen.as_ref()].into_iter().flatten().map(|stage| &stage.memtable)
    }

    /// Where recovery would have to begin to fill the memtables again.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        self.frozen.as_ref().unwrap_or(&self.active).checkpoint
    }
}

/// One moment of the database. It keeps alive what it may read.
pub(crate) struct View {
    tables: Arc<Edition<Tables>>,
    seq: SeqNo,
    now_ms: OnceCell<u64>,
}

impl View {
    /// The moment `seq` of `tables`. A snapshot brings the clock's reading that it keeps.
    pub(crate) fn new(tables: Arc<Edition<Tables>>, seq: SeqNo, now_ms: Option<u64>) -> View {
        View { tables, seq, now_ms: now_ms.map(OnceCell::from).unwrap_or_default() }
    }

    /// The last sequence number that it sees.
    pub(crate) fn seq(&self) -> SeqNo {
        self.seq
    }

    pub(crate) fn tables(&self) -> &Arc<Edition<Tables>> {
        &self.tables
    }

    /// The entry of the stored key `key`, if it has a value.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        // The newest range delete over the key in what has been looked through. One is enough to end the search: all
        // that has not been looked through yet is older.
        let (mut deleted_at, hash) = (None, hash_key(key));
        for memtable in self.tables.memtables() {
            deleted_at = memtable.newest_range_delete_over(key, self.seq);
            if let Some(entry) = memtable.get(key, hash, self.seq) {
                let (seq, kind, expires_at_ms) = (entry.seq(), entry.kind(), entry.expires_at_ms());
                return Ok(self.resolve(deleted_at, seq, kind, expires_at_ms, || entry.value()));
            }
            if deleted_at.is_some() {
                return Ok(None);
            }
        }
        let mut passed_over = PassedOver::default();
        for table in self.candidates(key) {
            if let Some(deletes) = table.range_deletes()? {
                deleted_at = deletes.newest_over(key, self.seq);
            }
            if !table.may_contain(hash)? {
                passed_over.count(table);
            } else if let Some(entry) = table.get(key, self.seq)? {
                return Ok(
                    self.resolve(deleted_at, entry.seq, entry.kind, entry.expires_at_ms, || entry.value)
                );
            }
            if deleted_at.is_some() {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// A cursor over the values in `range`.
    pub(crate) fn cursor(self, range: StoredRange) -> Result<ViewCursor> {
        ViewCursor::new(self, range)
    }

    /// About how many bytes the values in `range` take, in memory and on disk.
    pub(crate) fn approximate_len(&self, range: &StoredRange) -> Result<u64> {
        let mut len = 0;
        for (_, table) in
            self.tables.version.tables().filter(|(_, table)| table.meta.overlaps(&range.start, &range.end))
        {
            let (from, to) = (table.approximate_offset(&range.start)?, table.approximate_offset(&range.end)?);
            len += to.saturating_sub(from);
        }
        for memtable in self.tables.memtables() {
            let mut cursor = MemtableCursor::new(Arc::clone(memtable));
            cursor.seek(&range.start, SeqNo::MAX)?;
            while let Some(entry) = cursor.entry().filter(|entry| entry.key < range.end.as_slice()) {
                len += entry.data_len();
                cursor.next()?;
            }
        }
        Ok(len)
    }

    /// The tables that may hold `key`, newest data first.
    pub(crate) fn candidates<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a Arc<Table>> {
        let version = &self.tables.version;
        let around =
            move |table: &&Arc<Table>| table.meta.start.as_slice() <= key && key < table.meta.end.as_slice();
        let level_0 = version.levels[0].iter().filter(around);
        level_0.chain(version.levels[1..].iter().filter_map(move |level| level.table_for(key)))
    }

    fn resolve(
        &self,
        deleted_at: Option<SeqNo>,
        seq: SeqNo,
        kind: Kind,
        expires_at_ms: u64,
        value: impl FnOnce() -> Value,
    ) -> Option<Entry> {
        let hidden = deleted_at.is_some_and(|deleted_at| deleted_at > seq);
        let expires_at_ms = (kind == Kind::PutWithExpiry).then_some(expires_at_ms);
        let expired = expires_at_ms.is_some_and(|at| at <= self.now_ms());
        if hidden || expired || kind == Kind::Delete {
            return None;
        }
        Some(Entry { value: value(), seq, expires_at_ms })
    }

    fn now_ms(&self) -> u64 {
        *self.now_ms.get_or_init(|| self.tables.clock.now_ms())
    }

    /// The range deletes over `range` that it sees, and newer ones: of each kind, over a key, the newest.
    fn range_deletes(&self, range: &StoredRange) -> Result<RangeDeletes> {
        let mut all = RangeDeletes::default();
        let alike = |newer: SeqNo, older: SeqNo| (newer <= self.seq) == (older <= self.seq);
        for memtable in self.tables.memtables().filter(|memtable| memtable.has_range_deletes()) {
            all.merge_alike(&memtable.range_deletes(), &range.start, &range.end, alike);
        }
        for (_, table) in
            self.tables.version.tables().filter(|(_, table)| table.meta.overlaps(&range.start, &range.end))
        {
            if let Some(deletes) = table.range_deletes()? {
                all.merge_alike(&deletes, &range.start, &range.end, alike);
            }
        }
        Ok(all)
    }
}

/// Tables that a read passes over, counted once at its end.
#[derive(Default)]
struct PassedOver<'a> {
    count: u64,
    last: Option<&'a Table>,
}

impl<'a> PassedOver<'a> {
    fn count(&mut self, table: &'a Table) {
        (self.count, self.last) = (self.count + 1, Some(table));
    }
}

impl Drop for PassedOver<'_> {
    fn drop(&mut self) {
        if let Some(table) = self.last {
            table.count_passed_over(self.count);
        }
    }
}

/// Cursors over everything that `tables` hold.
fn cursors_over(tables: &Tables) -> Vec<Box<dyn Cursor>> {
    let mut cursors: Vec<Box<dyn Cursor>> = Vec::new();
    for memtable in tables.memtables() {
        cursors.push(Box::new(MemtableCursor::new(Arc::clone(memtable))));
    }
    for table in tables.version.levels[0].iter() {
        cursors.push(Box::new(TableCursor::new(Arc::clone(table), Keep::Seldom)));
    }
    for run in tables.version.levels[1..].iter().filter(|run| !run.is_empty()) {
        cursors.push(Box::new(LevelCursor::new(Arc::clone(run), Keep::Seldom)));
    }
    cursors
}

/// A position over the values of a view: of each key its newest entry, and only if that is a value.
pub(crate) struct ViewCursor {
    view: View,
    range: StoredRange,
    merge: Merge,
    range_deletes: RangeDeletes,
    /// The key that the cursor stands on, or has just passed over; empty before the first.
    key: Vec<u8>,
    /// Walking backward, the entry is known only when the walk has passed it, so it is held here.
    held: Option<(Entry, bool)>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// On the merge's entry.
    Forward,
    /// On the held entry; the merge stands before it.
    Backward,
    /// On none.
    Nowhere,
}

impl ViewCursor {
    fn new(view: View, range: StoredRange) -> Result<ViewCursor> {
        let range_deletes = view.range_deletes(&range)?;
        let merge = Merge::new(cursors_over(&view.tables));
        Ok(ViewCursor {
            view,
            range,
            merge,
            range_deletes,
            key: Vec::new(),
            held: None,
            state: State::Nowhere,
        })
    }

    /// Goes to the first value at or behind `key` that lies in the range.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<()> {
        let from = if key < self.range.start.as_slice() { self.range.start.clone() } else { key.to_vec() };
        self.key.clear();
        self.merge.seek(&from, SeqNo::MAX)?;
        self.find_forward()
    }

    /// Goes to the last value before `key` that lies in the range.
    pub(crate) fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        let to = if key > self.range.end.as_slice() { self.range.end.clone() } else { key.to_vec() };
        self.merge.seek_before(&to)?;
        self.find_backward()
    }

    /// Stands on no entry.
    fn leave(&mut self) -> Result<()> {
        self.state = State::Nowhere;
        Ok(())
    }

    pub(crate) fn seek_first(&mut self) -> Result<()> {
        self.seek(&[])
    }

    pub(crate) fn seek_last(&mut self) -> Result<()> {
        let end = self.range.end.clone();
        self.seek_before(&end)
    }

    /// Goes one value on.
    pub(crate) fn next(&mut self) -> Result<()> {
        match self.state {
            State::Forward => {
                self.merge.next()?;
                self.find_forward()
            }
            State::Backward => {
                let next = successor(&self.key);
                self.seek(&next)
            }
            State::Nowhere => Ok(()),
        }
    }

    /// Goes one value back.
    pub(crate) fn prev(&mut self) -> Result<()> {
        match self.state {
            State::Backward => self.find_backward(),
            State::Forward => {
                let here = self.key.clone();
                self.seek_before(&here)
            }
            State::Nowhere => Ok(()),
        }
    }

    /// The stored key and the value's bytes.
    pub(crate) fn get(&self) -> Option<(&[u8], &[u8])> {
        match self.state {
            State::Forward => Some((&self.key, self.merge.entry()?.value)),
            State::Backward => self.held.as_ref().map(|(entry, _)| (self.key.as_slice(), &entry.value[..])),
            State::Nowhere => None,
        }
    }

    /// The stored key.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        (self.state != State::Nowhere).then_some(self.key.as_slice())
    }

    /// The value, to keep, with what is known of it.
    pub(crate) fn to_entry(&self) -> Option<Entry> {
        match self.state {
            State::Forward => self.merge.entry().map(|entry| entry_of(entry, self.merge.value())),
            State::Backward => self.held.as_ref().map(|(entry, _)| entry.clone()),
            State::Nowhere => None,
        }
    }

    /// From where the merge stands, on to the newest visible entry of the next key that has a value.
    fn find_forward(&mut self) -> Result<()> {
        (self.state, self.held) = (State::Nowhere, None);
        while let Some(entry) = self.merge.entry() {
            if compare_from_first(entry.key, &self.range.end).is_ge() {
                return Ok(());
            }
            let is_newest = entry.seq <= self.view.seq && !is_same_from_last(entry.key, &self.key);
            if is_newest {
                self.key.clear();
                self.key.extend_from_slice(entry.key);
                if self.has_value(entry) {
                    self.state = State::Forward;
                    return Ok(());
                }
            }
            self.merge.next()?;
        }
        Ok(())
    }

    /// From where the merge stands, back to the previous key that has a value. A key's entries come oldest first.
    fn find_backward(&mut self) -> Result<()> {
        self.state = State::Nowhere;
        self.held = None;
        while let Some(entry) = self.merge.entry() {
            if self.held.is_some() && entry.key != self.key.as_slice() {
                if self.held.as_ref().is_some_and(|(_, has_value)| *has_value) {
                    break;
                }
                self.held = None;
            }
            if entry.key < self.range.start.as_slice() {
                break;
            }
            if entry.seq <= self.view.seq {
                if self.held.is_none() {
                    self.key.clear();
                    self.key.extend_from_slice(entry.key);
                }
                self.held = Some((entry_of(entry, self.merge.value()), self.has_value(entry)));
            }
            self.merge.prev()?;
        }
        if self.held.as_ref().is_some_and(|(_, has_value)| *has_value) {
            self.state = State::Backward;
        }
        Ok(())
    }

    fn has_value(&self, entry: EntryRef<'_>) -> bool {
        let live = match entry.kind {
            Kind::PutWithExpiry => entry.is_live(self.view.now_ms()),
            kind => kind == Kind::Put,
        };
        live && self
            .range_deletes
            .newest_over(entry.key, self.view.seq)
            .is_none_or(|deleted_at| deleted_at < entry.seq)
    }
}

fn entry_of(entry: EntryRef<'_>, value: Value) -> Entry {
    let expires_at_ms = (entry.kind == Kind::PutWithExpiry).then_some(entry.expires_at_ms);
    Entry { value, seq: entry.seq, expires_at_ms }
}

/// What a long read holds: the database, its place among the readers, and the word that the database is closed.
pub(crate) struct Hold {
    #[expect(dead_code, reason = "held for its drop: the last one closes the database")]
    pub(crate) database: Arc<dyn Send + Sync>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) id: u64,
    pub(crate) closed: Arc<AtomicBool>,
}

impl Hold {
    fn check(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.snapshots.release(self.id);
    }
}

/// The values of a stretch of keys, from either end, as an iterator that owns what it needs.
///
/// An item is a key and its value, or the error that ended the scan. The scan sees one moment: that at which it was
/// made, or that of its snapshot. While it lives it keeps the files it may read.
pub struct Scan {
    front: Result<Option<ViewCursor>>,
    back: Option<ViewCursor>,
    make_back: Option<Box<dyn FnOnce() -> Result<ViewCursor> + Send>>,
    range: StoredRange,
    hold: Hold,
}

impl Scan {
    pub(crate) fn new(
        front: Result<ViewCursor>,
        make_back: Box<dyn FnOnce() -> Result<ViewCursor> + Send>,
        range: StoredRange,
        hold: Hold,
    ) -> Scan {
        Scan { front: front.map(Some), back: None, make_back: Some(make_back), range, hold }
    }

    /// The next key with its whole entry.
    pub fn next_entry(&mut self) -> Option<Result<(Vec<u8>, Entry)>> {
        self.step(false).transpose()
    }

    /// The next key from the end with its whole entry.
    pub fn next_entry_back(&mut self) -> Option<Result<(Vec<u8>, Entry)>> {
        self.step(true).transpose()
    }

    fn step(&mut self, back: bool) -> Result<Option<(Vec<u8>, Entry)>> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let found = self.hold.check().and_then(|()| if back { self.step_back() } else { self.step_front() });
        if !matches!(found, Ok(Some(_))) {
            // Past its end, or past an error, a scan is over.
            self.range.end = self.range.start.clone();
        }
        found
    }

    fn step_front(&mut self) -> Result<Option<(Vec<u8>, Entry)>> {
        let cursor = match &mut self.front {
            Ok(Some(cursor)) => cursor,
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.clone()),
        };
        if cursor.state == State::Nowhere {
            cursor.seek(&self.range.start)?;
        } else {
            cursor.next()?;
        }
        let (Some(key), Some(entry)) = (cursor.key(), cursor.to_entry()) else { return Ok(None) };
        if key >= self.range.end.as_slice() {
            return Ok(None);
        }
        self.range.start = successor(key);
        Ok(Some((key[1..].to_vec(), entry)))
    }

    fn step_back(&mut self) -> Result<Option<(Vec<u8>, Entry)>> {
        if let Some(make_back) = self.make_back.take() {
            self.back = Some(make_back()?);
        }
        let Some(cursor) = &mut self.back else { return Ok(None) };
        if cursor.state == State::Nowhere {
            cursor.seek_before(&self.range.end)?;
        } else {
            cursor.prev()?;
        }
        let (Some(key), Some(entry)) = (cursor.key(), cursor.to_entry()) else { return Ok(None) };
        if key < self.range.start.as_slice() {
            return Ok(None);
        }
        self.range.end = key.to_vec();
        Ok(Some((key[1..].to_vec(), entry)))
    }
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().map(|item| item.map(|(key, entry)| (key, entry.value)))
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_entry_back().map(|item| item.map(|(key, entry)| (key, entry.value)))
    }
}

/// A position over the values of a stretch of keys, which lends them without copying.
///
/// It stands between two keys, at first before all of them: [`RangeCursor::next`] passes over the key behind it and lends
/// it, [`RangeCursor::prev`] the key before it.
/// ```
/// # use cairndb::Db;
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = Db::open(dir.path().join("db")).unwrap();
/// # for key in ["a", "b", "c"] { db.put(key, key).unwrap(); }
/// let mut cursor = db.cursor(..);
/// cursor.seek("b");
/// assert_eq!(cursor.next()?, Some((&b"b"[..], &b"b"[..])));
/// assert_eq!(cursor.next()?, Some((&b"c"[..], &b"c"[..])));
/// assert_eq!(cursor.next()?, None);
/// assert_eq!(cursor.prev()?, Some((&b"c"[..], &b"c"[..])));
/// # Ok::<(), cairndb::Error>(())
/// ```
pub struct RangeCursor {
    cursor: Result<ViewCursor>,
    gap: Gap,
    /// Where `Gap::Before` is.
    sought: Vec<u8>,
    keyspace: u8,
    hold: Hold,
}

/// Where a range cursor stands.
#[derive(Clone, Copy)]
enum Gap {
    Start,
    End,
    /// Before the key that was sought.
    Before,
    /// Behind the key that the cursor stands on, which `next` lent.
    Behind,
    /// Before the key that the cursor stands on, which `prev` lent.
    Ahead,
}

impl RangeCursor {
    pub(crate) fn new(cursor: Result<ViewCursor>, keyspace: u8, hold: Hold) -> RangeCursor {
        RangeCursor { cursor, gap: Gap::Start, sought: Vec::new(), keyspace, hold }
    }

    /// Goes before `key`, or before the first key behind it.
    pub fn seek(&mut self, key: impl AsRef<[u8]>) {
        self.sought = crate::key::stored_key(self.keyspace, key.as_ref());
        self.gap = Gap::Before;
    }

    /// Goes before the first key.
    pub fn seek_first(&mut self) {
        self.gap = Gap::Start;
    }

    /// Goes behind the last key.
    pub fn seek_last(&mut self) {
        self.gap = Gap::End;
    }

    /// Passes over the next key, and lends it and its value. After an error every call answers that error.
    #[expect(clippy::should_implement_trait, reason = "it lends, which Iterator cannot")]
    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.pass(Gap::Behind, Gap::End, |cursor, gap, sought| match gap {
            Gap::Behind => cursor.next(),
            Gap::Start => cursor.seek_first(),
            Gap::Before => cursor.seek(sought),
            Gap::Ahead => {
                let here = cursor.key().unwrap_or_default().to_vec();
                cursor.seek(&here)
            }
            Gap::End => cursor.leave(),
        })
    }

    /// Passes back over the key before, and lends it and its value. After an error every call answers that error.
    pub fn prev(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.pass(Gap::Ahead, Gap::Start, |cursor, gap, sought| match gap {
            Gap::Ahead => cursor.prev(),
            Gap::End => cursor.seek_last(),
            Gap::Before => cursor.seek_before(sought),
            Gap::Behind => {
                let next = successor(cursor.key().unwrap_or_default());
                cursor.seek_before(&next)
            }
            Gap::Start => cursor.leave(),
        })
    }

    /// Moves from the gap it stands in; it comes to stand `beyond` the key it passed, or at the `edge` if there is none.
    fn pass(
        &mut self,
        beyond: Gap,
        edge: Gap,
        step: impl FnOnce(&mut ViewCursor, Gap, &[u8]) -> Result<()>,
    ) -> Result<Option<(&[u8], &[u8])>> {
        self.hold.check()?;
        let gap = std::mem::replace(&mut self.gap, edge);
        let cursor = self.cursor.as_mut().map_err(|error| error.clone())?;
        if let Err(error) = step(cursor, gap, &self.sought) {
            self.cursor = Err(error.clone());
            return Err(error);
        }
        let Ok(cursor) = &self.cursor else { return Ok(None) };
        let Some((key, value)) = cursor.get() else { return Ok(None) };
        self.gap = beyond;
        Ok(Some((&key[1..], value)))
    }

    /// The entry that was lent last, whole.
    pub fn entry(&self) -> Option<Entry> {
        match (&self.gap, &self.cursor) {
            (Gap::Behind | Gap::Ahead, Ok(cursor)) => cursor.to_entry(),
            _ => None,
        }
    }
}
