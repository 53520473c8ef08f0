//! Search: the way to one key, with every byte that is looked at.
//!
//! A read asks the newest place first, and the first answer ends it. A search goes on, and says of what it finds there
//! that no read would come to it: older entries are what people who wonder about a value want to see.

use cairndb_storage::{File, FileKind, FileName, Storage};

use super::tree::{in_reading_order, manifests};
use super::{SITE, log, what};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::files::{len_of, list_files, open_file};
use crate::header::Header;
use crate::inspect::{entry_text, kind_name, shown_key};
use crate::key::{EntryRef, Kind, SeqNo, hash_key, stored_key};
use crate::manifest::{Salvaged, salvage};
use crate::range_delete::RangeDeletes;
use crate::record::{Found, RecordReader};
use crate::sstable::{
    Block, BlockCursor, BlockHandle, FILTER_LINE_LEN, FOOTER_LEN, Filter, Footer, PACKING_LZ4, TableMeta,
    read_block,
};
use crate::sync::Arc;

/// All that is looked at on the way to a key.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// The key as it is stored, for people.
    pub key: String,
    /// In the order in which they are looked at.
    pub sights: Vec<Sight>,
    /// What a read answers; `None` if the key is nowhere.
    pub answer: Option<String>,
}

/// One stretch of bytes that is looked at, and what it says.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The file.
    pub file: FileName,
    /// The table's level; `None` in a log.
    pub level: Option<usize>,
    /// What is asked.
    pub question: Question,
    /// The answer, in a line.
    pub answer: String,
    /// Where the bytes are: in the file, or in the unpacked block at `packed_in`.
    pub offset: u64,
    /// Their length.
    pub len: u64,
    /// The offset of the packed block that they are in.
    pub packed_in: Option<u64>,
    /// The search ended before: no read comes here.
    pub is_beyond: bool,
    /// The bytes could not be read, and a read would say so.
    pub is_damage: bool,
}

/// What is asked of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Is the key between the table's bounds? There is nothing to look at but the manifest.
    Bounds,
    /// Is it in the filter?
    Filter,
    /// Which block would have it?
    Index,
    /// Which bytes are that block?
    Block,
    /// Is it in that block, or in that log?
    Entry,
    /// Is there a range delete over it?
    RangeDelete,
}

/// Looks for `key` of `keyspace` in what the files hold, as a read would after an open that replays the logs.
///
/// Errors: `Io`. Damage is told of where it is met.
pub fn search(storage: &dyn Storage, keyspace: u8, key: &[u8]) -> Result<Search> {
    let stored = stored_key(keyspace, key);
    let mut walk = Walk { key: stored, sights: Vec::new(), answer: None };
    let salvaged = salvage(storage, &manifests(storage)?);
    walk.logs(storage, salvaged.as_ref())?;
    for (level, meta) in salvaged.iter().flat_map(|salvaged| in_reading_order(&salvaged.state)) {
        walk.table(storage, level, meta)?;
    }
    Ok(Search { key: shown_key(&walk.key), sights: walk.sights, answer: walk.answer })
}

struct Walk {
    key: Vec<u8>,
    sights: Vec<Sight>,
    answer: Option<String>,
}

/// What a place has of the key: its newest entry or range delete.
type Newest = Option<(SeqNo, String)>;

/// Where a sight is.
#[derive(Clone, Copy)]
struct Spot {
    file: FileName,
    level: Option<usize>,
    offset: u64,
    len: u64,
    packed_in: Option<u64>,
}

impl Walk {
    fn see(&mut self, spot: Spot, question: Question, answer: String) {
        let Spot { file, level, offset, len, packed_in } = spot;
        let is_beyond = self.answer.is_some();
        self.sights.push(Sight {
            file,
            level,
            question,
            answer,
            offset,
            len,
            packed_in,
            is_beyond,
            is_damage: false,
        });
    }

    fn see_damage(&mut self, spot: Spot, question: Question, error: &Error) {
        self.see(spot, question, what(error));
        if let Some(sight) = self.sights.last_mut() {
            sight.is_damage = true;
        }
    }

    /// The place has been asked: the newer of what it has ends a read.
    fn settle(&mut self, found: [Newest; 2]) {
        let newest = found.into_iter().flatten().max_by_key(|(seq, _)| *seq);
        if self.answer.is_none() {
            self.answer = newest.map(|(_, text)| text);
        }
    }

    /// The logs, which an open brings into one memtable: newest entry first.
    fn logs(&mut self, storage: &dyn Storage, salvaged: Option<&Salvaged>) -> Result<()> {
        let (mut entries, mut deletes) = (Vec::new(), Vec::new());
        let first = salvaged.map_or(1, |salvaged| salvaged.state.checkpoint.wal);
        let names = list_files(storage, SITE)?;
        for name in names.iter().filter(|name| name.kind == FileKind::Wal && name.number >= first) {
            let file = open_file(storage, *name, SITE)?;
            let Ok(header) = Header::read(file.as_ref(), *name, SITE) else { continue };
            // An open that did not live to write its manifest may have left a log that counts for nothing.
            if salvaged.is_some_and(|salvaged| author_of(salvaged, name.number) != header.id) {
                continue;
            }
            let mut reader = RecordReader::new(file, &header, SITE)?.at(log::RECORDS_AT);
            while let Found::Record(record) = reader.next()? {
                for (offset, len, entry) in log::entries_of(&record) {
                    let spot = Spot { file: *name, level: None, offset, len, packed_in: None };
                    let is_over = entry.kind == Kind::RangeDelete
                        && (entry.key..entry.value).contains(&self.key.as_slice());
                    if is_over {
                        deletes.push((entry.seq, spot, told(entry)));
                    } else if entry.key == self.key && entry.kind != Kind::RangeDelete {
                        entries.push((entry.seq, spot, told(entry)));
                    }
                }
            }
        }
        let newest = |list: &[(SeqNo, Spot, String)]| list.last().map(|(seq, _, text)| (*seq, text.clone()));
        let found = [newest(&entries), newest(&deletes)];
        for (question, list) in [(Question::Entry, &entries), (Question::RangeDelete, &deletes)] {
            for (_, spot, text) in list.iter().rev() {
                self.see(*spot, question, text.clone());
            }
        }
        self.settle(found);
        Ok(())
    }

    fn table(&mut self, storage: &dyn Storage, level: usize, meta: &TableMeta) -> Result<()> {
        let name = FileName { kind: FileKind::SsTable, number: meta.number };
        let spot =
            |offset: u64, len: u64| Spot { file: name, level: Some(level), offset, len, packed_in: None };
        if !(meta.start.as_slice()..meta.end.as_slice()).contains(&self.key.as_slice()) {
            self.see(spot(0, 0), Question::Bounds, "the key lies outside of the table".into());
            return Ok(());
        }
        let opened = open_file(storage, name, SITE).and_then(|file| Asked::open(file, name));
        let asked = match opened {
            Ok(asked) => asked,
            Err(error) => {
                self.see_damage(spot(0, 0), Question::Bounds, &error);
                return Ok(());
            }
        };
        let deleted = self.range_deletes(&asked, &spot);
        let found = self.entry(&asked, &spot);
        self.settle([found, deleted]);
        Ok(())
    }

    fn range_deletes(&mut self, asked: &Asked, spot: &dyn Fn(u64, u64) -> Spot) -> Newest {
        let handle = asked.footer.range_deletes;
        if handle.len == 0 {
            return None;
        }
        let here = spot(handle.offset, u64::from(handle.len));
        let decoded = asked.read(handle).and_then(|bytes| {
            RangeDeletes::decode(&bytes)
                .ok_or_else(|| Error::corrupt(asked.name, handle.offset, "the range deletes make no sense"))
        });
        match decoded {
            Ok(deletes) => {
                let newest = deletes.newest_over(&self.key, SeqNo::MAX);
                let text =
                    newest.map_or("none lies over the key".into(), |seq| format!("range delete @{seq}"));
                self.see(here, Question::RangeDelete, text.clone());
                newest.map(|seq| (seq, text))
            }
            Err(error) => {
                self.see_damage(here, Question::RangeDelete, &error);
                None
            }
        }
    }

    fn entry(&mut self, asked: &Asked, spot: &dyn Fn(u64, u64) -> Spot) -> Newest {
        if asked.footer.index.len == 0 || !self.filter(asked, spot) {
            return None;
        }
        let index = asked.footer.index;
        let separator = match asked.cursor(index, 0).and_then(|mut cursor| {
            cursor.seek(&self.key, SeqNo::MAX)?;
            Ok(cursor)
        }) {
            Ok(cursor) => cursor,
            Err(error) => {
                self.see_damage(spot(index.offset, u64::from(index.len)), Question::Index, &error);
                return None;
            }
        };
        let (Some(found), range) = (separator.entry(), separator.range()) else {
            let here = spot(index.offset, u64::from(index.len));
            self.see(here, Question::Index, "every block ends before the key".into());
            return None;
        };
        let here = spot(index.offset + range.start as u64, range.len() as u64);
        let Some(handle) = BlockHandle::decode(found.value) else {
            let error = Error::corrupt(asked.name, index.offset, "the index points nowhere");
            self.see_damage(here, Question::Index, &error);
            return None;
        };
        let text = format!("the first separator not before it: {} @{}", shown_key(found.key), found.seq);
        self.see(here, Question::Index, text);
        self.block(asked, handle, spot)
    }

    /// Whether the filter lets the key through.
    fn filter(&mut self, asked: &Asked, spot: &dyn Fn(u64, u64) -> Spot) -> bool {
        let handle = asked.footer.filter;
        let filter = asked.read(handle).and_then(|bytes| {
            Filter::new(bytes)
                .ok_or_else(|| Error::corrupt(asked.name, handle.offset, "the filter makes no sense"))
        });
        match filter {
            Ok(filter) => {
                let (line, bits, clear) = filter.looks(hash_key(&self.key));
                let bits: Vec<String> = bits.iter().map(usize::to_string).collect();
                let verdict = match clear {
                    None => "all are set, so it may be here".into(),
                    Some(bit) => format!("{bit} is not set, so it is not here"),
                };
                let here = spot(handle.offset + (line * FILTER_LINE_LEN) as u64, FILTER_LINE_LEN as u64);
                self.see(
                    here,
                    Question::Filter,
                    format!("bits {} of line {line}: {verdict}", bits.join(", ")),
                );
                clear.is_none()
            }
            Err(error) => {
                self.see_damage(spot(handle.offset, u64::from(handle.len)), Question::Filter, &error);
                true
            }
        }
    }

    fn block(&mut self, asked: &Asked, handle: BlockHandle, spot: &dyn Fn(u64, u64) -> Spot) -> Newest {
        let here = spot(handle.offset, u64::from(handle.len));
        let sought = asked.cursor(handle, asked.base_seq).and_then(|mut cursor| {
            cursor.seek(&self.key, SeqNo::MAX)?;
            Ok(cursor)
        });
        let mut cursor = match sought {
            Ok(cursor) => cursor,
            Err(error) => {
                self.see_damage(here, Question::Block, &error);
                return None;
            }
        };
        self.see(here, Question::Block, format!("{} bytes at {}", handle.len, handle.offset));
        let is_packed = asked.is_packed(handle);
        let mut newest = None;
        while let Some(entry) = cursor.entry().filter(|entry| entry.key == self.key) {
            let (range, text, seq) = (cursor.range(), told(entry), entry.seq);
            let start = if is_packed { 0 } else { handle.offset };
            let spot = Spot {
                packed_in: is_packed.then_some(handle.offset),
                ..spot(start + range.start as u64, range.len() as u64)
            };
            self.see(spot, Question::Entry, text.clone());
            newest.get_or_insert((seq, text));
            if cursor.next().is_err() {
                break;
            }
        }
        if newest.is_none() {
            self.see(
                spot(handle.offset, u64::from(handle.len)),
                Question::Entry,
                "it is not in the block".into(),
            );
        }
        newest
    }
}

/// The incarnation that wrote the log, if it is one that counts.
fn author_of(salvaged: &Salvaged, number: u64) -> u128 {
    let needed = salvaged.state.wals.iter().find(|(needed, _)| *needed == number);
    needed.map_or(salvaged.header.id, |(_, id)| *id)
}

/// A table that is asked for a key.
struct Asked {
    file: Arc<dyn File>,
    name: FileName,
    len: u64,
    header: Header,
    base_seq: SeqNo,
    footer: Footer,
}

impl Asked {
    fn open(file: Arc<dyn File>, name: FileName) -> Result<Asked> {
        let header = Header::read(file.as_ref(), name, SITE)?;
        let len = len_of(file.as_ref(), name, SITE)?;
        let at = len
            .checked_sub(FOOTER_LEN as u64)
            .ok_or_else(|| Error::corrupt(name, 0, "there is no room for a footer"))?;
        let bytes = super::read(&file, name, at, FOOTER_LEN as u64)?;
        let footer = Footer::decode(&bytes, header.place(), at, name)?;
        Ok(Asked { file, name, len, header, base_seq: header.own[0], footer })
    }

    fn read(&self, handle: BlockHandle) -> Result<Vec<u8>> {
        read_block(self.file.as_ref(), self.len, self.name, self.header.place(), handle, SITE)
    }

    fn cursor(&self, handle: BlockHandle, base_seq: SeqNo) -> Result<BlockCursor> {
        let block = Block::new(self.read(handle)?, base_seq, self.name, handle.offset)?;
        Ok(BlockCursor::new(Arc::new(block)))
    }

    fn is_packed(&self, handle: BlockHandle) -> bool {
        let mut packing = [0];
        let at = handle.offset + u64::from(handle.len);
        // What cannot be read was told of when the block was.
        self.file.read_at(SITE, at, &mut packing).is_ok_and(|_| packing == [PACKING_LZ4])
    }
}

fn told(entry: EntryRef<'_>) -> String {
    format!("{} {}", kind_name(entry.kind), entry_text(entry))
}
