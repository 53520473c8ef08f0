//! Fills the disk that a database is on, and then the rest of it, and looks what still works. `tests/rigs/full_disk.sh`
//! runs it on a small file system of its own; anywhere else it fills that disk too.
//!
//! `full_disk fill DIR` puts until the disk is full, takes every byte that is left, and ends as a killed process does.
//! `full_disk empty DIR COUNT` opens what it left, which holds COUNT keys, deletes nine in ten, waits, and puts again.
//! `full_disk all DIR` does both in one process, without opening again. Each fact is a line; exit code 1 if one is not so.

#![expect(clippy::disallowed_methods, reason = "a program that measures has a clock and files")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, abort};
use std::time::{Duration, Instant};

use cairndb::{Db, Durability, Error, Options, Result};

/// How long nothing must happen on a full disk before nothing more will.
const SETTLED: Duration = Duration::from_secs(3);

/// How long puts may take to resume.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["fill", dir] => fill(Path::new(dir)).map(|_| abort()),
        ["empty", dir, count] => {
            open(Path::new(dir)).and_then(|db| empty(&db, count.parse().expect("a number")))
        }
        ["all", dir] => fill(Path::new(dir)).and_then(|(db, count)| empty(&db, count)),
        _ => panic!("full_disk fill DIR | empty DIR COUNT | all DIR"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn open(dir: &Path) -> Result<Db> {
    let options = Options { memory_budget_bytes: 6 << 20, durability: Durability::Os, ..Options::default() };
    options.open(dir)
}

fn key(number: u64) -> [u8; 8] {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

fn value(number: u64) -> Vec<u8> {
    key(number).repeat(25)
}

/// Puts until that is refused for good, and lets nothing free; the database and how many keys it holds.
fn fill(dir: &Path) -> Result<(Db, u64)> {
    let db = open(dir)?;
    let (mut count, mut settled_since, mut worked) = (0, Instant::now(), 0);
    // For good: nothing was written for a while, and maintenance, which looks once a second, had nothing more to do.
    while settled_since.elapsed() < SETTLED {
        match db.put(key(count), value(count)) {
            Ok(()) => (count, settled_since) = (count + 1, Instant::now()),
            Err(Error::DiskFull { .. }) => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error),
        }
        let work = db.stats().table_bytes_written;
        if work != worked {
            (worked, settled_since) = (work, Instant::now());
        }
    }
    let ballast = take_all_space(dir);
    println!("filled: {count} keys, {ballast} bytes taken by others, reserve {}", db.stats().reserve_bytes);
    let refused = db.put("one more", value(count));
    assert!(matches!(refused, Err(Error::DiskFull { .. })), "a put on a full disk: {refused:?}");
    assert!(db.stats().stopped.is_none(), "a full disk is no failure");
    check_reads(&db, count, |_| true)?;
    println!("read: all {count} keys, and a put is DiskFull");
    Ok((db, count))
}

/// Fills what is left of the file system, beside the database's directory; how much that was.
fn take_all_space(dir: &Path) -> u64 {
    let path: PathBuf = dir.with_file_name("ballast");
    let mut file = std::fs::File::create(path).expect("a file for ballast");
    let mut taken = 0;
    for len in [4096, 512, 1] {
        while file.write_all(&vec![1; len]).is_ok() {
            taken += len as u64;
        }
    }
    // What is written has to be taken, not promised.
    drop(file.sync_all());
    taken
}

fn check_reads(db: &Db, count: u64, is_there: impl Fn(u64) -> bool) -> Result<()> {
    for number in 0..count {
        let found = db.get(key(number))?;
        let expected = is_there(number).then(|| value(number));
        assert_eq!(found.as_deref(), expected.as_deref(), "key {number}");
    }
    Ok(())
}

/// Deletes nine keys in ten, and waits until puts go on by themselves.
fn empty(db: &Db, count: u64) -> Result<()> {
    check_reads(db, count, |_| true)?;
    let stays = |number: u64| number.is_multiple_of(10);
    for number in (0..count).filter(|number| !stays(*number)) {
        db.delete(key(number))?;
    }
    println!("deleted: {} keys, each at once", count - count.div_ceil(10));
    check_reads(db, count, stays)?;
    let begun = Instant::now();
    let mut more = 0;
    while more < count / 4 {
        match db.put(key(count + more), value(count + more)) {
            Ok(()) => more += 1,
            Err(Error::DiskFull { .. }) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error),
        }
    }
    println!("resumed: {more} puts by themselves, {:.1} s", begun.elapsed().as_secs_f64());
    check_reads(db, count + more, |number| stays(number) || number >= count)?;
    db.close()
}
