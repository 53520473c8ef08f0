//! Tree: which tables stand at which level, by what the files say, damaged or not.

use cairndb_storage::{FileKind, FileName, Storage};

use super::{SITE, what};
use crate::error::{Error, Result};
use crate::files::{list_files, open_file};
use crate::inspect::{shown, shown_key};
use crate::manifest::{Salvaged, damage, salvage};
use crate::sstable::{TableCounts, TableMeta};
use crate::version::State;
use crate::wal::Checkpoint;

/// What the newest manifest says of the database.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The manifest that is believed; `None` if none can be.
    pub manifest: Option<FileName>,
    /// Where recovery begins.
    pub checkpoint: Checkpoint,
    /// The clock's last reading, in ms since 1970.
    pub clock_ms: u64,
    /// The tables, in the order in which a read asks them: level by level, level 0 newest first.
    pub tables: Vec<StandingTable>,
    /// Why this may not be all.
    pub doubt: Option<String>,
}

/// A table that the manifest names.
#[derive(Clone, Debug)]
pub struct StandingTable {
    /// Its level.
    pub level: usize,
    /// Its file.
    pub file: FileName,
    /// The length that the manifest records, in bytes.
    pub len: u64,
    /// No key lies before this one: keyspace and key, for people.
    pub start: String,
    /// All keys lie before this one.
    pub end: String,
    /// The footer's counts, by their names.
    pub counts: Vec<(&'static str, u64)>,
    /// What is wrong with it, without reading its blocks.
    pub damage: Option<String>,
}

/// What the database in `storage` is made of. Whatever can be read of a damaged one is believed.
///
/// Errors: `Io`.
pub fn tree(storage: &dyn Storage) -> Result<Tree> {
    let numbers = manifests(storage)?;
    let Some(Salvaged { header, state, doubt, .. }) = salvage(storage, &numbers) else {
        let damage = damage(storage, &numbers).map(|error| error.to_string());
        return Ok(Tree { doubt: damage.or(Some("there is no manifest".into())), ..Tree::default() });
    };
    Ok(Tree {
        manifest: Some(header.name),
        checkpoint: state.checkpoint,
        clock_ms: state.clock_ms,
        tables: in_reading_order(&state)
            .into_iter()
            .map(|(level, meta)| StandingTable {
                level,
                file: FileName { kind: FileKind::SsTable, number: meta.number },
                len: meta.len,
                start: shown_key(&meta.start),
                end: if meta.end.len() == 1 { format!("{}/", meta.end[0]) } else { shown_end(&meta.end) },
                counts: TableCounts::NAMES.iter().copied().zip(meta.counts.to_fields()).collect(),
                damage: standing(storage, meta).err(),
            })
            .collect(),
        doubt: doubt.map(|error| error.to_string()),
    })
}

/// The manifests that hold bytes, rising.
pub(super) fn manifests(storage: &dyn Storage) -> Result<Vec<u64>> {
    let names = list_files(storage, SITE)?;
    Ok(names.iter().filter(|name| name.kind == FileKind::Manifest).map(|name| name.number).collect())
}

/// The tables of a state, as a read asks them.
pub(super) fn in_reading_order(state: &State) -> Vec<(usize, &TableMeta)> {
    let mut tables: Vec<(usize, &TableMeta)> =
        state.tables.values().map(|(level, meta)| (*level, meta)).collect();
    tables.sort_by(|(level, a), (other, b)| {
        let newest_first = b.counts.seq_max.cmp(&a.counts.seq_max);
        level.cmp(other).then(if *level == 0 { newest_first } else { a.start.cmp(&b.start) })
    });
    tables
}

fn shown_end(end: &[u8]) -> String {
    if end.is_empty() { shown(end) } else { shown_key(end) }
}

/// Whether the file stands at its length.
fn standing(storage: &dyn Storage, meta: &TableMeta) -> std::result::Result<(), String> {
    let name = FileName { kind: FileKind::SsTable, number: meta.number };
    let file = open_file(storage, name, SITE).map_err(|_| "the file is not there".to_string())?;
    match file.len(SITE) {
        Ok(len) if len == meta.len => Ok(()),
        Ok(len) => Err(format!("the file has {len} bytes, and not {}", meta.len)),
        Err(error) => Err(what(&Error::io("asking for its length", error))),
    }
}
