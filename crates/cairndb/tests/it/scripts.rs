//! Scripts: transcripts of the engine at work, with the output that is expected of each command.
//!
//! `tests/scripts/*.txt` are meant to be read. A command runs against a database on the lying disk; what it prints
//! stands under the line of dashes. `UPDATE_GOLDENFILES=1` writes the transcripts anew, to be looked at before they are
//! kept.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairndb::storage::{Faulty, Storage};
use cairndb::{Batch, Compression, Condition, Db, KeyRange, Options, Outcome, Reader, Snapshot};
use goldenscript::{Argument, Command, Context, Runner};

#[derive(Default)]
struct Script {
    disk: Faulty,
    db: Option<Db>,
    snapshots: BTreeMap<String, Snapshot>,
    clock_ms: Arc<AtomicU64>,
    ids: Arc<AtomicU64>,
}

impl Script {
    fn db(&self) -> Result<&Db, Box<dyn Error>> {
        self.db.as_ref().ok_or_else(|| "the database is not open".into())
    }

    fn open(&mut self, budget: u64, compression: Compression) -> Result<String, Box<dyn Error>> {
        let (clock, ids) = (Arc::clone(&self.clock_ms), Arc::clone(&self.ids));
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let ids = Arc::new(move || u128::from(ids.fetch_add(1, Ordering::Relaxed) + 0xA0));
        let options = Options { memory_budget_bytes: budget, compression, ..Options::new(clock, ids) };
        let db = Db::open_with(Arc::new(self.disk.clone()), options)?;
        let report = db.recovery().clone();
        self.db = Some(db);
        if report.created {
            return Ok("a new database".into());
        }
        let how = if report.sealed { "closed cleanly" } else { "not closed cleanly" };
        let mut out = format!("{how}: {} entries in {} logs", report.entries, report.wals);
        if let Some(torn) = report.torn {
            write!(out, "\ntorn: {} bytes, {torn}", report.torn_bytes)?;
        }
        Ok(out)
    }

    fn leave(&mut self) {
        self.snapshots.clear();
        self.db = None;
    }

    /// The reads of the present, or of the snapshot that `at=` names.
    fn reader(&self, at: Option<&str>) -> Result<Reader, Box<dyn Error>> {
        match at {
            None => Ok(Reader::clone(self.db()?)),
            Some(name) => Ok(Reader::clone(self.snapshots.get(name).ok_or("no such snapshot")?)),
        }
    }

    fn levels(&self) -> Result<String, Box<dyn Error>> {
        let mut out = String::new();
        for (index, level) in
            self.db()?.stats().levels.iter().enumerate().filter(|(_, level)| level.tables > 0)
        {
            writeln!(
                out,
                "level {index}: {} tables, {} entries, {} deletes",
                level.tables, level.entries, level.deletes
            )?;
        }
        Ok(out)
    }

    fn files(&self) -> Result<String, Box<dyn Error>> {
        let names = self.disk.list("script")?;
        Ok(names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }
}

fn range(args: &mut goldenscript::ArgumentConsumer<'_>) -> KeyRange {
    match (args.next_pos(), args.next_pos()) {
        (Some(from), Some(to)) => (from..to).into(),
        (Some(from), None) => (from..).into(),
        _ => (..).into(),
    }
}

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let out = match command.name.as_str() {
            "open" => {
                let budget = args.take_key("budget").map_or(Ok(1 << 20), str::parse)?;
                let lz4 = args.take_key("packing") == Some("lz4");
                self.open(budget, if lz4 { Compression::Lz4 } else { Compression::None })?
            }
            "close" => {
                self.db()?.close()?;
                self.leave();
                String::new()
            }
            "kill" => {
                self.disk = self.disk.kill();
                self.leave();
                String::new()
            }
            "power_cut" => {
                self.disk = self.disk.crash(args.take_key("seed").unwrap_or("0").parse()?);
                self.leave();
                String::new()
            }
            "clock" => {
                self.clock_ms.store(args.next_pos().ok_or("clock MS")?.parse()?, Ordering::Relaxed);
                String::new()
            }
            "put" => {
                let durability = args.take_key("durability").map(str::to_owned);
                let db = match durability.as_deref() {
                    Some("os") => self.db()?.with_durability(cairndb::Durability::Os),
                    _ => self.db()?.clone(),
                };
                while let Some((key, value)) = args.next_key() {
                    db.put(key, value)?;
                }
                String::new()
            }
            "fill" => {
                let (count, len) =
                    (args.take_key("count").unwrap_or("1"), args.take_key("len").unwrap_or("10"));
                let value = "v".repeat(len.parse()?);
                for index in 0..count.parse::<u32>()? {
                    self.db()?.put(format!("{index:05}"), &value)?;
                }
                String::new()
            }
            "put_with_expiry" => {
                let at = args.take_key("at").ok_or("at=MS")?.parse()?;
                let (key, value) = args.next_key().ok_or("KEY=VALUE")?;
                self.db()?.put_with_expiry(key, value, at)?;
                String::new()
            }
            "delete" => {
                while let Some(key) = args.next_pos() {
                    self.db()?.delete(key)?;
                }
                String::new()
            }
            "delete_range" => {
                self.db()?.delete_range(range(&mut args))?;
                String::new()
            }
            "batch" => {
                let mut batch = Batch::new();
                for arg in args.by_ref() {
                    match arg {
                        Argument::KeyValue(key, value) => batch.put(key, value),
                        Argument::Positional(key) => batch.delete(key),
                        other => return Err(format!("what is {other}?").into()),
                    };
                }
                format!("seq {}", self.db()?.write(batch)?)
            }
            "swap" => {
                let (key, from) = (args.take_key("key").ok_or("key=")?, args.take_key("from"));
                let mut batch = Batch::new();
                batch.put(key, args.take_key("to").ok_or("to=")?);
                let condition =
                    from.map_or_else(|| Condition::absent(key), |from| Condition::value_equal(key, from));
                match self.db()?.write_if(batch, &[condition])? {
                    Outcome::Written(seq) => format!("written at {seq}"),
                    Outcome::Unmet { index } => format!("condition {index} does not hold"),
                }
            }
            "get" => {
                let reader = self.reader(args.take_key("at"))?;
                let mut out = Vec::new();
                while let Some(key) = args.next_pos() {
                    out.push(match reader.get_entry(key)? {
                        Some(entry) => format!("{key} = {} @{}", entry.value.escape_ascii(), entry.seq),
                        None => format!("{key} is not there"),
                    });
                }
                out.join("\n")
            }
            "scan" => {
                let reader = self.reader(args.take_key("at"))?;
                let reverse = args.take_key("order") == Some("reverse");
                let mut scan = reader.scan(range(&mut args));
                let mut out = Vec::new();
                while let Some(item) = if reverse { scan.next_back() } else { scan.next() } {
                    let (key, value) = item?;
                    out.push(format!("{}={}", key.escape_ascii(), value.escape_ascii()));
                }
                if out.is_empty() { "nothing".into() } else { out.join(" ") }
            }
            "snapshot" => {
                let snapshot = self.db()?.snapshot()?;
                let seq = snapshot.seq();
                self.snapshots.insert(args.next_pos().ok_or("snapshot NAME")?.into(), snapshot);
                format!("at {seq}")
            }
            "release" => {
                self.snapshots.remove(args.next_pos().ok_or("release NAME")?).ok_or("no such snapshot")?;
                String::new()
            }
            "flush" => {
                self.db()?.flush()?;
                self.levels()?
            }
            "compact" => {
                self.db()?.compact()?;
                self.levels()?
            }
            "maintain" => {
                let mut steps = 0;
                while self.db()?.maintain()? {
                    steps += 1;
                }
                let levels = self.levels()?;
                if steps == 0 { "nothing to do".into() } else { levels }
            }
            "checkpoint" => {
                let moved = self.db()?.checkpoint()?;
                let shown = |at: cairndb::Checkpoint| format!("WAL {} seq {}", at.wal, at.seq);
                format!("{} -> {}", shown(moved.before), shown(moved.after))
            }
            "levels" => self.levels()?,
            "files" => self.files()?,
            "inspect" => {
                let name = args.next_pos().ok_or("inspect FILE")?.parse()?;
                let mut out = Vec::new();
                cairndb::inspect(self.disk.open("script", name)?, name, &mut out)?;
                String::from_utf8(out)?
            }
            "verify" => {
                let verification = self.db()?.verify()?;
                if verification.ok() { "every promise holds".into() } else { format!("{verification:?}") }
            }
            other => return Err(format!("unknown command {other}").into()),
        };
        args.reject_next()?;
        Ok(out)
    }
}

fn run(name: &str) {
    let path = format!("{}/tests/scripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    goldenscript::run(&mut Script::default(), path).unwrap();
}

#[test]
fn first_steps() {
    run("first_steps");
}

#[test]
fn recovery() {
    run("recovery");
}

#[test]
fn bytes() {
    run("bytes");
}

#[test]
fn snapshots() {
    run("snapshots");
}

#[test]
fn range_deletes() {
    run("range_deletes");
}

#[test]
fn expiry() {
    run("expiry");
}

#[test]
fn levels() {
    run("levels");
}
