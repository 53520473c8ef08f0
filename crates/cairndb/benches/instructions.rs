//! What each verb costs in instructions, on memory: run under callgrind by `cargo xtask instructions`.
//!
//! Instructions repeat to a fraction of a hundredth where times do not, on any machine of one kind. They know nothing of
//! caches and disks: what those cost is for `bench/` to say.
//!
//! Terms: one thread, 16-byte keys in decimal, 100-byte values, durability `Os`, a budget of 24 MiB, lz4.

use std::hint::black_box;
use std::sync::Arc;

use cairndb::storage::Memory;
use cairndb::{Compression, Db, Durability, Options};

/// Entries of the database, which its cache holds.
const COUNT: u64 = 20_000;

/// How often a verb is called while it is counted.
const CALLS: u64 = 2_000;

fn key(number: u64) -> [u8; 16] {
    let mut key = [b'0'; 16];
    let (mut rest, mut place) = (number, key.len());
    while rest > 0 {
        place -= 1;
        key[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

/// Numbers below `COUNT`, scattered.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(7_919) % COUNT
}

fn value(number: u64) -> [u8; 100] {
    std::array::from_fn(|at| (number >> (at % 8)) as u8 ^ at as u8)
}

/// A database of its own, with all even keys written, and nobody who attends to it.
fn written() -> Db {
    let options = Options {
        durability: Durability::Os,
        memory_budget_bytes: 24 << 20,
        compression: Compression::Lz4,
        ..Options::new(Arc::new(|| 1_000), Arc::new(|| 1))
    };
    let db = Db::open_with(Arc::new(Memory::default()), options).unwrap();
    for number in 0..COUNT {
        db.put(key(2 * scattered(number)), value(number)).unwrap();
    }
    db
}

/// The same, compacted, and each block read twice.
fn settled() -> Db {
    let db = written();
    db.compact().unwrap();
    for number in 0..2 * COUNT {
        black_box(db.get(key(2 * (number % COUNT))).unwrap());
    }
    db
}

/// What callgrind counts: it looks for this name.
#[inline(never)]
fn counted_by_callgrind(work: &mut dyn FnMut()) {
    work();
}

fn main() {
    let (verb, mut calls) = (std::env::args().nth(1).unwrap_or_default(), CALLS);
    match verb.as_str() {
        "put" => {
            let db = written();
            counted_by_callgrind(&mut || {
                (0..CALLS).for_each(|number| db.put(key(2 * scattered(number) + 1), value(number)).unwrap());
            });
        }
        "get" => {
            let db = settled();
            counted_by_callgrind(&mut || {
                (0..CALLS).for_each(|number| {
                    assert!(black_box(db.get(key(2 * scattered(number))).unwrap()).is_some());
                });
            });
        }
        "get from memory" => {
            let db = written();
            counted_by_callgrind(&mut || {
                (0..CALLS).for_each(|number| {
                    assert!(black_box(db.get(key(2 * scattered(number))).unwrap()).is_some());
                });
            });
        }
        "miss" => {
            let db = settled();
            counted_by_callgrind(&mut || {
                (0..CALLS).for_each(|number| {
                    assert!(black_box(db.get(key(2 * scattered(number) + 1)).unwrap()).is_none());
                });
            });
        }
        "scan of 100" => {
            let db = settled();
            calls = CALLS / 100;
            counted_by_callgrind(&mut || {
                for number in 0..CALLS / 100 {
                    let mut cursor = db.cursor(key(2 * (scattered(number) % (COUNT - 100)))..);
                    for _ in 0..100 {
                        assert!(black_box(cursor.next().unwrap()).is_some());
                    }
                }
            });
        }
        "flush an entry" => {
            let db = written();
            calls = COUNT;
            counted_by_callgrind(&mut || db.flush().unwrap());
        }
        "compact an entry" => {
            let db = settled();
            for number in 0..COUNT {
                db.put(key(2 * scattered(number)), value(number + 1)).unwrap();
            }
            db.flush().unwrap();
            calls = 2 * COUNT;
            counted_by_callgrind(&mut || db.compact().unwrap());
        }
        _ => {
            // Without a verb, as `cargo bench` and `cargo test --benches` call it, there is nothing to count.
            println!("put, get, get from memory, miss, scan of 100, flush an entry, compact an entry");
            return;
        }
    }
    println!("calls {calls}");
}
