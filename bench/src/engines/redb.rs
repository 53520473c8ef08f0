//! `redb`: a transaction for each call, since a call sees what was written before it.

use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};

use super::{CACHE_BYTES, Durability, Engine, Terms, look};

pub(super) const TERMS: Terms = Terms {
    name: "redb",
    is_lsm: false,
    syncs: true,
    maps_files: true,
    version: env!("REDB_VERSION"),
    loses: "killed: all since the last synced commit; power: the same",
    open,
};

const ENTRIES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("entries");

struct Redb {
    db: Database,
    durability: redb::Durability,
}

fn open(dir: &Path, durability: Durability) -> Box<dyn Engine> {
    let path = dir.join("entries.redb");
    let db = Database::builder().set_cache_size(CACHE_BYTES as usize).create(path).expect("redb opens");
    let durability = match durability {
        Durability::Os => redb::Durability::None,
        Durability::Sync => redb::Durability::Immediate,
    };
    let store = Redb { db, durability };
    store.commit(|_| ());
    Box::new(store)
}

impl Redb {
    fn commit(&self, change: impl FnOnce(&mut redb::Table<'_, &'static [u8], &'static [u8]>)) {
        let mut transaction: WriteTransaction = self.db.begin_write().expect("redb begins");
        transaction.set_durability(self.durability).expect("redb knows how durable");
        change(&mut transaction.open_table(ENTRIES).expect("redb opens a table"));
        transaction.commit().expect("redb commits");
    }
}

impl Engine for Redb {
    fn put(&self, key: &[u8], value: &[u8]) {
        self.commit(|entries| drop(entries.insert(key, value).expect("redb writes")));
    }

    fn delete(&self, key: &[u8]) {
        self.commit(|entries| drop(entries.remove(key).expect("redb deletes")));
    }

    fn write(&self, new: &mut dyn Iterator<Item = ([u8; 16], &[u8])>) {
        self.commit(|entries| {
            for (key, value) in new {
                entries.insert(&key[..], value).expect("redb writes");
            }
        });
    }

    fn get(&self, key: &[u8]) -> Option<u64> {
        let transaction = self.db.begin_read().expect("redb begins");
        let entries = transaction.open_table(ENTRIES).expect("redb opens a table");
        entries.get(key).expect("redb reads").map(|value| look(value.value()))
    }

    fn scan(&self, from: &[u8], count: u64) -> (u64, u64) {
        let transaction = self.db.begin_read().expect("redb begins");
        let entries = transaction.open_table(ENTRIES).expect("redb opens a table");
        let (mut seen, mut sum) = (0, 0);
        for entry in entries.range(from..).expect("redb scans").take(count as usize) {
            let (key, value) = entry.expect("redb scans");
            seen += 1;
            sum += key.value().len() as u64 + look(value.value());
        }
        (seen, sum)
    }

    fn settle(&self) {}

    fn close(self: Box<Self>) {}
}
