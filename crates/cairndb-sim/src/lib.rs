//! Sim: a seeded world around the engine, in which every crash can be had again.
//!
//! The engine has no clock, no dice and no threads of its own, so a run of it is a function of what it is given. Here
//! it is given a disk that lies ([`cairndb::storage::Faulty`]), a clock that stands until it is moved, ids that count,
//! and operations that follow from a seed. Beside it runs an oracle: a sorted map, and the list of commits that made
//! it. Whatever goes wrong is printed as a short script, with the command that shows it again.
//!
//! [`Crashes`] is for your own code: it takes an application and its rule, and holds the rule against what a crash at
//! every storage call of that application can leave.
//!
//! # Where it sits
//! On the engine's public doors alone.

// In reading order: a module uses only those above it.
mod dice;
mod quiet;
mod tally;
mod trouble;

mod oracle;
mod script;
mod shrink;
mod reads;
mod follower;

mod states;
mod judge;
mod world;

mod exhaustive;
mod matrix;
mod metamorphic;
mod rot;
mod parts;
mod seeds;

mod app;

pub use app::{Crashes, Tested, Told};
pub use matrix::fault_matrix;
pub use parts::{PARTS, Part, run_bytes};
pub use seeds::{Done, Until, run_seeds};
pub use tally::Tally;
