//! Open: from a set of files to a running engine; recovery.
//!
//! 1. The newest manifest whose base is whole tells which tables stand and where the logs begin that have to be replayed.
//! 2. Everything it names is checked to be there; the logs are surveyed. Up to here nothing is changed, and damage ends
//!    the open with `Corrupt`.
//! 3. The logs are replayed. Unless a clean close sealed them, what they held is flushed to synced tables: the bytes
//!    just read may be in the page cache alone (promise 8).
//! 4. A new log and a new manifest are written and synced; from then on they are the truth.
//! 5. What the new manifest does not name is removed.
//!
//! # When things break
//! Crash, at any point: before the new manifest is whole the old one still is, and everything it names still stands; the
//! next open does the same again.

use std::collections::VecDeque;

use cairndb_storage::{File, FileKind, FileName, Lock, LockMode, Storage};

use super::history::History;
use super::maintain::Maintenance;
use super::stats::Counters;
use super::write::{Log, Queue, TABLE_ENTRY_LEN};
use super::{Engine, Health, Progress};
use crate::clock::MonotonicClock;
use crate::compaction::{Outside, Progress as RunProgress, Run};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::files::{create_file, len_of, list_files, lock, open_file, sync_file, sync_names};
use crate::header::Header;
use crate::key::{SEQ_LIMIT, SeqNo};
use crate::manifest::{self, Manifest, Recovered};
use crate::memtable::{LEN_MAX, Memtable, MemtableCursor};
use crate::options::Options;
use crate::publish::Published;
use crate::range_delete::RangeDeletes;
use crate::record::Position;
use crate::reserve::{self, Reserve};
use crate::snapshot::{Live, Snapshots};
use crate::sstable::{TableFiles, TableWriter};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex};
use crate::version::{State, Version};
use crate::view::{Stage, Tables};
use crate::wal::{self, Authors, Checkpoint, PassedLog, SpareWal, Survey, Wal};

/// How many sequence numbers are passed over when the database was not closed cleanly. Of writes that were never on the
/// disk readers may have seen the numbers; there cannot have been more of them than memtables hold entries.
pub(crate) const SEQ_JUMP: SeqNo = 1 << 32;

/// Beyond this sequence number no database is opened for writing: no incarnation can use up the half that is left.
const SEQ_OPEN_MAX: SeqNo = SEQ_LIMIT / 2;

/// When this many logs have been closed and opened again without a flush, they are flushed.
const LOGS_MAX: usize = 6;

/// What opening the database found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// There was no database: this is a new one.
    pub created: bool,
    /// It had been closed cleanly.
    pub sealed: bool,
    /// The logs that were replayed.
    pub wals: usize,
    /// The whole records in them.
    pub records: u64,
    /// The entries in those.
    pub entries: u64,
    /// The bytes of the torn tail, which were never promised and have been dropped.
    pub torn_bytes: u64,
    /// Where the torn tail began.
    pub torn: Option<String>,
    /// Files that nothing needed any more.
    pub files_removed: usize,
    /// How long it took, by the clock that was given.
    pub took_ms: u64,
}

/// The files that stand, by kind, rising.
#[derive(Default)]
struct Listing {
    manifests: Vec<u64>,
    sstables: Vec<u64>,
    wals: Vec<u64>,
    reserves: Vec<u64>,
}

/// What the logs were replayed into.
struct Replayed {
    memtable: Arc<Memtable>,
    /// Some of it went to tables, so the rest must too.
    flushed: bool,
    /// How long a table of the memtable can become.
    table_len: u64,
}

/// Opens the database in `storage`, and makes one if there is none and it may be written.
pub(crate) fn open(storage: Arc<dyn Storage>, options: Options, read_only: bool) -> Result<Engine> {
    options.check()?;
    let begun_ms = (options.clock)();
    let mode = if read_only { LockMode::Shared } else { LockMode::Exclusive };
    let lock = lock(storage.as_ref(), mode, "open.lock")?;
    let attempt = || open_locked(&storage, &options, read_only);
    let opening = match attempt() {
        Err(Error::DiskFull { .. }) if !read_only && make_way(storage.as_ref())? => attempt()?,
        opened => opened?,
    };
    let mut opening = opening;
    opening.report.took_ms = (options.clock)().saturating_sub(begun_ms);
    let engine = opening.into_engine(lock, read_only);
    if !read_only {
        engine.begin_reserve();
    }
    Ok(engine)
}

fn open_locked(storage: &Arc<dyn Storage>, options: &Options, read_only: bool) -> Result<Opening> {
    let (storage, options) = (Arc::clone(storage), options.clone());
    let listing = list(storage.as_ref())?;
    let recovered = manifest::recover(storage.as_ref(), &listing.manifests)?;
    let mut opening = match recovered {
        Some(recovered) => Opening::existing(storage, options, read_only, &listing, recovered)?,
        None => {
            check_nothing_was_promised(storage.as_ref(), &listing)
                .map_err(|error| manifest::damage(storage.as_ref(), &listing.manifests).unwrap_or(error))?;
            if read_only {
                return Err(Error::invalid("there is no database here"));
            }
            Opening::new(storage, options, &listing)
        }
    };
    let begun =
        opening.replay(read_only).and_then(|()| if read_only { Ok(()) } else { opening.begin_anew() });
    begun.inspect_err(|_| opening.remove_begun())?;
    if !read_only {
        opening.write_manifest()?;
        opening.find_history(&listing);
        opening.remove_rest(&listing);
        opening.find_reserve(&listing)?;
    }
    Ok(opening)
}

/// After an open that met a full disk: removes the reserve, tables that were begun and never named, and logs that have
/// been flushed; whether there was any. Up to the first write that open has found everything whole that the manifest asks
/// for, so no later one can have use for them, with two exceptions, both of what may be in the page cache alone. If another
/// manifest stands, a power loss may leave that one, with all that it names. One that stands alone does so because its
/// base was synced before its predecessor went; but its last edit may be lost, and then what that gave up is needed.
fn make_way(storage: &dyn Storage) -> Result<bool> {
    let listing = list(storage)?;
    let mut removed = false;
    let mut remove = |kind, number| {
        removed |= storage.remove("open.remove", FileName { kind, number }).is_ok();
    };
    listing.reserves.iter().for_each(|number| remove(FileKind::Reserve, *number));
    let recovered = manifest::recover(storage, &listing.manifests)?;
    let recovered = recovered.filter(|_| listing.manifests.len() == 1);
    if let Some(Recovered { state, given_up, .. }) = recovered {
        let is_named = |number: &u64| state.tables.contains_key(number) || given_up.tables.contains(number);
        let unnamed = listing.sstables.iter().filter(|number| !is_named(number));
        unnamed.for_each(|number| remove(FileKind::SsTable, *number));
        let first_wal = state.checkpoint.wal.min(given_up.first_wal);
        let passed = listing.wals.iter().filter(|number| **number < first_wal);
        passed.for_each(|number| remove(FileKind::Wal, *number));
    }
    Ok(removed)
}

fn list(storage: &dyn Storage) -> Result<Listing> {
    let mut listing = Listing::default();
    for name in list_files(storage, "open.list")? {
        match name.kind {
            FileKind::Manifest => listing.manifests.push(name.number),
            FileKind::SsTable => listing.sstables.push(name.number),
            FileKind::Wal => listing.wals.push(name.number),
            FileKind::Reserve => listing.reserves.push(name.number),
        }
    }
    Ok(listing)
}

/// A database that is being opened.
struct Opening {
    storage: Arc<dyn Storage>,
    options: Options,
    files: Arc<TableFiles>,
    clock: Arc<MonotonicClock>,
    id: u128,
    /// The manifest that is the truth so far; 0 for none.
    chosen: u64,
    /// Which manifest new files say they are born under, from [`witness`].
    born_under: u64,
    last_manifest: u64,
    /// The last numbers of SSTables and WALs before this open made any.
    stood: (u64, u64),
    state: State,
    survey: Survey,
    replayed: Replayed,
    manifest: Option<Manifest>,
    wal: Option<Wal>,
    history: History,
    reserve: Reserve,
    next_seq: SeqNo,
    report: RecoveryReport,
}

impl Opening {
    fn new(storage: Arc<dyn Storage>, options: Options, listing: &Listing) -> Opening {
        let survey = Survey::nothing();
        let mut opening = Opening::with(storage, options, listing, 0, State::default(), survey);
        opening.report.created = true;
        opening
    }

    fn existing(
        storage: Arc<dyn Storage>,
        options: Options,
        read_only: bool,
        listing: &Listing,
        recovered: Recovered,
    ) -> Result<Opening> {
        let Recovered { header, state, .. } = recovered;
        let number = header.name.number;
        let authors = Authors { manifest: number, id: header.id, needed: &state.wals };
        let survey = wal::survey(storage.as_ref(), state.checkpoint, &listing.wals, &authors)?;
        if !read_only {
            check_tables(storage.as_ref(), &state, listing, number)?;
            if survey.next_seq > SEQ_OPEN_MAX {
                let name = FileName { kind: FileKind::Wal, number: survey.end.number };
                return Err(Error::corrupt(
                    name,
                    survey.end.offset,
                    "no sequence numbers are left behind this",
                ));
            }
        }
        let born_under = witness(storage.as_ref(), listing)?;
        Ok(Opening { born_under, ..Opening::with(storage, options, listing, number, state, survey) })
    }

    fn with(
        storage: Arc<dyn Storage>,
        options: Options,
        listing: &Listing,
        chosen: u64,
        mut state: State,
        survey: Survey,
    ) -> Opening {
        let last = |numbers: &[u64], recorded: u64| numbers.last().copied().unwrap_or(0).max(recorded);
        state.last_sstable = last(&listing.sstables, state.last_sstable);
        state.last_wal = last(&listing.wals, state.last_wal);
        let cache_bytes = options.cache_bytes(0);
        let files = Arc::new(TableFiles::new(Arc::clone(&storage), cache_bytes, options.open_files_max));
        let clock = Arc::new(MonotonicClock::new(Arc::clone(&options.clock), state.clock_ms));
        let report = RecoveryReport {
            sealed: survey.sealed,
            wals: survey.log_count(),
            records: survey.records,
            torn_bytes: survey.torn_bytes,
            torn: survey.torn.clone(),
            ..RecoveryReport::default()
        };
        let memtable = Arc::new(Memtable::new(options.memtable_bytes(), 0));
        Opening {
            id: (options.ids)(),
            born_under: 0,
            last_manifest: last(&listing.manifests, chosen),
            stood: (state.last_sstable, state.last_wal),
            next_seq: survey.next_seq,
            storage,
            options,
            files,
            clock,
            chosen,
            state,
            survey,
            replayed: Replayed { memtable, flushed: false, table_len: 0 },
            manifest: None,
            wal: None,
            history: History::default(),
            reserve: Reserve::found(&[]),
            report,
        }
    }

    /// Replays the logs; what does not fit a memtable goes to tables at once.
    fn replay(&mut self, read_only: bool) -> Result<()> {
        if self.report.created {
            return Ok(());
        }
        let mut survey = std::mem::take(&mut self.survey);
        let storage = Arc::clone(&self.storage);
        let (full_len, mut seq) = (self.options.memtable_bytes(), self.state.checkpoint.seq);
        wal::replay(storage.as_ref(), &survey, |entries| {
            let mut since = None;
            for entry in entries {
                self.replayed.table_len += entry.data_len() + TABLE_ENTRY_LEN;
                let since = *since.get_or_insert(entry.seq);
                self.replayed.memtable.insert(entry, since);
                self.report.entries += 1;
                seq = entry.seq + 1;
            }
            if !read_only && self.replayed.memtable.memory_len() >= full_len {
                self.flush_replayed()
            } else if self.replayed.memtable.memory_len() > LEN_MAX {
                Err(Error::invalid(
                    "the logs hold more than can be read without writing: open the database for writing once",
                ))
            } else {
                Ok(())
            }
        })?;
        assert_eq!(seq, survey.next_seq, "promise 5: sequence numbers join");
        survey.next_seq = seq;
        self.survey = survey;
        Ok(())
    }

    /// Moves what was replayed so far into tables of level 0.
    fn flush_replayed(&mut self) -> Result<()> {
        let fresh = Arc::new(Memtable::new(self.options.memtable_bytes(), 0));
        let memtable = std::mem::replace(&mut self.replayed.memtable, fresh);
        self.replayed.flushed = true;
        self.replayed.table_len = 0;
        let version =
            Version::new(self.state.tables.values().map(|(level, meta)| (*level, meta)), &self.files);
        let deletes = RangeDeletes::clone(&memtable.range_deletes());
        let cursor: Box<dyn Cursor> = Box::new(MemtableCursor::new(memtable));
        let live = Live { seqs: vec![SeqNo::MAX], now_ms: self.clock.now_ms() };
        let outside = Outside::below(&version, 0, SeqNo::MAX);
        let mut run = Run::new(vec![cursor], deletes, live, outside, u64::MAX, VecDeque::new());
        while run.step(u64::MAX, &mut || self.create_table())? != RunProgress::Done {}
        for meta in run.take_tables() {
            self.state.tables.insert(meta.number, (0, meta));
        }
        Ok(())
    }

    fn create_table(&mut self) -> Result<TableWriter> {
        let last = self.state.last_sstable;
        let (number, file) = create_file(self.storage.as_ref(), FileKind::SsTable, last, "sstable.create")?;
        self.state.last_sstable = number;
        let base_seq = self.state.checkpoint.seq;
        Ok(TableWriter::new(file, number, self.id, self.born_under, base_seq, self.options.compression))
    }

    /// Writes and syncs the log of this incarnation, and tables of what is not to be left in older ones.
    fn begin_anew(&mut self) -> Result<()> {
        let keeps_logs = self.survey.sealed && !self.replayed.flushed && self.survey.log_count() < LOGS_MAX;
        if !keeps_logs && !self.replayed.memtable.is_empty() {
            self.flush_replayed()?;
        }
        if !self.survey.sealed && !self.report.created {
            self.next_seq += SEQ_JUMP;
        }
        let storage = Arc::clone(&self.storage);
        let spare = SpareWal::create(storage.as_ref(), &mut self.state.last_wal, self.id, 0)?;
        let before = if self.report.created { Position::default() } else { self.survey.end };
        let wal = Wal::begin(spare, self.born_under, before, self.next_seq)?;
        sync_file(wal.file().as_ref(), wal.name(), "open.sync_wal")?;
        if keeps_logs {
            // This one too: were it to go missing, the older ones would look like the end of all writing.
            self.state.wals = self.survey.ids();
            self.state.wals.push((wal.number(), self.id));
        } else {
            self.state.checkpoint = Checkpoint { wal: wal.number(), seq: self.next_seq };
            self.state.wals = Vec::new();
        }
        self.state.clock_ms = self.clock.now_ms();
        self.wal = Some(wal);
        sync_names(storage.as_ref(), "open.sync_names")
    }

    /// Writes and syncs the manifest of this incarnation. Once its base may be whole, what it names has to stand.
    fn write_manifest(&mut self) -> Result<()> {
        let storage = Arc::clone(&self.storage);
        let base = self.state.base();
        let created = Manifest::create(storage.as_ref(), self.last_manifest, self.chosen, self.id, &base);
        self.manifest = Some(created.inspect_err(|error| {
            if matches!(error, Error::DiskFull { .. } | Error::Busy { .. }) {
                self.remove_begun();
            }
        })?);
        Ok(())
    }

    /// After a failure: removes what this open has begun, so that the next one finds the room that this one found.
    fn remove_begun(&self) {
        // Of the numbers up to the last one, those behind the ones that stood.
        let sstables = (self.stood.0..=self.state.last_sstable).skip(1);
        let wals = (self.stood.1..=self.state.last_wal).skip(1);
        let sstables = sstables.map(|number| FileName { kind: FileKind::SsTable, number });
        for name in sstables.chain(wals.map(|number| FileName { kind: FileKind::Wal, number })) {
            // What cannot be removed now is found again by the next open.
            drop(self.storage.remove("open.remove", name));
        }
    }

    /// Finds the logs whose changes can be read: those that were replayed, and what was kept before them.
    fn find_history(&mut self, listing: &Listing) {
        let keep_bytes = self.options.keep_changes_bytes;
        let mut logs: Vec<PassedLog> = self.survey.passed_logs().collect();
        if !self.survey.sealed {
            // What was replayed may be in the page cache alone. It is in tables, and kept for its changes if it can be synced.
            let is_lost = |log: &PassedLog| keep_bytes == 0 || self.sync_passed(log.header.name).is_err();
            let lost = logs.iter().rposition(is_lost).map_or(0, |index| index + 1);
            logs.drain(..lost);
        }
        if keep_bytes > 0
            && let Some(first) = logs.first()
        {
            let before = wal::logs_before(self.storage.as_ref(), &listing.wals, &first.header);
            logs.splice(0..0, before);
        }
        self.history = History::new(logs);
        if let Some(wal) = &self.wal {
            self.history.begin(wal.header);
        }
        self.history.trim(self.state.checkpoint.wal, keep_bytes);
    }

    fn sync_passed(&self, name: FileName) -> Result<()> {
        let file = open_file(self.storage.as_ref(), name, "wal.open")?;
        sync_file(file.as_ref(), name, "open.sync_passed")
    }

    /// Removes every file that the new manifest does not need, and nobody reads changes from.
    fn remove_rest(&mut self, listing: &Listing) {
        let rest = |kind: FileKind, numbers: &[u64], keeps: &dyn Fn(u64) -> bool| {
            let unneeded = numbers.iter().copied().filter(|number| !keeps(*number));
            unneeded.map(|number| FileName { kind, number }).collect::<Vec<_>>()
        };
        let removed = [
            rest(FileKind::Wal, &listing.wals, &|number| self.history.contains(number)),
            rest(FileKind::SsTable, &listing.sstables, &|number| self.state.tables.contains_key(&number)),
            rest(FileKind::Manifest, &listing.manifests, &|_| false),
        ];
        for name in removed.into_iter().flatten() {
            // What cannot be removed now is found again by the next open.
            self.report.files_removed += usize::from(self.storage.remove("open.remove", name).is_ok());
        }
    }

    /// Takes over the reserve that stands, and of too many files the longest.
    fn find_reserve(&mut self, listing: &Listing) -> Result<()> {
        let mut found = Vec::new();
        for number in &listing.reserves {
            let name = FileName { kind: FileKind::Reserve, number: *number };
            if *number == u64::MAX {
                // Nothing could be numbered after it, and it is only room.
                drop(self.storage.remove("open.remove", name));
                continue;
            }
            let file = open_file(self.storage.as_ref(), name, "open.open")?;
            found.push((*number, len_of(file.as_ref(), name, "open.len")?));
        }
        while let Some(index) = (0..found.len()).min_by_key(|index| found[*index].1)
            && found.len() > reserve::FILES_MAX
        {
            let (number, _) = found.remove(index);
            // What cannot be removed now is found again by the next open.
            drop(self.storage.remove("open.remove", FileName { kind: FileKind::Reserve, number }));
        }
        self.reserve = Reserve::found(&found);
        self.reserve.needs.active_len = self.replayed.table_len;
        Ok(())
    }

    fn into_engine(self, lock: Lock, read_only: bool) -> Engine {
        let tables = self.state.tables.values().map(|(level, meta)| (*level, meta));
        let version = Arc::new(Version::new(tables, &self.files));
        self.replayed.memtable.show(self.next_seq - 1);
        let active = Stage { memtable: self.replayed.memtable, checkpoint: self.state.checkpoint };
        let counters = Counters {
            manifest: AtomicU64::new(self.manifest.as_ref().map_or(self.chosen, Manifest::number)),
            changes_bytes: AtomicU64::new(self.history.passed_bytes(self.state.checkpoint.wal)),
            ..Counters::default()
        };
        let log = Log {
            synced: self.wal.as_ref().map_or(self.survey.end, Wal::end),
            wal: self.wal,
            spare: None,
            unsynced: Vec::new(),
            next_seq: self.next_seq,
            reserve: self.reserve,
        };
        let clock = Arc::clone(&self.clock);
        let health = Health { closed: Arc::clone(&self.files.closed), ..Health::default() };
        Engine {
            options: self.options,
            storage: self.storage,
            files: self.files,
            clock: self.clock,
            id: self.id,
            read_only,
            recovery: self.report,
            current: Published::new(Tables { active, frozen: None, version, clock }),
            snapshots: Arc::new(Snapshots::default()),
            queue: Mutex::new(Queue::default()),
            log: Mutex::new(log),
            spare_ready: AtomicBool::new(false),
            full: AtomicBool::new(false),
            history: Mutex::new(self.history),
            maintenance: Mutex::new(Maintenance::new(self.manifest, self.state)),
            progress: Progress::default(),
            health,
            lock: Mutex::new(Some(lock)),
            counters,
        }
    }
}

/// Without a manifest, whatever stands must be the rest of a first open that did not live to promise anything.
fn check_nothing_was_promised(storage: &dyn Storage, listing: &Listing) -> Result<()> {
    let wals = listing.wals.iter().map(|number| FileName { kind: FileKind::Wal, number: *number });
    let sstables =
        listing.sstables.iter().map(|number| FileName { kind: FileKind::SsTable, number: *number });
    for name in wals.chain(sstables) {
        let file = open_file(storage, name, "open.open")?;
        match Header::read(file.as_ref(), name, "open.header") {
            // The first log is born under no manifest, and synced before there is one.
            Ok(header)
                if name.kind == FileKind::Wal && header.manifest == 0 && is_unused(&file, &header)? => {}
            Ok(_) => {
                return Err(Error::corrupt(name, 0, "it belongs to a database whose manifest is gone"));
            }
            Err(Error::Corrupt { .. }) if name.kind == FileKind::Wal => {}
            Err(Error::Corrupt { .. }) if file.len("open.len").is_ok_and(|len| len == 0) => {}
            Err(Error::Corrupt { .. }) => {
                return Err(Error::corrupt(name, 0, "a table stands here, and no manifest names it"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_unused(file: &Arc<dyn File>, header: &Header) -> Result<bool> {
    let mut reader = crate::record::RecordReader::new(Arc::clone(file), header, "open.read")?;
    Ok(!matches!(reader.next()?, crate::record::Found::Record(_)))
}

/// The manifest that new files name as the one they are born under, until this open's own is synced: the oldest that
/// stands, or none if that is the first of its database. Any other may be in the page cache alone, left there by an open that
/// was killed or whose last sync failed: were it lost, files born under it would bear witness against what is left.
fn witness(storage: &dyn Storage, listing: &Listing) -> Result<u64> {
    let Some(number) = listing.manifests.first().copied() else { return Ok(0) };
    let name = FileName { kind: FileKind::Manifest, number };
    let file = open_file(storage, name, "manifest.open")?;
    match Header::read(file.as_ref(), name, "manifest.header") {
        Ok(header) => Ok(if header.manifest == 0 { 0 } else { number }),
        Err(Error::Corrupt { .. } | Error::Invalid { .. }) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Everything that the manifest names stands, at its length; and nothing that stands knows of a later manifest.
fn check_tables(storage: &dyn Storage, state: &State, listing: &Listing, manifest: u64) -> Result<()> {
    for (number, (_, meta)) in &state.tables {
        let name = FileName { kind: FileKind::SsTable, number: *number };
        if listing.sstables.binary_search(number).is_err() {
            return Err(Error::corrupt(name, 0, "the manifest names this table, and it is not there"));
        }
        let file = open_file(storage, name, "open.open")?;
        let len = len_of(file.as_ref(), name, "open.len")?;
        if len != meta.len {
            let what = format!("the file is {len} bytes long, and the manifest says {}", meta.len);
            return Err(Error::corrupt(name, len.min(meta.len), what));
        }
    }
    for number in listing.sstables.iter().filter(|number| !state.tables.contains_key(number)) {
        let name = FileName { kind: FileKind::SsTable, number: *number };
        if let Ok(header) = Header::read(open_file(storage, name, "open.open")?.as_ref(), name, "open.header")
            && header.manifest > manifest
        {
            let what = format!("it was born under manifest {}, which is gone", header.manifest);
            return Err(Error::corrupt(name, 24, what));
        }
    }
    Ok(())
}
