//! Arguments: what can be typed after `cairn`, and the help that explains it.
//!
//! # Where it sits
//! The first room that a command passes. It turns words into values, and knows nothing of what they are for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairndb::Durability;
use cairndb_server::{Config, SETTINGS, Value};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Parser, Subcommand, ValueEnum};

use crate::failure::Failure;
use crate::format::{Format, Layout};

/// The database's directory when `--db` is not given.
const DEFAULT_DIR: &str = "./cairn-data";

/// An embedded key-value database, from the command line.
#[derive(Parser)]
#[command(
    name = "cairn",
    version,
    after_help = "\
Examples:
  cairn put greeting hello            store a value; makes ./cairn-data if there is none
  cairn get greeting                  print it
  cairn scan --prefix user: --limit 5
  cairn load words.tsv && cairn stats
  cairn demo                          see all of it at work

Exit codes: 0 done, 1 the key is not there, 2 an error or damage was found.
A key that begins with a dash goes after two: cairn get -- -key"
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which database, and how it is written.
#[derive(clap::Args)]
#[command(next_help_heading = "Database")]
pub(crate) struct Target {
    /// The database's directory [default: ./cairn-data]
    #[arg(long, global = true, value_name = "DIR")]
    db: Option<PathBuf>,
    /// What a write waits for
    #[arg(long, global = true, value_enum, default_value_t = Waits::Sync, value_name = "LEVEL")]
    durability: Waits,
    /// The keyspace, 0 to 254: each has keys of its own
    #[arg(long, global = true, default_value_t = 0, value_name = "N",
          value_parser = clap::value_parser!(u8).range(0..=254))]
    pub(crate) keyspace: u8,
}

impl Target {
    pub(crate) fn dir(&self) -> &Path {
        self.db.as_deref().unwrap_or(Path::new(DEFAULT_DIR))
    }

    /// The directory, if it was named.
    pub(crate) fn dir_given(&self) -> Option<&Path> {
        self.db.as_deref()
    }

    pub(crate) fn durability(&self) -> Durability {
        match self.durability {
            Waits::Sync => Durability::Sync,
            Waits::Os => Durability::Os,
            Waits::Buffered => Durability::Buffered,
        }
    }
}

/// The words for [`Durability`].
#[derive(Clone, Copy, ValueEnum)]
enum Waits {
    /// For the disk: a write survives a power loss
    Sync,
    /// For the operating system: a write survives a killed process
    Os,
    /// For nothing
    Buffered,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Store a value under a key
    Put(Put),
    /// Print a key's value, byte for byte; exit 1 if there is none
    Get(Get),
    /// Remove a key; done also if it was not there
    Delete(Delete),
    /// Print keys and values in order
    Scan(Scan),
    /// Store the entries of a file
    Load(Load),
    /// Print every entry of the keyspace, for `load` to read back
    Dump(Dump),
    /// Store what is new in a log of the roadmap's format
    Replay(Replay),
    /// Let recovery start later: flush what is in memory, and move the WAL checkpoint
    #[command(after_help = "\
Prints where recovery would have started and where it starts now: a WAL and a sequence number.

Example:
  cairn checkpoint")]
    Checkpoint,
    /// Make a copy of the database that can be opened
    Backup(Backup),
    /// Rewrite the database without what was overwritten, deleted or has expired
    #[command(after_help = "\
Example:
  cairn compact")]
    Compact,
    /// Read everything on disk, and report each promise that is broken; exit 2 if one is
    #[command(after_help = "\
Changes nothing, and works on a damaged database. Each line is one promise, numbered as in ARCHITECTURE.md; one that no
look at files can judge has two dashes, and says where it is tested.

Examples:
  cairn verify --db /var/backups/monday && echo sound
  cairn verify --rate 64MiB          leave the disk to others: read no more than this a second")]
    Verify(Verify),
    /// Salvage a damaged database into a new one, and list what is lost; exit 2 if anything is
    #[command(after_help = "\
Changes nothing in the database. All that is whole is written anew, whatever is damaged beside it: a bad block takes its
own keys with it, a bad record its own writes. What is lost is listed by keys and sequence numbers, and is only that. A
key in a lost range may show an older value, or be back though it was deleted. See docs/decisions/0009.

Examples:
  cairn verify || cairn repair ./salvaged
  cairn --db /mnt/bad/cairn-data repair ./salvaged > losses.txt")]
    Repair(Repair),
    /// Print the database's figures
    Stats(Stats),
    /// Print a WAL, SSTable or manifest as fields
    Inspect(Inspect),
    /// Serve the database to clients of Redis, and over HTTP
    Serve(Serve),
    /// Ask a running server whether it is well; exit 1 if it is not
    Health(Health),
    /// See it all at work on real data: load, read back, scan, delete, reopen, verify, compact
    Demo(Demo),
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cairn put greeting hello
  cairn put session:17 alice --ttl 30m
  cairn put photo --file cat.jpg
  gzip -c notes | cairn put notes --file -
  cairn put --escape 'tab\\tkey' 'two\\nlines\\x00'")]
pub(crate) struct Put {
    /// The key, as it stands
    pub(crate) key: OsString,
    /// The value, as it stands
    #[arg(required_unless_present = "file", conflicts_with = "file", allow_negative_numbers = true)]
    pub(crate) value: Option<OsString>,
    /// Take the value from this file (- is standard input)
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Let it expire after this time: a number and ms, s, m, h or d
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    pub(crate) ttl: Option<Duration>,
    #[command(flatten)]
    pub(crate) spelling: Spelling,
}

#[derive(clap::Args)]
#[command(after_help = "\
Prints the value's exact bytes, with a newline after them only on a terminal.

Examples:
  cairn get greeting
  cairn get photo > cat.jpg
  cairn get session:17 || echo logged out
  cairn get photo --explain")]
pub(crate) struct Get {
    /// The key, as it stands
    pub(crate) key: OsString,
    /// Instead of the value, print where it was looked for: tables, filters' answers, blocks, microseconds
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) spelling: Spelling,
}

#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cairn delete greeting")]
pub(crate) struct Delete {
    /// The key, as it stands
    pub(crate) key: OsString,
    #[command(flatten)]
    pub(crate) spelling: Spelling,
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cairn scan
  cairn scan --prefix user: --limit 10
  cairn scan --from 2026-01 --to 2026-02 --reverse
  cairn scan --keys-only | wc -l
  cairn scan --format jsonl | jq .value")]
pub(crate) struct Scan {
    /// Only keys that begin with this
    #[arg(long, value_name = "KEY", conflicts_with_all = ["from", "to"])]
    pub(crate) prefix: Option<OsString>,
    /// Only this key and those after it
    #[arg(long, value_name = "KEY")]
    pub(crate) from: Option<OsString>,
    /// Only keys before this one
    #[arg(long, value_name = "KEY")]
    pub(crate) to: Option<OsString>,
    /// From the last to the first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Stop after so many entries
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Print no values
    #[arg(long)]
    pub(crate) keys_only: bool,
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    pub(crate) spelling: Spelling,
}

#[derive(clap::Args)]
#[command(after_help = "\
Loading what was dumped gives an equal database, expiry included, with tsv and jsonl. csv and log carry no expiry, and
dump says on standard error how many it left out.

Examples:
  cairn dump > all.tsv
  cairn dump --format jsonl | gzip > all.jsonl.gz
  cairn dump | cairn --db ./copy load -")]
pub(crate) struct Dump {
    #[command(flatten)]
    pub(crate) form: Form,
}

#[derive(clap::Args)]
#[command(after_help = "\
Stops at the first line that it cannot read, and names it; every line before that is stored.

Formats (a line ends at a newline, or at a carriage return and a newline):
  tsv    key TAB value [TAB expires_at_ms]; \\t \\n \\r \\\\ \\xNN stand for the bytes a field cannot hold
  csv    one field is the key and the rest of the line is the value, both as they stand; quotes mean nothing
  jsonl  {\"key\":\"a\",\"value\":\"1\",\"expires_at_ms\":1790000000000}; a field that is not UTF-8 is {\"b64\":\"...\"}
  log    the roadmap's binary records, deletes included

Examples:
  cairn load words.tsv
  cairn load UnicodeData.txt --format csv --delimiter ';' --key-field 1
  zcat all.jsonl.gz | cairn load - --format jsonl
  cairn load events.tsv --ack | tail -1     the last line that is safe on disk")]
pub(crate) struct Load {
    /// The file to read (- is standard input)
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) form: Form,
    /// csv: which field is the key, counted from 1 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) key_field: Option<u32>,
    /// Print the input's line number after each batch, once it is durable
    #[arg(long)]
    pub(crate) ack: bool,
    /// How many entries make a batch; one also ends at 1 MiB
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
}

#[derive(clap::Args)]
#[command(after_help = "\
The log's records are | key_len | value_len | key | value | checksum |, as FORMAT.md says. How far a log was replayed
is stored with its entries, in one write, under the identity of its first record: replaying it again stores what is
new. A torn last record is left for the next time.

Examples:
  cairn replay app.log
  cairn replay app.log --status
  cairn replay app.log --from 4096")]
pub(crate) struct Replay {
    /// The log
    pub(crate) log: PathBuf,
    /// Start at this byte of the log, whatever was replayed before
    #[arg(long, value_name = "OFFSET", conflicts_with = "status")]
    pub(crate) from: Option<u64>,
    /// Only print how far the log was replayed
    #[arg(long)]
    pub(crate) status: bool,
}

#[derive(clap::Args)]
#[command(after_help = "\
SSTables never change, so the copy shares them with the database (hard links) where it can; the rest is copied.

Examples:
  cairn backup /var/backups/monday
  cairn backup /media/usb/monday --copy
  cairn --db /var/backups/monday verify")]
pub(crate) struct Backup {
    /// The copy's directory, which must not hold anything yet
    pub(crate) dir: PathBuf,
    /// Copy SSTables too, rather than share their bytes
    #[arg(long)]
    pub(crate) copy: bool,
}

#[derive(clap::Args)]
pub(crate) struct Verify {
    /// Read at most so many bytes a second: a number and B, KiB, MiB or GiB
    #[arg(long, value_name = "BYTES", value_parser = parse_rate)]
    pub(crate) rate: Option<u64>,
}

#[derive(clap::Args)]
pub(crate) struct Repair {
    /// The new database's directory, which must not hold anything yet
    pub(crate) dir: PathBuf,
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cairn stats
  cairn stats --json")]
pub(crate) struct Stats {
    /// As one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(clap::Args)]
#[command(after_help = "\
Prints what it can up to the first damage, and exits with 2 there.

Examples:
  cairn inspect cairn-data/000001.wal
  cairn inspect cairn-data/000002.sst | less")]
pub(crate) struct Inspect {
    /// The file, under the name that the database gave it
    pub(crate) file: PathBuf,
}

#[derive(clap::Args)]
#[command(after_help = "\
Ends on SIGTERM or Ctrl-C, when every reply has gone out. A write is answered once it is as durable as --durability says.
A setting is taken from its flag, else from its variable, else from the file.

Examples:
  cairn serve
  cairn serve --listen 127.0.0.1:6380 --durability os
  redis-cli set greeting hello              with the server running
  curl http://127.0.0.1:8379/v1/kv/greeting
  cairn get greeting                        once it has stopped")]
pub(crate) struct Serve {
    /// A TOML file of settings, whose keys are the names of these flags
    #[arg(long, value_name = "FILE", env = "CAIRN_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Print all settings as a TOML file, with where each came from, and end
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Read the settings and end: 0 if they are right, 2 if not
    #[arg(long, conflicts_with = "print_config")]
    pub(crate) check_config: bool,
    #[command(flatten)]
    pub(crate) given: Given,
}

/// The settings that were given as flags. The server's list says which there are.
pub(crate) struct Given(pub(crate) Vec<(&'static str, OsString)>);

impl clap::Args for Given {
    fn augment_args(command: clap::Command) -> clap::Command {
        // `--db` and `--durability` belong to every command, and are there already.
        let own = SETTINGS.iter().filter(|setting| !matches!(setting.name, "db" | "durability"));
        let heading = command.next_help_heading("Settings");
        heading.args(own.map(|setting| {
            let live = if setting.live { "; CONFIG SET changes it" } else { "" };
            let default = setting.get(&Config::default());
            let default = match default.spelled() {
                none if none.is_empty() => String::new(),
                some => format!(" [default: {some}]"),
            };
            let help = format!("{}{live} [env: {}]{default}", setting.about, setting.variable());
            let arg = Arg::new(setting.name).long(setting.name).value_name(setting.form).help(help);
            let arg = arg.value_parser(clap::value_parser!(OsString));
            match setting.get(&Config::default()) {
                // By itself it says yes.
                Value::Flag(_) => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
                _ => arg,
            }
        }))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Given::augment_args(command)
    }
}

impl clap::FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Given, clap::Error> {
        let typed = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        let given = SETTINGS.iter().filter(|setting| typed(setting.name)).filter_map(|setting| {
            let word = matches.get_raw(setting.name)?.next()?;
            Some((setting.name, word.to_os_string()))
        });
        Ok(Given(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Given::from_arg_matches(matches)?;
        Ok(())
    }
}

#[derive(clap::Args)]
#[command(after_help = "\
Over the Redis protocol it asks PING, over HTTP /readyz, which also knows whether the database can be written. Of a server
that speaks TLS it only learns that it is there.

Examples:
  cairn health
  cairn health --http 127.0.0.1:8379 --timeout 1s")]
pub(crate) struct Health {
    /// Where the Redis protocol is spoken
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:6379", env = "CAIRN_LISTEN")]
    pub(crate) listen: String,
    /// Where HTTP is: asks there instead
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) http: Option<String>,
    /// How long the answer may take: a number and ms, s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_ttl)]
    pub(crate) timeout: Duration,
}

#[derive(clap::Args)]
#[command(after_help = "\
Works in a temporary directory and removes it, unless --db or --keep is given.

Examples:
  cairn demo
  cairn demo --keep
  cairn demo --data UnicodeData.txt --db ./unicode")]
pub(crate) struct Demo {
    /// The file to load: lines of fields separated by semicolons, the key first [default: the repository's UnicodeData.txt]
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// Leave the database where it is, to look around in
    #[arg(long)]
    pub(crate) keep: bool,
}

/// How entries are written as text.
#[derive(clap::Args)]
pub(crate) struct Form {
    /// How an entry is written
    #[arg(long, value_enum, default_value_t = Format::Tsv)]
    pub(crate) format: Format,
    /// csv: what stands between two fields, one ASCII character [default: ,]
    #[arg(long, value_name = "C", value_parser = parse_delimiter)]
    delimiter: Option<u8>,
}

impl Form {
    /// The format with what belongs to it; what belongs to another is an error.
    pub(crate) fn layout(&self, key_field: Option<u32>) -> Result<Layout, Failure> {
        if self.format != Format::Csv {
            for (given, name) in
                [(self.delimiter.is_some(), "--delimiter"), (key_field.is_some(), "--key-field")]
            {
                if given {
                    return Err(Failure::told(format_args!("{name} belongs to --format csv")));
                }
            }
        }
        Ok(match self.format {
            Format::Tsv => Layout::Tsv,
            Format::Csv => Layout::Csv {
                delimiter: self.delimiter.unwrap_or(b','),
                key_field: key_field.map_or(1, |number| number as usize),
            },
            Format::Jsonl => Layout::Jsonl,
            Format::Log => Layout::Log,
        })
    }
}

/// How keys and values are spelled on the command line.
#[derive(clap::Args)]
pub(crate) struct Spelling {
    /// Decode \t \n \r \\ \xNN in the keys and values given here
    #[arg(long)]
    pub(crate) escape: bool,
}

/// Reads `30s` and the like; zero is refused, for it would store what nobody can read, or wait for nothing.
fn parse_ttl(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return Err("a time is a number and a unit, ms, s, m, h or d: 30s".into()),
    };
    let number: u64 = number.parse().map_err(|_| "a time is a number and a unit: 30s")?;
    match number.checked_mul(unit_ms) {
        Some(0) => Err("a time of nothing is over already".into()),
        Some(ms) => Ok(Duration::from_millis(ms)),
        None => Err("longer than can be counted".into()),
    }
}

/// Reads `64MiB` and the like.
fn parse_rate(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("a rate is a number and a unit, B, KiB, MiB or GiB: 64MiB".into()),
    };
    let number: u64 = number.parse().map_err(|_| "a rate is a number and a unit: 64MiB")?;
    match number.checked_mul(1 << shift) {
        Some(0) => Err("nothing would ever be read".into()),
        Some(bytes) => Ok(bytes),
        None => Err("more than can be counted".into()),
    }
}

fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [b'\n' | b'\r'] => Err("a line's end cannot stand between two fields of it".into()),
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err("one ASCII character, or \\t".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_ttl_is_a_number_and_a_unit() {
        assert_eq!(parse_ttl("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_ttl("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_ttl("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_ttl("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_ttl("7d"), Ok(Duration::from_secs(7 * 86400)));
        for wrong in
            ["", "s", "30", "30 s", "-1s", "1.5h", "0s", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(parse_ttl(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_a_number_and_a_unit() {
        assert_eq!(parse_rate("4096"), Ok(4096));
        assert_eq!(parse_rate("7B"), Ok(7));
        assert_eq!(parse_rate("3KiB"), Ok(3 << 10));
        assert_eq!(parse_rate("64MiB"), Ok(64 << 20));
        assert_eq!(parse_rate("1GiB"), Ok(1 << 30));
        for wrong in
            ["", "MiB", "64 MiB", "64MB", "-1", "1.5GiB", "0", "99999999999GiB", "99999999999999999999"]
        {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_delimiter_is_one_ascii_character() {
        assert_eq!(parse_delimiter(";"), Ok(b';'));
        assert_eq!(parse_delimiter("\\t"), Ok(b'\t'));
        for wrong in ["", ";;", "\n", "\r", "é"] {
            assert!(parse_delimiter(wrong).is_err(), "{wrong:?}");
        }
    }
}
