//! Replies: what clients are told, in the version of the protocol that each asked for.
//!
//! A reply is written straight into the connection's output. Where the versions differ (null, maps, sets, doubles,
//! booleans, pushes), the difference is made here and nowhere else.
//!
//! Source: the Redis serialization protocol, <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

/// How much memory for replies a client keeps that waits for none.
const IDLE_LEN: usize = 16 * 1024;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// What goes to one client.
pub(crate) struct Output {
    bytes: Vec<u8>,
    pub(crate) protocol: Protocol,
    /// How long it may get. What is too long for it is not written: see [`Output::overran`].
    pub(crate) len_max: usize,
    overran: bool,
}

impl Default for Output {
    fn default() -> Output {
        Output { bytes: Vec::new(), protocol: Protocol::default(), len_max: usize::MAX, overran: false }
    }
}

impl Output {
    #[cfg(test)]
    pub(crate) fn new(protocol: Protocol) -> Output {
        Output { protocol, ..Output::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it would have become too long, and so is not what was to be said.
    pub(crate) fn overran(&self) -> bool {
        self.overran
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets what was written after `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Takes everything.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Gives back the memory of what was taken, and shrinks what a large reply had needed.
    pub(crate) fn reuse(&mut self, mut bytes: Vec<u8>) {
        bytes.clear();
        bytes.shrink_to(IDLE_LEN);
        if self.bytes.is_empty() && bytes.capacity() > self.bytes.capacity() {
            self.bytes = bytes;
        }
    }

    /// Replies that are ready, as they stand.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        if self.fits(bytes.len()) {
            self.bytes.extend_from_slice(bytes);
        }
    }

    pub(crate) fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    pub(crate) fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error; its first word is its code. Line ends in it would end the reply: as in Redis, those at its end go, and the
    /// others become blanks.
    pub(crate) fn error(&mut self, text: &str) {
        let text = text.trim_end_matches(['\r', '\n']);
        let text: Vec<u8> =
            text.bytes().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }).collect();
        self.line(b'-', &text);
    }

    pub(crate) fn integer(&mut self, n: i64) {
        self.number(b':', n);
    }

    pub(crate) fn bulk(&mut self, bytes: &[u8]) {
        if !self.fits(bytes.len()) {
            return;
        }
        self.length(b'$', bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(crate) fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// A number with a fraction.
    pub(crate) fn double(&mut self, n: f64) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(n.to_string().as_bytes()),
            Protocol::Resp3 => self.line(b',', n.to_string().as_bytes()),
        }
    }

    /// Text for people, which version 3 can tell from data.
    pub(crate) fn verbatim(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.length(b'=', text.len() + 4);
                self.raw(b"txt:");
                self.raw(text.as_bytes());
                self.raw(b"\r\n");
            }
        }
    }

    pub(crate) fn null(&mut self) {
        self.either(b"$-1\r\n", b"_\r\n");
    }

    /// The null of a command whose other answer is an array.
    pub(crate) fn null_array(&mut self) {
        self.either(b"*-1\r\n", b"_\r\n");
    }

    pub(crate) fn array(&mut self, len: usize) {
        self.length(b'*', len);
    }

    /// A map of `pairs` keys and values.
    pub(crate) fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.length(b'*', pairs * 2),
            Protocol::Resp3 => self.length(b'%', pairs),
        }
    }

    pub(crate) fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.length(b'*', len),
            Protocol::Resp3 => self.length(b'~', len),
        }
    }

    /// Something that the client did not ask for.
    pub(crate) fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.length(b'*', len),
            Protocol::Resp3 => self.length(b'>', len),
        }
    }

    /// Whether there is room for so much more. Short lines go without asking: a reply has no more of
    /// them than the request had words.
    fn fits(&mut self, len: usize) -> bool {
        let fits = self.bytes.len().saturating_add(len) <= self.len_max;
        self.overran |= !fits;
        fits
    }

    fn either(&mut self, resp2: &[u8], resp3: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.raw(resp2),
            Protocol::Resp3 => self.raw(resp3),
        }
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn length(&mut self, kind: u8, len: usize) {
        self.number(kind, i64::try_from(len).unwrap_or(i64::MAX));
    }

    fn number(&mut self, kind: u8, n: i64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut left = n.unsigned_abs();
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        self.bytes.push(kind);
        if n < 0 {
            self.bytes.push(b'-');
        }
        self.bytes.extend_from_slice(&digits[at..]);
        self.bytes.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(protocol: Protocol, write: impl Fn(&mut Output)) -> String {
        let mut output = Output::new(protocol);
        write(&mut output);
        String::from_utf8(output.take()).expect("the tests write text")
    }

    type Write = fn(&mut Output);

    #[test]
    fn each_kind_in_both_versions() {
        let rows: [(Write, &str, &str); 11] = [
            (|o| o.simple("PONG"), "+PONG\r\n", "+PONG\r\n"),
            (|o| o.error("ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n"),
            (|o| o.integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
            (|o| o.bulk(b"a\r\n"), "$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n"),
            (|o| o.double(0.25), "$4\r\n0.25\r\n", ",0.25\r\n"),
            (|o| o.verbatim("hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
            (|o| o.null(), "$-1\r\n", "_\r\n"),
            (|o| o.null_array(), "*-1\r\n", "_\r\n"),
            (|o| o.map(2), "*4\r\n", "%2\r\n"),
            (|o| o.set(2), "*2\r\n", "~2\r\n"),
            (|o| o.push(3), "*3\r\n", ">3\r\n"),
        ];
        for (write, resp2, resp3) in rows {
            assert_eq!(told(Protocol::Resp2, write), resp2);
            assert_eq!(told(Protocol::Resp3, write), resp3);
        }
    }
}
