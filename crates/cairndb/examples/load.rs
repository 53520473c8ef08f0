//! Loads, rests, compacts, scans and reads back, and prints what each took: `cargo run --release -p cairndb --example
//! load -- 10000000`.
//!
//! Terms, printed with the figures: keys of 16 bytes in random order (about two in three are distinct), values of 100
//! bytes, durability `Os` (a killed process loses nothing, a lost power supply may), one writing thread beside the
//! maintenance thread, the default memory budget of 256 MiB, no compression.

#![expect(clippy::disallowed_methods, reason = "a program that measures has a clock and files")]

use std::path::Path;
use std::time::{Duration, Instant};

use cairndb::{Db, Durability, Options, Result};

fn main() -> Result<()> {
    let count: u64 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    let dir = tempfile::tempdir().expect("a directory for the database");
    println!("{count} puts of 16 + 100 bytes, random order, durability Os, budget 256 MiB");
    let db = Options { durability: Durability::Os, ..Options::default() }.open(dir.path().join("db"))?;
    let mut dice = 1;
    let mut longest = Duration::ZERO;
    let begun = Instant::now();
    for _ in 0..count {
        let put = Instant::now();
        db.put(next_key(&mut dice, count), [7; 100])?;
        longest = longest.max(put.elapsed());
    }
    told("load", count, begun.elapsed());
    println!("  longest put {longest:?}");
    let begun = Instant::now();
    rest(&db);
    let at_rest = disk_bytes(dir.path());
    println!("rest    {:>8.1} s, looked at every two seconds", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    db.compact()?;
    told("compact", count, begun.elapsed());
    let compacted = disk_bytes(dir.path());
    println!(
        "  disk {at_rest} bytes at rest, {compacted} compacted: {:.3}",
        at_rest as f64 / compacted as f64
    );
    let begun = Instant::now();
    let (mut cursor, mut live) = (db.cursor(..), 0);
    while cursor.next()?.is_some() {
        live += 1;
    }
    drop(cursor);
    told("scan", live, begun.elapsed());
    let (gets, begun, mut found) = (count.min(1_000_000), Instant::now(), 0);
    for _ in 0..gets {
        found += u64::from(db.contains(next_key(&mut dice, count))?);
    }
    told("get", gets, begun.elapsed());
    println!("  {found} found\n{}", db.stats());
    match peak_memory() {
        Some(peak) => println!("peak memory of the process: {peak}"),
        None => println!("peak memory: this system does not tell"),
    }
    db.close()
}

fn next_key(dice: &mut u64, count: u64) -> [u8; 16] {
    *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    u128::from((*dice >> 20) % count).to_be_bytes()
}

fn told(what: &str, count: u64, took: Duration) {
    let seconds = took.as_secs_f64();
    println!("{what:<7} {seconds:>8.1} s, {:>9.0} a second", count as f64 / seconds);
}

/// Waits until the maintenance thread has nothing more to do.
fn rest(db: &Db) {
    let done = |db: &Db| (db.stats().flushes, db.stats().compactions, db.stats().table_bytes_written);
    let mut last = done(db);
    loop {
        std::thread::sleep(Duration::from_secs(2));
        let now = done(db);
        if now == last {
            return;
        }
        last = now;
    }
}

fn disk_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir.join("db")).expect("the database's directory");
    files.filter_map(|file| file.ok()?.metadata().ok()).map(|metadata| metadata.len()).sum()
}

fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().to_string())
}
