//! Requests: what clients send, cut into words.
//!
//! A request is an array of bulk strings, or one line of words ("inline", for people with `telnet`). The parser keeps
//! its place between reads, so that a request that comes in a thousand pieces is still looked at once.
//!
//! Invariants:
//! - I1. A word of an array is looked at once, in however many pieces it comes.
//! - I2. Memory grows with bytes that came, never with a number that a client wrote.
//!
//! When things break: what cannot be a request is told in Redis's words; nothing after it can be trusted, so the
//! connection ends.
//!
//! Source: the Redis serialization protocol, <https://redis.io/docs/latest/develop/reference/protocol-spec/>; limits and
//! texts as redis-server 7.0 has them.

use std::ops::Range;

use smallvec::SmallVec;

/// The longest line: a count, or an inline request.
const LINE_LEN_MAX: usize = 64 * 1024;
/// What a client that has not shown a password may send.
const UNKNOWN_WORDS_MAX: i64 = 10;
const UNKNOWN_WORD_LEN_MAX: i64 = 16 * 1024;

/// Cuts one connection's bytes into requests.
#[derive(Default)]
pub(crate) struct RequestParser {
    /// The words of the request so far, as places in the buffer.
    words: Vec<Range<usize>>,
    /// The words of an inline request, whose quotes and escapes are undone.
    inline: Vec<Vec<u8>>,
    /// Up to where the buffer was looked at.
    position: usize,
    /// How many words of the array are still to come.
    words_left: usize,
    /// The length of the word that is coming.
    word_len: Option<usize>,
}

/// What bounds a request.
#[derive(Clone, Copy)]
pub(crate) struct RequestLimits {
    /// The longest word.
    pub(crate) word_len_max: i64,
    /// Whether the client has shown who it is.
    pub(crate) known: bool,
}

/// Why bytes cannot be a request; the text that Redis has for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProtocolError(pub(crate) String);

/// A request's words; few take no memory of their own.
pub(crate) type Words<'a> = SmallVec<[&'a [u8]; 4]>;

/// A request that is whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    /// The command's name and its arguments; none for an empty line.
    pub(crate) words: Words<'a>,
    /// How many bytes of the buffer it was.
    pub(crate) len: usize,
}

impl RequestParser {
    /// The request at the start of `buffer`, which has grown at its end since the last call, or begins with the next
    /// request after one was returned. `None` if it is not all there.
    pub(crate) fn next<'a>(
        &'a mut self,
        buffer: &'a [u8],
        limits: RequestLimits,
    ) -> Result<Option<Request<'a>>, ProtocolError> {
        let Some(&first) = buffer.first() else { return Ok(None) };
        if self.position == 0 {
            self.words.clear();
            if first != b'*' {
                return self.inline(buffer);
            }
            let Some(line) = self.line(buffer, "mbulk count string")? else { return Ok(None) };
            let count = integer(&buffer[line]).filter(|&count| count <= i64::from(i32::MAX));
            let count = count.ok_or_else(|| protocol_error("invalid multibulk length"))?;
            if !limits.known && count > UNKNOWN_WORDS_MAX {
                return Err(protocol_error("unauthenticated multibulk length"));
            }
            self.words_left = usize::try_from(count).unwrap_or(0);
        }
        while self.words_left > 0 {
            if !self.word(buffer, limits)? {
                return Ok(None);
            }
        }
        let len = std::mem::take(&mut self.position);
        Ok(Some(Request { words: self.words.iter().map(|range| &buffer[range.clone()]).collect(), len }))
    }

    /// Takes the next word of the array; `false` if it is not all there.
    fn word(&mut self, buffer: &[u8], limits: RequestLimits) -> Result<bool, ProtocolError> {
        let len = match self.word_len {
            Some(len) => len,
            None => {
                let begins = buffer.get(self.position).copied();
                let Some(line) = self.line(buffer, "bulk count string")? else { return Ok(false) };
                if begins != Some(b'$') {
                    let got = begins.map_or(' ', char::from);
                    return Err(ProtocolError(format!("Protocol error: expected '$', got '{got}'")));
                }
                let len = integer(&buffer[line]).filter(|len| (0..=limits.word_len_max).contains(len));
                let len = len.ok_or_else(|| protocol_error("invalid bulk length"))?;
                if !limits.known && len > UNKNOWN_WORD_LEN_MAX {
                    return Err(protocol_error("unauthenticated bulk length"));
                }
                let len = usize::try_from(len).map_err(|_| protocol_error("invalid bulk length"))?;
                *self.word_len.insert(len)
            }
        };
        // Redis takes any two bytes for the end of a word.
        if buffer.len() - self.position < len + 2 {
            return Ok(false);
        }
        self.words.push(self.position..self.position + len);
        self.position += len + 2;
        self.word_len = None;
        self.words_left -= 1;
        Ok(true)
    }

    /// The line at the parser's place without its first byte and its end; the place moves behind it.
    fn line(&mut self, buffer: &[u8], what: &str) -> Result<Option<Range<usize>>, ProtocolError> {
        let rest = &buffer[self.position..];
        let looked_at = &rest[..rest.len().min(LINE_LEN_MAX + 2)];
        match looked_at.iter().position(|&byte| byte == b'\r') {
            Some(end) if rest.len() > end + 1 => {
                let line = self.position + end.min(1)..self.position + end;
                self.position += end + 2;
                Ok(Some(line))
            }
            None if rest.len() > LINE_LEN_MAX => Err(protocol_error(&format!("too big {what}"))),
            _ => Ok(None),
        }
    }

    fn inline<'a>(&'a mut self, buffer: &'a [u8]) -> Result<Option<Request<'a>>, ProtocolError> {
        let looked_at = &buffer[..buffer.len().min(LINE_LEN_MAX + 1)];
        let Some(end) = looked_at.iter().position(|&byte| byte == b'\n') else {
            return if buffer.len() > LINE_LEN_MAX {
                Err(protocol_error("too big inline request"))
            } else {
                Ok(None)
            };
        };
        let line = buffer[..end].strip_suffix(b"\r").unwrap_or(&buffer[..end]);
        self.inline = split_words(line).ok_or_else(|| protocol_error("unbalanced quotes in request"))?;
        Ok(Some(Request { words: self.inline.iter().map(Vec::as_slice).collect(), len: end + 1 }))
    }
}

fn protocol_error(what: &str) -> ProtocolError {
    ProtocolError(format!("Protocol error: {what}"))
}

/// A decimal integer as Redis accepts it: no plus, no leading zero, no blank.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let canonical = match digits {
        [b'0'] => !negative,
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    if !canonical {
        return None;
    }
    digits.iter().try_fold(0_i64, |n, &byte| {
        let digit = i64::from(byte.is_ascii_digit().then(|| byte - b'0')?);
        let tens = n.checked_mul(10)?;
        // Downward for a negative one: the smallest has no counterpart.
        if negative { tens.checked_sub(digit) } else { tens.checked_add(digit) }
    })
}

/// The words of a line: blanks part them, quotes hold them together. Within double quotes a backslash may stand before
/// n, r, t, b, a, x and two hexadecimal digits, or any byte that is meant as such; within single quotes, before a quote.
/// `None` if a quote is not closed, or is followed by more than a blank.
pub(crate) fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && is_blank(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        loop {
            match rest {
                [] => break,
                [quote @ (b'"' | b'\''), tail @ ..] => {
                    rest = quoted(*quote, tail, &mut word)?;
                    if rest.first().is_some_and(|&byte| !is_blank(byte)) {
                        return None;
                    }
                    break;
                }
                [byte, tail @ ..] => {
                    rest = tail;
                    if is_blank(*byte) || *byte == 0 {
                        break;
                    }
                    word.push(*byte);
                }
            }
        }
        words.push(word);
    }
}

/// Takes what stands up to the closing quote, and returns what follows it.
fn quoted<'a>(quote: u8, mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [byte, tail @ ..] if *byte == quote => return Some(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digits = [*high, *low];
                word.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] if quote == b'"' => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = tail;
            }
            [b'\\', b'\'', tail @ ..] if quote == b'\'' => {
                word.push(b'\'');
                rest = tail;
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
            [] => return None,
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: RequestLimits = RequestLimits { word_len_max: 1 << 20, known: true };
    const UNKNOWN: RequestLimits = RequestLimits { known: false, ..OPEN };

    fn words(buffer: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let mut parser = RequestParser::default();
        match parser.next(buffer, OPEN) {
            Ok(Some(request)) => Ok(request.words.iter().map(|word| word.to_vec()).collect()),
            Ok(None) => Err("incomplete".into()),
            Err(ProtocolError(text)) => Err(text),
        }
    }

    #[test]
    fn a_request_may_come_in_any_pieces() {
        let whole = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n\r\n\r\n*1\r\n$4\r\nPING\r\n";
        for cut in 0..whole.len() {
            let mut parser = RequestParser::default();
            let (mut at, mut seen) = (0, Vec::new());
            for end in [cut, whole.len()] {
                while let Some(request) = parser.next(&whole[at..end], OPEN).expect("it is well-formed") {
                    seen.push(request.words.join(&b' '));
                    at += request.len;
                }
            }
            assert_eq!(seen, [b"SET a \r\n".to_vec(), b"PING".to_vec()], "cut at {cut}");
        }
    }

    #[test]
    fn lines_have_words_and_quotes() {
        let told = |line: &[u8]| words(line).map(|words| words.join(&b'|'));
        assert_eq!(told(b"SET a b\r\n"), Ok(b"SET|a|b".to_vec()));
        assert_eq!(told(b"  GET\ta  \n"), Ok(b"GET|a".to_vec()));
        assert_eq!(told(b"\r\n"), Ok(b"".to_vec()));
        assert_eq!(told(b"SET a \"\\x41\\n\\\"b\" 'it\\'s'\n"), Ok(b"SET|a|A\n\"b|it's".to_vec()));
        assert_eq!(told(b"SET a \"\"\n"), Ok(b"SET|a|".to_vec()));
        for broken in [&b"SET \"a\n"[..], b"SET 'a\n", b"SET \"a\"b\n"] {
            assert_eq!(told(broken), Err("Protocol error: unbalanced quotes in request".into()));
        }
        assert_eq!(told(&[b'a'; LINE_LEN_MAX]), Err("incomplete".into()));
        assert_eq!(told(&[b'a'; LINE_LEN_MAX + 1]), Err("Protocol error: too big inline request".into()));
    }

    #[test]
    fn what_cannot_be_a_request_is_told() {
        let told = |buffer: &[u8]| words(buffer).expect_err("it is broken");
        for count in ["x", "", "+1", "01", "2147483648", "99999999999999999999", "1 "] {
            let buffer = format!("*{count}\r\n");
            assert_eq!(told(buffer.as_bytes()), "Protocol error: invalid multibulk length", "{count:?}");
        }
        for len in ["-1", "-5", "x", "1048577", ""] {
            let buffer = format!("*1\r\n${len}\r\n");
            assert_eq!(told(buffer.as_bytes()), "Protocol error: invalid bulk length", "{len:?}");
        }
        assert_eq!(told(b"*1\r\n:1\r\n"), "Protocol error: expected '$', got ':'");
        assert_eq!(
            told(&[b"*".repeat(LINE_LEN_MAX + 1)].concat()),
            "Protocol error: too big mbulk count string"
        );
        assert_eq!(words(b"*0\r\n"), Ok(vec![]));
        assert_eq!(words(b"*-1\r\n"), Ok(vec![]));
    }

    #[test]
    fn who_has_shown_no_password_may_say_little() {
        let told = |buffer: &[u8]| {
            let mut parser = RequestParser::default();
            let told = parser.next(buffer, UNKNOWN).map(|request| request.is_some());
            told.expect_err("it is too much").0
        };
        assert_eq!(told(b"*11\r\n"), "Protocol error: unauthenticated multibulk length");
        assert_eq!(told(b"*1\r\n$16385\r\n"), "Protocol error: unauthenticated bulk length");
    }

    #[test]
    fn a_number_that_a_client_wrote_takes_no_memory() {
        let mut parser = RequestParser::default();
        assert_eq!(parser.next(b"*1000000000\r\n", OPEN), Ok(None));
        assert_eq!(parser.words.capacity(), 0);
    }
}
