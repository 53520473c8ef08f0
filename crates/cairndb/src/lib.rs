//! Cairn: an embedded key-value database, a log-structured merge tree over one directory of documented bytes.
//!
//! ```
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("db");
//! let db = cairndb::Db::open(path)?;
//! db.put("key", "value")?;                       // survives power loss once it has returned
//! assert_eq!(db.get("key")?.unwrap(), "value");
//! db.delete("key")?;
//! assert!(db.get("key")?.is_none());
//! # Ok::<(), cairndb::Error>(())
//! ```
//!
//! The modules below stand in the order in which they are best read: each uses only those above it.

mod sync;
mod error;
mod files;
mod key;
mod sorted_keys;
mod coding;
mod options;
mod clock;
mod header;
mod record;
mod batch;
mod reserve;
mod wal;
mod cursor;
mod publish;
mod cache;
mod range_delete;
mod memtable;
mod sstable;
mod merge;
mod version;
mod manifest;
mod snapshot;
mod compaction;
mod view;
mod explain;
pub mod roadmap_log;
mod db;
mod check;
mod repair;
mod inspect;
#[cfg(feature = "dissect")]
pub mod dissect;
#[cfg(unix)]
mod host;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;

pub use cairndb_storage as storage;

pub use batch::Batch;
pub use check::{Check, Verification, verify, verify_at_pace};
pub use db::{
    BackupMode, BackupReport, Change, ChangeEntry, ChangeKind, Changes, CheckpointMove, Condition, Db,
    Keyspace, LevelStats, Outcome, Reader, RecoveryReport, ReplayCheckpoint, ReplayReport, Snapshot, Stats,
};
pub use error::{Error, Result};
pub use explain::{BlockLook, Look, LookAnswer, LookPlace};
pub use inspect::inspect;
pub use key::{Entry, KeyRange, SeqNo, Value};
pub use options::{Clock, Compression, Durability, Ids, Options, Pace};
pub use repair::{RepairReport, repair};
pub use sstable::{EntryPlace, Loss};
pub use view::{RangeCursor, Scan};
pub use wal::Checkpoint;
