//! Memory: what keys and values take.

use super::{Answer, Context, SYNTAX, integer};

/// What the engine keeps beside a key and its value: sequence number, kind, lengths, when it expires.
const OVERHEAD: usize = 24;

/// What an entry takes where it is not compressed. Of a value that has parts Redis looks at a sample; here it has none.
pub(super) fn usage(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let mut rest = &words[3..];
    while let [option, tail @ ..] = rest {
        let [count, tail @ ..] = tail else { return Err(SYNTAX) };
        if !option.eq_ignore_ascii_case(b"SAMPLES") || integer(count)? < 0 {
            return Err(SYNTAX);
        }
        rest = tail;
    }
    match c.get(words[2])? {
        Some(held) => c.out.integer((words[2].len() + held.value.len() + OVERHEAD) as i64),
        None => c.out.null(),
    }
    Ok(())
}
