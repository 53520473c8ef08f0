//! Format: entries as text, out and in again.
//!
//! `scan` and `dump` write what `load` reads, in one of four ways:
//!
//! | format | an entry is | any bytes | expiry | deletes |
//! |---|---|---|---|---|
//! | [`tsv`] | a line: key, tab, value, and a tab and `expires_at_ms` if it expires | escaped | kept | - |
//! | [`csv`] | a line: one field is the key, the rest of the line the value, verbatim | or an error | left out | - |
//! | [`jsonl`] | a line: one JSON object | as base64 | kept | - |
//! | `log` | a binary record of the roadmap's: FORMAT.md says its bytes | verbatim | left out | read |
//!
//! A line ends at `\n` or at `\r\n`; the last one need not. What would not come back is never written: it is escaped,
//! or an error that names the key, or, for an expiry, counted and reported.
//!
//! # Where it sits
//! Called by `scan`, `load` and `demo`; the log's bytes are the engine's `roadmap_log`. Knows nothing of databases.
//!
//! # Invariants
//! - I1. What a [`Writer`] accepted, a [`Reader`] of the same layout gives back: key, value, and, where the format
//!   carries it, expiry.
//!
//! # When things break
//! A line that cannot be read is an error that says why; the caller knows the file, and [`Reader::line`] the place.

mod base64;
mod csv;
mod jsonl;
mod tsv;

use std::io::{self, BufRead, BufReader, Read};

use cairndb::roadmap_log::{self, LogEntry, LogReader};
use clap::ValueEnum;

use crate::escape::escape;

/// The formats by the names that `--format` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Key, tab, value; with escapes
    Tsv,
    /// Fields between delimiters; without escapes
    Csv,
    /// A JSON object a line
    Jsonl,
    /// The roadmap's binary log
    Log,
}

/// A format with what it needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    Tsv,
    Csv {
        /// The byte between two fields.
        delimiter: u8,
        /// Which field is the key when reading, counted from 1. Writing puts the key first.
        key_field: usize,
    },
    Jsonl,
    Log,
}

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Put { key: Vec<u8>, value: Vec<u8>, expires_at_ms: Option<u64> },
    Delete { key: Vec<u8> },
}

impl Change {
    /// The bytes of key and value.
    pub(crate) fn len(&self) -> usize {
        match self {
            Change::Put { key, value, .. } => key.len() + value.len(),
            Change::Delete { key } => key.len(),
        }
    }
}

/// No line is longer: the largest value that can be stored under the default budget, if every byte of it is escaped.
const LINE_LEN_MAX: u64 = 512 << 20;

/// Reads changes, one after the other.
pub(crate) struct Reader {
    source: Source,
    line: u64,
}

enum Source {
    Lines { layout: Layout, from: BufReader<Box<dyn Read>>, line: Vec<u8> },
    Log(LogReader<BufReader<Box<dyn Read>>>),
}

impl Reader {
    pub(crate) fn new(layout: Layout, from: Box<dyn Read>) -> Reader {
        let from = BufReader::with_capacity(256 << 10, from);
        let source = match layout {
            Layout::Log => Source::Log(LogReader::new(from)),
            _ => Source::Lines { layout, from, line: Vec::new() },
        };
        Reader { source, line: 0 }
    }

    /// The number of the line (in a log: the record) that was read last, or that is wrong: from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// The next change, `None` at the end, or why the line cannot be read.
    pub(crate) fn next(&mut self) -> Result<Option<Change>, String> {
        self.line += 1;
        match &mut self.source {
            Source::Log(log) => read_record(log),
            Source::Lines { layout, from, line } => match read_line(from, line)? {
                true => parse(*layout, line).map(Some),
                false => Ok(None),
            },
        }
    }
}

/// The log's next record. A torn one at the end is an error here: a load takes all of its file.
fn read_record(log: &mut LogReader<impl Read>) -> Result<Option<Change>, String> {
    let Some(LogEntry { key, value, .. }) = log.next().map_err(|error| error.to_string())? else {
        return match log.torn_bytes() {
            0 => Ok(None),
            len => Err(format!("the record is torn: it is not whole, and its {len} bytes are the last")),
        };
    };
    Ok(Some(match value {
        Some(value) => Change::Put { key, value, expires_at_ms: None },
        None => Change::Delete { key },
    }))
}

fn parse(layout: Layout, line: &[u8]) -> Result<Change, String> {
    match layout {
        Layout::Tsv => tsv::parse(line),
        Layout::Csv { delimiter, key_field } => csv::parse(line, delimiter, key_field),
        Layout::Jsonl => jsonl::parse(line),
        Layout::Log => unreachable!("a log has no lines"),
    }
}

/// Replaces `line` by the next one, without its end; `false` if there is none.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, String> {
    line.clear();
    let count =
        from.take(LINE_LEN_MAX).read_until(b'\n', line).map_err(|error: io::Error| error.to_string())?;
    if line.pop_if(|byte| *byte == b'\n').is_some() {
        line.pop_if(|byte| *byte == b'\r');
    } else if count as u64 == LINE_LEN_MAX {
        return Err("the line is longer than 512 MiB".into());
    }
    Ok(count > 0)
}

/// Turns entries into bytes of a format.
pub(crate) struct Writer {
    layout: Layout,
    keys_only: bool,
    /// Entries that would expire, written by a format that cannot say so.
    expiries_left_out: u64,
}

impl Writer {
    pub(crate) fn new(layout: Layout, keys_only: bool) -> Writer {
        Writer { layout, keys_only, expiries_left_out: 0 }
    }

    /// Appends one entry to `out`, or says why it cannot be written so.
    pub(crate) fn write(
        &mut self,
        key: &[u8],
        value: &[u8],
        expires_at_ms: Option<u64>,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let value = if self.keys_only { None } else { Some(value) };
        match self.layout {
            Layout::Tsv => tsv::write(key, value, expires_at_ms, out),
            Layout::Csv { delimiter, .. } => csv::write(key, value, delimiter, out)?,
            Layout::Jsonl => jsonl::write(key, value, expires_at_ms, out),
            Layout::Log => roadmap_log::encode_put(key, value.unwrap_or_default(), out),
        }
        if expires_at_ms.is_some() && matches!(self.layout, Layout::Csv { .. } | Layout::Log) {
            self.expiries_left_out += 1;
        }
        Ok(())
    }

    /// How many expiries the format could not carry.
    pub(crate) fn expiries_left_out(&self) -> u64 {
        self.expiries_left_out
    }
}

/// A key as it can stand in a message: escaped, and not too long.
pub(crate) fn shown(key: &[u8]) -> String {
    const SHOWN_LEN_MAX: usize = 60;
    let mut text = Vec::new();
    escape(&key[..key.len().min(SHOWN_LEN_MAX)], &mut text);
    if key.len() > SHOWN_LEN_MAX {
        text.extend_from_slice(b"...");
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests;
