//! Values: what words spell, and how values are spelled.

use std::path::PathBuf;
use std::time::Duration;

use cairndb::Durability;

use crate::events::Wanted;
use crate::resp::request;
use crate::settings::{LogFormat, LogLevel};

/// What a setting is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A word, or none where it is empty.
    Text(String),
    /// How many; seconds too.
    Number(u64),
    /// A whole number, which may be negative.
    Integer(i64),
    /// How many bytes.
    Bytes(u64),
    /// Yes or no.
    Flag(bool),
}

impl Value {
    /// As people write it: `64MiB`.
    pub fn spelled(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            Value::Number(n) => n.to_string(),
            Value::Integer(n) => n.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::Bytes(len) => {
                let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
                let whole = |shift: &i32| *len > 0 && len.trailing_zeros() >= *shift as u32;
                match units.iter().find(|(shift, _)| whole(shift)) {
                    Some((shift, unit)) => format!("{}{unit}", len >> shift),
                    None => len.to_string(),
                }
            }
        }
    }

    /// As Redis tells it: bytes in figures, flags as `yes` and `no`.
    pub(crate) fn told(&self) -> String {
        match self {
            Value::Bytes(len) => len.to_string(),
            Value::Flag(flag) => if *flag { "yes" } else { "no" }.into(),
            other => other.spelled(),
        }
    }

    /// As it stands in a TOML file.
    pub(super) fn toml(&self) -> toml_edit::Value {
        match self {
            Value::Number(n) => i64::try_from(*n).unwrap_or(i64::MAX).into(),
            Value::Integer(n) => (*n).into(),
            Value::Flag(flag) => (*flag).into(),
            other => other.spelled().into(),
        }
    }
}

/// `64MiB` and the like; at least one byte.
pub(super) fn bytes(word: &str) -> Result<u64, String> {
    let wrong = || format!("{word:?} is not a number and B, KiB, MiB or GiB, as in 64MiB");
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = word.split_at(digits);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(1 << shift).filter(|&bytes| i64::try_from(bytes).is_ok());
    bytes.filter(|&bytes| bytes > 0).ok_or_else(wrong)
}

/// As [`bytes`], or none.
pub(super) fn bytes_if_any(word: &str) -> Result<u64, String> {
    if word == "0" { Ok(0) } else { bytes(word) }
}

/// At least one.
pub(super) fn count(word: &str) -> Result<usize, String> {
    let number = integer(word, 1, u32::MAX.into())?;
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

/// A whole number; what else is told in Redis's words.
pub(super) fn integer(word: &str, least: i64, most: i64) -> Result<i64, String> {
    let n = request::integer(word.as_bytes()).ok_or("argument couldn't be parsed into an integer")?;
    match (least..=most).contains(&n) {
        true => Ok(n),
        false => Err(format!("argument must be between {least} and {most} inclusive")),
    }
}

pub(super) fn flag(word: &str) -> Result<bool, String> {
    match word {
        "true" | "yes" => Ok(true),
        "false" | "no" => Ok(false),
        _ => Err("argument must be 'yes' or 'no'".into()),
    }
}

/// Seconds; `None` for 0.
pub(super) fn time(word: &str) -> Result<Option<Duration>, String> {
    let seconds = integer(word, 0, i32::MAX.into())?;
    Ok(u64::try_from(seconds).ok().filter(|&seconds| seconds > 0).map(Duration::from_secs))
}

pub(super) fn seconds(time: Option<Duration>) -> Value {
    Value::Number(time.map_or(0, |time| time.as_secs()))
}

/// `None` for the empty word.
pub(super) fn some(word: &str) -> Result<Option<String>, String> {
    Ok(Some(word.to_string()).filter(|word| !word.is_empty()))
}

pub(super) fn path_or_none(path: &Option<PathBuf>) -> Value {
    Value::Text(path.as_ref().map(|path| path.display().to_string()).unwrap_or_default())
}

pub(super) fn path(word: &str) -> Result<PathBuf, String> {
    if word.is_empty() { Err("a path must be named".into()) } else { Ok(word.into()) }
}

/// A host and a port; whether it can be listened on is found out by listening.
pub(super) fn place(word: &str) -> Result<String, String> {
    let (host, port) = word.rsplit_once(':').unwrap_or_default();
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(format!("{word:?} is not an address and a port, as in 127.0.0.1:6379"));
    }
    Ok(word.into())
}

/// As [`place`], or nothing.
pub(super) fn place_if_any(word: &str) -> Result<String, String> {
    if word.is_empty() { Ok(String::new()) } else { place(word) }
}

/// Names with commas between them.
pub(super) fn names(word: &str) -> Result<Vec<String>, String> {
    Ok(word.split(',').map(str::trim).filter(|name| !name.is_empty()).map(String::from).collect())
}

pub(super) fn events(word: &str) -> Result<String, String> {
    let letters = Wanted::parse(word.as_bytes()).map(|wanted| wanted.letters());
    letters.ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into())
}

pub(super) fn durability(word: &str) -> Result<Durability, String> {
    one_of(word, &[Durability::Sync, Durability::Os, Durability::Buffered], durability_word)
}

pub(super) fn durability_word(level: Durability) -> &'static str {
    match level {
        Durability::Sync => "sync",
        Durability::Os => "os",
        Durability::Buffered => "buffered",
    }
}

pub(super) fn log_format(word: &str) -> Result<LogFormat, String> {
    one_of(word, &[LogFormat::Text, LogFormat::Json], log_format_word)
}

pub(super) fn log_format_word(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    }
}

pub(super) fn log_level(word: &str) -> Result<LogLevel, String> {
    one_of(word, &[LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug], log_level_word)
}

pub(super) fn log_level_word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    }
}

/// What a word stands for, of those that there are.
fn one_of<T: Copy>(word: &str, all: &[T], word_of: impl Fn(T) -> &'static str) -> Result<T, String> {
    let found = all.iter().find(|one| word_of(**one) == word).copied();
    found.ok_or_else(|| {
        let words: Vec<_> = all.iter().map(|one| word_of(*one)).collect();
        format!("{word:?} is none of {}", words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_a_number_and_a_unit() {
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("7B"), Ok(7));
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        for wrong in
            ["", "MiB", "64 MiB", "64MB", "-1", "1.5GiB", "0", "9223372036854775808", "99999999999GiB"]
        {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        for len in [1, 1023, 1 << 10, 1536, 3 << 20, 5 << 30, 7 << 40] {
            assert_eq!(bytes(&Value::Bytes(len).spelled()), Ok(len));
        }
        assert_eq!(Value::Bytes(256 << 20).spelled(), "256MiB");
    }

    #[test]
    fn a_place_is_an_address_and_a_port() {
        for right in ["127.0.0.1:6379", "localhost:0", "[::1]:6379"] {
            assert_eq!(place(right), Ok(right.into()));
        }
        for wrong in ["", "6379", ":6379", "localhost", "localhost:", "localhost:65536", "localhost:redis"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
