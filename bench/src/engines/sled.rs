//! `sled`: its flush reaches the operating system and not the disk, so it is left out where durability is compared.

use std::path::Path;

use sled::{Batch, Db, Mode};

use super::{CACHE_BYTES, Durability, Engine, Terms, look};

pub(super) const TERMS: Terms = Terms {
    name: "sled",
    is_lsm: false,
    syncs: false,
    maps_files: false,
    version: env!("SLED_VERSION"),
    loses: "killed: the last half second; power: what was not synced",
    open,
};

struct Sled(Db);

fn open(dir: &Path, durability: Durability) -> Box<dyn Engine> {
    assert!(durability == Durability::Os, "sled is not asked to sync");
    let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).mode(Mode::HighThroughput);
    Box::new(Sled(config.open().expect("sled opens")))
}

impl Engine for Sled {
    fn put(&self, key: &[u8], value: &[u8]) {
        self.0.insert(key, value).expect("sled writes");
    }

    fn delete(&self, key: &[u8]) {
        self.0.remove(key).expect("sled deletes");
    }

    fn write(&self, entries: &mut dyn Iterator<Item = ([u8; 16], &[u8])>) {
        let mut batch = Batch::default();
        for (key, value) in entries {
            batch.insert(&key[..], value);
        }
        self.0.apply_batch(batch).expect("sled writes");
    }

    fn get(&self, key: &[u8]) -> Option<u64> {
        self.0.get(key).expect("sled reads").map(|value| look(&value))
    }

    fn scan(&self, from: &[u8], count: u64) -> (u64, u64) {
        let (mut seen, mut sum) = (0, 0);
        for entry in self.0.range(from..).take(count as usize) {
            let (key, value) = entry.expect("sled scans");
            seen += 1;
            sum += key.len() as u64 + look(&value);
        }
        (seen, sum)
    }

    fn settle(&self) {
        self.0.flush().expect("sled flushes");
    }

    fn close(self: Box<Self>) {}
}
