//! Golden files: directories as format 1 was first written, and a list of what each holds.
//!
//! `testdata/golden` says what they are for. A set is read by every later build, key by key; and the newest one is written
//! again here and compared, so that nobody changes the bytes without noticing.

#![expect(clippy::disallowed_methods, reason = "golden files are files of the repository")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairndb::storage::{FileKind, FileName, Memory, Storage};
use cairndb::{
    BackupMode, Batch, Change, ChangeEntry, ChangeKind, Compression, Db, Durability, Entry, Options, SeqNo,
    Value, inspect, repair, roadmap_log, verify,
};

/// The set that this build writes.
const NEWEST: &str = "1";

/// All sets together stay below this, in bytes.
const SETS_LEN_MAX: u64 = 800 << 10;

/// A value up to this length is listed whole, in bytes; a longer one by its length and checksum.
const LISTED_LEN_MAX: usize = 64;

/// What the clock says when a set is written, and when it is read, in milliseconds.
const WRITTEN_MS: u64 = 10_000;
const READ_MS: u64 = 20_000;

type Files = BTreeMap<FileName, Vec<u8>>;

/// A directory of a set: its files, and the lines of its list.
struct Golden {
    files: Files,
    list: Vec<String>,
}

fn sets() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden")
}

fn subdirectories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

fn list_of(directory: &Path) -> Vec<String> {
    let list = fs::read_to_string(directory.with_extension("txt")).unwrap();
    list.lines().map(str::to_string).collect()
}

/// Everything that an older build wrote is there, under the numbers that it was given, and stays so while a newer one
/// works on it.
#[test]
fn what_was_declared_is_read() {
    let mut count = 0;
    for set in subdirectories(&sets()) {
        for directory in subdirectories(&set) {
            let expected = list_of(&directory);
            let storage = memory_of(&files_in(&directory));
            let reads = |db: &Db, when: &str, expected: &[String], seen: &[String]| {
                for (seen, expected) in seen.iter().zip(expected) {
                    assert_eq!(seen, expected, "{}, {when}", directory.display());
                }
                assert_eq!(seen.len(), expected.len(), "{}, {when}", directory.display());
                let check = db.verify().unwrap();
                assert!(check.ok(), "{}, {when}: {check:?}", directory.display());
            };
            let check = verify(Arc::new(storage.clone())).unwrap();
            assert!(check.ok(), "{}: {check:?}", directory.display());
            let readers = Options {
                clock: Arc::new(|| READ_MS),
                keep_changes_bytes: 1 << 20,
                ..options(64 << 10, 900)
            };
            let db = Db::open_read_only_with(Arc::new(storage.clone()), readers.clone()).unwrap();
            let entry_count = expected.iter().filter(|line| !line.starts_with("change ")).count();
            reads(&db, "read only", &expected[..entry_count], &entries(&db));
            db.close().unwrap();
            let everything = |db: &Db| [entries(db), changes(db)].concat();
            let db = Db::open_with(Arc::new(storage.clone()), readers.clone()).unwrap();
            reads(&db, "opened", &expected, &everything(&db));
            assert_eq!(db.recovery().torn.is_some(), directory.ends_with("crashed"), "{:?}", db.recovery());
            let taken = db.replay_status(&log()[..]).unwrap().map(|checkpoint| checkpoint.offset);
            assert_eq!(taken, directory.ends_with("closed").then_some(log().len() as u64));
            db.compact().unwrap();
            reads(&db, "compacted", &expected, &everything(&db));
            db.close().unwrap();
            let db = Db::open_with(Arc::new(storage), readers).unwrap();
            reads(&db, "opened again", &expected, &everything(&db));
            count += 1;
        }
    }
    assert!(count >= 3, "{count} directories");
}

/// If this fails, the bytes have changed. Was that meant? A change of the format takes a new version, by the table in
/// FORMAT.md, "Versions"; one of habits alone, a new set. No set is ever written anew: the old ones are what has to be
/// read. `CAIRN_GOLDEN=write` writes [`NEWEST`], if it is not there.
#[test]
fn the_newest_set_is_what_this_build_writes() {
    let set = sets().join(NEWEST);
    if std::env::var("CAIRN_GOLDEN").is_ok_and(|value| value == "write") {
        assert!(!set.exists(), "{} is there, and stays as it is", set.display());
        for (name, golden) in write() {
            fs::create_dir_all(set.join(name)).unwrap();
            for (file, bytes) in &golden.files {
                fs::write(set.join(name).join(file.to_string()), bytes).unwrap();
            }
            fs::write(set.join(name).with_extension("txt"), golden.list.join("\n") + "\n").unwrap();
        }
        fs::write(set.join("roadmap.log"), log()).unwrap();
    }
    let written = write();
    assert_eq!(subdirectories(&set).len(), written.len());
    for (name, golden) in written {
        let kept = files_in(&set.join(name));
        assert!(
            kept.keys().eq(golden.files.keys()),
            "{name}: {:?} and {:?}",
            kept.keys(),
            golden.files.keys()
        );
        for (file, bytes) in golden.files {
            let differs = kept[&file].iter().zip(&bytes).position(|(kept, now)| kept != now);
            assert!(kept[&file] == bytes, "{name}/{file} differs, at {differs:?}, of {} bytes", bytes.len());
        }
        assert_eq!(golden.list, list_of(&set.join(name)), "{name}");
    }
    assert!(fs::read(set.join("roadmap.log")).unwrap() == log(), "roadmap.log differs");
}

/// A set that left something out would guard it against nothing.
#[test]
fn the_newest_set_has_all_that_the_format_has() {
    let mut seen = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for (_, golden) in write() {
        let storage = memory_of(&golden.files);
        for name in golden.files.keys() {
            kinds.insert(name.kind);
            let mut page = Vec::new();
            inspect(storage.open("test", *name).unwrap(), *name, &mut page).unwrap();
            for line in String::from_utf8(page).unwrap().lines() {
                let line =
                    line.trim_start().trim_start_matches(|letter: char| letter.is_ascii_digit()).trim_start();
                let field = line.split("  ").next().unwrap_or_default();
                // Records and blocks say more in their headings, features in their values.
                let told = match field {
                    "features" | "magic" => line.split_whitespace().collect::<Vec<_>>().join(" "),
                    field if field.starts_with("block: ") => "block".to_string(),
                    field => field.to_string(),
                };
                seen.insert(told);
                if let Some((_, level)) = line.split_once(".sst to level ") {
                    seen.insert(format!("level {}", &level[..1]));
                }
            }
        }
    }
    assert!(kinds.iter().eq(&BTreeSet::from(FileKind::ALL)), "{kinds:?}");
    let expected = [
        "magic \"cairnman\"",
        "magic \"cairnsst\"",
        "magic \"cairnwal\"",
        "features 0x0",
        "features 0x1",
        "record: Batch",
        "record: Mark",
        "record: Close",
        "record: Base",
        "record: Edit",
        "delete",
        "put",
        "put with expiry",
        "range delete",
        "added",
        "removed",
        "checkpoint",
        "clock ms",
        "last numbers",
        "needed WAL",
        "level 0",
        "level 5",
        "level 6",
        "index",
        "filter",
        "bounds",
        "block",
    ];
    let missing: Vec<_> = expected.iter().filter(|what| !seen.contains(**what)).collect();
    assert!(missing.is_empty(), "nothing says {missing:?}, but {seen:?}");
}

#[test]
fn the_sets_are_small() {
    let len = |path: PathBuf| fs::metadata(path).unwrap().len();
    let files =
        |path: &Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let sets = subdirectories(&sets());
    let directories: Vec<_> = sets.iter().flat_map(|set| subdirectories(set)).collect();
    let total: u64 = sets
        .iter()
        .chain(&directories)
        .flat_map(|path| files(path))
        .filter(|path| path.is_file())
        .map(len)
        .sum();
    assert!(total <= SETS_LEN_MAX, "{total} bytes");
}

#[test]
fn a_log_of_the_roadmap_is_taken_in() {
    for set in subdirectories(&sets()) {
        let db = Db::open_with(Arc::new(Memory::default()), options(64 << 10, 1)).unwrap();
        db.replay_log(&fs::read(set.join("roadmap.log")).unwrap()[..], None).unwrap();
        let seen: Vec<_> =
            db.scan(..).map(|item| item.unwrap()).map(|(key, value)| (key, value.into_vec())).collect();
        let pair = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        assert_eq!(seen, [pair("", "of the empty key"), pair("empty", ""), pair("stone", "granite")]);
    }
}

/// Whoever opens a directory of a later format is told so, by the file and both formats, and nothing is changed.
#[test]
fn a_later_format_is_refused_by_whoever_opens_it() {
    let mut files = files_in(&sets().join(NEWEST).join("closed"));
    let (manifest, bytes) = files.iter_mut().find(|(name, _)| name.kind == FileKind::Manifest).unwrap();
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..76]).to_le_bytes();
    bytes[76..80].copy_from_slice(&crc);
    let expected = format!("{manifest} is of format 2, which a later build wrote; this one reads format 1");
    let storage = memory_of(&files);
    let shared = || Arc::new(storage.clone());
    let refusals = [
        Db::open_with(shared(), options(64 << 10, 1)).err(),
        Db::open_read_only_with(shared(), options(64 << 10, 1)).err(),
        verify(shared()).err(),
        repair(shared(), Arc::new(Memory::default()), options(64 << 10, 1)).err(),
    ];
    for refusal in refusals {
        let told = refusal.expect("it is refused").to_string();
        assert!(told.contains(&expected), "{told}");
    }
    assert!(files_of(&storage) == files, "files were changed");
}

/// A log as the roadmap's first week has it.
fn log() -> Vec<u8> {
    let mut log = Vec::new();
    roadmap_log::encode_put(b"stone", b"slate", &mut log);
    roadmap_log::encode_put(b"gone", b"soon", &mut log);
    roadmap_log::encode_put(b"empty", b"", &mut log);
    roadmap_log::encode_delete(b"gone", &mut log);
    roadmap_log::encode_put(b"", b"of the empty key", &mut log);
    roadmap_log::encode_put(b"stone", b"granite", &mut log);
    log
}

/// Writes the newest set.
fn write() -> BTreeMap<&'static str, Golden> {
    BTreeMap::from([("closed", closed()), ("crashed", crashed()), ("backup", backup())])
}

/// A database of several lives, closed: levels 0, 5 and 6, plain and packed tables, large values, kept changes.
fn closed() -> Golden {
    let storage = Memory::default();
    let mut writer =
        Writer::open(&storage, Options { compression: Compression::None, ..options(96 << 10, 1) });
    // Level 6 must be long, for level 5 to be worth having.
    for n in 0..10 {
        writer.write(|batch| batch.put(format!("large {n}"), bytes(n, 22_000 + n as usize)));
    }
    for n in 0..120 {
        writer.write(|batch| match n % 5 {
            0 => batch.put_with_expiry(key(n), bytes(n, 40), 15_000 + n % 2 * 100_000),
            _ => batch.put(key(n), text(n)),
        });
    }
    writer.db.compact().unwrap();
    writer.db.checkpoint().unwrap();
    writer.db.close().unwrap();

    let small =
        |id| Options { compression: Compression::Lz4, keep_changes_bytes: 24 << 10, ..options(32 << 10, id) };
    writer.reopen(&storage, small(2));
    writer.write(|batch| batch.keyspace(1).put("of", "one").keyspace(254).put("of", "254").put("", "no key"));
    writer.replay();
    for n in 0..300 {
        writer.write(|batch| match n % 10 {
            0 => batch.delete(key(n % 150)),
            5 => batch.delete_range(key(n % 150)..key(n % 150 + 3)),
            7 => batch.put_with_expiry(key(n), text(n), 12_000 + n % 3 * 100_000),
            8 => batch.put(key(n), text(n)).delete(key(n + 1)).put(key(n + 2), ""),
            9 => batch.keyspace(7).put(key(n), bytes(n, 30)),
            _ => batch.put(key(n * 7 % 150), text(n)),
        });
    }
    while writer.db.maintain().unwrap() {}
    // What lies over nothing in level 6 stays in level 5; then what stays in level 0, and in the log.
    for n in 0..40 {
        writer.write(|batch| batch.put(format!("level 5, {n}"), bytes(n, 480)));
    }
    while writer.db.maintain().unwrap() {}
    for n in 300..340 {
        writer.write(|batch| batch.put(key(n), bytes(n, 60)));
    }
    writer.write(|batch| batch.keyspace(7).delete_range(key(250)..));
    writer.db.flush().unwrap();
    writer.write(|batch| batch.delete(key(301)).put(key(302), "in the log"));
    writer.db.maintain().unwrap();
    writer.db.close().unwrap();

    // The log of a clean close is kept, and the manifest says that it is needed.
    writer.reopen(&storage, small(3));
    writer.write(|batch| {
        batch
            .put("life", "the third")
            .put_with_expiry("short", "life", 10_500)
            .delete_range(key(310)..key(320));
        batch.keyspace(254).put_with_expiry("long", "life", 1 << 45)
    });
    writer.db.close().unwrap();
    writer.end(&storage)
}

/// A database as a crash leaves it: two logs to be replayed, the last record torn.
fn crashed() -> Golden {
    let storage = Memory::default();
    let mut writer = Writer::open(&storage, options(64 << 10, 101));
    for n in 0..100 {
        writer.write(|batch| batch.put(key(n % 60), bytes(n, 100)).durability(Durability::Os));
    }
    writer.db.compact().unwrap();
    writer.write(|batch| batch.put("vouched for", "by a mark").durability(Durability::Sync));
    // Idle is who has nothing to do twice in a row.
    while writer.db.maintain().unwrap() || writer.db.maintain().unwrap() {}
    for n in 100..200 {
        writer.write(|batch| batch.put(key(n), bytes(n, 100)).durability(Durability::Os));
    }
    writer.write(|batch| batch.put("synced", "with all before it").durability(Durability::Sync));
    writer.write(|batch| batch.delete(key(3)).delete_range(key(10)..key(20)).durability(Durability::Os));
    let mut torn = Batch::new();
    torn.put("torn", "in the middle").delete("synced").durability(Durability::Os);
    let whole = files_of(&storage);
    writer.db.write(torn).unwrap();
    let mut golden = writer.end(&storage);
    // Of the record's bytes the last sixteen did not come to the disk. They are those that differ from the room before.
    let (name, log) = golden.files.iter_mut().rfind(|(name, _)| name.kind == FileKind::Wal).unwrap();
    let end = log.iter().zip(&whole[name]).rposition(|(now, before)| now != before).unwrap() + 1;
    log[end - 16..end].fill(0);
    golden
}

/// A backup of a database that went on.
fn backup() -> Golden {
    let storage = Memory::default();
    let mut writer = Writer::open(&storage, options(64 << 10, 201));
    for n in 0..60 {
        writer.write(|batch| batch.put(key(n), text(n)).keyspace(9).put(key(n), bytes(n, 20)));
    }
    writer.write(|batch| batch.delete(key(1)).keyspace(9).delete_range(key(20)..key(30)));
    let copy = Memory::default();
    writer.db.backup(&copy, BackupMode::Copy).unwrap();
    let list = writer.list();
    writer.db.put("after", "the backup").unwrap();
    // Kept logs are not taken along, nor do changes go back beyond the backup.
    let list = list.into_iter().filter(|line| !line.starts_with("change ")).collect();
    Golden { files: files_of(&copy), list }
}

fn options(budget: u64, first_id: u64) -> Options {
    let next = AtomicU64::new(first_id);
    let ids = move || u128::from(next.fetch_add(1, Ordering::Relaxed)) << 64 | 0xC0FFEE;
    Options { memory_budget_bytes: budget, ..Options::new(Arc::new(|| WRITTEN_MS), Arc::new(ids)) }
}

fn key(n: u64) -> String {
    format!("key {n:04}")
}

/// What packs well.
fn text(n: u64) -> String {
    format!("the value of {n}, ").repeat(1 + n as usize % 12)
}

/// What does not: Vigna's splitmix64.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let word = |n: u64| {
        let mixed = (seed << 32 | n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    };
    (1..).flat_map(|n| word(n).to_le_bytes()).take(len).collect()
}

/// A database, and a map that knows what must be in it.
struct Writer {
    db: Db,
    map: BTreeMap<(u8, Vec<u8>), Entry>,
    changes: Vec<Change>,
}

impl Writer {
    fn open(storage: &Memory, options: Options) -> Writer {
        let db = Db::open_with(Arc::new(storage.clone()), options).unwrap();
        Writer { db, map: BTreeMap::new(), changes: Vec::new() }
    }

    fn reopen(&mut self, storage: &Memory, options: Options) {
        self.db = Db::open_with(Arc::new(storage.clone()), options).unwrap();
    }

    /// Writes a batch. What it does is learnt from the feed of changes and applied to the map by rules of our own.
    fn write(&mut self, fill: impl FnOnce(&mut Batch) -> &mut Batch) {
        let mut batch = Batch::new();
        fill(&mut batch);
        let count = batch.len() as u64;
        let last_seq = self.db.write(batch).unwrap();
        self.note(last_seq + 1 - count);
    }

    fn replay(&mut self) {
        let first_seq = self.db.snapshot().unwrap().seq() + 1;
        self.db.replay_log(&log()[..], None).unwrap();
        self.note(first_seq);
    }

    fn note(&mut self, first_seq: SeqNo) {
        let mut changes = self.db.changes(first_seq - 1).unwrap();
        while let Some(change) = changes.next_change().unwrap() {
            for ChangeEntry { seq, keyspace, key, kind } in &change.entries {
                match kind {
                    ChangeKind::Put { value, expires_at_ms } => {
                        let value = Value::from(value.clone());
                        let entry = Entry { value, seq: *seq, expires_at_ms: *expires_at_ms };
                        self.map.insert((*keyspace, key.clone()), entry);
                    }
                    ChangeKind::Delete => drop(self.map.remove(&(*keyspace, key.clone()))),
                    ChangeKind::DeleteRange { end } => self.map.retain(|(space, name), _| {
                        space != keyspace || name < key || end.as_ref().is_some_and(|end| name >= end)
                    }),
                    _ => panic!("a change of another kind: {kind:?}"),
                }
            }
            self.changes.push(change);
        }
    }

    fn list(&self) -> Vec<String> {
        let lives = |entry: &Entry| entry.expires_at_ms.is_none_or(|at| at > READ_MS);
        let entries = self.map.iter().filter(|(_, entry)| lives(entry));
        let oldest = self.db.oldest_change();
        let changes = self.changes.iter().filter(|change| change.first_seq >= oldest);
        entries
            .map(|((keyspace, key), entry)| entry_line(*keyspace, key, entry))
            .chain(changes.map(change_line))
            .collect()
    }

    fn end(self, storage: &Memory) -> Golden {
        Golden { list: self.list(), files: files_of(storage) }
    }
}

/// What a database holds: every key of every keyspace, with its number and expiry.
fn entries(db: &Db) -> Vec<String> {
    let mut lines = Vec::new();
    for keyspace in 0..=254 {
        let snapshot = db.snapshot().unwrap().keyspace(keyspace).unwrap();
        for item in snapshot.scan(..) {
            let (key, value) = item.unwrap();
            let entry = snapshot.get_entry(&key).unwrap().unwrap();
            assert_eq!(entry.value, value, "{keyspace}/{}", key.escape_ascii());
            lines.push(entry_line(keyspace, &key, &entry));
        }
    }
    lines
}

/// What was written to it, as far back as is kept.
fn changes(db: &Db) -> Vec<String> {
    let mut changes = db.changes(db.oldest_change() - 1).unwrap();
    std::iter::from_fn(|| changes.next_change().unwrap()).map(|change| change_line(&change)).collect()
}

fn entry_line(keyspace: u8, key: &[u8], entry: &Entry) -> String {
    let until = entry.expires_at_ms.map(|at| format!(" until {at}")).unwrap_or_default();
    format!("{keyspace}/\"{}\" @{}{until} = {}", key.escape_ascii(), entry.seq, shown(&entry.value))
}

fn change_line(change: &Change) -> String {
    let mut line = format!("change {}..={}", change.first_seq, change.last_seq);
    for ChangeEntry { seq, keyspace, key, kind } in &change.entries {
        let done = match kind {
            ChangeKind::Put { value, expires_at_ms: None } => format!("put {}", shown(value)),
            ChangeKind::Put { value, expires_at_ms: Some(at) } => format!("put {} until {at}", shown(value)),
            ChangeKind::Delete => "delete".to_string(),
            ChangeKind::DeleteRange { end: Some(end) } => format!("delete to \"{}\"", end.escape_ascii()),
            ChangeKind::DeleteRange { end: None } => "delete to the end".to_string(),
            _ => panic!("a change of another kind: {kind:?}"),
        };
        line += &format!("; {keyspace}/\"{}\" @{seq} {done}", key.escape_ascii());
    }
    line
}

fn shown(value: &[u8]) -> String {
    if value.len() <= LISTED_LEN_MAX {
        format!("\"{}\"", value.escape_ascii())
    } else {
        format!("{} bytes, CRC {:08x}", value.len(), crc32c::crc32c(value))
    }
}

fn files_of(storage: &Memory) -> Files {
    let bytes_of = |name: FileName| {
        let file = storage.open("test", name).unwrap();
        let mut bytes = vec![0; file.len("test").unwrap() as usize];
        file.read_at("test", 0, &mut bytes).unwrap();
        (name, bytes)
    };
    storage.list("test").unwrap().into_iter().map(bytes_of).collect()
}

fn files_in(directory: &Path) -> Files {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let name = |entry: &fs::DirEntry| entry.file_name().to_str().unwrap().parse().unwrap();
    entries.map(|entry| (name(&entry), fs::read(entry.path()).unwrap())).collect()
}

fn memory_of(files: &Files) -> Memory {
    let storage = Memory::default();
    for (name, bytes) in files {
        let (number, file) = storage.create("test", name.kind, name.number - 1).unwrap();
        assert_eq!(number, name.number);
        file.append("test", 0, bytes).unwrap();
    }
    storage
}
