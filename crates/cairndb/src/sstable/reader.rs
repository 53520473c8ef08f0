//! Reader: a table is opened when it is first asked, and asked block by block.
//!
//! What it reads it leaves in two caches that all tables share: blocks, bounded by the memory budget, and open files,
//! bounded by their number. Its index and its filter, which every read asks, it holds itself as long as all tables
//! together hold no more than a share of that budget; beyond it they too are in the cache.

use std::ops::Deref;

use cairndb_storage::{File, FileKind, FileName, Storage};

use super::TableMeta;
use super::block::{Block, BlockCursor, BlockEntry, BlockHandle, Buffers, read_block_with};
use super::filter::Filter;
use super::footer::{FOOTER_LEN, Footer};
use super::index::Index;
use crate::cache::Cache;
use crate::coding::{Decoder, Place};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::files::read_at;
use crate::header::Header;
use crate::key::{EntryRef, SeqNo, Value, compare};
use crate::publish::StripedCount;
use crate::range_delete::RangeDeletes;
use crate::sync::{Arc, AtomicBool, Mutex, OnceLock, Ordering};

/// Of the memory for what is read, tables may hold one part in so many themselves.
const HELD_SHARE: u64 = 2;

/// So many buffers are kept for blocks to come, and none that is longer than a block usually is, in bytes.
const SPENT_BUFFERS_MAX: usize = 32;
const SPENT_BUFFER_LEN_MAX: usize = 8 << 10;

/// What all tables of a database share.
pub(crate) struct TableFiles {
    pub(crate) storage: Arc<dyn Storage>,
    blocks: Cache<Cached>,
    memory: Mutex<Memory>,
    /// Buffers of blocks that had to go.
    spent: Mutex<Vec<Vec<u8>>>,
    pub(crate) files: Cache<Arc<dyn File>>,
    pub(crate) filter_counts: FilterCounts,
    /// The database is closed: somebody else may have opened it and removed what a read under way still names.
    pub(crate) closed: Arc<AtomicBool>,
}

/// Of what use filters were to reads of one key.
#[derive(Default)]
pub(crate) struct FilterCounts {
    /// Tables that were passed over.
    pub(crate) passed_over: StripedCount,
    /// Tables that were let through, and had nothing.
    pub(crate) let_through: StripedCount,
}

/// How the memory for what is read is divided, in bytes: what tables hold themselves, the cache does without.
struct Memory {
    capacity: u64,
    held: u64,
}

/// What the block cache holds.
#[derive(Clone)]
enum Cached {
    Block(Arc<Block>),
    Index(Arc<Index>),
    Filter(Arc<Filter>),
    RangeDeletes(Arc<RangeDeletes>),
}

impl TableFiles {
    pub(crate) fn new(storage: Arc<dyn Storage>, cache_bytes: u64, open_files_max: usize) -> TableFiles {
        let files = Cache::with_shards(open_files_max as u64, 1);
        let memory = Mutex::new(Memory { capacity: cache_bytes, held: 0 });
        let (blocks, spent) = (Cache::new(cache_bytes), Mutex::new(Vec::new()));
        let (filter_counts, closed) = (FilterCounts::default(), Arc::default());
        TableFiles { storage, blocks, memory, spent, files, filter_counts, closed }
    }

    /// Changes how much memory what is read may take, in bytes.
    pub(crate) fn set_capacity(&self, capacity: u64) {
        let mut memory = self.memory.lock();
        memory.capacity = capacity;
        self.blocks.set_capacity(memory.cache_capacity());
    }

    /// How much memory what was read takes, in bytes.
    pub(crate) fn memory_len(&self) -> u64 {
        self.memory.lock().held + self.blocks.weight()
    }

    /// How often a block was found in the cache, and how often not.
    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        self.blocks.hits_and_misses()
    }

    /// Takes memory for what a table is to hold itself, from the cache; `false` if that would be too much.
    fn hold(&self, weight: u64) -> bool {
        let mut memory = self.memory.lock();
        let fits = memory.held + weight <= memory.capacity / HELD_SHARE;
        if fits {
            memory.held += weight;
            self.blocks.set_capacity(memory.cache_capacity());
        }
        fits
    }

    /// Memory that nobody needs any more, if there is some.
    fn spent_buffers(&self) -> Buffers {
        let mut spent = self.spent.lock();
        Buffers { packed: spent.pop().unwrap_or_default(), unpacked: spent.pop().unwrap_or_default() }
    }

    /// Takes the memory of a block that somebody has done with, if nobody else has it. The next block is read into it: else
    /// what one thread frees and another takes would come from different heaps of the allocator, and both would grow.
    fn take_block(&self, block: Arc<Block>) {
        if let Some(block) = Arc::into_inner(block) {
            self.take_buffers([block.into_bytes()]);
        }
    }

    fn take_buffers<const N: usize>(&self, buffers: [Vec<u8>; N]) {
        let fits = |buffer: &Vec<u8>| (1..=SPENT_BUFFER_LEN_MAX).contains(&buffer.capacity());
        let mut spent = self.spent.lock();
        let room = SPENT_BUFFERS_MAX.saturating_sub(spent.len());
        spent.extend(buffers.into_iter().filter(fits).take(room));
    }

    fn release(&self, weight: u64) {
        let mut memory = self.memory.lock();
        memory.held -= weight;
        self.blocks.set_capacity(memory.cache_capacity());
    }

    /// The file; opened anew if it was closed to make room.
    ///
    /// Errors: `Closed` rather than `Corrupt` for a missing file, once the database is closed.
    pub(super) fn file(&self, name: FileName) -> Result<Arc<dyn File>> {
        let key = (name.number, 0);
        if let Some(file) = self.files.get(key) {
            return Ok(file);
        }
        let file = self.storage.open("sstable.open", name).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound if self.closed.load(Ordering::Acquire) => Error::Closed,
            std::io::ErrorKind::NotFound => {
                Error::corrupt(name, 0, "the manifest names this table, and it is not there")
            }
            _ => Error::io(format_args!("opening {name}"), e),
        })?;
        self.files.insert(key, Arc::clone(&file), 1, drop);
        Ok(file)
    }

    /// Forgets what is kept of table `number`, which is about to go.
    pub(crate) fn forget(&self, number: u64) {
        self.blocks.remove_file(number);
        self.files.remove_file(number);
    }
}

impl Memory {
    fn cache_capacity(&self) -> u64 {
        self.capacity.saturating_sub(self.held)
    }
}

/// A table that can be read. Safe to use from any thread.
pub(crate) struct Table {
    pub(crate) meta: TableMeta,
    shared: Arc<TableFiles>,
    opened: OnceLock<Opened>,
    // What it holds itself, if there is memory for that.
    index: OnceLock<Arc<Index>>,
    filter: OnceLock<Arc<Filter>>,
}

/// What a table holds itself, or has just taken from the cache.
enum Held<'a, T> {
    Itself(&'a T),
    Cached(Arc<T>),
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Held::Itself(held) => held,
            Held::Cached(cached) => cached,
        }
    }
}

/// What is learnt when a table is first opened.
#[derive(Clone, Copy)]
struct Opened {
    footer: Footer,
    base_seq: SeqNo,
    place: Place,
}

impl Table {
    pub(crate) fn new(meta: TableMeta, shared: Arc<TableFiles>) -> Table {
        Table { meta, shared, opened: OnceLock::new(), index: OnceLock::new(), filter: OnceLock::new() }
    }

    pub(crate) fn name(&self) -> FileName {
        FileName { kind: FileKind::SsTable, number: self.meta.number }
    }

    /// Whether the table may hold a key with this hash. If not, nobody need ask it for that key.
    pub(crate) fn may_contain(&self, hash: u64) -> Result<bool> {
        Ok(self.meta.counts.entries > 0 && self.filter()?.may_contain(hash))
    }

    /// The newest entry of `key` among those that a reader at `seq` sees; range deletes apart.
    pub(crate) fn get(&self, key: &[u8], seq: SeqNo) -> Result<Option<BlockEntry>> {
        let found = match self.block_of(key, seq)? {
            Some(handle) => self.get_in_block(handle, key, seq)?,
            None => None,
        };
        if found.is_none() {
            self.shared.filter_counts.let_through.add(1);
        }
        Ok(found)
    }

    /// The block in which `key` is, if it is in any, and whether that is in the cache.
    pub(crate) fn locate(&self, key: &[u8], seq: SeqNo) -> Result<Option<(BlockHandle, bool)>> {
        Ok(self.block_of(key, seq)?.map(|handle| (handle, self.cached(handle).is_some())))
    }

    /// So many tables, this one the last of them, were passed over for what their filters said.
    pub(crate) fn count_passed_over(&self, count: u64) {
        self.shared.filter_counts.passed_over.add(count);
    }

    #[inline]
    fn block_of(&self, key: &[u8], seq: SeqNo) -> Result<Option<BlockHandle>> {
        let index = self.index()?;
        Ok(index.handle(index.find(key, seq)))
    }

    #[inline]
    fn get_in_block(&self, handle: BlockHandle, key: &[u8], seq: SeqNo) -> Result<Option<BlockEntry>> {
        match self.cached(handle) {
            Some(Cached::Block(block)) if block.is_to_have_hints() => {
                drop(block);
                self.add_hints(handle);
                self.data_block(handle, Keep::Always)?.get(key, seq)
            }
            Some(Cached::Block(block)) => block.get(key, seq),
            _ => self.read_data_block(handle, Keep::Always)?.get(key, seq),
        }
    }

    /// The table's range deletes, if it has any.
    pub(crate) fn range_deletes(&self) -> Result<Option<Arc<RangeDeletes>>> {
        if self.meta.counts.range_deletes == 0 {
            return Ok(None);
        }
        let opened = self.opened()?;
        let handle = opened.footer.range_deletes;
        if let Some(Cached::RangeDeletes(deletes)) = self.cached(handle) {
            return Ok(Some(deletes));
        }
        let decoded = RangeDeletes::decode(&self.read(handle)?)
            .ok_or_else(|| self.corrupt(handle.offset, "the range deletes make no sense"))?;
        let within =
            |start: &[u8], end: &[u8]| self.meta.start.as_slice() <= start && end <= self.meta.end.as_slice();
        let counts = &self.meta.counts;
        let counted = |seq: &SeqNo| (counts.seq_min..=counts.seq_max).contains(seq);
        if !decoded.iter().all(|f| within(f.start, f.end) && f.seqs.iter().all(counted)) {
            return Err(self.corrupt(handle.offset, "a range delete lies outside its table's bounds"));
        }
        let deletes = Arc::new(decoded);
        let weight = deletes.memory_len() as u64;
        self.keep(Keep::Always, handle, Cached::RangeDeletes(Arc::clone(&deletes)), weight);
        Ok(Some(deletes))
    }

    /// About where in the file `key` is, in bytes.
    pub(crate) fn approximate_offset(&self, key: &[u8]) -> Result<u64> {
        if key <= self.meta.start.as_slice() || self.meta.counts.entries == 0 {
            return Ok(0);
        }
        let index = self.index()?;
        Ok(index.handle(index.find(key, SeqNo::MAX)).map_or(self.meta.len, |handle| handle.offset))
    }

    /// The footer, read and checked against the header and the manifest.
    pub(crate) fn footer(&self) -> Result<Footer> {
        Ok(self.opened()?.footer)
    }

    pub(crate) fn file(&self) -> Result<Arc<dyn File>> {
        self.shared.file(self.name())
    }

    pub(crate) fn place(&self) -> Result<Place> {
        Ok(self.opened()?.place)
    }

    fn opened(&self) -> Result<&Opened> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = self.open()?;
        Ok(self.opened.get_or_init(|| opened))
    }

    fn open(&self) -> Result<Opened> {
        let file = self.file()?;
        let header = Header::read(file.as_ref(), self.name(), "sstable.header")?;
        if header.id != self.meta.id {
            return Err(self.corrupt(32, "this is another database's table under this one's name"));
        }
        let Some(offset) = self.meta.len.checked_sub(FOOTER_LEN as u64) else {
            return Err(self.corrupt(0, "the table is shorter than its footer"));
        };
        let mut bytes = [0; FOOTER_LEN];
        let read = read_at(file.as_ref(), self.name(), offset, &mut bytes, "sstable.footer")?;
        let footer = Footer::decode(&bytes[..read], header.place(), offset, self.name())?;
        if footer.hash != self.meta.hash || footer.counts != self.meta.counts {
            return Err(self.corrupt(offset, "the footer is not the one that the manifest recorded"));
        }
        Ok(Opened { footer, base_seq: header.own[0], place: header.place() })
    }

    fn filter(&self) -> Result<Held<'_, Filter>> {
        if let Some(filter) = self.filter.get() {
            return Ok(Held::Itself(filter));
        }
        let handle = self.opened()?.footer.filter;
        if let Some(Cached::Filter(filter)) = self.cached(handle) {
            return Ok(Held::Cached(filter));
        }
        let filter = Filter::new(self.read(handle)?)
            .ok_or_else(|| self.corrupt(handle.offset, "the filter makes no sense"))?;
        let weight = filter.memory_len();
        let filter = Arc::new(filter);
        if !self.hold(&self.filter, &filter, weight) {
            self.keep(Keep::Always, handle, Cached::Filter(Arc::clone(&filter)), weight);
        }
        Ok(Held::Cached(filter))
    }

    fn index(&self) -> Result<Held<'_, Index>> {
        if let Some(index) = self.index.get() {
            return Ok(Held::Itself(index));
        }
        let handle = self.opened()?.footer.index;
        if let Some(Cached::Index(index)) = self.cached(handle) {
            return Ok(Held::Cached(index));
        }
        let block = Block::new(self.read(handle)?, 0, self.name(), handle.offset)?;
        let index = Arc::new(Index::new(block, self.meta.len)?);
        let weight = index.memory_len();
        if !self.hold(&self.index, &index, weight) {
            self.keep(Keep::Always, handle, Cached::Index(Arc::clone(&index)), weight);
        }
        Ok(Held::Cached(index))
    }

    /// Puts `value` into `place`, if there is memory for it. Of two threads that come at once, one gives its share back.
    fn hold<T>(&self, place: &OnceLock<Arc<T>>, value: &Arc<T>, weight: u64) -> bool {
        let fits = self.shared.hold(weight);
        if fits && place.set(Arc::clone(value)).is_err() {
            self.shared.release(weight);
        }
        fits
    }

    pub(super) fn data_block(&self, handle: BlockHandle, keep: Keep) -> Result<Arc<Block>> {
        match self.cached(handle) {
            Some(Cached::Block(block)) => Ok(block),
            _ => self.read_data_block(handle, keep),
        }
    }

    fn read_data_block(&self, handle: BlockHandle, keep: Keep) -> Result<Arc<Block>> {
        let base_seq = self.opened()?.base_seq;
        let block = Arc::new(Block::new(self.read(handle)?, base_seq, self.name(), handle.offset)?);
        self.keep(keep, handle, Cached::Block(Arc::clone(&block)), block.memory_len());
        Ok(block)
    }

    /// Gives the block its hints where it stands in the cache, unless somebody holds it just now.
    fn add_hints(&self, handle: BlockHandle) {
        self.shared.blocks.change((self.meta.number, handle.offset), |cached, weight| {
            if let Cached::Block(block) = cached
                && let Some(block) = Arc::get_mut(block)
            {
                block.add_hints();
                *weight = block.memory_len();
            }
        });
    }

    fn read(&self, handle: BlockHandle) -> Result<Vec<u8>> {
        let (file, place, mut buffers) = (self.file()?, self.place()?, self.shared.spent_buffers());
        let (len, name) = (self.meta.len, self.name());
        let block = read_block_with(&mut buffers, file.as_ref(), len, name, place, handle, "sstable.read");
        self.shared.take_buffers([buffers.packed, buffers.unpacked]);
        block
    }

    fn cached(&self, handle: BlockHandle) -> Option<Cached> {
        self.shared.blocks.get((self.meta.number, handle.offset))
    }

    fn keep(&self, keep: Keep, handle: BlockHandle, value: Cached, weight: u64) {
        let (key, evicted) = ((self.meta.number, handle.offset), |value| self.take_evicted(value));
        match keep {
            Keep::Never => {}
            Keep::Seldom => self.shared.blocks.insert_seldom(key, value, weight, evicted),
            Keep::Always => self.shared.blocks.insert(key, value, weight, evicted),
        }
    }

    fn take_evicted(&self, evicted: Cached) {
        if let Cached::Block(block) = evicted {
            self.shared.take_block(block);
        }
    }

    fn corrupt(&self, offset: u64, what: &str) -> Error {
        Error::corrupt(self.name(), offset, what)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let index = self.index.get().map_or(0, |index| index.memory_len());
        let filter = self.filter.get().map_or(0, |filter| filter.memory_len());
        if index + filter > 0 {
            self.shared.release(index + filter);
        }
    }
}

/// Takes a bounds block apart.
pub(crate) fn decode_bounds(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut from = Decoder::new(bytes);
    let (start, end) = (from.slice()?.to_vec(), from.slice()?.to_vec());
    (from.is_at_end() && start < end).then_some((start, end))
}

/// Two entries that meet at the edge of `block`: those within a block its cursor looks at.
fn check_order(
    table: &Table,
    block: &BlockCursor,
    before: (&[u8], SeqNo),
    after: (&[u8], SeqNo),
) -> Result<()> {
    let fits = compare(before, after).is_lt();
    if fits { Ok(()) } else { Err(table.corrupt(block.block().offset(), "the entries are not in order")) }
}

/// Whether a block that was read goes into the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Never,
    /// If there is room, and now and then if there is none: a scan that is longer than the cache would else empty it over
    /// and over, and find nothing in it the next time.
    Seldom,
    Always,
}

/// A position in a table, which it keeps open.
pub(crate) struct TableCursor {
    table: Arc<Table>,
    keep: Keep,
    /// Which separator's block it stands in.
    at: usize,
    block: Option<BlockCursor>,
}

impl TableCursor {
    pub(crate) fn new(table: Arc<Table>, keep: Keep) -> TableCursor {
        TableCursor { table, keep, at: 0, block: None }
    }

    /// Opens the block of separator `at`; `None` stands for the one before the first.
    fn open_block(&mut self, at: Option<usize>) -> Result<()> {
        let handle = match at {
            Some(at) => self.table.index()?.handle(at),
            None => None,
        };
        self.at = at.unwrap_or(0);
        let Some(handle) = handle else {
            self.block = None;
            return Ok(());
        };
        let already = self.block.as_ref().is_some_and(|cursor| cursor.block().offset() == handle.offset);
        if !already {
            self.block = Some(BlockCursor::new(self.table.data_block(handle, self.keep)?));
        }
        Ok(())
    }

    /// Whoever copies entries relies on the table's bounds. Bytes that pass their checksums may still break them.
    #[inline]
    fn check_bounds(&self) -> Result<()> {
        let meta = &self.table.meta;
        let within = |entry: EntryRef<'_>| {
            meta.start.as_slice() <= entry.key
                && entry.key < meta.end.as_slice()
                && (meta.counts.seq_min..=meta.counts.seq_max).contains(&entry.seq)
        };
        if self.keep == Keep::Never && self.entry().is_some_and(|entry| !within(entry)) {
            let offset = self.block.as_ref().map_or(0, |block| block.block().offset());
            return Err(self.table.corrupt(offset, "an entry lies outside the table's bounds"));
        }
        Ok(())
    }

    /// From a block's end, on to the next block.
    fn next_block(&mut self) -> Result<()> {
        if let Some(left) = self.block.take_if(|block| !block.stands()) {
            self.open_block(Some(self.at + 1))?;
            if let Some(block) = &mut self.block {
                block.seek_first()?;
                check_order(&self.table, block, left.order(), block.order())?;
            }
            self.table.shared.take_block(left.into_block());
        }
        self.check_bounds()
    }

    fn prev_block(&mut self) -> Result<()> {
        if let Some(left) = self.block.take_if(|block| !block.stands()) {
            self.open_block(self.at.checked_sub(1))?;
            if let Some(block) = &mut self.block {
                block.seek_last()?;
                check_order(&self.table, block, block.order(), left.order())?;
            }
            self.table.shared.take_block(left.into_block());
        }
        Ok(())
    }
}

impl Cursor for TableCursor {
    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        if self.table.meta.counts.entries == 0 {
            return Ok(());
        }
        let at = self.table.index()?.find(key, seq);
        self.open_block(Some(at))?;
        if let Some(block) = &mut self.block {
            block.seek(key, seq)?;
        }
        self.next_block()
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        if self.table.meta.counts.entries == 0 {
            return Ok(());
        }
        // The block that the first entry at or behind `key` is in may also hold the last one before it.
        let at = {
            let index = self.table.index()?;
            index.find(key, SeqNo::MAX).min(index.len().saturating_sub(1))
        };
        self.open_block(Some(at))?;
        if let Some(block) = &mut self.block {
            block.seek_before(key)?;
        }
        self.prev_block()
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        let block = self.block.as_mut().expect("a cursor on an entry");
        block.next()?;
        if block.stands() && self.keep != Keep::Never { Ok(()) } else { self.next_block() }
    }

    fn prev(&mut self) -> Result<()> {
        self.block.as_mut().expect("a cursor on an entry").prev()?;
        self.prev_block()
    }

    #[inline]
    fn stands(&self) -> bool {
        self.block.as_ref().is_some_and(BlockCursor::stands)
    }

    #[inline]
    fn entry(&self) -> Option<EntryRef<'_>> {
        self.block.as_ref()?.entry()
    }

    fn value(&self) -> Value {
        self.block.as_ref().map_or_else(|| Value::from(&[][..]), BlockCursor::value)
    }
}
