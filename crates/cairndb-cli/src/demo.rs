//! Demo: the whole database at work on real data, in one command.
//!
//! The Unicode Character Database names some 35,000 characters. They are loaded into a database that is given far less
//! memory than they need, so that it must flush and compact; then they are read back, scanned, partly deleted, found
//! again after a restart, verified and compacted. Each step prints what was measured and what that shows, and each
//! compares what the database says with a sorted map of the same data: if they differ anywhere, the demo fails.
//!
//! # Where it sits
//! Called by `main`; uses the engine as any application would.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairndb::storage::Native;
use cairndb::{Batch, Db, Options, Scan, Stats};

use crate::args::{self, Target};
use crate::failure::{Failure, say};
use crate::format::{Change, Layout, Reader, shown};
use crate::human;
use crate::output::Output;
use crate::report;

/// Less than the data by itself, so that not all of it fits.
const MEMORY_BUDGET_BYTES: u64 = 1 << 20;

/// Entries in a batch.
const BATCH_COUNT: usize = 500;

/// Emoji and other symbols: the code points from U+1F600 on.
const PREFIX: &[u8] = b"1F6";

/// What stands before all but a step's first line.
const INDENT: &str = "            ";

/// A key and its value.
type Pair = (Vec<u8>, Vec<u8>);

/// The compatibility ideographs from U+F900 to U+FAFF.
const DELETED: (&[u8], &[u8]) = (b"F900", b"FB00");

pub(crate) fn demo(target: &Target, args: &args::Demo) -> Result<(), Failure> {
    let data = args.data.clone().unwrap_or_else(shipped_data);
    let entries = read(&data)?;
    let mut place = Place::of(target, args)?;
    let outcome = run(target, &data, entries, &place.dir).map_err(|failure| failure.located(&place.dir));
    // What went wrong can be looked at only if it is still there.
    place.removed = place.removed && outcome.is_ok();
    if !place.removed {
        say(format_args!("cairn: the database is in {}", place.dir.display()));
    }
    outcome
}

/// The data set that comes with the source.
fn shipped_data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/UnicodeData.txt")
}

/// The file's entries, in its order.
fn read(data: &Path) -> Result<Vec<Pair>, Failure> {
    let file = File::open(data).map_err(|error| {
        Failure::hinted(
            format_args!("{}: {error}", data.display()),
            "the demo loads UnicodeData.txt of the Unicode Character Database; --data points to it",
        )
    })?;
    let mut reader = Reader::new(Layout::Csv { delimiter: b';', key_field: 1 }, Box::new(file));
    let mut entries = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(Change::Put { key, value, .. })) => entries.push((key, value)),
            Ok(Some(Change::Delete { .. })) => unreachable!("csv has no deletes"),
            Ok(None) => return Ok(entries),
            Err(what) => {
                return Err(Failure::told(format_args!("{}:{}: {what}", data.display(), reader.line())));
            }
        }
    }
}

/// Where the demo's database stands; removed on drop if it is the demo's own.
struct Place {
    dir: PathBuf,
    removed: bool,
}

impl Place {
    fn of(target: &Target, args: &args::Demo) -> Result<Place, Failure> {
        let Some(dir) = target.dir_given() else {
            return Ok(Place { dir: fresh_dir()?, removed: !args.keep });
        };
        match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
            Ok(false) => Err(Failure::hinted(
                format_args!("{}: not empty", dir.display()),
                "the demo deletes what it pleases, so it takes an empty or a new directory only",
            )),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::file(dir, error)),
            _ => Ok(Place { dir: dir.to_owned(), removed: false }),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.removed
            && let Err(error) = fs::remove_dir_all(&self.dir)
        {
            say(format_args!("cairn: {}: {error}", self.dir.display()));
        }
    }
}

/// A new directory in the system's place for temporary ones.
fn fresh_dir() -> Result<PathBuf, Failure> {
    let parent = std::env::temp_dir();
    for attempt in 0u32.. {
        let dir = parent.join(format!("cairn-demo-{}-{attempt}", std::process::id()));
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Failure::file(&dir, error)),
        }
    }
    Err(Failure::file(&parent, "no name is free for a temporary directory"))
}

fn run(target: &Target, data: &Path, entries: Vec<Pair>, dir: &Path) -> Result<(), Failure> {
    let durability = target.durability();
    let options = Options { memory_budget_bytes: MEMORY_BUDGET_BYTES, durability, ..Options::default() };
    let mut demo =
        Demo { out: Output::new(), steps: 0, dir: dir.to_owned(), options, expected: BTreeMap::new() };
    let db = demo.load(data, entries)?;
    demo.read_back(&db)?;
    demo.scan(&db)?;
    demo.delete_range(&db)?;
    let db = demo.reopen(db)?;
    let db = demo.verify(db)?;
    demo.compact(&db)?;
    demo.stats(&db)?;
    db.close()?;
    demo.out.line(format_args!("\nAll {} steps did what they should.", demo.steps))?;
    demo.out.flush()
}

/// The demo under way.
struct Demo {
    out: Output,
    steps: u32,
    dir: PathBuf,
    options: Options,
    /// What the database must say.
    expected: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Demo {
    fn load(&mut self, data: &Path, entries: Vec<Pair>) -> Result<Db, Failure> {
        let begun = Instant::now();
        let db = self.open()?;
        let (mut batches, mut bytes) = (0, 0);
        for group in entries.chunks(BATCH_COUNT) {
            let mut batch = Batch::new();
            for (key, value) in group {
                batch.put(key, value);
                bytes += key.len() + value.len();
            }
            db.write(batch)?;
            batches += 1;
        }
        let took = begun.elapsed();
        let speed = rate(entries.len(), took);
        self.expected.extend(entries);
        let (flushes, compactions) = wait_for_maintenance(&db);
        check(flushes > 0, "the load was larger than the memtables, and yet nothing was flushed")?;
        self.step(
            "load",
            format_args!(
                "{} of {} ({}) in {}: {speed}\n{}, {}, {}",
                self.count(),
                data.file_name().unwrap_or_default().display(),
                human::bytes(bytes as u64),
                human::time(took),
                human::counted(batches, "batch", "batches"),
                human::counted(flushes, "flush", "flushes"),
                human::counted(compactions, "compaction", "compactions"),
            ),
            "Each batch is one record in the write-ahead log, stored whole or not at all. The memory\n\
             budget is 1 MiB, so sorted tables are written while the load runs, and then merged.",
        )?;
        Ok(db)
    }

    fn read_back(&mut self, db: &Db) -> Result<(), Failure> {
        let begun = Instant::now();
        for (key, value) in &self.expected {
            let found = db.get(key)?;
            check(
                found.as_deref() == Some(value.as_slice()),
                format_args!("get {} gave another value", shown(key)),
            )?;
        }
        check(db.get("no such code point")?.is_none(), "a key that was never written was found")?;
        let took = begun.elapsed();
        let measured =
            format!("{} in {}: {}", self.count(), human::time(took), rate(self.expected.len(), took));
        self.step("get", measured, "Every key, one at a time, gives the value that the file has for it.")
    }

    fn scan(&mut self, db: &Db) -> Result<(), Failure> {
        let begun = Instant::now();
        let below: Vec<_> =
            self.expected.range(PREFIX.to_vec()..).take_while(|e| e.0.starts_with(PREFIX)).collect();
        same(db.scan_prefix(PREFIX), below.iter().copied())?;
        let mut backward = db.scan_prefix(PREFIX);
        for (key, _) in below.iter().rev() {
            let found = backward.next_back().transpose()?;
            check(found.is_some_and(|found| found.0 == **key), "the backward scan differs")?;
        }
        check(backward.next_back().is_none(), "the backward scan goes on")?;
        let measured = format!(
            "{} below {}, both ways, in {}",
            below.len(),
            shown(PREFIX),
            human::time(begun.elapsed())
        );
        self.step("scan", measured, "Keys are kept in order, so those with one prefix lie side by side.")
    }

    fn delete_range(&mut self, db: &Db) -> Result<(), Failure> {
        let begun = Instant::now();
        let before = db.snapshot()?;
        let (from, to) = DELETED;
        db.delete_range(from..to)?;
        let took = begun.elapsed();
        let all = self.expected.clone();
        self.expected.retain(|key, _| !(from..to).contains(&key.as_slice()));
        same(db.scan(..), &self.expected)?;
        same(before.scan(..), &all)?;
        let count = human::counted((all.len() - self.expected.len()) as u64, "key", "keys");
        self.step(
            "delete",
            format_args!(
                "{count} from {} to {} in {}, with one write",
                shown(from),
                shown(to),
                human::time(took)
            ),
            "The range is gone at once, however many keys it holds; a snapshot taken before still has it.",
        )
    }

    fn reopen(&mut self, db: Db) -> Result<Db, Failure> {
        db.close()?;
        drop(db);
        let begun = Instant::now();
        let db = self.open()?;
        let took = begun.elapsed();
        same(db.scan(..), &self.expected)?;
        let found = db.recovery();
        let measured = format!(
            "in {}: {} log, {} replayed with {}, {} torn",
            human::time(took),
            if found.sealed { "a sealed" } else { "an unsealed" },
            human::counted(found.records, "record", "records"),
            human::counted(found.entries, "entry", "entries"),
            human::bytes(found.torn_bytes),
        );
        check(!found.created, "the database was made anew")?;
        check(found.torn_bytes == 0, "a database that was closed has a torn log")?;
        self.step("reopen", measured, "What was stored is there after a restart, compared entry by entry.")?;
        Ok(db)
    }

    fn verify(&mut self, db: Db) -> Result<Db, Failure> {
        db.close()?;
        drop(db);
        let begun = Instant::now();
        let storage = Native::read_only(&self.dir).map_err(Failure::told)?;
        let found = cairndb::verify(Arc::new(storage))?;
        let took = begun.elapsed();
        let measured =
            format!("{} in {}", human::counted(found.files as u64, "file", "files"), human::time(took));
        self.step("verify", measured, "Every byte on disk is read again, and must keep what was promised:")?;
        report::print_verification(&found, &self.dir, INDENT, &mut self.out)?;
        self.open()
    }

    fn compact(&mut self, db: &Db) -> Result<(), Failure> {
        let before = disk_bytes(&self.dir)?;
        let begun = Instant::now();
        db.compact()?;
        let took = begun.elapsed();
        let after = disk_bytes(&self.dir)?;
        same(db.scan(..), &self.expected)?;
        self.step(
            "compact",
            format_args!(
                "{} to {} on disk in {}",
                human::bytes(before),
                human::bytes(after),
                human::time(took)
            ),
            "The deleted range gives its room back, and what is left reads as before.",
        )
    }

    fn stats(&mut self, db: &Db) -> Result<(), Failure> {
        let stats = db.stats().to_string();
        self.step("stats", "since the last open", "What the database counts while it works:")?;
        for line in stats.trim_end().lines() {
            self.out.line(format_args!("{INDENT}{line}"))?;
        }
        Ok(())
    }

    fn open(&self) -> Result<Db, Failure> {
        Ok(self.options.clone().open(&self.dir)?)
    }

    fn count(&self) -> String {
        human::counted(self.expected.len() as u64, "entry", "entries")
    }

    /// Prints a step that went well: its measurements, and below them what they show.
    fn step(&mut self, name: &str, measured: impl fmt::Display, shows: &str) -> Result<(), Failure> {
        self.steps += 1;
        let below = format!("\n{INDENT}");
        let measured = measured.to_string().replace('\n', &below);
        self.out.line(format_args!("{}. {name:<8} {measured}", self.steps))?;
        self.out.line(format_args!("{INDENT}{}", shows.replace('\n', &below)))?;
        self.out.flush()
    }
}

/// Fails unless the scan gives exactly these entries.
fn same<'a>(
    scan: Scan,
    expected: impl IntoIterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>,
) -> Result<(), Failure> {
    let mut expected = expected.into_iter();
    for found in scan {
        let (key, value) = found?;
        let right = expected.next().is_some_and(|entry| *entry.0 == key && entry.1[..] == value[..]);
        check(right, format_args!("the scan differs from the data at key {}", shown(&key)))?;
    }
    check(expected.next().is_none(), "the scan ends before the data does")
}

fn check(holds: bool, what: impl fmt::Display) -> Result<(), Failure> {
    if holds {
        return Ok(());
    }
    Err(Failure::hinted(
        format_args!("the demo found a fault: {what}"),
        "this is a defect of Cairn, and worth a report",
    ))
}

fn rate(count: usize, took: Duration) -> String {
    format!("{} a second", human::count((count as f64 / took.as_secs_f64().max(1e-6)) as u64))
}

/// The length of all files in the directory.
fn disk_bytes(dir: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).map_err(|error| Failure::file(dir, error))? {
        // A file may be removed while we look.
        bytes += entry.and_then(|entry| entry.metadata()).map_or(0, |found| found.len());
    }
    Ok(bytes)
}

/// Gives the background a moment to catch up; returns how many flushes and compactions it did.
fn wait_for_maintenance(db: &Db) -> (u64, u64) {
    const PATIENCE: Duration = Duration::from_secs(10);
    const QUIET: Duration = Duration::from_millis(200);
    let begun = Instant::now();
    let mut seen = work_done(&db.stats());
    loop {
        std::thread::sleep(QUIET);
        let now = work_done(&db.stats());
        if now == seen || begun.elapsed() > PATIENCE {
            return now;
        }
        seen = now;
    }
}

fn work_done(stats: &Stats) -> (u64, u64) {
    (stats.flushes, stats.compactions)
}
