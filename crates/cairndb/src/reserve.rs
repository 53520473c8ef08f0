//! Reserve: space that is held so that a full disk can be given space back.
//!
//! What was deleted takes room until it has been compacted away, and a compaction needs room before it gives any back; so
//! does the flush that comes before it. On a disk without any, neither could run, and deleting would be in vain. The
//! reserve is a file of zeros, as long as the next flushes and one compaction need. When one of them meets a full disk,
//! the file is removed and its space is theirs; nothing else is written then but deletes. When there is nothing more to
//! do, the file is laid down again, and only when it stands in full are puts taken.
//!
//! How long it must be follows from what is in memory and on disk, so an empty database holds 20 KiB, and a put that makes
//! the next flush longer lays down its share before it goes to the log. When the database is idle, it is cut back.
//!
//! # Where it sits
//! On `files`. `db` says what is needed, and when to give way. The storage may be shared with others, who can take what is
//! given up: then the work waits, as it would without a reserve.
//!
//! # On disk
//! Files `NNNNNN.reserve` of zeros: one, or a few if later incarnations had to add to it. Nothing in them is read. Agrees with FORMAT.md, "Files".
//!
//! # When things break
//! Crash: a file is there, or shorter, or gone. The next open counts the bytes that it finds, and lays down what is
//! missing before it takes a put. They are not synced, for nothing rests on its bytes: file systems take the space when zeros
//! are written. Where they don't (one that packs zeros, or counts at the sync), the reserve is worth less, and the disk
//! is as full as it would be without.
//!
//! # Why this way
//! Others watch how much the disk has free and stop early; that needs another call to the system, and is a guess while
//! others write. Zeros that stand are known. The arithmetic is in docs/decisions/0010.

use cairndb_storage::{File, FileKind, FileName, Storage};

use crate::error::{Error, Result};
use crate::files::{create_file, lay_down};
use crate::sync::Arc;

/// The largest step in which it is laid down, in bytes, as for a log.
const STEP_MAX: u64 = 1 << 20;

/// One log to go on to, and as much again for four runs of deletes, each less than half as long as its log.
const SPARES: u64 = 3;

/// For headers and footers, in bytes.
const SLACK_LEN: u64 = 4 << 10;

/// So much more than one and a half times what is needed may be held, in bytes.
const TRIM_SLACK_LEN: u64 = 64 << 10;

/// An open keeps no more files than this of what earlier incarnations laid down.
pub(crate) const FILES_MAX: usize = 4;

/// What must be written before any of it gives space back, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needs {
    /// The table that the active memtable will be flushed to.
    pub(crate) active_len: u64,
    /// The one of the frozen memtable.
    pub(crate) frozen_len: u64,
    /// The longest table above the last level, all of which may stand twice while it is compacted.
    pub(crate) run_len: u64,
    /// What one piece of a compaction may stand twice of the level it goes to.
    pub(crate) piece_len: u64,
    /// A log to go on to, with room for deletes. Flushed, these are runs that stand until they are compacted.
    pub(crate) spare_len: u64,
    /// What the manifest grows by, or a new one takes.
    pub(crate) manifest_len: u64,
}

impl Needs {
    /// An open flushes both memtables before it removes a log; else each flush gives back its log before the next, and a
    /// compaction comes after both.
    fn total_len(&self) -> u64 {
        let run_len = self.active_len.max(self.frozen_len).max(self.run_len);
        (self.active_len + self.frozen_len).max(run_len + self.piece_len)
            + SPARES * self.spare_len
            + self.manifest_len
            + SLACK_LEN
    }
}

/// The space that is held, and how much should be.
pub(crate) struct Reserve {
    pub(crate) needs: Needs,
    /// What stands; only the last file can grow.
    files: Vec<Laid>,
    last_number: u64,
    /// It was given up, and does not stand in full yet.
    spent: bool,
    /// What found no room when that was last tried.
    refused: Option<String>,
}

/// One of the files.
struct Laid {
    number: u64,
    /// `None` if an earlier incarnation laid it down: it cannot grow.
    file: Option<Arc<dyn File>>,
    len: u64,
}

impl Reserve {
    /// Takes over what was found: (number, length) of each file, the numbers rising. It counts as spent until
    /// [`Reserve::lay`] has found it long enough.
    pub(crate) fn found(found: &[(u64, u64)]) -> Reserve {
        let files =
            found.iter().map(|(number, len)| Laid { number: *number, file: None, len: *len }).collect();
        let last_number = found.last().map_or(0, |(number, _)| *number);
        Reserve { needs: Needs::default(), files, last_number, spent: true, refused: None }
    }

    /// How much stands, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.files.iter().map(|laid| laid.len).sum()
    }

    /// Whether it was given up and does not stand in full again.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent
    }

    /// Whether it would do if the active memtable's table took `active_len` bytes.
    pub(crate) fn covers(&self, active_len: u64) -> bool {
        !self.spent && self.len() >= Needs { active_len, ..self.needs }.total_len()
    }

    /// Lays down what is missing if the active memtable's table takes `active_len` bytes.
    ///
    /// Errors: `DiskFull`, also while it is given up; `Busy` if the storage has no file to give, or fails.
    pub(crate) fn cover(&mut self, storage: &dyn Storage, active_len: u64) -> Result<()> {
        if self.spent {
            let mut what = "what was held back for deletes, flushes and compactions is in use".to_string();
            if let Some(refused) = &self.refused {
                what.push_str(&format!(", since there was no room: {refused}"));
            }
            return Err(Error::DiskFull { what });
        }
        self.lay_to(storage, Needs { active_len, ..self.needs }.total_len())
    }

    /// Lays down about `len` more bytes of what is missing; whether it stands in full. From then on it is not spent.
    ///
    /// Errors: as [`Reserve::cover`].
    pub(crate) fn lay(&mut self, storage: &dyn Storage, len: u64) -> Result<bool> {
        let total_len = self.needs.total_len();
        self.lay_to(storage, total_len.min(self.len().saturating_add(len)))?;
        let is_whole = self.len() >= total_len;
        self.spent &= !is_whole;
        Ok(is_whole)
    }

    /// Gives up what is held, for the sake of what found no room; `false` if there is nothing to give.
    pub(crate) fn give_up(&mut self, storage: &dyn Storage, refused: &Error) -> bool {
        self.spent = true;
        self.note(refused);
        let held = self.files.len();
        self.files.retain_mut(|laid| remove(storage, laid));
        self.files.len() < held
    }

    /// Holds as much as is needed, where it has come to hold much more: what was needed once, for tables that have been cut
    /// since, or for memtables that have been flushed. The shorter file stands before the longer ones go.
    pub(crate) fn trim(&mut self, storage: &dyn Storage) {
        let total_len = self.needs.total_len();
        if self.spent || self.len() <= total_len + total_len / 2 + TRIM_SLACK_LEN {
            return;
        }
        let mut old = std::mem::take(&mut self.files);
        if self.grow(storage, total_len).is_err() {
            // There is room for one of the two, and this one stands.
            std::mem::swap(&mut self.files, &mut old);
        }
        // What cannot be removed is held on to.
        old.retain_mut(|laid| remove(storage, laid));
        self.files.splice(0..0, old);
    }

    fn lay_to(&mut self, storage: &dyn Storage, wanted: u64) -> Result<()> {
        if self.len() >= wanted {
            return Ok(());
        }
        let laid = self.grow(storage, wanted).inspect_err(|error| self.note(error));
        laid.map_err(|error| match error {
            // Of the caller's write nothing was done, and the next one tries again.
            Error::Io { .. } => Error::Busy { what: error.to_string() },
            error => error,
        })
    }

    fn note(&mut self, refused: &Error) {
        if let Error::DiskFull { what } = refused {
            self.refused = Some(what.clone());
        }
    }

    fn grow(&mut self, storage: &dyn Storage, wanted: u64) -> Result<()> {
        let missing = wanted - self.len();
        if self.files.last().is_none_or(|laid| laid.file.is_none()) {
            let (number, file) = create_file(storage, FileKind::Reserve, self.last_number, "reserve.create")?;
            self.last_number = number;
            self.files.push(Laid { number, file: Some(file), len: 0 });
        }
        let Some(Laid { number, file: Some(file), len }) = self.files.last_mut() else { return Ok(()) };
        let wanted = *len + missing;
        let laid = lay_down(file.as_ref(), name(*number), len, wanted, STEP_MAX, "reserve.reserve");
        if laid.is_err() {
            // It may have grown by less, and that is held as well.
            *len = file.len("reserve.len").map_or(*len, |found| found.max(*len));
        }
        laid
    }
}

/// Removes a file; whether it still stands.
fn remove(storage: &dyn Storage, laid: &mut Laid) -> bool {
    // The handle goes first: a file that is open keeps its space.
    laid.file = None;
    storage.remove("reserve.remove", name(laid.number)).is_err()
}

fn name(number: u64) -> FileName {
    FileName { kind: FileKind::Reserve, number }
}
