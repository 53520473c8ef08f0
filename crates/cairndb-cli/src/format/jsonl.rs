//! `jsonl`: one JSON object a line.
//!
//! ```text
//! {"key":"a","value":"1"}
//! {"key":{"b64":"/wA="},"value":"bytes that are not UTF-8 stand in base64"}
//! {"key":"b","value":"2","expires_at_ms":1790000000000}
//! ```
//! Any JSON that says the same is read too, with its members in any order. A member by another name is an error:
//! better than storing half of what somebody meant.
//!
//! # Where it sits
//! One of the formats; called by `format`. `serde_json` knows JSON's escapes.

use serde_json::{Map, Value};

use super::{Change, base64};

/// Appends a line; without a value, an object with the key alone.
pub(super) fn write(key: &[u8], value: Option<&[u8]>, expires_at_ms: Option<u64>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"key\":");
    write_bytes(key, out);
    if let Some(value) = value {
        out.extend_from_slice(b",\"value\":");
        write_bytes(value, out);
        if let Some(at) = expires_at_ms {
            out.extend_from_slice(format!(",\"expires_at_ms\":{at}").as_bytes());
        }
    }
    out.extend_from_slice(b"}\n");
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    match str::from_utf8(bytes) {
        Ok(text) => out.extend_from_slice(Value::from(text).to_string().as_bytes()),
        Err(_) => {
            out.extend_from_slice(b"{\"b64\":\"");
            base64::encode(bytes, out);
            out.extend_from_slice(b"\"}");
        }
    }
}

pub(super) fn parse(line: &[u8]) -> Result<Change, String> {
    let mut object: Map<String, Value> =
        serde_json::from_slice(line).map_err(|error| format!("not a JSON object: {error}"))?;
    let key = take_bytes(&mut object, "key")?;
    let value = take_bytes(&mut object, "value")?;
    let expires_at_ms = object
        .remove("expires_at_ms")
        .map(|at| at.as_u64().ok_or("\"expires_at_ms\" is not a time in milliseconds since 1970"))
        .transpose()?;
    match object.keys().next() {
        None => Ok(Change::Put { key, value, expires_at_ms }),
        Some(other) => Err(format!("there is no member {other:?}; they are key, value and expires_at_ms")),
    }
}

fn take_bytes(object: &mut Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    match object.remove(name) {
        Some(Value::String(text)) => Ok(text.into_bytes()),
        Some(Value::Object(field)) if field.len() == 1 => match field.get("b64") {
            Some(Value::String(text)) => base64::decode(text.as_bytes())
                .ok_or_else(|| format!("{name:?} is not base64, with its padding")),
            _ => Err(format!("{name:?} is neither a string nor {{\"b64\":\"...\"}}")),
        },
        Some(_) => Err(format!("{name:?} is neither a string nor {{\"b64\":\"...\"}}")),
        None => Err(format!("no {name:?}")),
    }
}
