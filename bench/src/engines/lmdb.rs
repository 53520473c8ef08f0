//! LMDB, through heed: a transaction for each call. At `Os` its syncs are switched off.

use std::ops::Bound;
use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, RwTxn, WithTls};

use super::{Durability, Engine, Terms, look};

pub(super) const TERMS: Terms = Terms {
    name: "lmdb",
    is_lsm: false,
    syncs: true,
    maps_files: true,
    version: env!("HEED_VERSION"),
    loses: "killed: nothing; power: perhaps the whole database, since writes are not ordered",
    open,
};

/// Addresses, not memory.
const MAP_BYTES: usize = 32 << 30;

struct Lmdb {
    env: Env<WithTls>,
    entries: Database<'static, Bytes, Bytes>,
}

fn open(dir: &Path, durability: Durability) -> Box<dyn Engine> {
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES);
    // SAFETY: the directory is this process's own, and nobody else changes the file under the mapping. Without syncs
    // a lost power supply may spoil the database, and nobody looks at it after one.
    let env = unsafe {
        if durability == Durability::Os {
            options.flags(EnvFlags::NO_SYNC);
        }
        options.open(dir).expect("lmdb opens")
    };
    let transaction = env.write_txn().expect("lmdb begins");
    let made = env.create_databases_and_commit(transaction, |opener, transaction| {
        let entries = opener.create_database::<Bytes, Bytes>(transaction, None)?;
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(entries))
    });
    let entries = made.expect("lmdb opens a database").unwrap_commit();
    Box::new(Lmdb { env, entries })
}

impl Lmdb {
    fn commit(&self, change: impl FnOnce(&mut RwTxn<'_>)) {
        let mut transaction = self.env.write_txn().expect("lmdb begins");
        change(&mut transaction);
        transaction.commit().expect("lmdb commits");
    }
}

impl Engine for Lmdb {
    fn put(&self, key: &[u8], value: &[u8]) {
        self.commit(|transaction| self.entries.put(transaction, key, value).expect("lmdb writes"));
    }

    fn delete(&self, key: &[u8]) {
        self.commit(|transaction| {
            self.entries.delete(transaction, key).expect("lmdb deletes");
        });
    }

    fn write(&self, new: &mut dyn Iterator<Item = ([u8; 16], &[u8])>) {
        self.commit(|transaction| {
            for (key, value) in new {
                self.entries.put(transaction, &key, value).expect("lmdb writes");
            }
        });
    }

    fn get(&self, key: &[u8]) -> Option<u64> {
        let transaction = self.env.read_txn().expect("lmdb begins");
        self.entries.get(&transaction, key).expect("lmdb reads").map(look)
    }

    fn scan(&self, from: &[u8], count: u64) -> (u64, u64) {
        let transaction = self.env.read_txn().expect("lmdb begins");
        let range = (Bound::Included(from), Bound::Unbounded);
        let (mut seen, mut sum) = (0, 0);
        for entry in self.entries.range(&transaction, &range).expect("lmdb scans").take(count as usize) {
            let (key, value) = entry.expect("lmdb scans");
            seen += 1;
            sum += key.len() as u64 + look(value);
        }
        (seen, sum)
    }

    fn settle(&self) {}

    fn close(self: Box<Self>) {}
}
