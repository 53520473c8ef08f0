//! Dissect: every byte of a file, and what it says, for pages that show both side by side.
//!
//! A file falls into [`Part`]s: its header, records, blocks, its footer, the room behind. A part falls into [`Field`]s,
//! each a stretch of bytes with a name and a value. Parts cover a file from end to end, and the innermost fields of a
//! part cover it likewise: nothing is left out, least of all what is damaged.
//! ```
//! # use std::sync::Arc;
//! # use cairndb::{Db, Options, dissect, storage::{Memory, Storage}};
//! let memory = Memory::default();
//! let db = Db::open_with(Arc::new(memory.clone()), Options::new(Arc::new(|| 0), Arc::new(|| 7)))?;
//! db.put("key", "value")?;
//! let name = "000001.wal".parse().unwrap();
//! let file = memory.open("example", name).unwrap();
//! let parts = dissect::parts(&file, name)?;
//! assert_eq!(parts[1].title, "batch: 1 entry from @1");
//! let fields = dissect::fields(&file, name, &parts[1])?.stored;
//! assert!(fields.iter().any(|field| field.name == "put" && field.value == r#"0/"key" @1 = "value""#));
//! # Ok::<(), cairndb::Error>(())
//! ```
//!
//! # Where it sits
//! Behind the feature `dissect`, on the rooms that define the bytes and read them. The browser's explorer stands on it.
//!
//! # When things break
//! Damage is what people come here for. It is no error but text on the part and the field that it was found in, and the
//! rest of the file is taken apart all the same. Errors are the storage's, or ours.
//!
//! # Why this way
//! `inspect` prints what the readers of the engine see, and stops where they do. This one needs to know where each value
//! stands, which they forget, and so takes the innermost bytes apart a second time. The tests hold the two against
//! each other.

mod fields;
mod log;
mod table;
mod tree;
mod search;

pub use search::{Question, Search, Sight, search};
pub use tree::{StandingTable, Tree, tree};

use cairndb_storage::{File, FileKind, FileName};

use crate::error::{Error, Result};
use crate::files::{len_of, read_at};
use crate::header::{FORMAT_VERSION, HEADER_LEN, Header};
use crate::sync::Arc;
use crate::wal::written_len;
use fields::Fields;

/// The site of all reads here.
const SITE: &str = "dissect";

/// A stretch of a file that is read as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins, in bytes from the file's start.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// What it is.
    pub kind: PartKind,
    /// What it holds, in a line.
    pub title: String,
    /// What is wrong with it.
    pub damage: Option<String>,
}

/// What a part of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// The file's header.
    Header,
    /// A record of a WAL or a manifest.
    Record,
    /// A block of entries.
    Data,
    /// The block that says which keys are not there.
    Filter,
    /// The block that says where the others are.
    Index,
    /// The block of range deletes.
    RangeDeletes,
    /// The block of the first and the last key.
    Bounds,
    /// A table's footer.
    Footer,
    /// Zeros that were laid down, and hold nothing.
    Room,
    /// Bytes that nothing readable accounts for.
    Unread,
}

/// A stretch of bytes that says one thing; or, around others, what they say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Where it begins: from the file's start, or from that of the unpacked block.
    pub offset: u64,
    /// Its length in bytes; a few fields have none.
    pub len: u64,
    /// How many fields it lies within.
    pub depth: u8,
    /// What FORMAT.md calls it.
    pub name: &'static str,
    /// What it says.
    pub value: String,
    /// What is wrong with it.
    pub damage: Option<String>,
}

/// A part, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Its fields, as they stand in the file, an outer one before those that it holds.
    pub stored: Vec<Field>,
    /// Of a packed block: its bytes, unpacked, and their fields.
    pub unpacked: Option<(Vec<u8>, Vec<Field>)>,
}

/// The parts of a file, front to back, without a gap.
///
/// Errors: `Io`.
pub fn parts(file: &Arc<dyn File>, name: FileName) -> Result<Vec<Part>> {
    let len = len_of(file.as_ref(), name, SITE)?;
    if len == 0 {
        return Ok(Vec::new());
    }
    if name.kind == FileKind::Reserve {
        return Ok(vec![room(0, len, "keeps space for a full disk, and is never read")]);
    }
    if written_len(file.as_ref(), name, 0)? == 0 {
        return Ok(vec![room(0, len, "laid down ahead, and not begun")]);
    }
    let opening = Opening::read(file, name)?;
    let mut parts = vec![Part {
        offset: 0,
        len: HEADER_LEN.min(len),
        kind: PartKind::Header,
        title: format!("header of {name}"),
        damage: opening.damage.clone(),
    }];
    if len > HEADER_LEN {
        match name.kind {
            _ if opening.is_foreign => parts.push(unread(HEADER_LEN, len, "of a format that is not known")),
            FileKind::SsTable => parts.extend(table::parts(file, &opening.header, len)?),
            _ => parts.extend(log::parts(file, &opening.header)?),
        }
    }
    Ok(parts)
}

/// The fields of a part that [`parts`] has told of.
///
/// Errors: `Io`.
pub fn fields(file: &Arc<dyn File>, name: FileName, part: &Part) -> Result<Taken> {
    let opening = Opening::read(file, name)?;
    if part.kind == PartKind::Room {
        return Ok(Fields::over(&[], part.offset, |fields| fields.span("zeros", part.len, "room")));
    }
    let bytes = read(file, name, part.offset, part.len)?;
    Ok(match part.kind {
        PartKind::Header => Fields::over(&bytes, 0, |fields| opening.fields(fields)),
        PartKind::Record => {
            Fields::over(&bytes, part.offset, |fields| log::fields(fields, &opening.header, &bytes))
        }
        PartKind::Room | PartKind::Unread => Fields::over(&bytes, part.offset, |fields| {
            if name.kind != FileKind::SsTable && !opening.is_foreign {
                log::fields(fields, &opening.header, &bytes);
            }
        }),
        PartKind::Footer => {
            let hashed = read(file, name, 0, part.offset)?;
            Fields::over(&bytes, part.offset, |fields| {
                table::footer(fields, &opening.header, &hashed, &bytes)
            })
        }
        kind => table::block(kind, &opening.header, part.offset, &bytes),
    })
}

/// A file's header, as far as it can be believed.
struct Opening {
    bytes: Vec<u8>,
    /// As it stands there; under the name that the file has.
    header: Header,
    damage: Option<String>,
    /// It is whole, and of another format.
    is_foreign: bool,
}

impl Opening {
    fn read(file: &Arc<dyn File>, name: FileName) -> Result<Opening> {
        let bytes = read(file, name, 0, HEADER_LEN)?;
        Ok(match Header::decode(&bytes, name) {
            Ok(header) => Opening { bytes, header, damage: None, is_foreign: false },
            Err(error) => {
                let is_foreign = matches!(error, Error::Invalid { .. });
                let mut padded = bytes.clone();
                padded.resize(HEADER_LEN as usize, 0);
                // What is sound behind it is still bound to the id that stood here.
                let id = padded[32..48].try_into().map_or(0, u128::from_le_bytes);
                let word = |at: usize| padded[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
                let own = [word(48), word(56), word(64)];
                let header = Header { name, features: 0, manifest: word(24), id, own };
                Opening { bytes, header, damage: Some(what(&error)), is_foreign }
            }
        })
    }

    fn fields(&self, fields: &mut Fields<'_>) -> Option<()> {
        let name = self.header.name;
        let magic = self.header.encode()[..8].to_vec();
        let own: [&'static str; 3] = match name.kind {
            FileKind::Wal => ["predecessor", "predecessor len", "first seq"],
            FileKind::SsTable => ["base seq", "zero", "zero"],
            FileKind::Manifest | FileKind::Reserve => ["zero", "zero", "zero"],
        };
        let found = fields.bytes("magic", 8)?;
        fields.damaged_unless(found == magic, || format!("a {} begins otherwise", name.kind.extension()));
        let format = fields.u16("format")?;
        fields
            .damaged_unless(format == FORMAT_VERSION, || format!("this build reads format {FORMAT_VERSION}"));
        let pre_release = fields.u16("pre-release")?;
        fields.damaged_unless(pre_release == 0, || "a format's bytes have 0 here".into());
        let features = fields.u32("features")?;
        fields.say(match features {
            0 => "none".into(),
            1 => "1: blocks may be packed with lz4".into(),
            _ => format!("{features:#x}"),
        });
        let number = fields.u64("number")?;
        fields.damaged_unless(number == name.number, || "this file is under another one's name".into());
        fields.u64("manifest")?;
        fields.id("id")?;
        for name in own {
            fields.u64(name)?;
        }
        fields.bytes("zero", 4)?;
        let crc = fields.crc("crc")?;
        let right = crc32c::crc32c(&self.bytes[..HEADER_LEN as usize - 4]);
        fields.check_crc(crc, right);
        Some(())
    }
}

/// So many bytes at `offset`, or what there is of them.
fn read(file: &Arc<dyn File>, name: FileName, offset: u64, len: u64) -> Result<Vec<u8>> {
    let there = len_of(file.as_ref(), name, SITE)?.saturating_sub(offset);
    let mut bytes = vec![0; usize::try_from(len.min(there)).unwrap_or(0)];
    let count = read_at(file.as_ref(), name, offset, &mut bytes, SITE)?;
    bytes.truncate(count);
    Ok(bytes)
}

fn room(offset: u64, end: u64, title: &str) -> Part {
    let (len, title) = (end - offset, format!("room: {title}"));
    Part { offset, len, kind: PartKind::Room, title, damage: None }
}

fn unread(offset: u64, end: u64, damage: &str) -> Part {
    let (len, title) = (end - offset, format!("{} bytes that cannot be read", end - offset));
    Part { offset, len, kind: PartKind::Unread, title, damage: Some(damage.into()) }
}

/// What an error says, without the place that is known already.
fn what(error: &Error) -> String {
    match error {
        Error::Corrupt { what, .. } => what.clone(),
        error => error.to_string(),
    }
}

/// A count with its noun.
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
