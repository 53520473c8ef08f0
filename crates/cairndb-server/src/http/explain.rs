//! Explain: what a read of one key looks at, and how long it takes.

use std::time::Instant;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use cairndb::{Look, LookAnswer, LookPlace};
use serde_json::{Value, json};

use super::Answer;
use crate::server::Server;

/// The looks of a read, the newest place first, as `GET /v1/kv/KEY?explain=1` tells them. Whoever may read the key may ask.
pub(super) fn explain(server: &Server, database: usize, key: &[u8]) -> Answer {
    let began = Instant::now();
    let looks = server.store.explain(database, key)?;
    let first_us = began.elapsed().as_secs_f64() * 1e6;
    let again = Instant::now();
    let found = server.store.entry(database, key)?;
    let again_us = again.elapsed().as_secs_f64() * 1e6;
    let count = |fits: fn(&Look) -> bool| looks.iter().filter(|look| fits(look)).count();
    let told = json!({
        "found": found.is_some(),
        "looks": looks.iter().map(look).collect::<Vec<_>>(),
        "tables": count(|look| matches!(look.place, LookPlace::Table { .. })),
        "filtered_out": count(|look| look.answer == LookAnswer::FilteredOut),
        "blocks_read": count(|look| look.block.is_some_and(|block| !block.cached)),
        "blocks_cached": count(|look| look.block.is_some_and(|block| block.cached)),
        "microseconds": first_us,
        "microseconds_again": again_us,
    });
    Ok(([(CONTENT_TYPE, "application/json")], told.to_string()).into_response())
}

/// One place, and what it had to say. A filter is asked of tables alone.
fn look(look: &Look) -> Value {
    let (place, level, table) = match look.place {
        LookPlace::ActiveMemtable => ("active memtable", None, None),
        LookPlace::FrozenMemtable => ("frozen memtable", None, None),
        LookPlace::Table { level, number } => ("table", Some(level), Some(number)),
    };
    let (answer, seq) = match look.answer {
        LookAnswer::FilteredOut => ("filtered out", None),
        LookAnswer::NotThere => ("not there", None),
        LookAnswer::Value(seq) => ("value", Some(seq)),
        LookAnswer::Delete(seq) => ("delete", Some(seq)),
    };
    let block =
        look.block.map(|block| json!({"offset": block.offset, "len": block.len, "cached": block.cached}));
    json!({"place": place, "level": level, "table": table, "block": block, "answer": answer, "seq": seq})
}
