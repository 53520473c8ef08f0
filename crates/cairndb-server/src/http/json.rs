//! JSON: keys and values in it: a string where they are text, `{"b64": "..."}` where they are not.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Bytes of a key or a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bytes<'a>(pub(crate) Cow<'a, [u8]>);

impl<'a> From<&'a [u8]> for Bytes<'a> {
    fn from(bytes: &'a [u8]) -> Bytes<'a> {
        Bytes(Cow::Borrowed(bytes))
    }
}

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut object = serializer.serialize_map(Some(1))?;
                object.serialize_entry("b64", &STANDARD.encode(&self.0))?;
                object.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Bytes<'static> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes<'static>, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or an object whose only member is b64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
                Ok(text.as_bytes().to_vec())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Vec<u8>, A::Error> {
                let wrong = || de::Error::custom("bytes are a string, or an object whose only member is b64");
                let (name, encoded) = object.next_entry::<Cow<'_, str>, Cow<'_, str>>()?.ok_or_else(wrong)?;
                if name != "b64" || object.next_key::<Cow<'_, str>>()?.is_some() {
                    return Err(wrong());
                }
                STANDARD
                    .decode(encoded.as_bytes())
                    .map_err(|error| de::Error::custom(format!("b64: {error}")))
            }
        }

        deserializer.deserialize_any(Either).map(|bytes| Bytes(Cow::Owned(bytes)))
    }
}

/// Bytes as a word of a query.
pub(crate) fn to_word(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What [`to_word`] was made of.
pub(crate) fn of_word(word: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(word).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_whatever_they_are() {
        for bytes in [&b""[..], b"text", "\u{1F5FB}\"\\\0".as_bytes(), b"\xff\x00", &[0xC3]] {
            let json = serde_json::to_string(&Bytes::from(bytes)).expect("it is JSON");
            assert_eq!(json.starts_with('{'), std::str::from_utf8(bytes).is_err(), "{json}");
            let back: Bytes<'static> = serde_json::from_str(&json).expect("it is bytes");
            assert_eq!(&*back.0, bytes);
            assert_eq!(of_word(&to_word(bytes)).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for wrong in [
            "1",
            "null",
            "[]",
            "{}",
            "{\"b64\":1}",
            "{\"b64\":\"?\"}",
            "{\"x\":\"\"}",
            "{\"b64\":\"\",\"x\":\"\"}",
        ] {
            assert!(serde_json::from_str::<Bytes<'static>>(wrong).is_err(), "{wrong}");
        }
    }
}
