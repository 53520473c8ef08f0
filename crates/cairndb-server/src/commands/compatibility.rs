//! Compatibility: the page that tells which of Redis's commands there are, made from the table.

use std::fmt::Write;

use super::{Command, TABLE, all_rows};

/// What is not all of what Redis's command of that name is, and why.
const PARTIAL: &[(&str, &str)] = &[
    ("acl|getuser", "`commands` are the shortest rules that make the set, which Redis may order otherwise"),
    ("acl|list", "commands are the shortest rules that make the set, which Redis may order otherwise"),
    ("acl|load", "refused: users are kept in the database"),
    ("acl|save", "refused: users are kept in the database"),
    ("acl|setuser", "no selectors (`(…)`), and no first arguments (`+select|0`)"),
    ("bgsave", "writes a backup under `--backup-dir`, and is refused without it"),
    ("client|kill", "no replicas to be named by `TYPE`"),
    ("client|list", "fields of Redis's memory are 0"),
    ("client|no-evict", "accepted; there is nothing that it would change"),
    ("client|no-touch", "accepted; there is nothing that it would change"),
    ("client|unblock", "0: no command blocks"),
    ("command", "no hints, and of flags those that mean something here"),
    ("command|docs", "summary, group, version, arguments and subcommands, but no complexity and no history"),
    ("command|info", "no hints, and of flags those that mean something here"),
    ("config|get", "the settings that there are, and those that tools ask for"),
    ("config|set", "the settings that can change while the server runs"),
    ("dbsize", "counted up to a million keys, and estimated above"),
    ("debug", "`SLEEP`, of this connection only, and `OBJECT`"),
    ("info", "Redis's sections, with what means something here, and `# Engine`"),
    ("latency|histogram", "doublings of 1.024 microseconds"),
    ("latency|latest", "events `command`, `fast-command` and `aof-write`"),
    ("latency|history", "events `command`, `fast-command` and `aof-write`"),
    ("memory|usage", "the bytes of key, value and entry, uncompressed"),
    ("monitor", "a word is told up to 64 KiB"),
    ("object|encoding", "what Redis would choose for the value, however it came about"),
    ("object|freq", "refused: nobody counts how often a key is read"),
    ("object|idletime", "0: nobody keeps when a key was last read"),
    ("object|refcount", "1: a value belongs to one key"),
    ("save", "writes a backup under `--backup-dir`, and is refused without it"),
    ("shutdown", "`SAVE` needs `--backup-dir`; there is no shutdown that `ABORT` could meet"),
    (
        "swapdb",
        "both databases together up to an eighth of the memory budget ([why](decisions/0015-a-swap-copies.md))",
    ),
    ("waitaof", "of Redis 7.2; no replicas are waited for"),
    ("wait", "0 at once: there are no replicas"),
];

/// What Redis 7.0 has besides, by group: no command of these names is known.
const ABSENT: &[(&str, &[&str])] = &[
    ("bitmap", &["bitfield", "bitfield_ro"]),
    ("cluster", &["asking", "cluster", "readonly", "readwrite"]),
    ("connection", &["client|caching", "client|getredir", "client|tracking", "client|trackinginfo"]),
    ("generic", &["dump", "migrate", "restore", "sort", "sort_ro"]),
    (
        "geo",
        &[
            "geoadd",
            "geodist",
            "geohash",
            "geopos",
            "georadius",
            "georadius_ro",
            "georadiusbymember",
            "georadiusbymember_ro",
            "geosearch",
            "geosearchstore",
        ],
    ),
    (
        "hash",
        &[
            "hdel",
            "hexists",
            "hget",
            "hgetall",
            "hincrby",
            "hincrbyfloat",
            "hkeys",
            "hlen",
            "hmget",
            "hmset",
            "hrandfield",
            "hscan",
            "hset",
            "hsetnx",
            "hstrlen",
            "hvals",
        ],
    ),
    ("hyperloglog", &["pfadd", "pfcount", "pfdebug", "pfmerge", "pfselftest"]),
    (
        "list",
        &[
            "blmove",
            "blmpop",
            "blpop",
            "brpop",
            "brpoplpush",
            "lindex",
            "linsert",
            "llen",
            "lmove",
            "lmpop",
            "lpop",
            "lpos",
            "lpush",
            "lpushx",
            "lrange",
            "lrem",
            "lset",
            "ltrim",
            "rpop",
            "rpoplpush",
            "rpush",
            "rpushx",
        ],
    ),
    ("pubsub", &["pubsub|shardchannels", "pubsub|shardnumsub", "spublish", "ssubscribe", "sunsubscribe"]),
    ("scripting", &["eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro", "function", "script"]),
    (
        "server",
        &[
            "bgrewriteaof",
            "failover",
            "latency|doctor",
            "latency|graph",
            "lolwut",
            "memory|doctor",
            "memory|malloc-stats",
            "memory|purge",
            "memory|stats",
            "module",
            "psync",
            "replconf",
            "replicaof",
            "restore-asking",
            "role",
            "slaveof",
            "sync",
        ],
    ),
    (
        "set",
        &[
            "sadd",
            "scard",
            "sdiff",
            "sdiffstore",
            "sinter",
            "sintercard",
            "sinterstore",
            "sismember",
            "smembers",
            "smismember",
            "smove",
            "spop",
            "srandmember",
            "srem",
            "sscan",
            "sunion",
            "sunionstore",
        ],
    ),
    (
        "sorted-set",
        &[
            "bzmpop",
            "bzpopmax",
            "bzpopmin",
            "zadd",
            "zcard",
            "zcount",
            "zdiff",
            "zdiffstore",
            "zincrby",
            "zinter",
            "zintercard",
            "zinterstore",
            "zlexcount",
            "zmpop",
            "zmscore",
            "zpopmax",
            "zpopmin",
            "zrandmember",
            "zrange",
            "zrangebylex",
            "zrangebyscore",
            "zrangestore",
            "zrank",
            "zrem",
            "zremrangebylex",
            "zremrangebyrank",
            "zremrangebyscore",
            "zrevrange",
            "zrevrangebylex",
            "zrevrangebyscore",
            "zrevrank",
            "zscan",
            "zscore",
            "zunion",
            "zunionstore",
        ],
    ),
    (
        "stream",
        &[
            "xack",
            "xadd",
            "xautoclaim",
            "xclaim",
            "xdel",
            "xgroup",
            "xinfo",
            "xlen",
            "xpending",
            "xrange",
            "xread",
            "xreadgroup",
            "xrevrange",
            "xsetid",
            "xtrim",
        ],
    ),
];

/// The page.
fn page() -> String {
    let mut text = String::from(
        "# Which of Redis's commands there are\n\n\
         Made from the server's table of commands, and checked against it; `CAIRN_DOCS=write cargo test -p cairndb-server`\n\
         writes it anew. Full means that, in both versions of the protocol, replies and errors are those of redis-server\n\
         7.0.15: 200,000 commands drawn by chance are sent to both and compared byte for byte, and the rows of the table with\n\
         what `COMMAND INFO` says there. What differs on purpose is listed in\n\
         [the test](../crates/cairndb-server/tests/it/differential.rs), each with its reason. Words counts the command's name;\n\
         at least as many, with a plus.\n",
    );
    let mut groups: Vec<&str> = Vec::new();
    for command in TABLE {
        if !groups.contains(&command.group) {
            groups.push(command.group);
        }
    }
    for group in groups {
        _ = write!(
            text,
            "\n## {}\n\n| command | since | words | status | what it does |\n|---|---|---|---|---|\n",
            heading(group)
        );
        all_rows()
            .filter(|row| row.group == group && !row.is_container())
            .for_each(|row| push_row(&mut text, row));
    }
    text.push_str("\n## What there is not\n\nThese are answered as Redis answers a command that it does not know.\n\n| group | commands of Redis 7.0 |\n|---|---|\n");
    for (group, names) in ABSENT {
        let names: Vec<String> = names.iter().map(|name| spelled(name)).collect();
        _ = writeln!(text, "| {} | {} |", heading(group), names.join(", "));
    }
    text
}

fn push_row(text: &mut String, row: &Command) {
    let partial = PARTIAL.iter().find(|(name, _)| *name == row.name);
    let status = partial.map_or("full".to_string(), |(_, why)| format!("partial: {why}"));
    let words = if row.arity < 0 { format!("{}+", -row.arity) } else { row.arity.to_string() };
    _ = writeln!(text, "| {} | {} | {words} | {status} | {} |", spelled(row.name), row.since, row.summary);
}

fn spelled(name: &str) -> String {
    format!("`{}`", name.to_ascii_uppercase().replace('|', " "))
}

fn heading(group: &str) -> String {
    let mut heading = group.replace('-', " ");
    heading[..1].make_ascii_uppercase();
    heading
}

/// The document lists what there is. `CAIRN_DOCS=write` writes it.
#[test]
fn the_document_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/redis-compatibility.md");
    if std::env::var("CAIRN_DOCS").is_ok_and(|mode| mode == "write") {
        std::fs::write(path, page()).expect("the documents can be written");
        return;
    }
    let written = std::fs::read_to_string(path).expect("docs/redis-compatibility.md is there");
    assert!(written == page(), "docs/redis-compatibility.md is out of date: CAIRN_DOCS=write writes it");
}

#[test]
fn what_is_said_of_commands_is_said_of_those_there_are() {
    for (name, _) in PARTIAL {
        assert!(super::find_row(name.as_bytes()).is_some(), "{name}");
    }
    for name in ABSENT.iter().flat_map(|(_, names)| *names) {
        assert!(super::find_row(name.as_bytes()).is_none(), "{name}");
    }
}
