//! List: many keys in order: a page at a time, or all of them as they are read.
//!
//! A page, and a stream from its first line to its last, shows one moment. A page ends at its limit of keys, or where it
//! has become long; its cursor is where the next begins, in the present of that time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use cairndb::{Entry, Scan};
use http_body_util::channel::{Channel, Sender};
use serde::Serialize;

use super::guard::Who;
use super::query::{Query, refuse};
use super::{Answer, json};
use crate::server::Server;
use crate::store::Stretch;

const NDJSON: &str = "application/x-ndjson";

/// How many keys a page looks at, if nothing else is asked for, and at most.
const LIMIT: u64 = 100;
const LIMIT_MAX: u64 = 1_000;
/// A page or a piece of a stream ends at the key with which it becomes longer, in bytes.
const PAGE_LEN: usize = 4 << 20;
const PIECE_LEN: usize = 64 << 10;
/// How long a client may take for a piece. Meanwhile nothing of what it would still see can leave the disk.
const TAKEN: Duration = Duration::from_secs(60);

/// One key, as it is listed.
#[derive(Serialize)]
struct Item<'a> {
    key: json::Bytes<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<json::Bytes<'a>>,
    etag: String,
    expires_at_ms: Option<u64>,
}

/// What is listed, from where it has come to.
struct Listing {
    scan: Scan,
    reverse: bool,
    values: bool,
    who: Who,
    /// How many keys may still be looked at.
    left: u64,
}

pub(super) async fn list(
    State(server): State<Arc<Server>>,
    who: Who,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let known = ["db", "prefix", "start", "end", "limit", "reverse", "cursor", "values"];
    let query = Query::of(&uri, &known)?;
    who.check(&[b"scan", b"0"])?;
    let accepts = |line: &HeaderValue| line.to_str().is_ok_and(|line| line.contains(NDJSON));
    let streams = headers.get_all(ACCEPT).iter().any(accepts);
    let database = query.database()?;
    let reverse = query.switch("reverse", false)?;
    let values = query.switch("values", true)?;
    let limit =
        query.read("limit", "a number, at least 1", |word| word.parse().ok().filter(|&n: &u64| n > 0))?;
    let mut stretch = Stretch::of_prefix(query.get("prefix").unwrap_or_default());
    stretch.cut(query.get("start").unwrap_or_default(), query.get("end"));
    if let Some(word) = query.get("cursor") {
        let last = std::str::from_utf8(word).ok().and_then(json::of_word);
        let last = last.ok_or_else(|| refuse("cursor", "cursor is none that a page had".into()))?;
        match reverse {
            true => stretch.cut(b"", Some(&last)),
            false => stretch.cut(&[&*last, b"\0"].concat(), None),
        }
    }
    let listing = move |left| {
        let scan = server.store.scan(database, stretch);
        Listing { scan, reverse, values, who, left }
    };
    let mut response = Response::new(Body::empty());
    let kind = if streams {
        let (sender, body) = Channel::new(1);
        tokio::spawn(stream(move || listing(limit.unwrap_or(u64::MAX)), sender));
        *response.body_mut() = Body::new(body);
        NDJSON
    } else {
        let limit = limit.unwrap_or(LIMIT).min(LIMIT_MAX);
        let page = super::off_the_runtime(move || listing(limit).page()).await??;
        *response.body_mut() = Body::from(page);
        "application/json"
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// Sends a listing line by line. No thread waits for the client.
async fn stream(begin: impl FnOnce() -> Listing + Send + 'static, mut sender: Sender<Bytes, cairndb::Error>) {
    let mut step = super::off_the_runtime(move || begin().piece()).await;
    loop {
        match step {
            Ok(Ok((piece, _))) if piece.is_empty() => return,
            Ok(Ok((piece, listing))) => {
                match tokio::time::timeout(TAKEN, sender.send_data(piece.into())).await {
                    Ok(Ok(())) => step = super::off_the_runtime(move || listing.piece()).await,
                    // A client that has gone wants nothing more; one that does not read is cut off.
                    Ok(Err(_)) => return,
                    Err(_) => return sender.abort(cairndb::Error::Closed),
                }
            }
            // The client sees that it has not come to the end: the last chunk does not come.
            Ok(Err(error)) => return sender.abort(error),
            Err(_) => return sender.abort(cairndb::Error::Closed),
        }
    }
}

impl Listing {
    fn next(&mut self) -> Option<cairndb::Result<(Vec<u8>, Entry)>> {
        if self.reverse { self.scan.next_entry_back() } else { self.scan.next_entry() }
    }

    /// A page, as JSON.
    fn page(mut self) -> cairndb::Result<Vec<u8>> {
        let mut page = b"{\"items\":[".to_vec();
        let begun = page.len();
        let mut last = None;
        while self.left > 0 && page.len() < PAGE_LEN {
            let Some(item) = self.next() else { break };
            let (key, entry) = item?;
            self.left -= 1;
            if self.who.may_read(&key) {
                if page.len() > begun {
                    page.push(b',');
                }
                self.write(&mut page, &key, &entry);
            }
            last = Some(key);
        }
        // Whether anything is left shows one key further on.
        let more = self.next().transpose()?.is_some();
        let cursor = last.filter(|_| more).map(|last| json::to_word(&last));
        page.extend_from_slice(b"],\"cursor\":");
        page.extend_from_slice(serde_json::to_string(&cursor).expect("a word is JSON").as_bytes());
        page.push(b'}');
        Ok(page)
    }

    /// The next lines of a stream; none at its end.
    fn piece(mut self) -> cairndb::Result<(Vec<u8>, Listing)> {
        let mut piece = Vec::new();
        while self.left > 0 && piece.len() < PIECE_LEN {
            let Some(item) = self.next() else { break };
            let (key, entry) = item?;
            if self.who.may_read(&key) {
                self.left -= 1;
                self.write(&mut piece, &key, &entry);
                piece.push(b'\n');
            }
        }
        Ok((piece, self))
    }

    fn write(&self, out: &mut Vec<u8>, key: &[u8], entry: &Entry) {
        let item = Item {
            key: key.into(),
            value: self.values.then(|| json::Bytes::from(entry.value.as_ref())),
            etag: format!("\"{}\"", entry.seq),
            expires_at_ms: entry.expires_at_ms,
        };
        serde_json::to_writer(out, &item).expect("memory takes what is written");
    }
}
