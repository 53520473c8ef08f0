//! Load: the entries of a file, stored in batches.
//!
//! A batch is atomic, so after a crash or an error the file's first lines are stored and the rest is not: loading can
//! be taken up where it stopped. `--ack` tells where that is while it happens: a number on standard output says that
//! the line of that number, and all before it, are as durable as `--durability` asks for.
//!
//! # Where it sits
//! Called by `main`; stands on a `format`'s reader and on the engine's `write`.
//!
//! # Invariants
//! - I1. The changes are stored in the file's order, so that of two lines with one key the later wins.
//! - I2. An acknowledged line, and every line before it, is stored.
//! - I3. Exit 0 means that the whole file is stored, as durable as `--durability` asks for.
//!
//! # Why this way
//! Without `--ack` nobody is told of a batch, so nobody has to wait for the disk: all but the last are written as
//! `os`, and the last one's sync covers those before it. That is why a full batch is written only when the next
//! change is at hand: the last batch is never empty.
//! An acknowledgement that nobody reads any more (a closed pipe) does not stop the load; what was asked for was to
//! store the file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use cairndb::{Batch, Durability};

use crate::args::{self, Target};
use crate::database::Database;
use crate::failure::{Failure, say};
use crate::format::{Change, Reader};
use crate::human;
use crate::output::Output;
use crate::progress::{Progress, Unit};

/// A batch also ends here, so that large values do not make it larger than memory has room for.
const BATCH_LEN_MAX: usize = 1 << 20;

pub(crate) fn load(target: &Target, args: &args::Load) -> Result<(), Failure> {
    let layout = args.form.layout(args.key_field)?;
    let mut reader = Reader::new(layout, open(&args.file)?);
    let begun = Instant::now();
    let mut loader = Loader {
        database: Database::make(target)?,
        keyspace: target.keyspace,
        durability: target.durability(),
        batch_count_max: args.batch as usize,
        acks: args.ack.then(Output::new),
        batch: Batch::new(),
        line: 0,
        stored: 0,
    };
    let outcome = loader.take_all(&mut reader);
    let line = reader.line();
    drop(reader); // and with it the progress, before anything is said
    let count = loader.stored;
    let stored = human::counted(count, "entry", "entries");
    match outcome {
        Ok(()) => loader.database.close()?,
        Err(Stopped::Line(what)) => {
            loader.database.close()?;
            let at = format!("{}:{line}: {what}", name(&args.file));
            let hint = match count {
                0 => "nothing was stored".into(),
                _ => format!("{stored} stored, all from the lines before this one"),
            };
            return Err(Failure::hinted(at, hint));
        }
        Err(Stopped::Write(failure)) => {
            say(format_args!("cairn: {}: writing failed, with {stored} written before", name(&args.file)));
            return Err(failure);
        }
    }
    if args.ack { Ok(()) } else { summary(&stored, begun) }
}

fn summary(stored: &str, begun: Instant) -> Result<(), Failure> {
    let mut out = Output::new();
    out.line(format_args!("{stored} stored in {}", human::time(begun.elapsed())))?;
    out.flush()
}

/// Why a load ends before the file does.
enum Stopped {
    /// A line that cannot be read.
    Line(String),
    /// A batch that could not be written.
    Write(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Stopped {
        Stopped::Write(failure)
    }
}

/// A load under way.
struct Loader {
    database: Database,
    keyspace: u8,
    durability: Durability,
    batch_count_max: usize,
    /// Where to acknowledge batches, if that was asked for and somebody still reads it.
    acks: Option<Output>,
    /// What is read and not yet written, and the number of its last line.
    batch: Batch,
    line: u64,
    /// How many entries are written.
    stored: u64,
}

impl Loader {
    /// Stores everything up to the file's end, or up to a line that cannot be read.
    fn take_all(&mut self, reader: &mut Reader) -> Result<(), Stopped> {
        loop {
            match reader.next() {
                Ok(Some(change)) => self.take(change, reader.line())?,
                Ok(None) => return Ok(self.write(self.durability)?),
                Err(what) => {
                    self.write(self.durability)?;
                    return Err(Stopped::Line(what));
                }
            }
        }
    }

    fn take(&mut self, change: Change, line: u64) -> Result<(), Failure> {
        if self.batch.len() >= self.batch_count_max || self.batch.encoded_len() + change.len() > BATCH_LEN_MAX
        {
            self.write(if self.acks.is_some() {
                self.durability
            } else {
                self.durability.min(Durability::Os)
            })?;
        }
        if self.batch.is_empty() {
            self.batch.keyspace(self.keyspace);
        }
        match change {
            Change::Put { key, value, expires_at_ms: None } => self.batch.put(key, value),
            Change::Put { key, value, expires_at_ms: Some(at) } => self.batch.put_with_expiry(key, value, at),
            Change::Delete { key } => self.batch.delete(key),
        };
        self.line = line;
        // Whoever reads acknowledgements may be waiting for this one before sending the next line.
        if self.acks.is_some() && self.batch.len() >= self.batch_count_max {
            self.write(self.durability)?;
        }
        Ok(())
    }

    fn write(&mut self, durability: Durability) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut batch = std::mem::take(&mut self.batch);
        let count = batch.len() as u64;
        batch.durability(durability);
        self.database.db.write(batch)?;
        self.stored += count;
        self.acknowledge()
    }

    /// Says how far it is stored (I2).
    fn acknowledge(&mut self) -> Result<(), Failure> {
        let Some(acks) = &mut self.acks else { return Ok(()) };
        match acks.line(self.line).and_then(|()| acks.flush()) {
            Err(Failure::ClosedPipe) => {
                self.acks = None;
                Ok(())
            }
            other => other,
        }
    }
}

fn name(path: &Path) -> String {
    if is_standard_input(path) { "standard input".into() } else { path.display().to_string() }
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str().as_bytes() == b"-"
}

/// The bytes to load, which show on the terminal as they are read.
fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    let (source, len): (Box<dyn Read>, _) = if is_standard_input(path) {
        (Box::new(io::stdin().lock()), None)
    } else {
        let file = File::open(path).map_err(|error| Failure::file(path, error))?;
        let found = file.metadata().map_err(|error| Failure::file(path, error))?;
        if found.is_dir() {
            return Err(Failure::file(path, "a directory, not a file"));
        }
        (Box::new(file), found.is_file().then_some(found.len()))
    };
    Ok(Box::new(Counted { source, progress: Progress::start("loading", Unit::Bytes(len)) }))
}

/// Bytes that are counted as they pass.
struct Counted {
    source: Box<dyn Read>,
    progress: Progress,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buf)?;
        self.progress.advance(count as u64);
        Ok(count)
    }
}
