//! Wire: one connection that speaks the Redis protocol, and reads replies as they are spelt.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
    requests: Vec<u8>,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Told(String),
    Failed(String),
    Number(i64),
    Bytes(Option<Vec<u8>>),
    Many(Option<Vec<Reply>>),
}

impl Wire {
    pub(crate) fn open(port: u16) -> io::Result<Wire> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Wire { stream: BufReader::new(stream), requests: Vec::new() })
    }

    /// Adds a request to what will be sent.
    pub(crate) fn push(&mut self, words: &[&[u8]]) {
        self.requests.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.requests.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            self.requests.extend_from_slice(word);
            self.requests.extend_from_slice(b"\r\n");
        }
    }

    /// Sends what was pushed.
    pub(crate) fn send(&mut self) -> io::Result<()> {
        let sent = self.stream.get_mut().write_all(&self.requests);
        self.requests.clear();
        sent
    }

    /// One request and its reply.
    pub(crate) fn ask(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        self.push(words);
        self.send()?;
        self.reply()
    }

    pub(crate) fn reply(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).ok_or(io::ErrorKind::InvalidData)?;
        let number = || rest.parse::<i64>().map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
        Ok(match kind {
            "+" => Reply::Told(rest.into()),
            "-" => Reply::Failed(rest.into()),
            ":" => Reply::Number(number()?),
            "$" => Reply::Bytes(match usize::try_from(number()?) {
                Ok(len) => {
                    let mut bytes = vec![0; len + 2];
                    self.stream.read_exact(&mut bytes)?;
                    bytes.truncate(len);
                    Some(bytes)
                }
                Err(_) => None,
            }),
            "*" => Reply::Many(match usize::try_from(number()?) {
                Ok(count) => Some((0..count).map(|_| self.reply()).collect::<io::Result<_>>()?),
                Err(_) => None,
            }),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        })
    }
}

impl Reply {
    pub(crate) fn is_ok(&self) -> bool {
        *self == Reply::Told("OK".into())
    }

    /// The bytes of a value, if it is one.
    pub(crate) fn value(self) -> Option<Vec<u8>> {
        match self {
            Reply::Bytes(bytes) => bytes,
            _ => None,
        }
    }
}
