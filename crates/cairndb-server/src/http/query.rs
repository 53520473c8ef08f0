//! Query: the path's key and the parameters behind it, as bytes.
//!
//! Only percent-encoding is undone, as RFC 3986 has it: a plus is a plus. A parameter that the route does not know is
//! refused rather than passed over, for a limit with a slip in its name would be no limit.

use axum::http::Uri;
use serde_json::Value;

use super::problem::{BAD_KEY, BAD_PARAMETER, Problem};
use crate::store::DATABASES;

/// The longest key, in bytes.
pub(crate) const KEY_LEN_MAX: usize = 65_535;

/// The parameters of one request.
pub(crate) struct Query(Vec<(&'static str, Vec<u8>)>);

impl Query {
    /// The parameters, all of them among `known`.
    pub(crate) fn of(uri: &Uri, known: &[&'static str]) -> Result<Query, Problem> {
        let mut parameters = Vec::new();
        for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = known.iter().find(|known| **known == name).ok_or_else(|| {
                refuse(name, format!("{name} is no parameter here; there are: {}", known.join(", ")))
            })?;
            if parameters.iter().any(|(given, _)| given == name) {
                return Err(refuse(name, format!("{name} is given twice")));
            }
            let value = decode(value.as_bytes())
                .ok_or_else(|| refuse(name, format!("{name} has a % without two hexadecimal digits")))?;
            parameters.push((*name, value));
        }
        Ok(Query(parameters))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_slice())
    }

    /// What `read` makes of a parameter that is there; where it makes nothing of it, `form` is what it should have been.
    pub(crate) fn read<T>(
        &self,
        name: &'static str,
        form: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let value = std::str::from_utf8(value).ok().and_then(read);
        value.map(Some).ok_or_else(|| refuse(name, format!("{name} must be {form}")))
    }

    /// The database that is meant.
    pub(crate) fn database(&self) -> Result<usize, Problem> {
        let read = |word: &str| word.parse().ok().filter(|&n| n < DATABASES);
        Ok(self.read("db", "a database's number, 0 to 15", read)?.unwrap_or(0))
    }

    /// A switch: there or `true`, absent or `false`.
    pub(crate) fn switch(&self, name: &'static str, otherwise: bool) -> Result<bool, Problem> {
        let read = |word: &str| match word {
            "" | "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        Ok(self.read(name, "true or false", read)?.unwrap_or(otherwise))
    }
}

/// A parameter that cannot be used.
pub(crate) fn refuse(name: &str, detail: String) -> Problem {
    Problem::new(&BAD_PARAMETER, detail).member("parameter", Value::from(name))
}

/// The key that a path names: everything behind `prefix`, dots and slashes as they stand.
pub(crate) fn key_of(uri: &Uri, prefix: &str) -> Result<Vec<u8>, Problem> {
    let encoded = uri.path().strip_prefix(prefix).unwrap_or_default();
    let key = decode(encoded.as_bytes())
        .ok_or_else(|| Problem::new(&BAD_KEY, "the key has a % without two hexadecimal digits"))?;
    check_key(&key)?;
    Ok(key)
}

/// Refuses what cannot be a key here.
pub(crate) fn check_key(key: &[u8]) -> Result<(), Problem> {
    match key.len() {
        0 => Err(Problem::new(&BAD_KEY, "the key is empty")),
        len if len > KEY_LEN_MAX => {
            let detail = format!("the key is {len} bytes long; the limit is {KEY_LEN_MAX}");
            Err(Problem::new(&BAD_KEY, detail))
        }
        _ => Ok(()),
    }
}

/// The bytes that percent-encoded ones stand for.
fn decode(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (&[high, low], tail) = rest.split_first_chunk()?;
        let digit = |digit: u8| char::from(digit).to_digit(16);
        decoded.push((digit(high)? * 16 + digit(low)?) as u8);
        rest = tail;
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_percent_encoding_is_undone() {
        assert_eq!(decode(b"a+b%2Fc/../%00%fF"), Some(b"a+b/c/../\x00\xff".to_vec()));
        for wrong in ["%", "%4", "%zz", "%+1", "a%-1"] {
            assert_eq!(decode(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn parameters_are_known_and_given_once() {
        let of = |text: &str| Query::of(&text.parse().expect("it is a URI"), &["db", "ttl"]);
        let query = of("/x?db=3&ttl=1%73").unwrap_or_else(|_| panic!("both are known"));
        assert_eq!(query.get("ttl"), Some(&b"1s"[..]));
        assert!(matches!(query.database(), Ok(3)));
        for wrong in ["/x?dv=3", "/x?db=1&db=2", "/x?ttl=%"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        for wrong in ["/x?db=16", "/x?db=-1", "/x?db=", "/x?db=%ff"] {
            assert!(of(wrong).is_ok_and(|query| query.database().is_err()), "{wrong}");
        }
    }
}
