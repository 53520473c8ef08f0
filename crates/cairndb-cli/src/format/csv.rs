//! `csv`: fields between delimiters, one of them the key, the rest of the line the value.
//!
//! ```text
//! 0041;LATIN CAPITAL LETTER A;Lu;0;L        delimiter ; key field 1: key 0041, value LATIN CAPITAL LETTER A;Lu;0;L
//!                                           key field 3: key Lu, value 0041;LATIN CAPITAL LETTER A;0;L
//! ```
//! Every byte stands for itself: there are no escapes, and quotes mean nothing. So a plain data file loads as it is.
//! The value is the line without the key and without one delimiter beside it.
//!
//! The price: an entry is written only if its line reads back as the same. A key that holds the delimiter, a key or a
//! value that holds a newline, and a value that ends with a carriage return are errors that say so.
//!
//! # Where it sits
//! One of the formats; called by `format`.
//!
//! # Why this way
//! With escapes, a plain file's backslashes would change on the way in; with quotes, its quotes would. Whoever wants
//! all bytes has tsv and jsonl.

use super::{Change, shown};

/// Appends a line, the key first; without a value, the key alone. Nothing is appended on an error.
pub(super) fn write(
    key: &[u8],
    value: Option<&[u8]>,
    delimiter: u8,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let refuse = |what: &str| {
        Err(format!("csv cannot carry the entry of key {}: {what}; tsv and jsonl can", shown(key)))
    };
    if key.contains(&delimiter) {
        return refuse("the key holds the delimiter");
    }
    if key.contains(&b'\n') || value.is_some_and(|value| value.contains(&b'\n')) {
        return refuse("it holds a newline");
    }
    if value.unwrap_or(key).ends_with(b"\r") {
        return refuse("its line would end with a carriage return");
    }
    out.extend_from_slice(key);
    if let Some(value) = value {
        out.push(delimiter);
        out.extend_from_slice(value);
    }
    out.push(b'\n');
    Ok(())
}

/// Requires: `key_field >= 1`.
pub(super) fn parse(line: &[u8], delimiter: u8, key_field: usize) -> Result<Change, String> {
    let (start, end) = field(line, delimiter, key_field)?;
    let value = match start {
        0 if end == line.len() => {
            return Err(format!("no {} in the line; --delimiter names another", name(delimiter)));
        }
        0 => line[end + 1..].to_vec(),
        _ => [&line[..start - 1], &line[end..]].concat(),
    };
    Ok(Change::Put { key: line[start..end].to_vec(), value, expires_at_ms: None })
}

/// Where the field with this number, from 1, starts and ends.
fn field(line: &[u8], delimiter: u8, number: usize) -> Result<(usize, usize), String> {
    let mut start = 0;
    for found in 1.. {
        let end = line[start..].iter().position(|byte| *byte == delimiter).map(|len| start + len);
        match end {
            _ if found == number => return Ok((start, end.unwrap_or(line.len()))),
            Some(end) => start = end + 1,
            None => {
                return Err(format!("the line has {found} fields, and --key-field asks for number {number}"));
            }
        }
    }
    unreachable!("the loop ends with the line")
}

fn name(delimiter: u8) -> String {
    match delimiter {
        b'\t' => "tab".into(),
        _ => format!("'{}'", char::from(delimiter).escape_default()),
    }
}
