//! Error: what went wrong, named for what the caller can do about it.
//!
//! There are nine kinds and no more. A missing key is not an error: it is `None`. Whatever comes from outside (bytes
//! on a disk, an argument) is answered with one of these; our own mistakes are assertions.
//!
//! # Where it sits
//! Near the bottom, on `sync` alone: every other room uses it.

use std::fmt;
use std::io;

use cairndb_storage::FileName;

use crate::sync::Arc;

/// The result of everything that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. Cheap to clone: everyone in a commit group is told the same.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused. A write that ends so is *unknown*: it is there after the next open, or it is not.
    Io {
        /// What was being done, and to which file.
        what: String,
        /// The operating system's error.
        source: Arc<io::Error>,
    },
    /// Bytes on disk are not what was written there. Nothing was changed.
    Corrupt {
        /// The file's name.
        file: String,
        /// Where in it, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The disk has no room. The write was not done, and never will be; writing goes on by itself once there is room.
    DiskFull {
        /// What was being done, and to which file.
        what: String,
    },
    /// An argument, or the place it points to, cannot be used. Nothing was changed.
    Invalid {
        /// What is wrong with it.
        what: String,
    },
    /// Not now: the write was not done. Try again.
    Busy {
        /// What has to happen first.
        what: String,
    },
    /// The database was closed.
    Closed,
    /// Somebody else has the database open.
    Locked {
        /// Who, as far as it is known.
        holder: String,
    },
    /// The database was opened for reading only.
    ReadOnly,
    /// An earlier failure stopped all writing. Reads go on; opening the database again starts afresh.
    Stopped {
        /// That failure.
        cause: Arc<Error>,
    },
}

impl Error {
    /// The operating system's `source` while doing `what`; a full disk is told apart.
    pub(crate) fn io(what: impl fmt::Display, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::StorageFull => Error::DiskFull { what: format!("{what}: {source}") },
            _ => Error::Io { what: what.to_string(), source: Arc::new(source) },
        }
    }

    /// As [`Error::io`], where bytes may have been written: then even a full disk leaves the outcome unknown.
    pub(crate) fn unknown(what: impl fmt::Display, source: io::Error) -> Error {
        Error::Io { what: what.to_string(), source: Arc::new(source) }
    }

    /// Damage in `file` at `offset`.
    pub(crate) fn corrupt(file: FileName, offset: u64, what: impl fmt::Display) -> Error {
        Error::Corrupt { file: file.to_string(), offset, what: what.to_string() }
    }

    /// An argument that cannot be used.
    pub(crate) fn invalid(what: impl fmt::Display) -> Error {
        Error::Invalid { what: what.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { what, source } => write!(f, "{what}: {source}"),
            Error::Corrupt { file, offset, what } => {
                write!(f, "{file} is corrupt at offset {offset}: {what}")
            }
            Error::DiskFull { what } => write!(f, "the disk is full: {what}"),
            Error::Invalid { what } => write!(f, "{what}"),
            Error::Busy { what } => write!(f, "not now: {what}"),
            Error::Closed => write!(f, "the database is closed"),
            Error::Locked { holder } => write!(f, "the database is locked by {holder}"),
            Error::ReadOnly => write!(f, "the database is open for reading only"),
            Error::Stopped { cause } => {
                write!(f, "writing stopped until the database is opened again: {cause}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source.as_ref()),
            Error::Stopped { cause } => Some(cause.as_ref()),
            _ => None,
        }
    }
}
