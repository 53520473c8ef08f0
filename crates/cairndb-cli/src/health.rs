//! Health: whether a running server is well, for those who restart what is not.
//!
//! Over the Redis protocol it asks `PING`: that shows that clients are let in and answered. Over HTTP it asks `/readyz`,
//! which also knows whether the database can be written.
//!
//! # Where it sits
//! A client of `cairn serve` like any other; it never looks at the database's directory.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::args::Health;
use crate::failure::Failure;

/// How much of an answer is read.
const ANSWER_LEN_MAX: u64 = 4096;
/// What a TLS record begins with that tells of an error.
const TLS_ALERT: u8 = 0x15;

/// Asks, and returns if all is well.
pub(crate) fn health(health: &Health) -> Result<(), Failure> {
    let (place, request) = match &health.http {
        Some(place) => (place, "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        None => (&health.listen, "PING\r\n"),
    };
    let unwell = |why: &dyn std::fmt::Display| Failure::Unwell(format!("{place}: {why}"));
    let answer = ask(place, request.as_bytes(), health.timeout).map_err(|error| unwell(&error))?;
    let first = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let is_well = match &health.http {
        Some(_) => first.starts_with(b"HTTP/1.1 200"),
        // Who asks for a password first is there, and at work.
        None => first == b"+PONG" || first.starts_with(b"-NOAUTH"),
    };
    match first.first() {
        _ if is_well => Ok(()),
        // It speaks TLS, and says that this was none. More than that it is there cannot be asked without its certificate.
        Some(&TLS_ALERT) => Ok(()),
        None => Err(unwell(&"no answer")),
        Some(_) => Err(unwell(&first.escape_ascii())),
    }
}

/// What is answered within the time, up to its first line's end.
fn ask(place: &str, request: &[u8], timeout: Duration) -> std::io::Result<Vec<u8>> {
    let until = Instant::now() + timeout;
    let left = || until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address");
    for address in place.to_socket_addrs()? {
        let mut stream = match TcpStream::connect_timeout(&reachable(address), left()) {
            Ok(stream) => stream,
            Err(error) => {
                last = error;
                continue;
            }
        };
        stream.set_write_timeout(Some(left()))?;
        stream.write_all(request)?;
        let mut answer = Vec::new();
        while !answer.contains(&b'\n')
            && answer.first() != Some(&TLS_ALERT)
            && (answer.len() as u64) < ANSWER_LEN_MAX
        {
            if Instant::now() >= until {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            stream.set_read_timeout(Some(left()))?;
            let mut some = [0; 512];
            match stream.read(&mut some)? {
                0 => break,
                len => answer.extend_from_slice(&some[..len]),
            }
        }
        return Ok(answer);
    }
    Err(last)
}

/// Who listens everywhere is reached here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let here = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    SocketAddr::new(here, address.port())
}
