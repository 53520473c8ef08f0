//! `base64`: any bytes as 64 harmless characters, four for every three (RFC 4648, section 4, with padding).
//!
//! # Where it sits
//! Called by `jsonl`.
//!
//! # Invariants
//! - I1. `decode(encode(bytes)) == bytes`, and no other text decodes to the same bytes.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends the text for `bytes` to `out`.
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let padding = index > group.len();
            out.push(if padding { b'=' } else { ALPHABET[(bits >> (18 - 6 * index) & 63) as usize] });
        }
    }
}

/// The bytes that `text` stands for.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (groups, rest) = text.as_chunks::<4>();
    for (index, group) in groups.iter().enumerate() {
        let padding = group.iter().rev().take_while(|character| **character == b'=').count();
        if padding > 2 || (padding > 0 && index + 1 < groups.len()) {
            return None;
        }
        let mut bits = 0;
        for character in &group[..4 - padding] {
            bits = bits << 6 | ALPHABET.iter().position(|known| known == character)? as u32;
        }
        bits <<= 6 * padding;
        let [_, whole @ ..] = bits.to_be_bytes();
        let (kept, dropped) = whole.split_at(3 - padding);
        if dropped.iter().any(|byte| *byte != 0) {
            return None; // a second spelling of the same bytes (I1)
        }
        bytes.extend_from_slice(kept);
    }
    rest.is_empty().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfc_s_examples() {
        let examples = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ];
        for (plain, coded) in examples {
            let mut out = Vec::new();
            encode(plain.as_bytes(), &mut out);
            assert_eq!(out, coded.as_bytes());
            assert_eq!(decode(coded.as_bytes()).as_deref(), Some(plain.as_bytes()), "I1");
        }
    }

    #[test]
    fn all_bytes_come_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        for len in 0..bytes.len() {
            let mut out = Vec::new();
            encode(&bytes[len..], &mut out);
            assert_eq!(decode(&out).as_deref(), Some(&bytes[len..]), "I1");
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for wrong in ["Z", "Zg", "Zg=", "Zg==Zg==", "====", "Z===", "Zh==", "Zm9=", "Zm 9v", "Zm9v\n"] {
            assert_eq!(decode(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
