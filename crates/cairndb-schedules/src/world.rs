//! World: a database under drawn schedules, and what it has promised so far.
//!
//! Threads write under names, and note what they were told. A name is written once, with two keys in one batch, so that
//! what a reader or a recovery finds is a set of names; the promises are then about sets. What was acknowledged before
//! a read began must be in what it finds (promise 3), and what it finds must be the first so many of all that were
//! acknowledged, by sequence number (promises 2 and 4). The same goes for what a power loss leaves; there only what was
//! acknowledged for `Sync` must be in it (promise 1).
//!
//! # Invariants
//! - I1. No lock of the world is held at a point of the schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cairndb::storage::Storage;
use cairndb::{Batch, Condition, Db, Durability, Error, Options, Outcome, Reader};
use shuttle::thread::{self, JoinHandle};

use crate::disk::{Disk, Image, Opened, Session};
use crate::scheduler::{Dice, seed};

/// A database with room for all that a schedule writes, bytes of budget.
pub(crate) const ROOMY: u64 = 4 << 20;

/// One whose memtable is full after two values of [`LONG`], bytes of budget.
pub(crate) const NARROW: u64 = 64 << 10;

/// The length of a long value.
pub(crate) const LONG: usize = 6 << 10;

/// How many power losses a schedule is tried with.
const CRASHES: usize = 3;

/// What one schedule is about. Cheap to clone, for its threads.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) disk: Disk,
    pub(crate) db: Db,
    session: Arc<Session>,
    history: Arc<Mutex<History>>,
}

#[derive(Default)]
struct History {
    /// What was acknowledged, with its last sequence number.
    acknowledged: BTreeMap<String, u64>,
    synced: BTreeSet<String>,
    /// What was answered with an error, or not done: nobody may see it before the next open.
    refused: BTreeSet<String>,
    reads: Vec<BTreeSet<String>>,
    images: Vec<(Image, BTreeSet<String>)>,
}

impl World {
    pub(crate) fn new(budget: u64) -> World {
        World::on(Disk::default(), budget)
    }

    pub(crate) fn on(disk: Disk, budget: u64) -> World {
        let session = disk.session();
        let db = Db::open_with(Arc::new(Opened(Arc::clone(&session))), options(budget, 1)).unwrap();
        World { disk, db, session, history: Arc::default() }
    }

    /// Chance for one thread of the schedule.
    pub(crate) fn dice(thread: u64) -> Dice {
        Dice::new(seed() ^ thread.wrapping_mul(0xA24B_AED4_963E_E407))
    }

    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&World) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.spawn_owner(move |world| work(&world))
    }

    /// As [`World::spawn`], for a thread that says itself when it lets go of the database.
    pub(crate) fn spawn_owner<T: Send + 'static>(
        &self,
        work: impl FnOnce(World) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let world = self.clone();
        thread::spawn(move || work(world))
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes under a name, and notes the answer.
    pub(crate) fn write(&self, name: &str, len: usize, durability: Durability) -> Result<u64, Error> {
        self.write_if(name, len, durability, Batch::new(), &[])
            .map(|seq| seq.expect("there was no condition"))
    }

    /// Writes under a name, behind what is in the batch, if the conditions hold.
    pub(crate) fn write_if(
        &self,
        name: &str,
        len: usize,
        durability: Durability,
        mut batch: Batch,
        conditions: &[Condition],
    ) -> Result<Option<u64>, Error> {
        batch.put(format!("a/{name}"), vec![7; len]).put(format!("b/{name}"), "").durability(durability);
        let outcome = self.db.write_if(batch, conditions);
        let mut history = self.history();
        match outcome {
            Ok(Outcome::Written(seq)) => {
                history.acknowledged.insert(name.into(), seq);
                if durability == Durability::Sync {
                    history.synced.insert(name.into());
                    let image = (self.disk.image(), history.synced.clone());
                    history.images.push(image);
                }
                Ok(Some(seq))
            }
            Ok(Outcome::Unmet { .. }) => {
                history.refused.insert(name.into());
                Ok(None)
            }
            Err(error) => {
                history.refused.insert(name.into());
                Err(error)
            }
        }
    }

    /// What is acknowledged now.
    pub(crate) fn acknowledged(&self) -> BTreeSet<String> {
        self.history().acknowledged.keys().cloned().collect()
    }

    /// One read of everything: what was acknowledged before must be there, and both keys of each name.
    pub(crate) fn read_all(&self, dice: &mut Dice) {
        let before = self.acknowledged();
        let found = match names(&self.db, dice) {
            Err(Error::Closed) => return,
            found => found.unwrap(),
        };
        assert!(before.is_subset(&found), "acknowledged before the read: {before:?}; found: {found:?}");
        self.history().reads.push(found);
    }

    /// One read of one name.
    pub(crate) fn read_one(&self, dice: &mut Dice) {
        let before: Vec<String> = self.acknowledged().into_iter().collect();
        if before.is_empty() {
            return;
        }
        let name = &before[dice.below(before.len() as u64) as usize];
        match self.db.get(format!("a/{name}")) {
            Err(Error::Closed) => {}
            found => assert!(found.unwrap().is_some(), "{name} was acknowledged, and is not found"),
        }
    }

    /// Closes the database; from then on none of its files may be touched.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let closed = self.db.close();
        self.session.end();
        closed
    }

    /// Looks at all that was noted, with every thread at rest; closes the database, and opens what it and what power
    /// losses left.
    pub(crate) fn judge(self) {
        let closed = self.close();
        self.judge_closed(closed.is_ok());
    }

    /// As [`World::judge`], once the database is closed: by a clean close, after which all that was acknowledged must be
    /// there, or otherwise.
    pub(crate) fn judge_closed(self, cleanly: bool) {
        let stopped = self.db.stats().stopped.is_some();
        self.leave().judge(cleanly && !stopped);
    }

    /// Lets go of the database.
    pub(crate) fn leave(self) -> Remains {
        let World { disk, db, session, history } = self;
        drop(db);
        Remains { disk, session, history }
    }
}

/// What there is to look at when the database is closed.
pub(crate) struct Remains {
    disk: Disk,
    session: Arc<Session>,
    history: Arc<Mutex<History>>,
}

impl Remains {
    /// Requires: every thread is at rest, and the database closed.
    pub(crate) fn judge(self, cleanly: bool) {
        self.session.end();
        self.disk.forget_plan();
        assert_eq!(self.disk.late(), [""; 0], "changed after the close had returned");
        let history = Arc::try_unwrap(self.history).ok().expect("every thread is at rest");
        history.into_inner().unwrap_or_else(PoisonError::into_inner).judge(&self.disk, cleanly);
    }
}

impl History {
    fn judge(self, disk: &Disk, cleanly: bool) {
        let last_seqs: BTreeSet<u64> = self.acknowledged.values().copied().collect();
        assert_eq!(last_seqs.len(), self.acknowledged.len(), "a sequence number was given twice");
        for read in &self.reads {
            self.judge_prefix(read, "a read");
            let seen: Vec<&String> = read.intersection(&self.refused).collect();
            assert!(seen.is_empty(), "a read finds {seen:?}, which were not written");
        }
        let mut dice = World::dice(99);
        let mut crashes = vec![(disk.image(), self.synced.clone())];
        for _ in 1..CRASHES.min(self.images.len() + 1) {
            crashes.push(self.images[dice.below(self.images.len() as u64) as usize].clone());
        }
        for (image, promised) in crashes {
            let found = recovered(&Disk::from_image(&image));
            assert!(promised.is_subset(&found), "acknowledged for Sync: {promised:?}; left: {found:?}");
            self.judge_prefix(&found, "a power loss");
        }
        let found = recovered(disk);
        self.judge_prefix(&found, "the next open");
        if cleanly {
            let all: BTreeSet<String> = self.acknowledged.keys().cloned().collect();
            assert_eq!(found, all, "after a clean close everything acknowledged is there, and nothing else");
        }
    }

    /// Of all that was acknowledged the set must be the first so many by sequence number.
    fn judge_prefix(&self, found: &BTreeSet<String>, who: &str) {
        let last = found.iter().filter_map(|name| self.acknowledged.get(name)).max().copied().unwrap_or(0);
        let missing = self.acknowledged.iter().find(|(name, seq)| **seq < last && !found.contains(*name));
        assert!(missing.is_none(), "{who} finds seq {last}, and not the earlier {missing:?}: {found:?}");
    }
}

/// The names that a database holds, from both ends of a scan; each must be whole.
pub(crate) fn names(reader: &Reader, dice: &mut Dice) -> Result<BTreeSet<String>, Error> {
    let (mut scan, mut halves) = (reader.scan(..), [BTreeSet::new(), BTreeSet::new()]);
    loop {
        let item = if dice.one_in(2) { scan.next() } else { scan.next_back() };
        let Some(item) = item else { break };
        let key = String::from_utf8(item?.0).expect("the keys are text");
        match key.split_once('/') {
            Some((half, name)) => assert!(
                halves[usize::from(half == "b")].insert(name.to_string()),
                "one scan finds {key} twice"
            ),
            None => continue,
        }
    }
    assert_eq!(halves[0], halves[1], "half a batch is visible");
    let [names, _] = halves;
    Ok(names)
}

/// What the next open finds.
fn recovered(disk: &Disk) -> BTreeSet<String> {
    let db = Db::open_with(Arc::new(Opened(disk.session())), options(ROOMY, 1000)).unwrap();
    let found = names(&db, &mut World::dice(98)).unwrap();
    db.put("takes writes", "").unwrap();
    db.close().unwrap();
    found
}

/// A clock that stands still and ids that count.
pub(crate) fn options(budget: u64, first_id: u64) -> Options {
    let next = AtomicU64::new(first_id);
    let ids = move || u128::from(next.fetch_add(1, Ordering::Relaxed));
    Options { memory_budget_bytes: budget, ..Options::new(Arc::new(|| 1000), Arc::new(ids)) }
}

/// A backup's place.
pub(crate) fn place() -> (Disk, Arc<dyn Storage>) {
    let disk = Disk::default();
    let storage = Arc::new(Opened(disk.session()));
    (disk, storage)
}
