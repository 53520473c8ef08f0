//! Timed: a storage that measures another: how long syncs take, and how much is read and written.
//!
//! The engine has no clock, and would not measure the disk if it had one: whoever gives it the disk does. Each kind of file
//! is measured by itself, so that the log's syncs are not hidden among the tables'.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use cairndb::storage::{File, FileKind, FileName, Lock, LockError, LockMode, Site, Storage};

use super::distribution::Distribution;

/// What files of one kind have cost.
#[derive(Default)]
pub(crate) struct FileMeter {
    /// How long syncs took, in nanoseconds.
    pub(crate) syncs_ns: Distribution,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
}

/// What a directory has cost.
#[derive(Default)]
pub(crate) struct StorageMeter {
    manifest: FileMeter,
    tables: FileMeter,
    wal: FileMeter,
    reserve: FileMeter,
    /// How long syncs of the directory itself took, in nanoseconds.
    pub(crate) name_syncs_ns: Distribution,
}

/// A storage, measured.
pub(crate) struct Timed<S> {
    storage: S,
    meter: Arc<StorageMeter>,
}

struct TimedFile {
    file: Arc<dyn File>,
    kind: FileKind,
    meter: Arc<StorageMeter>,
}

impl StorageMeter {
    pub(crate) fn of(&self, kind: FileKind) -> &FileMeter {
        match kind {
            FileKind::Manifest => &self.manifest,
            FileKind::SsTable => &self.tables,
            FileKind::Wal => &self.wal,
            FileKind::Reserve => &self.reserve,
        }
    }
}

impl<S: Storage> Timed<S> {
    pub(crate) fn new(storage: S, meter: Arc<StorageMeter>) -> Timed<S> {
        Timed { storage, meter }
    }

    fn file(&self, kind: FileKind, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(TimedFile { file, kind, meter: self.meter.clone() })
    }
}

impl<S: Storage> Storage for Timed<S> {
    fn create(&self, site: Site, kind: FileKind, above: u64) -> io::Result<(u64, Arc<dyn File>)> {
        let (number, file) = self.storage.create(site, kind, above)?;
        Ok((number, self.file(kind, file)))
    }

    fn open(&self, site: Site, name: FileName) -> io::Result<Arc<dyn File>> {
        Ok(self.file(name.kind, self.storage.open(site, name)?))
    }

    fn remove(&self, site: Site, name: FileName) -> io::Result<()> {
        self.storage.remove(site, name)
    }

    fn list(&self, site: Site) -> io::Result<Vec<FileName>> {
        self.storage.list(site)
    }

    fn sync_names(&self, site: Site) -> io::Result<()> {
        let began = Instant::now();
        let synced = self.storage.sync_names(site);
        self.meter.name_syncs_ns.observe(ns_since(began));
        synced
    }

    fn lock(&self, site: Site, mode: LockMode) -> Result<Lock, LockError> {
        self.storage.lock(site, mode)
    }

    fn path(&self) -> Option<&Path> {
        self.storage.path()
    }

    fn link(&self, site: Site, name: FileName, from: &dyn Storage) -> io::Result<bool> {
        self.storage.link(site, name, from)
    }
}

impl TimedFile {
    fn meter(&self) -> &FileMeter {
        self.meter.of(self.kind)
    }
}

impl File for TimedFile {
    fn reserve(&self, site: Site, len: u64) -> io::Result<()> {
        self.file.reserve(site, len)
    }

    fn append(&self, site: Site, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.append(site, offset, bytes)?;
        self.meter().bytes_written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn read_at(&self, site: Site, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read_at(site, offset, buf)?;
        self.meter().bytes_read.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }

    fn len(&self, site: Site) -> io::Result<u64> {
        self.file.len(site)
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        let began = Instant::now();
        let synced = self.file.sync(site);
        self.meter().syncs_ns.observe(ns_since(began));
        synced
    }
}

fn ns_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use cairndb::storage::{Memory, conformance};

    use super::*;

    #[test]
    fn what_is_measured_behaves_as_what_it_wraps() {
        conformance::run(&mut || Arc::new(Timed::new(Memory::default(), Arc::default())));
    }

    #[test]
    fn bytes_and_syncs_are_counted_by_kind() {
        let meter = Arc::new(StorageMeter::default());
        let storage = Timed::new(Memory::default(), meter.clone());
        let (_, file) = storage.create("test", FileKind::Wal, 0).expect("memory makes files");
        file.append("test", 0, b"12345").expect("memory takes bytes");
        assert_eq!(file.read_at("test", 2, &mut [0; 8]).expect("memory gives them"), 3);
        file.sync("test").expect("memory syncs");
        storage.sync_names("test").expect("memory syncs");
        let wal = meter.of(FileKind::Wal);
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        assert_eq!((count(&wal.bytes_written), count(&wal.bytes_read), wal.syncs_ns.count()), (5, 3, 1));
        assert_eq!(meter.name_syncs_ns.count(), 1);
        assert_eq!(meter.of(FileKind::SsTable).syncs_ns.count(), 0);
    }
}
