//! Loads that are killed as they acknowledge lines, and processes in great number. (`tests/rigs/kill.sh` kills a writer
//! with several threads, oftener.)

use std::fs;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use crate::{Cairn, Dice};

/// How many lines each load has.
const LINES: u64 = 20_000;

/// How many lines make a batch.
const BATCH: u64 = 23;

/// Loads the same keys again and again, kills each load at a random acknowledgement, and looks at what is left: a
/// prefix of that load, no shorter than what it acknowledged, and the loads before it beyond.
#[test]
fn what_a_killed_load_acknowledged_is_stored() {
    let cycles = 4;
    let cairn = Cairn::new();
    let mut dice = Dice(2026);
    let mut cut_short = 0;
    let mut stored: Vec<u64> = vec![0; LINES as usize]; // for each key, the cycle whose value it has
    for cycle in 1..=cycles {
        let lines: String = (0..LINES).map(|key| format!("key{key:06}\tvalue of cycle {cycle}\n")).collect();
        let file = cairn.file("lines.tsv", lines);
        let args = ["load", file.to_str().expect("text"), "--ack", "--batch", &BATCH.to_string()];
        let mut child = cairn.command(args).spawn().expect("cairn starts");
        let mut acks = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut acked = 0;
        for _ in 0..dice.below(LINES / BATCH) {
            let Some(line) = acks.next() else { break };
            acked = line.expect("a line").parse().expect("a number");
        }
        std::thread::sleep(Duration::from_micros(dice.below(1000)));
        child.kill().expect("it is killed, or done");
        // What it said before it died counts too. The last line may have been cut short.
        for line in acks.map_while(Result::ok) {
            acked = line.parse().map_or(acked, |number: u64| number.max(acked));
        }
        child.wait().expect("it ends");

        let found = check_prefix(&cairn, &mut stored, cycle);
        assert!(found >= acked, "cycle {cycle}: {acked} lines were acknowledged, {found} are stored");
        cut_short += u64::from(found < LINES);
        assert_eq!(cairn.run(["verify"]).code, 0, "cycle {cycle}");
    }
    assert!(cut_short * 2 > cycles, "only {cut_short} of {cycles} loads were cut short");
}

/// Checks that the first so many keys have this cycle's value and the others those of before; returns how many.
fn check_prefix(cairn: &Cairn, stored: &mut [u64], cycle: u64) -> u64 {
    let mut now = vec![0; stored.len()];
    let dumped = cairn.run(["dump"]);
    if dumped.code == 2 && dumped.err.contains("no database at") {
        assert_eq!(cycle, 1, "{}", dumped.err);
        return 0;
    }
    for line in dumped.ok().lines() {
        let (key, value) = line.split_once('\t').expect("two fields");
        let key: usize = key.trim_start_matches("key").parse().expect("a number");
        now[key] = value.trim_start_matches("value of cycle ").parse().expect("a number");
    }
    let found = now.iter().take_while(|value| **value == cycle).count();
    assert_eq!(now[found..], stored[found..], "cycle {cycle}: what is beyond line {found} changed");
    stored.copy_from_slice(&now);
    found as u64
}

/// One process that puts one key; how long it took.
fn timed_put(cairn: &Cairn, number: u64) -> Duration {
    let begun = Instant::now();
    let ran = cairn.run(["put", &format!("key{number}"), &format!("value {number}")]);
    let took = begun.elapsed();
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "put {number}");
    took
}

#[test]
#[ignore = "optimised run"]
fn slow_thousand_puts() {
    let cairn = Cairn::new();
    for number in 0..900 {
        timed_put(&cairn, number);
    }
    // The last hundred by turns with the first hundred of a new database, so that a machine that is busy with other
    // things is as busy for both. Single times wander; the middle of a hundred does not.
    let new = cairn.beside("new");
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for number in 0..100 {
        first.push(timed_put(&new, number));
        last.push(timed_put(&cairn, 900 + number));
    }
    first.sort();
    last.sort();
    let (first, last) = (first[50], last[50]);
    assert!(last <= first * 2, "the first puts took {first:?} each, the last ones {last:?}");

    let files = fs::read_dir(&cairn.db).expect("a directory").count();
    assert!(files < 20, "{files} files");
    assert_eq!(cairn.run(["scan"]).ok().lines().count(), 1000);
    assert_eq!(cairn.run(["verify"]).code, 0);
}
