//! Options: those of `SET` and `GETEX`, and times at which keys expire.

use super::{Refusal, SYNTAX, integer};

/// What `SET` and `GETEX` were asked for besides.
#[derive(Default)]
pub(super) struct SetOptions<'a> {
    pub(super) if_absent: bool,
    pub(super) if_present: bool,
    pub(super) get: bool,
    pub(super) keep_expiry: bool,
    pub(super) persist: bool,
    pub(super) expiry: Option<Expiry<'a>>,
}

/// A time as a client wrote it.
#[derive(Clone, Copy)]
pub(super) struct Expiry<'a> {
    pub(super) n: &'a [u8],
    pub(super) unit_ms: i64,
    /// Since 1970, and not from now on.
    pub(super) absolute: bool,
}

impl<'a> SetOptions<'a> {
    pub(super) fn of_set(words: &[&'a [u8]]) -> Result<SetOptions<'a>, Refusal> {
        SetOptions::of(words, true)
    }

    pub(super) fn of_getex(words: &[&'a [u8]]) -> Result<SetOptions<'a>, Refusal> {
        SetOptions::of(words, false)
    }

    fn of(words: &[&'a [u8]], set: bool) -> Result<SetOptions<'a>, Refusal> {
        let mut options = SetOptions::default();
        let mut rest = words;
        while let [word, tail @ ..] = rest {
            rest = tail;
            let timed = options.expiry.is_some();
            match word.to_ascii_uppercase().as_slice() {
                b"NX" if set && !options.if_present => options.if_absent = true,
                b"XX" if set && !options.if_absent => options.if_present = true,
                b"GET" if set => options.get = true,
                b"KEEPTTL" if set && !timed => options.keep_expiry = true,
                b"PERSIST" if !set && !timed => options.persist = true,
                unit @ (b"EX" | b"PX" | b"EXAT" | b"PXAT")
                    if !timed && !options.keep_expiry && !options.persist =>
                {
                    let [n, tail @ ..] = rest else { return Err(SYNTAX) };
                    rest = tail;
                    let unit_ms = if unit[0] == b'E' { 1_000 } else { 1 };
                    options.expiry = Some(Expiry { n, unit_ms, absolute: unit.len() == 4 });
                }
                _ => return Err(SYNTAX),
            }
        }
        Ok(options)
    }
}

impl Expiry<'_> {
    /// Milliseconds since 1970. Nothing, or less, is refused, and so is what no clock will show.
    pub(super) fn at_ms(self, now_ms: u64, command: &str) -> Result<u64, Refusal> {
        let now = if self.absolute { Some(0) } else { i64::try_from(now_ms).ok() };
        let n = Some(integer(self.n)?).filter(|&n| n > 0);
        n.and_then(|n| n.checked_mul(self.unit_ms)?.checked_add(now?))
            .and_then(|at| u64::try_from(at).ok())
            .ok_or_else(|| Refusal::Text(format!("ERR invalid expire time in '{command}' command").into()))
    }
}
