//! Syntax: what words a command takes behind its name, in a line that `COMMAND DOCS` takes apart for clients: `redis-cli`
//! completes a command by it while it is typed.
//!
//! In a line, names are in small letters and words that stand as they are in capitals; `[a]` may be left out, `(a b)` belong
//! together, `a|b` is one of several, `a...` may come more than once. Behind a name, `:i` says that it is an integer, and so
//! on: [`KINDS`]. A word in capitals with a name behind it is that one's token.
//!
//! # Where it sits
//! Beside `rows`, which says of a command all that the server itself must know. How a command is spelled is read by nobody
//! but clients; that the two do not contradict each other, a test sees.

/// The lines of those that take words, options among them that have an effect here.
pub(super) static SYNTAX: &[(&str, &str)] = &[
    ("append", "key value"),
    ("decr", "key"),
    ("decrby", "key decrement:i"),
    ("get", "key"),
    ("getdel", "key"),
    (
        "getex",
        "key [EX seconds:i|PX milliseconds:i|EXAT unix-time-seconds:t|PXAT unix-time-milliseconds:t|PERSIST]",
    ),
    ("getrange", "key start:i end:i"),
    ("getset", "key value"),
    ("incr", "key"),
    ("incrby", "key increment:i"),
    ("incrbyfloat", "key increment:d"),
    ("lcs", "key1:k key2:k [LEN] [IDX] [MINMATCHLEN len:i] [WITHMATCHLEN]"),
    ("mget", "key..."),
    ("mset", "(key value)..."),
    ("msetnx", "(key value)..."),
    ("psetex", "key milliseconds:i value"),
    (
        "set",
        "key value [NX|XX] [GET] \
         [EX seconds:i|PX milliseconds:i|EXAT unix-time-seconds:t|PXAT unix-time-milliseconds:t|KEEPTTL]",
    ),
    ("setex", "key seconds:i value"),
    ("setnx", "key value"),
    ("setrange", "key offset:i value"),
    ("strlen", "key"),
    ("substr", "key start:i end:i"),
    ("bitcount", "key [start:i end:i [BYTE|BIT]]"),
    ("bitop", "operation destkey:k key..."),
    ("bitpos", "key bit:i [start:i [end:i [BYTE|BIT]]]"),
    ("getbit", "key offset:i"),
    ("setbit", "key offset:i value:i"),
    ("copy", "source:k destination:k [DB destination-db:i] [REPLACE]"),
    ("del", "key..."),
    ("exists", "key..."),
    ("expire", "key seconds:i [NX|XX|GT|LT]"),
    ("expireat", "key unix-time-seconds:t [NX|XX|GT|LT]"),
    ("expiretime", "key"),
    ("keys", "pattern:p"),
    ("move", "key db:i"),
    ("object|encoding", "key"),
    ("object|freq", "key"),
    ("object|idletime", "key"),
    ("object|refcount", "key"),
    ("persist", "key"),
    ("pexpire", "key milliseconds:i [NX|XX|GT|LT]"),
    ("pexpireat", "key unix-time-milliseconds:t [NX|XX|GT|LT]"),
    ("pexpiretime", "key"),
    ("pttl", "key"),
    ("rename", "key newkey:k"),
    ("renamenx", "key newkey:k"),
    ("scan", "cursor:i [MATCH pattern:p] [COUNT count:i] [TYPE type]"),
    ("touch", "key..."),
    ("ttl", "key"),
    ("type", "key"),
    ("wait", "numreplicas:i timeout:i"),
    ("waitaof", "numlocal:i numreplicas:i timeout:i"),
    ("unlink", "key..."),
    ("watch", "key..."),
    ("psubscribe", "pattern:p..."),
    ("publish", "channel message"),
    ("pubsub|channels", "[pattern:p]"),
    ("pubsub|numsub", "[channel]..."),
    ("punsubscribe", "[pattern:p]..."),
    ("subscribe", "channel..."),
    ("unsubscribe", "[channel]..."),
    ("auth", "[username] password"),
    (
        "client|kill",
        "(ip:port|[ID client-id:i] [TYPE NORMAL|PUBSUB] [USER username] [ADDR ip:port] [LADDR ip:port] [SKIPME yes/no])",
    ),
    ("client|list", "[TYPE type] [ID client-id:i...]"),
    ("client|no-evict", "(ON|OFF)"),
    ("client|no-touch", "(ON|OFF)"),
    ("client|pause", "timeout:i [WRITE|ALL]"),
    ("client|reply", "(ON|OFF|SKIP)"),
    ("client|setinfo", "(LIB-NAME libname|LIB-VER libver)"),
    ("client|setname", "connection-name"),
    ("client|unblock", "client-id:i [TIMEOUT|ERROR]"),
    ("debug", "(SLEEP seconds:d|OBJECT key)"),
    ("echo", "message"),
    ("hello", "[protover:i [AUTH (username password)] [SETNAME clientname]]"),
    ("ping", "[message]"),
    ("select", "index:i"),
    ("acl|cat", "[categoryname]"),
    ("acl|deluser", "username..."),
    ("acl|dryrun", "username command [arg]..."),
    ("acl|genpass", "[bits:i]"),
    ("acl|getuser", "username"),
    ("acl|log", "[count:i|RESET]"),
    ("acl|setuser", "username [rule]..."),
    ("bgsave", "[SCHEDULE]"),
    ("command|docs", "[command-name]..."),
    ("command|getkeys", "command arg..."),
    ("command|getkeysandflags", "command arg..."),
    ("command|info", "[command-name]..."),
    ("command|list", "[FILTERBY (MODULE module-name|ACLCAT category|PATTERN pattern:p)]"),
    ("config|get", "parameter..."),
    ("config|set", "(parameter value)..."),
    ("flushall", "[ASYNC|SYNC]"),
    ("flushdb", "[ASYNC|SYNC]"),
    ("info", "[section]..."),
    ("latency|histogram", "[command]..."),
    ("latency|history", "event"),
    ("latency|reset", "[event]..."),
    ("memory|usage", "key [SAMPLES count:i]"),
    ("shutdown", "[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]"),
    ("slowlog|get", "[count:i]"),
    ("swapdb", "index1:i index2:i"),
];

/// What stands behind a name's colon, and Redis's word for it. Without a colon, `key` is a key, and all else a string.
const KINDS: &[(&str, &str)] =
    &[("i", "integer"), ("d", "double"), ("k", "key"), ("p", "pattern"), ("t", "unix-time")];

/// A word or more, as a client is told of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Argument {
    pub(super) name: String,
    /// Redis's word for what it is: `string`, `oneof`, `pure-token`, ...
    pub(super) kind: &'static str,
    /// The word that says that it is this one that follows, or that is all of it.
    pub(super) token: Option<&'static str>,
    pub(super) optional: bool,
    pub(super) multiple: bool,
    /// Of those that belong together, or of which it is one.
    pub(super) parts: Vec<Argument>,
}

/// The arguments of the command, or subcommand, of this name.
pub(super) fn arguments(name: &str) -> Vec<Argument> {
    let line = SYNTAX.iter().find(|(known, _)| *known == name).map_or("", |(_, line)| line);
    let mut rest = line;
    sequence(&mut rest)
}

/// Arguments up to the end, or to what closes them, which is left.
fn sequence(rest: &mut &'static str) -> Vec<Argument> {
    let mut arguments = Vec::new();
    loop {
        *rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with(['|', ']', ')']) {
            return arguments;
        }
        arguments.push(argument(rest));
    }
}

fn argument(rest: &mut &'static str) -> Argument {
    let mut argument = match rest.as_bytes()[0] {
        b'[' => Argument { optional: true, ..choice(rest) },
        b'(' => choice(rest),
        byte if byte.is_ascii_uppercase() => {
            let token = word(rest);
            let behind = rest.trim_start();
            if behind.starts_with(|letter: char| letter == '(' || letter.is_ascii_lowercase()) {
                *rest = behind;
                Argument { token: Some(token), ..self::argument(rest) }
            } else {
                let name = token.to_ascii_lowercase();
                let (kind, token) = ("pure-token", Some(token));
                Argument { name, kind, token, optional: false, multiple: false, parts: Vec::new() }
            }
        }
        _ => named(word(rest)),
    };
    if let Some(behind) = rest.strip_prefix("...") {
        (*rest, argument.multiple) = (behind, true);
    }
    argument
}

/// What stands in brackets: one of several, or some that belong together, or just one.
fn choice(rest: &mut &'static str) -> Argument {
    let mut choices = Vec::new();
    while !rest.starts_with([']', ')']) && !rest.is_empty() {
        *rest = &rest[1..];
        choices.push(one_or_block(sequence(rest)));
    }
    *rest = rest.get(1..).unwrap_or_default();
    if choices.len() == 1 { choices.remove(0) } else { group("oneof", choices) }
}

fn one_or_block(mut parts: Vec<Argument>) -> Argument {
    if parts.len() == 1 { parts.remove(0) } else { group("block", parts) }
}

fn group(kind: &'static str, parts: Vec<Argument>) -> Argument {
    let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
    let name = names.join(if kind == "oneof" { "-or-" } else { "-" });
    Argument { name, kind, token: None, optional: false, multiple: false, parts }
}

fn named(word: &str) -> Argument {
    let kind_of = |letter: &str| KINDS.iter().find(|(known, _)| *known == letter).map(|(_, kind)| *kind);
    let split = word.rsplit_once(':').and_then(|(name, letter)| Some((name, kind_of(letter)?)));
    let (name, kind) = split.unwrap_or((word, if word == "key" { "key" } else { "string" }));
    Argument { name: name.into(), kind, token: None, optional: false, multiple: false, parts: Vec::new() }
}

fn word(rest: &mut &'static str) -> &'static str {
    let end = rest.find([' ', '|', ']', ')', '.', '[', '(']).unwrap_or(rest.len());
    let (word, behind) = rest.split_at(end);
    *rest = behind;
    word
}

#[cfg(test)]
mod tests {
    use super::super::all_rows;
    use super::*;

    /// As `redis-cli` shows it.
    fn shown(arguments: &[Argument], between: &str) -> String {
        let shown = arguments.iter().map(|argument| {
            let inner = match argument.kind {
                "pure-token" => String::new(),
                "oneof" => shown(&argument.parts, "|"),
                "block" => shown(&argument.parts, " "),
                _ => argument.name.clone(),
            };
            let words = [argument.token.unwrap_or_default(), &inner];
            let mut text = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
            if argument.multiple {
                text = format!("{text} [{inner} ...]");
            }
            if argument.optional { format!("[{text}]") } else { text }
        });
        shown.collect::<Vec<_>>().join(between)
    }

    /// The fewest words, and the most if there is a most.
    fn words(arguments: &[Argument]) -> (usize, Option<usize>) {
        let sum = |(least, most): (usize, Option<usize>), (a, b): (usize, Option<usize>)| {
            (least + a, most.zip(b).map(|(most, b)| most + b))
        };
        arguments.iter().map(words_of).fold((0, Some(0)), sum)
    }

    fn words_of(argument: &Argument) -> (usize, Option<usize>) {
        let (mut least, mut most) = match argument.kind {
            "pure-token" => (0, Some(0)),
            "block" => words(&argument.parts),
            "oneof" => {
                let each: Vec<_> = argument.parts.iter().map(words_of).collect();
                let most = each.iter().try_fold(0, |most, (_, b)| Some(most.max((*b)?)));
                (each.iter().map(|(least, _)| *least).min().unwrap_or(0), most)
            }
            _ => (1, Some(1)),
        };
        if argument.token.is_some() {
            (least, most) = (least + 1, most.map(|most| most + 1));
        }
        (if argument.optional { 0 } else { least }, if argument.multiple { None } else { most })
    }

    #[test]
    fn lines_are_taken_apart() {
        for (name, expected) in [
            ("get", "key"),
            ("mset", "key value [key value ...]"),
            (
                "set",
                "key value [NX|XX] [GET] \
                 [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL]",
            ),
            ("bitpos", "key bit [start [end [BYTE|BIT]]]"),
            ("copy", "source destination [DB destination-db] [REPLACE]"),
            ("hello", "[protover [AUTH username password] [SETNAME clientname]]"),
            ("unsubscribe", "[channel [channel ...]]"),
            ("command|list", "[FILTERBY MODULE module-name|ACLCAT category|PATTERN pattern]"),
            ("dbsize", ""),
        ] {
            assert_eq!(shown(&arguments(name), " "), expected, "{name}");
        }
        let set = arguments("set");
        assert_eq!((set[0].kind, set[2].kind, set[2].optional), ("key", "oneof", true));
        assert_eq!((set[4].parts[0].kind, set[4].parts[0].token), ("integer", Some("EX")));
        assert_eq!((set[3].kind, set[3].token), ("pure-token", Some("GET")));
    }

    /// What a client is told of a command's words is what the command takes.
    #[test]
    fn lines_agree_with_the_table() {
        for (name, line) in SYNTAX {
            assert!(all_rows().any(|row| row.name == *name), "{name} is no command");
            let mut rest = *line;
            sequence(&mut rest);
            assert_eq!(rest, "", "{name}: {line}");
        }
        for row in all_rows() {
            let names = 1 + row.name.matches('|').count();
            let (least, most) = words(&arguments(row.name));
            let arity = row.arity.unsigned_abs() as usize - names;
            if row.arity > 0 {
                assert_eq!((least, most), (arity, Some(arity)), "{}", row.name);
            } else {
                // It takes more than the least, or its arity says less than it asks for. QUIT takes anything.
                let is_told = most.is_none_or(|most| most > arity) || least > arity;
                let is_exempt = !row.subcommands.is_empty() || row.name == "quit";
                assert!(is_told || is_exempt, "{}: {least} to {most:?}", row.name);
            }
        }
    }
}
