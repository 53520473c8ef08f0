//! WAL: the write-ahead log: append a batch, sync, replay up to the torn tail.
//!
//! Every write goes to the log before it goes anywhere else; after a crash the log is what is left of the writes that
//! had not reached a table. One log belongs to one memtable: when the memtable is frozen the next log begins, and when
//! its table is safe the log is removed. The manifest's *checkpoint* names the first log that recovery still needs.
//!
//! # Where it sits
//! On `record` and `batch`. `db` decides when to write, sync and rotate; here is how, and how to read it back.
//!
//! # On disk
//! A header, whose own fields are: predecessor's number, predecessor's final length, first sequence number; then
//! records: batches, marks, and a close mark at the end of a database that was closed cleanly. Agrees with FORMAT.md,
//! "WAL".
//!
//! # Invariants
//! - I1. Sequence numbers join without a gap, from the checkpoint through all logs to the end.
//! - I2. A record vouches only for what a successful sync covered before the record was written.
//!
//! # When things break
//! Crash: the first record that is not whole ends the log, and everything behind it is dropped, for what survives is a
//! prefix. **Torn or rot**: if any whole record behind it, in this or a later log, vouches past it, it was once synced:
//! that is rot, `Corrupt`, and nothing is dropped. Rot inside the last, un-vouched sync group cannot be told from a tear.

use cairndb_storage::{File, FileKind, FileName, Storage};

use crate::batch::{decode_batch, encode_batch_header};
use crate::error::{Error, Result};
use crate::files::{create_file, len_of, open_file, read_at};
use crate::header::{HEADER_LEN, Header};
use crate::key::{EntryRef, SEQ_LIMIT, SeqNo};
use crate::record::{Found, Position, RecordKind, RecordReader, RecordWriter, encode_record, record_len};
use crate::sync::Arc;

/// Where recovery begins: everything before it is safe in tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The number of the first WAL that recovery reads.
    pub wal: u64,
    /// The sequence number of the first entry in it.
    pub seq: SeqNo,
}

/// The most room that is laid down in a log before it is begun, in bytes.
const ROOM_AHEAD_MAX: u64 = 1 << 20;

/// The largest step in which room is laid down, in bytes: long enough that laying down zeros is rare, short enough not to
/// be felt.
const ROOM_STEP_MAX: u64 = 1 << 20;

/// How much of the buffer's memory is kept from one write to the next, in bytes.
const BUFFER_KEPT_LEN: usize = 2 << 20;

/// A log that has been created and laid down, named for good, and not begun.
pub(crate) struct SpareWal {
    log: RecordWriter,
    id: u128,
}

impl SpareWal {
    /// Creates the next log above `last`, which becomes its number, with about `room` bytes laid down and synced. Its name
    /// is the caller's to sync.
    ///
    /// Errors: `Busy` where the storage has no file to give just now. A log that could not be laid down is removed, and
    /// its number is not tried again: it may hold bytes that no one can take back.
    pub(crate) fn create(storage: &dyn Storage, last: &mut u64, id: u128, room: u64) -> Result<SpareWal> {
        let (number, file) = create_file(storage, FileKind::Wal, *last, "wal.create")?;
        *last = number;
        let name = FileName { kind: FileKind::Wal, number };
        SpareWal::lay_down(RecordWriter::new(file, name, id, ROOM_STEP_MAX), id, room).inspect_err(|_| {
            // What cannot be removed now is found again by the next open.
            drop(storage.remove("wal.remove", name));
        })
    }

    fn lay_down(mut log: RecordWriter, id: u128, room: u64) -> Result<SpareWal> {
        log.make_room(room.clamp(HEADER_LEN, ROOM_AHEAD_MAX), "wal.reserve")?;
        log.sync("wal.sync_spare")?;
        Ok(SpareWal { log, id })
    }
}

/// A log that is being written.
pub(crate) struct Wal {
    log: RecordWriter,
    /// Records that are encoded but not yet handed to the operating system.
    buffer: Vec<u8>,
    pub(crate) header: Header,
}

impl Wal {
    /// Begins a log: `before` is where its predecessor ends, or zero for none.
    pub(crate) fn begin(spare: SpareWal, manifest: u64, before: Position, first_seq: SeqNo) -> Result<Wal> {
        let SpareWal { mut log, id } = spare;
        let own = [before.number, before.offset, first_seq];
        let header = Header { name: log.name, features: 0, manifest, id, own };
        log.begin(&header, "wal.append")?;
        Ok(Wal { log, buffer: Vec::new(), header })
    }

    /// The sequence number of its first entry.
    pub(crate) fn first_seq(&self) -> SeqNo {
        self.header.own[2]
    }

    pub(crate) fn number(&self) -> u64 {
        self.log.name.number
    }

    pub(crate) fn name(&self) -> FileName {
        self.log.name
    }

    pub(crate) fn file(&self) -> Arc<dyn File> {
        Arc::clone(&self.log.file)
    }

    /// Where the log ends, records that wait in the buffer included.
    pub(crate) fn end(&self) -> Position {
        let position = self.log.position();
        Position { offset: position.offset + self.buffer.len() as u64, ..position }
    }

    /// How much of the file has been laid down.
    pub(crate) fn room(&self) -> u64 {
        self.log.room()
    }

    /// How many bytes of records wait in the buffer.
    pub(crate) fn buffered_len(&self) -> usize {
        self.buffer.len()
    }

    /// Lays down room for a batch of this length behind what waits in the buffer.
    ///
    /// Errors: `DiskFull`, and the log goes on as it is; `Io`.
    pub(crate) fn make_room(&mut self, batch_len: usize) -> Result<()> {
        self.log.make_room(self.buffer.len() as u64 + batch_record_len(batch_len), "wal.reserve")
    }

    /// Whether a batch of this length fits what is laid down.
    pub(crate) fn has_room(&self, batch_len: usize) -> bool {
        self.end().offset + batch_record_len(batch_len) <= self.log.room()
    }

    /// Puts a batch into the buffer.
    ///
    /// Requires: room for it.
    pub(crate) fn push_batch(&mut self, first_seq: SeqNo, count: u32, entries: &[u8], vouched: Position) {
        let header = encode_batch_header(first_seq, count);
        let offset = self.end().offset;
        encode_record(
            &mut self.buffer,
            self.log.place,
            offset,
            RecordKind::Batch,
            vouched,
            &[&header, entries],
        );
    }

    /// Writes what waits in the buffer.
    pub(crate) fn write(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.log.append(&self.buffer, "wal.append")?;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_LEN);
        Ok(())
    }

    /// Writes a record that holds nothing and vouches for all before `vouched`.
    pub(crate) fn write_mark(&mut self, kind: RecordKind, vouched: Position) -> Result<()> {
        self.log.make_room(self.buffer.len() as u64 + record_len(0), "wal.reserve")?;
        let offset = self.end().offset;
        encode_record(&mut self.buffer, self.log.place, offset, kind, vouched, &[]);
        self.write()
    }
}

fn batch_record_len(batch_len: usize) -> u64 {
    record_len(crate::batch::BATCH_HEADER_LEN + batch_len)
}

/// What the logs were found to hold, before any of it is used.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The logs to replay, oldest first.
    logs: Vec<Log>,
    /// Where the whole records end.
    pub(crate) end: Position,
    /// Whether the last record is a close mark, with nothing behind it.
    pub(crate) sealed: bool,
    /// Where that close mark begins.
    closed_at: u64,
    pub(crate) records: u64,
    /// Bytes that were written and are not whole, up to the last that is not zero.
    pub(crate) torn_bytes: u64,
    /// Where they begin, and what is not whole there.
    pub(crate) torn: Option<String>,
    /// The first sequence number that no whole record has.
    pub(crate) next_seq: SeqNo,
}

#[derive(Debug)]
struct Log {
    header: Header,
    /// Where its records end: as its successor says, or where the whole ones do.
    end: u64,
    /// The length of its file.
    room: u64,
}

impl Survey {
    /// Of a new database: there are no logs.
    pub(crate) fn nothing() -> Survey {
        Survey { next_seq: 1, ..Survey::default() }
    }

    fn note_torn(&mut self, error: &Error) {
        if let (Error::Corrupt { file, offset, what }, None) = (error, &self.torn) {
            self.torn = Some(format!("{file} from offset {offset} on: {what}"));
        }
    }

    pub(crate) fn log_count(&self) -> usize {
        self.logs.len()
    }

    /// The incarnations that wrote the logs: (number, id).
    pub(crate) fn ids(&self) -> Vec<(u64, u128)> {
        self.logs.iter().map(|log| (log.header.name.number, log.header.id)).collect()
    }

    /// The logs, as those that are not written any more.
    pub(crate) fn passed_logs(&self) -> impl Iterator<Item = PassedLog> {
        self.logs.iter().map(|log| PassedLog { header: log.header, room: log.room })
    }
}

/// Who may have written the logs that the checkpoint asks for.
pub(crate) struct Authors<'a> {
    /// The manifest that was chosen: its number, and the incarnation that wrote it.
    pub(crate) manifest: u64,
    pub(crate) id: u128,
    /// The logs that it says must stand, with the ids they were written under.
    pub(crate) needed: &'a [(u64, u128)],
}

impl Authors<'_> {
    fn id_of(&self, number: u64) -> u128 {
        self.needed.iter().find(|(needed, _)| *needed == number).map_or(self.id, |(_, id)| *id)
    }
}

/// Reads all logs from the checkpoint on, and decides what in them is to be believed. Nothing is changed.
///
/// `numbers` are those of the logs that stand, rising.
///
/// Errors: `Corrupt` for rot, a gap, a missing log; `Io`; `Invalid` for another format.
pub(crate) fn survey(
    storage: &dyn Storage,
    checkpoint: Checkpoint,
    numbers: &[u64],
    authors: &Authors<'_>,
) -> Result<Survey> {
    let mut survey = Survey { next_seq: checkpoint.seq, ..Survey::default() };
    let begun = begun_logs(storage, checkpoint, numbers, authors, &mut survey)?;
    let mut vouched = Position::default();
    let mut bad: Option<(Position, Error)> = None;
    for (index, (header, file)) in begun.iter().enumerate() {
        // The successor says where this log was left; behind that nothing counts.
        let limit = begun.get(index + 1).map_or(u64::MAX, |(next, _)| next.own[1]);
        let mut reader = RecordReader::new(Arc::clone(file), header, "wal.read")?;
        if bad.is_none() {
            bad = read_log(&mut reader, header, limit, &mut survey, &mut vouched)?;
            survey.logs.push(Log { header: *header, end: reader.offset(), room: reader.file_len() });
            survey.end = Position { number: header.name.number, offset: reader.offset() };
        }
        if bad.is_some() {
            read_vouchers(&mut reader, &mut vouched)?;
            let from = if survey.end.number == header.name.number { survey.end.offset } else { HEADER_LEN };
            survey.torn_bytes += written_len(file.as_ref(), header.name, from)?;
        }
    }
    if let Some((position, error)) = bad {
        if vouched > position {
            return Err(error);
        }
        if survey.torn_bytes > 0 {
            survey.sealed = false;
            survey.note_torn(&error);
        }
    }
    if survey.sealed {
        // The close mark itself may be in the page cache alone, if its sync failed: the next log goes on before it.
        survey.end.offset = survey.closed_at;
    }
    Ok(survey)
}

/// The logs that were begun, with their files, from the checkpoint on.
fn begun_logs(
    storage: &dyn Storage,
    checkpoint: Checkpoint,
    numbers: &[u64],
    authors: &Authors<'_>,
    survey: &mut Survey,
) -> Result<Vec<(Header, Arc<dyn File>)>> {
    let mut begun: Vec<(Header, Arc<dyn File>)> = Vec::new();
    for number in numbers.iter().copied().filter(|number| *number >= checkpoint.wal) {
        let name = FileName { kind: FileKind::Wal, number };
        let file = open_file(storage, name, "wal.open")?;
        let header = match Header::read(file.as_ref(), name, "wal.header") {
            Ok(header) => header,
            Err(error @ Error::Corrupt { .. }) if number != checkpoint.wal => {
                // Laid down and never begun, or begun and torn; unless its records vouch that it was synced.
                let torn = read_headless(&file, name, authors.id_of(number))?.ok_or(error.clone())?;
                if torn > 0 {
                    survey.torn_bytes += torn;
                    survey.note_torn(&error);
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        if header.manifest > authors.manifest {
            let what = format!("it was born under manifest {}, which is gone", header.manifest);
            return Err(Error::corrupt(name, 24, what));
        }
        if header.id != authors.id_of(number) {
            // An open that did not live to write its manifest leaves a log with nothing in it.
            let mut reader = RecordReader::new(file, &header, "wal.read")?;
            if let Found::Record(_) = reader.next()? {
                return Err(Error::corrupt(
                    name,
                    32,
                    "another incarnation or another database wrote this log",
                ));
            }
            continue;
        }
        if let Some((last, _)) = begun.last().filter(|(last, _)| last.name.number != header.own[0]) {
            let what =
                format!("its predecessor is WAL {}, and the one that stands is {}", header.own[0], last.name);
            return Err(Error::corrupt(name, 48, what));
        }
        begun.push((header, file));
    }
    // Every log that the manifest names was begun and synced before the manifest was.
    let named = authors.needed.iter().map(|(number, _)| *number).filter(|number| *number >= checkpoint.wal);
    for number in named {
        if !begun.iter().any(|(header, _)| header.name.number == number) {
            let name = FileName { kind: FileKind::Wal, number };
            return Err(Error::corrupt(name, 0, "the manifest names this WAL, and no such one stands here"));
        }
    }
    let name = FileName { kind: FileKind::Wal, number: checkpoint.wal };
    match begun.first() {
        Some((first, _)) if first.name == name && first.own[2] == checkpoint.seq => Ok(begun),
        Some((first, _)) if first.name == name => {
            let what = format!("it begins at sequence number {}, not at {}", first.own[2], checkpoint.seq);
            Err(Error::corrupt(name, 64, what))
        }
        _ => Err(Error::corrupt(name, 0, "the WAL that the checkpoint names is not there")),
    }
}

/// Reads one log's records up to `limit` or the first that is not whole, which it returns.
fn read_log(
    reader: &mut RecordReader,
    header: &Header,
    limit: u64,
    survey: &mut Survey,
    vouched: &mut Position,
) -> Result<Option<(Position, Error)>> {
    let name = header.name;
    if header.own[2] != survey.next_seq {
        let what = format!("it begins at sequence number {}, not at {}", header.own[2], survey.next_seq);
        return Err(Error::corrupt(name, 64, what));
    }
    while reader.offset() < limit {
        match reader.next()? {
            Found::Record(record) => {
                *vouched = (*vouched).max(record.vouched);
                survey.records += 1;
                survey.sealed = record.kind == RecordKind::Close;
                survey.closed_at = record.offset;
                if record.kind == RecordKind::Batch {
                    let malformed = || {
                        Error::corrupt(name, record.offset, "the record passes its checksum, but is no batch")
                    };
                    let (first_seq, entries) = decode_batch(record.payload).ok_or_else(malformed)?;
                    if first_seq != survey.next_seq {
                        let what = format!(
                            "the batch begins at sequence number {first_seq}, not at {}",
                            survey.next_seq
                        );
                        return Err(Error::corrupt(name, record.offset, what));
                    }
                    survey.next_seq = first_seq + u64::from(entries.left());
                    if survey.next_seq > SEQ_LIMIT {
                        let what = "the batch's sequence numbers go beyond any that can be given";
                        return Err(Error::corrupt(name, record.offset, what));
                    }
                }
            }
            Found::Bad { offset, what } => {
                let position = Position { number: name.number, offset };
                return Ok(Some((position, Error::corrupt(name, offset, what))));
            }
            Found::End => {
                let position = Position { number: name.number, offset: reader.offset() };
                return Ok(Some((position, Error::corrupt(name, reader.offset(), "the log ends here"))));
            }
        }
    }
    if reader.offset() > limit {
        let what = format!("a record runs past {limit}, where the next log says that this one ends");
        return Err(Error::corrupt(name, limit, what));
    }
    // A closed log that has a successor was opened again: whether that one is sealed is what counts.
    survey.sealed = false;
    Ok(None)
}

/// The logs that stand though recovery does not need them, oldest first: what the log with the header `first` goes on from, and
/// before that as far back as each names a predecessor that stands too. `numbers` are those that stand, rising.
pub(crate) fn logs_before(storage: &dyn Storage, numbers: &[u64], first: &Header) -> Vec<PassedLog> {
    let [mut number, _, mut next_seq] = first.own;
    let mut logs = Vec::new();
    while numbers.binary_search(&number).is_ok() {
        let name = FileName { kind: FileKind::Wal, number };
        // Nobody needs them: one that cannot be read is where they begin.
        let read = open_file(storage, name, "wal.open").and_then(|file| {
            let header = Header::read(file.as_ref(), name, "wal.header")?;
            Ok(PassedLog { header, room: len_of(file.as_ref(), name, "wal.len")? })
        });
        let Ok(log) = read else { break };
        let [before, _, first_seq] = log.header.own;
        if before >= number || first_seq > next_seq {
            break;
        }
        (number, next_seq) = (before, first_seq);
        logs.push(log);
    }
    logs.reverse();
    logs
}

/// A log that has been written to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PassedLog {
    pub(crate) header: Header,
    /// The length of its file.
    pub(crate) room: u64,
}

/// Of a log without a whole header: how many bytes were written to it; `None` if its records say that they were synced.
fn read_headless(file: &Arc<dyn File>, name: FileName, id: u128) -> Result<Option<u64>> {
    let header = Header { name, features: 0, manifest: 0, id, own: [0; 3] };
    let mut vouched = Position::default();
    read_vouchers(&mut RecordReader::new(Arc::clone(file), &header, "wal.read")?, &mut vouched)?;
    if vouched.number >= name.number { Ok(None) } else { written_len(file.as_ref(), name, 0).map(Some) }
}

/// Behind a bad record: what do the whole ones vouch for?
fn read_vouchers(reader: &mut RecordReader, vouched: &mut Position) -> Result<()> {
    loop {
        let is_bad = match reader.next()? {
            Found::Record(record) => {
                *vouched = (*vouched).max(record.vouched);
                false
            }
            Found::Bad { .. } => true,
            Found::End => return Ok(()),
        };
        if is_bad && !reader.skip_bad()? {
            return Ok(());
        }
    }
}

/// How many bytes from `from` on were written: up to the last that is not zero.
pub(crate) fn written_len(file: &dyn File, name: FileName, from: u64) -> Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let (mut offset, mut written) = (from, 0);
    loop {
        let read = read_at(file, name, offset, &mut buffer, "wal.read")?;
        if read == 0 {
            return Ok(written);
        }
        if let Some(last) = buffer[..read].iter().rposition(|byte| *byte != 0) {
            written = offset + last as u64 + 1 - from;
        }
        offset += read as u64;
    }
}

/// Hands every entry that the survey believes in to `take`, a batch at a time, oldest first.
pub(crate) fn replay(
    storage: &dyn Storage,
    survey: &Survey,
    mut take: impl FnMut(&mut dyn Iterator<Item = EntryRef<'_>>) -> Result<()>,
) -> Result<()> {
    for log in &survey.logs {
        let name = log.header.name;
        let file = open_file(storage, name, "wal.open")?;
        let mut reader = RecordReader::new(file, &log.header, "wal.read")?;
        while reader.offset() < log.end {
            let record = match reader.next()? {
                Found::Record(record) => record,
                Found::Bad { offset, what } => return Err(Error::corrupt(name, offset, what)),
                Found::End => break,
            };
            if record.kind != RecordKind::Batch {
                continue;
            }
            let malformed =
                || Error::corrupt(name, record.offset, "the record passes its checksum, but is no batch");
            let (_, entries) = decode_batch(record.payload).ok_or_else(malformed)?;
            if entries.clone().any(|entry| entry.is_none()) {
                return Err(malformed());
            }
            take(&mut entries.flatten())?;
        }
    }
    Ok(())
}
