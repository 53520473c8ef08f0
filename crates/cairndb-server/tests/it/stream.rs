//! Streams of commands, drawn from a seed: mostly valid, over few keys, so that commands meet each other's work.

/// A source of numbers that repeats itself for a seed. Source: SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
pub(crate) struct Dice(u64);

/// A command's words.
pub(crate) type Words = Vec<Vec<u8>>;

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.number() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const KEYS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "key:1",
    "key:2",
    "key:10",
    "counter",
    "float",
    "bits",
    "",
    "with space",
    "\u{1}\u{2}\r\n",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "7",
    "10",
    "-5",
    "100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "4294967296",
    "01",
    "+1",
    " 1",
    "1 ",
    "1.5",
    "abc",
    "",
    "-0",
    "1e3",
];
/// What sums of them are is exact in both: others, Redis rounds to the processor's 64 bits.
const FLOATS: &[&str] = &["0.5", "-1.25", "3", "1e2", "10.125", "abc", "", "5.0e-1", " 1", "1 ", "nan", "-3"];
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "12",
    "-7",
    "hello",
    "hello world",
    "3.25",
    "9223372036854775806",
    "ohmytext",
    "mynewtext",
    "\r\n\u{0}binary",
    "a somewhat longer value that is more than forty-four bytes long, so that it is raw",
];
const PATTERNS: &[&str] =
    &["*", "key:*", "?", "[a-c]", "k*1*", "h?llo", "", "\\a", "[^a]", "*\r*", "nothing"];
const OFFSETS: &[&str] =
    &["0", "1", "7", "8", "9", "15", "31", "100", "1000", "-1", "4294967296", "abc", "4294967295999"];
const INDEXES: &[&str] = &[
    "0",
    "1",
    "2",
    "5",
    "-1",
    "-2",
    "-5",
    "100",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
    "x",
];
/// Times so far away that no stream sees them come, and so far apart that clocks do not matter.
const SECONDS: &[&str] =
    &["1000", "20000", "300000", "4000000", "0", "-1", "abc", "9223372036854775807", "-9223372036854775808"];
/// Rules for users.
const RULES: &[&str] = &[
    "on",
    "on",
    "off",
    "nopass",
    "resetpass",
    ">a",
    ">b",
    "<a",
    "~a",
    "~key:*",
    "%R~b",
    "%W~c",
    "%RW~d",
    "resetkeys",
    "allkeys",
    "&a",
    "&*",
    "resetchannels",
    "+@all",
    "-@all",
    "+@read",
    "-@read",
    "+@write",
    "-@string",
    "+get",
    "-get",
    "+SET",
    "-config",
    "+config|get",
    "-client|list",
    "+@connection",
    "-@dangerous",
    "clearselectors",
];
const AT_SECONDS: &[&str] =
    &["2000000000", "2000000001", "2100000000", "1", "0", "-1", "abc", "9223372036854775807"];
const AT_MS: &[&str] =
    &["2000000000000", "2000000000001", "2100000000000", "1000", "0", "-5", "abc", "9223372036854775807"];

/// The commands that streams are made of. A letter stands for a word: K a key, V a value, N a number, F a float, P a
/// pattern, O a bit's offset, I an index, S seconds or milliseconds from now, T a time in seconds, M one in milliseconds,
/// D a database, * some more of the last, [ ] words that may be missing, | a choice.
const FORMS: &[(u32, &str)] = &[
    (20, "set K V"),
    (6, "set K N"),
    (3, "set K V [nx|xx] [get] [keepttl]"),
    (3, "set K V [nx|xx|get] [ex S|px S|exat T|pxat M]"),
    (20, "get K"),
    (3, "setnx K V"),
    (2, "setex K S V"),
    (2, "psetex K S V"),
    (3, "getset K V"),
    (3, "getdel K"),
    (4, "getex K [ex S|px S|exat T|pxat M|persist]"),
    (4, "mget K *"),
    (3, "mset K V K V"),
    (1, "mset K V K"),
    (2, "msetnx K V K V"),
    (1, "msetnx K V K"),
    (4, "append K V"),
    (3, "strlen K"),
    (5, "incr K"),
    (3, "decr K"),
    (4, "incrby K N"),
    (3, "decrby K N"),
    (4, "incrbyfloat f F"),
    (1, "set f F"),
    (3, "setrange K O V"),
    (4, "getrange K I I"),
    (1, "substr K I I"),
    (2, "lcs K K [len] [idx] [withmatchlen] [minmatchlen N]"),
    (4, "setbit bits O N"),
    (2, "setbit K O 1"),
    (3, "getbit K O"),
    (3, "bitcount K [I I] [bit|byte]"),
    (3, "bitpos K N [I] [I] [bit|byte]"),
    (4, "bitop and|or|xor|not|foo K K *"),
    (6, "del K *"),
    (2, "unlink K *"),
    (4, "exists K *"),
    (1, "touch K *"),
    (3, "type K"),
    (3, "rename K K"),
    (2, "renamenx K K"),
    (3, "copy K K [db D] [replace]"),
    (3, "move K D"),
    (2, "swapdb D D"),
    (1, "wait 0|x|-1 0|x|-1"),
    (1, "lastsave [x]"),
    (1, "slowlog get [0|x|-2]"),
    (1, "slowlog len|reset|foo [x]"),
    (1, "latency latest|history|reset|foo [x]"),
    (1, "config set slowlog-max-len|slowlog-log-slower-than|latency-monitor-threshold -2|x"),
    (1, "debug sleep|object|foo [0|K]"),
    (1, "memory usage K [samples] [0|1|-1|x]"),
    (1, "client pause 0|x|-1 [write|foo]"),
    (1, "client unpause|unblock [7|x]"),
    (1, "object encoding|idletime|refcount counter"),
    (4, "expire K S [nx|xx|foo] [nx|xx]"),
    (3, "pexpire K S [nx|xx]"),
    (4, "expireat K T [nx|xx|gt|lt|foo] [nx|xx|gt|lt]"),
    (4, "pexpireat K M [nx|xx|gt|lt]"),
    (4, "ttl K"),
    (4, "pttl K"),
    (4, "expiretime K"),
    (4, "pexpiretime K"),
    (4, "persist K"),
    (3, "keys P"),
    (3, "scan 0 count 1000000 [match P] [type string|list]"),
    (1, "scan abc|x1 [match P]"),
    (1, "scan 0 count 0|abc|-1 [foo]"),
    (1, "scan 0 match|count|type|foo"),
    (3, "dbsize"),
    (1, "randomkey"),
    (1, "flushdb [sync|async|foo]"),
    (4, "select D"),
    (6, "multi"),
    (9, "exec"),
    (2, "discard"),
    (4, "watch K *"),
    (2, "unwatch"),
    (2, "ping [V]"),
    (2, "echo V"),
    (1, "hello [2|3|4|x] [setname a|foo]"),
    (3, "reset"),
    (2, "auth default a"),
    (1, "auth u|v a|b"),
    (2, "acl setuser u|v A [A] [A] [A]"),
    (1, "acl setuser u|v on nopass allkeys allchannels +@all"),
    (1, "acl setuser w reset|foo|+foo|-@foo|%X~a|+config|~*|#abc|!abc"),
    (2, "acl getuser u|v|nobody"),
    (
        3,
        "acl dryrun u|v|nobody|default get|set|incr|copy|mget|bitop|del|exists|foo|subscribe|object K [K] [K]",
    ),
    (1, "acl dryrun u|v config|client|acl get|list|whoami|foo|setuser [a]"),
    (1, "acl whoami|cat|users|foo|log|genpass [reset|0|9999]"),
    (1, "acl deluser nobody|default|x"),
    (1, "object refcount K"),
    (1, "object freq|help|foo|refcount [K]"),
    (1, "client getname|setname|id|foo|no-evict|reply [on|a|V]"),
    (1, "client setname a|b"),
    (1, "command count|getkeys|foo [nothing]"),
    (1, "command list filterby pattern|aclcat|module|foo nothing"),
    (1, "command getkeysandflags set K V [get|ex]"),
    (1, "command getkeysandflags copy|exists|object|bitop|ping K K [K]"),
    (1, "command getkeys mset K V K V"),
    (1, "command getkeys K|get|ping|set [K]"),
    (1, "config get maxmemory|databases|nothing"),
    (1, "config foo|get|set|resetstat|rewrite [a]"),
    (1, "config get maxmemory|MAXMEMORY databas*|nothing"),
    (1, "config set maxmemory 0 [databases 17|maxmemory 0|foo 1|foo]"),
    (1, "auth a [b]"),
    (1, "publish K V"),
    (1, "pubsub channels|numsub|numpat|foo [a]"),
    (1, "nothing V *"),
];

/// The next command, for a connection that is or is not within a transaction.
pub(crate) fn command(dice: &mut Dice) -> Words {
    let total: u32 = FORMS.iter().map(|(weight, _)| weight).sum();
    let mut drawn = dice.below(total as usize) as u32;
    let form = FORMS.iter().find(|(weight, _)| {
        let found = drawn < *weight;
        drawn = drawn.saturating_sub(*weight);
        found
    });
    let form = form.expect("the weights add up").1;
    let mut words = spell(form, dice);
    match dice.below(100) {
        // Somebody is wrong now and then, about how many words there are ...
        0 => {
            words.pop();
        }
        1 => words.push(VALUES[dice.below(VALUES.len())].into()),
        // ... and of the words, upper and lower case are the same.
        2..20 => words[0].make_ascii_uppercase(),
        _ => {}
    }
    if words.is_empty() { vec![b"ping".to_vec()] } else { words }
}

fn spell(form: &str, dice: &mut Dice) -> Words {
    let mut words: Words = Vec::new();
    let mut last = "";
    for item in items(form) {
        if let Some(optional) = item.strip_prefix('[') {
            if dice.one_in(2) {
                continue;
            }
            let choices: Vec<&str> = optional.trim_end_matches(']').split('|').collect();
            let choice = dice.pick(&choices);
            choice.split(' ').for_each(|word| words.push(one(word, dice)));
            continue;
        }
        if item == "*" {
            for _ in 0..dice.below(3) {
                words.push(one(last, dice));
            }
            continue;
        }
        last = item;
        let choices: Vec<&str> = item.split('|').collect();
        let choice = dice.pick(&choices);
        words.push(one(choice, dice));
    }
    words
}

/// The form's words, with what stands in brackets held together.
fn items(form: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = form;
    while !rest.is_empty() {
        let end = match rest.starts_with('[') {
            true => rest.find(']').expect("brackets are closed") + 1,
            false => rest.find(' ').unwrap_or(rest.len()),
        };
        found.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    found
}

fn one(word: &str, dice: &mut Dice) -> Vec<u8> {
    let from = match word {
        "K" => KEYS,
        "V" => VALUES,
        "N" => NUMBERS,
        "F" => FLOATS,
        "A" => RULES,
        "P" => PATTERNS,
        "O" => OFFSETS,
        "I" => INDEXES,
        "S" => SECONDS,
        "T" => AT_SECONDS,
        "M" => AT_MS,
        "D" => &["0", "1", "2", "15", "16", "-1", "x"],
        other => return other.as_bytes().to_vec(),
    };
    let drawn = match word {
        // Most should be right, or little would happen.
        "N" | "I" | "O" | "S" if !dice.one_in(3) => dice.pick(&from[..4]),
        "T" | "M" | "D" if !dice.one_in(3) => dice.pick(&from[..3]),
        _ => dice.pick(from),
    };
    drawn.as_bytes().to_vec()
}
