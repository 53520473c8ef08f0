//! Disk: files in memory that know what a power loss would leave, with a point for the scheduler at every call.
//!
//! Before each call another thread may go on, and again between the beginning of a sync and its end. A sync makes last
//! what had been written when it began. Every state that a power loss could find at some moment is an [`Image`]; here it
//! holds nothing that was not synced, which is the hardest of them for who has promised something.
//!
//! # Where it sits
//! Under the engine, in the place of `cairndb_storage::Faulty`, whose held syncs would hold the one real thread.
//!
//! # Invariants
//! - I1. No lock of the disk is held at a point.
//! - I2. What was un-synced when a sync failed never lasts.

use std::collections::BTreeMap;
use std::io;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cairndb::storage::{File, FileKind, FileName, Lock, LockError, LockMode, Site, Storage};
use shuttle::sync::atomic::{AtomicBool, Ordering};

/// What a power loss would leave: of each file whose name lasts, the bytes that last.
pub(crate) type Image = BTreeMap<FileName, Arc<Vec<u8>>>;

/// What a planned fault throws instead of returning.
pub(crate) struct Injected;

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Fails,
    Panics,
}

/// A disk; a clone is the same one.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

/// One opening of the disk: what is touched through it after [`Session::end`] is remembered.
pub(crate) struct Session {
    disk: Disk,
    ended: std::sync::atomic::AtomicBool,
}

#[derive(Default)]
struct State {
    names: BTreeMap<FileName, usize>,
    lasting_names: BTreeMap<FileName, usize>,
    /// Creates and removes that do not last yet, by their number.
    changes: BTreeMap<u64, (FileName, Option<usize>)>,
    change_count: u64,
    nodes: Vec<Node>,
    locked: bool,
    /// The call of this site that goes wrong, counted down.
    plan: Option<(Site, u64, Fault)>,
    late: Vec<String>,
}

#[derive(Default)]
struct Node {
    bytes: Vec<u8>,
    lasting: Arc<Vec<u8>>,
    /// How often bytes were added, and how many of those times last.
    writes: u64,
    lasting_writes: u64,
    doubtful: bool,
}

impl Disk {
    /// A disk that holds what the image does.
    pub(crate) fn from_image(image: &Image) -> Disk {
        let disk = Disk::default();
        let mut state = disk.state();
        for (name, bytes) in image {
            let number = state.nodes.len();
            state.nodes.push(Node { bytes: bytes.to_vec(), lasting: Arc::clone(bytes), ..Node::default() });
            state.names.insert(*name, number);
            state.lasting_names.insert(*name, number);
        }
        drop(state);
        disk
    }

    pub(crate) fn session(&self) -> Arc<Session> {
        Arc::new(Session { disk: self.clone(), ended: false.into() })
    }

    /// What a power loss in this moment would leave.
    pub(crate) fn image(&self) -> Image {
        let state = self.state();
        state
            .lasting_names
            .iter()
            .map(|(name, node)| (*name, Arc::clone(&state.nodes[*node].lasting)))
            .collect()
    }

    /// Has the `nth` call of `site` from now on go wrong, counted from 0.
    pub(crate) fn plan(&self, site: Site, nth: u64, fault: Fault) {
        self.state().plan = Some((site, nth, fault));
    }

    pub(crate) fn forget_plan(&self) {
        self.state().plan = None;
    }

    /// Whether the planned fault is still to come.
    pub(crate) fn is_planned(&self) -> bool {
        self.state().plan.is_some()
    }

    /// What was changed through sessions that had ended.
    pub(crate) fn late(&self) -> Vec<String> {
        self.state().late.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A point where another thread may go on.
fn point() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}

impl Session {
    /// The database says that it is closed: from here on nobody may change a file by way of it.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    fn ask(&self, site: Site) -> io::Result<MutexGuard<'_, State>> {
        point();
        let mut state = self.disk.state();
        match &mut state.plan {
            Some((planned, left, fault)) if *planned == site => {
                if *left > 0 {
                    *left -= 1;
                    return Ok(state);
                }
                let fault = *fault;
                state.plan = None;
                drop(state);
                match fault {
                    Fault::Fails => Err(io::Error::other("a planned fault")),
                    Fault::Panics => resume_unwind(Box::new(Injected)),
                }
            }
            _ => Ok(state),
        }
    }

    fn change(&self, site: Site, what: FileName) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.ask(site)?;
        if self.ended.load(Ordering::SeqCst) {
            state.late.push(format!("{site} of {what}"));
        }
        Ok(state)
    }

    fn file(self: &Arc<Session>, name: FileName, node: usize) -> Arc<dyn File> {
        Arc::new(OpenFile { session: Arc::clone(self), name, node })
    }
}

impl State {
    fn note(&mut self, name: FileName, node: Option<usize>) {
        self.changes.insert(self.change_count, (name, node));
        self.change_count += 1;
    }
}

/// A session as the engine is given it.
pub(crate) struct Opened(pub(crate) Arc<Session>);

impl Storage for Opened {
    fn create(&self, site: Site, kind: FileKind, above: u64) -> io::Result<(u64, Arc<dyn File>)> {
        let name = FileName { kind, number: above + 1 };
        let mut state = self.0.change(site, name)?;
        if let Some(node) = state.names.get(&name).copied() {
            if !state.nodes[node].bytes.is_empty() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            // It was made and never used.
            drop(state);
            return Ok((name.number, self.0.file(name, node)));
        }
        let node = state.nodes.len();
        state.nodes.push(Node::default());
        state.names.insert(name, node);
        state.note(name, Some(node));
        drop(state);
        Ok((name.number, self.0.file(name, node)))
    }

    fn open(&self, site: Site, name: FileName) -> io::Result<Arc<dyn File>> {
        let node = self.0.ask(site)?.names.get(&name).copied();
        node.map(|node| self.0.file(name, node)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove(&self, site: Site, name: FileName) -> io::Result<()> {
        let mut state = self.0.change(site, name)?;
        state.names.remove(&name).ok_or(io::ErrorKind::NotFound)?;
        state.note(name, None);
        Ok(())
    }

    fn list(&self, site: Site) -> io::Result<Vec<FileName>> {
        Ok(self.0.ask(site)?.names.keys().copied().collect())
    }

    fn sync_names(&self, site: Site) -> io::Result<()> {
        let asked = self.0.ask(site).map(drop);
        let covered = self.0.disk.state().change_count;
        if let Err(error) = asked {
            self.0.disk.state().changes.retain(|number, _| *number >= covered); // I2
            return Err(error);
        }
        point();
        let mut state = self.0.disk.state();
        let later = state.changes.split_off(&covered);
        for (name, node) in std::mem::replace(&mut state.changes, later).into_values() {
            match node {
                Some(node) => state.lasting_names.insert(name, node),
                None => state.lasting_names.remove(&name),
            };
        }
        Ok(())
    }

    fn lock(&self, site: Site, _mode: LockMode) -> Result<Lock, LockError> {
        let mut state = self.0.ask(site).map_err(LockError::Io)?;
        if std::mem::replace(&mut state.locked, true) {
            return Err(LockError::Held("another handle".into()));
        }
        Ok(Lock::new(Held(self.0.disk.clone())))
    }
}

struct Held(Disk);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

struct OpenFile {
    session: Arc<Session>,
    name: FileName,
    node: usize,
}

impl File for OpenFile {
    fn reserve(&self, site: Site, len: u64) -> io::Result<()> {
        let mut state = self.session.change(site, self.name)?;
        let node = &mut state.nodes[self.node];
        if node.bytes.len() < len as usize {
            node.bytes.resize(len as usize, 0);
            node.writes += 1;
        }
        Ok(())
    }

    fn append(&self, site: Site, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.session.change(site, self.name)?;
        let (node, end) = (&mut state.nodes[self.node], offset as usize + bytes.len());
        if node.bytes.len() < end {
            node.bytes.resize(end, 0);
        }
        node.bytes[offset as usize..end].copy_from_slice(bytes);
        node.writes += 1;
        Ok(())
    }

    fn read_at(&self, site: Site, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.session.ask(site)?;
        let bytes = state.nodes[self.node].bytes.get(offset as usize..).unwrap_or_default();
        let len = bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn len(&self, site: Site) -> io::Result<u64> {
        Ok(self.session.ask(site)?.nodes[self.node].bytes.len() as u64)
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        match self.session.change(site, self.name) {
            Err(error) => {
                self.session.disk.state().nodes[self.node].doubtful = true; // I2
                return Err(error);
            }
            Ok(state) => drop(state),
        }
        let (covered, bytes) = {
            let state = self.session.disk.state();
            let node = &state.nodes[self.node];
            (node.writes, Arc::new(node.bytes.clone()))
        };
        point();
        let mut state = self.session.disk.state();
        let node = &mut state.nodes[self.node];
        // Of two syncs that run side by side, the one that began later covers more.
        if !node.doubtful && covered > node.lasting_writes {
            node.lasting = bytes;
            node.lasting_writes = covered;
        }
        Ok(())
    }
}
