//! Backups: openable copies of the database, written by name under one directory.
//!
//! Nobody who speaks to the server may have it write where they like: where backups go is a setting, and a name is a name
//! and not a path. Each backup is a directory of its own, and no name is used twice.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use cairndb::{BackupMode, BackupReport, Db, Error};

/// The longest name.
const NAME_LEN_MAX: usize = 100;

/// What was backed up, and where to.
pub(crate) struct Backups {
    directory: Option<PathBuf>,
    running: AtomicBool,
    /// When the last one that ended well ended, in seconds since 1970; the server's start, if there was none.
    last_s: AtomicU64,
    last_failed: AtomicBool,
}

/// Holds the turn to write one; there is one at a time.
pub(crate) struct Turn<'a>(&'a Backups);

impl Backups {
    pub(crate) fn new(directory: Option<PathBuf>) -> Backups {
        Backups {
            directory,
            running: AtomicBool::new(false),
            last_s: AtomicU64::new(seconds_since_1970()),
            last_failed: AtomicBool::new(false),
        }
    }

    /// The turn to write one; `None` while somebody else has it.
    pub(crate) fn turn(&self) -> Option<Turn<'_>> {
        (!self.running.swap(true, Ordering::AcqRel)).then(|| Turn(self))
    }

    /// Whether there is a directory for them.
    pub(crate) fn are_allowed(&self) -> bool {
        self.directory.is_some()
    }

    /// Whether one is being written.
    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    pub(crate) fn last_s(&self) -> u64 {
        self.last_s.load(Ordering::Relaxed)
    }

    /// Whether the last one did not end well.
    pub(crate) fn last_failed(&self) -> bool {
        self.last_failed.load(Ordering::Relaxed)
    }
}

impl Turn<'_> {
    /// Writes a backup of this name; takes as long as that takes.
    ///
    /// Errors: `Invalid` where backups are not allowed, or not by this name; else as `cairndb::Db::backup_to`.
    pub(crate) fn write(self, db: &Db, name: &str) -> cairndb::Result<BackupReport> {
        let invalid = |what: &str| Error::Invalid { what: what.into() };
        let directory = self.0.directory.as_ref();
        let directory =
            directory.ok_or_else(|| invalid("there is no directory for backups: --backup-dir"))?;
        if !is_name(name) {
            let told = "a backup's name is up to 100 letters, digits, dots, dashes and underscores, the first of them no dot";
            return Err(invalid(told));
        }
        let made = std::fs::create_dir_all(directory).map_err(|source| Error::Io {
            what: format!("cannot make the directory {}", directory.display()),
            source: source.into(),
        });
        let written = made.and_then(|()| db.backup_to(directory.join(name), BackupMode::Link));
        self.0.last_failed.store(written.is_err(), Ordering::Relaxed);
        if written.is_ok() {
            self.0.last_s.store(seconds_since_1970(), Ordering::Relaxed);
        }
        written
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::Release);
    }
}

/// The name of a backup that nobody named: when it was begun, so that names sort by age.
pub(crate) fn dated_name() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let ms = since.subsec_millis();
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{ms:03}Z")
}

/// The year, month and day that many days after 1970-01-01. The era is one of 400 years that begins in March, so that the
/// day that some years have more is its last.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

pub(crate) fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=NAME_LEN_MAX).contains(&name.len()) && name.bytes().all(fits) && !name.starts_with('.')
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(59), (1970, 3, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_782), (2026, 11, 25));
    }

    #[test]
    fn a_name_is_not_a_path() {
        assert!(is_name("nightly-2026.11_25") && is_name(&dated_name()));
        for path in ["", ".", "..", ".hidden", "a/b", "../a", "a\0b", &"a".repeat(101)] {
            assert!(!is_name(path), "{path:?}");
        }
    }

    #[test]
    fn one_is_written_at_a_time_and_where_it_is_allowed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let db = Db::open(directory.path().join("db")).expect("it opens");
        db.put("a", "1").expect("it is written");
        let backups = Backups::new(Some(directory.path().join("backups")));
        let turn = backups.turn().expect("nobody has it");
        assert!(backups.turn().is_none() && backups.is_running());
        turn.write(&db, "first").expect("it is written");
        assert!(!backups.is_running() && !backups.last_failed());
        assert!(backups.turn().expect("nobody has it").write(&db, "first").is_err(), "the name is taken");
        assert!(backups.last_failed());
        let copy = Db::open(directory.path().join("backups/first")).expect("it opens");
        assert_eq!(copy.get("a").expect("it reads").as_deref(), Some(&b"1"[..]));
        let none = Backups::new(None);
        let refused = none.turn().expect("nobody has it").write(&db, "a");
        assert!(matches!(refused, Err(Error::Invalid { .. })));
    }
}
