//! Options: the few things a user may want to turn.
//!
//! Every other number in the engine is a named constant beside its use, with a sentence.
//!
//! # Where it sits
//! Above `error`. `host` gives [`Options`] its defaults where there is an operating system to give them.

use std::fmt;

use crate::error::{Error, Result};
use crate::sync::Arc;

/// What must have happened before a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing: the write is in memory, and the log takes it when it comes to it. A killed process may lose it.
    Buffered,
    /// The operating system has it: it survives the process, not the power supply.
    Os,
    /// The disk has it: it survives a power loss. The default.
    #[default]
    Sync,
}

/// How data blocks are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// With lz4, where that makes a block smaller.
    Lz4,
}

/// Tells the time, in milliseconds since 1970. It may stand still or jump: expiry never goes back with it.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Gives an id that no other database has been given: 128 bits that nobody can guess.
pub type Ids = Arc<dyn Fn() -> u128 + Send + Sync>;

/// The default of [`Options::memory_budget_bytes`].
const MEMORY_BUDGET_BYTES: u64 = 256 << 20;

/// The longest batch, in bytes: the longest value, its key, and a little. FORMAT.md, "Limits".
const BATCH_LEN_MAX: u64 = (1 << 30) + (1 << 20);

/// The least memory the engine can work in: two memtables, and a cache of a few blocks.
const MEMORY_BUDGET_BYTES_MIN: u64 = 32 << 10;

/// How a database is opened.
///
/// ```
/// # use cairndb::{Durability, Options};
/// let options = Options { memory_budget_bytes: 64 << 20, durability: Durability::Os, ..Options::default() };
/// ```
#[derive(Clone)]
pub struct Options {
    /// Bounds memtables, block cache, indexes and filters together. Raise it to read more from memory and to write
    /// fewer, larger tables. A single value or batch may take a quarter of it. At least 32 KiB.
    pub memory_budget_bytes: u64,
    /// What a write waits for when it does not say itself.
    pub durability: Durability,
    /// How the data blocks of new tables are packed. Old ones stay as they are until they are compacted.
    pub compression: Compression,
    /// How much of the log is kept for [`Db::changes`](crate::Db::changes) once recovery needs it no more, in bytes: it comes to what the database
    /// takes on disk. 0, the default, keeps none.
    pub keep_changes_bytes: u64,
    /// How many SSTables may be open at once. Lower it where the operating system allows few.
    pub open_files_max: usize,
    /// Tells the time, for expiry alone.
    pub clock: Clock,
    /// Names this incarnation of the database, once per open.
    pub ids: Ids,
}

/// Is told, after each read, how many bytes that was; it may take its time.
pub type Pace = Arc<dyn Fn(u64) + Send + Sync>;

impl Options {
    /// The defaults, with a clock and a source of ids: what an engine without an operating system has to be given.
    ///
    /// Requires: `ids` never repeats itself, over all databases whose files might ever meet.
    pub fn new(clock: Clock, ids: Ids) -> Options {
        Options {
            memory_budget_bytes: MEMORY_BUDGET_BYTES,
            durability: Durability::default(),
            compression: Compression::default(),
            keep_changes_bytes: 0,
            open_files_max: 512,
            clock,
            ids,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.memory_budget_bytes < MEMORY_BUDGET_BYTES_MIN {
            return Err(Error::invalid(format_args!(
                "a memory budget of {} bytes is too small; the least is {MEMORY_BUDGET_BYTES_MIN}",
                self.memory_budget_bytes
            )));
        }
        if self.open_files_max == 0 {
            return Err(Error::invalid("at least one SSTable must be allowed to be open"));
        }
        Ok(())
    }

    /// When the active memtable is full. One more may be frozen beside it, so two sixths of the budget hold writes. More than
    /// its limit would only be longer to flush and to read again.
    pub(crate) fn memtable_bytes(&self) -> u64 {
        (self.memory_budget_bytes / 6).min(2 << 30)
    }

    /// What the block cache may hold while the memtables take `memtables_len`: what they leave of the budget, and no more
    /// than what two that have overrun by a quarter leave.
    pub(crate) fn cache_bytes(&self, memtables_len: u64) -> u64 {
        self.memory_budget_bytes.saturating_sub(memtables_len.max(self.memtable_bytes() * 5 / 2))
    }

    /// The longest value or batch: a quarter of the budget, and no longer than a record can be.
    pub(crate) fn batch_len_max(&self) -> u64 {
        (self.memory_budget_bytes / 4).min(BATCH_LEN_MAX)
    }

    /// When an SSTable that compaction writes is full, where `stored_len` bytes are stored. A sixteenth of the budget keeps a
    /// table's index and filter a small part of the cache; 64 MiB keeps one compaction short. Where little is stored tables
    /// are short too, since the reserve must reach for the longest twice.
    pub(crate) fn table_bytes(&self, stored_len: u64) -> u64 {
        (self.memory_budget_bytes / 16).clamp(4 << 10, 64 << 20).min((stored_len / 64).max(1 << 20))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("memory_budget_bytes", &self.memory_budget_bytes)
            .field("durability", &self.durability)
            .field("compression", &self.compression)
            .field("keep_changes_bytes", &self.keep_changes_bytes)
            .field("open_files_max", &self.open_files_max)
            .finish_non_exhaustive()
    }
}
