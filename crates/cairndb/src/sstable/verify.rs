//! Verify: walks a whole table and notes every promise that it breaks.

use xxhash_rust::xxh3::Xxh3;

use super::TableCounts;
use super::block::{Block, BlockCursor, BlockHandle, read_block};
use super::footer::FOOTER_LEN;
use super::reader::{Keep, Table, decode_bounds};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::files::{len_of, read_at};
use crate::key::{EntryRef, SeqNo, compare, hash_key};

/// How much of the file is read at once for its hash, in bytes.
const READ_LEN: usize = 1 << 20;

/// A table whose blocks are all bad is noted block by block up to here.
pub(crate) const PROBLEMS_MAX: usize = 100;

/// What a walk over the entries has seen.
#[derive(Default)]
struct Seen {
    last: Option<(Vec<u8>, SeqNo)>,
    counts: TableCounts,
}

/// Everything that is wrong with `table`; nothing if nothing is.
pub(crate) fn problems_of(table: &Table) -> Vec<Error> {
    let mut problems = Vec::new();
    if let Err(error) = verify(table, &mut problems) {
        problems.push(error);
    }
    problems.truncate(PROBLEMS_MAX);
    problems
}

fn verify(table: &Table, problems: &mut Vec<Error>) -> Result<()> {
    let name = table.name();
    let footer = table.footer()?;
    let file = table.file()?;
    let len = len_of(file.as_ref(), name, "verify.len")?;
    if len != table.meta.len {
        let what = format!("the file is {len} bytes long, and the manifest says {}", table.meta.len);
        problems.push(Error::corrupt(name, len.min(table.meta.len), what));
    }
    note(problems, check_hash(table));
    note(problems, table.range_deletes().map(drop));
    note(problems, check_bounds(table, footer.bounds));
    if table.meta.counts.entries == 0 {
        return Ok(());
    }
    let index = read_block(file.as_ref(), table.meta.len, name, table.place()?, footer.index, "verify.read")?;
    let mut index = BlockCursor::new(Block::new(index, 0, name, footer.index.offset)?.into());
    index.check_restarts()?;
    index.seek_first()?;
    let mut seen = Seen::default();
    while let Some(separator) = index.entry() {
        note(problems, check_block(table, separator, &mut seen));
        index.next()?;
    }
    if problems.is_empty() {
        note(problems, check_counts(table, seen, footer.index.offset));
    }
    Ok(())
}

fn note(problems: &mut Vec<Error>, result: Result<()>) {
    problems.extend(result.err().filter(|_| problems.len() < PROBLEMS_MAX));
}

/// The hash of all bytes before the footer is the one that footer and manifest hold.
fn check_hash(table: &Table) -> Result<()> {
    let (file, name) = (table.file()?, table.name());
    let end = table.meta.len.saturating_sub(FOOTER_LEN as u64);
    let (mut hasher, mut buffer, mut offset) = (Xxh3::new(), vec![0; READ_LEN], 0);
    while offset < end {
        let wanted = (end - offset).min(READ_LEN as u64) as usize;
        let read = read_at(file.as_ref(), name, offset, &mut buffer[..wanted], "verify.read")?;
        if read == 0 {
            return Err(Error::corrupt(
                name,
                offset,
                "the table ends here, and the manifest says it goes on",
            ));
        }
        hasher.update(&buffer[..read]);
        offset += read as u64;
    }
    if hasher.digest() != table.meta.hash {
        return Err(Error::corrupt(name, 0, "the file does not have the hash that the manifest recorded"));
    }
    Ok(())
}

fn check_bounds(table: &Table, handle: BlockHandle) -> Result<()> {
    let bytes = read_block(
        table.file()?.as_ref(),
        table.meta.len,
        table.name(),
        table.place()?,
        handle,
        "verify.read",
    )?;
    if decode_bounds(&bytes) != Some((table.meta.start.clone(), table.meta.end.clone())) {
        return Err(Error::corrupt(
            table.name(),
            handle.offset,
            "the bounds are not those that the manifest recorded",
        ));
    }
    Ok(())
}

/// The block that a separator leads to: its entries are in order, within the separator, and in the filter.
fn check_block(table: &Table, separator: EntryRef<'_>, seen: &mut Seen) -> Result<()> {
    let handle = BlockHandle::decode_within(separator.value, table.meta.len)
        .ok_or_else(|| Error::corrupt(table.name(), 0, "the index points nowhere"))?;
    let corrupt = |what: &str| Error::corrupt(table.name(), handle.offset, what);
    let mut cursor = BlockCursor::new(table.data_block(handle, Keep::Never)?);
    cursor.check_restarts()?;
    cursor.seek_first()?;
    while let Some(entry) = cursor.entry() {
        let order = (entry.key, entry.seq);
        if seen.last.as_ref().is_some_and(|(key, seq)| compare((key, *seq), order).is_ge()) {
            return Err(corrupt("the entries are not in order"));
        }
        if compare(order, (separator.key, separator.seq)).is_gt() {
            return Err(corrupt("an entry lies behind its block's separator"));
        }
        let counts = &table.meta.counts;
        let within = table.meta.start.as_slice() <= entry.key && entry.key < table.meta.end.as_slice();
        if !within || entry.seq < counts.seq_min || entry.seq > counts.seq_max {
            return Err(corrupt("an entry lies outside the table's bounds"));
        }
        if !table.may_contain(hash_key(entry.key))? {
            return Err(corrupt("the filter denies a key that is there"));
        }
        seen.count(entry);
        cursor.next()?;
    }
    Ok(())
}

/// The footer counts what is there. `seen` has counted the entries.
fn check_counts(table: &Table, mut seen: Seen, offset: u64) -> Result<()> {
    if let Some(deletes) = table.range_deletes()? {
        seen.counts.count_range_deletes(&deletes);
    }
    if seen.counts != table.meta.counts {
        return Err(Error::corrupt(
            table.name(),
            offset,
            "what the table holds is not what the footer counts",
        ));
    }
    Ok(())
}

impl Seen {
    fn count(&mut self, entry: EntryRef<'_>) {
        let is_older = self.last.as_ref().is_some_and(|(key, _)| key == entry.key);
        self.counts.count(entry, is_older);
        self.last = Some((entry.key.to_vec(), entry.seq));
    }
}
