//! Changes: what is written, told as it is written: Server-Sent Events out of the engine's log.
//!
//! An event's id is the sequence number of its entry, so a browser that comes back with `Last-Event-ID` misses nothing, for
//! as long as the log is kept. A feed holds nothing back: one that is too slow for what is kept is told so, and starts
//! anew from a listing.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::Response;
use cairndb::{Change, ChangeEntry, ChangeKind, Changes, SeqNo};
use http_body_util::channel::{Channel, Sender};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::guard::Who;
use super::problem::{BAD_HEADER, GONE, Problem};
use super::query::Query;
use super::{Answer, json, off_the_runtime};
use crate::server::Server;
use crate::store::DATABASES;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How often something is sent when nothing is written, so that neither end takes the other for gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client may take for a piece.
const TAKEN: Duration = Duration::from_secs(60);
/// A piece ends at the event with which it becomes longer, in bytes.
const PIECE_LEN: usize = 64 << 10;

/// Where a client's events have come to.
struct Feed {
    server: Arc<Server>,
    changes: Changes,
    /// The last sequence number that was told, or has nothing to be told of.
    seen: SeqNo,
    who: Who,
}

pub(super) async fn changes(
    State(server): State<Arc<Server>>,
    Extension(stopped): Extension<watch::Receiver<bool>>,
    who: Who,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let query = Query::of(&uri, &["since"])?;
    who.check(&[b"scan", b"0"])?;
    let since = query.read("since", "a sequence number", |word| word.parse().ok())?;
    let last = headers.get(LAST_EVENT_ID).map(|id| {
        let seq = id.to_str().ok().and_then(|id| id.parse().ok());
        let refused = || Problem::new(&BAD_HEADER, "Last-Event-ID must be a sequence number");
        seq.ok_or_else(|| refused().member("header", "last-event-id"))
    });
    let feed = off_the_runtime(move || {
        let db = server.store.db();
        let since = match last.transpose()?.or(since) {
            Some(seq) => seq,
            None => db.snapshot()?.seq(),
        };
        let changes =
            db.changes(since).map_err(|error| gone(&server, since).unwrap_or_else(|| error.into()))?;
        Ok::<_, Problem>(Feed { changes, seen: since, who, server })
    });
    let feed = feed.await??;
    let (sender, body) = Channel::new(1);
    tokio::spawn(tell(feed, sender, stopped));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

/// The problem of who asks for what has gone; `None` if it has not.
fn gone(server: &Server, since: SeqNo) -> Option<Problem> {
    let oldest = server.store.db().oldest_change();
    let detail =
        format!("what was written behind {since} is not kept any more; the oldest that is, is {oldest}");
    (since.saturating_add(1) < oldest).then(|| Problem::new(&GONE, detail).member("oldest", oldest))
}

/// Sends events until the client goes or the server ends.
async fn tell(mut feed: Feed, mut sender: Sender<Bytes, cairndb::Error>, mut stopped: watch::Receiver<bool>) {
    let server = feed.server.clone();
    // At once: a client that waits for the head must not wait for the first write.
    let mut piece = ":\n\n".to_string();
    loop {
        if !matches!(tokio::time::timeout(TAKEN, sender.send_data(piece.into())).await, Ok(Ok(()))) {
            return;
        }
        let written = server.store.written.notified();
        tokio::pin!(written);
        // Before the look: what is written after it wakes.
        written.as_mut().enable();
        (feed, piece) = match off_the_runtime(move || feed.piece()).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => return sender.abort(error),
            Err(_) => return,
        };
        if !feed.who.is_still_there() {
            return;
        }
        if !piece.is_empty() {
            continue;
        }
        tokio::select! {
            () = written => {}
            () = tokio::time::sleep(HEARTBEAT) => piece = format!(":\nid: {}\n\n", feed.seen),
            _ = stopped.changed() => return,
        }
    }
}

impl Feed {
    /// The next events; none if there are none yet. Where what comes next has gone, the last event says so.
    fn piece(mut self) -> cairndb::Result<(Feed, String)> {
        let mut piece = String::new();
        while piece.len() < PIECE_LEN {
            let change = match self.changes.next_change() {
                Ok(Some(change)) => change,
                Ok(None) => break,
                // So much was written meanwhile that it is not kept.
                Err(error @ cairndb::Error::Invalid { .. }) if piece.is_empty() => return Err(error),
                Err(cairndb::Error::Invalid { .. }) => break,
                Err(error) => return Err(error),
            };
            let told = change.entries.iter().filter(|entry| self.tells(entry));
            told.for_each(|entry| event(&mut piece, &change, entry));
            self.seen = self.seen.max(change.last_seq);
        }
        Ok((self, piece))
    }

    /// Whether an entry is the client's to see: one of a database, not seen yet, of a key that it may read.
    fn tells(&self, entry: &ChangeEntry) -> bool {
        let is_range = matches!(entry.kind, ChangeKind::DeleteRange { .. });
        usize::from(entry.keyspace) < DATABASES
            && entry.seq > self.seen
            && (is_range || self.who.may_read(&entry.key))
    }
}

fn event(out: &mut String, change: &Change, entry: &ChangeEntry) {
    let bytes = |bytes: &[u8]| serde_json::to_value(json::Bytes::from(bytes)).expect("bytes are JSON");
    let mut data =
        json!({ "db": entry.keyspace, "seq": entry.seq, "batch": [change.first_seq, change.last_seq] });
    let name = match &entry.kind {
        ChangeKind::Put { value, expires_at_ms } => {
            data["key"] = bytes(&entry.key);
            data["value"] = bytes(value);
            data["expires_at_ms"] = Value::from(*expires_at_ms);
            "put"
        }
        ChangeKind::DeleteRange { end } => {
            data["start"] = bytes(&entry.key);
            data["end"] = end.as_deref().map_or(Value::Null, bytes);
            "delete_range"
        }
        _ => {
            data["key"] = bytes(&entry.key);
            "delete"
        }
    };
    // JSON has no line's end in it, so an event's data is one line.
    _ = write!(out, "id: {}\nevent: {name}\ndata: {data}\n\n", entry.seq);
}
