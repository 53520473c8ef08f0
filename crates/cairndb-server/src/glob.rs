//! Patterns over keys and channels: `*`, `?`, `[a-z]`, `[^a]`, and a backslash before what is meant as such.
//!
//! Redis's rules, its oddities too: a bracket that is not closed ends with the pattern, a range may stand the wrong way
//! round. What differs is the time: a run of stars costs no more than one, and the number of places that are tried is
//! bounded by the length of the text times that of the pattern.
//!
//! Source: the description of `KEYS`, <https://redis.io/docs/latest/commands/keys/>.

/// Whether `text` is what `pattern` describes, from end to end.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern_at, mut text_at) = (0, 0);
    // Where to go on when what follows the last star did not fit: behind the star, and one byte further in the text.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let fits = match pattern.get(pattern_at) {
            Some(b'*') => {
                pattern_at += 1;
                retry = Some((pattern_at, text_at));
                continue;
            }
            Some(_) => text.get(text_at).and_then(|&byte| one(&pattern[pattern_at..], byte)),
            None if text_at == text.len() => return true,
            None => None,
        };
        match (fits, retry) {
            (Some(len), _) => {
                pattern_at += len;
                text_at += 1;
            }
            (None, Some((behind_star, tried))) if tried < text.len() => {
                retry = Some((behind_star, tried + 1));
                (pattern_at, text_at) = (behind_star, tried + 1);
            }
            (None, _) => return false,
        }
    }
}

/// What every text that fits begins with.
pub(crate) fn literal_prefix(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'));
    &pattern[..end.unwrap_or(pattern.len())]
}

/// How much of the pattern's start describes `byte`; `None` if it does not.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', ..] => {
            let (fits, len) = class(pattern, byte);
            fits.then_some(len)
        }
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// Whether the class at the pattern's start has `byte`, and how long it is.
fn class(pattern: &[u8], byte: u8) -> (bool, usize) {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    loop {
        match &pattern[at.min(pattern.len())..] {
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [] => break,
            [low, b'-', high, ..] => {
                found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_describe() {
        let rows: [(&str, &str, bool); 24] = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "abc", true),
            ("a*", "bc", false),
            ("*c", "abc", true),
            ("*b*", "abc", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcdf", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("[ab", "b", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[\\]]", "]", true),
            ("a\\", "a\\", true),
            ("**a**b**", "xxaxxbxx", true),
        ];
        for (pattern, text, expected) in rows {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let (pattern, text) = ("*a".repeat(2_000) + "b", "a".repeat(20_000));
        assert!(!matches(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn what_a_pattern_begins_with() {
        assert_eq!(literal_prefix(b"user:*"), b"user:");
        assert_eq!(literal_prefix(b"user:[12]"), b"user:");
        assert_eq!(literal_prefix(b"exact"), b"exact");
        assert_eq!(literal_prefix(b"*"), b"");
    }
}
