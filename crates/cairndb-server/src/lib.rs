//! The server: the same database directory behind the Redis protocol and HTTP.
//!
//! Rooms, in the order in which they are best read: `resp` (the protocol), `store` (turns that share a write and a sync),
//! `acl` (users, and what they may), `commands` (a row and a function each), `client`, `memory` and `pubsub` (what is
//! remembered of connections), `connection` (the loop that ties them together), `metrics` (one list of all that is measured),
//! `server`, `sweep` (what has expired),
//! `settings`, `log`, `socket`, `tls`, `listen`, `process`.

mod acl;
mod backups;
mod client;
mod commands;
mod connection;
mod events;
mod float;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod glob;
mod http;
mod latency;
mod listen;
mod log;
mod memory;
mod metrics;
mod monitors;
mod pause;
mod process;
mod pubsub;
mod random;
mod resp;
mod scans;
mod server;
mod settings;
mod slow;
mod socket;
mod store;
mod sweep;
mod threads;
mod tls;

pub use cairndb::Durability;
pub use http::Http;
pub use listen::{Error, Protocol, Running, start};
pub use process::run;
pub use settings::{Config, Layers, Limits, LogFormat, LogLevel, Origin, SETTINGS, Setting, Value};
