//! Told: what the page is told, in the shapes in which JSON carries it.

use cairndb::dissect::{Field, Part, PartKind, Question, Search, Sight, Tree};
use cairndb_storage::FileKind;
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) len: u64,
}

pub(crate) fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Manifest => "manifest",
        FileKind::SsTable => "SSTable",
        FileKind::Wal => "WAL",
        FileKind::Reserve => "reserve",
    }
}

#[derive(Serialize)]
pub(crate) struct ToldTree {
    pub(crate) files: Vec<File>,
    pub(crate) manifest: Option<String>,
    pub(crate) checkpoint: String,
    pub(crate) tables: Vec<ToldTable>,
    pub(crate) doubt: Option<String>,
    /// Of the open copy.
    pub(crate) open: Option<ToldOpen>,
}

#[derive(Serialize)]
pub(crate) struct ToldTable {
    level: usize,
    file: String,
    len: u64,
    start: String,
    end: String,
    counts: Vec<(&'static str, u64)>,
    damage: Option<String>,
}

/// What is in memory of an open database.
#[derive(Serialize)]
pub(crate) struct ToldOpen {
    pub(crate) memtable_bytes: u64,
    pub(crate) seq: String,
    pub(crate) recovery: String,
}

impl ToldTree {
    pub(crate) fn new(tree: Tree, files: Vec<File>, open: Option<ToldOpen>) -> ToldTree {
        let checkpoint = format!("WAL {} @{}", tree.checkpoint.wal, tree.checkpoint.seq);
        let tables = tree.tables.into_iter().map(|table| ToldTable {
            level: table.level,
            file: table.file.to_string(),
            len: table.len,
            start: table.start,
            end: table.end,
            counts: table.counts,
            damage: table.damage,
        });
        ToldTree {
            files,
            manifest: tree.manifest.map(|name| name.to_string()),
            checkpoint,
            tables: tables.collect(),
            doubt: tree.doubt,
            open,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct ToldPart {
    offset: u64,
    len: u64,
    kind: &'static str,
    title: String,
    damage: Option<String>,
}

impl From<Part> for ToldPart {
    fn from(part: Part) -> ToldPart {
        let kind = match part.kind {
            PartKind::Header => "header",
            PartKind::Record => "record",
            PartKind::Data => "data",
            PartKind::Filter => "filter",
            PartKind::Index => "index",
            PartKind::RangeDeletes => "range-deletes",
            PartKind::Bounds => "bounds",
            PartKind::Footer => "footer",
            PartKind::Room => "room",
            PartKind::Unread => "unread",
        };
        ToldPart { offset: part.offset, len: part.len, kind, title: part.title, damage: part.damage }
    }
}

#[derive(Serialize)]
pub(crate) struct ToldFields {
    pub(crate) stored: Vec<ToldField>,
    /// Of a packed block.
    pub(crate) unpacked: Option<Vec<ToldField>>,
}

/// Offset, length, depth, name, value, damage: a block may have thousands, so they have no names of their own.
#[derive(Serialize)]
pub(crate) struct ToldField(u64, u64, u8, &'static str, String, Option<String>);

impl From<Field> for ToldField {
    fn from(field: Field) -> ToldField {
        ToldField(field.offset, field.len, field.depth, field.name, field.value, field.damage)
    }
}

#[derive(Serialize)]
pub(crate) struct ToldSearch {
    key: String,
    answer: Option<String>,
    sights: Vec<ToldSight>,
}

#[derive(Serialize)]
struct ToldSight {
    file: String,
    level: Option<usize>,
    question: &'static str,
    answer: String,
    offset: u64,
    len: u64,
    packed_in: Option<u64>,
    is_beyond: bool,
    is_damage: bool,
}

impl From<Search> for ToldSearch {
    fn from(search: Search) -> ToldSearch {
        let sights = search.sights.into_iter().map(ToldSight::from).collect();
        ToldSearch { key: search.key, answer: search.answer, sights }
    }
}

impl From<Sight> for ToldSight {
    fn from(sight: Sight) -> ToldSight {
        let question = match sight.question {
            Question::Bounds => "bounds",
            Question::Filter => "filter",
            Question::Index => "index",
            Question::Block => "block",
            Question::Entry => "entry",
            Question::RangeDelete => "range delete",
        };
        ToldSight {
            file: sight.file.to_string(),
            level: sight.level,
            question,
            answer: sight.answer,
            offset: sight.offset,
            len: sight.len,
            packed_in: sight.packed_in,
            is_beyond: sight.is_beyond,
            is_damage: sight.is_damage,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct ToldStep {
    pub(crate) index: usize,
    pub(crate) title: String,
    /// What it answered; or what it failed with.
    pub(crate) answer: String,
    pub(crate) failed: bool,
    pub(crate) calls: Vec<ToldCall>,
    pub(crate) dropped: u64,
    /// Of a read: the places that were asked.
    pub(crate) looks: Vec<String>,
    pub(crate) moments: Vec<ToldMoment>,
}

#[derive(Serialize)]
pub(crate) struct ToldCall {
    pub(crate) operation: &'static str,
    pub(crate) site: &'static str,
    pub(crate) file: Option<String>,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

#[derive(Serialize)]
pub(crate) struct ToldMoment {
    pub(crate) title: String,
    /// How many things the disk could still lose.
    pub(crate) unsynced: usize,
}

/// One thing that a crash may harm.
#[derive(Serialize)]
pub(crate) struct ToldUnsynced {
    pub(crate) what: &'static str,
    pub(crate) file: String,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) text: String,
    /// The fates that differ.
    pub(crate) fates: &'static [&'static str],
}

#[derive(Serialize)]
pub(crate) struct ToldCrash {
    /// A letter for each un-synced thing.
    pub(crate) fates: String,
    pub(crate) opened: bool,
    /// `kept` or `broken`.
    pub(crate) verdict: &'static str,
    pub(crate) text: String,
}

#[derive(Serialize)]
pub(crate) struct ToldPlan {
    pub(crate) states: u64,
    /// Whether they are all combinations of lost and kept; else they are drawn.
    pub(crate) is_all: bool,
}
