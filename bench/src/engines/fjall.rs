//! `fjall`: a synced write is an insert and then a `persist`, which is how it offers one.

use std::path::Path;
use std::time::Duration;

use fjall::config::BlockSizePolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{BACKGROUND_THREADS, BLOCK_BYTES, CACHE_BYTES, Durability, Engine, MEMTABLE_BYTES, Terms, look};

pub(super) const TERMS: Terms = Terms {
    name: "fjall",
    is_lsm: true,
    syncs: true,
    maps_files: false,
    version: env!("FJALL_VERSION"),
    loses: "killed: nothing; power: what was not synced, from the end",
    open,
};

struct Fjall {
    db: Database,
    entries: Keyspace,
    mode: Option<PersistMode>,
}

fn open(dir: &Path, durability: Durability) -> Box<dyn Engine> {
    let db = Database::builder(dir).cache_size(CACHE_BYTES).worker_threads(BACKGROUND_THREADS).open();
    let db = db.expect("fjall opens");
    let options = || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(MEMTABLE_BYTES)
            .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES as u32))
    };
    let entries = db.keyspace("entries", options).expect("fjall opens a keyspace");
    Box::new(Fjall { db, entries, mode: (durability == Durability::Sync).then_some(PersistMode::SyncData) })
}

impl Fjall {
    fn persist(&self) {
        if let Some(mode) = self.mode {
            self.db.persist(mode).expect("fjall syncs");
        }
    }
}

impl Engine for Fjall {
    fn put(&self, key: &[u8], value: &[u8]) {
        self.entries.insert(key, value).expect("fjall writes");
        self.persist();
    }

    fn delete(&self, key: &[u8]) {
        self.entries.remove(key).expect("fjall deletes");
        self.persist();
    }

    fn write(&self, entries: &mut dyn Iterator<Item = ([u8; 16], &[u8])>) {
        let mut batch = self.db.batch().durability(self.mode);
        for (key, value) in entries {
            batch.insert(&self.entries, key, value);
        }
        batch.commit().expect("fjall writes");
    }

    fn get(&self, key: &[u8]) -> Option<u64> {
        self.entries.get(key).expect("fjall reads").map(|value| look(&value))
    }

    fn scan(&self, from: &[u8], count: u64) -> (u64, u64) {
        let (mut seen, mut sum) = (0, 0);
        for guard in self.entries.range(from..).take(count as usize) {
            let (key, value) = guard.into_inner().expect("fjall scans");
            seen += 1;
            sum += key.len() as u64 + look(&value);
        }
        (seen, sum)
    }

    fn settle(&self) {
        self.entries.rotate_memtable_and_wait().expect("fjall flushes");
        let mut quiet = 0;
        while quiet < 10 {
            std::thread::sleep(Duration::from_millis(50));
            let busy = self.db.outstanding_flushes() > 0 || self.db.active_compactions() > 0;
            quiet = if busy { 0 } else { quiet + 1 };
        }
    }

    fn close(self: Box<Self>) {}
}
