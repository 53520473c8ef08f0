//! Repair: salvages a damaged database into a new one.
//!
//! Open and check believe nothing that is not whole. Repair keeps all that is: every block and every record stands for
//! itself under its own checksum, so one that is bad takes nothing else with it. What was read is merged and written
//! anew, as one run on the last level, with every sequence number, expiry, delete and range delete as it was. What could
//! not be read is listed: which keys, which sequence numbers.
//!
//! # Where it sits
//! On `db`, for the way in which a database is made of tables that stand; `cairn repair` prints what it reports.
//!
//! # Invariants
//! - I1. Nothing in the old place is changed: it is read, under a reader's lock.
//! - I2. The new place holds a log that names a manifest which is not there, until the manifest is written, last: what a
//!   crash leaves before that is refused by `open` as a database whose manifest is gone, and never taken for a new one.
//!
//! # What is believed
//! With a manifest that is whole and fits what stands: the tables it names and the logs from its checkpoint, and nothing
//! else, so that nothing obsolete comes back. If edits may be missing from it: beside those, the tables that its
//! incarnation wrote since its base and that no edit drops. Without one: every table and log that stands. The decision is
//! docs/decisions/0009.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cairndb_storage::{FileKind, FileName, LockMode, Storage};

use crate::batch::decode_batch;
use crate::compaction::{Outside, Progress, Run};
use crate::cursor::Cursor;
use crate::db::{SEQ_JUMP, write_anew};
use crate::error::{Error, Result};
use crate::files::{create_file, list_files, lock, open_file, sync_file, sync_names};
use crate::header::{HEADER_LEN, Header};
use crate::key::{SEQ_LIMIT, SeqNo};
use crate::manifest::{self, Salvaged};
use crate::memtable::{Memtable, MemtableCursor};
use crate::options::Options;
use crate::range_delete::RangeDeletes;
use crate::record::{Found, Position, RecordKind, RecordReader};
use crate::snapshot::Live;
use crate::sstable::{
    Keep, Loss, Losses, Salvage, SalvageCursor, Table, TableCursor, TableFiles, TableMeta, TableWriter,
    runs_of,
};
use crate::sync::Arc;
use crate::version::{LEVEL_COUNT, State};
use crate::wal::{Checkpoint, SpareWal, Wal, written_len};

/// The manifest that the new log and tables are born under: it never stands, the first that does is the next.
const MANIFEST_BEFORE: u64 = 1;

/// What a repair found, and what it made of it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RepairReport {
    /// What is lost, for certain or as far as can be known.
    pub losses: Vec<Loss>,
    /// What could not be decided, and what was assumed.
    pub doubts: Vec<String>,
    /// Files of which nothing was taken, and why.
    pub left_out: Vec<(String, String)>,
    /// The manifest that was believed.
    pub manifest: Option<String>,
    /// Tables that were read.
    pub tables: usize,
    /// Logs that were read.
    pub logs: usize,
    /// Entries in the new database, deletes included.
    pub entries: u64,
    /// The length of its tables, in bytes.
    pub bytes: u64,
    /// The last sequence number in the logs.
    pub last_seq: SeqNo,
    /// The logs end with the mark of a clean close. If not, and nothing torn stands behind them, then what followed
    /// `last_seq`, if anything did, was never synced or is gone without a trace.
    pub sealed: bool,
    /// Where the new database's sequence numbers begin.
    pub next_seq: SeqNo,
}

/// Salvages the database in `from` into `to`, which must be empty. Nothing in `from` is changed.
///
/// Bytes that are damaged or cannot be read are no error: the report lists what is lost with them. It takes the memory of
/// a compaction of all tables at once, and up to a sixth of the budget for logs.
///
/// Errors: `Invalid` if there is nothing to repair, it is of another format, or `to` is not empty; `Locked`; `DiskFull` and `Io`, after which what was
/// begun in `to` has been removed as far as that was possible.
pub fn repair(from: Arc<dyn Storage>, to: Arc<dyn Storage>, options: Options) -> Result<RepairReport> {
    options.check()?;
    let _from_lock = lock(from.as_ref(), LockMode::Shared, "repair.lock")?;
    let _to_lock = lock(to.as_ref(), LockMode::Exclusive, "repair.lock")?;
    if let Some(name) = list_files(to.as_ref(), "repair.list")?.first() {
        return Err(Error::invalid(format_args!("the new database's place is not empty: it holds {name}")));
    }
    let mut files = list_files(from.as_ref(), "repair.list")?;
    files.retain(|name| name.kind != FileKind::Reserve);
    if files.is_empty() {
        return Err(Error::invalid("there is no database here"));
    }
    Repair::new(from, Arc::clone(&to), options, files).run().inspect_err(|_| {
        // Manifests come first in the list. What cannot be removed keeps the place from being taken for a database (I2).
        for name in list_files(to.as_ref(), "repair.list").unwrap_or_default() {
            drop(to.remove("repair.remove", name));
        }
    })
}

/// A repair under way.
struct Repair {
    from: Arc<dyn Storage>,
    to: Arc<dyn Storage>,
    options: Options,
    /// The new database's incarnation.
    id: u128,
    /// Open files of the old place.
    sources: Arc<TableFiles>,
    listed: Vec<FileName>,
    headers: BTreeMap<FileName, Header>,
    manifest: Option<Salvaged>,
    /// Why the manifest, if there is one, may not tell everything.
    doubted: bool,
    losses: Losses,
    memtable: Arc<Memtable>,
    /// What logs held and memory could not, and the number of the last table in the new place.
    spilled: Vec<TableMeta>,
    last_sstable: u64,
    base_seq: SeqNo,
    /// No entry that was ever written has this number or a higher one, as far as it is known.
    next_seq: SeqNo,
    report: RepairReport,
}

/// A log of the old place.
struct Log {
    name: FileName,
    /// `None`: it cannot be read at all.
    reader: Option<RecordReader>,
    /// `None`: its header is not whole.
    own: Option<[u64; 3]>,
    id: u128,
    bad: Option<Error>,
}

impl Repair {
    fn new(from: Arc<dyn Storage>, to: Arc<dyn Storage>, options: Options, listed: Vec<FileName>) -> Repair {
        let sources = TableFiles::new(Arc::clone(&from), 0, options.open_files_max);
        Repair {
            from,
            to,
            id: (options.ids)(),
            memtable: Arc::new(Memtable::new(options.memtable_bytes(), 0)),
            options,
            sources: Arc::new(sources),
            listed,
            headers: BTreeMap::new(),
            manifest: None,
            doubted: false,
            losses: Losses::default(),
            spilled: Vec::new(),
            last_sstable: 0,
            base_seq: SeqNo::MAX,
            next_seq: 1,
            report: RepairReport::default(),
        }
    }

    fn run(mut self) -> Result<RepairReport> {
        self.read_manifest()?;
        self.guard()?;
        self.read_logs()?;
        let tables = self.open_tables();
        let written = self.merge(tables)?;
        self.finish(written)
    }

    fn numbers(&self, kind: FileKind) -> Vec<u64> {
        self.listed.iter().filter(|name| name.kind == kind).map(|name| name.number).collect()
    }

    /// Finds out which manifest is to be believed, and how far.
    ///
    /// Errors: `Invalid` if one is of another format: it is whole, and no business of this engine's.
    fn read_manifest(&mut self) -> Result<()> {
        for name in &self.listed {
            let header = open_file(self.from.as_ref(), *name, "repair.open")
                .and_then(|file| Header::read(file.as_ref(), *name, "repair.header"));
            match header {
                // No log begins with such a number, so what it says is not to be believed.
                Ok(header) if name.kind == FileKind::Wal && header.own[2] >= SEQ_LIMIT => {}
                Ok(header) => drop(self.headers.insert(*name, header)),
                Err(Error::Corrupt { .. }) => {}
                Err(error @ Error::Invalid { .. }) if name.kind == FileKind::Manifest => return Err(error),
                Err(error) => self.report.left_out.push((name.to_string(), error.to_string())),
            }
        }
        let found = manifest::salvage(self.from.as_ref(), &self.numbers(FileKind::Manifest));
        let newest_born = self.headers.values().map(|header| header.manifest).max().unwrap_or(0);
        let stale = |found: &Salvaged| newest_born > found.header.name.number;
        self.manifest = found.filter(|found| {
            if stale(found) {
                let (name, why) =
                    (found.header.name.to_string(), "files stand here that a later manifest knew of");
                self.report.left_out.push((name, why.into()));
            }
            !stale(found)
        });
        let Some(found) = &self.manifest else {
            let ids: BTreeSet<u128> = self.headers.values().map(|header| header.id).collect();
            self.report.doubts.push(format!(
                "no manifest can be believed: every SSTable and WAL that stands was taken, under {} incarnation ids. \
                 Keys that were deleted or overwritten before may be back, if their SSTables were obsolete",
                ids.len()
            ));
            return Ok(());
        };
        let number = found.header.name.number;
        self.report.manifest = Some(found.header.name.to_string());
        self.next_seq = found.state.checkpoint.seq.clamp(1, SEQ_LIMIT - 1);
        for (_, meta) in found.state.tables.values() {
            self.next_seq = self.next_seq.max(meta.counts.seq_max + 1);
        }
        let stands = |kind, number: u64| self.listed.binary_search(&FileName { kind, number }).is_ok();
        let missing = found.state.tables.keys().find(|number| !stands(FileKind::SsTable, **number));
        let doubt = if let Some(error) = &found.doubt {
            Some(error.to_string())
        } else if let Some(number) = missing {
            Some(format!("{} names SSTable {number}, which is not there", found.header.name))
        } else if !stands(FileKind::Wal, found.state.checkpoint.wal) {
            Some(format!(
                "{} names WAL {}, which is not there",
                found.header.name, found.state.checkpoint.wal
            ))
        } else if self.listed.iter().any(|name| name.kind == FileKind::Manifest && name.number > number) {
            Some(format!("a later manifest than {} stands, and its base is not whole", found.header.name))
        } else {
            None
        };
        self.doubted = doubt.is_some();
        self.report.doubts.extend(doubt.map(|what| {
            format!(
                "{what}: its last edits may be missing. SSTables that it does not name and did not drop were taken. \
                 Keys that were deleted or overwritten before may be back, if these were obsolete"
            )
        }));
        Ok(())
    }

    /// Lays down what keeps an unfinished repair from being taken for a database (I2).
    fn guard(&self) -> Result<()> {
        let spare = SpareWal::create(self.to.as_ref(), &mut 0, self.id, 0)?;
        let wal = Wal::begin(spare, MANIFEST_BEFORE, Position::default(), 1)?;
        sync_file(wal.file().as_ref(), wal.name(), "repair.sync_wal")?;
        sync_names(self.to.as_ref(), "repair.sync_names")
    }

    /// The incarnations that may have written a log or a table beyond what the manifest says; all if there is none.
    fn ids(&self) -> Vec<u128> {
        let Some(found) = &self.manifest else {
            return self
                .headers
                .values()
                .map(|header| header.id)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect();
        };
        // A later manifest may have lost its base: its author began a log under the one that was current then.
        let number = found.header.name.number;
        let later = self.numbers(FileKind::Manifest).last().is_some_and(|last| *last > number);
        let is_heir = |header: &&Header| header.name.kind != FileKind::SsTable && header.manifest == number;
        let heirs = self.headers.values().filter(|header| later && is_heir(header));
        [found.header.id].into_iter().chain(heirs.map(|header| header.id)).collect()
    }

    fn read_logs(&mut self) -> Result<()> {
        let mut logs = self.open_logs()?;
        let mut expected = self.manifest.as_ref().map(|found| found.state.checkpoint.seq);
        let mut pending: Option<Error> = None;
        let mut before: Option<(u64, u128)> = None;
        for index in 0..logs.len() {
            let next = logs.get(index + 1).and_then(|next| next.own);
            let log = &mut logs[index];
            let (name, id) = (log.name, log.id);
            let limit = next.filter(|own| own[0] == name.number).map_or(u64::MAX, |own| own[1]);
            if let Some(own) = log.own {
                let chained = self.manifest.is_some() || before == Some((own[0], id));
                if chained {
                    self.join(&mut expected, own[2], name, &mut pending);
                } else {
                    expected = Some(own[2]);
                }
                self.next_seq = self.next_seq.max(own[2].min(SEQ_LIMIT - 1));
            }
            before = Some((name.number, id));
            if log.bad.is_some() {
                pending = log.bad.take();
                self.report.sealed = false;
            }
            let Some(reader) = &mut log.reader else { continue };
            self.report.logs += 1;
            let file = open_file(self.from.as_ref(), name, "wal.open")?;
            while reader.offset() < limit {
                let found = match reader.next() {
                    Ok(Found::Record(record)) if record.kind == RecordKind::Batch => {
                        self.report.sealed = false;
                        let offset = record.offset;
                        match batch_of(record.payload) {
                            Some((first_seq, count)) => {
                                self.join(&mut expected, first_seq, name, &mut pending);
                                expected = expected.max(Some(first_seq + count));
                                self.take_batch(record.payload)?;
                                continue;
                            }
                            None => (offset, "the record passes its checksum, but is no batch", true),
                        }
                    }
                    Ok(Found::Record(record)) => {
                        self.report.sealed = record.kind == RecordKind::Close;
                        continue;
                    }
                    Ok(Found::Bad { offset, what }) => (offset, what, false),
                    Ok(Found::End) => break,
                    Err(error) => {
                        (pending, self.report.sealed) = (Some(error), false);
                        break;
                    }
                };
                let (offset, what, passed) = found;
                let is_damage =
                    passed || written_len(file.as_ref(), name, offset).map_or(true, |len| len > 0);
                if is_damage {
                    pending.get_or_insert(Error::corrupt(name, offset, what));
                    self.report.sealed = false;
                }
                if !passed && !reader.skip_bad().unwrap_or(false) {
                    break;
                }
            }
        }
        self.next_seq = self.next_seq.max(expected.unwrap_or(1));
        if let Some(error) = pending {
            let seqs = expected.unwrap_or(1)..=SEQ_LIMIT - 1;
            let what =
                format!("{error}; it is the torn end that a crash leaves, or damage to the last writes");
            self.losses.lock().push(Loss::of_file(file_of(&error, logs.last()), what, seqs));
        }
        self.report.last_seq = expected.unwrap_or(1).saturating_sub(1);
        Ok(())
    }

    /// Goes on at `seq`: what should have come before it is lost.
    fn join(&self, expected: &mut Option<SeqNo>, seq: SeqNo, name: FileName, pending: &mut Option<Error>) {
        let from = expected.or(pending.as_ref().map(|_| 1));
        let why = pending.take();
        if let Some(from) = from.filter(|from| *from < seq) {
            let why = why.unwrap_or_else(|| Error::corrupt(name, HEADER_LEN, "what comes before it is gone"));
            let file = match &why {
                Error::Corrupt { file, .. } => file.parse().unwrap_or(name),
                _ => name,
            };
            self.losses.lock().push(Loss::of_file(file, why, from..=seq - 1));
        }
        *expected = (*expected).max(Some(seq));
    }

    /// The logs to read, oldest first; those that should stand and do not are among them.
    fn open_logs(&mut self) -> Result<Vec<Log>> {
        let state = self.manifest.as_ref().map(|found| found.state.clone()).unwrap_or_default();
        let standing: BTreeSet<u64> = self.numbers(FileKind::Wal).into_iter().collect();
        let named = state.wals.iter().map(|(number, _)| *number).chain([state.checkpoint.wal]);
        let numbers: BTreeSet<u64> =
            standing.iter().copied().chain(named.filter(|number| *number > 0)).collect();
        let ids = self.ids();
        let mut logs = Vec::new();
        for number in numbers {
            let name = FileName { kind: FileKind::Wal, number };
            if number < state.checkpoint.wal {
                self.leave_out(name, "what is in it is in SSTables, as the manifest says");
                continue;
            }
            let needed = state.wals.iter().find(|(needed, _)| *needed == number).map(|(_, id)| *id);
            if !standing.contains(&number) {
                let bad = Some(Error::corrupt(name, 0, "the manifest names this WAL, and it is not there"));
                logs.push(Log { name, reader: None, own: None, id: needed.unwrap_or_default(), bad });
                continue;
            }
            let file = match open_file(self.from.as_ref(), name, "wal.open") {
                Ok(file) => file,
                Err(error) => {
                    logs.push(Log { name, reader: None, own: None, id: 0, bad: Some(error) });
                    continue;
                }
            };
            let ours = needed.map_or(ids.clone(), |id| vec![id]);
            let has_record = |header: &Header| {
                let mut reader = RecordReader::new(Arc::clone(&file), header, "wal.read").ok()?;
                let found =
                    matches!(reader.next(), Ok(Found::Record(_))) || reader.skip_bad().unwrap_or(false);
                found.then_some(*header)
            };
            match self.headers.get(&name).copied() {
                Some(header) if self.manifest.is_none() || ours.contains(&header.id) => {
                    let reader = RecordReader::new(file, &header, "wal.read")?.exact();
                    logs.push(Log {
                        name,
                        reader: Some(reader),
                        own: Some(header.own),
                        id: header.id,
                        bad: None,
                    });
                }
                Some(header) => {
                    // One that never got a record is the rest of an open that did not live to write its manifest.
                    if has_record(&header).is_some() {
                        self.leave_out(
                            name,
                            "another database, or an incarnation that the manifest does not know, wrote it",
                        );
                    }
                    if needed.is_some() || number == state.checkpoint.wal {
                        let bad =
                            Some(Error::corrupt(name, 32, "the manifest names another WAL of this number"));
                        logs.push(Log { name, reader: None, own: None, id: header.id, bad });
                    }
                }
                None => {
                    let named = needed.is_some() || number == state.checkpoint.wal;
                    if !named && written_len(file.as_ref(), name, 0).is_ok_and(|len| len == 0) {
                        continue; // a spare
                    }
                    let header = |id| Header { name, features: 0, manifest: 0, id, own: [0; 3] };
                    let found = ours.iter().find_map(|id| has_record(&header(*id)));
                    let reader = found.and_then(|header| RecordReader::new(file, &header, "wal.read").ok());
                    let reader = reader.map(RecordReader::exact);
                    let bad = Some(Error::corrupt(name, 0, "the log's header is not whole"));
                    logs.push(Log { name, reader, own: None, id: found.map_or(0, |header| header.id), bad });
                }
            }
        }
        Ok(logs)
    }

    /// Whether nothing was ever written to the file: it was begun, and then there was a crash.
    fn is_blank(&self, name: FileName) -> bool {
        let file = open_file(self.from.as_ref(), name, "repair.open");
        file.and_then(|file| written_len(file.as_ref(), name, 0)).is_ok_and(|len| len == 0)
    }

    fn leave_out(&mut self, name: FileName, why: &str) {
        self.report.left_out.push((name.to_string(), why.into()));
    }

    fn take_batch(&mut self, payload: &[u8]) -> Result<()> {
        let mut since = None;
        for entry in decode_batch(payload).into_iter().flat_map(|(_, entries)| entries.flatten()) {
            self.base_seq = self.base_seq.min(entry.seq);
            let since = *since.get_or_insert(entry.seq);
            self.memtable.insert(entry, since);
        }
        if self.memtable.memory_len() < self.options.memtable_bytes() { Ok(()) } else { self.spill() }
    }

    /// Moves what logs held into tables of the new place, for the time being.
    fn spill(&mut self) -> Result<()> {
        let fresh = Arc::new(Memtable::new(self.options.memtable_bytes(), 0));
        let memtable = std::mem::replace(&mut self.memtable, fresh);
        let deletes = RangeDeletes::clone(&memtable.range_deletes());
        let tables = self.write(vec![Box::new(MemtableCursor::new(memtable))], deletes)?;
        self.spilled.extend(tables);
        Ok(())
    }

    /// The tables to read.
    fn open_tables(&mut self) -> Vec<Salvage> {
        let ids = self.ids();
        let mut tables = Vec::new();
        let named = self.manifest.as_ref().map(|found| found.state.tables.clone()).unwrap_or_default();
        for (number, (_, meta)) in &named {
            match Salvage::open(&self.sources, *number, Some(meta), &ids, &self.losses) {
                Ok(table) => tables.push(table),
                Err(error) => {
                    let name = FileName { kind: FileKind::SsTable, number: *number };
                    let loss = Loss::of_file(name, error, meta.counts.seq_min..=meta.counts.seq_max);
                    self.losses.lock().push(Loss {
                        after: (meta.start.clone(), SeqNo::MAX),
                        before: Some((meta.end.clone(), SeqNo::MAX)),
                        entries: meta.counts.entries > 0,
                        range_deletes: meta.counts.range_deletes > 0,
                        ..loss
                    });
                }
            }
        }
        for number in self.numbers(FileKind::SsTable).into_iter().filter(|number| !named.contains_key(number))
        {
            let name = FileName { kind: FileKind::SsTable, number };
            if let Some(found) = &self.manifest {
                let id = self.headers.get(&name).map(|header| header.id);
                let since = number > found.base_sstable && !found.dropped.contains(&number);
                if !self.doubted || !since || id.is_some_and(|id| !ids.contains(&id)) {
                    self.leave_out(name, "the manifest does not name it");
                    continue;
                }
            }
            match Salvage::open(&self.sources, number, None, &ids, &self.losses) {
                Ok(table) => {
                    let end = *table.seqs().end();
                    // The highest of all is no number, but says that nothing is known.
                    self.next_seq = self.next_seq.max(if end < SEQ_LIMIT - 1 { end + 1 } else { 1 });
                    tables.push(table);
                }
                Err(_) if self.is_blank(name) => {}
                Err(error) => self.losses.lock().push(Loss::of_file(name, error, 1..=SEQ_LIMIT - 1)),
            }
        }
        self.report.tables = tables.len();
        tables
    }

    /// Merges all that was found into tables of the new place.
    fn merge(&mut self, tables: Vec<Salvage>) -> Result<Vec<TableMeta>> {
        let spilled = std::mem::take(&mut self.spilled);
        let targets = Arc::new(TableFiles::new(Arc::clone(&self.to), 1 << 20, self.options.open_files_max));
        let memtable = Arc::clone(&self.memtable);
        let mut deletes = RangeDeletes::clone(&memtable.range_deletes());
        let mut add = |of: &RangeDeletes| {
            for fragment in of.iter() {
                for seq in fragment.seqs {
                    deletes.insert(fragment.start, fragment.end, *seq);
                }
            }
        };
        let mut cursors: Vec<Box<dyn Cursor>> = vec![Box::new(MemtableCursor::new(memtable))];
        for meta in &spilled {
            let table = Arc::new(Table::new(meta.clone(), Arc::clone(&targets)));
            table.range_deletes()?.iter().for_each(|deletes| add(deletes));
            cursors.push(Box::new(TableCursor::new(table, Keep::Never)));
        }
        for table in &tables {
            self.base_seq = self.base_seq.min(table.base_seq());
            add(&table.range_deletes);
        }
        for run in runs_of(tables) {
            cursors.push(Box::new(SalvageCursor::new(run, Arc::clone(&self.losses))));
        }
        let written = self.write(cursors, deletes)?;
        for meta in spilled {
            targets.forget(meta.number);
            let name = FileName { kind: FileKind::SsTable, number: meta.number };
            self.to
                .remove("repair.remove", name)
                .map_err(|e| Error::io(format_args!("removing {name}"), e))?;
        }
        Ok(written)
    }

    /// Writes all entries and range deletes, each once, into tables of the new place.
    fn write(&mut self, cursors: Vec<Box<dyn Cursor>>, deletes: RangeDeletes) -> Result<Vec<TableMeta>> {
        let table_bytes = self.options.table_bytes(u64::MAX);
        let ends = VecDeque::new();
        let mut run = Run::new(cursors, deletes, Live::everything(), Outside::default(), table_bytes, ends);
        let (to, id, compression) = (Arc::clone(&self.to), self.id, self.options.compression);
        let base_seq = self.base_seq.min(SEQ_LIMIT - 1);
        let last = &mut self.last_sstable;
        let mut create = || {
            let (number, file) = create_file(to.as_ref(), FileKind::SsTable, *last, "sstable.create")?;
            *last = number;
            Ok(TableWriter::new(file, number, id, MANIFEST_BEFORE, base_seq, compression))
        };
        while run.step(u64::MAX, &mut create)? != Progress::Done {}
        Ok(run.take_tables())
    }

    /// Writes the log and the manifest that make a database of the tables.
    fn finish(self, written: Vec<TableMeta>) -> Result<RepairReport> {
        let mut report = self.report;
        report.losses = std::mem::take(&mut *self.losses.lock());
        let mut next_seq = self.next_seq;
        for meta in &written {
            report.entries += meta.counts.entries;
            report.bytes += meta.len;
            next_seq = next_seq.max(meta.counts.seq_max + 1);
        }
        if !report.sealed || !report.is_whole() {
            next_seq = next_seq.saturating_add(SEQ_JUMP);
        }
        if next_seq >= SEQ_LIMIT {
            return Err(Error::invalid("no sequence numbers are left for a new database"));
        }
        report.next_seq = next_seq;
        let clock_ms = self.manifest.as_ref().map_or(0, |found| found.state.clock_ms);
        let tables = written.into_iter().map(|meta| (meta.number, (LEVEL_COUNT - 1, meta))).collect();
        let state = State {
            tables,
            checkpoint: Checkpoint { wal: 0, seq: next_seq },
            clock_ms,
            last_sstable: self.last_sstable,
            last_wal: 1,
            wals: Vec::new(),
        };
        write_anew(self.to.as_ref(), self.id, MANIFEST_BEFORE, state)?;
        // The guard has done its work; if it stays, the next open removes it.
        drop(self.to.remove("repair.remove", FileName { kind: FileKind::Wal, number: 1 }));
        Ok(report)
    }
}

impl RepairReport {
    /// Whether nothing is lost, and there was nothing to decide.
    pub fn is_whole(&self) -> bool {
        self.losses.is_empty() && self.doubts.is_empty()
    }
}

/// The first sequence number of a batch and how many entries it has, if it is whole.
fn batch_of(payload: &[u8]) -> Option<(SeqNo, u64)> {
    let (first_seq, entries) = decode_batch(payload)?;
    let count = u64::from(entries.left());
    let within = first_seq > 0 && first_seq.checked_add(count)? < SEQ_LIMIT;
    (within && entries.into_iter().all(|entry| entry.is_some())).then_some((first_seq, count))
}

fn file_of(error: &Error, last: Option<&Log>) -> FileName {
    let named = match error {
        Error::Corrupt { file, .. } => file.parse().ok(),
        _ => None,
    };
    named.or(last.map(|log| log.name)).unwrap_or(FileName { kind: FileKind::Wal, number: 1 })
}
