//! RocksDB: built from source by its crate. Index and filter blocks stay outside the cache, as is its default.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Options, WaitForCompactOptions, WriteBatch, WriteOptions,
};

use super::{BACKGROUND_THREADS, BLOCK_BYTES, CACHE_BYTES, Durability, Engine, MEMTABLE_BYTES, Terms, look};

pub(super) const TERMS: Terms = Terms {
    name: "rocksdb",
    is_lsm: true,
    syncs: true,
    maps_files: false,
    version: env!("LIBROCKSDB_SYS_VERSION"),
    loses: "killed: nothing; power: what was not synced, from the end",
    open,
};

struct Rocks {
    db: DB,
    writes: WriteOptions,
}

fn open(dir: &Path, durability: Durability) -> Box<dyn Engine> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES as usize));
    blocks.set_block_size(BLOCK_BYTES);
    blocks.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_write_buffer_size(MEMTABLE_BYTES as usize);
    options.set_max_background_jobs(BACKGROUND_THREADS as i32);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_block_based_table_factory(&blocks);
    let mut writes = WriteOptions::default();
    writes.set_sync(durability == Durability::Sync);
    Box::new(Rocks { db: DB::open(&options, dir).expect("rocksdb opens"), writes })
}

impl Engine for Rocks {
    fn put(&self, key: &[u8], value: &[u8]) {
        self.db.put_opt(key, value, &self.writes).expect("rocksdb writes");
    }

    fn delete(&self, key: &[u8]) {
        self.db.delete_opt(key, &self.writes).expect("rocksdb deletes");
    }

    fn write(&self, entries: &mut dyn Iterator<Item = ([u8; 16], &[u8])>) {
        let mut batch = WriteBatch::default();
        for (key, value) in entries {
            batch.put(key, value);
        }
        self.db.write_opt(batch, &self.writes).expect("rocksdb writes");
    }

    fn get(&self, key: &[u8]) -> Option<u64> {
        self.db.get_pinned(key).expect("rocksdb reads").map(|value| look(&value))
    }

    fn scan(&self, from: &[u8], count: u64) -> (u64, u64) {
        let mut cursor = self.db.raw_iterator();
        cursor.seek(from);
        let (mut seen, mut sum) = (0, 0);
        while seen < count {
            let Some((key, value)) = cursor.item() else { break };
            seen += 1;
            sum += key.len() as u64 + look(value);
            cursor.next();
        }
        cursor.status().expect("rocksdb scans");
        (seen, sum)
    }

    fn settle(&self) {
        self.db.flush().expect("rocksdb flushes");
        self.db.wait_for_compact(&WaitForCompactOptions::default()).expect("rocksdb compacts");
    }

    fn close(self: Box<Self>) {}
}
