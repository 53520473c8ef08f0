//! Contract: what every stage of the guide is held to, and the engine too.
//!
//! [`TESTS`] look at a database from outside alone: they put, get and delete, open it again, cut its power at each of its
//! calls, let its disk lie. A stage passes some and fails others, and which ones is written down where it is tested: a
//! failure that is expected and does not come is as wrong as one that comes and is not.
//!
//! # Where it sits
//! On `cairndb-storage`. The stages' programs use it, to show a crash; their databases don't know of it.

// In reading order: a module uses only those above it.
mod database;
mod directory;
mod model;
mod answers;
mod crashes;
mod program;

pub use crashes::calls;
pub use database::{Database, Open, Subject};
pub use directory::Directory;
pub use program::program;

/// One thing that a database is held to.
pub struct Test {
    /// What holds if it passes.
    pub name: &'static str,
    /// Whether it takes the disk's side: crashes, lies, damage.
    pub is_crash: bool,
    /// Says what was seen instead, if it fails.
    pub run: fn(&Subject) -> Result<(), String>,
}

/// Everything that a database is held to.
pub const TESTS: &[Test] = &[
    answers("what was put is read", answers::put_is_read),
    answers("a key that was never put holds nothing", answers::missing_holds_nothing),
    answers("the last put counts", answers::last_put_counts),
    answers("a deleted key holds nothing", answers::deleted_holds_nothing),
    answers("keys and values are any bytes, or none", answers::any_bytes),
    answers("a value may be long", answers::long_values),
    answers("it answers as a sorted map does, and does so after restarts", answers::as_a_map),
    crash("a killed process loses nothing", crashes::kill),
    crash("a power cut loses nothing that was confirmed", crashes::power_cut_loses_nothing),
    crash("after a power cut it opens", crashes::power_cut_opens),
    crash("a power cut leaves what once was: no holes, no garbage", crashes::power_cut_leaves_a_moment),
    crash("a power cut while it opens changes nothing", crashes::power_cut_at_open),
    crash("after a failed sync it confirms nothing more", crashes::failed_sync),
    crash("after a failed sync and a restart it loses nothing", crashes::failed_sync_and_restart),
    crash("a flipped bit is noticed", crashes::flipped_bit),
];

const fn answers(name: &'static str, run: fn(&Subject) -> Result<(), String>) -> Test {
    Test { name, is_crash: false, run }
}

const fn crash(name: &'static str, run: fn(&Subject) -> Result<(), String>) -> Test {
    Test { name, is_crash: true, run }
}
