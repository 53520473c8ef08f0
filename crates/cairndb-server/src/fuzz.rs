//! Fuzz targets: functions that take any bytes as a client's, and return, or have found a bug.
//!
//! # Where it sits
//! Beside everything, behind the feature `fuzz`, and hidden. `fuzz/` at the repository's root drives the targets with
//! libFuzzer, `tests/it/hostile.rs` with the inputs that are kept.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use axum::response::Response;
use cairndb::storage::Memory;
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::connection::Connection;
use crate::http::{self, Ends};
use crate::resp::request::{ProtocolError, RequestLimits, RequestParser, integer, split_words};
use crate::server::Server;
use crate::settings::Config;

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// Every target, by the name that it has in `fuzz/`.
pub const TARGETS: &[(&str, Target)] = &[("requests", requests), ("commands", commands), ("http", http)];

/// What a client sent, and how it ended: the words of each request, and why there are no more.
type Cut = (Vec<Vec<Vec<u8>>>, Result<(), ProtocolError>);

/// The parser of requests. In whatever pieces bytes come, they are the same requests; words are no more than the bytes
/// they came in; a number that is read is written the same.
pub fn requests(input: &[u8]) {
    let Some((&dice, bytes)) = input.split_first() else { return };
    let known = dice % 2 == 0;
    let whole = cut(bytes, usize::MAX, known);
    assert_eq!(whole, cut(bytes, 1 + usize::from(dice / 2) % 17, known), "pieces make a difference");
    let words_len: usize = whole.0.iter().flatten().map(Vec::len).sum();
    assert!(words_len <= bytes.len(), "{words_len} bytes of words came in {}", bytes.len());
    if let Some(n) = integer(bytes) {
        assert_eq!(n.to_string().as_bytes(), bytes, "a number is read as another");
    }
    if let Some(words) = split_words(bytes) {
        let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        assert_eq!(
            split_words(quoted.join(" ").as_bytes()),
            Some(words),
            "words are not what they are in quotes"
        );
    }
}

/// Hands the parser its bytes in pieces of this length.
fn cut(bytes: &[u8], piece_len: usize, known: bool) -> Cut {
    let limits = RequestLimits { word_len_max: 1 << 20, known };
    let (mut parser, mut seen, mut at, mut end) = (RequestParser::default(), Vec::new(), 0, 0);
    loop {
        match parser.next(&bytes[at..end], limits) {
            Ok(Some(request)) => {
                assert!(request.len > 0 && at + request.len <= end, "a request is longer than what came");
                seen.push(request.words.iter().map(|word| word.to_vec()).collect());
                at += request.len;
            }
            Ok(None) if end == bytes.len() => return (seen, Ok(())),
            Ok(None) => end = end.saturating_add(piece_len).min(bytes.len()),
            Err(error) => return (seen, Err(error)),
        }
    }
}

/// A word as a line can hold it.
fn quoted(word: &[u8]) -> String {
    word.iter().map(|byte| format!("\\x{byte:02x}")).fold("\"".to_string(), |text, byte| text + &byte) + "\""
}

/// A whole connection: whatever a client sends is answered with well-formed replies, and another client is served.
pub fn commands(input: &[u8]) {
    // These end the process, or wait; and who may do what is for others to find out.
    let small = input.to_ascii_lowercase();
    let left_out = [&b"shutdown"[..], b"debug", b"pause", b"monitor", b"wait", b"acl", b"requirepass"];
    if left_out.iter().any(|word| small.windows(word.len()).any(|window| window == *word)) {
        return;
    }
    on_a_server(async |server| {
        let told = converse(server, input).await;
        let mut rest = &told[..];
        while !rest.is_empty() {
            rest = reply(rest, 0).unwrap_or_else(|| panic!("not a reply: {}", rest.escape_ascii()));
        }
    });
}

/// The routes of HTTP: whatever is asked is answered, problems as problems, and another client is served. Requests stand one
/// behind the other, with a line `===` between them; each is a line of method and path, headers, an empty line, a body.
/// What hyper would not let through to the routes is passed over.
pub fn http(input: &[u8]) {
    let mut requests = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        let end = find(rest, b"\n===\n");
        requests.extend(request(&rest[..end.unwrap_or(rest.len())]));
        rest = end.map_or(&[], |end| &rest[end + 5..]);
    }
    on_a_server(async |server| {
        for request in requests {
            ask(server, request).await;
        }
        for own in [&b"PUT /v1/kv/of%20our%20own\n\n1"[..], b"GET /v1/kv/of%20our%20own"] {
            let status = ask(server, request(own).expect("it is one")).await;
            assert!(status.is_success(), "another client is told {status}");
        }
    });
}

/// A request as it would come to the routes; `None` if it would not.
fn request(bytes: &[u8]) -> Option<Request<Body>> {
    let end = find(bytes, b"\n\n");
    let (head, body) = (&bytes[..end.unwrap_or(bytes.len())], end.map_or(&[][..], |end| &bytes[end + 2..]));
    let mut lines = head.split(|&byte| byte == b'\n');
    let (method, target) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let target = target.parse::<Uri>().ok().filter(|target| target.path().starts_with('/'))?;
    let mut request = Request::new(Body::from(body.to_vec()));
    *request.method_mut() = method.parse::<Method>().ok()?;
    *request.uri_mut() = target;
    let headers = request.headers_mut();
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        headers.append(HeaderName::from_bytes(&line[..colon]).ok()?, value);
    }
    headers.entry(HOST).or_insert(HeaderValue::from_static("localhost"));
    headers.remove(CONTENT_LENGTH);
    if !body.is_empty() && !headers.contains_key(TRANSFER_ENCODING) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    request.extensions_mut().insert(Ends { here: nobody, there: nobody });
    Some(request)
}

/// Has the routes answer, and looks at the answer.
async fn ask(server: &Arc<Server>, request: Request<Body>) -> StatusCode {
    let (_stop, stopped) = watch::channel(false);
    let routes = TowerToHyperService::new(http::router(server.clone(), stopped));
    let has_body = request.method() != Method::HEAD;
    let asked = format!("{} {}", request.method(), request.uri());
    let response: Response = routes.call(request).await.expect("a router always answers");
    let (head, mut body) = response.into_parts();
    let kind = head.headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes).to_vec();
    let mut told = Vec::new();
    while let Some(frame) = body.frame().await {
        told.extend_from_slice(frame.expect("nothing breaks off").data_ref().map_or(&[][..], |piece| piece));
        // A feed of changes goes on for ever.
        if kind == b"text/event-stream" {
            break;
        }
    }
    let status = head.status;
    assert!(status != StatusCode::INTERNAL_SERVER_ERROR, "{asked}: {}", told.escape_ascii());
    assert!(has_body || told.is_empty(), "{asked}: a body where there is none");
    if has_body && matches!(&kind[..], b"application/json" | b"application/problem+json") {
        let json: serde_json::Value = serde_json::from_slice(&told).expect("JSON is JSON");
        assert!(!status.is_client_error() || json["code"].is_string(), "{asked}: {json}");
        assert!(!status.is_client_error() || json["status"] == status.as_u16(), "{asked}: {json}");
    }
    if status.is_client_error() && has_body {
        assert_eq!(kind.escape_ascii().to_string(), "application/problem+json", "{asked}: {status}");
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        assert!(head.headers.contains_key(RETRY_AFTER), "{asked}: when is it to be asked again?");
    }
    status
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Runs this on a server with nothing in it and every setting as it is by default, and holds that another client is served
/// afterwards. To begin a server takes longer than most inputs do, so one serves many; it is emptied after each, and
/// after some it goes, with what emptying leaves: range deletes, slow commands, figures.
fn on_a_server(run: impl AsyncFnOnce(&Arc<Server>)) {
    const INPUTS: usize = 200;
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a thread is there already")
    });
    static SHARED: Mutex<Option<(Arc<Server>, usize)>> = Mutex::new(None);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    // An input that panics leaves none behind.
    let (server, count) = shared.take().unwrap_or_else(|| (server(), 0));
    RUNTIME.block_on(async {
        run(&server).await;
        let defaults = Config::default();
        server.apply(&defaults);
        *server.settings.write().unwrap_or_else(PoisonError::into_inner) = defaults;
        let another = b"FLUSHALL\r\nSET a 1\r\nGET a\r\nDBSIZE\r\nFLUSHALL\r\n";
        assert_eq!(converse(&server, another).await, b"+OK\r\n+OK\r\n$1\r\n1\r\n:1\r\n+OK\r\n");
    });
    if count < INPUTS {
        *shared = Some((server, count + 1));
    } else {
        server.store.db().close().expect("memory closes");
    }
}

fn server() -> Arc<Server> {
    let options = cairndb::Options { memory_budget_bytes: 1 << 20, ..cairndb::Options::default() };
    let db = options.open_storage(Arc::new(Memory::default())).expect("there is memory");
    Arc::new(Server::new(db, Arc::default(), Config::default()).expect("nothing is there yet"))
}

/// Everything that the server says to a client that says this, and leaves.
async fn converse(server: &Arc<Server>, said: &[u8]) -> Vec<u8> {
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let client = server.enter("fuzz".into(), "fuzz".into()).expect("there is room");
    let (_stop, stopped) = watch::channel(false);
    let mut told = Vec::new();
    let (mut hears, mut says) = tokio::io::split(&mut ours);
    let says = async {
        // It may be shown the door before it has said all.
        _ = says.write_all(said).await;
        _ = says.shutdown().await;
    };
    let served = Connection::new(server.clone(), theirs, client).serve(stopped);
    let (_, (), heard) = tokio::join!(served, says, hears.read_to_end(&mut told));
    _ = heard;
    told
}

/// What follows a reply; `None` if there is none.
fn reply(bytes: &[u8], depth: usize) -> Option<&[u8]> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
    let (kind, text) = line.split_first()?;
    let count = || std::str::from_utf8(text).ok()?.parse::<i64>().ok();
    match kind {
        b'+' | b'-' | b',' | b'(' => Some(rest),
        b':' => count().map(|_| rest),
        b'_' => text.is_empty().then_some(rest),
        b'#' => matches!(text, b"t" | b"f").then_some(rest),
        b'$' | b'=' => match usize::try_from(count()?) {
            Ok(len) => rest.get(len..)?.strip_prefix(b"\r\n"),
            Err(_) => (text == b"-1").then_some(rest),
        },
        b'*' | b'~' | b'>' | b'%' => match usize::try_from(count()?) {
            Ok(count) if depth < 16 => {
                let count = if *kind == b'%' { count * 2 } else { count };
                (0..count).try_fold(rest, |rest, _| reply(rest, depth + 1))
            }
            Ok(_) => None,
            Err(_) => (text == b"-1").then_some(rest),
        },
        _ => None,
    }
}
