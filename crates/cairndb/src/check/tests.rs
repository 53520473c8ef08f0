//! For each promise that a check reports on, a database that breaks it.

use cairndb_storage::{Fault, Faulty, Memory};

use super::*;
use crate::coding::Place;
use crate::db::write_anew;
use crate::files::create_file;
use crate::key::Kind;
use crate::manifest::Manifest;
use crate::options::{Compression, Options};
use crate::range_delete::RangeDeletes;
use crate::sstable::{FOOTER_LEN, Footer, TableMeta, TableWriter};
use crate::version::{Edit, State};
use crate::wal::Checkpoint;

const ID: u128 = 7;

fn put<'a>(key: &'a str, seq: SeqNo, value: &'a [u8]) -> EntryRef<'a> {
    EntryRef { key: key.as_bytes(), seq, kind: Kind::Put, expires_at_ms: 0, value }
}

fn deleting(start: &str, end: &str, seq: SeqNo) -> RangeDeletes {
    let mut deletes = RangeDeletes::default();
    deletes.insert(start.as_bytes(), end.as_bytes(), seq);
    deletes
}

/// Writes a table, whatever is in it.
fn table(memory: &Memory, number: u64, entries: &[EntryRef<'_>], deletes: &RangeDeletes) -> TableMeta {
    let (number, file) = create_file(memory, FileKind::SsTable, number - 1, "test").unwrap();
    let mut writer = TableWriter::new(file, number, ID, 1, 1, Compression::None);
    entries.iter().for_each(|entry| writer.add(*entry).unwrap());
    writer.finish(deletes).unwrap()
}

/// Puts tables at levels, whether or not they may stand there.
fn arrange(memory: &Memory, tables: &[(usize, &TableMeta)], next_seq: SeqNo) {
    let tables = tables.iter().map(|(level, meta)| (meta.number, (*level, (*meta).clone()))).collect();
    let checkpoint = Checkpoint { wal: 0, seq: next_seq };
    let state = State { tables, checkpoint, clock_ms: 100, last_sstable: 9, ..State::default() };
    write_anew(memory, ID, 1, state).unwrap();
}

fn check(memory: &Memory) -> Verification {
    verify(Arc::new(memory.clone())).unwrap()
}

/// The only promise that is broken, and how.
#[track_caller]
fn require_broken(memory: &Memory, promise: u8, what: &str) {
    let found = check(memory);
    let promises: BTreeSet<u8> = found.checks.iter().map(|check| check.promise).collect();
    assert_eq!(promises, (1..=12).collect(), "each is told of");
    for check in &found.checks {
        assert!(check.promise == promise || check.problems.is_empty(), "{check:?}");
    }
    let problems: Vec<_> = found.checks.iter().flat_map(|check| &check.problems).collect();
    assert!(problems.iter().any(|problem| problem.to_string().contains(what)), "{found:?}");
}

fn nothing() -> RangeDeletes {
    RangeDeletes::default()
}

#[test]
fn a_sound_database_keeps_every_promise_and_each_is_told_of() {
    let memory = Memory::default();
    let upper = table(&memory, 1, &[put("a", 9, b"new"), put("b", 5, b"")], &deleting("c", "f", 8));
    let lower = table(&memory, 2, &[put("a", 3, b"old"), put("d", 4, b"")], &nothing());
    arrange(&memory, &[(0, &upper), (6, &lower)], 10);
    let (told, read) = (Arc::new(crate::sync::Mutex::new(0)), check(&memory));
    assert!(read.ok(), "{read:?}");
    let promises: BTreeSet<u8> = read.checks.iter().map(|check| check.promise).collect();
    assert_eq!(promises, (1..=12).collect());
    assert_eq!(read.checks.iter().filter(|check| !check.seen).count(), UNSEEN.len());
    let pace = {
        let told = Arc::clone(&told);
        Arc::new(move |len| *told.lock() += len)
    };
    assert!(verify_at_pace(Arc::new(memory), pace).unwrap().ok());
    assert!(*told.lock() > 2 * read.bytes, "every byte of a table is read as a file, and as blocks");
}

/// A manifest that tells of narrower bounds than the table's: reads would pass over what lies outside.
#[test]
fn entries_outside_the_bounds_that_the_manifest_tells_are_found() {
    let told_of = |narrow: fn(&mut TableMeta)| {
        let memory = Memory::default();
        let entries = [put("a", 1, b""), put("b", 2, b""), put("c", 3, b"")];
        let mut meta = table(&memory, 1, &entries, &nothing());
        narrow(&mut meta);
        arrange(&memory, &[(6, &meta)], 10);
        let problems = check(&memory).checks.into_iter().flat_map(|check| check.problems);
        problems.map(|problem| problem.to_string()).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(told_of(|_| {}), "");
    let wider = told_of(|meta| meta.end = b"z".to_vec());
    assert!(wider.contains("the bounds are not those") && !wider.contains("outside"), "{wider}");
    let narrower: [fn(&mut TableMeta); 3] =
        [|meta| meta.start = b"b".to_vec(), |meta| meta.end = b"c".to_vec(), |meta| meta.end = b"b".to_vec()];
    for narrow in narrower {
        let told = told_of(narrow);
        assert!(told.contains("the bounds are not those") && told.contains("outside the table's"), "{told}");
    }
}

#[test]
fn a_log_that_is_not_there_breaks_promise_2() {
    let memory = Memory::default();
    arrange(&memory, &[], 10);
    memory.remove("test", FileName { kind: FileKind::Wal, number: 1 }).unwrap();
    require_broken(&memory, 2, "the WAL that the checkpoint names is not there");
}

#[test]
fn a_number_given_twice_makes_no_whole_manifest() {
    let memory = Memory::default();
    let only = table(&memory, 1, &[put("a", 9, b"")], &nothing());
    arrange(&memory, &[(6, &only)], 9);
    require_broken(&memory, 5, "does not fit the ones before it");
}

#[test]
fn names_that_do_not_fit_what_stands_break_promise_5() {
    let memory = Memory::default();
    let only = table(&memory, 1, &[put("a", 1, b"")], &nothing());
    arrange(&memory, &[(6, &only)], 10);
    // Born under a manifest that is gone.
    let (number, file) = create_file(&memory, FileKind::SsTable, 4, "test").unwrap();
    let mut writer = TableWriter::new(file, number, ID, 99, 1, Compression::None);
    writer.add(put("a", 1, b"")).unwrap();
    writer.finish(&nothing()).unwrap();
    require_broken(&memory, 5, "it was born under manifest 99, which is gone");
    memory.remove("test", FileName { kind: FileKind::SsTable, number }).unwrap();
    // An obsolete one is no damage, but it is told.
    table(&memory, 6, &[put("a", 1, b"")], &nothing());
    let found = check(&memory);
    assert!(found.ok() && found.checks.iter().any(|check| check.what.contains("000006.sst")), "{found:?}");
    let named = FileName { kind: FileKind::SsTable, number: 1 };
    let file = memory.open("test", named).unwrap();
    file.append("test", file.len("test").unwrap(), b"more").unwrap();
    let longer = check(&memory);
    assert!(longer.checks.iter().any(|check| check.promise == 5 && !check.problems.is_empty()), "{longer:?}");
    memory.remove("test", named).unwrap();
    let without = check(&memory);
    assert!(
        without.checks.iter().any(|check| check.promise == 5 && !check.problems.is_empty()),
        "{without:?}"
    );
}

#[test]
fn an_entry_above_a_newer_one_breaks_promise_6() {
    let lower_entries: [(&[EntryRef<'_>], RangeDeletes, &str); 2] = [
        (&[put("a", 1, b""), put("k", 7, b"")], nothing(), "lies above @7, which is newer"),
        (&[put("a", 1, b"")], deleting("j", "l", 8), "lies above a range delete @8, which is newer"),
    ];
    for (entries, deletes, what) in lower_entries {
        for level in [0, 5] {
            let memory = Memory::default();
            let upper = table(&memory, 1, &[put("k", 5, b"")], &nothing());
            let lower = table(&memory, 2, entries, &deletes);
            arrange(&memory, &[(level, &upper), (6, &lower)], 10);
            require_broken(&memory, 6, what);
        }
    }
}

/// A compaction has replaced a table of the last level, and what it merged stands above it still.
#[test]
fn copies_of_a_newer_entry_break_nothing() {
    let memory = Memory::default();
    let newest = table(&memory, 1, &[put("k", 7, b"")], &deleting("a", "c", 8));
    let newer = table(&memory, 2, &[put("b", 4, b""), put("k", 5, b"")], &nothing());
    let lower = table(&memory, 3, &[put("k", 7, b"")], &deleting("a", "c", 8));
    arrange(&memory, &[(0, &newest), (0, &newer), (6, &lower)], 10);
    let found = check(&memory);
    assert!(found.ok(), "{found:?}");
}

#[test]
fn runs_of_level_0_that_overlap_break_promise_6() {
    let memory = Memory::default();
    let one = table(&memory, 1, &[put("a", 1, b""), put("b", 5, b"")], &nothing());
    let two = table(&memory, 2, &[put("c", 3, b"")], &nothing());
    arrange(&memory, &[(0, &one), (0, &two)], 10);
    require_broken(&memory, 6, "its sequence numbers overlap those of an older run of level 0");
}

#[test]
fn a_clock_that_goes_back_breaks_promise_7() {
    let memory = Memory::default();
    let checkpoint = Checkpoint { wal: 1, seq: 1 };
    arrange(&memory, &[], 1);
    let base = State { checkpoint, clock_ms: 100, last_wal: 1, ..State::default() }.base();
    let mut manifest = Manifest::create(&memory, 2, 2, ID, &base).unwrap();
    manifest.record(&Edit { clock_ms: Some(99), ..Edit::default() }).unwrap();
    require_broken(&memory, 7, "the clock goes back here");
}

/// Gives the table other counts, in its footer and for the manifest.
fn lie(memory: &Memory, mut meta: TableMeta, change: impl FnOnce(&mut TableMeta)) -> TableMeta {
    let name = FileName { kind: FileKind::SsTable, number: meta.number };
    let (file, offset) = (memory.open("test", name).unwrap(), meta.len - FOOTER_LEN as u64);
    let mut bytes = [0; FOOTER_LEN];
    file.read_at("test", offset, &mut bytes).unwrap();
    let place = Place::new(ID, meta.number);
    let mut footer = Footer::decode(&bytes, place, offset, name).unwrap();
    change(&mut meta);
    footer.counts = meta.counts;
    file.append("test", offset, &footer.encode(place, offset)).unwrap();
    meta
}

#[test]
fn counts_that_are_not_the_true_ones_break_promise_9() {
    type Change = fn(&mut TableMeta);
    let changes: [(Change, &str); 3] = [
        (|meta| meta.counts.deletes = 1, "not what the footer counts"),
        (|meta| meta.counts.data_len += 1, "not what the footer counts"),
        (|meta| meta.counts.seq_min = 2, "an entry lies outside the table's bounds"),
    ];
    for (change, what) in changes {
        let memory = Memory::default();
        let meta = table(&memory, 1, &[put("a", 1, b""), put("b", 3, b"")], &nothing());
        let meta = lie(&memory, meta, change);
        arrange(&memory, &[(6, &meta)], 10);
        require_broken(&memory, 9, what);
    }
}

#[test]
fn a_filter_that_denies_and_a_hash_that_differs_break_promise_9() {
    let memory = Memory::default();
    let meta = table(&memory, 1, &[put("a", 1, b"")], &nothing());
    arrange(&memory, &[(6, &meta)], 10);
    let name = FileName { kind: FileKind::SsTable, number: 1 };
    let (file, offset) = (memory.open("test", name).unwrap(), meta.len - FOOTER_LEN as u64);
    let mut bytes = [0; FOOTER_LEN];
    file.read_at("test", offset, &mut bytes).unwrap();
    let place = Place::new(ID, 1);
    let filter = Footer::decode(&bytes, place, offset, name).unwrap().filter;
    // An empty filter of one line, signed.
    let mut block = vec![0; filter.len as usize - 1];
    block.extend([6, 0]);
    block.extend(filter.len.to_le_bytes());
    let crc = place.checksum(filter.offset, &[&block]);
    block.extend(crc.to_le_bytes());
    file.append("test", filter.offset, &block).unwrap();
    require_broken(&memory, 9, "the filter denies a key that is there");
    require_broken(&memory, 9, "does not have the hash that the manifest recorded");
}

#[test]
fn half_of_a_settled_database_unseen_breaks_promise_10() {
    let memory = Memory::default();
    let (keys, value): (Vec<String>, _) = ((1000..1400).map(|key| key.to_string()).collect(), [7; 10_000]);
    let twice = |key| [put(key, 5, &value), put(key, 3, &value)];
    let entries: Vec<EntryRef<'_>> = keys.iter().flat_map(|key| twice(key)).collect();
    let meta = table(&memory, 1, &entries, &nothing());
    let honest = Memory::default();
    table(&honest, 1, &entries, &nothing());
    arrange(&honest, &[(6, &meta)], 10);
    assert!(check(&honest).ok(), "it is not settled: {:?}", check(&honest));
    let meta = lie(&memory, meta, |meta| meta.counts.stale_len = 0);
    arrange(&memory, &[(6, &meta)], 10);
    let found = check(&memory);
    let broken: Vec<u8> =
        found.checks.iter().filter(|check| !check.problems.is_empty()).map(|check| check.promise).collect();
    assert_eq!(broken, [9, 10], "{found:?}");
}

/// A storage whose lock keeps nobody out.
struct Unlocked(Memory);

impl Storage for Unlocked {
    fn create(&self, site: Site, kind: FileKind, above: u64) -> io::Result<(u64, Arc<dyn File>)> {
        self.0.create(site, kind, above)
    }
    fn open(&self, site: Site, name: FileName) -> io::Result<Arc<dyn File>> {
        self.0.open(site, name)
    }
    fn remove(&self, site: Site, name: FileName) -> io::Result<()> {
        self.0.remove(site, name)
    }
    fn list(&self, site: Site) -> io::Result<Vec<FileName>> {
        self.0.list(site)
    }
    fn sync_names(&self, site: Site) -> io::Result<()> {
        self.0.sync_names(site)
    }
    fn lock(&self, _: Site, _: LockMode) -> std::result::Result<Lock, LockError> {
        Ok(Lock::new(()))
    }
}

#[test]
fn an_open_database_is_checked_too_and_a_lock_that_holds_nothing_breaks_promise_12() {
    let options =
        || Options { memory_budget_bytes: 64 << 10, ..Options::new(Arc::new(|| 5), Arc::new(|| ID)) };
    let memory = Memory::default();
    let db = Db::open_with(Arc::new(memory.clone()), options()).unwrap();
    for key in 0..2000_u32 {
        db.put(key.to_be_bytes(), [3; 30]).unwrap();
    }
    db.delete_range(5_u32.to_be_bytes()..9_u32.to_be_bytes()).unwrap();
    let found = db.verify().unwrap();
    assert!(found.ok(), "{found:?}");
    let seen: BTreeSet<u8> =
        found.checks.iter().filter(|check| check.seen).map(|check| check.promise).collect();
    assert_eq!(seen, [2, 3, 5, 6, 7, 9, 10, 11, 12].into());
    // A table that goes bad under the open database.
    let name = memory.list("test").unwrap().into_iter().find(|name| name.kind == FileKind::SsTable).unwrap();
    memory.open("test", name).unwrap().append("test", 100, b"rot").unwrap();
    assert!(!db.verify().unwrap().ok());

    let db = Db::open_with(Arc::new(Unlocked(Memory::default())), options()).unwrap();
    let found = db.verify().unwrap();
    let broken: Vec<u8> =
        found.checks.iter().filter(|check| !check.problems.is_empty()).map(|check| check.promise).collect();
    assert_eq!(broken, [12], "{found:?}");
}

/// A table is read twice: for its checksums, and for what can be seen of it. A disk that failed in between made of the second
/// reading "0 % can be seen", and a pass.
#[test]
fn what_could_not_be_read_the_second_time_passed() {
    let disk = Faulty::default();
    let options = Options::new(Arc::new(|| 1), Arc::new(|| 7));
    let db = Db::open_with(Arc::new(disk.clone()), options).unwrap();
    db.put("key", "value").unwrap();
    db.compact().unwrap();
    db.close().unwrap();
    disk.fail(Fault::nth(1, std::io::ErrorKind::Other).at("salvage.len"));
    let checked = verify(Arc::new(disk)).unwrap();
    assert!(!checked.ok(), "{checked:?}");
}
