//! Explain: what a read of one key looks at, line by line.
//!
//! # Where it sits
//! Called by `get --explain`; the engine says what there is to tell.

use std::time::{Duration, Instant};

use cairndb::{Keyspace, Look, LookAnswer, LookPlace};

use crate::failure::Failure;
use crate::human;
use crate::output::Output;

/// Prints each place that a read of `key` looks at, and what all that came to. A key without a value is no such key, as
/// it is for `get`.
pub(crate) fn explain(keyspace: &Keyspace, key: &[u8]) -> Result<(), Failure> {
    let began = Instant::now();
    let looks = keyspace.explain(key)?;
    let first = began.elapsed();
    let began = Instant::now();
    let found = keyspace.contains(key)?;
    let again = began.elapsed();
    let mut out = Output::new();
    for look in &looks {
        out.line(
            format_args!("{:<24} {:<26} {}", place(look), answer(look), block(look)).to_string().trim_end(),
        )?;
    }
    let count = |fits: fn(&Look) -> bool| looks.iter().filter(|look| fits(look)).count() as u64;
    let tables = count(|look| matches!(look.place, LookPlace::Table { .. }));
    let filtered_out = count(|look| look.answer == LookAnswer::FilteredOut);
    let blocks = count(|look| look.block.is_some());
    let cached = count(|look| look.block.is_some_and(|block| block.cached));
    out.line(format_args!(
        "{}, {filtered_out} filtered out; {}, {cached} cached; {}, and {} for a read after it",
        human::counted(tables, "table", "tables"),
        human::counted(blocks, "block", "blocks"),
        microseconds(first),
        microseconds(again)
    ))?;
    out.flush()?;
    if found { Ok(()) } else { Err(Failure::MissingKey) }
}

fn place(look: &Look) -> String {
    match look.place {
        LookPlace::ActiveMemtable => "active memtable".into(),
        LookPlace::FrozenMemtable => "frozen memtable".into(),
        LookPlace::Table { level, number } => format!("level {level}, {number:06}.sst"),
    }
}

fn answer(look: &Look) -> String {
    match look.answer {
        LookAnswer::FilteredOut => "its filter says no".into(),
        LookAnswer::NotThere => "not there".into(),
        LookAnswer::Value(seq) => format!("a value, of write {seq}"),
        LookAnswer::Delete(seq) => format!("a delete, of write {seq}"),
    }
}

fn block(look: &Look) -> String {
    look.block.map_or_else(String::new, |block| {
        let how = if block.cached { "cached" } else { "read" };
        format!("block at {}, {}: {how}", block.offset, human::bytes(u64::from(block.len)))
    })
}

fn microseconds(elapsed: Duration) -> String {
    format!("{:.1} µs", elapsed.as_secs_f64() * 1e6)
}
