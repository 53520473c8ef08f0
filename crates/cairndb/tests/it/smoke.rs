//! Every verb once, in memory.

use std::sync::Arc;

use cairndb::storage::Memory;
use cairndb::{Batch, Condition, Db, Outcome};

use crate::common::{TINY, options};

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
