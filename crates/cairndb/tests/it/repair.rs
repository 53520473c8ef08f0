//! Repair: what is not listed as lost is there, what is listed is not, and nothing else is.
//!
//! A database of every kind of file is built once and taken apart entry by entry, through `inspect`. Each test damages a
//! copy of its files, repairs it, and compares the entries of the new database with those of the old one: an entry may be
//! missing if it lies in a loss that is listed for its file, and only then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairndb::storage::{Fate, Fault, Faulty, FileKind, FileName, Operation, Storage};
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
    for line in
        String::from_utf8(out).unwrap().lines().filter(|line| line.starts_with(' ') && line.len() > 31)
    {
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
        db.put("new", "value").unwrap();
        let entry = db.get_entry("new").unwrap().unwrap();
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
                    assert!(
                        there != lost,
                        "{what}: {name}: range delete {seq}, lost {lost}, there {there}{}",
                        told()
                    );
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
    // One that was killed is as sound: only the end of its log is open.
    let killed = build_killed();
    let report = killed.repair("killed", &killed.files);
    assert!(report.is_whole() && !report.sealed && report.next_seq > report.last_seq + 1, "{report:?}");
}

/// The positive control: the comparison fails where a repair would have told too little or too much.
#[test]
fn a_loss_that_is_not_listed_and_one_that_is_none_are_noticed() {
    let built = build(Compression::None, 0);
    let sstable = built.names(FileKind::SsTable)[0];
    let files = built.with(|files| files.get_mut(&sstable).unwrap()[5000] ^= 1);
    let to = Faulty::default();
    let report = repair(Arc::new(disk_of(&files)), Arc::new(to.clone()), options(built.compression)).unwrap();
    let repaired = files_of(&to);
    built.compare("as it is", &report, &repaired);
    let notices = |report: &RepairReport, files: &Files| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| built.compare("", report, files))).is_err()
    };
    let mut untold = report.clone();
    untold.losses.clear();
    assert!(notices(&untold, &repaired), "a loss that is not listed");
    let mut wider = report.clone();
    wider.losses[0].before = None;
    assert!(notices(&wider, &repaired), "a loss that is wider than it should be");
    let mut fewer = repaired.clone();
    fewer.retain(|name, _| name.kind != FileKind::SsTable || name.number != 1);
    assert!(notices(&report, &fewer), "a table that is not there");
    let other = build(Compression::None, 1);
    let mut more = repaired;
    let last = other.names(FileKind::SsTable).pop().unwrap();
    assert!(!more.contains_key(&last), "{last} stands beside what was repaired");
    more.insert(last, other.files[&last].clone());
    assert!(notices(&report, &more), "entries that never were");
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
    assert!(runs > 60 && lossy > runs / 3, "{lossy} of {runs}");
}

#[test]
fn each_sector_of_each_file_in_turn_is_garbage() {
    sweep(Compression::None, 1, |sector| sector.iter_mut().for_each(|byte| *byte ^= 0x5A));
}

#[test]
fn each_sector_of_each_file_in_turn_is_zero() {
    sweep(Compression::Lz4, 1, |sector| sector.fill(0));
}

#[test]
fn each_sector_of_a_manifest_with_many_edits_is_garbage_or_zero() {
    let built = build_killed();
    let manifest = built.names(FileKind::Manifest)[0];
    let written = built.files[&manifest].iter().rposition(|byte| *byte != 0).unwrap();
    assert!(written > 1200, "the manifest has {written} bytes of edits");
    let mut adopted = 0;
    for sector in 0..=written / 64 {
        for garbage in [false, true] {
            let files = built.with(|files| {
                let stretch = &mut files.get_mut(&manifest).unwrap()[sector * 64..sector * 64 + 64];
                stretch.iter_mut().for_each(|byte| *byte = if garbage { *byte ^ 0x5A } else { 0 });
            });
            let report = built.repair(&format!("manifest, {sector} x 64, garbage {garbage}"), &files);
            adopted += usize::from(report.manifest.is_some() && !report.doubts.is_empty());
        }
    }
    for len in (0..=written).step_by(41) {
        let files = built.with(|files| files.get_mut(&manifest).unwrap().truncate(len));
        built.repair(&format!("manifest cut to {len}"), &files);
    }
    assert!(adopted > 4, "{adopted}");
}

/// A database that was killed: its manifest is a base and many edits, and nothing obsolete stands.
fn build_killed() -> Built {
    let disk = Faulty::default();
    let compression = Compression::None;
    let db = Db::open_with(Arc::new(disk.clone()), options(compression)).unwrap();
    for round in 0..9 {
        for number in (0..120).filter(|number| number % (round + 1) == 0) {
            db.put(key(number), format!("{round} of {number}, and some more bytes")).unwrap();
        }
        db.delete_range(key(10 * round)..key(10 * round + 4)).unwrap();
        db.flush().unwrap();
        if round % 4 == 3 {
            db.compact().unwrap();
        }
    }
    db.put(key(700), "in the log alone").unwrap();
    let mut files = files_of(&disk.kill());
    drop(db);
    files.retain(|_, bytes| bytes.iter().any(|byte| *byte != 0));
    let held = held_by_file(&files);
    Built { files, held, compression }
}

#[test]
fn a_missing_or_shortened_file_is_listed_and_the_rest_is_there() {
    for built in [build(Compression::Lz4, 0), build_killed()] {
        for (name, bytes) in &built.files {
            let report =
                built.repair(&format!("without {name}"), &built.with(|files| drop(files.remove(name))));
            assert!(!report.is_whole() || name.kind == FileKind::Wal && !report.sealed, "without {name}");
            for len in (0..bytes.len()).step_by(bytes.len() / 17 + 1) {
                let files = built.with(|files| files.get_mut(name).unwrap().truncate(len));
                built.repair(&format!("{name} cut to {len}"), &files);
            }
        }
        for kind in [FileKind::Manifest, FileKind::SsTable, FileKind::Wal] {
            let files = built.with(|files| files.retain(|name, _| name.kind != kind));
            let report = built.repair(&format!("without any {}", kind.extension()), &files);
            assert!(!report.is_whole(), "without any {}", kind.extension());
        }
    }
}

#[test]
fn files_that_changed_places_are_not_taken_for_each_other() {
    let built = build(Compression::None, 0);
    for kind in FileKind::ALL {
        let names = built.names(kind);
        for pair in names.windows(2) {
            let files = built.with(|files| {
                let (a, b) = (files[&pair[0]].clone(), files[&pair[1]].clone());
                files.insert(pair[0], b);
                files.insert(pair[1], a);
            });
            let report = built.repair(&format!("{} and {} changed round", pair[0], pair[1]), &files);
            assert!(!report.losses.is_empty(), "{} and {} changed round", pair[0], pair[1]);
        }
    }
}

#[test]
fn files_of_another_database_are_not_mixed_in() {
    let (built, other) = (build(Compression::None, 0), build(Compression::None, 1));
    let mut replaced = 0;
    for (name, bytes) in &other.files {
        let stood = built.files.contains_key(name);
        if stood && name.kind == FileKind::Manifest {
            continue; // then these tables are the strangers: there is nothing to compare
        }
        let files = built.with(|files| drop(files.insert(*name, bytes.clone())));
        let report = built.repair(&format!("another database's {name}"), &files);
        assert!(!report.losses.is_empty() || !stood, "another database's {name}");
        replaced += usize::from(stood);
    }
    assert!(replaced > 4);
    // Without a manifest nobody can tell; the report says so.
    let mut files = built.with(|files| files.retain(|name, _| name.kind != FileKind::Manifest));
    files.extend(other.files.iter().filter(|(name, _)| name.number == 5).map(|(n, b)| (*n, b.clone())));
    let report = repair(Arc::new(disk_of(&files)), Arc::new(Faulty::default()), options(built.compression));
    assert!(report.unwrap().doubts.iter().any(|doubt| doubt.contains("incarnation ids")));
}

#[test]
fn what_compaction_dropped_stays_away_though_its_inputs_still_stand() {
    let disk = Faulty::default();
    let db = Db::open_with(Arc::new(disk.clone()), options(Compression::None)).unwrap();
    db.put("kept", "value").unwrap();
    db.put("deleted", "value").unwrap();
    db.flush().unwrap();
    let before = files_of(&disk);
    db.delete("deleted").unwrap();
    db.compact().unwrap();
    let mut files = files_of(&disk);
    drop(db);
    // The crash came before the inputs were removed.
    let obsolete: Vec<FileName> = before
        .keys()
        .copied()
        .filter(|name| name.kind == FileKind::SsTable && !files.contains_key(name))
        .collect();
    assert!(!obsolete.is_empty());
    files.extend(obsolete.iter().map(|name| (*name, before[name].clone())));
    let scan = |files: &Files| {
        let to = Faulty::default();
        let report =
            repair(Arc::new(disk_of(files)), Arc::new(to.clone()), options(Compression::None)).unwrap();
        let db = Db::open_with(Arc::new(to), options(Compression::None)).unwrap();
        (report, db.get("kept").unwrap().is_some(), db.get("deleted").unwrap().is_some())
    };
    let (report, kept, back) = scan(&files);
    assert!(kept && !back && report.is_whole(), "{report:?}");
    assert!(report.left_out.iter().any(|(name, _)| *name == obsolete[0].to_string()), "{report:?}");
    // Without the manifest it may come back, and the report says that.
    files.retain(|name, _| name.kind != FileKind::Manifest);
    let (report, kept, _) = scan(&files);
    assert!(kept && report.doubts[0].contains("may be back"), "{report:?}");
}

#[test]
fn an_expired_value_stays_expired_and_a_clock_is_kept() {
    let disk = Faulty::default();
    let db = Db::open_with(Arc::new(disk.clone()), options(Compression::None)).unwrap();
    db.put_with_expiry("expired", "value", 900).unwrap();
    db.put_with_expiry("lives", "value", 1100).unwrap();
    db.close().unwrap();
    let to = Faulty::default();
    assert!(repair(Arc::new(disk), Arc::new(to.clone()), options(Compression::None)).unwrap().is_whole());
    let early = Options { clock: Arc::new(|| 0), ..options(Compression::None) };
    let db = Db::open_with(Arc::new(to), early).unwrap();
    assert!(db.get("expired").unwrap().is_none() && db.get("lives").unwrap().is_some());
}

#[test]
fn many_damages_at_once_are_all_listed() {
    let (closed, killed) = (build(Compression::Lz4, 0), build_killed());
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % bound as u64) as usize
    };
    for round in 0..300 {
        let built = if round % 2 == 0 { &closed } else { &killed };
        // A manifest that is gone and other damage together leave doubts that no oracle can settle.
        let names: Vec<FileName> =
            built.files.keys().copied().filter(|name| name.kind != FileKind::Manifest).collect();
        let files = built.with(|files| {
            for _ in 0..1 + below(6) {
                let bytes = files.get_mut(&names[below(names.len())]).unwrap();
                let written = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
                let at = below(written);
                let end = bytes.len().min(at + 1 + below(700));
                let fill = [0, 0xFF, 0x5A][below(3)];
                bytes[at..end].iter_mut().for_each(|byte| *byte = byte.wrapping_mul(7) ^ fill);
            }
        });
        built.repair(&format!("round {round}"), &files);
    }
}

#[test]
fn a_place_that_is_not_empty_is_left_alone() {
    let built = build_killed();
    let to = disk_of(&built.files);
    let error = repair(Arc::new(disk_of(&built.files)), Arc::new(to.clone()), options(Compression::None));
    assert!(matches!(error, Err(Error::Invalid { .. })), "{error:?}");
    assert!(files_of(&to) == built.files);
    let nothing =
        repair(Arc::new(Faulty::default()), Arc::new(Faulty::default()), options(Compression::None));
    assert!(matches!(nothing, Err(Error::Invalid { .. })), "{nothing:?}");
}

#[test]
fn a_full_disk_is_a_full_disk_and_leaves_nothing_behind() {
    let built = build(Compression::None, 0);
    let to = Faulty::default();
    repair(Arc::new(disk_of(&built.files)), Arc::new(to.clone()), options(built.compression)).unwrap();
    let whole = to.used_bytes();
    for capacity in (0..whole).step_by(whole as usize / 40) {
        let to = Faulty::default();
        to.set_capacity(Some(capacity));
        let from = disk_of(&built.files);
        let error = repair(Arc::new(from.clone()), Arc::new(to.clone()), options(built.compression));
        assert!(matches!(error, Err(Error::DiskFull { .. })), "{capacity}: {error:?}");
        assert!(to.list("test").unwrap().is_empty() && files_of(&from) == built.files, "{capacity}");
    }
}

#[test]
fn a_crash_in_the_midst_leaves_a_place_that_says_so() {
    let built = build(Compression::None, 0);
    let (mut refused, mut fresh, mut finished) = (0, 0, 0);
    for calls in 0.. {
        let to = Faulty::default();
        to.stop_after(calls);
        let from = disk_of(&built.files);
        let outcome = repair(Arc::new(from.clone()), Arc::new(to.clone()), options(built.compression));
        assert!(files_of(&from) == built.files, "{calls}");
        for fate in [Fate::Lose, Fate::Keep] {
            let found = to.crash_with(&mut |_| fate);
            let blank = files_of(&found).values().flatten().all(|byte| *byte == 0);
            match Db::open_with(Arc::new(found.clone()), options(built.compression)) {
                Ok(db) if blank => {
                    assert!(outcome.is_err() && db.scan(..).next().is_none(), "{calls}");
                    fresh += 1;
                }
                Ok(db) => {
                    assert_eq!(
                        db.scan(..).count(),
                        built_count(&built),
                        "{calls}: an unfinished repair opens"
                    );
                    finished += 1;
                }
                Err(Error::Corrupt { .. }) => {
                    assert!(outcome.is_err(), "{calls}: a finished repair does not open");
                    refused += 1;
                }
                Err(error) => panic!("{calls}: {error}"),
            }
        }
        if outcome.is_ok() {
            break;
        }
    }
    assert!(
        refused > 10 && fresh > 0 && finished > 0,
        "{refused} refused, {fresh} fresh, {finished} finished"
    );
}

fn built_count(built: &Built) -> usize {
    let db = Db::open_read_only_with(Arc::new(disk_of(&built.files)), options(built.compression)).unwrap();
    db.scan(..).count()
}

#[test]
fn bytes_that_cannot_be_read_count_as_damaged() {
    let built = build(Compression::None, 0);
    let mut lossy = BTreeSet::new();
    for site in
        ["salvage.read", "salvage.footer", "salvage.header", "repair.header", "manifest.read", "wal.read"]
    {
        for nth in 1..20 {
            let (from, to) = (disk_of(&built.files), Faulty::default());
            from.fail(Fault::nth(nth, std::io::ErrorKind::Other).at(site).on(Operation::ReadAt));
            let report = repair(Arc::new(from), Arc::new(to.clone()), options(built.compression)).unwrap();
            built.compare(&format!("{site}, read {nth}"), &report, &files_of(&to));
            lossy.extend((!report.losses.is_empty()).then_some(site));
        }
    }
    assert!(lossy.contains("salvage.read") && lossy.contains("wal.read"), "{lossy:?}");
}

/// Where blocks have to be found by their checksums, each place that might end one cost the checksum of all before it:
/// in a long value of the right bytes that is every place.
#[test]
fn a_value_of_plausible_ends_took_time_by_its_square() {
    let disk = Faulty::default();
    let roomy = Options { memory_budget_bytes: 64 << 20, ..options(Compression::None) };
    let db = Db::open_with(Arc::new(disk.clone()), roomy.clone()).unwrap();
    db.put("long", vec![1; 4 << 20]).unwrap();
    db.put("short", "value").unwrap();
    db.flush().unwrap();
    db.close().unwrap();
    let mut files = files_of(&disk);
    let (_, table) = files.iter_mut().find(|(name, _)| name.kind == FileKind::SsTable).unwrap();
    // The footer is gone, so that nothing says where the index is; and so is the block of the long value.
    let len = table.len();
    table[len - 20] ^= 1;
    table[1000] ^= 2;
    let to = Faulty::default();
    let report = repair(Arc::new(disk_of(&files)), Arc::new(to), roomy).unwrap();
    // It used to take minutes.
    assert!(!report.losses.is_empty(), "{report:?}");
}
