//! Faulty: memory that behaves as badly as a disk may.
//!
//! A test that pulls a real plug is slow and finds little. This disk remembers what was synced and what was not,
//! and a crash of it keeps any part of the rest: sector by sector, at any length, under any names. It fails the
//! calls it is told to fail, runs out of space where it is told to, holds syncs, and rots a bit on demand; and it
//! counts every call, so that a test can do each of these at each of them.
//!
//! # Where it sits
//! Given to the engine by tests in place of a directory. Nothing in it depends on time or chance: the same calls
//! and the same seeds give the same disk.
//!
//! # Invariants
//! - I1. Bytes and names that a good sync covered come through every crash; nothing else is sure to.
//! - I2. Once a sync has failed, of a file or of names, what was un-synced then stays doubtful until a crash,
//!   though reads serve it and later syncs return `Ok`.
//! - I3. A handle from before a crash or a kill changes nothing and reads nothing after it.
//!
//! # Why this way
//! One lock around everything: simple, and so every run is one order of calls. A simplification: a create or a
//! remove that is made to fail changes nothing.

mod fate;
mod fault;
mod node;

pub use fate::{Fate, Fates, Unsynced};
pub use fault::{Fault, Operation};

use crate::holders::Holders;
use crate::memory::{already_exists, next_name, not_found};
use crate::{File, FileKind, FileName, Lock, LockError, LockMode, Site, Storage};
use fate::Dice;
use fault::Calls;
use node::{Node, Standing};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A disk in memory that may lie; a clone is another handle on the same disk.
///
/// Thread-safe. It also watches its caller: an append that goes back, or that overwrites what was appended before,
/// panics, because the contract of [`File`] forbids it.
///
/// ```
/// use cairndb_storage::{Fate, Faulty, FileKind, FileName, Storage};
/// let disk = Faulty::default();
/// let (number, file) = disk.create("example", FileKind::Wal, 0)?;
/// disk.sync_names("example")?;
/// file.append("example", 0, b"synced")?;
/// file.sync("example")?;
/// file.append("example", 6, b", lost")?;
///
/// let found = disk.crash_with(&mut |_unsynced| Fate::Lose);
/// assert_eq!(found.read_file(FileName { kind: FileKind::Wal, number }).unwrap(), b"synced");
/// assert!(file.sync("example").is_err(), "the old handle is dead");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Faulty {
    disk: Arc<Disk>,
}

#[derive(Default)]
struct Disk {
    state: Mutex<State>,
    /// Called before every call; out of its place while it runs.
    observer: Mutex<Option<Observer>>,
    /// Told when held syncs may go on, or must give up.
    released: Condvar,
    holders: Holders,
}

type SharedNode = Arc<Mutex<Node>>;

/// Called before a call, with the disk and the call's site and operation.
pub type Observer = Box<dyn FnMut(&Faulty, Site, Operation) + Send>;

#[derive(Default)]
struct State {
    // The files: as they look now, as a crash that loses every change finds them, and the changes between.
    names: BTreeMap<FileName, SharedNode>,
    synced_names: BTreeMap<FileName, SharedNode>,
    name_changes: Vec<NameChange>,
    name_change_count: u64,
    used_bytes: u64,

    // What the test has asked for.
    calls: Calls,
    capacity_bytes: Option<u64>,
    spares: Option<u64>,
    forgets_names: bool,
    holds_syncs: bool,
    calls_until_stop: Option<u64>,

    stopped: Option<Stop>,
}

#[derive(Clone)]
struct NameChange {
    number: u64,
    name: FileName,
    node: SharedNode,
    created: bool,
    standing: Standing,
}

/// Why a disk answers no more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Waiting,
    PowerLost,
    Killed,
}

/// Crashes.
impl Faulty {
    /// Cuts the power, and returns the disk as it is found afterwards: everything that was synced, and of the rest
    /// what the seed says. Two seeds in eight keep all of it or none.
    ///
    /// All handles on this disk are dead from then on; but this may be called again, and each call then answers
    /// with another outcome of the same moment. The found disk has the same capacity; faults, counts, holds,
    /// spares and what it does with names are as new.
    pub fn crash(&self, seed: u64) -> Faulty {
        let mut fates = Fates::new(seed);
        self.crash_with(&mut |unsynced| fates.draw(unsynced))
    }

    /// As [`Faulty::crash`], with a fate chosen by the caller for each un-synced thing: first the names' changes
    /// in order, then for each file that is still there its lengths, then its sectors below that length. So with
    /// the same answers the same questions come again, and a test can try every combination.
    ///
    /// `decide` must not call this disk.
    pub fn crash_with(&self, decide: &mut dyn FnMut(Unsynced) -> Fate) -> Faulty {
        let mut state = self.disk.state();
        assert!(state.stopped != Some(Stop::Killed), "after a kill, crash what kill() returned");
        state.stopped = Some(Stop::PowerLost);
        self.disk.released.notify_all();
        state.crashed(decide)
    }

    /// The disk as it would be found if the power were cut now, with fates as in [`Faulty::crash_with`]; this one
    /// goes on.
    pub fn crashed_with(&self, decide: &mut dyn FnMut(Unsynced) -> Fate) -> Faulty {
        self.disk.state().crashed(decide)
    }

    /// Calls `observer` before every call to come that is let through, until `None` takes its place: with
    /// [`Faulty::crashed_with`] one run shows what a crash at each of its calls would leave. Calls that the
    /// observer makes of this disk are not observed.
    pub fn observe(&self, observer: Option<Observer>) {
        *self.disk.observer.lock().unwrap_or_else(PoisonError::into_inner) = observer;
    }

    /// Kills the process: all handles are dead and the lock is free, but everything written stays, synced or not.
    /// Returns the disk as the next process finds it, where a crash may still harm what was not synced.
    pub fn kill(&self) -> Faulty {
        let mut state = self.disk.state();
        let found = State {
            names: std::mem::take(&mut state.names),
            synced_names: std::mem::take(&mut state.synced_names),
            name_changes: std::mem::take(&mut state.name_changes),
            name_change_count: state.name_change_count,
            used_bytes: state.used_bytes,
            capacity_bytes: state.capacity_bytes,
            ..State::default()
        };
        state.stopped = Some(Stop::Killed);
        self.disk.released.notify_all();
        Faulty::from(found)
    }

    /// The disk as [`Faulty::kill`] would return it if the process were killed now; this one goes on.
    pub fn killed(&self) -> Faulty {
        Faulty::from(self.disk.state().killed())
    }

    /// Lets this many more calls through, and then fails every call without doing anything, until
    /// [`Faulty::crash`] or [`Faulty::kill`] says what it was that happened at that moment.
    pub fn stop_after(&self, calls: u64) {
        self.disk.state().calls_until_stop = Some(calls);
    }
}

/// Faults.
impl Faulty {
    /// Makes a call to come fail; may be asked for several times.
    ///
    /// A failed append has written any part of its bytes, a failed reserve has laid down any part of its room. A
    /// failed sync leaves what was un-synced doubtful until a crash. Anything else that fails has done nothing.
    pub fn fail(&self, fault: Fault) {
        self.disk.state().calls.add_fault(fault);
    }

    /// Forgets every fault that still waits.
    pub fn clear_faults(&self) {
        self.disk.state().calls.clear_faults();
    }

    /// Gives the disk this many bytes for all files together, or no bound. Growth beyond it fails with
    /// `StorageFull`, after filling what room there was; appends inside a file's length always have room.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk.state().capacity_bytes = bytes;
    }

    /// How many bytes the files take up, laid-down room included.
    pub fn used_bytes(&self) -> u64 {
        self.disk.state().used_bytes
    }

    /// Lets this many more files be created; creates after that fail with `WouldBlock`, as in a browser whose
    /// files must be made ahead. `None` is no bound.
    pub fn set_spares(&self, count: Option<u64>) {
        self.disk.state().spares = count;
    }

    /// Has every sync of names answer `Ok` and do nothing, as in a browser, which keeps the names of files where no
    /// one can sync them: names made or removed from now on are as a crash leaves them.
    pub fn forget_names(&self, forget: bool) {
        self.disk.state().forgets_names = forget;
    }

    /// Holds every sync, of a file or of names, from its beginning on until `hold_syncs(false)`, or until the disk
    /// is crashed or killed. Other calls go on.
    pub fn hold_syncs(&self, hold: bool) {
        self.disk.state().holds_syncs = hold;
        self.disk.released.notify_all();
    }
}

/// The bytes, past the traits: no call here is counted or fails.
impl Faulty {
    /// All bytes of a file, as reads see them.
    pub fn read_file(&self, name: FileName) -> Option<Vec<u8>> {
        let node = self.disk.state().names.get(&name)?.clone();
        let node = node.lock().unwrap_or_else(PoisonError::into_inner);
        Some(node.bytes().to_vec())
    }

    /// Makes a file hold these bytes and no others, name and bytes synced; open handles see them too.
    pub fn write_file(&self, name: FileName, bytes: &[u8]) {
        let mut state = self.disk.state();
        let node = state.names.entry(name).or_insert_with(|| Arc::new(Mutex::new(Node::empty()))).clone();
        let mut file = node.lock().unwrap_or_else(PoisonError::into_inner);
        state.used_bytes = state.used_bytes - file.len() + bytes.len() as u64;
        file.replace(bytes.to_vec());
        state.synced_names.insert(name, node.clone());
        state.name_changes.retain(|change| change.name != name);
    }

    /// Flips one bit of a file, on the disk too. Bit 0 is the byte's lowest.
    ///
    /// # Panics
    /// If there is no such file, byte or bit.
    pub fn flip_bit(&self, name: FileName, offset: u64, bit: u8) {
        let state = self.disk.state();
        let node = state.names.get(&name).unwrap_or_else(|| panic!("{name}: no such file"));
        let mut node = node.lock().unwrap_or_else(PoisonError::into_inner);
        let len = node.len();
        assert!(offset < len && bit < 8, "{name}: no bit {bit} at offset {offset} of {len} bytes");
        node.flip_bit(offset, bit);
    }

    /// How often each operation was called from each site, in order.
    pub fn calls(&self) -> Vec<(Site, Operation, u64)> {
        self.disk.state().calls.counts()
    }

    /// How many calls were made to fail.
    pub fn struck_calls(&self) -> u64 {
        self.disk.state().calls.struck()
    }

    /// How many calls were made in all.
    pub fn total_calls(&self) -> u64 {
        self.disk.state().calls.total()
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").finish_non_exhaustive()
    }
}

impl From<State> for Faulty {
    fn from(state: State) -> Faulty {
        Faulty { disk: Arc::new(Disk { state: Mutex::new(state), ..Disk::default() }) }
    }
}

impl Storage for Faulty {
    fn create(&self, site: Site, kind: FileKind, above: u64) -> io::Result<(u64, Arc<dyn File>)> {
        let mut state = self.disk.call(site, Operation::Create)?;
        let name = next_name(kind, above)?;
        if state.spares == Some(0) {
            let text = format!("{name}: no file can be made just now");
            return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
        }
        let node = match state.names.get(&name) {
            Some(node) if node.lock().unwrap_or_else(PoisonError::into_inner).len() > 0 => {
                return Err(already_exists(name));
            }
            Some(node) => node.clone(),
            None => {
                let node = Arc::new(Mutex::new(Node::empty()));
                state.names.insert(name, node.clone());
                state.note_name(name, &node, true);
                node
            }
        };
        state.spares = state.spares.map(|count| count - 1);
        Ok((name.number, self.disk.file(name, node)))
    }

    fn open(&self, site: Site, name: FileName) -> io::Result<Arc<dyn File>> {
        let state = self.disk.call(site, Operation::Open)?;
        let node = state.names.get(&name).ok_or_else(|| not_found(name))?;
        Ok(self.disk.file(name, node.clone()))
    }

    fn remove(&self, site: Site, name: FileName) -> io::Result<()> {
        let mut state = self.disk.call(site, Operation::Remove)?;
        let node = state.names.remove(&name).ok_or_else(|| not_found(name))?;
        state.note_name(name, &node, false);
        let mut node = node.lock().unwrap_or_else(PoisonError::into_inner);
        node.named = false;
        state.used_bytes -= node.len();
        Ok(())
    }

    fn list(&self, site: Site) -> io::Result<Vec<FileName>> {
        Ok(self.disk.call(site, Operation::List)?.names.keys().copied().collect())
    }

    fn sync_names(&self, site: Site) -> io::Result<()> {
        let (state, fault) = self.disk.call_in_part(site, Operation::SyncNames)?;
        let covered = state.name_change_count;
        let mut state = self.disk.wait_for_release(state)?;
        match fault {
            Some(error) => {
                state.fail_name_sync(); // I2
                Err(error)
            }
            None => {
                if !state.forgets_names {
                    state.sync_names(covered);
                }
                Ok(())
            }
        }
    }

    fn lock(&self, site: Site, mode: LockMode) -> Result<Lock, LockError> {
        let state = self.disk.call(site, Operation::Lock).map_err(LockError::Io)?;
        drop(state);
        self.disk.holders.take(mode)
    }
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call that does nothing if it is made to fail.
    fn call(self: &Arc<Disk>, site: Site, operation: Operation) -> io::Result<MutexGuard<'_, State>> {
        match self.call_in_part(site, operation)? {
            (_, Some(error)) => Err(error),
            (state, None) => Ok(state),
        }
    }

    /// Begins a call that may do a part of its work before it fails with the error in the pair.
    fn call_in_part(
        self: &Arc<Disk>,
        site: Site,
        operation: Operation,
    ) -> io::Result<(MutexGuard<'_, State>, Option<io::Error>)> {
        self.show_observer(site, operation);
        let mut state = self.state();
        if state.stopped.is_none() && state.calls_until_stop == Some(0) {
            state.stopped = Some(Stop::Waiting);
            self.released.notify_all();
        }
        state.require_running()?;
        state.calls_until_stop = state.calls_until_stop.map(|calls| calls - 1);
        let error = state.calls.count(site, operation);
        Ok((state, error))
    }

    /// Lets the observer look at the disk, unless it is the observer who calls.
    fn show_observer(self: &Arc<Disk>, site: Site, operation: Operation) {
        let place = || self.observer.lock().unwrap_or_else(PoisonError::into_inner);
        let is_let_through = {
            let state = self.state();
            state.stopped.is_none() && state.calls_until_stop != Some(0)
        };
        let Some(mut observer) = is_let_through.then(|| place().take()).flatten() else { return };
        observer(&Faulty { disk: self.clone() }, site, operation);
        place().get_or_insert(observer);
    }

    fn wait_for_release<'a>(&'a self, state: MutexGuard<'a, State>) -> io::Result<MutexGuard<'a, State>> {
        let held = |state: &mut State| state.holds_syncs && state.stopped.is_none();
        let state = self.released.wait_while(state, held).unwrap_or_else(PoisonError::into_inner);
        state.require_running()?;
        Ok(state)
    }

    fn file(self: &Arc<Disk>, name: FileName, node: SharedNode) -> Arc<dyn File> {
        Arc::new(FaultyFile { disk: self.clone(), name, node, appended_end: AtomicU64::new(0) })
    }
}

impl State {
    fn require_running(&self) -> io::Result<()> {
        match self.stopped {
            None => Ok(()),
            Some(Stop::Waiting) => Err(io::Error::other("the disk has stopped")),
            Some(Stop::PowerLost) => Err(io::Error::other("the disk has lost power")),
            Some(Stop::Killed) => Err(io::Error::other("the process was killed")),
        }
    }

    fn note_name(&mut self, name: FileName, node: &SharedNode, created: bool) {
        let number = self.name_change_count;
        let standing = Standing::Unsynced;
        self.name_changes.push(NameChange { number, name, node: node.clone(), created, standing });
        self.name_change_count += 1;
    }

    /// A sync of names that began after `covered` changes has succeeded. Changes behind a doubtful one are kept with
    /// it: which of them counts follows from their order.
    fn sync_names(&mut self, covered: u64) {
        for change in &mut self.name_changes {
            if change.number < covered && change.standing == Standing::Unsynced {
                change.standing = Standing::Synced;
            }
        }
        let is_synced = |change: &NameChange| change.standing == Standing::Synced;
        if self.name_changes.iter().all(|change| change.standing != Standing::Doubtful) {
            for change in self.name_changes.extract_if(.., |change| is_synced(change)) {
                change.apply(&mut self.synced_names);
            }
        }
    }

    fn fail_name_sync(&mut self) {
        for change in &mut self.name_changes {
            if change.standing == Standing::Unsynced {
                change.standing = Standing::Doubtful;
            }
        }
    }

    fn crashed(&self, decide: &mut dyn FnMut(Unsynced) -> Fate) -> Faulty {
        let mut names = BTreeMap::new();
        let mut used_bytes = 0;
        for (name, node) in self.crashed_names(decide) {
            let node = node.lock().unwrap_or_else(PoisonError::into_inner).crashed(name, decide);
            used_bytes += node.len();
            names.insert(name, Arc::new(Mutex::new(node)));
        }
        let capacity_bytes = self.capacity_bytes;
        let synced_names = names.clone();
        Faulty::from(State { names, synced_names, used_bytes, capacity_bytes, ..State::default() })
    }

    /// A copy in which no file is shared with this disk.
    fn killed(&self) -> State {
        let mut copies: BTreeMap<*const Mutex<Node>, SharedNode> = BTreeMap::new();
        let mut copy = |node: &SharedNode| {
            let fresh = || Arc::new(Mutex::new(node.lock().unwrap_or_else(PoisonError::into_inner).clone()));
            copies.entry(Arc::as_ptr(node)).or_insert_with(fresh).clone()
        };
        State {
            names: self.names.iter().map(|(name, node)| (*name, copy(node))).collect(),
            synced_names: self.synced_names.iter().map(|(name, node)| (*name, copy(node))).collect(),
            name_changes: self
                .name_changes
                .iter()
                .map(|change| NameChange { node: copy(&change.node), ..change.clone() })
                .collect(),
            name_change_count: self.name_change_count,
            used_bytes: self.used_bytes,
            capacity_bytes: self.capacity_bytes,
            ..State::default()
        }
    }

    fn crashed_names(&self, decide: &mut dyn FnMut(Unsynced) -> Fate) -> BTreeMap<FileName, SharedNode> {
        let mut names = self.synced_names.clone();
        for change in &self.name_changes {
            let file = change.name;
            let what = if change.created { Unsynced::Created { file } } else { Unsynced::Removed { file } };
            if change.standing == Standing::Synced || decide(what) == Fate::Keep {
                change.apply(&mut names);
            }
        }
        names
    }

    /// How far a file of `len` bytes may grow on its way to `wanted`.
    fn room_for(&self, len: u64, wanted: u64) -> u64 {
        match self.capacity_bytes {
            Some(capacity) => wanted.min(len + capacity.saturating_sub(self.used_bytes)),
            None => wanted,
        }
    }

    /// How much of `len` bytes a failing call gets done: any part, and the same one in the same run.
    fn part_of(&self, len: u64) -> u64 {
        Dice(self.calls.total()).below(len + 1)
    }

    /// Counts a file's growth by what it was and is; a file without a name takes up nothing that could be freed.
    fn count_growth(&mut self, node: &Node, from: u64) {
        if node.named {
            self.used_bytes += node.len() - from;
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<FileName, SharedNode>) {
        if self.created {
            names.insert(self.name, self.node.clone());
        } else {
            names.remove(&self.name);
        }
    }
}

/// One handle on a file.
struct FaultyFile {
    disk: Arc<Disk>,
    name: FileName,
    node: SharedNode,
    /// Where the last append through this handle was to end; read and written under the disk's lock.
    appended_end: AtomicU64,
}

impl File for FaultyFile {
    fn reserve(&self, site: Site, len: u64) -> io::Result<()> {
        let (mut state, fault) = self.disk.call_in_part(site, Operation::Reserve)?;
        let mut node = self.node();
        let from = node.len();
        if len <= from {
            return fault.map_or(Ok(()), Err);
        }
        let reached = match &fault {
            Some(_) => from + state.part_of(len - from),
            None => len,
        };
        let room = state.room_for(from, reached);
        node.reserve(room);
        state.count_growth(&node, from);
        match fault {
            Some(error) => Err(error),
            None if room < len => Err(self.full()),
            None => Ok(()),
        }
    }

    fn append(&self, site: Site, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut state, fault) = self.disk.call_in_part(site, Operation::Append)?;
        let mut node = self.node();
        let end = self.check_append(&mut node, offset, bytes.len() as u64);
        let from = node.len();
        let reached = match &fault {
            Some(_) => offset + state.part_of(end - offset),
            None => end,
        };
        let room = if reached <= from { reached } else { state.room_for(from, reached) };
        node.append(offset, &bytes[..room.saturating_sub(offset) as usize]);
        state.count_growth(&node, from);
        match fault {
            Some(error) => Err(error),
            None if room < end => Err(self.full()),
            None => Ok(()),
        }
    }

    fn read_at(&self, site: Site, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let _state = self.disk.call(site, Operation::ReadAt)?;
        Ok(self.node().read_at(offset, buf))
    }

    fn len(&self, site: Site) -> io::Result<u64> {
        let _state = self.disk.call(site, Operation::Len)?;
        Ok(self.node().len())
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        let (state, fault) = self.disk.call_in_part(site, Operation::Sync)?;
        let covered = self.node().write_count();
        let _state = self.disk.wait_for_release(state)?;
        match fault {
            Some(error) => {
                self.node().fail_sync(); // I2
                Err(error)
            }
            None => {
                self.node().sync(covered);
                Ok(())
            }
        }
    }
}

impl FaultyFile {
    /// Always under the disk's lock, so never waited for.
    fn node(&self) -> MutexGuard<'_, Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the caller to the contract; returns where the append is to end.
    fn check_append(&self, node: &mut Node, offset: u64, len: u64) -> u64 {
        let name = self.name;
        let before = self.appended_end.load(Ordering::Relaxed);
        assert!(offset >= before, "{name}: append at {offset} goes back: the last one ended at {before}");
        let written = node.written_end();
        assert!(offset >= written, "{name}: append at {offset} overwrites bytes that end at {written}");
        let end = offset.checked_add(len).unwrap_or_else(|| panic!("{name}: append at {offset} has no end"));
        self.appended_end.store(end, Ordering::Relaxed);
        end
    }

    fn full(&self) -> io::Error {
        io::Error::new(io::ErrorKind::StorageFull, format!("{}: the disk is full", self.name))
    }
}
