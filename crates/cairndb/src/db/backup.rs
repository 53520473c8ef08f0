//! Backup: an openable copy of the database elsewhere, made while it is used.
//!
//! Tables never change, so a backup shares them where both places can (hard links), or copies them. What is in memory
//! is flushed first; what is written after that is not in the backup. The copy gets an incarnation id of its own, a
//! manifest and a sealed, empty log, so that from then on the two are two databases.
//!
//! # When things break
//! A failure leaves files without a manifest, which no open takes for a database. Damage in a table that is copied is
//! `Corrupt`; one that is shared is not read.
//!
//! # Why this way
//! The log could be copied instead of flushed, but its checksums are bound to the incarnation that wrote it: it would
//! have to be written anew, record by record, to come to the same.

use cairndb_storage::{LockMode, Storage};
use xxhash_rust::xxh3::Xxh3;

use super::Engine;
use super::write::Log;
use crate::error::{Error, Result};
use crate::files::{list_files, lock, sync_file, sync_names};
use crate::key::SeqNo;
use crate::manifest::Manifest;
use crate::record::{Position, RecordKind};
use crate::reserve::Reserve;
use crate::sstable::{FOOTER_LEN, Footer, Table};
use crate::sync::{Arc, Ordering};
use crate::version::State;
use crate::wal::{SpareWal, Wal};

/// How much of a table is copied at once, in bytes.
const COPY_LEN: usize = 1 << 20;

/// How a backup comes by its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BackupMode {
    /// Shared with the database where that is possible, copied where it is not. Damage to a shared table is damage
    /// to both.
    #[default]
    Link,
    /// Copied.
    Copy,
}

/// What a backup holds and how it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BackupReport {
    /// The last write in it.
    pub seq: SeqNo,
    /// Tables that are shared.
    pub linked: usize,
    /// Tables that were copied.
    pub copied: usize,
    /// The bytes of those.
    pub bytes_copied: u64,
}

impl Engine {
    /// Writes a backup into `to`, which must be empty.
    pub(super) fn backup(&self, to: &dyn Storage, how: BackupMode) -> Result<BackupReport> {
        let _lock = lock(to, LockMode::Exclusive, "backup.lock")?;
        let listed = list_files(to, "backup.list")?;
        if let Some(name) = listed.first() {
            return Err(Error::invalid(format_args!("the backup's place is not empty: it holds {name}")));
        }
        if !self.read_only {
            self.flush()?;
        }
        let (state, tables) = self.state_on_disk()?;
        let mut report = BackupReport { seq: state.checkpoint.seq - 1, ..BackupReport::default() };
        for table in &tables {
            if how == BackupMode::Link && self.link_table(to, table)? {
                report.linked += 1;
            } else {
                copy_table(to, table)?;
                report.copied += 1;
                report.bytes_copied += table.meta.len;
            }
        }
        // The tables' headers name manifests up to the current one: the backup's must not be older.
        let above = self.counters.manifest.load(Ordering::Acquire);
        write_anew(to, (self.options.ids)(), above, State { last_wal: 0, ..state })?;
        Ok(report)
    }

    /// What the tables hold, and the tables, which stand as long as they are held.
    fn state_on_disk(&self) -> Result<(State, Vec<Arc<Table>>)> {
        let maintenance = self.maintenance.lock();
        let current = self.current.take();
        if self.read_only && !current.active.memtable.is_empty() {
            return Err(Error::invalid(
                "the log holds writes that are in no table; open the database for writing once",
            ));
        }
        let tables = current.version.tables().map(|(_, table)| Arc::clone(table)).collect();
        Ok((maintenance.state.clone(), tables))
    }

    fn link_table(&self, to: &dyn Storage, table: &Table) -> Result<bool> {
        let name = table.name();
        let linked = to.link("backup.link", name, self.storage.as_ref());
        linked.map_err(|e| {
            if self.is_closed() { Error::Closed } else { Error::io(format_args!("linking {name}"), e) }
        })
    }
}

/// Makes a database of the tables that stand in `to`: gives them a sealed log and, last, a manifest above `above`, under
/// the id that no other incarnation has. The log's number is the next behind `state.last_wal`.
pub(crate) fn write_anew(to: &dyn Storage, id: u128, above: u64, mut state: State) -> Result<()> {
    let spare = SpareWal::create(to, &mut state.last_wal, id, 0)?;
    let next_seq = state.checkpoint.seq;
    let wal = Wal::begin(spare, 0, Position::default(), next_seq)?;
    let mut log = Log {
        synced: Position::default(),
        wal: Some(wal),
        spare: None,
        unsynced: Vec::new(),
        next_seq,
        reserve: Reserve::found(&[]),
    };
    log.seal(RecordKind::Close)?;
    sync_names(to, "backup.sync_names")?;
    state.checkpoint.wal = state.last_wal;
    state.wals = Vec::new();
    Manifest::create(to, above, 0, id, &state.base())?;
    Ok(())
}

/// Copies a table, and checks what passes: damage is told now, and not when the backup is needed.
///
/// Errors: `Corrupt` with the table's name.
fn copy_table(to: &dyn Storage, table: &Table) -> Result<()> {
    let name = table.name();
    let failed = |e| Error::io(format_args!("copying {name}"), e);
    let (number, copy) = to.create("backup.create", name.kind, name.number - 1).map_err(failed)?;
    assert_eq!(number, name.number, "an empty place gives the number that is asked for");
    let source = table.file()?;
    let mut buffer = vec![0; COPY_LEN];
    let (mut offset, body_len) = (0, table.meta.len.saturating_sub(FOOTER_LEN as u64));
    let (mut hasher, mut footer) = (Xxh3::new(), Vec::new());
    while offset < table.meta.len {
        let wanted = (table.meta.len - offset).min(COPY_LEN as u64) as usize;
        let read = source.read_at("backup.read", offset, &mut buffer[..wanted]).map_err(failed)?;
        if read == 0 {
            return Err(Error::corrupt(
                name,
                offset,
                "the table ends here, and the manifest says it goes on",
            ));
        }
        copy.append("backup.append", offset, &buffer[..read]).map_err(failed)?;
        let of_body = body_len.saturating_sub(offset).min(read as u64) as usize;
        hasher.update(&buffer[..of_body]);
        footer.extend_from_slice(&buffer[of_body..read]);
        offset += read as u64;
    }
    let footer = Footer::decode(&footer, table.place()?, body_len, name)?;
    if hasher.digest() != table.meta.hash {
        return Err(Error::corrupt(name, 0, "the file does not have the hash that the manifest recorded"));
    }
    if footer.hash != table.meta.hash || footer.counts != table.meta.counts {
        let what = "the footer is not the one that the manifest recorded";
        return Err(Error::corrupt(name, body_len, what));
    }
    sync_file(copy.as_ref(), name, "backup.sync")
}
