//! Body: what a request carries, read into memory that grows with what came.

use std::ops::Deref;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT, RETRY_AFTER, TRANSFER_ENCODING};
use http_body_util::BodyExt;

use super::problem::{BUSY, LENGTH_REQUIRED, Problem, TOO_LARGE, TOO_SLOW};
use crate::memory::Share;
use crate::server::Server;

/// How long the next piece may take to come.
const PIECE: Duration = Duration::from_secs(30);

/// How much of a body that is refused is read all the same, and how long its next piece is waited for.
const REFUSED_LEN_MAX: usize = 16 << 20;
const REFUSED_PIECE: Duration = Duration::from_secs(1);

/// A body, and its share of what all clients may hold.
pub(crate) struct Received {
    bytes: Vec<u8>,
    share: Share,
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The whole body, if it is no longer than may be, and all that clients hold together is no more.
pub(crate) async fn read(server: &Server, headers: &HeaderMap, mut body: Body) -> Result<Received, Problem> {
    let len_max = server.body_len_max();
    if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
        let detail = "this needs a body, with Content-Length or in chunks; an empty one is Content-Length: 0";
        return Err(Problem::new(&LENGTH_REQUIRED, detail));
    }
    let too_large = || {
        let detail = format!("the body is longer than {len_max} bytes");
        Problem::new(&TOO_LARGE, detail).member("limit", len_max)
    };
    // Before the first piece is asked for: who waits for `100 Continue` need not send what is refused.
    if body.size_hint().lower() > len_max as u64 {
        if !headers.contains_key(EXPECT) {
            pass_over(body).await;
        }
        return Err(too_large());
    }
    let mut received = Received { bytes: Vec::new(), share: server.buffers.share() };
    loop {
        let Ok(frame) = tokio::time::timeout(PIECE, body.frame()).await else {
            return Err(Problem::new(&TOO_SLOW, "the body did not come in time"));
        };
        let Some(frame) = frame else { return Ok(received) };
        let frame = frame.map_err(|error| Problem::new(&super::problem::BAD_BODY, error.to_string()))?;
        let Some(piece) = frame.data_ref() else { continue };
        if piece.len() > len_max - received.len() {
            drop(received);
            pass_over(body).await;
            return Err(too_large());
        }
        received.share.grow(piece.len());
        if received.share.is_too_much() {
            let detail =
                "clients together hold more than maxmemory-clients, and this one more than its share";
            return Err(Problem::new(&BUSY, detail).header(RETRY_AFTER, "1"));
        }
        received.bytes.extend_from_slice(piece);
    }
}

/// Reads on for a while, and keeps nothing: who still sends when the connection ends may not come to read why.
async fn pass_over(mut body: Body) {
    let mut len = 0;
    while len < REFUSED_LEN_MAX
        && let Ok(Some(Ok(frame))) = tokio::time::timeout(REFUSED_PIECE, body.frame()).await
    {
        len += frame.data_ref().map_or(0, Bytes::len);
    }
}
