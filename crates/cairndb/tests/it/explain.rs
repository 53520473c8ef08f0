//! Explain: what a read looks at, and that the statistics count it.

use cairndb::storage::Memory;
use cairndb::{LookAnswer, LookPlace};

use crate::common;

#[test]
fn a_read_is_told_place_by_place() {
    let db = common::open(&Memory::default(), 1);
    db.put("deep", "1").unwrap();
    db.put("hidden", "2").unwrap();
    db.compact().unwrap();
    db.delete("hidden").unwrap();
    db.put("other", "3").unwrap();
    db.flush().unwrap();
    db.put("fresh", "4").unwrap();
    let answers = |key: &str| -> Vec<(bool, LookAnswer)> {
        let looks = db.explain(key).unwrap();
        let in_table = |place| matches!(place, LookPlace::Table { .. });
        looks.iter().map(|look| (in_table(look.place), look.answer)).collect()
    };
    assert_eq!(answers("fresh"), [(false, LookAnswer::Value(5))]);
    assert_eq!(answers("hidden"), [(false, LookAnswer::NotThere), (true, LookAnswer::Delete(3))]);
    assert_eq!(answers("deep"), [(false, LookAnswer::NotThere), (true, LookAnswer::Value(1))]);
    db.delete_range("a".."z").unwrap();
    assert_eq!(answers("deep"), [(false, LookAnswer::Delete(6))]);

    let looks = db.explain("hidden2").unwrap();
    assert!(looks.iter().all(|look| look.block.is_none() || look.answer != LookAnswer::FilteredOut));
}

#[test]
fn a_block_is_cached_the_second_time() {
    let db = common::open(&Memory::default(), 1);
    db.put("key", "value").unwrap();
    db.flush().unwrap();
    let cached = || db.explain("key").unwrap()[1].block.expect("the table was asked").cached;
    assert_eq!((cached(), cached()), (false, true));
}

#[test]
fn filters_are_counted() {
    let db = common::open(&Memory::default(), 1);
    (0..1_000).for_each(|n| db.put(format!("key {n:04}"), "value").unwrap());
    db.flush().unwrap();
    for n in 0..1_000 {
        assert!(db.get(format!("key {n:04}x")).unwrap().is_none());
        assert!(db.get(format!("key {n:04}")).unwrap().is_some());
    }
    let stats = db.stats();
    let (passed_over, let_through) = (stats.filter_passed_over, stats.filter_let_through);
    // Some of the keys lie behind a table, or between two.
    assert!((980..1_000).contains(&(passed_over + let_through)), "{passed_over} and {let_through}");
    assert!(passed_over > 950, "{passed_over}");
}

#[test]
fn what_the_cache_has_is_counted() {
    let db = common::open(&Memory::default(), 1);
    db.put("key", "value").unwrap();
    db.flush().unwrap();
    let counts_after_a_get = || {
        assert!(db.get("key").unwrap().is_some());
        let stats = db.stats();
        (stats.cache_hits, stats.cache_misses)
    };
    let (first, second) = (counts_after_a_get(), counts_after_a_get());
    assert_eq!(first.0, 0, "nothing had been read");
    assert!(first.1 > 0 && second.1 == first.1, "the block is missed once: {first:?}, {second:?}");
    assert!(second.0 > first.0, "and then it is there: {first:?}, {second:?}");
}
