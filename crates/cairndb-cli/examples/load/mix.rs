//! Mix: everything at once for a while, each client against a model of what its own keys hold.
//!
//! Clients of both protocols read, write, count, delete, watch and scan, break off without a word and come again; one
//! subscribes to what others publish; one has the database backed up and compacted. A reply that the model does not give
//! is a broken promise. Prints once a second how many operations were answered so far.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::wire::{Reply, Wire};
use crate::{Dice, broken};

/// Clients of each protocol.
const CLIENTS: u64 = 4;
/// Keys of each client.
const KEYS: u64 = 3_000;
/// A connection is used for so many pipelines, then left.
const PIPELINES: u64 = 200;
/// How often the database is backed up and compacted.
const UPKEEP: Duration = Duration::from_secs(15);

/// What a client's keys hold.
type Model = BTreeMap<Vec<u8>, Vec<u8>>;

static ANSWERED: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicBool = AtomicBool::new(false);

pub(crate) fn mix(port: u16, http: u16, minutes: f64, seed: u64) {
    let until = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let told = |what: &str, result: io::Result<()>| {
        result.unwrap_or_else(|error| broken(&format!("{what}: {error}")));
    };
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mut dice = Dice(seed * 100 + client);
            scope.spawn(move || told("a client", redis(port, client, &mut dice)));
            let mut dice = Dice(seed * 100 + 50 + client);
            scope.spawn(move || told("a client over HTTP", over_http(http, client, &mut dice)));
        }
        scope.spawn(|| told("who subscribes", subscribe(port)));
        scope.spawn(|| told("the upkeep", upkeep(http)));
        while Instant::now() < until {
            std::thread::sleep(Duration::from_secs(1));
            println!("{}", ANSWERED.load(Ordering::Relaxed));
        }
        DONE.store(true, Ordering::Relaxed);
        // Who subscribes hears of the end.
        told(
            "the end",
            Wire::open(port).and_then(|mut wire| wire.ask(&[b"PUBLISH", b"mix", b"end"])).map(drop),
        );
    });
}

fn goes_on() -> bool {
    !DONE.load(Ordering::Relaxed)
}

/// A value of some length that names its key.
fn value(key: &[u8], dice: &mut Dice) -> Vec<u8> {
    let len = [10, 100, 1_000, 10_000][dice.below(4) as usize] * (1 + dice.below(3)) / 3;
    let mut value = key.to_vec();
    value.extend((0..len).map(|_| dice.below(256) as u8));
    value
}

fn redis(port: u16, client: u64, dice: &mut Dice) -> io::Result<()> {
    let mut model = Model::new();
    while goes_on() {
        let mut wire = Wire::open(port)?;
        for _ in 0..PIPELINES {
            pipeline(&mut wire, client, &mut model, dice)?;
        }
        // Gone without a word, and with a request that is not whole; it asked for nothing that was answered.
        wire.push(&[b"GET", b"nothing"]);
        wire.send()?;
        scan(port, client, &model)?;
    }
    Ok(())
}

/// Some commands at once, and what the model says to each.
fn pipeline(wire: &mut Wire, client: u64, model: &mut Model, dice: &mut Dice) -> io::Result<()> {
    let mut expected = Vec::new();
    for _ in 0..1 + dice.below(20) {
        let key = format!("mix:{client}:{}", dice.below(KEYS)).into_bytes();
        match dice.below(10) {
            0..4 => {
                let value = value(&key, dice);
                wire.push(&[b"SET", &key, &value]);
                model.insert(key, value);
                expected.push(Reply::Told("OK".into()));
            }
            4 => {
                wire.push(&[b"DEL", &key]);
                expected.push(Reply::Number(i64::from(model.remove(&key).is_some())));
            }
            5 => {
                // Gone before anybody looks again.
                wire.push(&[b"SET", &key, b"soon", b"PX", b"1"]);
                wire.push(&[b"DEL", &key]);
                model.remove(&key);
                expected.push(Reply::Told("OK".into()));
                expected.push(Reply::Number(-1));
            }
            6 => {
                wire.push(&[b"MULTI"]);
                wire.push(&[b"APPEND", &key, b"!"]);
                wire.push(&[b"STRLEN", &key]);
                wire.push(&[b"EXEC"]);
                let value = model.entry(key).or_default();
                value.push(b'!');
                let len = Reply::Number(value.len() as i64);
                let queued = Reply::Told("QUEUED".into());
                let told = Reply::Many(Some(vec![len.clone(), len]));
                expected.extend([Reply::Told("OK".into()), queued.clone(), queued, told]);
            }
            7 => {
                wire.push(&[b"PUBLISH", b"mix", &key]);
                expected.push(Reply::Number(-1));
            }
            _ => {
                wire.push(&[b"GET", &key]);
                expected.push(Reply::Bytes(model.get(&key).cloned()));
            }
        }
    }
    wire.send()?;
    for expected in expected {
        let told = wire.reply()?;
        let fits = told == expected || (expected == Reply::Number(-1) && matches!(told, Reply::Number(_)));
        if !fits {
            broken(&format!("client {client}: {told:.200?}, and not {expected:.200?}"));
        }
        ANSWERED.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Every key of a client is found by walking, and no other.
fn scan(port: u16, client: u64, model: &Model) -> io::Result<()> {
    let (mut wire, mut cursor, mut found) = (Wire::open(port)?, b"0".to_vec(), Vec::new());
    let pattern = format!("mix:{client}:*");
    loop {
        let told = wire.ask(&[b"SCAN", &cursor, b"MATCH", pattern.as_bytes(), b"COUNT", b"1000"])?;
        let Reply::Many(Some(mut parts)) = told else { broken(&format!("a scan was answered {told:?}")) };
        let Some(Reply::Many(Some(keys))) = parts.pop() else { broken("a scan has no keys") };
        found.extend(keys.into_iter().filter_map(Reply::value));
        cursor = parts.pop().and_then(Reply::value).unwrap_or_else(|| broken("a scan has no cursor"));
        ANSWERED.fetch_add(1, Ordering::Relaxed);
        if cursor == b"0" {
            break;
        }
    }
    found.sort();
    found.dedup();
    if !found.iter().eq(model.keys()) {
        broken(&format!("client {client}: {} keys were found, and there are {}", found.len(), model.len()));
    }
    Ok(())
}

fn subscribe(port: u16) -> io::Result<()> {
    while goes_on() {
        let mut wire = Wire::open(port)?;
        wire.ask(&[b"SUBSCRIBE", b"mix"])?;
        for _ in 0..1_000 {
            if !goes_on() {
                break;
            }
            match wire.reply()? {
                Reply::Many(Some(parts)) if parts.len() == 3 => {}
                told => broken(&format!("a message is {told:?}")),
            }
        }
    }
    Ok(())
}

/// A connection that speaks HTTP.
struct Http(BufReader<TcpStream>);

impl Http {
    fn open(port: u16) -> io::Result<Http> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Http(BufReader::new(stream)))
    }

    /// The status, and the body.
    fn ask(&mut self, verb: &str, path: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let mut bytes =
            format!("{verb} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n", body.len())
                .into_bytes();
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        self.0.get_mut().write_all(&bytes)?;
        let (mut status, mut len) = (0, 0);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
            } else if let Some(told) = line.strip_prefix("content-length:") {
                len = told.trim().parse().unwrap_or(0);
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; len];
        self.0.read_exact(&mut body)?;
        ANSWERED.fetch_add(1, Ordering::Relaxed);
        Ok((status, body))
    }
}

fn over_http(port: u16, client: u64, dice: &mut Dice) -> io::Result<()> {
    let mut model = Model::new();
    while goes_on() {
        let mut http = Http::open(port)?;
        for _ in 0..PIPELINES {
            let key = format!("http:{client}:{}", dice.below(KEYS / 10));
            let path = format!("/v1/kv/{key}");
            let (wanted, told) = match dice.below(4) {
                0 | 1 => {
                    let value = value(key.as_bytes(), dice);
                    let known = model.insert(key.into_bytes(), value.clone()).is_some();
                    (if known { (204, vec![]) } else { (201, vec![]) }, http.ask("PUT", &path, &value)?)
                }
                2 => {
                    model.remove(key.as_bytes());
                    let (status, _) = http.ask("DELETE", &path, b"")?;
                    ((status, vec![]), (status, vec![]))
                }
                _ => {
                    let (status, body) = http.ask("GET", &path, b"")?;
                    match model.get(key.as_bytes()) {
                        Some(value) => ((200, value.clone()), (status, body)),
                        None => ((404, vec![]), (status, vec![])),
                    }
                }
            };
            if wanted.0 != told.0 || (wanted.0 == 200 && wanted.1 != told.1) {
                broken(&format!(
                    "{path} was answered {}, and not {}: {:.200}",
                    told.0,
                    wanted.0,
                    String::from_utf8_lossy(&told.1)
                ));
            }
        }
    }
    Ok(())
}

/// Backups by number, and what else there is to do for who runs a server.
fn upkeep(port: u16) -> io::Result<()> {
    for number in 0.. {
        let begun = Instant::now();
        while begun.elapsed() < UPKEEP {
            if !goes_on() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        for what in [&format!("backup?name=soak-{number}"), "flush", "compact", "checkpoint"] {
            let (status, told) = Http::open(port)?.ask("POST", &format!("/v1/admin/{what}"), b"")?;
            if status != 200 {
                broken(&format!("{what} was answered {status}: {}", String::from_utf8_lossy(&told)));
            }
        }
    }
    Ok(())
}
