//! Objects: how a value is held, or would be by Redis.

use super::{Answer, Context, Refusal};

pub(super) fn encoding(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let Some(held) = c.get(words[2])? else {
        c.out.null();
        return Ok(());
    };
    c.out.bulk(encoding_of(&held.value).as_bytes());
    Ok(())
}

/// How Redis would hold a value.
pub(super) fn encoding_of(value: &[u8]) -> &'static str {
    match crate::resp::request::integer(value) {
        Some(_) => "int",
        None if value.len() <= 44 => "embstr",
        None => "raw",
    }
}

pub(super) fn refcount(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    integer_or_null(c, words[2], 1)
}

pub(super) fn idletime(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    integer_or_null(c, words[2], 0)
}

pub(super) fn freq(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    if c.contains(words[2])? {
        return Err(Refusal::text(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
             between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    c.out.null();
    Ok(())
}

fn integer_or_null(c: &mut Context<'_>, key: &[u8], n: i64) -> Answer {
    match c.contains(key)? {
        true => c.out.integer(n),
        false => c.out.null(),
    }
    Ok(())
}
