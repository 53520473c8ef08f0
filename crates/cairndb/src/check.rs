//! Check: walks everything on disk and reports each broken promise.
//!
//! Opening a database looks at as little as it can; a check looks at every byte. It goes on past what is broken, so that
//! one look tells all that is wrong. It changes nothing.
//!
//! # Where it sits
//! On everything but the host; `cairn verify` prints what it finds.

use cairndb_storage::{FileKind, LockMode, Storage};

use crate::db::Db;
use crate::error::{Error, Result};
use crate::files::{list_files, lock};
use crate::manifest::{self, Recovered};
use crate::sstable::{TableFiles, problems_of};
use crate::sync::Arc;
use crate::version::{State, Version};
use crate::wal::{self, Authors, Survey};

/// What blocks a check may keep in memory, in bytes: it reads everything once.
const CACHE_BYTES: u64 = 8 << 20;

/// How many tables a check keeps open.
const OPEN_FILES_MAX: usize = 16;

/// What a check of the whole database found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Verification {
    /// The promises that were checked, in order.
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
    /// What was looked at.
    pub what: String,
    /// What is wrong; nothing if the promise holds.
    pub problems: Vec<Error>,
}

impl Verification {
    /// Whether every promise that was checked holds.
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.problems.is_empty())
    }

    fn note(&mut self, promise: u8, what: impl Into<String>, problems: Vec<Error>) {
        self.checks.push(Check { promise, what: what.into(), problems });
    }

    fn check_tables(&mut self, version: &Version) {
        let mut problems = Vec::new();
        let mut entries = 0;
        for (_, table) in version.tables() {
            problems.extend(problems_of(table));
            entries += table.meta.counts.entries;
            self.files += 1;
            self.bytes += table.meta.len;
        }
        let what = format!(
            "every block of every table has its checksum, its order and its place: {entries} entries"
        );
        self.note(9, what, problems);
    }
}

/// Checks the database in `storage`, which nobody may have open for writing.
///
/// Errors: `Locked`; `Invalid` if there is no database, or one of another format; `Io`. Damage is no error here: it is
/// what the check is for.
pub fn verify(storage: Arc<dyn Storage>) -> Result<Verification> {
    let _lock = lock(storage.as_ref(), LockMode::Shared, "verify.lock")?;
    let listed = list_files(storage.as_ref(), "verify.list")?;
    let numbers_of =
        |kind| listed.iter().filter(|name| name.kind == kind).map(|name| name.number).collect::<Vec<_>>();
    let mut verification = Verification::default();
    let recovered = match manifest::recover(storage.as_ref(), &numbers_of(FileKind::Manifest)) {
        Ok(Some(recovered)) => recovered,
        Ok(None) if listed.is_empty() => return Err(Error::invalid("there is no database here")),
        Ok(None) => {
            let gone = || Error::corrupt(listed[0], 0, "files stand here, and there is no manifest");
            let gone =
                manifest::damage(storage.as_ref(), &numbers_of(FileKind::Manifest)).unwrap_or_else(gone);
            verification.note(5, "the newest manifest is whole", vec![gone]);
            return Ok(verification);
        }
        Err(error @ Error::Corrupt { .. }) => {
            verification.note(5, "the newest manifest is whole", vec![error]);
            return Ok(verification);
        }
        Err(error) => return Err(error),
    };
    verification.files += 1;
    let what =
        format!("the newest manifest is whole: {}, {} records", recovered.header.name, recovered.records);
    verification.note(5, what, Vec::new());
    verification.check_logs(storage.as_ref(), &recovered, &numbers_of(FileKind::Wal))?;
    verification.check_runs(&recovered.state);
    let files = Arc::new(TableFiles::new(Arc::clone(&storage), CACHE_BYTES, OPEN_FILES_MAX));
    let tables = recovered.state.tables.values().map(|(level, meta)| (*level, meta));
    verification.check_tables(&Version::new(tables, &files));
    Ok(verification)
}

impl Verification {
    fn check_logs(&mut self, storage: &dyn Storage, recovered: &Recovered, numbers: &[u64]) -> Result<()> {
        let Recovered { header, state, .. } = recovered;
        let authors = Authors { manifest: header.name.number, id: header.id, needed: &state.wals };
        match wal::survey(storage, state.checkpoint, numbers, &authors) {
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

    fn check_runs(&mut self, state: &State) {
        let mut level_0: Vec<_> =
            state.tables.values().filter(|(level, _)| *level == 0).map(|(_, meta)| meta).collect();
        level_0.sort_by_key(|meta| meta.counts.seq_min);
        let overlapping = level_0.windows(2).filter(|pair| pair[0].counts.seq_max >= pair[1].counts.seq_min);
        let problems = overlapping.map(|pair| {
            let name = cairndb_storage::FileName { kind: FileKind::SsTable, number: pair[1].number };
            Error::corrupt(name, 0, "its sequence numbers overlap those of an older run of level 0")
        });
        // The manifest was not taken to be whole if the tables of a deeper level overlapped.
        self.note(6, "level 0 is a list of runs, and every other level is one run", problems.collect());
    }
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

impl Db {
    /// Checks every table of the database while it is open. What is in the logs alone is not looked at: it is in memory.
    pub fn verify(&self) -> Result<Verification> {
        let version = self.engine().version()?;
        let mut verification = Verification::default();
        verification.check_tables(&version);
        Ok(verification)
    }
}
