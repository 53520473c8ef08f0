//! HTTP as its clients meet it, and the client that these tests meet it with: one that sends the bytes that it is given.

mod admin;
mod changes;
mod kv;
mod list;
mod stats;
mod wire;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Served;

/// A connection.
pub(crate) struct Http {
    stream: TcpStream,
    /// What has come and was not looked at.
    buffer: Vec<u8>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Served {
    pub(crate) fn http_address(&self) -> SocketAddr {
        self.running.as_ref().and_then(cairndb_server::Running::http_address).expect("it runs")
    }

    pub(crate) fn http(&self) -> Http {
        Http::connect(self.http_address())
    }
}

impl Http {
    pub(crate) fn connect(address: SocketAddr) -> Http {
        let stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_nodelay(true).expect("a socket takes options");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes options");
        Http { stream, buffer: Vec::new() }
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Asks without a body.
    pub(crate) fn ask(&mut self, method: &str, target: &str) -> Answer {
        self.ask_with(method, target, &[])
    }

    /// Asks without a body, with headers of its own.
    pub(crate) fn ask_with(&mut self, method: &str, target: &str, headers: &[&str]) -> Answer {
        self.send_raw(&head(method, target, headers));
        if method == "HEAD" { self.answer_without_body() } else { self.answer() }
    }

    /// Asks with a body.
    pub(crate) fn send(&mut self, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Answer {
        let length = format!("Content-Length: {}", body.len());
        let mut bytes = head(method, target, &[headers, &[&length]].concat());
        bytes.extend_from_slice(body);
        self.send_raw(&bytes);
        self.answer()
    }

    pub(crate) fn put(&mut self, target: &str, value: &[u8]) -> Answer {
        self.send("PUT", target, &[], value)
    }

    /// The next response.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.answer_without_body();
        answer.body = match (answer.header("content-length"), answer.header("transfer-encoding")) {
            (Some(len), None) => self.take(len.parse().expect("a length is a number")),
            (None, Some("chunked")) => std::iter::from_fn(|| self.chunk()).collect::<Vec<_>>().concat(),
            (None, None) if matches!(answer.status, 204 | 304) => Vec::new(),
            other => panic!("how long is the body? {other:?}"),
        };
        answer
    }

    /// The head of the next response, with nothing behind it.
    pub(crate) fn answer_without_body(&mut self) -> Answer {
        let end = self.until(b"\r\n\r\n");
        let head = String::from_utf8(self.take(end)).expect("a head is text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head, body: Vec::new() }
    }

    /// The next chunk of a body; `None` at its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = self.until(b"\r\n");
        let line = String::from_utf8(self.take(end)).expect("a chunk's length is text");
        let len = usize::from_str_radix(line.trim(), 16).expect("a chunk's length is a number");
        let chunk = self.take(len);
        assert_eq!(self.take(2), b"\r\n");
        (len > 0).then_some(chunk)
    }

    /// Whether the server ends the connection, with nothing more to say.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill()
    }

    /// How many bytes there are up to the end of the first `pattern`.
    fn until(&mut self, pattern: &[u8]) -> usize {
        loop {
            if let Some(at) = self.buffer.windows(pattern.len()).position(|window| window == pattern) {
                return at + pattern.len();
            }
            assert!(self.fill(), "it ended within {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        while self.buffer.len() < len {
            assert!(self.fill(), "it ended after {} bytes of {len}", self.buffer.len());
        }
        self.buffer.drain(..len).collect()
    }

    fn fill(&mut self) -> bool {
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(len) => {
                self.buffer.extend_from_slice(&piece[..len]);
                len > 0
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("no response: {error}"),
        }
    }
}

impl Answer {
    /// A header's value; the first if there are several.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn etag(&self) -> &str {
        self.header("etag").unwrap_or_else(|| panic!("it has no tag: {}", self.head))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}{}", self.head, String::from_utf8_lossy(&self.body)))
    }

    /// The status and the code of a problem, checked for its form.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.head);
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert!(problem["title"].is_string() && problem["detail"].is_string());
        (self.status, problem["code"].as_str().expect("a problem has a code").to_string())
    }
}

/// A request's head.
fn head(method: &str, target: &str, headers: &[&str]) -> Vec<u8> {
    let has_host = headers.iter().any(|header| header.to_ascii_lowercase().starts_with("host:"));
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !has_host {
        head += "Host: localhost\r\n";
    }
    for header in headers {
        head += header;
        head += "\r\n";
    }
    (head + "\r\n").into_bytes()
}
