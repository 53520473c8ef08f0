use cairndb_storage::Memory;

use super::*;
use crate::sstable::{TableCounts, TableFiles};

const SHAPE: Shape = Shape { base_bytes: 1000, slack_bytes: 100, is_tight: false };
const TIGHT: Shape = Shape { is_tight: true, ..SHAPE };

/// Nobody reads the past, and nothing has expired.
fn now() -> Live {
    Live { seqs: vec![SeqNo::MAX], now_ms: 1000 }
}

/// A table of so many bytes, all of them in entries of ten: `"5 a-f 400"` for level, stretch and length. Tables are numbered
/// from 1, and in level 0 a later one is newer.
fn version(tables: &[&str]) -> Version {
    version_with(tables, |_| {})
}

/// The same; `change` may change each table.
fn version_with(tables: &[&str], change: impl Fn(&mut TableMeta)) -> Version {
    let metas = tables.iter().zip(1..).map(|(text, number)| {
        let mut words = text.split(' ');
        let mut word = || words.next().expect("a word");
        let level = word().parse().expect("a level");
        let (start, end) = word().split_once('-').expect("a stretch");
        let len = word().parse().expect("a length");
        let counts = TableCounts {
            entries: len / 10,
            data_len: len,
            entry_len_max: 10,
            seq_min: number,
            seq_max: number,
            ..TableCounts::default()
        };
        let (start, end) = (start.into(), end.into());
        let mut meta = TableMeta { number, len, start, end, counts, ..TableMeta::default() };
        change(&mut meta);
        (level, meta)
    });
    let metas: Vec<(usize, TableMeta)> = metas.collect();
    let files = Arc::new(TableFiles::new(Arc::new(Memory::default()), 0, 1));
    Version::new(metas.iter().map(|(level, meta)| (*level, meta)), &files)
}

/// `"0:3 0:2 6:1 > 6"`: inputs by level and number, and the level of the output; `moved` behind it, if so.
fn told(task: Option<Task>) -> String {
    let Some(task) = task else { return "nothing".into() };
    let inputs: Vec<String> =
        task.inputs.iter().map(|(level, table)| format!("{level}:{}", table.meta.number)).collect();
    format!("{} > {}{}", inputs.join(" "), task.level, if task.is_move { " moved" } else { "" })
}

fn told_owed(owed: Owed) -> String {
    match owed {
        Owed::Nothing => "nothing".into(),
        Owed::Flush => "flush".into(),
        Owed::Compaction(task) => told(Some(task)),
    }
}

fn due_in(tables: &[&str]) -> String {
    told(due(&version(tables), SHAPE, &now()))
}

fn owed_in(version: &Version, waiting: Waiting) -> String {
    told_owed(owed(version, SHAPE, &now(), waiting))
}

#[test]
fn four_runs_go_down() {
    assert_eq!(due_in(&[]), "nothing");
    assert_eq!(due_in(&["0 a-f 100", "0 a-f 100", "0 a-f 100"]), "nothing");
    assert_eq!(due_in(&["0 a-f 100", "0 a-f 100", "0 a-f 100", "0 a-f 100"]), "0:4 0:3 0:2 0:1 > 6");
}

#[test]
fn runs_take_along_what_they_overlap() {
    let runs = ["0 b-d 100", "0 c-f 100", "0 b-d 100", "0 b-d 100"];
    let below = ["6 a-b 900", "6 b-c 900", "6 e-g 900", "6 g-k 900"];
    assert_eq!(due_in(&[runs, below].concat()), "0:4 0:3 0:2 0:1 6:6 6:7 > 6");
}

#[test]
fn the_base_follows_the_last_level() {
    let runs = ["0 a-f 3", "0 a-f 3", "0 a-f 3", "0 a-f 3"];
    let in_tree_of = |last: &str| due_in(&[&runs[..], &[last]].concat());
    // A tenth of the last level is not worth a level of its own below 1000 bytes.
    assert_eq!(in_tree_of("6 x-z 9999"), "0:4 0:3 0:2 0:1 > 6");
    assert_eq!(in_tree_of("6 x-z 10000"), "0:4 0:3 0:2 0:1 > 5");
    assert_eq!(in_tree_of("6 x-z 99999"), "0:4 0:3 0:2 0:1 > 5");
    assert_eq!(in_tree_of("6 x-z 100000"), "0:4 0:3 0:2 0:1 > 4");
    // There is no level between 0 and 1.
    assert_eq!(in_tree_of("6 x-z 100000000000"), "0:4 0:3 0:2 0:1 > 1");
}

#[test]
fn few_bytes_over_many_become_one_run() {
    // 12 over 10 times as much and a little: rewriting that for them is too much.
    let runs = ["0 a-f 3", "0 a-f 3", "0 a-f 3", "0 a-f 3"];
    let over = |below: &'static str, more: &[&'static str]| [&runs[..], more, &[below]].concat();
    assert_eq!(due_in(&over("6 a-f 120", &[])), "0:4 0:3 0:2 0:1 6:5 > 6");
    assert_eq!(due_in(&over("6 a-f 121", &[])), "0:4 0:3 0:2 0:1 > 0");
    assert_eq!(told(due(&version(&over("6 a-f 121", &[])), TIGHT, &now())), "0:1 6:5 > 6");
    // From eight runs on they go down all the same.
    let four_more = over("6 a-f 999", &runs);
    assert_eq!(due_in(&four_more), "0:8 0:7 0:6 0:5 0:4 0:3 0:2 0:1 6:9 > 6");
    assert_eq!(due_in(&four_more[1..]), "0:7 0:6 0:5 0:4 0:3 0:2 0:1 > 0");
}

#[test]
fn runs_of_about_one_size_become_one() {
    // The third is no more than four times the two before it, the fourth is more than four times all three.
    let last = "6 a-f 9999";
    assert_eq!(due_in(&["0 a-f 197", "0 a-f 40", "0 a-f 4", "0 a-f 6", last]), "0:4 0:3 0:2 0:1 > 0");
    assert_eq!(due_in(&["0 a-f 201", "0 a-f 40", "0 a-f 4", "0 a-f 6", last]), "0:4 0:3 0:2 > 0");
    assert_eq!(due_in(&["0 a-f 9", "0 a-f 41", "0 a-f 4", "0 a-f 6", last]), "0:4 0:3 > 0");
    // The two newest always: they alone make one run less.
    assert_eq!(due_in(&["0 a-f 100", "0 a-f 500", "0 a-f 90", "0 a-f 2", last]), "0:4 0:3 > 0");
}

#[test]
fn a_level_that_has_outgrown_its_target_gives_its_cheapest_table() {
    // The last level makes 1000 the target of level 5.
    let last = ["6 a-c 3000", "6 c-e 2000", "6 e-g 5000"];
    let tree = |upper: &[&'static str]| [upper, &last].concat();
    assert_eq!(due_in(&tree(&["5 a-c 500", "5 c-e 500"])), "nothing");
    assert_eq!(due_in(&tree(&["5 a-c 600", "5 c-e 410"])), "5:2 6:4 > 6");
    // 3000 for 900 is less than 2000 for 150.
    assert_eq!(due_in(&tree(&["5 a-c 900", "5 c-e 150"])), "5:1 6:3 > 6");
    // What overlaps nothing is moved.
    assert_eq!(due_in(&tree(&["5 a-c 900", "5 g-k 150"])), "5:2 > 6 moved");
}

#[test]
fn the_greatest_pressure_comes_first() {
    // Levels 4 and 5 with targets of 1000 and 10000.
    let last = "6 a-c 100000";
    assert_eq!(due_in(&["4 d-e 1200", "5 f-g 13000", last]), "5:2 > 6 moved");
    assert_eq!(due_in(&["4 d-e 1300", "5 f-g 12000", last]), "4:1 > 5 moved");
    // Four runs are a pressure of 100, five of 125.
    let runs = ["0 a-b 30000", "0 a-b 30000", "0 a-b 30000", "0 a-b 30000", "0 a-b 30000"];
    assert_eq!(due_in(&[&["4 d-e 1210", last], &runs[..4]].concat()), "4:1 > 5 moved");
    assert_eq!(due_in(&[&["4 d-e 1250", last], &runs[..]].concat()), "0:7 0:6 0:5 0:4 0:3 > 4");
    assert_eq!(due_in(&[&["4 d-e 1260", last], &runs[..]].concat()), "4:1 > 5 moved");
}

#[test]
fn what_a_smaller_tree_has_left_above_goes_down_first() {
    let runs = ["0 a-b 30", "0 a-b 30", "0 a-b 30", "0 a-b 30"];
    assert_eq!(due_in(&[&["3 a-b 10", "4 a-b 10", "6 a-c 20000"], &runs[..]].concat()), "4:2 > 5 moved");
    assert_eq!(due_in(&[&["3 a-b 10", "6 a-c 20000"], &runs[..]].concat()), "3:1 > 4 moved");
    assert_eq!(due_in(&[&["5 a-b 10", "6 a-c 9000"], &runs[..]].concat()), "5:1 6:2 > 6");
}

#[test]
fn deletes_go_down_before_their_level_is_full() {
    let deletes = |count: u64, range_deletes: u64| {
        let tables = ["4 a-c 100", "4 c-e 100", "6 a-g 100000"];
        let version = version_with(&tables, |meta| {
            if meta.number == 2 {
                (meta.counts.deletes, meta.counts.range_deletes) = (count, range_deletes);
            }
        });
        told(due(&version, SHAPE, &now()))
    };
    assert_eq!(deletes(5, 0), "nothing");
    assert_eq!(deletes(6, 0), "4:2 > 5 moved");
    assert_eq!(deletes(0, 1), "4:2 > 5 moved");
}

#[test]
fn a_move_into_the_last_level_leaves_no_deletes() {
    let with = |tables: &[&str], deletes: u64, range_deletes: u64| {
        let version = version_with(tables, |meta| {
            if meta.number == 1 {
                (meta.counts.deletes, meta.counts.range_deletes) = (deletes, range_deletes);
            }
        });
        told(everything(&version, SHAPE, &now(), SeqNo::MAX))
    };
    for deletes in [(0, 1), (1, 0)] {
        assert_eq!(with(&["5 a-b 100", "6 c-d 100"], deletes.0, deletes.1), "5:1 > 6");
        assert_eq!(with(&["4 a-b 100", "6 c-d 100"], deletes.0, deletes.1), "4:1 > 5 moved");
        assert_eq!(with(&["0 a-b 100"], deletes.0, deletes.1), "0:1 > 6");
    }
    assert_eq!(with(&["5 a-b 100", "6 c-d 100"], 0, 0), "5:1 > 6 moved");
    assert_eq!(with(&["0 a-b 100"], 0, 0), "0:1 > 6 moved");
}

#[test]
fn a_full_disk_takes_one_run_at_a_time_and_moves_none() {
    let tables = ["0 a-c 100", "0 b-f 100", "0 e-g 100", "0 a-g 100", "6 a-c 900", "6 e-g 900"];
    assert_eq!(told(due(&version(&tables), TIGHT, &now())), "0:1 6:5 > 6");
    let apart = ["0 x-z 100", "0 b-f 100", "0 e-g 100", "0 a-g 100", "6 a-c 900"];
    assert_eq!(told(due(&version(&apart), TIGHT, &now())), "0:1 > 6");
}

#[test]
fn everything_goes_down_and_then_nothing_is_left() {
    let all = |tables: &[&str], seq| told(everything(&version(tables), SHAPE, &now(), seq));
    assert_eq!(all(&[], SeqNo::MAX), "nothing");
    // Level 0 goes to the first level that has a table.
    let tree = ["0 a-c 100", "3 a-b 100", "5 a-b 100", "6 a-c 100"];
    assert_eq!(all(&tree, SeqNo::MAX), "0:1 3:2 > 3");
    assert_eq!(all(&tree, 1), "0:1 3:2 > 3");
    // What was written later is no business of this.
    assert_eq!(all(&tree, 0), "3:2 > 4 moved");
    assert_eq!(all(&tree[1..], SeqNo::MAX), "3:1 > 4 moved");
    assert_eq!(all(&tree[2..], SeqNo::MAX), "5:1 6:2 > 6");
    assert_eq!(all(&tree[3..], SeqNo::MAX), "nothing");
}

#[test]
fn what_nobody_can_see_is_rewritten_where_it_is() {
    let stale_in = |stale_len: u64, live: &Live| {
        let version = version_with(&["6 a-c 1000", "6 c-e 1000"], |meta| {
            if meta.number == 2 {
                meta.counts.stale_len = stale_len;
            }
        });
        (
            told(due(&version, SHAPE, live)),
            told_owed(owed(&version, SHAPE, live, Waiting::Entries(0))),
            told(everything(&version, SHAPE, live, SeqNo::MAX)),
        )
    };
    let three = |due: &str, owed: &str, everything: &str| (due.into(), owed.into(), everything.into());
    let rewritten = "6:2 > 6";
    assert_eq!(stale_in(0, &now()), three("nothing", "nothing", "nothing"));
    assert_eq!(stale_in(1, &now()), three("nothing", "nothing", rewritten));
    assert_eq!(stale_in(25, &now()), three("nothing", "nothing", rewritten));
    assert_eq!(stale_in(26, &now()), three("nothing", rewritten, rewritten));
    assert_eq!(stale_in(500, &now()), three("nothing", rewritten, rewritten));
    assert_eq!(stale_in(501, &now()), three(rewritten, rewritten, rewritten));
    // Somebody still reads what was before number 2.
    let held = Live { seqs: vec![1, SeqNo::MAX], now_ms: 1000 };
    assert_eq!(stale_in(501, &held), three("nothing", "nothing", "nothing"));
    let free = Live { seqs: vec![2, SeqNo::MAX], now_ms: 1000 };
    assert_eq!(stale_in(501, &free), three(rewritten, rewritten, rewritten));
    // Somebody reads at each number.
    assert_eq!(stale_in(501, &Live { seqs: vec![], now_ms: 1000 }).0, rewritten);
}

#[test]
fn what_has_expired_and_what_range_deletes_hide_is_stale() {
    let changed = |change: fn(&mut TableCounts), live: &Live| {
        let version = version_with(&["6 a-c 1000"], |meta| change(&mut meta.counts));
        told(due(&version, SHAPE, live))
    };
    let expiring = |counts: &mut TableCounts| {
        (counts.expiring, counts.expiring_len) = (100, 1000);
        (counts.expiry_min_ms, counts.expiry_max_ms) = (1001, 2000);
    };
    assert_eq!(changed(expiring, &now()), "nothing");
    assert_eq!(changed(expiring, &Live { seqs: vec![9], now_ms: 1500 }), "nothing");
    // The clock is everybody's, whoever reads the past.
    assert_eq!(changed(expiring, &Live { seqs: vec![0, 9], now_ms: 1501 }), "6:1 > 6");
    let both = |counts: &mut TableCounts| {
        (counts.expiring, counts.expiring_len, counts.stale_len) = (25, 250, 251);
        (counts.expiry_min_ms, counts.expiry_max_ms) = (1, 2);
    };
    assert_eq!(changed(both, &now()), "6:1 > 6");
    let range_deletes = |counts: &mut TableCounts| counts.range_deletes = 1;
    assert_eq!(changed(range_deletes, &now()), "6:1 > 6");
    assert_eq!(changed(range_deletes, &Live { seqs: vec![0, 9], now_ms: 0 }), "nothing");
}

#[test]
fn what_lies_in_memory_is_owed_when_it_may_hide_much() {
    let last = version(&["6 a-c 10000"]);
    // 14 hundredths of the last level are 1400; an entry is 10 bytes and 24.
    assert_eq!(owed_in(&last, Waiting::Entries(41)), "nothing");
    assert_eq!(owed_in(&last, Waiting::Entries(42)), "flush");
    assert_eq!(owed_in(&last, Waiting::RangeDeletes), "flush");
    // However many entries, they hide no more than there is.
    assert_eq!(owed_in(&version(&["6 a-c 100"]), Waiting::Entries(u64::MAX)), "nothing");
    assert_eq!(owed_in(&version(&["6 a-c 101"]), Waiting::Entries(u64::MAX)), "flush");
    assert_eq!(owed_in(&version(&["6 a-c 100"]), Waiting::RangeDeletes), "nothing");
    assert_eq!(owed_in(&version(&["6 a-c 101"]), Waiting::RangeDeletes), "flush");
    assert_eq!(owed_in(&version(&[]), Waiting::Entries(9)), "nothing");
    // With 700 in level 5 and as much under it, nothing more may be in memory.
    let both = version(&["5 a-b 100", "5 b-c 350", "6 a-b 250", "6 b-c 9750"]);
    assert_eq!(owed_in(&both, Waiting::Entries(0)), "5:1 6:3 > 6");
}

#[test]
fn the_level_that_hides_most_goes_down() {
    // Entries of 10 bytes are 34 with what each costs: 30 of them may hide 1020, and weigh 300 more.
    let tree = |upper: [&'static str; 2]| version(&[upper[0], upper[1], "6 a-c 9000", "6 d-e 1000"]);
    assert_eq!(owed_in(&tree(["4 x-y 10", "5 a-c 310"]), Waiting::Entries(0)), "nothing");
    assert_eq!(owed_in(&tree(["4 x-y 30", "5 a-c 310"]), Waiting::Entries(0)), "nothing");
    assert_eq!(owed_in(&tree(["4 x-y 90", "5 a-c 310"]), Waiting::Entries(0)), "5:2 6:3 > 6");
    assert_eq!(owed_in(&tree(["4 x-y 1390", "5 a-c 310"]), Waiting::Entries(0)), "4:1 > 5 moved");
    // No more is hidden than lies under it.
    assert_eq!(owed_in(&tree(["4 d-e 390", "5 x-y 10"]), Waiting::Entries(0)), "nothing");
    assert_eq!(owed_in(&tree(["4 d-e 410", "5 x-y 10"]), Waiting::Entries(0)), "4:1 > 5 moved");
    // Level 0 goes to the first level that there is.
    assert_eq!(owed_in(&tree(["0 a-c 900", "5 a-c 310"]), Waiting::Entries(0)), "0:1 5:2 > 5");
}

#[test]
fn range_deletes_may_hide_all_that_lies_under_them() {
    let over = |stretch: &str| {
        let version = version_with(&[stretch, "6 a-c 9000", "6 d-e 1390"], |meta| {
            meta.counts.range_deletes = u64::from(meta.number == 1);
        });
        owed_in(&version, Waiting::Entries(0))
    };
    assert_eq!(over("5 d-e 10"), "nothing");
    assert_eq!(over("5 d-e 80"), "5:1 6:3 > 6");
    assert_eq!(over("5 a-c 10"), "5:1 6:2 > 6");
}

/// A manifest may say of each table that it is 2^48 bytes long: what lies under one, times a thousand, overflowed.
#[test]
fn lengths_that_no_disk_has_ended_in_a_panic() {
    let names: Vec<String> =
        (0..70_u32).map(|n| format!("6 {0:02}-{1:02} {2}", n, n + 1, (1_u64 << 48) - 1)).collect();
    let tables: Vec<&str> = names.iter().map(String::as_str).chain(["5 00-70 1"]).collect();
    let version = version_with(&tables, |meta| meta.counts.range_deletes = u64::from(meta.number == 71));
    let told = owed_in(&version, Waiting::Entries(0));
    assert!(told.starts_with("5:71 6:1 "), "{told}");
}

#[test]
fn pressure_tells_how_near_a_level_is_to_its_task() {
    let pressures = |tables: &[&str]| SHAPE.pressures(&version(tables));
    assert_eq!(pressures(&[]), [0; LEVEL_COUNT]);
    assert_eq!(pressures(&["0 a-f 100", "0 a-f 100", "0 a-f 100"])[0], 75);
    // The last level holds 20,000, so level 5 may hold 2,000; nothing above it is worth having.
    assert_eq!(pressures(&["5 a-c 1000", "6 a-f 20000"]), [0, 0, 0, 0, 0, 50, 0]);
    assert_eq!(due_in(&["5 a-c 2000", "6 a-f 20000"]), "nothing");
    assert_eq!(pressures(&["5 a-c 2020", "6 a-f 20000"])[5], 101);
    assert_eq!(due_in(&["5 a-c 2020", "6 a-f 20000"]), "5:1 6:2 > 6");
}
