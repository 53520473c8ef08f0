//! Repair: what is not listed as lost is there, what is listed is not, and nothing else is.
//!
//! A database of every kind of file is built once and taken apart entry by entry, through `inspect`. Each test damages a
//! copy of its files, repairs it, and compares the entries of the new database with those of the old one: an entry may be
//! missing if it lies in a loss that is listed for its file, and only then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairndb::storage::{Fault, Faulty, FileKind, FileName, Storage};
use cairndb::{Batch, Compression, Db, Error, Loss, Options, RepairReport, repair, verify};

use crate::common;

type Files = BTreeMap<FileName, Vec<u8>>;

fn options(compression: Compression) -> Options {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 40);
    Options { compression, ..common::options(256 << 10, NEXT.fetch_add(1000, Ordering::Relaxed)) }
}

/// A put or delete as `inspect` prints it, its key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    key: Vec<u8>,
    seq: u64,
    what: String,
}

/// A range delete: the stretch of stored keys, and its number.
type RangeDelete = (Vec<u8>, Vec<u8>, u64);

/// What a file holds.
#[derive(Clone, Debug, Default)]
struct Held {
    items: BTreeSet<Item>,
    range_deletes: Vec<RangeDelete>,
}

fn unescape(text: &str) -> Vec<u8> {
    let text = text.strip_prefix('"').unwrap().strip_suffix('"').unwrap().as_bytes();
    let (mut bytes, mut at) = (Vec::new(), 0);
    while at < text.len() {
        if text[at..].starts_with(b"\\x") {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&text[at + 2..at + 4]).unwrap(), 16).unwrap());
            at += 4;
        } else {
            bytes.push(text[at]);
            at += 1;
        }
    }
    bytes
}

/// Takes a file apart by the text that `inspect` prints of it.
fn held(files: &Files, name: FileName) -> Held {
    let disk = disk_of(files);
    let mut out = Vec::new();
    cairndb::inspect(disk.open("test", name).unwrap(), name, &mut out).unwrap();
    let mut held = Held::default();
    for line in String::from_utf8(out).unwrap().lines().filter(|line| line.starts_with(' ') && line.len() > 31) {
        let (kind, value) = (line[12..30].trim(), line[31..].trim());
        let stored = |text: &str| {
            let (keyspace, key) = text.split_once('/').unwrap();
            [vec![keyspace.parse().unwrap()], unescape(key)].concat()
        };
        match kind {
            "put" | "delete" | "put with expiry" => {
                let (key, rest) = value.split_once(" @").unwrap();
                let (seq, what) = rest.split_once(" = ").unwrap_or((rest, ""));
                let what = format!("{kind} {what}");
                assert!(held.items.insert(Item { key: stored(key), seq: seq.parse().unwrap(), what }));
            }
            "range delete" if name.kind == FileKind::Wal => {
                let (key, rest) = value.split_once(" @").unwrap();
                let (seq, end) = rest.split_once(" .. ").unwrap();
                held.range_deletes.push((stored(key), unescape(end), seq.parse().unwrap()));
            }
            "range delete" => {
                let (start, rest) = value.split_once(" .. ").unwrap();
                let (end, seqs) = rest.split_once(" @").unwrap();
                for seq in seqs.trim_matches(['[', ']']).split(", ") {
                    held.range_deletes.push((unescape(start), unescape(end), seq.parse().unwrap()));
                }
            }
            _ => {}
        }
    }
    held
}

fn held_by_file(files: &Files) -> BTreeMap<FileName, Held> {
    let names = files.keys().filter(|name| name.kind != FileKind::Manifest);
    names.map(|name| (*name, held(files, *name))).collect()
}

fn disk_of(files: &Files) -> Faulty {
    let disk = Faulty::default();
    for (name, bytes) in files {
        disk.write_file(*name, bytes);
    }
    disk
}

fn files_of(disk: &Faulty) -> Files {
    disk.list("test").unwrap().into_iter().map(|name| (name, disk.read_file(name).unwrap())).collect()
}

/// A sound database, and everything that is in it.
struct Built {
    files: Files,
    held: BTreeMap<FileName, Held>,
    compression: Compression,
}

fn key(number: u32) -> String {
    format!("key{number:04}")
}

/// Tables of several blocks at two levels, range deletes in tables and logs, older entries of keys, several logs.
fn build(compression: Compression, salt: u8) -> Built {
    let disk = Faulty::default();
    let open = || Db::open_with(Arc::new(disk.clone()), options(compression)).unwrap();
    let value = |number: u32| {
        let mut bytes = vec![b'a' + salt];
        let mut dice = number.wrapping_mul(2_654_435_761) | 1;
        bytes.extend((0..40 + number % 60).map(|_| {
            dice ^= dice << 13;
            dice ^= dice >> 17;
            dice ^= dice << 5;
            b'a' + (dice % 26) as u8
        }));
        bytes
    };
    let db = open();
    for number in 0..500 {
        db.put(key(number), value(number)).unwrap();
    }
    db.compact().unwrap();
    let held = db.snapshot().unwrap();
    for number in 100..180 {
        db.put(key(number), value(number + 1)).unwrap();
        db.put(key(number), value(number + 2)).unwrap();
    }
    db.delete_range(key(20)..key(70)).unwrap();
    db.delete(key(5)).unwrap();
    db.flush().unwrap();
    db.put_with_expiry(key(600), value(600), u64::MAX).unwrap();
    db.delete_range(key(200)..key(210)).unwrap();
    db.delete_range(key(205)..key(220)).unwrap();
    db.flush().unwrap();
    drop(held);
    let mut db = db;
    for round in 0..3 {
        for number in 0..8 {
            let mut batch = Batch::new();
            batch.put(key(700 + 10 * round + number), value(round)).delete(key(150 + round));
            db.write(batch).unwrap();
        }
        db.delete_range(key(240 + 3 * round)..key(250 + round)).unwrap();
        db.close().unwrap();
        db = open();
    }
    db.close().unwrap();
    let levels = db.stats().levels;
    assert!(levels[0].tables > 1 && levels[6].tables > 1, "{levels:?}");
    let mut files = files_of(&disk);
    files.retain(|_, bytes| bytes.iter().any(|byte| *byte != 0));
    let held = held_by_file(&files);
    assert!(held.iter().filter(|(name, _)| name.kind == FileKind::Wal).count() > 2);
    assert!(held.values().filter(|held| !held.range_deletes.is_empty()).count() > 3);
    Built { files, held, compression }
}

impl Built {
    /// Repairs a copy whose files are `damaged`, and compares what came of it with what there was.
    fn repair(&self, what: &str, damaged: &Files) -> RepairReport {
        let from = disk_of(damaged);
        let to = Faulty::default();
        let report = repair(Arc::new(from.clone()), Arc::new(to.clone()), options(self.compression))
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(files_of(&from) == *damaged, "{what}: the source was changed");
        self.compare(what, &report, &files_of(&to));

        // It is a database like any other.
        assert!(verify(Arc::new(to.clone())).unwrap().ok(), "{what}: {:?}", verify(Arc::new(to)));
        let db = Db::open_with(Arc::new(to.clone()), options(self.compression)).unwrap();
        assert!(db.scan(..).all(|item| item.is_ok()), "{what}");
        let entry = { db.put("new", "value").unwrap(); db.keyspace(0).unwrap().get_entry("new").unwrap().unwrap() };
        assert!(entry.seq >= report.next_seq, "{what}");
        db.close().unwrap();
        report
    }

    /// An entry is missing if and only if a loss of its file covers it.
    fn compare(&self, what: &str, report: &RepairReport, repaired: &Files) {
        let found = held_by_file(repaired);
        let mut items: BTreeSet<&Item> = found.values().flat_map(|held| &held.items).collect();
        let range_deletes: Vec<&RangeDelete> = found.values().flat_map(|held| &held.range_deletes).collect();
        let told = || report.losses.iter().map(|loss| format!("\n  {loss}")).collect::<String>();
        let covered = |name: FileName, key: &[u8], seq: u64, of: fn(&Loss) -> bool| {
            let of_file = |loss: &&Loss| match name.kind {
                // Which of two logs held what is missing between them nobody can tell.
                FileKind::Wal => loss.file.ends_with(".wal"),
                _ => loss.file == name.to_string(),
            };
            let untold = name.kind == FileKind::Wal && !report.sealed && seq > report.last_seq;
            untold || report.losses.iter().filter(of_file).any(|loss| of(loss) && loss.covers(key, seq))
        };
        for (name, held) in &self.held {
            for item in &held.items {
                let lost = covered(*name, &item.key, item.seq, |loss| loss.entries);
                let there = items.remove(item);
                assert!(there != lost, "{what}: {name}: {item:?}, lost {lost}, there {there}{}", told());
            }
        }
        assert!(items.is_empty(), "{what}: these never were: {items:?}");
        for probe in (0..800).map(|number| [b"\0", key(number).as_bytes()].concat()) {
            let over = |(start, end, _): &RangeDelete| *start <= probe && probe < *end;
            let mut there: BTreeSet<u64> =
                range_deletes.iter().filter(|deleted| over(deleted)).map(|(_, _, seq)| *seq).collect();
            for (name, held) in &self.held {
                for (_, _, seq) in held.range_deletes.iter().filter(|deleted| over(deleted)) {
                    let lost = covered(*name, &probe, *seq, |loss| loss.range_deletes);
                    let there = there.remove(seq);
                    assert!(there != lost, "{what}: {name}: range delete {seq}, lost {lost}, there {there}{}", told());
                }
            }
            assert!(there.is_empty(), "{what}: range deletes that never were: {there:?}");
        }
    }

    fn with(&self, change: impl FnOnce(&mut Files)) -> Files {
        let mut files = self.files.clone();
        change(&mut files);
        files
    }

    fn names(&self, kind: FileKind) -> Vec<FileName> {
        self.files.keys().copied().filter(|name| name.kind == kind).collect()
    }
}

#[test]
fn a_sound_database_comes_out_as_it_went_in() {
    for compression in [Compression::None, Compression::Lz4] {
        let built = build(compression, 0);
        let report = built.repair("sound", &built.files);
        assert!(report.is_whole() && report.sealed && report.left_out.is_empty(), "{report:?}");
        assert_eq!(report.last_seq + 1, report.next_seq);
    }
}

/// Damages each sector of each file, each time in a copy of its own.
fn sweep(compression: Compression, step: usize, spoil: fn(&mut [u8])) {
    let built = build(compression, 0);
    let (mut runs, mut lossy) = (0, 0);
    for (name, bytes) in &built.files {
        for sector in (0..bytes.len().div_ceil(512)).step_by(step) {
            let files = built.with(|files| {
                let bytes = files.get_mut(name).unwrap();
                let end = bytes.len().min(sector * 512 + 512);
                spoil(&mut bytes[sector * 512..end]);
            });
            if files == built.files {
                continue;
            }
            let report = built.repair(&format!("{name}, sector {sector}"), &files);
            runs += 1;
            lossy += u64::from(!report.losses.is_empty());
            assert!(report.losses.len() < 4, "{name}, sector {sector}: {:?}", report.losses);
        }
    }
    assert!(runs > 60 && lossy > runs / 2, "{lossy} of {runs}");
}

#[test]
fn each_sector_of_each_file_in_turn_is_garbage() {
    sweep(Compression::None, 1, |sector| sector.iter_mut().for_each(|byte| *byte ^= 0x5A));
}

#[test]
fn each_sector_of_each_file_in_turn_is_zero() {
    sweep(Compression::Lz4, 1, |sector| sector.fill(0));
}
