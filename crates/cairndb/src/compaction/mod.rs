//! Compaction: merging tables, so that reads ask fewer of them and what nobody can see takes no room.
//!
//! Two halves that know nothing of each other: `pick` looks at a version and says what to merge, a pure function;
//! `run` merges, a value that is stepped as far as its caller likes. A flush is the same work with a memtable for input.
//!
//! # Where it sits
//! On `version`, `merge` and `snapshot`'s [`crate::snapshot::Live`]; `db` steps it and records the edit.

mod pick;
mod run;

pub(crate) use pick::{
    L0_RUNS_COMPACT, L0_RUNS_SLOW, L0_RUNS_STOP, Owed, Shape, Task, Waiting, due, everything, owed,
};
pub(crate) use run::{Outside, Progress, Run};
