//! Settings: everything that a server can be told, in one list.
//!
//! A row of the list is one setting: by its name it is a flag (`--maxclients`), a variable (`CAIRN_MAXCLIENTS`), a key of
//! the file (`maxclients = 10_000`) and what `CONFIG GET` shows. Names are Redis's where Redis has one. The list is all
//! that flags, the file's reader, `CONFIG` and the documents know of settings, so that they cannot disagree.
//!
//! # Where it sits
//! Below everything: rooms read [`Config`], and know nothing of where a value came from. `layers` puts it together, `file`
//! reads and rewrites TOML, `value` turns words into numbers.

mod file;
mod layers;
mod value;

use std::path::PathBuf;
use std::time::Duration;

use cairndb::Durability;

use crate::events::Wanted;
use crate::http::Http;

pub(crate) use file::rewrite;
pub use layers::{Layers, Origin};
pub use value::Value;

/// What a server is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The database's directory; made if it is not there.
    pub directory: PathBuf,
    /// Where the Redis protocol is spoken: an address and a port, 0 for any that is free.
    pub listen: String,
    /// What a write waits for before it is answered.
    pub durability: Durability,
    /// What clients must show first.
    pub password: Option<String>,
    /// The certificate that the server shows, and those that vouch for it: a file in PEM. With it and its key, every port
    /// speaks TLS and nothing else.
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key: a file in PEM.
    pub tls_key: Option<PathBuf>,
    /// Whether clients of other machines are served though no password is asked for.
    pub unprotected: bool,
    /// How much of the log is kept for those who ask what was changed, in bytes.
    pub keep_changes_bytes: u64,
    /// Where backups may be written, by name; nowhere if it is not set.
    pub backup_directory: Option<PathBuf>,
    /// What the engine may take, in bytes.
    pub memory_budget_bytes: u64,
    /// Which keyspace notifications are sent, by Redis's letters.
    pub keyspace_events: String,
    /// HTTP, beside it.
    pub http: Http,
    /// How long a command may run until the slow log keeps it, in microseconds; none is kept if it is negative.
    pub slower_than_us: i64,
    /// How many the slow log keeps.
    pub slow_kept_max: usize,
    /// How long something may take until `LATENCY` keeps it, in milliseconds; nothing is kept if it is 0.
    pub latency_threshold_ms: u64,
    /// What one client, or all of them, may take.
    pub limits: Limits,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What is worth a line in it.
    pub log_level: LogLevel,
    /// Where the file is that `CONFIG REWRITE` writes.
    pub file: Option<PathBuf>,
}

/// What clients may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many may be connected at a time.
    pub clients: usize,
    /// The longest word of a request, in bytes.
    pub word_len: u64,
    /// The longest request that has not come to its end, and the longest transaction that waits, in bytes.
    pub request_len: u64,
    /// The longest body of a request over HTTP, in bytes.
    pub body_len: u64,
    /// What one client may have as replies that it has not taken, in bytes.
    pub replies_len: u64,
    /// What all clients may have as requests and replies together, in bytes.
    pub buffers_len: u64,
    /// How long a client may be silent.
    pub idle: Option<Duration>,
    /// How long a connection may be silent before it is asked whether somebody is there.
    pub keepalive: Option<Duration>,
    /// How many connections may wait to be accepted.
    pub backlog: u32,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is worth a line in the log: this, and all that is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What should not be so.
    Warn,
    /// What happened.
    Info,
    /// What the libraries below say too.
    Debug,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            directory: "./cairn-data".into(),
            listen: "127.0.0.1:6379".into(),
            durability: Durability::Sync,
            password: None,
            tls_cert: None,
            tls_key: None,
            unprotected: false,
            keep_changes_bytes: 64 << 20,
            backup_directory: None,
            memory_budget_bytes: 256 << 20,
            keyspace_events: String::new(),
            http: Http::default(),
            slower_than_us: 10_000,
            slow_kept_max: 128,
            latency_threshold_ms: 0,
            limits: Limits::default(),
            log_format: LogFormat::Text,
            log_level: LogLevel::Info,
            file: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            clients: 10_000,
            word_len: 512 << 20,
            request_len: 1 << 30,
            body_len: 512 << 20,
            replies_len: 512 << 20,
            buffers_len: 1 << 30,
            idle: None,
            keepalive: Some(Duration::from_secs(300)),
            backlog: 511,
        }
    }
}

/// One setting.
pub struct Setting {
    /// What it is called, wherever it is spoken of.
    pub name: &'static str,
    /// What its value looks like.
    pub form: &'static str,
    /// What it is for, in one sentence without its stop.
    pub about: &'static str,
    /// Whether `CONFIG SET` changes it while the server runs.
    pub live: bool,
    /// Whether its value is not for everybody's eyes.
    pub secret: bool,
    get: fn(&Config) -> Value,
    set: fn(&mut Config, &str) -> Result<(), String>,
}

impl Setting {
    const fn new(
        name: &'static str,
        form: &'static str,
        about: &'static str,
        get: fn(&Config) -> Value,
        set: fn(&mut Config, &str) -> Result<(), String>,
    ) -> Setting {
        Setting { name, form, about, live: false, secret: false, get, set }
    }

    const fn live(self) -> Setting {
        Setting { live: true, ..self }
    }

    const fn secret(self) -> Setting {
        Setting { secret: true, ..self }
    }

    /// The variable that holds it: `CAIRN_` and its name in capitals.
    pub fn variable(&self) -> String {
        format!("CAIRN_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// What it is in `config`.
    pub fn get(&self, config: &Config) -> Value {
        (self.get)(config)
    }

    /// Has `config` take the value that `word` spells. The error says what could stand there.
    pub(crate) fn set(&self, config: &mut Config, word: &str) -> Result<(), String> {
        (self.set)(config, word)
    }
}

/// The setting of this name.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// All settings, in the order in which they are told.
pub static SETTINGS: &[Setting] = &[
    Setting::new(
        "db",
        "DIR",
        "The database's directory",
        |c| Value::Text(c.directory.display().to_string()),
        |c, word| value::path(word).map(|path| c.directory = path),
    ),
    Setting::new(
        "listen",
        "ADDRESS:PORT",
        "Where the Redis protocol is spoken",
        |c| Value::Text(c.listen.clone()),
        |c, word| value::place(word).map(|place| c.listen = place),
    ),
    Setting::new(
        "http",
        "ADDRESS:PORT",
        "Where HTTP is; nothing for nowhere",
        |c| Value::Text(c.http.listen.clone()),
        |c, word| value::place_if_any(word).map(|place| c.http.listen = place),
    ),
    Setting::new(
        "http-host",
        "NAME,NAME",
        "What requests over HTTP may name as their Host beside this machine",
        |c| Value::Text(c.http.hosts.join(",")),
        |c, word| value::names(word).map(|names| c.http.hosts = names),
    ),
    Setting::new(
        "http-header-timeout",
        "SECONDS",
        "How long the head of a request over HTTP may take to come",
        |c| Value::Number(c.http.header_time.as_secs()),
        |c, word| value::count(word).map(|seconds| c.http.header_time = Duration::from_secs(seconds as u64)),
    ),
    Setting::new(
        "durability",
        "LEVEL",
        "What a write waits for: sync, os or buffered",
        |c| Value::Text(value::durability_word(c.durability).into()),
        |c, word| value::durability(word).map(|level| c.durability = level),
    ),
    Setting::new(
        "requirepass",
        "PASSWORD",
        "What clients must show before anything else",
        |c| Value::Text(c.password.clone().unwrap_or_default()),
        |c, word| value::some(word).map(|password| c.password = password),
    )
    .live()
    .secret(),
    Setting::new(
        "unprotected",
        "BOOL",
        "Serve other machines though no password is asked for: whoever reaches the port may read, change and delete everything",
        |c| Value::Flag(c.unprotected),
        |c, word| value::flag(word).map(|flag| c.unprotected = flag),
    ),
    Setting::new(
        "tls-cert",
        "FILE",
        "The certificate in PEM; with it and its key, every port speaks TLS and nothing else",
        |c| value::path_or_none(&c.tls_cert),
        |c, word| value::some(word).map(|path| c.tls_cert = path.map(PathBuf::from)),
    ),
    Setting::new(
        "tls-key",
        "FILE",
        "The certificate's key in PEM",
        |c| value::path_or_none(&c.tls_key),
        |c, word| value::some(word).map(|path| c.tls_key = path.map(PathBuf::from)),
    ),
    Setting::new(
        "keep-changes",
        "BYTES",
        "How much of the log is kept for the feed of changes",
        |c| Value::Bytes(c.keep_changes_bytes),
        |c, word| value::bytes_if_any(word).map(|bytes| c.keep_changes_bytes = bytes),
    ),
    Setting::new(
        "backup-dir",
        "DIR",
        "Where SAVE and BGSAVE write backups",
        |c| value::path_or_none(&c.backup_directory),
        |c, word| value::some(word).map(|path| c.backup_directory = path.map(PathBuf::from)),
    ),
    Setting::new(
        "memory-budget",
        "BYTES",
        "What the engine may take for itself",
        |c| Value::Bytes(c.memory_budget_bytes),
        |c, word| value::bytes(word).map(|bytes| c.memory_budget_bytes = bytes),
    ),
    Setting::new(
        "notify-keyspace-events",
        "LETTERS",
        "Which events of keys are told to subscribers, by Redis's letters",
        |c| Value::Text(c.keyspace_events.clone()),
        |c, word| value::events(word).map(|letters| c.keyspace_events = letters),
    )
    .live(),
    Setting::new(
        "slowlog-log-slower-than",
        "MICROSECONDS",
        "How long a command may run until the slow log keeps it; -1 keeps none",
        |c| Value::Integer(c.slower_than_us),
        |c, word| value::integer(word, -1, i64::MAX).map(|us| c.slower_than_us = us),
    )
    .live(),
    Setting::new(
        "slowlog-max-len",
        "N",
        "How many commands the slow log keeps, within 4 MiB",
        |c| Value::Number(c.slow_kept_max as u64),
        |c, word| {
            value::integer(word, 0, i64::MAX)
                .map(|n| c.slow_kept_max = usize::try_from(n).unwrap_or(usize::MAX))
        },
    )
    .live(),
    Setting::new(
        "latency-monitor-threshold",
        "MILLISECONDS",
        "How long something may take until LATENCY keeps it; 0 keeps nothing",
        |c| Value::Number(c.latency_threshold_ms),
        |c, word| value::integer(word, 0, i64::MAX).map(|ms| c.latency_threshold_ms = ms.unsigned_abs()),
    )
    .live(),
    Setting::new(
        "maxclients",
        "N",
        "How many clients may be connected at a time",
        |c| Value::Number(c.limits.clients as u64),
        |c, word| value::count(word).map(|n| c.limits.clients = n),
    )
    .live(),
    Setting::new(
        "proto-max-bulk-len",
        "BYTES",
        "The longest word of a request",
        |c| Value::Bytes(c.limits.word_len),
        |c, word| value::bytes(word).map(|len| c.limits.word_len = len),
    )
    .live(),
    Setting::new(
        "client-query-buffer-limit",
        "BYTES",
        "The longest request that has not come to its end, and the longest transaction that waits for EXEC",
        |c| Value::Bytes(c.limits.request_len),
        |c, word| value::bytes(word).map(|len| c.limits.request_len = len),
    )
    .live(),
    Setting::new(
        "http-max-body",
        "BYTES",
        "The longest body of a request over HTTP; no longer than an eighth of the memory budget in any case",
        |c| Value::Bytes(c.limits.body_len),
        |c, word| value::bytes(word).map(|len| c.limits.body_len = len),
    )
    .live(),
    Setting::new(
        "client-output-buffer-limit",
        "BYTES",
        "What one client may have as replies that it has not taken",
        |c| Value::Bytes(c.limits.replies_len),
        |c, word| value::bytes(word).map(|len| c.limits.replies_len = len),
    )
    .live(),
    Setting::new(
        "maxmemory-clients",
        "BYTES",
        "What all clients may have as requests and replies together",
        |c| Value::Bytes(c.limits.buffers_len),
        |c, word| value::bytes(word).map(|len| c.limits.buffers_len = len),
    )
    .live(),
    Setting::new(
        "timeout",
        "SECONDS",
        "How long a client may be silent; 0 for ever",
        |c| value::seconds(c.limits.idle),
        |c, word| value::time(word).map(|time| c.limits.idle = time),
    )
    .live(),
    Setting::new(
        "tcp-keepalive",
        "SECONDS",
        "How long a connection may be silent before it is asked whether somebody is there; 0 for ever",
        |c| value::seconds(c.limits.keepalive),
        |c, word| value::time(word).map(|time| c.limits.keepalive = time),
    )
    .live(),
    Setting::new(
        "tcp-backlog",
        "N",
        "How many connections may wait to be accepted",
        |c| Value::Number(c.limits.backlog.into()),
        |c, word| value::count(word).map(|n| c.limits.backlog = u32::try_from(n).unwrap_or(u32::MAX)),
    ),
    Setting::new(
        "log-format",
        "FORMAT",
        "How the log is written: text or json",
        |c| Value::Text(value::log_format_word(c.log_format).into()),
        |c, word| value::log_format(word).map(|format| c.log_format = format),
    ),
    Setting::new(
        "log-level",
        "LEVEL",
        "What is worth a line in the log: error, warn, info or debug",
        |c| Value::Text(value::log_level_word(c.log_level).into()),
        |c, word| value::log_level(word).map(|level| c.log_level = level),
    ),
];

impl Config {
    /// The port of the Redis protocol.
    pub(crate) fn port(&self) -> u16 {
        self.listen.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
    }

    /// The word for how durable a write is.
    pub(crate) fn durability_word(&self) -> &'static str {
        value::durability_word(self.durability)
    }

    /// Which events are told. What is no letter was refused where it was set.
    pub(crate) fn events(&self) -> Wanted {
        Wanted::parse(self.keyspace_events.as_bytes()).unwrap_or_default()
    }

    /// What `CONFIG GET` shows: every setting by its own name, and what Redis calls otherwise or has besides.
    pub(crate) fn shown(&self) -> Vec<(&'static str, String)> {
        let fsync = match self.durability {
            Durability::Sync => "always",
            Durability::Os => "everysec",
            Durability::Buffered => "no",
        };
        let host = self.listen.rsplit_once(':').map_or(&*self.listen, |(host, _)| host);
        let told = |setting: &Setting| match setting.name {
            // Redis has a bound for each class of clients, and what reads its configuration expects classes.
            "client-output-buffer-limit" => {
                let len = self.limits.replies_len;
                format!("normal {len} 0 0 slave {len} 0 0 pubsub {len} 0 0")
            }
            _ => setting.get(self).told(),
        };
        let mut shown: Vec<_> = SETTINGS.iter().map(|setting| (setting.name, told(setting))).collect();
        shown.extend([
            ("appendfsync", fsync.into()),
            ("appendonly", "yes".into()),
            ("bind", host.trim_matches(['[', ']']).into()),
            ("databases", crate::store::DATABASES.to_string()),
            ("dir", self.directory.display().to_string()),
            ("maxmemory", "0".into()),
            ("maxmemory-policy", "noeviction".into()),
            ("port", self.port().to_string()),
            ("protected-mode", Value::Flag(!self.unprotected).told()),
            ("save", String::new()),
        ]);
        shown.sort();
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_takes_what_it_tells() {
        let mut config = Config::default();
        for setting in SETTINGS {
            let told = setting.get(&config);
            for word in [told.told(), told.spelled()] {
                assert_eq!(setting.set(&mut config, &word), Ok(()), "{}: {word}", setting.name);
                assert_eq!(setting.get(&config), told, "{}: {word}", setting.name);
            }
        }
        assert_eq!(config, Config::default());
    }

    #[test]
    fn a_name_is_shown_once() {
        let shown = Config::default().shown();
        assert!(shown.windows(2).all(|pair| pair[0].0 < pair[1].0), "{shown:?}");
        assert!(SETTINGS.iter().all(|setting| shown.iter().any(|(name, _)| *name == setting.name)));
    }

    #[test]
    fn what_redis_calls_otherwise_says_the_same() {
        let config = Config { listen: "[::1]:7000".into(), ..Config::default() };
        let shown = config.shown();
        let of = |name| shown.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        assert_eq!((of("bind"), of("port"), of("appendfsync")), (Some("::1"), Some("7000"), Some("always")));
        assert_eq!(of("dir"), of("db"));
    }

    /// Compares a part of a file of the repository with what is generated for it; `CAIRN_DOCS=write` writes it.
    fn agrees(file: &str, begin: &str, end: &str, generated: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
        let text = std::fs::read_to_string(&path).expect("the file is there");
        let from = text.find(begin).expect("it begins") + begin.len();
        let to = from + text[from..].find(end).expect("it ends");
        if std::env::var("CAIRN_DOCS").is_ok_and(|how| how == "write") {
            let whole = [&text[..from], generated, &text[to..]].concat();
            std::fs::write(path, whole).expect("it is written");
        } else {
            assert_eq!(&text[from..to], generated, "{file}: CAIRN_DOCS=write writes it anew");
        }
    }

    #[test]
    fn the_page_on_running_the_server_has_every_setting() {
        let mut table = "\n| setting | default | `CONFIG SET` | |\n|---|---|---|---|\n".to_string();
        for setting in SETTINGS {
            let default = match setting.get(&Config::default()).spelled() {
                none if none.is_empty() => String::new(),
                some => format!("`{some}`"),
            };
            let live = if setting.live { "yes" } else { "" };
            table += &format!("| `{}` | {default} | {live} | {} |\n", setting.name, setting.about);
        }
        agrees("docs/server.md", "writes this table anew -->\n", "<!-- end -->", &(table + "\n"));
    }

    #[test]
    fn the_example_of_a_file_has_every_setting_as_it_is_by_default() {
        let mut text = String::new();
        for setting in SETTINGS {
            let value = setting.get(&Config::default()).toml();
            text += &format!("\n# {}.\n{} = {value}\n", setting.about, setting.name);
        }
        agrees("contrib/cairn.toml", "written anew by `CAIRN_DOCS=write`.\n", "\n# The end.", &text);
        let mut layers = Layers::default();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/cairn.toml");
        layers.read_file(&path).expect("it can be read");
        assert_eq!(*layers.config(), Config { file: Some(path), ..Config::default() });
    }
}
