//! Counted: a storage that counts the bytes that are read and written through it, and that need not wait for the disk.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cairndb_storage::{File, FileKind, FileName, Lock, LockError, LockMode, Site, Storage};

/// What went through.
#[derive(Default)]
pub(crate) struct Traffic {
    /// In bytes.
    pub(crate) read: AtomicU64,
    /// In bytes.
    pub(crate) written: AtomicU64,
    /// Whether a sync waits for the disk; if not, it does nothing.
    pub(crate) is_synced: AtomicBool,
}

impl Traffic {
    fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.is_synced.load(Ordering::Relaxed) { sync() } else { Ok(()) }
    }
}

pub(crate) struct Counted<S> {
    pub(crate) storage: S,
    pub(crate) traffic: Arc<Traffic>,
}

struct CountedFile {
    file: Arc<dyn File>,
    traffic: Arc<Traffic>,
}

impl<S> Counted<S> {
    fn counted(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(CountedFile { file, traffic: Arc::clone(&self.traffic) })
    }
}

impl<S: Storage> Storage for Counted<S> {
    fn create(&self, site: Site, kind: FileKind, above: u64) -> io::Result<(u64, Arc<dyn File>)> {
        self.storage.create(site, kind, above).map(|(number, file)| (number, self.counted(file)))
    }

    fn open(&self, site: Site, name: FileName) -> io::Result<Arc<dyn File>> {
        self.storage.open(site, name).map(|file| self.counted(file))
    }

    fn remove(&self, site: Site, name: FileName) -> io::Result<()> {
        self.storage.remove(site, name)
    }

    fn list(&self, site: Site) -> io::Result<Vec<FileName>> {
        self.storage.list(site)
    }

    fn sync_names(&self, site: Site) -> io::Result<()> {
        self.traffic.sync(|| self.storage.sync_names(site))
    }

    fn lock(&self, site: Site, mode: LockMode) -> Result<Lock, LockError> {
        self.storage.lock(site, mode)
    }

    fn path(&self) -> Option<&Path> {
        self.storage.path()
    }
}

impl File for CountedFile {
    fn reserve(&self, site: Site, len: u64) -> io::Result<()> {
        self.file.reserve(site, len)
    }

    fn append(&self, site: Site, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.traffic.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file.append(site, offset, bytes)
    }

    fn read_at(&self, site: Site, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(site, offset, buf)?;
        self.traffic.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn len(&self, site: Site) -> io::Result<u64> {
        self.file.len(site)
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        self.traffic.sync(|| self.file.sync(site))
    }
}
