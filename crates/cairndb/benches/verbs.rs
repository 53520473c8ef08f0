//! What each verb costs, on memory, so that the engine is measured and not a disk: `cargo bench -p cairndb`.
//!
//! Terms: one thread, 16-byte keys, 100-byte values, the default memory budget of 256 MiB, no compression. What a
//! write survives is nothing here: memory forgets it with the process.

use std::hint::black_box;
use std::sync::Arc;

use cairndb::storage::Memory;
use cairndb::{Batch, Db, Durability, Options};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

const COUNT: u64 = 200_000;

fn key(index: u64) -> [u8; 16] {
    u128::from(index.wrapping_mul(0x9E37_79B9_7F4A_7C15) % COUNT).to_be_bytes()
}

fn open(storage: &Memory) -> Db {
    let options = Options { durability: Durability::Os, ..Options::default() };
    Db::open_with(Arc::new(storage.clone()), options).unwrap()
}

/// A database whose entries are all in tables, at rest.
fn filled() -> Db {
    let db = open(&Memory::default());
    for index in 0..COUNT {
        db.put(u128::from(index).to_be_bytes(), [index as u8; 100]).unwrap();
    }
    db.compact().unwrap();
    db
}

fn writes(c: &mut Criterion) {
    let db = open(&Memory::default());
    let mut index = 0;
    c.bench_function("put", |b| {
        b.iter(|| {
            index += 1;
            db.put(key(index), [7; 100]).unwrap();
        });
    });
    c.bench_function("batch of 1000", |b| {
        b.iter_batched(
            || {
                let mut batch = Batch::new();
                for _ in 0..1000 {
                    index += 1;
                    batch.put(key(index), [7; 100]);
                }
                batch
            },
            |batch| db.write(batch).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

fn reads(c: &mut Criterion) {
    let db = filled();
    let mut index = 0;
    c.bench_function("get", |b| {
        b.iter(|| {
            index += 1;
            black_box(db.get(key(index)).unwrap().unwrap());
        });
    });
    c.bench_function("get of a missing key", |b| {
        b.iter(|| {
            index += 1;
            let mut missing = key(index).to_vec();
            missing.push(1);
            assert!(db.get(missing).unwrap().is_none());
        });
    });
    c.bench_function("scan of 100", |b| {
        b.iter(|| {
            index += 1;
            assert!(db.scan(key(index)..).take(100).all(|item| item.is_ok()));
        });
    });
    c.bench_function("cursor over all", |b| {
        b.iter(|| {
            let mut cursor = db.cursor(..);
            let mut count = 0;
            while cursor.next().unwrap().is_some() {
                count += 1;
            }
            assert_eq!(count, COUNT);
        });
    });
}

fn opening(c: &mut Criterion) {
    let storage = Memory::default();
    let db = open(&storage);
    db.put("key", "value").unwrap();
    db.close().unwrap();
    c.bench_function("open and close a small database", |b| b.iter(|| open(&storage).close().unwrap()));
}

criterion_group!(benches, writes, reads, opening);
criterion_main!(benches);
