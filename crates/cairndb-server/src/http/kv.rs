//! Kv: one key: read it, give it a value, take it away.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use cairndb::SeqNo;

use super::conditions::{Conditions, etag};
use super::guard::Who;
use super::problem::{KEY_NOT_FOUND, PRECONDITION_FAILED, Problem};
use super::query::{Query, key_of};
use super::{Answer, body, explain, turn};
use crate::events::{Class, Event};
use crate::server::Server;
use crate::store::{Data, Revision};

/// What stands before the key in a path.
const PREFIX: &str = "/v1/kv/";

/// When the value will be gone, in milliseconds since 1970.
pub(crate) const EXPIRES_AT: HeaderName = HeaderName::from_static("x-cairn-expires-at");

pub(super) async fn get(State(server): State<Arc<Server>>, who: Who, uri: Uri, headers: HeaderMap) -> Answer {
    let query = Query::of(&uri, &["db", "explain"])?;
    let (database, key) = (query.database()?, key_of(&uri, PREFIX)?);
    who.check(&[b"get", &key])?;
    if query.read("explain", "1, or not given", |word| (word == "1").then_some(()))?.is_some() {
        return explain::explain(&server, database, &key);
    }
    let conditions = Conditions::of(&headers)?;
    let entry = server.store.entry(database, &key)?;
    server.counters.looked_up(1, usize::from(entry.is_some()));
    let current = entry.as_ref().map(|entry| Revision::Written(entry.seq));
    if !conditions.matches(current.as_ref()) {
        return Err(unmet(current.as_ref()));
    }
    let entry = entry.ok_or_else(not_found)?;
    let mut response = Response::new(Body::empty());
    if conditions.rules_out(current.as_ref()) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.body_mut() = Body::from(Bytes::from_owner(entry.value));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    }
    response.headers_mut().insert(ETAG, etag(entry.seq));
    if let Some(at_ms) = entry.expires_at_ms {
        response.headers_mut().insert(EXPIRES_AT, HeaderValue::from(at_ms));
    }
    Ok(response)
}

pub(super) async fn put(
    State(server): State<Arc<Server>>,
    who: Who,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let query = Query::of(&uri, &["db", "ttl"])?;
    let database = query.database()?;
    let ttl_ms =
        query.read("ttl", "a number and a unit, ms, s, m, h or d, and more than nothing: 30s", ttl_ms)?;
    let key = key_of(&uri, PREFIX)?;
    who.check(&[b"set", &key, b""])?;
    let conditions = Conditions::of(&headers)?;
    let value = body::read(&server, &headers, body).await?;
    let written = turn::write(&server, put_len(&key, value.len()), |data| {
        let old = data.revision(database, &key)?;
        if !conditions.allow(old.as_ref()) {
            return Ok(Err(old));
        }
        put_in(&server, data, database, &key, &value, ttl_ms);
        Ok(Ok((old.is_none(), data.revision(database, &key)?)))
    });
    let (is_new, revision) = written.await?.map_err(|old| unmet(old.as_ref()))?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    let seq = revision.as_ref().and_then(Revision::seq);
    let mut response = status.into_response();
    response.headers_mut().extend(seq.map(|seq| (ETAG, etag(seq))));
    Ok(response)
}

pub(super) async fn delete(
    State(server): State<Arc<Server>>,
    who: Who,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let database = Query::of(&uri, &["db"])?.database()?;
    let key = key_of(&uri, PREFIX)?;
    who.check(&[b"del", &key])?;
    let conditions = Conditions::of(&headers)?;
    let written = turn::write(&server, put_len(&key, 0), |data| {
        let old = data.revision(database, &key)?;
        if !conditions.allow(old.as_ref()) {
            return Ok(Err(old));
        }
        if old.is_some() {
            delete_in(&server, data, database, &key);
        }
        Ok(Ok(old.is_some()))
    });
    let was_there = written.await?.map_err(|old| unmet(old.as_ref()))?;
    if was_there { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(not_found()) }
}

/// The path with nothing behind it, or with no key in it.
pub(super) async fn without_key(uri: Uri) -> Answer {
    key_of(&uri, PREFIX).map(|_| StatusCode::NO_CONTENT.into_response())
}

/// What a put adds to a turn at most, in bytes: the entry, and where the sweep finds when it expires.
pub(super) fn put_len(key: &[u8], value_len: usize) -> usize {
    2 * key.len() + value_len + 64
}

/// Puts, and says so to whoever listens.
pub(super) fn put_in(
    server: &Server,
    data: &mut Data<'_>,
    database: usize,
    key: &[u8],
    value: &[u8],
    ttl_ms: Option<u64>,
) {
    let expires_at_ms = ttl_ms.map(|ttl_ms| data.now_ms.saturating_add(ttl_ms));
    data.put(database, key, value, expires_at_ms);
    happened(server, data, Class::String, Event { name: "set", database, key: key.to_vec() });
    if expires_at_ms.is_some() {
        happened(server, data, Class::Generic, Event { name: "expire", database, key: key.to_vec() });
    }
}

/// Deletes, and says so to whoever listens.
pub(super) fn delete_in(server: &Server, data: &mut Data<'_>, database: usize, key: &[u8]) {
    data.delete(database, key);
    happened(server, data, Class::Generic, Event { name: "del", database, key: key.to_vec() });
}

fn happened(server: &Server, data: &mut Data<'_>, class: Class, event: Event) {
    if server.events.wants(class) {
        data.happened(event);
    }
}

/// `30s` and the like, in milliseconds; `None` for what is no time, or none at all.
fn ttl_ms(word: &str) -> Option<u64> {
    let (number, unit) = word.split_at(word.bytes().take_while(u8::is_ascii_digit).count());
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_ms).filter(|&ms| ms > 0)
}

fn not_found() -> Problem {
    Problem::new(&KEY_NOT_FOUND, "the key has no value")
}

/// A condition does not hold of what is there.
pub(super) fn unmet(current: Option<&Revision>) -> Problem {
    let seq: Option<SeqNo> = current.and_then(Revision::seq);
    let detail = match current {
        Some(_) => "the key holds another value; ETag is the tag of that",
        None => "the key has no value",
    };
    let problem = Problem::new(&PRECONDITION_FAILED, detail);
    match seq {
        Some(seq) => problem.header(ETAG, etag(seq)).member("etag", format!("\"{seq}\"")),
        None => problem.member("etag", serde_json::Value::Null),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_a_number_and_a_unit() {
        assert_eq!(ttl_ms("500ms"), Some(500));
        assert_eq!(ttl_ms("30s"), Some(30_000));
        assert_eq!(ttl_ms("2h"), Some(7_200_000));
        assert_eq!(ttl_ms("7d"), Some(604_800_000));
        for wrong in ["", "s", "30", "30 s", "-1s", "1.5h", "0s", "99999999999999999999s", "213503982335d"] {
            assert_eq!(ttl_ms(wrong), None, "{wrong}");
        }
    }
}
