//! Check: walks everything on disk and reports each broken promise.
//!
//! Opening a database looks at as little as it can; a check looks at every byte, three times: as a file with a hash, as
//! blocks, and as entries in the order of all levels. It goes on past what is broken, so that one look tells all that is
//! wrong. It changes nothing, and keeps no more in memory than a block of each level and run, and one table's index for
//! each of them.
//!
//! # Where it sits
//! On everything but the host; `cairn verify` prints what it finds.
//!
//! # Why this way
//! What paces it stands between it and the storage, so that no reader has to know of it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use cairndb_storage::{File, FileKind, FileName, Lock, LockError, LockMode, Site, Storage};

use crate::compaction::{Owed, Shape, Waiting, owed};
use crate::cursor::Cursor;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::files::{len_of, list_files, lock, open_file};
use crate::header::Header;
use crate::key::{EntryRef, Kind, SeqNo};
use crate::manifest::{self, Recovered};
use crate::merge::Merge;
use crate::options::Pace;
use crate::range_delete::RangeDeletes;
use crate::snapshot::Live;
use crate::sstable::{Loss, Losses, PROBLEMS_MAX, Salvage, SalvageCursor, Table, TableFiles, problems_of};
use crate::sync::Arc;
use crate::version::Version;
use crate::wal::{self, Authors, Survey};

/// What blocks a check may keep in memory, in bytes: it reads everything once.
const CACHE_BYTES: u64 = 8 << 20;

/// How many tables a check keeps open.
const OPEN_FILES_MAX: usize = 16;

/// Promise 10, as far as it can be judged by the lengths of keys and values: how these packed, and how they would, may
/// differ, so a third is allowed where the promise says a fifth; and a constant.
const DATA_PERCENT_MAX: u64 = 130;
const DATA_SLACK_LEN: u64 = 2 << 20;

/// The promises of ARCHITECTURE.md are numbered up to this.
const PROMISE_COUNT: u8 = 12;

/// What no look at files can tell, and what does.
const UNSEEN: [(u8, &str); 5] = [
    (1, "an acknowledged write survives: shown by crashing, in the simulator"),
    (4, "snapshots see one moment: shown by reading beside writes, in the simulator"),
    (8, "what a failure leaves: shown by failing calls, in the simulator"),
    (11, "memory is bounded: `Db::verify` looks while the database is open"),
    (12, "one writer: one would have kept this check out; `Db::verify` looks while the database is open"),
];

/// What a check of the whole database found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Verification {
    /// What was checked, by promise; each promise that could not be looked at is there once.
    pub checks: Vec<Check>,
    /// Files that belong to the database.
    pub files: usize,
    /// The bytes of its tables.
    pub bytes: u64,
}

/// One promise, and where it is broken.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Check {
    /// The number of the promise in ARCHITECTURE.md.
    pub promise: u8,
    /// Whether it could be looked at.
    pub seen: bool,
    /// What was looked at; or where it is, if not here.
    pub what: String,
    /// What is wrong; nothing if the promise holds.
    pub problems: Vec<Error>,
}

/// Checks the database in `storage`, which nobody may have open for writing.
///
/// Errors: `Locked`; `Invalid` if there is no database, or one of another format; `Io`. Damage is no error here: it is
/// what the check is for.
pub fn verify(storage: Arc<dyn Storage>) -> Result<Verification> {
    verify_at_pace(storage, Arc::new(|_| {}))
}

/// As [`verify`], with `pace` told of each read, so that it can hold the check up.
pub fn verify_at_pace(storage: Arc<dyn Storage>, pace: Pace) -> Result<Verification> {
    let _lock = lock(storage.as_ref(), LockMode::Shared, "verify.lock")?;
    let storage: Arc<dyn Storage> = Arc::new(Paced { storage, pace });
    let mut verification = Verification::default();
    if let Some(recovered) = verification.check_files(storage.as_ref())? {
        verification.check_tables(&storage, &recovered);
    }
    verification.note_unseen();
    Ok(verification)
}

impl Db {
    /// Checks the database while it is open: all that [`verify`] does, and that memory keeps to its budget and nobody else
    /// can open the directory. Writers wait while manifest and logs are read, and not while tables are.
    ///
    /// Errors: `Closed`; `Io`. Damage is no error here.
    pub fn verify(&self) -> Result<Verification> {
        self.verify_at_pace(Arc::new(|_| {}))
    }

    /// As [`Db::verify`], with `pace` told of each read of a table, so that it can hold the check up.
    pub fn verify_at_pace(&self, pace: Pace) -> Result<Verification> {
        let engine = self.engine();
        let mut verification = Verification::default();
        let look = |storage: &Arc<dyn Storage>| {
            let recovered = verification.check_files(storage.as_ref())?;
            Ok((recovered, Arc::new(Paced { storage: Arc::clone(storage), pace })))
        };
        let ((recovered, storage), _tables_stay) = engine.while_still(look)?;
        let Some(recovered) = recovered else {
            verification.note_unseen();
            return Ok(verification);
        };
        let storage: Arc<dyn Storage> = storage;
        verification.check_tables(&storage, &recovered);
        let manifest = recovered.header.name;

        let stats = engine.stats();
        let (held, budget) = (stats.memtable_bytes + stats.cache_bytes, stats.memory_budget_bytes);
        // The largest batch is a quarter of the budget, and may be the last that went into a memtable.
        let over = (held > budget + budget / 4).then(|| {
            Error::corrupt(manifest, 0, format_args!("{held} bytes are held, and the budget is {budget}"))
        });
        let what = format!("memory is bounded by the budget: {held} bytes of {budget}");
        verification.note(11, what, over.into_iter().collect());
        let free = engine.lets_others_in();
        let free =
            free.then(|| Error::corrupt(manifest, 0, "somebody else could open the database for writing"));
        verification.note(12, "the lock keeps everybody else out", free.into_iter().collect());
        verification.note_unseen();
        Ok(verification)
    }
}

impl Verification {
    /// Whether every promise that was checked holds.
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.problems.is_empty())
    }

    fn note(&mut self, promise: u8, what: impl Into<String>, mut problems: Vec<Error>) {
        problems.truncate(PROBLEMS_MAX);
        self.checks.push(Check { promise, seen: true, what: what.into(), problems });
    }

    /// Adds the promises that were not looked at, and brings all into order.
    fn note_unseen(&mut self) {
        for promise in 1..=PROMISE_COUNT {
            if !self.checks.iter().any(|check| check.promise == promise) {
                let elsewhere = UNSEEN.iter().find(|(number, _)| *number == promise);
                let what = elsewhere
                    .map_or("nothing says what should be here: the manifest is damaged", |unseen| unseen.1);
                let (what, problems) = (what.to_string(), Vec::new());
                self.checks.push(Check { promise, seen: false, what, problems });
            }
        }
        self.checks.sort_by_key(|check| check.promise);
    }

    /// Checks all but what is in tables; `None` if the manifest is damaged, so that nothing else can be judged.
    fn check_files(&mut self, storage: &dyn Storage) -> Result<Option<Recovered>> {
        let mut listed = list_files(storage, "verify.list")?;
        listed.retain(|name| name.kind != FileKind::Reserve);
        let numbers_of =
            |kind| listed.iter().filter(|name| name.kind == kind).map(|name| name.number).collect::<Vec<_>>();
        let manifests = numbers_of(FileKind::Manifest);
        let damage = match manifest::recover(storage, &manifests) {
            Ok(Some(recovered)) => {
                self.files += 1;
                let (name, records) = (recovered.header.name, recovered.records);
                self.note(5, format!("the newest manifest is whole: {name}, {records} records"), Vec::new());
                self.check_logs(storage, &recovered, &numbers_of(FileKind::Wal))?;
                self.check_names(storage, &recovered, &listed)?;
                self.check_state(&recovered);
                return Ok(Some(recovered));
            }
            Ok(None) if listed.is_empty() => return Err(Error::invalid("there is no database here")),
            Ok(None) => manifest::damage(storage, &manifests).unwrap_or_else(|| {
                Error::corrupt(listed[0], 0, "files stand here, and there is no manifest")
            }),
            Err(error @ Error::Corrupt { .. }) => error,
            Err(error) => return Err(error),
        };
        self.note(5, "the newest manifest is whole", vec![damage]);
        Ok(None)
    }

    fn check_logs(&mut self, storage: &dyn Storage, recovered: &Recovered, numbers: &[u64]) -> Result<()> {
        let Recovered { header, state, .. } = recovered;
        let authors = Authors { manifest: header.name.number, id: header.id, needed: &state.wals };
        let surveyed = wal::survey(storage, state.checkpoint, numbers, &authors);
        // The survey counts entries; whether they are entries shows when they are taken.
        match surveyed.and_then(|survey| wal::replay(storage, &survey, |_| Ok(())).map(|()| survey)) {
            Ok(survey) => {
                self.files += survey.log_count();
                self.note(2, log_summary(&survey), Vec::new());
            }
            Err(error @ Error::Corrupt { .. }) => {
                self.note(2, "the logs from the checkpoint on are whole and join", vec![error]);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Everything that the manifest names stands, at its length; nothing that stands knows of a later manifest.
    fn check_names(
        &mut self,
        storage: &dyn Storage,
        recovered: &Recovered,
        listed: &[FileName],
    ) -> Result<()> {
        let Recovered { header, state, .. } = recovered;
        let (mut problems, mut unnamed) = (Vec::new(), BTreeSet::new());
        for (number, (_, meta)) in &state.tables {
            let name = FileName { kind: FileKind::SsTable, number: *number };
            if listed.binary_search(&name).is_err() {
                problems.push(Error::corrupt(name, 0, "the manifest names this table, and it is not there"));
                continue;
            }
            let len = len_of(open_file(storage, name, "verify.open")?.as_ref(), name, "verify.len")?;
            if len != meta.len {
                let what = format!("the file is {len} bytes long, and the manifest says {}", meta.len);
                problems.push(Error::corrupt(name, len.min(meta.len), what));
            }
        }
        let kept = logs_kept(storage, state.checkpoint.wal, listed);
        for name in listed {
            let named = match name.kind {
                FileKind::Manifest => *name == header.name,
                FileKind::SsTable => state.tables.contains_key(&name.number),
                FileKind::Wal => name.number >= state.checkpoint.wal || kept.contains(&name.number),
                FileKind::Reserve => true,
            };
            if named {
                continue;
            }
            unnamed.insert(name.to_string());
            let born = open_file(storage, *name, "verify.open")
                .and_then(|file| Header::read(file.as_ref(), *name, "verify.header"));
            if let Some(manifest) =
                born.ok().map(|born| born.manifest).filter(|born| *born > header.name.number)
            {
                let what = format!("it was born under manifest {manifest}, which is gone");
                problems.push(Error::corrupt(*name, 24, what));
            }
        }
        let mut what = "every table that the manifest names stands at its length".to_string();
        if !kept.is_empty() {
            what += &format!("; {} logs are kept for their changes", kept.len());
        }
        if !unnamed.is_empty() {
            let names = unnamed.iter().take(8).cloned().collect::<Vec<_>>().join(" ");
            what += &format!(
                "; {} files that nothing names, for the next open to remove: {names}",
                unnamed.len()
            );
        }
        self.note(5, what, problems);
        Ok(())
    }

    /// What the manifest says fits together.
    fn check_state(&mut self, recovered: &Recovered) {
        let Recovered { header, state, clock_fell, .. } = recovered;
        let sstable = |number| FileName { kind: FileKind::SsTable, number };
        // `manifest::recover` has compared them: were one too great, the manifest would not count as whole, and promise 5
        // would tell of it. So it is with deeper levels that overlap.
        self.note(3, "no table holds a sequence number that the logs give", Vec::new());

        let mut level_0: Vec<_> =
            state.tables.values().filter(|(level, _)| *level == 0).map(|(_, meta)| meta).collect();
        level_0.sort_unstable_by_key(|meta| meta.counts.seq_min);
        let overlapping = level_0.windows(2).filter(|pair| pair[0].counts.seq_max >= pair[1].counts.seq_min);
        let what = "its sequence numbers overlap those of an older run of level 0";
        let problems = overlapping.map(|pair| Error::corrupt(sstable(pair[1].number), 0, what));
        self.note(6, "level 0 is a list of runs, and every other level is one run", problems.collect());

        let fell = clock_fell.map(|offset| Error::corrupt(header.name, offset, "the clock goes back here"));
        let what = format!("the manifest's clock never goes back: {} ms", state.clock_ms);
        self.note(7, what, fell.into_iter().collect());
    }

    fn check_tables(&mut self, storage: &Arc<dyn Storage>, recovered: &Recovered) {
        let state = &recovered.state;
        let files = Arc::new(TableFiles::new(Arc::clone(storage), CACHE_BYTES, OPEN_FILES_MAX));
        let tables = state.tables.values().map(|(level, meta)| (*level, meta));
        let version = Version::new(tables, &files);
        let (mut problems, mut entries) = (Vec::new(), 0);
        for (_, table) in version.tables() {
            problems.extend(problems_of(table));
            entries += table.meta.counts.entries;
            self.files += 1;
            self.bytes += table.meta.len;
        }
        let what = format!(
            "every block of every table has its checksum, its order and its place: {entries} entries"
        );
        let was_whole = problems.is_empty();
        self.note(9, what, problems);
        let mut walk = Walk::over(&version, &files);
        if was_whole {
            // What was whole a moment ago and cannot be read now was not reported before.
            walk.problems.extend(walk.passed_over.pop());
        }
        let what = "an entry of a key lies no deeper than an older one";
        self.note(6, what, walk.problems);
        self.check_share(recovered, &version, walk.data_len, walk.live_len);
    }

    /// Promise 10, of a database that owes nothing. What has expired counts as live: of that the promise has an estimate.
    fn check_share(&mut self, recovered: &Recovered, version: &Version, data_len: u64, live_len: u64) {
        let live = Live { seqs: vec![SeqNo::MAX], now_ms: recovered.state.clock_ms };
        let shape = Shape { base_bytes: u64::MAX, slack_bytes: DATA_SLACK_LEN / 2, is_tight: false };
        let settled = matches!(owed(version, shape, &live, Waiting::Entries(0)), Owed::Nothing);
        let most = (live_len / 100).saturating_mul(DATA_PERCENT_MAX) + DATA_SLACK_LEN;
        let over = (settled && data_len > most).then(|| {
            let what = format!("of {data_len} bytes of keys and values in tables {live_len} can be seen");
            Error::corrupt(recovered.header.name, 0, what)
        });
        let share = live_len.saturating_mul(100) / data_len.max(1);
        let state = if settled { "nothing is owed" } else { "maintenance is owed, so there is no bound yet" };
        self.note(
            10,
            format!("disk use at rest is bounded: {share} % can be seen, {state}"),
            over.into_iter().collect(),
        );
    }
}

/// The logs before the checkpoint's that stand for the sake of their changes.
fn logs_kept(storage: &dyn Storage, checkpoint: u64, listed: &[FileName]) -> Vec<u64> {
    let name = FileName { kind: FileKind::Wal, number: checkpoint };
    let numbers: Vec<u64> =
        listed.iter().filter(|name| name.kind == FileKind::Wal).map(|name| name.number).collect();
    let first = open_file(storage, name, "verify.open")
        .and_then(|file| Header::read(file.as_ref(), name, "verify.header"));
    // Without a header there is no telling; the logs' own check tells of that.
    let Ok(first) = first else { return Vec::new() };
    wal::logs_before(storage, &numbers, &first).iter().map(|log| log.header.name.number).collect()
}

/// What a walk over all tables has seen, in the order of entries.
#[derive(Default)]
struct Walk {
    problems: Vec<Error>,
    /// What could not be read.
    passed_over: Vec<Error>,
    /// The bytes of keys and values, and of those that a reader of the present would find.
    data_len: u64,
    live_len: u64,
    /// The last entry's key, number and place.
    last: Option<(Vec<u8>, SeqNo, usize)>,
    /// The number and the range deletes of the table that stands at the walk, for each place.
    deletes: Vec<(u64, Option<Arc<RangeDeletes>>)>,
}

impl Walk {
    /// Merges all runs; places are counted from the newest run of level 0 to the last level. What is damaged is passed
    /// over: it was reported before.
    fn over(version: &Version, files: &Arc<TableFiles>) -> Walk {
        let (level_0, deeper) = version.levels.split_first().expect("there is a level 0");
        let places: Vec<&[Arc<Table>]> =
            level_0.chunks(1).chain(deeper.iter().map(|level| &level[..])).collect();
        let (losses, unopened) = (Losses::default(), RefCell::new(Vec::new()));
        let cursor = |tables: &&[Arc<Table>]| {
            let open = |table: &Arc<Table>| {
                let found = Salvage::open(files, table.meta.number, Some(&table.meta), &[], &losses);
                let mut found = found.map_err(|error| unopened.borrow_mut().push(error)).ok()?;
                // They are asked of the tables, whose cache is bounded.
                found.range_deletes = Default::default();
                Some(found)
            };
            let cursor = SalvageCursor::new(tables.iter().filter_map(open).collect(), Arc::clone(&losses));
            Box::new(cursor) as Box<dyn Cursor>
        };
        let mut merge = Merge::new(places.iter().map(cursor).collect());
        let mut walk = Walk::default();
        let walked = walk.go(&mut merge, &places);
        walk.problems.extend(walked.err());
        drop(merge);
        walk.passed_over = unopened.into_inner();
        let lost = |loss: &Loss| {
            Error::io(format_args!("reading {} again", loss.file), io::Error::other(loss.what.clone()))
        };
        walk.passed_over.extend(losses.lock().iter().map(lost));
        walk
    }

    fn go(&mut self, merge: &mut Merge, places: &[&[Arc<Table>]]) -> Result<()> {
        merge.seek(b"", SeqNo::MAX)?;
        while let (Some(entry), Some(place)) = (merge.entry(), merge.index()) {
            if self.problems.len() < PROBLEMS_MAX {
                let problem = self.misplaced(entry, place, places);
                self.problems.extend(problem);
            }
            self.data_len += entry.data_len();
            let is_newest = self.last.as_ref().is_none_or(|(key, ..)| key != entry.key);
            let is_seen = is_newest
                && entry.kind != Kind::Delete
                && self.newest_over(entry.key, places, 0..places.len()) < entry.seq;
            if is_seen {
                self.live_len += entry.data_len();
            }
            let (key, seq, at) = self.last.get_or_insert_default();
            if is_newest {
                key.clear();
                key.extend_from_slice(entry.key);
            }
            let is_copy = !is_newest && *seq == entry.seq;
            (*seq, *at) = (entry.seq, if is_copy { place.min(*at) } else { place });
            merge.next()?;
        }
        Ok(())
    }

    /// What is wrong with an entry's being in this place: a newer one lies deeper, or a newer range delete over it does, and
    /// no copy of that one above.
    fn misplaced(&mut self, entry: EntryRef<'_>, place: usize, places: &[&[Arc<Table>]]) -> Option<Error> {
        let (key, seq) = (entry.key.escape_ascii(), entry.seq);
        let what = match &self.last {
            // A compaction that is under way has copies of an entry in two levels.
            Some((last, newer, at)) if last == entry.key && *newer != seq && *at > place => {
                Some(format!("the entry {key} @{seq} lies above @{newer}, which is newer"))
            }
            _ => None,
        };
        let what = what.or_else(|| {
            let newer = self.newest_over(entry.key, places, place + 1..places.len());
            (newer > entry.seq && newer > self.newest_over(entry.key, places, 0..place + 1))
                .then(|| format!("the entry {key} @{seq} lies above a range delete @{newer}, which is newer"))
        })?;
        table_at(places[place], entry.key).map(|table| Error::corrupt(table.name(), 0, what))
    }

    /// The newest range delete over `key` in these places; 0 if there is none. Damage was reported before.
    fn newest_over(&mut self, key: &[u8], places: &[&[Arc<Table>]], of: Range<usize>) -> SeqNo {
        self.deletes.resize(places.len(), (0, None));
        let mut newest = 0;
        for index in of {
            let Some(table) = table_at(places[index], key) else { continue };
            let (number, deletes) = &mut self.deletes[index];
            // They are read once for all entries of the table: the cache may not keep as many as there are.
            if *number != table.meta.number {
                (*number, *deletes) = (table.meta.number, table.range_deletes().unwrap_or_default());
            }
            let over = deletes.as_ref().and_then(|deletes| deletes.newest_over(key, SeqNo::MAX));
            newest = newest.max(over.unwrap_or(0));
        }
        newest
    }
}

/// The table of a run whose stretch holds `key`.
fn table_at<'a>(run: &'a [Arc<Table>], key: &[u8]) -> Option<&'a Arc<Table>> {
    let index = run.partition_point(|table| table.meta.end.as_slice() <= key);
    run.get(index).filter(|table| table.meta.start.as_slice() <= key)
}

fn log_summary(survey: &Survey) -> String {
    let whole = format!(
        "the logs from the checkpoint on are whole and join: {} logs, {} records",
        survey.log_count(),
        survey.records
    );
    match &survey.torn {
        Some(torn) => format!(
            "{whole}; behind them a torn tail of {} bytes, never promised ({torn})",
            survey.torn_bytes
        ),
        None => whole,
    }
}

/// A storage whose reads are told to somebody.
struct Paced {
    storage: Arc<dyn Storage>,
    pace: Pace,
}

struct PacedFile {
    file: Arc<dyn File>,
    pace: Pace,
}

impl Storage for Paced {
    fn create(&self, site: Site, kind: FileKind, above: u64) -> io::Result<(u64, Arc<dyn File>)> {
        self.storage.create(site, kind, above)
    }

    fn open(&self, site: Site, name: FileName) -> io::Result<Arc<dyn File>> {
        let file = self.storage.open(site, name)?;
        Ok(Arc::new(PacedFile { file, pace: Arc::clone(&self.pace) }))
    }

    fn remove(&self, site: Site, name: FileName) -> io::Result<()> {
        self.storage.remove(site, name)
    }

    fn list(&self, site: Site) -> io::Result<Vec<FileName>> {
        self.storage.list(site)
    }

    fn sync_names(&self, site: Site) -> io::Result<()> {
        self.storage.sync_names(site)
    }

    fn lock(&self, site: Site, mode: LockMode) -> std::result::Result<Lock, LockError> {
        self.storage.lock(site, mode)
    }
}

impl File for PacedFile {
    fn reserve(&self, site: Site, len: u64) -> io::Result<()> {
        self.file.reserve(site, len)
    }

    fn append(&self, site: Site, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.append(site, offset, bytes)
    }

    fn read_at(&self, site: Site, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(site, offset, buf)?;
        (self.pace)(read as u64);
        Ok(read)
    }

    fn len(&self, site: Site) -> io::Result<u64> {
        self.file.len(site)
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        self.file.sync(site)
    }
}

#[cfg(test)]
mod tests;
