//! Every verb once, and promises that need no crash to be tried.

use std::sync::Arc;

use cairndb::storage::Memory;
use cairndb::{Batch, Condition, Db, Error, Options, Outcome};

use crate::common::{TINY, contents, open, options};

#[test]
fn verbs() {
    let storage = Arc::new(Memory::default());
    let db = Db::open_with(storage.clone(), options(1 << 20, 1)).unwrap();
    db.put("a", "1").unwrap();
    db.put("b", "2").unwrap();
    db.delete("a").unwrap();
    assert_eq!(db.get("a").unwrap(), None);
    assert_eq!(db.get("b").unwrap().unwrap(), "2");
    let mut batch = Batch::new();
    batch.put("c", "3");
    assert_eq!(db.write_if(batch.clone(), &[Condition::absent("b")]).unwrap(), Outcome::Unmet { index: 0 });
    assert_eq!(db.write_if(batch, &[Condition::absent("c")]).unwrap(), Outcome::Written(4));
    db.close().unwrap();
    let db = Db::open_with(storage.clone(), options(1 << 20, 1)).unwrap();
    assert!(db.recovery().sealed);
    assert_eq!(db.get("c").unwrap().unwrap(), "3");
    db.flush().unwrap();
    assert_eq!(db.get("c").unwrap().unwrap(), "3");
    db.delete_range("b".."c").unwrap();
    let left: Vec<_> = db.scan(..).map(|item| item.unwrap().0).collect();
    assert_eq!(left, [b"c"]);
}

#[test]
fn a_condition_that_can_never_be_met_is_refused() {
    let db = open(&Memory::default(), 1);
    let write_if = |condition: Condition| {
        let mut batch = Batch::new();
        batch.put("a", "1");
        db.write_if(batch, &[condition])
    };
    let long = Condition::absent(vec![b'k'; 65_536]);
    assert!(matches!(write_if(long), Err(Error::Invalid { what }) if what.contains("65536 bytes long")));
    let engines = Condition::absent("a").in_keyspace(255);
    assert!(matches!(write_if(engines), Err(Error::Invalid { what }) if what.contains("keyspace 255")));
    assert_eq!((db.get("a").unwrap(), db.stats().seq), (None, 0));
}

/// The longest key, with its keyspace before it, is one byte longer than its limit.
#[test]
fn the_longest_key_stands_in_a_table() {
    let db = Db::open_with(Arc::new(Memory::default()), options(1 << 20, 1)).unwrap();
    let key = vec![b'k'; 65_535];
    db.put(&key, "v").unwrap();
    db.put(&key[1..], "shorter").unwrap();
    db.flush().unwrap();
    assert_eq!(db.get(&key).unwrap().unwrap(), "v");
    assert_eq!(contents(&db), [(key[1..].to_vec(), b"shorter".to_vec()), (key, b"v".to_vec())]);
}

#[test]
fn many_keys_through_every_level() {
    let storage = Arc::new(Memory::default());
    let db = Db::open_with(storage.clone(), options(TINY, 1)).unwrap();
    for round in 0..3_u32 {
        for key in 0..20_000_u32 {
            let key = key * 7919 % 20_000;
            db.put(key.to_be_bytes(), (key + round).to_be_bytes()).unwrap();
        }
    }
    while db.maintain().unwrap() {}
    for key in 0..20_000_u32 {
        assert_eq!(db.get(key.to_be_bytes()).unwrap().unwrap(), (key + 2).to_be_bytes());
    }
    assert_eq!(db.scan(..).count(), 20_000);
    assert_eq!(db.scan(..).rev().count(), 20_000);
    db.close().unwrap();
    let db = Db::open_with(storage, options(TINY, 1000)).unwrap();
    assert_eq!(db.scan(..).count(), 20_000);
    db.compact().unwrap();
    assert_eq!(db.scan(..).count(), 20_000);
}

#[test]
fn a_reader_that_outlives_its_snapshot_still_sees_its_moment() {
    let db = open(&Memory::default(), 1);
    db.put("k", "1").unwrap();
    let snapshot = db.snapshot().unwrap();
    let reader = cairndb::Reader::clone(&snapshot);
    drop(snapshot);
    db.put("k", "2").unwrap();
    db.compact().unwrap();
    assert_eq!(reader.get("k").unwrap().unwrap(), "1");
    drop(reader);
    db.compact().unwrap();
    assert_eq!(db.stats().levels[6].entries, 1);
}

/// Where only the newest entry counts: an older one that expired says nothing of a key that was written or deleted since.
#[test]
fn when_a_key_expired_is_known_until_it_is_written_again() {
    let db = Options::default().open_storage(Arc::new(Memory::default())).unwrap();
    db.put_with_expiry("gone", "1", 1_000).unwrap();
    db.put_with_expiry("later", "1", u64::MAX).unwrap();
    db.put("stays", "1").unwrap();
    assert_eq!((db.get("gone").unwrap(), db.expired_at_ms("gone").unwrap()), (None, Some(1_000)));
    for key in ["later", "stays", "never"] {
        assert_eq!(db.expired_at_ms(key).unwrap(), None, "{key}");
    }
    db.put("gone", "2").unwrap();
    assert_eq!(db.expired_at_ms("gone").unwrap(), None);
    db.put_with_expiry("gone", "3", 2_000).unwrap();
    assert_eq!(db.expired_at_ms("gone").unwrap(), Some(2_000));
    db.delete("gone").unwrap();
    assert_eq!(db.expired_at_ms("gone").unwrap(), None);
    db.put_with_expiry("gone", "4", 3_000).unwrap();
    db.flush().unwrap();
    assert_eq!(db.expired_at_ms("gone").unwrap(), None, "a flush leaves it out");
}

#[test]
fn many_overlapping_range_deletes_are_counted_and_flushed() {
    let db = open(&Memory::default(), 1);
    for key in 0..2000_u32 {
        db.put(key.to_be_bytes(), "v").unwrap();
    }
    let mut largest = 0;
    for key in (0..1500_u32).rev() {
        db.delete_range(key.to_be_bytes()..1800_u32.to_be_bytes()).unwrap();
        largest = largest.max(db.stats().memtable_bytes);
    }
    assert_eq!(contents(&db).len(), 200);
    assert!(db.stats().flushes > 2 && largest < TINY, "{largest}");
    db.compact().unwrap();
    assert_eq!(contents(&db).len(), 200);
}

#[test]
fn compact_ends_while_others_write() {
    let db = open(&Memory::default(), 1);
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for key in 0_u32.. {
                db.put((key % 3000).to_be_bytes(), [7; 100]).unwrap();
                if ended.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..5 {
            db.compact().unwrap();
        }
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(db.verify().unwrap().ok());
}

#[test]
fn approximate_len_is_near() {
    let db = open(&Memory::default(), 1);
    for key in 0..2000_u32 {
        db.put(key.to_be_bytes(), [7; 100]).unwrap();
    }
    let all = db.approximate_len(..).unwrap();
    let half = db.approximate_len(..1000_u32.to_be_bytes()).unwrap();
    assert!((200_000..300_000).contains(&all), "{all}");
    assert!((90_000..160_000).contains(&half), "{half}");
    assert_eq!(db.approximate_len(5000_u32.to_be_bytes()..).unwrap(), 0);
}
