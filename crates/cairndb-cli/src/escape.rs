//! Escape: any bytes as text on one line, and back.
//!
//! ```text
//! \t tab    \n newline    \r carriage return    \\ backslash    \xNN the byte with these two hexadecimal digits
//! ```
//! Text in UTF-8 stays as it is; control characters and what is not UTF-8 are escaped. So the result holds no tab and
//! no line's end, and a terminal shows it harmlessly. Reading is stricter than it needs to be: a backslash that begins
//! none of the five is an error, so that a file in another spelling is noticed rather than stored.
//!
//! # Where it sits
//! Called by the tsv format and for arguments under `--escape`.
//!
//! # Invariants
//! - I1. `unescape(escape(bytes)) == bytes`, for any bytes.

/// Appends `bytes`, escaped, to `out`.
pub(crate) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'\t' => out.extend_from_slice(b"\\t"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\\' => out.extend_from_slice(b"\\\\"),
                0x00..0x20 | 0x7f => hex(byte, out),
                _ => out.push(byte),
            }
        }
        for byte in chunk.invalid() {
            hex(*byte, out);
        }
    }
}

/// The bytes that `text` stands for, or what is wrong with it.
pub(crate) fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(index) = rest.iter().position(|byte| *byte == b'\\') {
        bytes.extend_from_slice(&rest[..index]);
        let (byte, len) = match rest[index + 1..] {
            [b't', ..] => (b'\t', 2),
            [b'n', ..] => (b'\n', 2),
            [b'r', ..] => (b'\r', 2),
            [b'\\', ..] => (b'\\', 2),
            [b'x', high, low, ..] => (digit(high)? << 4 | digit(low)?, 4),
            _ => {
                return Err(
                    "a backslash begins one of \\t \\n \\r \\\\ \\xNN; a lone one is written \\\\".into()
                );
            }
        };
        bytes.push(byte);
        rest = &rest[index + len..];
    }
    bytes.extend_from_slice(rest);
    Ok(bytes)
}

fn hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[b'\\', b'x', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

fn digit(character: u8) -> Result<u8, String> {
    match character {
        b'0'..=b'9' => Ok(character - b'0'),
        b'a'..=b'f' => Ok(character - b'a' + 10),
        b'A'..=b'F' => Ok(character - b'A' + 10),
        _ => Err("\\x takes two hexadecimal digits".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape(bytes, &mut out);
        String::from_utf8(out).expect("escaped text is UTF-8")
    }

    #[test]
    fn text_stays_and_the_rest_is_escaped() {
        assert_eq!(escaped("größe 😀".as_bytes()), "größe 😀");
        assert_eq!(escaped(b"a\tb\nc\rd\\e\0\x7f"), "a\\tb\\nc\\rd\\\\e\\x00\\x7f");
        assert_eq!(escaped(b"\xff\xc3(\xe2\x82"), "\\xff\\xc3(\\xe2\\x82");
    }

    #[test]
    fn every_byte_and_every_pair_comes_back() {
        for high in 0..=255u8 {
            for low in 0..=255u8 {
                let bytes = [high, low];
                let mut out = Vec::new();
                escape(&bytes, &mut out);
                assert!(!out.iter().any(|byte| matches!(byte, b'\t' | b'\n' | b'\r')));
                assert_eq!(unescape(&out).as_deref(), Ok(&bytes[..]), "I1");
            }
        }
    }

    #[test]
    fn an_unknown_escape_is_an_error() {
        for wrong in ["\\", "\\q", "\\x", "\\x1", "\\xg0", "\\x0g", "a\\"] {
            assert!(unescape(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert_eq!(unescape(b"\\xFf"), Ok(vec![0xff]));
    }
}
