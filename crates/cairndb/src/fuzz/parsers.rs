//! Parsers: a target for each kind of bytes.

use cairndb_storage::{FileKind, FileName, Memory, Storage};

use super::sign::{read_ends, sign_records, sign_table};
use super::{file_of, memory_of, options};
use crate::coding::{Decoder, Place, put_slice};
use crate::compaction::{Shape, Waiting, due, everything, owed};
use crate::cursor::Cursor;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::header::{HEADER_LEN, Header};
use crate::key::{EntryRef, Kind, SeqNo, hash_key};
use crate::manifest;
use crate::options::Compression;
use crate::record::Position;
use crate::roadmap_log::{LOG_DELETE, LogEntry, LogReader, encode_delete, encode_put};
use crate::snapshot::Live;
use crate::sstable::{
    Block, BlockCursor, BlockHandle, Filter, Keep, Packer, Table, TableCursor, TableFiles, TableMeta,
    TableWriter, decode_bounds, problems_of, read_block, seal_block,
};
use crate::sync::Arc;
use crate::version::{Edit, State, Version};
use crate::wal::{self, Authors, Checkpoint, SpareWal, Wal};

/// The number of the one file that most targets look at.
const NUMBER: u64 = 1;

/// An entry that outlives what it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    key: Vec<u8>,
    seq: SeqNo,
    kind: Kind,
    expires_at_ms: u64,
    value: Vec<u8>,
}

impl Owned {
    fn new(entry: EntryRef<'_>) -> Owned {
        let (key, value) = (entry.key.to_vec(), entry.value.to_vec());
        Owned { key, seq: entry.seq, kind: entry.kind, expires_at_ms: entry.expires_at_ms, value }
    }

    fn borrow(&self) -> EntryRef<'_> {
        let Owned { key, seq, kind, expires_at_ms, value } = self;
        EntryRef { key, seq: *seq, kind: *kind, expires_at_ms: *expires_at_ms, value }
    }

    /// As a batch holds it.
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        put_slice(out, &self.key);
        if self.kind == Kind::PutWithExpiry {
            out.extend_from_slice(&self.expires_at_ms.to_le_bytes());
        }
        if self.kind != Kind::Delete {
            put_slice(out, &self.value);
        }
    }
}

/// Whatever is wrong with bytes is told by one of these.
pub(super) fn check_error(error: &Error) {
    assert!(matches!(error, Error::Corrupt { .. } | Error::Invalid { .. }), "{error:?}");
}

/// The first byte says whether the rest is signed: it is, unless it is odd.
fn split(input: &[u8]) -> (bool, Vec<u8>) {
    let (first, rest) = input.split_first().unwrap_or((&0, &[]));
    (first % 2 == 0, rest.to_vec())
}

/// A log, which is believed if its records join: then it holds as many entries as it says, and the same when they are
/// written and read again.
pub fn wal(input: &[u8]) {
    let (signed, mut bytes) = split(input);
    let name = FileName { kind: FileKind::Wal, number: NUMBER };
    if signed {
        sign_records(name, &mut bytes, |payload| payload);
    }
    let memory = memory_of(&[(name, bytes.clone())].into());
    let Ok(header) = Header::decode(&bytes, name) else { return };
    let checkpoint = Checkpoint { wal: NUMBER, seq: header.own[2] };
    match read_wal(&memory, checkpoint, &header) {
        Ok(entries) => {
            let rewritten = Memory::default();
            let header = write_wal(&rewritten, &entries, &header).expect("there is room in memory");
            let again = read_wal(&rewritten, checkpoint, &header).expect("what was just written can be read");
            assert!(entries == again, "a log came back otherwise");
        }
        Err(error) => check_error(&error),
    }
}

fn read_wal(storage: &Memory, checkpoint: Checkpoint, header: &Header) -> Result<Vec<Owned>> {
    let authors = Authors { manifest: u64::MAX, id: header.id, needed: &[] };
    let survey = wal::survey(storage, checkpoint, &[NUMBER], &authors)?;
    let mut entries = Vec::new();
    wal::replay(storage, &survey, |batch| {
        entries.extend(batch.map(Owned::new));
        Ok(())
    })?;
    let numbers: Vec<SeqNo> = entries.iter().map(|entry| entry.seq).collect();
    assert!(numbers.iter().copied().eq(checkpoint.seq..survey.next_seq), "sequence numbers join");
    Ok(entries)
}

fn write_wal(storage: &Memory, entries: &[Owned], like: &Header) -> Result<Header> {
    let spare = SpareWal::create(storage, &mut (NUMBER - 1), like.id, 0)?;
    let mut log = Wal::begin(spare, 0, Position::default(), like.own[2])?;
    for entry in entries {
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        log.make_room(bytes.len())?;
        log.push_batch(entry.seq, 1, &bytes, Position::default());
    }
    log.write()?;
    Header::read(log.file().as_ref(), log.name(), "fuzz")
}

/// A manifest, and what is decided from it before any table is opened. What it adds up to comes back from its own base.
pub fn manifest(input: &[u8]) {
    let (signed, mut bytes) = split(input);
    let name = FileName { kind: FileKind::Manifest, number: NUMBER };
    if signed {
        sign_records(name, &mut bytes, |payload| payload);
    }
    let memory = memory_of(&[(name, bytes)].into());
    let state = match manifest::recover(&memory, &[NUMBER]) {
        Ok(recovered) => recovered.map(|recovered| recovered.state),
        Err(error) => return check_error(&error),
    };
    let Some(state) = state else { return };
    let base = Edit::decode(&state.base().encode()).expect("a base that was just written");
    let mut again = State::default();
    assert!(again.apply(&base).is_some() && again.is_sane() && again == state, "a state came back otherwise");
    let files = Arc::new(TableFiles::new(Arc::new(memory), 1 << 20, 16));
    let version = Version::new(state.tables.values().map(|(level, meta)| (*level, meta)), &files);
    decide(&version);
}

/// Everything that maintenance would ask of this version.
fn decide(version: &Version) {
    let shape = Shape { base_bytes: 1 << 16, slack_bytes: 1 << 10, is_tight: version.bytes() % 2 == 1 };
    for live in [vec![SeqNo::MAX], vec![1, 1 << 40]] {
        let live = Live { seqs: live, now_ms: 1 << 40 };
        let tasks = [due(version, shape, &live), everything(version, shape, &live, SeqNo::MAX)];
        for task in tasks.into_iter().flatten() {
            assert!(!task.inputs.is_empty(), "a task has inputs");
        }
        owed(version, shape, &live, Waiting::Entries(u64::MAX));
        owed(version, shape, &live, Waiting::RangeDeletes);
    }
    version.bytes();
}

/// A block as it is in memory. If a walk forward meets no damage, and neither does a look at the restart points, then
/// every other way through it agrees.
pub fn block(input: &[u8]) {
    let (with_base, bytes) = split(input);
    let base_seq = if with_base { 0 } else { 1 << 40 };
    let name = FileName { kind: FileKind::SsTable, number: NUMBER };
    let len = bytes.len();
    let block = match Block::new(bytes, base_seq, name, 0) {
        Ok(block) => Arc::new(block),
        Err(error) => return check_error(&error),
    };
    let cursor = || BlockCursor::new(Arc::clone(&block));
    let forward = {
        let mut cursor = cursor();
        walk(len, &mut cursor, BlockCursor::seek_first, Cursor::next)
    };
    let backward = {
        let mut cursor = cursor();
        walk(len, &mut cursor, BlockCursor::seek_last, Cursor::prev)
    };
    let whole = cursor().check_restarts();
    let probes = forward.as_ref().or(backward.as_ref()).map_or(Vec::new(), Vec::clone);
    for (index, entry) in probes.iter().enumerate().take(64) {
        let mut cursor = cursor();
        let found = cursor.seek(&entry.key, entry.seq).map(|()| cursor.entry().map(Owned::new));
        let before = cursor.seek_before(&entry.key).map(|()| cursor.entry().map(Owned::new));
        if let (Ok(forward), Ok(())) = (&forward, &whole) {
            assert!(
                found.expect("a block without damage") == Some(entry.clone()),
                "a search finds a walk's entry"
            );
            let last = forward[..index].iter().rfind(|last| last.key < entry.key);
            assert!(
                before.expect("a block without damage").as_ref() == last,
                "a search before finds the last one"
            );
        }
    }
    if let (Ok(forward), Ok(())) = (forward, whole) {
        let mut backward = backward.expect("a block without damage");
        backward.reverse();
        assert!(forward == backward, "a walk backward is the walk forward turned round");
        assert!(forward.is_sorted_by(|a, b| (&a.key, b.seq) < (&b.key, a.seq)), "entries are in order");
    }
}

/// Everything from one end to the other. No walk takes more steps than there are bytes.
fn walk<C: Cursor>(
    len: usize,
    cursor: &mut C,
    begin: impl Fn(&mut C) -> Result<()>,
    step: impl Fn(&mut C) -> Result<()>,
) -> Result<Vec<Owned>> {
    let mut entries = Vec::new();
    begin(cursor)?;
    while let Some(entry) = cursor.entry() {
        entries.push(Owned::new(entry));
        assert!(entries.len() <= len, "a walk ends");
        step(cursor)?;
    }
    Ok(entries)
}

/// A whole table: header, blocks, index, filter, range deletes, footer. A table in which a check finds nothing can be
/// read in every way, and written again.
pub fn table(input: &[u8]) {
    let (signed, mut bytes) = split(input);
    let name = FileName { kind: FileKind::SsTable, number: NUMBER };
    if signed {
        sign_table(name, &mut bytes);
    }
    let Some((header, footer)) = read_ends(name, &bytes) else { return };
    let memory = memory_of(&[(name, bytes.clone())].into());
    let len = bytes.len() as u64;
    let file = file_of(name, &bytes);
    let bounds = read_block(file.as_ref(), len, name, header.place(), footer.bounds, "fuzz");
    let (start, end) = bounds.ok().and_then(|bytes| decode_bounds(&bytes)).unwrap_or((vec![0], vec![255]));
    let meta = TableMeta {
        number: NUMBER,
        id: header.id,
        len,
        hash: footer.hash,
        start,
        end,
        counts: footer.counts,
    };
    let mut record = Vec::new();
    meta.encode(&mut record);
    // A manifest would not take counts that cannot be.
    let Some(meta) = TableMeta::decode(&mut Decoder::new(&record)) else { return };
    let shared = Arc::new(TableFiles::new(Arc::new(memory), 1 << 20, 16));
    let table = Arc::new(Table::new(meta, shared));
    let sound = problems_of(&table).is_empty();
    let read = read_table(&table, sound);
    match &read {
        Ok(entries) if sound => rewrite(&table, entries),
        Ok(_) => {}
        Err(error) => {
            check_error(error);
            assert!(!sound, "a check found nothing, and a walk found {error:?}");
        }
    }
}

fn read_table(table: &Arc<Table>, sound: bool) -> Result<Vec<Owned>> {
    // An index may lead to one block many times, until the order of entries gives it away.
    let steps = table.meta.len as usize * 256;
    let deletes = table.range_deletes();
    let mut kept = None;
    for keep in [Keep::Seldom, Keep::Never] {
        let cursor = || TableCursor::new(Arc::clone(table), keep);
        let forward = walk(steps, &mut cursor(), |cursor| cursor.seek(b"", SeqNo::MAX), Cursor::next);
        let end = table.meta.end.clone();
        let backward = walk(steps, &mut cursor(), |cursor| cursor.seek_before(&end), Cursor::prev);
        if sound {
            let (forward, mut backward) = (forward.as_ref().map_err(Error::clone)?, backward?);
            backward.reverse();
            assert!(*forward == backward, "a walk backward is the walk forward turned round");
        }
        kept = Some(forward);
    }
    let forward = kept.expect("two rounds were made");
    for entry in forward.iter().flatten().take(64) {
        let may_contain = table.may_contain(hash_key(&entry.key));
        let found = table.get(&entry.key, entry.seq);
        let offset = table.approximate_offset(&entry.key);
        if sound {
            assert!(may_contain?, "a filter denies no key that is there");
            let found = found?.expect("a search finds a walk's entry");
            assert!((found.seq, found.value.into_vec()) == (entry.seq, entry.value.clone()), "and no other");
            assert!(offset? <= table.meta.len, "an offset lies in the table");
        }
    }
    deletes?;
    forward
}

/// What a table holds, written anew, reads the same and passes every check.
fn rewrite(table: &Table, entries: &[Owned]) {
    let deletes = table.range_deletes().expect("they were read before").unwrap_or_default();
    let place = Memory::default();
    let (number, file) = place.create("fuzz", FileKind::SsTable, 0).expect("there is room in memory");
    let base_seq = table.meta.counts.seq_min;
    let mut writer = TableWriter::new(file, number, 7, 0, base_seq, Compression::Lz4);
    for entry in entries {
        writer.add(entry.borrow()).expect("there is room in memory");
    }
    if entries.is_empty() && deletes.is_empty() {
        return;
    }
    let meta = writer.finish(&deletes).expect("there is room in memory");
    let again = Arc::new(Table::new(meta, Arc::new(TableFiles::new(Arc::new(place), 1 << 20, 16))));
    assert!(problems_of(&again).is_empty(), "a table that was just written passes every check");
    assert!(read_table(&again, true).is_ok_and(|again| again == entries), "a table came back otherwise");
    assert!(again.range_deletes().is_ok_and(|again| again.unwrap_or_default() == deletes));
}

/// A filter of any bytes, and one over the keys that the bytes are cut into.
pub fn filter(input: &[u8]) {
    if let Some(filter) = Filter::new(input.to_vec()) {
        for key in input.chunks(7).take(64) {
            filter.may_contain(hash_key(key));
        }
        for hash in [0, u64::MAX, u64::MAX << 32, u64::from(u32::MAX)] {
            filter.may_contain(hash);
        }
    }
    let len = 1 + usize::from(input.first().copied().unwrap_or(0) % 16);
    let hashes: Vec<u64> = input.chunks(len).map(hash_key).collect();
    let filter = Filter::new(Filter::build(&hashes)).expect("a filter that was just built");
    assert!(hashes.iter().all(|hash| filter.may_contain(*hash)), "a filter denies no key that is there");
}

/// A packed block: four bytes of length, a byte of packing, and the rest as packed bytes. What unpacks has the length
/// that was stated; and what is packed unpacks to the same.
pub fn lz4(input: &[u8]) {
    let name = FileName { kind: FileKind::SsTable, number: NUMBER };
    let place = Place::new(7, NUMBER);
    let mut from = Decoder::new(input);
    if let (Some(stated), Some(packing)) = (from.u32(), from.u8()) {
        let packed = &input[from.offset()..];
        let mut bytes = [packed, &[packing], &stated.to_le_bytes()[..]].concat();
        let crc = place.checksum(0, &[&bytes]);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let handle = BlockHandle { offset: 0, len: packed.len() as u32 };
        let file = file_of(name, &bytes);
        match read_block(file.as_ref(), bytes.len() as u64, name, place, handle, "fuzz") {
            Ok(block) => assert_eq!(block.len(), stated as usize, "a block has the length that was stated"),
            Err(error) => check_error(&error),
        }
    }
    let mut bytes = vec![0; HEADER_LEN as usize];
    let handle = seal_block(&mut bytes, place, HEADER_LEN, Packer::new(Compression::Lz4).as_mut(), input);
    let file = file_of(name, &bytes);
    let block = read_block(file.as_ref(), bytes.len() as u64, name, place, handle, "fuzz");
    assert!(block.is_ok_and(|block| block == input), "a block came back otherwise");
}

/// A log in the roadmap's format: read whole and in crumbs with the same result; what was read, written again, is the
/// bytes that were read; and a database takes it once.
pub fn roadmap_log(input: &[u8]) {
    let (signed, mut bytes) = split(input);
    if signed {
        sign_log(&mut bytes);
    }
    let (entries, end) = read_log(&bytes[..]);
    let crumbs = Crumbs { bytes: &bytes, len: 1 + bytes.len() % 13 };
    assert!(read_log(crumbs) == (entries.clone(), end.clone()), "a log read in crumbs is the same log");
    let mut again = Vec::new();
    for entry in &entries {
        assert_eq!(entry.offset, again.len() as u64);
        match &entry.value {
            Some(value) => encode_put(&entry.key, value, &mut again),
            None => encode_delete(&entry.key, &mut again),
        }
    }
    assert!(bytes.starts_with(&again), "what was read, written again, is what was read");
    if let Ok(torn) = end {
        assert_eq!(again.len() as u64 + torn, bytes.len() as u64, "what is not whole is torn");
    }
    take_log(&bytes, &entries);
}

/// The entries, and how many torn bytes are behind them, or what is wrong.
fn read_log(source: impl std::io::Read) -> (Vec<LogEntry>, std::result::Result<u64, String>) {
    let mut reader = LogReader::new(source);
    let mut entries = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => return (entries, Ok(reader.torn_bytes())),
            Err(error) => {
                check_error(&error);
                return (entries, Err(error.to_string()));
            }
        }
    }
}

fn take_log(bytes: &[u8], entries: &[LogEntry]) {
    let options = options(1);
    let budget = options.memory_budget_bytes as usize;
    if bytes.len() > budget {
        return;
    }
    let db = Db::open_with(Arc::new(Memory::default()), options).expect("a new database in memory");
    for _ in 0..2 {
        let taken = db.replay_log(bytes, None);
        assert!(!matches!(taken, Err(Error::Io { .. })), "{taken:?}");
    }
    let mut model = std::collections::BTreeMap::new();
    for entry in entries {
        match &entry.value {
            Some(value) => drop(model.insert(entry.key.clone(), value.clone())),
            None => drop(model.remove(&entry.key)),
        }
    }
    let held: Vec<_> = db.scan(..).map(|item| item.expect("memory can be read")).collect();
    assert!(
        held.iter()
            .map(|(key, value)| (key, &value[..]))
            .eq(model.iter().map(|(key, value)| (key, &value[..])))
    );
}

/// Puts a checksum where each record's lengths say that it ends.
fn sign_log(bytes: &mut [u8]) {
    let mut at = 0;
    while let (Some(key_len), Some(value_len)) =
        (Decoder::at(bytes, at).u32(), Decoder::at(bytes, at + 4).u32())
    {
        let value_len = if value_len == LOG_DELETE { 0 } else { value_len as usize };
        let crc_at = at + 8 + key_len as usize + value_len;
        if crc_at + 4 > bytes.len() {
            return;
        }
        let crc = crc32c::crc32c(&bytes[at..crc_at]);
        bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
        at = crc_at + 4;
    }
}

/// A source that gives a few bytes at a time.
struct Crumbs<'a> {
    bytes: &'a [u8],
    len: usize,
}

impl std::io::Read for Crumbs<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = self.len.min(buffer.len());
        let (now, rest) = self.bytes.split_at(len.min(self.bytes.len()));
        buffer[..now.len()].copy_from_slice(now);
        self.bytes = rest;
        Ok(now.len())
    }
}
