//! Batch: several writes that are done together or not at all, if what they depend on holds.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use cairndb::SeqNo;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::conditions::seq_of;
use super::guard::Who;
use super::json::Bytes;
use super::kv::{delete_in, put_in, put_len};
use super::problem::{BAD_BODY, BAD_KEY, PRECONDITION_FAILED, Problem, TOO_LARGE};
use super::query::{KEY_LEN_MAX, Query};
use super::{Answer, body, turn};
use crate::server::Server;
use crate::store::{DATABASES, Data, Revision, Stretch};

/// How many operations and conditions a batch may have.
const OPERATIONS_MAX: usize = 10_000;
/// How many of them may be ranges: each is looked at by every read of the turn.
const RANGES_MAX: usize = 100;

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    ops: Vec<Operation>,
    #[serde(default, rename = "if")]
    conditions: Vec<Condition>,
    #[serde(default)]
    db: usize,
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Operation {
    Put { key: Bytes<'static>, value: Bytes<'static>, ttl_ms: Option<u64> },
    Delete { key: Bytes<'static> },
    DeleteRange { start: Option<Bytes<'static>>, end: Option<Bytes<'static>> },
}

/// A key must hold the value with this tag; `*` for any, null for none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    key: Bytes<'static>,
    /// Must be given: one that was forgotten must not mean that the key has to be absent.
    #[serde(deserialize_with = "given")]
    etag: Option<String>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

/// What a condition asks for.
enum Expected {
    Nothing,
    Anything,
    Seq(SeqNo),
}

/// What an operation came to.
enum Done {
    Put(Option<Revision>),
    Delete { found: bool },
    DeleteRange,
}

pub(super) async fn batch(
    State(server): State<Arc<Server>>,
    who: Who,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    Query::of(&uri, &[])?;
    let received = body::read(&server, &headers, body).await?;
    let batch: Batch =
        serde_json::from_slice(&received).map_err(|error| Problem::new(&BAD_BODY, error.to_string()))?;
    let len = batch.check(&server, &who)?;
    let expected: Vec<Expected> = batch.conditions.iter().map(expected).collect::<Result<_, _>>()?;
    let done = turn::write(&server, len, |data| {
        for (index, (condition, expected)) in batch.conditions.iter().zip(&expected).enumerate() {
            let current = data.revision(batch.db, &condition.key.0)?;
            if !expected.is_met(current.as_ref()) {
                return Ok(Err((index, current)));
            }
        }
        batch
            .ops
            .iter()
            .map(|operation| operation.stage(&server, data, batch.db))
            .collect::<Result<_, _>>()
            .map(Ok)
    });
    let done: Vec<Done> = done.await?.map_err(|(index, current)| unmet(&batch, index, current.as_ref()))?;
    let results: Vec<Value> = done.iter().map(Done::told).collect();
    Ok(super::json_response(&json!({ "results": results })))
}

impl Batch {
    /// Refuses what could not be done, and returns how much it adds to a turn at most, in bytes.
    fn check(&self, server: &Server, who: &Who) -> Result<usize, Problem> {
        let refuse = |detail: String| Problem::new(&BAD_BODY, detail);
        let too_large = |detail: String| Problem::new(&TOO_LARGE, detail);
        if self.db >= DATABASES {
            return Err(refuse("db must be a database's number, 0 to 15".into()));
        }
        if self.ops.len() + self.conditions.len() > OPERATIONS_MAX {
            return Err(too_large(format!("there are more than {OPERATIONS_MAX} operations and conditions")));
        }
        let is_range = |operation: &&Operation| matches!(operation, Operation::DeleteRange { .. });
        if self.ops.iter().filter(is_range).count() > RANGES_MAX {
            return Err(too_large(format!("there are more than {RANGES_MAX} ranges")));
        }
        for (index, condition) in self.conditions.iter().enumerate() {
            check_len(&condition.key, || format!("if[{index}].key"))?;
            who.check(&[b"get", &condition.key.0])?;
        }
        let mut len = 0;
        for (index, operation) in self.ops.iter().enumerate() {
            len += match operation {
                Operation::Put { key, value, ttl_ms } => {
                    check_len(key, || format!("ops[{index}].key"))?;
                    who.check(&[b"set", &key.0, b""])?;
                    if *ttl_ms == Some(0) {
                        return Err(refuse(format!("ops[{index}].ttl_ms must be at least 1")));
                    }
                    put_len(&key.0, value.0.len())
                }
                Operation::Delete { key } => {
                    check_len(key, || format!("ops[{index}].key"))?;
                    who.check(&[b"del", &key.0])?;
                    put_len(&key.0, 0)
                }
                Operation::DeleteRange { start, end } => {
                    for (bound, name) in [(start, "start"), (end, "end")] {
                        bound
                            .iter()
                            .try_for_each(|bound| check_len(bound, || format!("ops[{index}].{name}")))?;
                    }
                    who.check(&[b"flushdb"])?;
                    let start = start.as_ref().map_or(&b""[..], |start| &start.0);
                    let end = end.as_ref().map(|end| &*end.0);
                    if end.is_some_and(|end| end < start) {
                        return Err(refuse(format!("ops[{index}].end is before its start")));
                    }
                    put_len(start, end.map_or(0, <[u8]>::len))
                }
            };
        }
        let len_max = server.store.batch_len_max();
        if len > len_max {
            return Err(too_large(format!("it comes to {len} bytes; the limit is {len_max}")));
        }
        Ok(len)
    }
}

/// A key in a body may be empty: this is where a key can be reached that no path names.
fn check_len(key: &Bytes<'_>, place: impl Fn() -> String) -> Result<(), Problem> {
    let len = key.0.len();
    if len > KEY_LEN_MAX {
        let detail = format!("{} is {len} bytes long; the limit is {KEY_LEN_MAX}", place());
        return Err(Problem::new(&BAD_KEY, detail));
    }
    Ok(())
}

fn expected(condition: &Condition) -> Result<Expected, Problem> {
    let Some(etag) = &condition.etag else { return Ok(Expected::Nothing) };
    if etag == "*" {
        return Ok(Expected::Anything);
    }
    let opaque = etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"'));
    let seq = opaque.and_then(|opaque| seq_of(opaque.as_bytes()));
    let refused =
        || Problem::new(&BAD_BODY, format!("{etag:?} is no tag of this server's, such as \"\\\"17\\\"\""));
    seq.map(Expected::Seq).ok_or_else(refused)
}

impl Expected {
    fn is_met(&self, current: Option<&Revision>) -> bool {
        match (self, current) {
            (Expected::Nothing, current) => current.is_none(),
            (Expected::Anything, current) => current.is_some(),
            (Expected::Seq(seq), Some(Revision::Written(current))) => seq == current,
            // As for the headers: what has not settled has a number that nobody can have been told.
            (Expected::Seq(_), _) => false,
        }
    }
}

impl Operation {
    fn stage(&self, server: &Server, data: &mut Data<'_>, database: usize) -> Result<Done, Problem> {
        Ok(match self {
            Operation::Put { key, value, ttl_ms } => {
                put_in(server, data, database, &key.0, &value.0, *ttl_ms);
                Done::Put(data.revision(database, &key.0)?)
            }
            Operation::Delete { key } => {
                let found = data.contains(database, &key.0)?;
                if found {
                    delete_in(server, data, database, &key.0);
                }
                Done::Delete { found }
            }
            Operation::DeleteRange { start, end } => {
                let bytes = |bound: &Option<Bytes<'_>>| bound.as_ref().map(|bound| bound.0.to_vec());
                let stretch = Stretch { start: bytes(start).unwrap_or_default(), end: bytes(end) };
                data.delete_range(database, stretch);
                Done::DeleteRange
            }
        })
    }
}

impl Done {
    fn told(&self) -> Value {
        match self {
            Done::Put(revision) => {
                let seq = revision.as_ref().and_then(Revision::seq);
                json!({ "etag": seq.map(|seq| format!("\"{seq}\"")) })
            }
            Done::Delete { found } => json!({ "found": found }),
            Done::DeleteRange => json!({}),
        }
    }
}

fn unmet(batch: &Batch, index: usize, current: Option<&Revision>) -> Problem {
    let etag = current.and_then(Revision::seq).map(|seq| format!("\"{seq}\""));
    let key = serde_json::to_value(&batch.conditions[index].key).expect("bytes are JSON");
    Problem::new(&PRECONDITION_FAILED, format!("if[{index}] does not hold"))
        .member("index", index)
        .member("key", key)
        .member("etag", etag)
}
