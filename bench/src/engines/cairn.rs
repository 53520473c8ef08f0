//! Cairn: a budget of 96 MiB is two memtables of 16 MiB and a cache of 56 MiB.

use std::path::Path;

use cairndb::{Batch, Compression, Db, Options};

use super::{CACHE_BYTES, Durability, Engine, MEMTABLE_BYTES, Terms, look};

pub(super) const TERMS: Terms = Terms {
    name: "cairndb",
    is_lsm: true,
    syncs: true,
    maps_files: false,
    version: env!("CAIRNDB_VERSION"),
    loses: "killed: nothing; power: what was not synced, from the end",
    open,
};

struct Cairn(Db);

fn open(dir: &Path, durability: Durability) -> Box<dyn Engine> {
    let durability = match durability {
        Durability::Os => cairndb::Durability::Os,
        Durability::Sync => cairndb::Durability::Sync,
    };
    let options = Options {
        memory_budget_bytes: CACHE_BYTES + 2 * MEMTABLE_BYTES,
        compression: Compression::Lz4,
        durability,
        ..Options::default()
    };
    Box::new(Cairn(options.open(dir).expect("cairndb opens")))
}

impl Engine for Cairn {
    fn put(&self, key: &[u8], value: &[u8]) {
        self.0.put(key, value).expect("cairndb writes");
    }

    fn delete(&self, key: &[u8]) {
        self.0.delete(key).expect("cairndb deletes");
    }

    fn write(&self, entries: &mut dyn Iterator<Item = ([u8; 16], &[u8])>) {
        let mut batch = Batch::new();
        for (key, value) in entries {
            batch.put(key, value);
        }
        self.0.write(batch).expect("cairndb writes");
    }

    fn get(&self, key: &[u8]) -> Option<u64> {
        self.0.get(key).expect("cairndb reads").map(|value| look(&value))
    }

    fn scan(&self, from: &[u8], count: u64) -> (u64, u64) {
        let mut cursor = self.0.cursor(from.to_vec()..);
        let (mut seen, mut sum) = (0, 0);
        while seen < count {
            let Some((key, value)) = cursor.next().expect("cairndb scans") else { break };
            seen += 1;
            sum += key.len() as u64 + look(value);
        }
        (seen, sum)
    }

    fn settle(&self) {
        // An idle database looks twice before it pays what it owes.
        let mut idle = 0;
        while idle < 3 {
            idle = if self.0.maintain().expect("cairndb maintains") { 0 } else { idle + 1 };
        }
    }

    fn close(self: Box<Self>) {
        self.0.close().expect("cairndb closes");
    }
}
