//! Beside Redis: the same streams of commands to redis-server 7.0 and to this server, and the replies byte for byte.
//!
//! Two connections take turns, so that they see each other's work, and what they watch is changed under them. What is
//! compared otherwise than byte for byte is in [`alike`], with its reason; what differs on purpose, in `INTENDED`.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Served;
use crate::client::{Client, Reply, request};
use crate::stream::{Dice, Words, command};

/// How many commands are sent in all.
const COMMANDS: usize = 200_000;
/// How many a stream has, before both servers begin anew.
const STREAM_LEN: usize = 5_000;
/// At most so many are sent before replies are read.
const PIPELINE_LEN_MAX: usize = 40;

/// How much of what was sent before is told with a difference.
const BEHIND: usize = 60;

/// What both are asked, and answer differently on purpose: the command, and a word of it if it matters.
const INTENDED: &[(&str, &str, &str)] = &[
    ("randomkey", "", "any key is right"),
    ("object", "refcount", "Redis shares small integers"),
    ("object", "idletime", "nobody keeps when a key was last read"),
    ("object", "encoding", "in Redis it tells how the value came about"),
    ("debug", "object", "there are addresses in the reply"),
    ("memory", "usage", "it is held otherwise"),
    ("slowlog", "get", "what is slow is up to the machine"),
    ("slowlog", "len", "what is slow is up to the machine"),
    ("latency", "", "there are other events"),
    ("lastsave", "", "each server's own time"),
    ("object", "freq", "neither counts how often a key is read; Redis looks at the key first"),
    ("command", "count", "there are fewer commands here"),
    ("client", "id", "connections are numbered from the start of each server"),
    ("hello", "", "the connection's number is in the reply"),
];

/// Redis's own server, on a port of its own, that keeps nothing.
struct Redis {
    process: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Redis {
    fn new() -> Redis {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("it has an address");
        drop(free);
        let port = address.port().to_string();
        let mut redis = Command::new("redis-server");
        redis.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        redis.args(["--enable-debug-command", "yes", "--dir"]).arg(directory.path());
        let process = redis.stdout(Stdio::null()).spawn().expect("redis-server is installed");
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Redis { process, address, _directory: directory }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// A client of each.
struct Pair {
    redis: Client,
    cairn: Client,
    /// What waits for EXEC.
    queued: Vec<Words>,
}

impl Pair {
    fn new(redis: &Redis, cairn: &Served) -> Pair {
        Pair { redis: Client::connect(redis.address), cairn: cairn.client(), queued: Vec::new() }
    }

    /// Sends the same to both; `Err` tells of the first reply that is not alike.
    fn ask(&mut self, commands: &[Words]) -> Result<(), String> {
        let bytes: Vec<u8> = commands
            .iter()
            .flat_map(|words| request(&words.iter().map(Vec::as_slice).collect::<Vec<_>>()))
            .collect();
        self.redis.send_raw(&bytes);
        self.cairn.send_raw(&bytes);
        for words in commands {
            let (expected, got) = (self.redis.reply(), self.cairn.reply());
            let queued = self.queued.clone();
            let same = match (name(words).as_str(), &expected, &got) {
                ("exec", Reply::Many(_, Some(expected)), Reply::Many(_, Some(got)))
                    if expected.len() == got.len() =>
                {
                    let replies = self.queued.iter().zip(expected.iter().zip(got));
                    replies.into_iter().all(|(words, (expected, got))| alike(words, expected, got))
                }
                _ => alike(words, &expected, &got),
            };
            match &expected {
                Reply::Line(line) if line == b"+QUEUED" => self.queued.push(words.clone()),
                Reply::Line(line) if line.starts_with(b"-") && name(words) == "multi" => {}
                _ if matches!(name(words).as_str(), "exec" | "discard" | "multi" | "reset") => {
                    self.queued.clear();
                }
                _ => {}
            }
            if !same {
                if let (Reply::Many(_, Some(expected)), Reply::Many(_, Some(got))) = (&expected, &got) {
                    let replies = queued.iter().zip(expected.iter().zip(got));
                    let mut differ = replies.filter(|(words, (expected, got))| !alike(words, expected, got));
                    if let Some((words, (expected, got))) = differ.next() {
                        return Err(format!("{}, queued\n  redis: {expected}\n  cairn: {got}", told(words)));
                    }
                }
                return Err(format!("{}\n  redis: {expected}\n  cairn: {got}", told(words)));
            }
        }
        Ok(())
    }
}

fn name(words: &Words) -> String {
    String::from_utf8_lossy(&words[0]).to_ascii_lowercase()
}

fn told(words: &Words) -> String {
    words.iter().map(|word| format!("\"{}\"", word.escape_ascii())).collect::<Vec<_>>().join(" ")
}

fn integer(reply: &Reply) -> Option<i64> {
    match reply {
        Reply::Line(line) => std::str::from_utf8(line.strip_prefix(b":")?).ok()?.parse().ok(),
        _ => None,
    }
}

fn sorted(reply: &Reply) -> Reply {
    match reply {
        Reply::Many(kind, Some(replies)) => {
            let mut replies: Vec<Reply> = replies.iter().map(sorted).collect();
            replies.sort();
            Reply::Many(*kind, Some(replies))
        }
        other => other.clone(),
    }
}

fn without_commands(user: &Reply) -> Reply {
    match user {
        Reply::Many(kind, Some(fields)) if fields.len() > 5 => {
            Reply::Many(*kind, Some([&fields[..5], &fields[6..]].concat()))
        }
        other => other.clone(),
    }
}

/// Whether two replies to a command are the same, as far as they can be.
fn alike(words: &Words, expected: &Reply, got: &Reply) -> bool {
    // The help is in our own words.
    if expected == got || words.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"help")) {
        return true;
    }
    let word =
        words.get(1).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).unwrap_or_default();
    let name = name(words);
    match name.as_str() {
        // Where only some of the keys are looked at, in either's order.
        "scan" if !words.iter().any(|word| word == b"1000000") => {
            matches!((expected, got), (Reply::Many(..), Reply::Many(..)))
        }
        // Neither has an order.
        "keys" | "scan" => sorted(expected) == sorted(got),
        // The same set of commands can be told by different rules.
        "acl" if word == "getuser" => without_commands(expected) == without_commands(got),
        // There are fewer commands here, and other denials are told with other times.
        "acl" if matches!(word.as_str(), "cat" | "log" | "genpass") => {
            std::mem::discriminant(expected) == std::mem::discriminant(got)
        }
        "config" if word == "get" => sorted(expected) == sorted(got),
        // Redis counts keys that have expired until it comes across them.
        "dbsize" => integer(got) <= integer(expected),
        // The two clocks are read at different moments.
        "ttl" | "pttl" | "expiretime" | "pexpiretime" => match (integer(expected), integer(got)) {
            (Some(expected), Some(got)) if expected > 0 && got > 0 => expected.abs_diff(got) <= 2_000,
            _ => false,
        },
        "command" if words.len() == 1 || (matches!(word.as_str(), "info" | "list") && words.len() == 2) => {
            true
        }
        _ => INTENDED
            .iter()
            .any(|(intended, second, _)| *intended == name && (second.is_empty() || *second == word)),
    }
}

#[test]
#[ignore = "needs redis-server, and some time"]
fn slow_redis_answers_the_same() {
    let redis = Redis::new();
    let cairn = Served::with(|config| config.durability = cairndb_server::Durability::Buffered);
    let asked_for: Option<u64> = std::env::var("CAIRN_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = asked_for.map_or(1_000..1_000 + (COMMANDS / STREAM_LEN) as u64, |seed| seed..seed + 1);
    let differences: Vec<String> = seeds.filter_map(|seed| compare(&redis, &cairn, seed).err()).collect();
    assert!(differences.is_empty(), "{} streams differ:\n{}", differences.len(), differences.join("\n"));
}

/// What Redis says of a command that has no meaning here: that scripts must not use it, that it runs while data is loaded
/// or out of date, that it keeps out of the slow log.
const MEANINGLESS: &[&str] =
    &["noscript", "loading", "stale", "allow_busy", "no_async_loading", "skip_slowlog"];

#[test]
#[ignore = "needs redis-server"]
fn slow_redis_has_the_same_rows() {
    let redis = Redis::new();
    let cairn = Served::new();
    let (mut redis, mut cairn) = (Client::connect(redis.address), cairn.client());
    let names = many(cairn.line("command list")).into_iter();
    let names: Vec<String> =
        names.map(|name| name.to_string().trim_matches(['$', '"']).to_string()).collect();
    let later = ["waitaof", "client|no-touch", "client|setinfo"];
    let mut compared = 0;
    for name in names.iter().filter(|name| !later.contains(&name.as_str())) {
        let mut rows = [&mut redis, &mut cairn]
            .map(|client| many(client.line(&format!("command info {name}"))).remove(0));
        let here: Vec<Reply> =
            many(many(rows[1].clone()).remove(9)).iter().map(|sub| many(sub.clone()).remove(0)).collect();
        rows = rows.map(|row| comparable(row, &here));
        assert_eq!(rows[0], rows[1], "{name}");
        compared += 1;
    }
    assert!(compared > 70, "{compared}");
}

#[test]
#[ignore = "needs redis-server"]
fn slow_redis_has_no_command_that_the_page_does_not_tell_of() {
    let redis = Redis::new();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/redis-compatibility.md");
    let page = std::fs::read_to_string(page).expect("docs/redis-compatibility.md is there");
    let names = many(Client::connect(redis.address).line("command list"));
    assert!(names.len() > 200, "{}", names.len());
    for name in names {
        // A command that is absent as a whole is told of by its first name.
        let name = name.to_string().trim_matches(['$', '"']).to_ascii_uppercase().replace('|', " ");
        let first = name.split(' ').next().unwrap_or_default();
        let told = [format!("`{name}`"), format!("`{name} "), format!("`{first}`")];
        assert!(told.iter().any(|told| page.contains(told)), "{name}");
    }
}

/// A row without what is left out here: flags that mean nothing, hints, notes, the subcommands that are not `here`.
fn comparable(row: Reply, here: &[Reply]) -> Reply {
    let mut parts = many(row);
    let meaningless = |flag: &Reply| MEANINGLESS.iter().any(|name| flag.to_string() == format!("+{name}"));
    let mut flags = many(parts[2].clone());
    flags.retain(|flag| !meaningless(flag));
    parts[2] = sorted(&Reply::Many(b'*', Some(flags)));
    parts[6] = sorted(&parts[6]);
    parts[7] = Reply::Many(b'*', None);
    let specs = many(parts[8].clone()).into_iter().map(|spec| {
        let mut spec = many(spec);
        if spec[0].to_string().contains("notes") {
            spec.drain(..2);
        }
        Reply::Many(b'*', Some(spec))
    });
    parts[8] = Reply::Many(b'*', Some(specs.collect()));
    let mut subs = many(parts[9].clone());
    // Subcommands of later versions have nothing to be compared with.
    subs.retain(|sub| {
        let name = many(sub.clone()).remove(0);
        here.contains(&name) && !["no-touch", "setinfo"].iter().any(|later| name.to_string().contains(later))
    });
    parts[9] = sorted(&Reply::Many(b'*', Some(subs.into_iter().map(|sub| comparable(sub, here)).collect())));
    Reply::Many(b'*', Some(parts))
}

fn many(reply: Reply) -> Vec<Reply> {
    match reply {
        Reply::Many(_, Some(replies)) => replies,
        other => panic!("it is no array: {other}"),
    }
}

/// One stream; both servers are emptied before it. `Err` tells of the first difference.
fn compare(redis: &Redis, cairn: &Served, seed: u64) -> Result<(), String> {
    let dice = &mut Dice::new(seed);
    let mut pairs = [Pair::new(redis, cairn), Pair::new(redis, cairn)];
    let version = if seed.is_multiple_of(2) { "2" } else { "3" };
    let mut log: Vec<(usize, Words)> = Vec::new();
    let words = |line: &str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Words>();
    for (n, pair) in pairs.iter_mut().enumerate() {
        pair.ask(&[
            words("flushall"),
            words("acl deluser u v w"),
            words("acl setuser u"),
            words("acl setuser v"),
            words(&format!("hello {version}")),
        ])
        .unwrap_or_else(|why| panic!("{n}: {why}"));
    }
    let mut sent = 0;
    while sent < STREAM_LEN {
        let turn = dice.below(2);
        let commands: Vec<Words> = (0..1 + dice.below(PIPELINE_LEN_MAX)).map(|_| command(dice)).collect();
        sent += commands.len();
        log.extend(commands.iter().map(|words| (turn, words.clone())));
        if let Err(why) = pairs[turn].ask(&commands) {
            let behind = log.iter().rev().take(BEHIND).rev();
            let behind: Vec<String> =
                behind.map(|(turn, words)| format!("  {turn} {}", told(words))).collect();
            return Err(format!("CAIRN_SEED={seed}: {why}\n after:\n{}", behind.join("\n")));
        }
    }
    // What both hold in the end.
    for pair in &mut pairs {
        pair.ask(&[words("reset"), words(&format!("hello {version}"))]).unwrap_or_else(|why| panic!("{why}"));
    }
    for database in 0..16 {
        let mut look = vec![words(&format!("select {database}")), words("dbsize"), words("keys *")];
        for key in
            ["a", "b", "c", "d", "key:1", "key:2", "key:10", "counter", "float", "bits", "", "with space"]
        {
            for verb in ["get", "pexpiretime"] {
                look.push(vec![verb.as_bytes().to_vec(), key.as_bytes().to_vec()]);
            }
        }
        pairs[0]
            .ask(&look)
            .map_err(|why| format!("CAIRN_SEED={seed}, in the end, database {database}: {why}"))?;
    }
    Ok(())
}
