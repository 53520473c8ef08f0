//! Native: a directory of the operating system's.
//!
//! Each file of the set is one file in the directory, under its own name, beside one named `LOCK`. The files are
//! read and written at given offsets, so no handle has a position that two threads could fight over.
//!
//! # Where it sits
//! What a database is opened on, on a Unix machine. The only room that may use `std::fs`.
//!
//! # On disk
//! ```text
//! cairn-data/            mode 0700
//!   000007.manifest      mode 0600, as all files here
//!   000012.sst
//!   000031.wal
//!   LOCK                 "process 4711", padded to 32 bytes: the last writer's
//! ```
//! The text in `LOCK` is a courtesy to whoever is kept out; the lock itself is the operating system's (`flock`), on
//! that file, and a process that dies gives it back.
//!
//! # Invariants
//! - I1. No symbolic link in the directory is followed, and nothing but a regular file is read or written: the
//!   name is looked at before the open, and after it must stand for the very file that was opened.
//! - I2. Through `read_only`, nothing on disk changes.
//! - I3. A directory that holds other people's files and none of ours is refused before anything in it changes.
//! - I4. A call that a signal interrupts is made again, whatever call it is: the standard library does that for some.
//!
//! # When things break
//! A full disk, an exhausted quota and a file-size limit are one error, `StorageFull`. Every error's text begins
//! with the path it happened at.
//!
//! # Why this way
//! `reserve` writes real zeros. `fallocate` would lay down room without writing it, and a hole would lay down none,
//! but in both cases the first sync after each append must also write the file system's record of where the bytes
//! went. Over zeros that were written and synced, it writes the bytes alone: measured at 98 us against 152 us on
//! ext4. The cost is that room is written twice.

#![expect(clippy::disallowed_methods, reason = "the one room whose work is std::fs")]

use crate::memory::next_name;
use crate::{File, FileKind, FileName, Lock, LockError, LockMode, Site, Storage};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LOCK: &str = "LOCK";

/// The lock's text is always this long, so that it is overwritten in place and needs no room on a full disk.
const LOCK_TEXT_LEN: usize = 32;

/// A directory that holds this file is LevelDB's or a descendant's, whose tables are named as ours are.
const NEVER_OURS: &str = "CURRENT";

/// As many zeros as one write of `reserve` lays down.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A database's directory.
///
/// Thread-safe, without locks of its own: the operating system's calls are.
///
/// ```
/// use cairndb_storage::{FileKind, Native, Storage};
/// # let temporary = tempfile::tempdir()?;
/// # let path = temporary.path().join("cairn-data");
/// let native = Native::create(&path)?;
/// let (number, wal) = native.create("example", FileKind::Wal, 0)?;
/// wal.append("example", 0, b"stone")?;
/// wal.sync("example")?;
/// native.sync_names("example")?;
/// assert!(path.join("000001.wal").is_file());
/// # assert_eq!(number, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Native {
    path: PathBuf,
    /// The directory, open so that its names can be synced; `None` for a reader (I2).
    directory: Option<fs::File>,
}

impl Native {
    /// Opens the directory at `path`, and makes it first (mode 0700) if there is none. Its parent must exist.
    ///
    /// # Errors
    /// `InvalidInput` if the directory holds other files and none of ours, `NotADirectory` if `path` is a file,
    /// and whatever the operating system says, with the path.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Native> {
        let path = path.as_ref();
        match at(path, || fs::DirBuilder::new().mode(0o700).create(path)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = format!("{}: the directory that is to hold it does not exist", path.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
            Err(error) => return Err(error),
        }
        if !holds_database(path)? {
            // Whoever made the directory, now or before a crash: its name must survive as its files will.
            sync_parent(path)?;
        }
        Native::writer(path)
    }

    /// Opens the database that stands at `path`.
    ///
    /// # Errors
    /// `NotFound` if there is no such directory or it holds no database file; else as [`Native::create`].
    pub fn open(path: impl AsRef<Path>) -> io::Result<Native> {
        require_database(path.as_ref())?;
        Native::writer(path.as_ref())
    }

    /// Opens the database that stands at `path` for reading: through this handle nothing on disk is written,
    /// created or removed, and what would do so fails with `ReadOnlyFilesystem`.
    ///
    /// # Errors
    /// As [`Native::open`].
    pub fn read_only(path: impl AsRef<Path>) -> io::Result<Native> {
        require_database(path.as_ref())?;
        Ok(Native { path: path.as_ref().to_owned(), directory: None })
    }

    fn writer(path: &Path) -> io::Result<Native> {
        let directory = at(path, || fs::File::open(path))?;
        Ok(Native { path: path.to_owned(), directory: Some(directory) })
    }

    /// The open directory, or the error that a reader gets (I2).
    fn writable(&self) -> io::Result<&fs::File> {
        self.directory.as_ref().ok_or_else(|| {
            let text = format!("{}: opened for reading only", self.path.display());
            io::Error::new(io::ErrorKind::ReadOnlyFilesystem, text)
        })
    }

    fn path_of(&self, name: FileName) -> PathBuf {
        self.path.join(name.to_string())
    }
}

impl Storage for Native {
    fn create(&self, _site: Site, kind: FileKind, above: u64) -> io::Result<(u64, Arc<dyn File>)> {
        self.writable()?;
        let name = next_name(kind, above)?;
        let path = self.path_of(name);
        let (file, stood) = open_or_create(&path)?;
        if stood && at(&path, || file.metadata())?.len() > 0 {
            let text = format!("{}: stands already, and holds bytes", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Ok((name.number, Arc::new(NativeFile { file, path, writable: true })))
    }

    /// The handle can read alone.
    fn open(&self, _site: Site, name: FileName) -> io::Result<Arc<dyn File>> {
        let path = self.path_of(name);
        let file = open_regular(&path, fs::OpenOptions::new().read(true))?;
        Ok(Arc::new(NativeFile { file, path, writable: false }))
    }

    fn remove(&self, _site: Site, name: FileName) -> io::Result<()> {
        self.writable()?;
        let path = self.path_of(name);
        at(&path, || fs::remove_file(&path))
    }

    fn list(&self, _site: Site) -> io::Result<Vec<FileName>> {
        let entries = entries(&self.path)?;
        let mut names: Vec<FileName> =
            entries.iter().filter_map(|entry| entry.to_str()?.parse::<FileName>().ok()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn sync_names(&self, _site: Site) -> io::Result<()> {
        let directory = self.writable()?;
        at(&self.path, || directory.sync_all())
    }

    /// A reader of a directory that has no `LOCK` yet gets a lock that holds nothing: readers create no file.
    fn lock(&self, _site: Site, mode: LockMode) -> Result<Lock, LockError> {
        let path = self.path.join(LOCK);
        match mode {
            LockMode::Exclusive => {
                self.writable().map_err(LockError::Io)?;
                let (file, _) = open_or_create(&path).map_err(LockError::Io)?;
                lock_exclusive(file, &path)
            }
            LockMode::Shared => match open_regular(&path, fs::OpenOptions::new().read(true)) {
                Ok(file) => lock_shared(file, &path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lock::new(())),
                Err(error) => Err(LockError::Io(error)),
            },
        }
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn link(&self, _site: Site, name: FileName, from: &dyn Storage) -> io::Result<bool> {
        self.writable()?;
        let Some(directory) = from.path() else { return Ok(false) };
        let source = directory.join(name.to_string());
        require_regular(&source, &at(&source, || fs::symlink_metadata(&source))?)?;
        let target = self.path_of(name);
        match at(&target, || fs::hard_link(&source, &target)) {
            Ok(()) => Ok(true),
            // Another file system, or one without hard links (which Linux reports as a missing permission).
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::CrossesDevices
                        | io::ErrorKind::Unsupported
                        | io::ErrorKind::TooManyLinks
                        | io::ErrorKind::PermissionDenied
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// One open file of the directory.
struct NativeFile {
    file: fs::File,
    path: PathBuf,
    writable: bool,
}

impl File for NativeFile {
    fn reserve(&self, _site: Site, len: u64) -> io::Result<()> {
        self.require_writable()?;
        let mut end = self.physical_len()?;
        while end < len {
            let count = ZEROS.len().min(usize::try_from(len - end).unwrap_or(usize::MAX));
            at(&self.path, || self.file.write_all_at(&ZEROS[..count], end))?;
            end += count as u64;
        }
        Ok(())
    }

    fn append(&self, _site: Site, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.require_writable()?;
        // Goes on after an interruption or a short write; a write of nothing is an error, not a loop without end.
        at(&self.path, || self.file.write_all_at(bytes, offset))
    }

    fn read_at(&self, _site: Site, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < buf.len() {
            match at(&self.path, || self.file.read_at(&mut buf[count..], offset + count as u64))? {
                0 => break,
                more => count += more,
            }
        }
        Ok(count)
    }

    fn len(&self, _site: Site) -> io::Result<u64> {
        self.physical_len()
    }

    fn sync(&self, _site: Site) -> io::Result<()> {
        // The length is data here, as far as it is needed to read the bytes back; times and modes may wait.
        at(&self.path, || self.file.sync_data())
    }
}

impl NativeFile {
    fn physical_len(&self) -> io::Result<u64> {
        Ok(at(&self.path, || self.file.metadata())?.len())
    }

    fn require_writable(&self) -> io::Result<()> {
        if self.writable {
            return Ok(());
        }
        let text = format!("{}: opened for reading only", self.path.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
    }
}

/// Looks for a database file in the directory, and refuses one that is somebody else's (I3).
fn holds_database(path: &Path) -> io::Result<bool> {
    if !at(path, || fs::metadata(path))?.is_dir() {
        let text = format!("{}: a file, not a directory", path.display());
        return Err(io::Error::new(io::ErrorKind::NotADirectory, text));
    }
    let (mut database, mut stranger) = (false, None::<OsString>);
    for name in entries(path)? {
        if name == NEVER_OURS {
            return Err(not_a_database(path, &name));
        } else if name == LOCK {
            // Others lock by a file of that name too.
        } else if name.to_str().is_some_and(|text| text.parse::<FileName>().is_ok()) {
            database = true;
        } else if stranger.as_ref().is_none_or(|other| name < *other) {
            // The first in order, so that the same directory always gives the same message.
            stranger = Some(name);
        }
    }
    match stranger {
        Some(name) if !database => Err(not_a_database(path, &name)),
        _ => Ok(database),
    }
}

fn require_database(path: &Path) -> io::Result<()> {
    match holds_database(path) {
        Ok(true) => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, format!("no database at {}", path.display()))),
    }
}

fn not_a_database(path: &Path, name: &OsString) -> io::Error {
    let text = format!("{}: not a Cairn database: it holds {}", path.display(), name.display());
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Makes the directory's own name survive power loss. A parent that may be passed through but not read cannot be
/// synced; its owner's own care is then all there is.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match at(path, || path.canonicalize())?.parent() {
        Some(parent) => parent.to_owned(),
        None => return Ok(()),
    };
    match at(&parent, || fs::File::open(&parent)) {
        Ok(directory) => at(&parent, || directory.sync_all()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// The names of everything in the directory. One that is interrupted is read from its beginning.
fn entries(path: &Path) -> io::Result<Vec<OsString>> {
    at(path, || fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect())
}

/// Opens for reading and writing, and creates (mode 0600) if need be; `true` if the file stood already.
fn open_or_create(path: &Path) -> io::Result<(fs::File, bool)> {
    // Creating follows no link: with one in the way it fails as with any other file, and the open below refuses.
    let create = || fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
    match at(path, create) {
        Ok(file) => Ok((file, false)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok((open_regular(path, fs::OpenOptions::new().read(true).write(true))?, true))
        }
        Err(error) => Err(error),
    }
}

/// Opens a regular file that stands at `path` itself (I1).
///
/// Looked at before, since opening a pipe would wait for its other end; and after, since a link may have been put
/// there in between. The flag that forbids links has another number on every system; this needs none.
fn open_regular(path: &Path, options: &fs::OpenOptions) -> io::Result<fs::File> {
    let look = || at(path, || fs::symlink_metadata(path));
    require_regular(path, &look()?)?;
    let file = at(path, || options.open(path))?;
    let opened = at(path, || file.metadata())?;
    let found = look()?;
    require_regular(path, &found)?;
    if (opened.dev(), opened.ino()) != (found.dev(), found.ino()) {
        let text = format!("{}: replaced by another file while it was opened", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(file)
}

fn require_regular(path: &Path, found: &fs::Metadata) -> io::Result<()> {
    let what = if found.is_file() {
        return Ok(());
    } else if found.is_symlink() {
        "a symbolic link, which is never followed"
    } else if found.is_dir() {
        "a directory"
    } else {
        "a device, pipe or socket"
    };
    let text = format!("{}: not a file but {what}", path.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

fn lock_exclusive(file: fs::File, path: &Path) -> Result<Lock, LockError> {
    match try_lock(|| file.try_lock()) {
        Ok(()) => {
            // Nothing rests on the text: with no room or permission for it, the lock is no worse.
            let text = format!("process {}", std::process::id());
            let _ = file.write_all_at(format!("{text:<0$}\n", LOCK_TEXT_LEN - 1).as_bytes(), 0);
            Ok(Lock::new(file))
        }
        Err(fs::TryLockError::WouldBlock) => Err(LockError::Held(holder(&file))),
        Err(fs::TryLockError::Error(error)) => Err(LockError::Io(located(path, error))),
    }
}

fn lock_shared(file: fs::File, path: &Path) -> Result<Lock, LockError> {
    match try_lock(|| file.try_lock_shared()) {
        Ok(()) => Ok(Lock::new(file)),
        Err(fs::TryLockError::WouldBlock) => Err(LockError::Held(writer_named_in(&file))),
        Err(fs::TryLockError::Error(error)) => Err(LockError::Io(located(path, error))),
    }
}

/// Tries it again while it is interrupted: whoever holds the lock has not been asked yet.
fn try_lock(attempt: impl Fn() -> Result<(), fs::TryLockError>) -> Result<(), fs::TryLockError> {
    loop {
        match attempt() {
            Err(fs::TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Who keeps a writer out: if a reader would get in, then it is a reader, whatever old text says.
fn holder(file: &fs::File) -> String {
    match try_lock(|| file.try_lock_shared()) {
        Ok(()) => "a reader".into(),
        Err(_) => writer_named_in(file),
    }
}

fn writer_named_in(file: &fs::File) -> String {
    let mut text = [0; LOCK_TEXT_LEN];
    let count = file.read_at(&mut text, 0).unwrap_or(0);
    match str::from_utf8(&text[..count]).map(str::trim) {
        Ok(text) if text.starts_with("process ") => text.into(),
        _ => "another process".into(),
    }
}

/// Makes a call of the operating system's (I4), whose error then tells the path.
fn at<T>(path: &Path, mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done.map_err(|error| located(path, error)),
        }
    }
}

/// The error with the path it happened at, and with the three ways of having no room as one kind.
fn located(path: &Path, error: io::Error) -> io::Error {
    let kind = match error.kind() {
        io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => io::ErrorKind::StorageFull,
        kind => kind,
    };
    io::Error::new(kind, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_call_is_made_again() {
        let mut calls = 0;
        let mut interrupted_twice = || {
            calls += 1;
            if calls < 3 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(calls) }
        };
        assert_eq!(at(Path::new("db"), &mut interrupted_twice).unwrap(), 3);
        let calls = std::cell::Cell::new(0);
        let held_by_another = || {
            calls.set(calls.get() + 1);
            match calls.get() {
                1 => Err(fs::TryLockError::Error(io::ErrorKind::Interrupted.into())),
                _ => Err(fs::TryLockError::WouldBlock),
            }
        };
        assert!(matches!(try_lock(held_by_another), Err(fs::TryLockError::WouldBlock)));
        assert_eq!(calls.get(), 2);
    }
}
