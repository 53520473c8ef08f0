//! Measure: the guide's stages and the engine, side by side: the same contract, the same workload.
//!
//! # Where it sits
//! On the stages, and on the engine's public door.

use std::io;

use cairndb::{Db, Options};
use contract::{Database, Subject, subject};

/// The four stages, in their order.
pub const STAGES: [Subject; 4] =
    [subject!(stage_01), subject!(stage_02), subject!(stage_03), subject!(stage_04)];

/// The engine, with a memory budget of 4 MiB; every write is synced.
pub const ENGINE: Subject = Subject {
    name: "cairndb",
    open: |storage| {
        let options = Options { memory_budget_bytes: 4 << 20, ..Options::default() };
        Ok(Box::new(Engine(Db::open_with(storage, options).map_err(io::Error::other)?)))
    },
};

struct Engine(Db);

impl Database for Engine {
    fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.0.put(key, value).map_err(io::Error::other)
    }

    fn get(&mut self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.0.get(key).map(|value| value.map(|value| value.to_vec())).map_err(io::Error::other)
    }

    fn delete(&mut self, key: &[u8]) -> io::Result<()> {
        self.0.delete(key).map_err(io::Error::other)
    }
}
