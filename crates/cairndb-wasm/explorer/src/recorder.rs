//! Recorder: a storage that passes every call on to the lying disk, and writes down what it was.
//!
//! Before each call that changes the disk it keeps a copy of it: a *moment*, at which the power can be cut later on. A copy
//! shares the bytes of files until one of them is written to, so moments cost what is written between them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cairndb_storage::{
    Faulty, File, FileKind, FileName, Lock, LockError, LockMode, Operation, Site, Storage,
};

/// What moments of one step may take, in bytes; beyond it the step has no more of them.
const MOMENTS_LEN_MAX: u64 = 32 << 20;

/// So many calls of one step are kept.
const CALLS_MAX: usize = 2_000;

/// One call on the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) site: Site,
    pub(crate) operation: Operation,
    /// `None` for calls on the whole directory.
    pub(crate) file: Option<FileName>,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Call {
    /// Whether it may change what a crash leaves.
    pub(crate) fn changes(&self) -> bool {
        use Operation::{Append, Create, Remove, Reserve, Sync, SyncNames};
        matches!(self.operation, Append | Create | Remove | Reserve | Sync | SyncNames)
    }
}

/// A disk as it was before a call, or behind the last one.
#[derive(Clone)]
pub(crate) struct Moment {
    /// The call's index in its step.
    pub(crate) call: usize,
    pub(crate) disk: Faulty,
}

/// What was recorded since it was last taken.
#[derive(Clone, Default)]
pub(crate) struct Recording {
    pub(crate) calls: Vec<Call>,
    /// Calls that were not kept, for there were too many.
    pub(crate) dropped: u64,
    pub(crate) moments: Vec<Moment>,
    moments_len: u64,
}

/// The disk, and whoever watches. A clone is another handle on both.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) disk: Faulty,
    recording: Arc<Mutex<Recording>>,
    /// Syncs answer `Ok` and do nothing.
    lies: Arc<Mutex<bool>>,
}

impl Recorder {
    pub(crate) fn new(disk: Faulty) -> Recorder {
        Recorder { disk, recording: Arc::default(), lies: Arc::default() }
    }

    /// Has the disk say of every sync from now on that it was done, and not do it.
    pub(crate) fn lie(&self, lies: bool) {
        *self.lies.lock().unwrap_or_else(PoisonError::into_inner) = lies;
    }

    pub(crate) fn lies(&self) -> bool {
        *self.lies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was recorded, with the present as its last moment.
    pub(crate) fn take(&self) -> Recording {
        let mut recording = std::mem::take(&mut *self.recording());
        recording.moments.push(Moment { call: recording.calls.len(), disk: self.disk.killed() });
        recording
    }

    fn recording(&self) -> MutexGuard<'_, Recording> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, call: Call) {
        let mut recording = self.recording();
        if recording.calls.len() == CALLS_MAX {
            recording.dropped += 1;
            return;
        }
        if call.changes() && recording.moments_len <= MOMENTS_LEN_MAX {
            // What the call writes to is copied by it, since the moment shares its bytes.
            let shared = match (call.operation, call.file) {
                (Operation::Append | Operation::Reserve, Some(name)) => {
                    self.disk.open(call.site, name).and_then(|file| file.len(call.site)).unwrap_or(0)
                }
                _ => 0,
            };
            recording.moments_len += shared;
            let moment = Moment { call: recording.calls.len(), disk: self.disk.killed() };
            recording.moments.push(moment);
        }
        recording.calls.push(call);
    }

    fn note(&self, site: Site, operation: Operation, file: Option<FileName>) {
        self.record(Call { site, operation, file, offset: 0, len: 0 });
    }

    fn file(&self, name: FileName, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(Recorded { recorder: self.clone(), name, file })
    }
}

impl Storage for Recorder {
    fn create(&self, site: Site, kind: FileKind, above: u64) -> io::Result<(u64, Arc<dyn File>)> {
        self.note(site, Operation::Create, Some(FileName { kind, number: above.saturating_add(1) }));
        let (number, file) = self.disk.create(site, kind, above)?;
        Ok((number, self.file(FileName { kind, number }, file)))
    }

    fn open(&self, site: Site, name: FileName) -> io::Result<Arc<dyn File>> {
        self.note(site, Operation::Open, Some(name));
        Ok(self.file(name, self.disk.open(site, name)?))
    }

    fn remove(&self, site: Site, name: FileName) -> io::Result<()> {
        self.note(site, Operation::Remove, Some(name));
        self.disk.remove(site, name)
    }

    fn list(&self, site: Site) -> io::Result<Vec<FileName>> {
        self.note(site, Operation::List, None);
        self.disk.list(site)
    }

    fn sync_names(&self, site: Site) -> io::Result<()> {
        self.note(site, Operation::SyncNames, None);
        if self.lies() { Ok(()) } else { self.disk.sync_names(site) }
    }

    fn lock(&self, site: Site, mode: LockMode) -> Result<Lock, LockError> {
        self.disk.lock(site, mode)
    }
}

/// One file of it.
struct Recorded {
    recorder: Recorder,
    name: FileName,
    file: Arc<dyn File>,
}

impl Recorded {
    fn record(&self, site: Site, operation: Operation, offset: u64, len: u64) {
        self.recorder.record(Call { site, operation, file: Some(self.name), offset, len });
    }
}

impl File for Recorded {
    fn reserve(&self, site: Site, len: u64) -> io::Result<()> {
        let from = self.file.len(site)?;
        if len > from {
            self.record(site, Operation::Reserve, from, len - from);
        }
        self.file.reserve(site, len)
    }

    fn append(&self, site: Site, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.record(site, Operation::Append, offset, bytes.len() as u64);
        self.file.append(site, offset, bytes)
    }

    fn read_at(&self, site: Site, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(site, offset, buf)?;
        self.record(site, Operation::ReadAt, offset, count as u64);
        Ok(count)
    }

    fn len(&self, site: Site) -> io::Result<u64> {
        self.file.len(site)
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        self.record(site, Operation::Sync, 0, 0);
        if self.recorder.lies() { Ok(()) } else { self.file.sync(site) }
    }
}
