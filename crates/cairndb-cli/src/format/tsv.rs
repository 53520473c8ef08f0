//! `tsv`: key, tab, value; and a tab and the expiry, if there is one.
//!
//! ```text
//! user:1 <TAB> alice
//! user:2 <TAB> two\nlines
//! session:9 <TAB> bob <TAB> 1790000000000      expires then, in milliseconds since 1970
//! ```
//! A field may hold any bytes, [`escape`](mod@crate::escape)d. A line has two fields or three, no fewer and no more.
//!
//! # Where it sits
//! One of the formats; called by `format`.

use super::Change;
use crate::escape::{escape, unescape};

/// Appends a line; without a value, the key alone.
pub(super) fn write(key: &[u8], value: Option<&[u8]>, expires_at_ms: Option<u64>, out: &mut Vec<u8>) {
    escape(key, out);
    if let Some(value) = value {
        out.push(b'\t');
        escape(value, out);
        if let Some(at) = expires_at_ms {
            out.extend_from_slice(format!("\t{at}").as_bytes());
        }
    }
    out.push(b'\n');
}

pub(super) fn parse(line: &[u8]) -> Result<Change, String> {
    let mut fields = line.split(|byte| *byte == b'\t');
    let (Some(key), Some(value)) = (fields.next(), fields.next()) else {
        return Err("no tab between key and value".into());
    };
    let expires_at_ms = fields.next().map(parse_expiry).transpose()?;
    if fields.next().is_some() {
        return Err("more than three fields; a tab in a key or value is written \\t".into());
    }
    Ok(Change::Put { key: unescape(key)?, value: unescape(value)?, expires_at_ms })
}

fn parse_expiry(field: &[u8]) -> Result<u64, String> {
    str::from_utf8(field)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            "the third field is not a time in milliseconds since 1970; a tab in a value is written \\t".into()
        })
}
