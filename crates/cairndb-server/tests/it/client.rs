//! A client that sees bytes: it sends words, and reads replies as the values they spell and as they stood.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    at: usize,
}

/// A reply, in the protocol's own kinds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reply {
    /// `+`, `-`, `:`, `,`, `#`, `(` and `_`: the line as it stands.
    Line(Vec<u8>),
    /// `$` and `=`; `None` for the null of version 2.
    Bulk(u8, Option<Vec<u8>>),
    /// `*`, `%`, `~` and `>`; `None` for the null of version 2.
    Many(u8, Option<Vec<Reply>>),
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_nodelay(true).expect("a socket takes options");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes options");
        Client { stream, buffer: Vec::new(), at: 0 }
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends one command, and reads its reply.
    pub(crate) fn ask(&mut self, words: &[&[u8]]) -> Reply {
        self.send_raw(&request(words));
        self.reply()
    }

    /// As [`Client::ask`], with words parted by blanks.
    pub(crate) fn line(&mut self, line: &str) -> Reply {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.ask(&words)
    }

    pub(crate) fn reply(&mut self) -> Reply {
        self.buffer.drain(..std::mem::take(&mut self.at));
        self.value()
    }

    /// Whether the server has ended the connection.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.at == self.buffer.len() && !self.fill()
    }

    fn value(&mut self) -> Reply {
        let line = self.until_line_end();
        let count = || -> Option<usize> {
            let n: i64 = std::str::from_utf8(&line[1..]).expect("digits").parse().expect("a number");
            usize::try_from(n).ok()
        };
        match line[0] {
            kind @ (b'$' | b'=') => Reply::Bulk(
                kind,
                count().map(|len| {
                    let bytes = self.take(len);
                    assert_eq!(self.take(2), b"\r\n");
                    bytes
                }),
            ),
            kind @ (b'*' | b'~' | b'>') => {
                Reply::Many(kind, count().map(|n| (0..n).map(|_| self.value()).collect()))
            }
            b'%' => Reply::Many(b'%', count().map(|n| (0..n * 2).map(|_| self.value()).collect())),
            b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => Reply::Line(line),
            other => panic!("a reply cannot begin with {:?}", other as char),
        }
    }

    fn until_line_end(&mut self) -> Vec<u8> {
        let mut looked_at = self.at;
        loop {
            if let Some(end) = self.buffer[looked_at..].windows(2).position(|two| two == b"\r\n") {
                let line = self.buffer[self.at..looked_at + end].to_vec();
                self.at = looked_at + end + 2;
                return line;
            }
            looked_at = self.buffer.len().saturating_sub(1).max(self.at);
            assert!(self.fill(), "the connection ended within {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        while self.buffer.len() < self.at + len {
            assert!(self.fill(), "the connection ended within a reply");
        }
        self.at += len;
        self.buffer[self.at - len..self.at].to_vec()
    }

    fn fill(&mut self) -> bool {
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(len) => {
                self.buffer.extend_from_slice(&piece[..len]);
                len > 0
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("no reply: {error}"),
        }
    }
}

/// A request as clients spell it.
pub(crate) fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Line(line) => write!(f, "{}", String::from_utf8_lossy(line)),
            Reply::Bulk(_, None) => write!(f, "nil"),
            Reply::Bulk(kind, Some(bytes)) => write!(f, "{}\"{}\"", *kind as char, bytes.escape_ascii()),
            Reply::Many(kind, None) => write!(f, "{}nil", *kind as char),
            Reply::Many(kind, Some(replies)) => {
                write!(f, "{}[", *kind as char)?;
                for (n, reply) in replies.iter().enumerate() {
                    write!(f, "{}{reply}", if n > 0 { " " } else { "" })?;
                }
                write!(f, "]")
            }
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
