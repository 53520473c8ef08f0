//! Scene: a small database in which one operation is about to meet a fault.
//!
//! For each operation an image is built once: files at rest, from which the same moment can be set up again and again.
//! What the operation has to do there is arranged: a write waits for a compaction, a compaction has several inputs, a
//! recovery finds two logs and more than a memtable holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairndb::roadmap_log::{encode_delete, encode_put};
use cairndb::storage::{Fate, Faulty, File, FileKind, FileName, Lock, LockError, LockMode, Site, Storage};
use cairndb::{
    BackupMode, Batch, Compression, Condition, Db, Durability, Error, Options, RepairReport, repair,
};

use crate::dice::Dice;
use crate::oracle::{Change, Map, Oracle};
use crate::script::key;

use super::{Plant, Verb};

/// The clock stands still.
pub(super) const NOW_MS: u64 = 10_000;

/// Keys are numbers below this.
pub(super) const KEYS: usize = 60;

/// From so many runs of level 0 on a write waits for a compaction.
const RUNS_STOP: usize = 16;

/// Three flushes of two such keys make a manifest that is to be replaced.
const LONG_KEY_LEN: usize = 45_000;

/// How often a foreign log has grown; the first stretch of it has been taken already.
const LOG_PARTS: usize = 3;

type Files = Vec<(FileName, Vec<u8>)>;

/// Files at rest, and what they hold.
pub(super) struct Image {
    pub(super) verb: Verb,
    pub(super) disk: Faulty,
    pub(super) files: Files,
    /// Files that stood on the same disk earlier.
    pub(super) older: Files,
    oracle: Oracle,
    options: Options,
    /// The foreign log, and the changes of each of its parts.
    log: Vec<u8>,
    log_parts: Vec<(usize, Vec<Change>)>,
    /// Commits in the last log.
    pub(super) last_log_commits: usize,
}

/// The moment before the operation, and after it.
pub(super) struct Scene<'a> {
    pub(super) image: &'a Image,
    pub(super) disk: Faulty,
    /// Where backups go, and what is repaired.
    pub(super) place: Faulty,
    /// `None` until it is recovered.
    pub(super) db: Option<Db>,
    pub(super) oracle: Oracle,
    /// What the operation may have written, beside what it has.
    perhaps: Option<Arc<Map>>,
    plant: Plant,
    dice: Dice,
    parts_taken: usize,
    /// Each open draws another id.
    opens: u128,
    pub(super) repaired: Option<RepairReport>,
}

impl Image {
    pub(super) fn build(verb: Verb, seed: u64) -> Image {
        let mut dice = Dice::new(seed);
        let options = Options {
            memory_budget_bytes: if verb == Verb::ManifestSwitch { 1 << 20 } else { 64 << 10 },
            compression: dice.of(&[Compression::None, Compression::Lz4]),
            open_files_max: dice.of(&[1, 2, 64]),
            ..Options::new(Arc::new(|| NOW_MS), Arc::new(|| 0))
        };
        let mut oracle = Oracle::new(NOW_MS);
        oracle.remember();
        let mut image = Image {
            verb,
            disk: Faulty::default(),
            files: Vec::new(),
            older: Vec::new(),
            oracle,
            options,
            log: Vec::new(),
            log_parts: Vec::new(),
            last_log_commits: 0,
        };
        image.write_log(&mut dice);
        let mut scene = image.scene(image.disk.clone(), Plant::None, seed);
        scene.open(u128::from(seed) << 64 | 1).expect("a new database opens");
        let (mut older, mut last_log_commits) = (Vec::new(), 0);
        if verb != Verb::ManifestSwitch {
            older = scene.fill();
            last_log_commits = scene.fill_more();
        }
        scene.oracle.given_floor = scene.oracle.next_seq;
        let (oracle, parts) = (scene.oracle.clone(), scene.parts_taken);
        assert!(parts <= 1);
        image.disk = image.disk.kill().crashed_with(&mut |_| Fate::Keep);
        image.files = files_of(&image.disk);
        Image { oracle, older, last_log_commits, ..image }
    }

    /// A log in the roadmap's format, in parts.
    fn write_log(&mut self, dice: &mut Dice) {
        for part in 0..LOG_PARTS {
            let mut changes = Vec::new();
            for number in part * 7..part * 7 + 9 {
                let name = (1, key(number));
                if number % 5 == 4 {
                    encode_delete(&name.1, &mut self.log);
                    changes.push(Change::Delete(name));
                } else {
                    let value = value(dice, 60);
                    encode_put(&name.1, &value, &mut self.log);
                    changes.push(Change::Put(name, value.into(), None));
                }
            }
            // How far it was taken is an entry in a keyspace that nobody reads.
            changes.push(Change::Delete((255, Vec::new())));
            self.log_parts.push((self.log.len(), changes));
        }
    }

    pub(super) fn options(&self, id: u128) -> Options {
        let next = AtomicU64::new(0);
        let ids = move || id + u128::from(next.fetch_add(1, Ordering::Relaxed));
        Options { ids: Arc::new(ids), ..self.options.clone() }
    }

    /// The moment before the operation, on a disk of its own.
    pub(super) fn stage(&self, plant: Plant) -> Scene<'_> {
        let disk = self.disk.crashed_with(&mut |_| Fate::Keep);
        let mut scene = self.scene(disk, plant, 77);
        if self.verb.begins_closed() {
            return scene;
        }
        scene.oracle.keep(Durability::Sync);
        scene.oracle.settle();
        scene.open(2 << 100).expect("what was built opens");
        match self.verb {
            Verb::Flush | Verb::Checkpoint | Verb::Backup => {
                (0..6).for_each(|number| scene.put_well(number, 50));
            }
            Verb::ManifestSwitch => {
                for run in 0..3_u8 {
                    for end in [0, 9] {
                        let long = vec![b'a' + run * 3 + end; LONG_KEY_LEN];
                        scene.write(Change::Put((0, long), b"long"[..].into(), None)).expect("a put");
                    }
                    scene.db().flush().expect("a flush");
                }
            }
            _ => {}
        }
        scene
    }

    fn scene(&self, disk: Faulty, plant: Plant, seed: u64) -> Scene<'_> {
        Scene {
            image: self,
            disk,
            place: Faulty::default(),
            db: None,
            oracle: self.oracle.clone(),
            perhaps: None,
            plant,
            dice: Dice::new(seed),
            opens: 0,
            repaired: None,
            parts_taken: usize::from(self.verb == Verb::Replay && !self.files.is_empty()),
        }
    }
}

pub(super) fn files_of(disk: &Faulty) -> Files {
    let names = disk.list("sim.list").unwrap_or_default();
    names.into_iter().map(|name| (name, disk.read_file(name).unwrap_or_default())).collect()
}

fn value(dice: &mut Dice, len: usize) -> Vec<u8> {
    let mut value = vec![7; len / 2 + dice.below(len)];
    let half = value.len() / 2;
    value[..half].fill_with(|| dice.next() as u8);
    value
}

/// Setting up.
impl Scene<'_> {
    pub(super) fn db(&self) -> &Db {
        self.db.as_ref().expect("it is open")
    }

    fn open(&mut self, id: u128) -> Result<String, Error> {
        let storage: Arc<dyn Storage> = match self.plant {
            Plant::LyingSync => Arc::new(Lying(self.disk.clone())),
            _ => Arc::new(self.disk.clone()),
        };
        self.opens += 1;
        let db = Db::open_with(storage, self.image.options(id + (self.opens << 32)))?;
        self.oracle.next_seq = db.stats().seq + 1;
        let report = format!("{:?}", db.recovery());
        self.db = Some(db);
        Ok(report)
    }

    fn write(&mut self, change: Change) -> Result<(), Error> {
        let result = match &change {
            Change::Put((keyspace, key), value, _) => {
                self.db().keyspace(*keyspace).and_then(|ks| ks.put(key, value))
            }
            Change::Delete((keyspace, key)) => self.db().keyspace(*keyspace).and_then(|ks| ks.delete(key)),
            Change::Range(keyspace, from, to) => {
                let range = crate::reads::range(from, to.as_deref());
                self.db().keyspace(*keyspace).and_then(|ks| ks.delete_range(range))
            }
        };
        self.wrote(result, vec![change])
    }

    /// What was acknowledged is there; what was refused is not; what ended in `Io` and stopped the database, perhaps.
    fn wrote(&mut self, result: Result<(), Error>, changes: Vec<Change>) -> Result<(), Error> {
        match &result {
            Ok(()) => {
                self.oracle.commit(changes, Durability::Sync);
                if self.plant == Plant::PhantomWrite {
                    let never = Change::Put((0, b"never".to_vec()), b"written"[..].into(), None);
                    self.oracle.commit(vec![never], Durability::Sync);
                }
            }
            Err(Error::Io { .. }) if self.db().stats().stopped.is_some() => {
                let mut oracle = self.oracle.clone();
                oracle.commit(changes, Durability::Sync);
                self.oracle.given_floor = oracle.given_floor;
                self.perhaps = Some(oracle.map);
            }
            Err(_) => {}
        }
        result
    }

    fn put_well(&mut self, number: usize, len: usize) {
        let value = value(&mut self.dice, len).into();
        let keyspace = u8::from(number % 4 == 3);
        self.write(Change::Put((keyspace, key(number % KEYS)), value, None)).expect("nothing fails yet");
    }

    /// Tables on the last level; returns the files of that time.
    fn fill(&mut self) -> Files {
        (0..KEYS).for_each(|number| self.put_well(number, 120));
        self.db().compact().expect("a compaction");
        let older = files_of(&self.disk);
        (0..KEYS).step_by(2).for_each(|number| self.put_well(number, 150));
        self.db().compact().expect("a compaction");
        older
    }

    /// What lies above them; returns how many commits are in the last log.
    fn fill_more(&mut self) -> usize {
        if self.image.verb == Verb::Replay {
            self.take_log_part().expect("nothing fails yet");
            self.db().flush().expect("a flush");
        }
        let runs = match self.image.verb {
            Verb::Put | Verb::Batch | Verb::RangeDelete => RUNS_STOP,
            Verb::Compaction => 5,
            _ => 2,
        };
        // What they hold comes round after twelve.
        for run in (0..12).cycle().take(runs) {
            (0..4).for_each(|index| self.put_well(run * 5 + index * 3, 100));
            self.write(Change::Delete((0, key(run * 4 + 1)))).expect("a delete");
            let (from, to) = (key(run * 3 + 5), key(run * 3 + 8));
            self.write(Change::Range(0, from, Some(to))).expect("a range delete");
            self.db().flush().expect("a flush");
        }
        if !self.image.verb.begins_closed() {
            return 0;
        }
        // A full memtable is frozen, and a second log begun; nobody flushes.
        let log = |scene: &Scene<'_>| scene.disk.list("sim.list").map_or(0, |names| names.len());
        self.db().maintain().expect("a step");
        let (mut number, begun) = (0, log(self));
        while log(self) == begun {
            self.put_well(number, 200);
            number += 1;
            if self.db().stats().memtable_bytes > self.image.options.memory_budget_bytes / 12 {
                self.db().maintain().expect("a step that makes a spare");
            }
        }
        let full = self.image.options.memory_budget_bytes / 6;
        while self.db().stats().memtable_bytes < full {
            self.put_well(number, 200);
            number += 1;
        }
        (0..8).for_each(|number| self.put_well(number * 7, 60));
        8
    }
}

/// The operation.
impl Scene<'_> {
    /// Does it; what it reports.
    pub(super) fn act(&mut self) -> Result<String, Error> {
        match self.image.verb {
            Verb::Put => {
                let value = value(&mut self.dice, 100).into();
                self.write(Change::Put((0, key(8)), value, None)).map(told)
            }
            Verb::RangeDelete => self.write(Change::Range(0, key(12), Some(key(31)))).map(told),
            Verb::Batch => self.write_batch().map(told),
            Verb::Flush => self.db().flush().map(told),
            Verb::Compaction => self.db().compact().map(told),
            Verb::Checkpoint => self.db().checkpoint().map(told),
            Verb::Backup => self.db().backup(&self.place.clone(), BackupMode::Copy).map(told),
            Verb::Replay => {
                while self.parts_taken < LOG_PARTS {
                    self.take_log_part()?;
                }
                Ok(String::new())
            }
            Verb::ManifestSwitch => {
                let more = self.db().maintain()?;
                let names = self.disk.list("sim.list").unwrap_or_default();
                Ok(told((
                    more,
                    names.into_iter().filter(|name| name.kind == FileKind::Manifest).collect::<Vec<_>>(),
                )))
            }
            Verb::Recovery => self.open(3 << 100),
            Verb::Repair => {
                let (from, to) = (Arc::new(self.disk.clone()), Arc::new(self.place.clone()));
                self.repaired = None;
                let report = repair(from, to, self.image.options(4 << 100))?;
                Ok(told(self.repaired.insert(report)))
            }
        }
    }

    fn write_batch(&mut self) -> Result<(), Error> {
        let value: Arc<[u8]> = value(&mut self.dice, 80).into();
        let (from, to) = (key(20), key(24));
        let mut batch = Batch::new();
        batch.put(key(2), &value).delete(key(10)).delete_range(from.clone()..to.clone());
        let changes = vec![
            Change::Put((0, key(2)), value, None),
            Change::Delete((0, key(10))),
            Change::Range(0, from, Some(to)),
        ];
        let absent = [Condition::absent("no such key"), Condition::absent(b"k0")];
        let result = self.db().write_if(batch, &absent).map(drop);
        self.wrote(result, changes)
    }

    fn take_log_part(&mut self) -> Result<(), Error> {
        let (end, changes) = &self.image.log_parts[self.parts_taken];
        let log = &self.image.log[..*end];
        let result = self.db().keyspace(1).and_then(|keyspace| keyspace.replay_log(log, None)).map(drop);
        self.wrote(result, changes.clone())?;
        self.parts_taken += 1;
        Ok(())
    }

    /// What a crash may leave now.
    pub(super) fn allowed(&self) -> Vec<Arc<Map>> {
        let mut allowed = self.oracle.allowed();
        allowed.extend(self.perhaps.clone());
        allowed
    }
}

fn told(report: impl std::fmt::Debug) -> String {
    format!("{report:?}")
}

/// A disk that says of every sync that it was done, and does none: the control.
struct Lying(Faulty);

struct LyingFile(Arc<dyn File>);

impl Storage for Lying {
    fn create(&self, site: Site, kind: FileKind, above: u64) -> std::io::Result<(u64, Arc<dyn File>)> {
        let (number, file) = self.0.create(site, kind, above)?;
        Ok((number, Arc::new(LyingFile(file))))
    }

    fn open(&self, site: Site, name: FileName) -> std::io::Result<Arc<dyn File>> {
        self.0.open(site, name)
    }

    fn remove(&self, site: Site, name: FileName) -> std::io::Result<()> {
        self.0.remove(site, name)
    }

    fn list(&self, site: Site) -> std::io::Result<Vec<FileName>> {
        self.0.list(site)
    }

    fn sync_names(&self, site: Site) -> std::io::Result<()> {
        self.0.sync_names(site)
    }

    fn lock(&self, site: Site, mode: LockMode) -> Result<Lock, LockError> {
        self.0.lock(site, mode)
    }
}

impl File for LyingFile {
    fn reserve(&self, site: Site, len: u64) -> std::io::Result<()> {
        self.0.reserve(site, len)
    }

    fn append(&self, site: Site, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.0.append(site, offset, bytes)
    }

    fn read_at(&self, site: Site, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        self.0.read_at(site, offset, buf)
    }

    fn len(&self, site: Site) -> std::io::Result<u64> {
        self.0.len(site)
    }

    fn sync(&self, _: Site) -> std::io::Result<()> {
        Ok(())
    }
}
