//! Storage: where a database's bytes live.
//!
//! A database is one flat set of numbered files. This crate holds the two traits through which the engine
//! sees them, [`Storage`] for the set and [`File`] for one of them, and three places to keep bytes:
//! [`Native`], a directory; [`Memory`], a map; and [`Faulty`], a map that behaves as badly as a disk may.
//! The traits are small because files only grow: nothing is renamed, truncated or rewritten.
//!
//! # Where it sits
//! Below the engine; it knows nothing of WALs, tables or keys beyond the four kinds of file name.
//!
//! # The contract, which [`conformance`] checks on every backend
//! - Bytes are appended front to back, into room that [`File::reserve`] may have laid down before.
//! - A [`File::sync`] that returns `Ok` makes every append and reserve that had returned before it began
//!   survive power loss. It may run beside appends. Once a sync has failed, nothing un-synced in that file is
//!   known any more, for ever: a later `Ok` proves nothing.
//! - Names survive power loss only after [`Storage::sync_names`]; before it, a create or a remove may be undone.
//! - In a crash, un-synced bytes may be missing, zero or garbage, in any 512-byte sectors, at any length. Bytes
//!   that were synced are not harmed by a torn neighbour.
//!
//! # Why this way
//! Synchronous, because the engine is; `dyn`, because the cost of a virtual call is nothing beside a system
//! call; every call carries the name of its *site*, so that faults can be aimed at it and counted.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

// In reading order, which blank lines keep: a module uses only those above it.
mod holders;

mod memory;

#[cfg(unix)]
mod native;

mod faulty;

pub mod conformance;

pub use faulty::{Fate, Fates, Fault, Faulty, Observer, Operation, Unsynced};
pub use holders::Holders;
pub use memory::Memory;
#[cfg(unix)]
pub use native::Native;

/// The name of the place in the caller's code that makes a storage call, such as `"wal.append"`.
///
/// It changes nothing about the call: [`Faulty`] aims and counts faults by it.
pub type Site = &'static str;

/// What a file holds; each kind counts its own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// The log of edits that says which files make up the database: `.manifest`.
    Manifest,
    /// An immutable sorted file: `.sst`.
    SsTable,
    /// A write-ahead log: `.wal`.
    Wal,
    /// Zeros that hold disk space, to be removed when there is no other: `.reserve`.
    Reserve,
}

impl FileKind {
    /// Every kind, in the order of their names.
    pub const ALL: [FileKind; 4] = [FileKind::Manifest, FileKind::SsTable, FileKind::Wal, FileKind::Reserve];

    /// The end of the file's name, without its dot.
    pub fn extension(self) -> &'static str {
        match self {
            FileKind::Manifest => "manifest",
            FileKind::SsTable => "sst",
            FileKind::Wal => "wal",
            FileKind::Reserve => "reserve",
        }
    }
}

/// A file's name: its kind and its number, written `000012.wal`.
///
/// ```
/// use cairndb_storage::{FileKind, FileName};
/// let name: FileName = "000012.wal".parse().unwrap();
/// assert_eq!(name, FileName { kind: FileKind::Wal, number: 12 });
/// assert_eq!(name.to_string(), "000012.wal");
/// assert!("12.wal".parse::<FileName>().is_err(), "one spelling per name");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName {
    /// What the file holds.
    pub kind: FileKind,
    /// Its number: from 1, rising in order of use within its kind.
    pub number: u64,
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}.{}", self.number, self.kind.extension())
    }
}

/// The text is not the name of a database file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAFileName;

impl fmt::Display for NotAFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a database file's name; those look like 000012.wal")
    }
}

impl std::error::Error for NotAFileName {}

impl FromStr for FileName {
    type Err = NotAFileName;

    fn from_str(text: &str) -> Result<FileName, NotAFileName> {
        let (digits, extension) = text.split_once('.').ok_or(NotAFileName)?;
        let kind =
            FileKind::ALL.into_iter().find(|kind| kind.extension() == extension).ok_or(NotAFileName)?;
        let name = FileName { kind, number: digits.parse().map_err(|_| NotAFileName)? };
        if name.number == 0 || name.to_string() != text {
            return Err(NotAFileName);
        }
        Ok(name)
    }
}

/// Whether a lock lets others in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// A writer: nobody else may have the database open.
    Exclusive,
    /// A reader: other readers may too.
    Shared,
}

/// A lock that is held until this value is dropped.
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] Box<dyn Send + Sync>);

impl Lock {
    /// Wraps whatever holds the lock; dropping it must release it.
    pub fn new(guard: impl Send + Sync + 'static) -> Lock {
        Lock(Box::new(guard))
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}

/// Why a lock could not be had.
#[derive(Debug)]
pub enum LockError {
    /// Somebody else holds it; the text says who, as far as it is known (`"process 4711"`).
    Held(String),
    /// The lock could not be tried.
    Io(io::Error),
}

/// One flat set of files: one database.
///
/// All methods may be called from any thread at any time. Errors are the operating system's, told apart by
/// [`io::Error::kind`]: `StorageFull` (also for an exhausted quota or file-size limit) means that the disk has no
/// room and that nothing else is wrong; `WouldBlock` from [`Storage::create`] means that no file can be made just
/// now, and that it is worth asking again later; `NotFound` and `AlreadyExists` as usual.
pub trait Storage: Send + Sync {
    /// Creates an empty file of this kind and returns its number, the lowest free one above `above`, with a
    /// handle that can append to it. An empty file that already stands under that number is taken over, never
    /// skipped; one that holds bytes makes the call fail with `AlreadyExists`.
    ///
    /// Where files can only be made ahead, as in a browser, the call hands out a *spare*, or fails with `WouldBlock` and
    /// has changed nothing. A spare that was never handed out is an empty file, for whoever looks at the set later.
    fn create(&self, site: Site, kind: FileKind, above: u64) -> io::Result<(u64, Arc<dyn File>)>;

    /// Opens a file for reading. Whether it can also append is the backend's choice.
    fn open(&self, site: Site, name: FileName) -> io::Result<Arc<dyn File>>;

    /// Removes a file's name. Handles that are open go on reading.
    fn remove(&self, site: Site, name: FileName) -> io::Result<()>;

    /// Every database file's name, in order; anything else in the place is not listed.
    fn list(&self, site: Site) -> io::Result<Vec<FileName>>;

    /// Makes every create, link and remove that had returned before it began survive power loss, as far as the place
    /// lets anyone do that: a browser does not (docs/decisions/0014).
    fn sync_names(&self, site: Site) -> io::Result<()>;

    /// Takes the database's lock, at once or not at all.
    fn lock(&self, site: Site, mode: LockMode) -> Result<Lock, LockError>;

    /// The directory that holds the files, where there is one.
    fn path(&self) -> Option<&Path> {
        None
    }

    /// Gives this set the file `name` of another set, under the same name, sharing its bytes, if both can share
    /// (two directories of one file system can: a hard link). `false` means that the caller has to copy.
    fn link(&self, _site: Site, _name: FileName, _from: &dyn Storage) -> io::Result<bool> {
        Ok(false)
    }
}

/// One file. All methods may be called from any thread at any time.
///
/// Requires: one appender at a time (a reserve counts as one), and offsets that never go back: each append begins
/// at or beyond the end of the one before, whether that one succeeded or not. Bytes that an append skips are zeros.
pub trait File: Send + Sync {
    /// Makes the file at least `len` bytes long by laying down zeros after its present end: room in which later
    /// appends cannot run out of disk. On an error the file may have grown by less; its old bytes are unharmed.
    fn reserve(&self, site: Site, len: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, growing the file as needed. On an error any part may be written.
    fn append(&self, site: Site, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads from `offset` until `buf` is full or the file ends; returns how many bytes were read.
    fn read_at(&self, site: Site, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// The physical length, laid-down room included.
    fn len(&self, site: Site) -> io::Result<u64>;

    /// Makes every append and reserve that had returned before the call survive power loss.
    fn sync(&self, site: Site) -> io::Result<()>;
}
