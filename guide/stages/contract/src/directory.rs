//! Directory: a real directory, in which the first log is called `data.log` and every log can be appended to again.
//!
//! The engine begins a new log whenever it opens a database, so [`Native`] opens files for reading alone. A database that
//! is one file for ever needs a disk on which it can go on with it. Of a stage that begins a new log now and then, the
//! second one is called `data.2.log`, and so on. All other files are [`Native`]'s, in the directory `tables` beside them: it
//! refuses a directory that holds what it doesn't know.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairndb_storage::{File, FileKind, FileName, Lock, LockError, LockMode, Native, Site, Storage};

/// A directory on a real disk.
pub struct Directory {
    path: PathBuf,
    native: Native,
}

impl Directory {
    /// Opens the directory at `path`, or makes it.
    ///
    /// # Errors
    /// As [`Native::create`].
    pub fn create(path: impl AsRef<Path>) -> io::Result<Directory> {
        let path = path.as_ref().to_owned();
        fs::create_dir_all(&path)?;
        let native = Native::create(path.join("tables"))?;
        Ok(Directory { path, native })
    }

    fn log_path(&self, number: u64) -> PathBuf {
        self.path.join(file_name(FileName { kind: FileKind::Wal, number }))
    }
}

/// What a file is called in a [`Directory`].
pub(crate) fn file_name(name: FileName) -> String {
    match (name.kind, name.number) {
        (FileKind::Wal, 1) => "data.log".to_string(),
        (FileKind::Wal, number) => format!("data.{number}.log"),
        _ => name.to_string(),
    }
}

/// The number of the log that is called so.
fn log_number(name: &str) -> Option<u64> {
    match name.strip_prefix("data.")? {
        "log" => Some(1),
        rest => rest.strip_suffix(".log")?.parse().ok().filter(|number| *number > 1),
    }
}

impl Storage for Directory {
    fn create(&self, site: Site, kind: FileKind, above: u64) -> io::Result<(u64, Arc<dyn File>)> {
        if kind != FileKind::Wal {
            return self.native.create(site, kind, above);
        }
        let mut options = fs::OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).open(self.log_path(above + 1))?;
        if file.metadata()?.len() > 0 {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok((above + 1, Arc::new(Log(file))))
    }

    fn open(&self, site: Site, name: FileName) -> io::Result<Arc<dyn File>> {
        if name.kind != FileKind::Wal {
            return self.native.open(site, name);
        }
        Ok(Arc::new(Log(fs::OpenOptions::new().read(true).write(true).open(self.log_path(name.number))?)))
    }

    fn remove(&self, site: Site, name: FileName) -> io::Result<()> {
        if name.kind != FileKind::Wal {
            return self.native.remove(site, name);
        }
        fs::remove_file(self.log_path(name.number))
    }

    fn list(&self, site: Site) -> io::Result<Vec<FileName>> {
        let mut names = self.native.list(site)?;
        for entry in fs::read_dir(&self.path)? {
            let number = entry?.file_name().to_str().and_then(log_number);
            names.extend(number.map(|number| FileName { kind: FileKind::Wal, number }));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_names(&self, site: Site) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()?;
        self.native.sync_names(site)
    }

    fn lock(&self, site: Site, mode: LockMode) -> Result<Lock, LockError> {
        self.native.lock(site, mode)
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

/// A log in a directory.
struct Log(fs::File);

impl File for Log {
    fn reserve(&self, _site: Site, _len: u64) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "no stage lays down room"))
    }

    fn append(&self, _site: Site, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, _site: Site, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.0.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(len) => done += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn len(&self, _site: Site) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync(&self, _site: Site) -> io::Result<()> {
        self.0.sync_data()
    }
}
