//! Scan: entries in order, printed in a format; a dump is a scan of everything.
//!
//! # Where it sits
//! Called by `main`; stands on the engine's scan and on the `format`s.

use std::ops::Bound;

use cairndb::{Entry, KeyRange};

use crate::args::{self, Target};
use crate::database::Database;
use crate::failure::{Failure, say};
use crate::format::{Layout, Writer};
use crate::human;
use crate::keys::literal;
use crate::output::Output;
use crate::progress::{Progress, Unit};

/// An entry of a scan, as the engine gives it.
type Found = cairndb::Result<(Vec<u8>, Entry)>;

pub(crate) fn scan(target: &Target, args: &args::Scan) -> Result<(), Failure> {
    let layout = args.form.layout(None)?;
    if args.keys_only && matches!(layout, Layout::Log) {
        return Err(Failure::told("--keys-only: a record of the log format always has a value"));
    }
    let range = range(args)?;
    let database = Database::read(target)?;
    let mut scan = database.keyspace.scan(range);
    let mut left = args.limit.unwrap_or(u64::MAX);
    let next = || {
        left = left.checked_sub(1)?;
        if args.reverse { scan.next_entry_back() } else { scan.next_entry() }
    };
    print("scanning", next, Writer::new(layout, args.keys_only))
}

pub(crate) fn dump(target: &Target, args: &args::Dump) -> Result<(), Failure> {
    let layout = args.form.layout(None)?;
    let database = Database::read(target)?;
    let mut scan = database.keyspace.scan(..);
    print("dumping", || scan.next_entry(), Writer::new(layout, false))
}

fn range(args: &args::Scan) -> Result<KeyRange, Failure> {
    let bytes = |key: &Option<_>| key.as_deref().map(|key| literal(key, &args.spelling)).transpose();
    if let Some(prefix) = bytes(&args.prefix)? {
        return Ok(KeyRange::prefix(prefix));
    }
    let (from, to) = (bytes(&args.from)?, bytes(&args.to)?);
    if let (Some(from), Some(to)) = (&from, &to)
        && from > to
    {
        return Err(Failure::hinted(
            "--from is beyond --to: nothing lies between them",
            "--from is the lower end, with --reverse too",
        ));
    }
    Ok((from.map_or(Bound::Unbounded, Bound::Included), to.map_or(Bound::Unbounded, Bound::Excluded)).into())
}

fn print(
    doing: &'static str,
    next: impl FnMut() -> Option<Found>,
    mut writer: Writer,
) -> Result<(), Failure> {
    let mut next = next;
    // On a terminal the entries themselves show how it is going.
    let progress =
        if Output::is_terminal() { Progress::silent() } else { Progress::start(doing, Unit::Entries) };
    let mut out = Output::new();
    let mut text = Vec::new();
    while let Some(found) = next() {
        let (key, entry) = found?;
        text.clear();
        writer.write(&key, &entry.value, entry.expires_at_ms, &mut text).map_err(Failure::told)?;
        out.bytes(&text)?;
        progress.advance(1);
    }
    out.flush()?;
    drop(progress);
    report(&writer);
    Ok(())
}

/// What a reader of the output would not see: that something is not in it.
fn report(writer: &Writer) {
    let count = writer.expiries_left_out();
    if count > 0 {
        let entries = human::counted(count, "entry expires", "entries expire");
        say(format_args!(
            "cairn: {entries}, which this format cannot say: written without; tsv and jsonl can"
        ));
    }
}
