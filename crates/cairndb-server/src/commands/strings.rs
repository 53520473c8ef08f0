//! Strings: the commands that read and change values.
//!
//! Each is one function over its words, the first of which is the command's name. Texts of errors, and the order in which
//! they are looked for, are redis-server 7.0's, since clients match on them.

use super::{Answer, Context, NOT_AN_INTEGER, Refusal, SYNTAX, integer, options::SetOptions};
use crate::events::Class;

/// The longest value, as `proto-max-bulk-len` has it where it is not set.
pub(super) const VALUE_LEN_MAX: usize = 512 << 20;

pub(super) fn get(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let held = c.get(words[1])?;
    c.out.bulk_or_null(held.as_ref().map(|held| &*held.value));
    Ok(())
}

pub(super) fn set(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let options = SetOptions::of_set(&words[3..])?;
    let expiry = options.expiry.map(|expiry| expiry.at_ms(c.data.now_ms, "set")).transpose()?;
    let needs_old = options.get || options.if_absent || options.if_present || options.keep_expiry;
    let old = if needs_old { c.get(words[1])? } else { None };
    if options.get {
        c.out.bulk_or_null(old.as_ref().map(|held| &*held.value));
    }
    if (options.if_absent && old.is_some()) || (options.if_present && old.is_none()) {
        if !options.get {
            c.out.null();
        }
        return Ok(());
    }
    let kept = old.filter(|_| options.keep_expiry).and_then(|held| held.expires_at_ms);
    c.put(words[1], words[2], expiry.or(kept));
    c.happened(Class::String, "set", words[1]);
    if expiry.is_some() {
        c.happened(Class::Generic, "expire", words[1]);
    }
    if !options.get {
        c.out.ok();
    }
    Ok(())
}

pub(super) fn setnx(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let absent = !c.contains(words[1])?;
    if absent {
        c.put(words[1], words[2], None);
        c.happened(Class::String, "set", words[1]);
    }
    c.out.integer(i64::from(absent));
    Ok(())
}

pub(super) fn setex(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    set_for(c, words, 1_000, "setex")
}

pub(super) fn psetex(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    set_for(c, words, 1, "psetex")
}

fn set_for(c: &mut Context<'_>, words: &[&[u8]], unit_ms: i64, command: &str) -> Answer {
    let expiry = super::options::Expiry { n: words[2], unit_ms, absolute: false };
    let at_ms = expiry.at_ms(c.data.now_ms, command)?;
    c.put(words[1], words[3], Some(at_ms));
    c.happened(Class::String, "set", words[1]);
    c.happened(Class::Generic, "expire", words[1]);
    c.out.ok();
    Ok(())
}

pub(super) fn getset(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    get(c, words)?;
    c.put(words[1], words[2], None);
    c.happened(Class::String, "set", words[1]);
    Ok(())
}

pub(super) fn getdel(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let held = c.get(words[1])?;
    c.out.bulk_or_null(held.as_ref().map(|held| &*held.value));
    if held.is_some() {
        c.delete(words[1]);
        c.happened(Class::Generic, "del", words[1]);
    }
    Ok(())
}

pub(super) fn getex(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let options = SetOptions::of_getex(&words[2..])?;
    let Some(held) = c.get(words[1])? else {
        c.out.null();
        return Ok(());
    };
    let expiry = options.expiry.map(|expiry| expiry.at_ms(c.data.now_ms, "getex")).transpose()?;
    c.out.bulk(&held.value);
    match expiry {
        Some(at_ms) if at_ms <= c.data.now_ms => {
            c.delete(words[1]);
            c.happened(Class::Generic, "del", words[1]);
        }
        Some(at_ms) => {
            c.put(words[1], &held.value, Some(at_ms));
            c.happened(Class::Generic, "expire", words[1]);
        }
        None if options.persist && held.expires_at_ms.is_some() => {
            c.put(words[1], &held.value, None);
            c.happened(Class::Generic, "persist", words[1]);
        }
        None => {}
    }
    Ok(())
}

pub(super) fn mget(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    c.reply_values(&words[1..])
}

pub(super) fn mset(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    set_all(c, "mset", &words[1..])?;
    c.out.ok();
    Ok(())
}

pub(super) fn msetnx(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    if words.len().is_multiple_of(2) {
        return Err(super::wrong_arity("msetnx"));
    }
    for pair in words[1..].chunks(2) {
        if c.contains(pair[0])? {
            c.out.integer(0);
            return Ok(());
        }
    }
    set_all(c, "msetnx", &words[1..])?;
    c.out.integer(1);
    Ok(())
}

fn set_all(c: &mut Context<'_>, command: &str, pairs: &[&[u8]]) -> Answer {
    if !pairs.len().is_multiple_of(2) {
        return Err(super::wrong_arity(command));
    }
    for pair in pairs.chunks(2) {
        c.put(pair[0], pair[1], None);
        c.happened(Class::String, "set", pair[0]);
    }
    Ok(())
}

pub(super) fn append(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let held = c.get(words[1])?;
    let (old, expires_at_ms) =
        held.as_ref().map_or((&[][..], None), |held| (&*held.value, held.expires_at_ms));
    check_len(c, old.len(), words[2].len())?;
    let value = [old, words[2]].concat();
    c.put(words[1], &value, expires_at_ms);
    c.happened(Class::String, "append", words[1]);
    c.out.integer(value.len() as i64);
    Ok(())
}

pub(super) fn strlen(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let len = c.get(words[1])?.map_or(0, |held| held.value.len());
    c.out.integer(len as i64);
    Ok(())
}

pub(super) fn incr(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    add(c, words[1], 1)
}

pub(super) fn decr(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    add(c, words[1], -1)
}

pub(super) fn incrby(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let by = integer(words[2])?;
    add(c, words[1], by)
}

pub(super) fn decrby(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let by = integer(words[2])?.checked_neg().ok_or(Refusal::text("ERR decrement would overflow"))?;
    add(c, words[1], by)
}

fn add(c: &mut Context<'_>, key: &[u8], by: i64) -> Answer {
    let held = c.get(key)?;
    let old = match &held {
        Some(held) => crate::resp::request::integer(&held.value).ok_or(NOT_AN_INTEGER)?,
        None => 0,
    };
    let n = old.checked_add(by).ok_or(Refusal::text("ERR increment or decrement would overflow"))?;
    c.put(key, n.to_string().as_bytes(), held.and_then(|held| held.expires_at_ms));
    c.happened(Class::String, "incrby", key);
    c.out.integer(n);
    Ok(())
}

pub(super) fn incrbyfloat(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let held = c.get(words[1])?;
    let old = held.as_ref().map_or(&b"0"[..], |held| &held.value);
    let sum = crate::float::add(old, words[2]).map_err(Refusal::text)?;
    c.put(words[1], sum.as_bytes(), held.as_ref().and_then(|held| held.expires_at_ms));
    c.happened(Class::String, "incrbyfloat", words[1]);
    c.out.bulk(sum.as_bytes());
    Ok(())
}

pub(super) fn setrange(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let offset = integer(words[2])?;
    let offset = usize::try_from(offset).map_err(|_| Refusal::text("ERR offset is out of range"))?;
    let held = c.get(words[1])?;
    let old = held.as_ref().map_or(&[][..], |held| &held.value);
    if words[3].is_empty() {
        c.out.integer(old.len() as i64);
        return Ok(());
    }
    check_len(c, offset, words[3].len())?;
    let mut value = old.to_vec();
    value.resize(value.len().max(offset + words[3].len()), 0);
    value[offset..offset + words[3].len()].copy_from_slice(words[3]);
    c.put(words[1], &value, held.as_ref().and_then(|held| held.expires_at_ms));
    c.happened(Class::String, "setrange", words[1]);
    c.out.integer(value.len() as i64);
    Ok(())
}

pub(super) fn getrange(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let (start, end) = (integer(words[2])?, integer(words[3])?);
    let held = c.get(words[1])?;
    let value = held.as_ref().map_or(&[][..], |held| &held.value);
    c.out.bulk(super::slice(value, start, end));
    Ok(())
}

/// The longest common subsequence of two values: its text, its length, or where its pieces stand.
///
/// Source: the description of `LCS`, <https://redis.io/docs/latest/commands/lcs/>.
pub(super) fn lcs(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let (mut only_len, mut places, mut with_len, mut len_min) = (false, false, false, 0);
    let mut rest = &words[3..];
    while let [option, tail @ ..] = rest {
        rest = tail;
        match (option.to_ascii_uppercase().as_slice(), tail) {
            (b"IDX", _) => places = true,
            (b"LEN", _) => only_len = true,
            (b"WITHMATCHLEN", _) => with_len = true,
            (b"MINMATCHLEN", [n, tail @ ..]) => {
                len_min = usize::try_from(integer(n)?).unwrap_or(0);
                rest = tail;
            }
            _ => return Err(SYNTAX),
        }
    }
    if only_len && places {
        return Err(Refusal::text("ERR If you want both the length and indexes, please just use IDX."));
    }
    let (a, b) = (c.get(words[1])?, c.get(words[2])?);
    let a = a.as_ref().map_or(&[][..], |held| &held.value);
    let b = b.as_ref().map_or(&[][..], |held| &held.value);
    let cells_max = value_len_max(c) / size_of::<u32>();
    let cells = (a.len() + 1).checked_mul(b.len() + 1).filter(|&cells| cells <= cells_max);
    let cells = cells.ok_or(Refusal::text(
        "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
    ))?;

    // lengths[i][j]: of the longest that the first i bytes of `a` and the first j of `b` have in common.
    let width = b.len() + 1;
    let mut lengths = vec![0_u32; cells];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            lengths[(i + 1) * width + j + 1] = match x == y {
                true => lengths[i * width + j] + 1,
                false => lengths[i * width + j + 1].max(lengths[(i + 1) * width + j]),
            };
        }
    }
    let total = lengths[cells - 1] as usize;
    if only_len {
        c.out.integer(total as i64);
        return Ok(());
    }

    let mut text = Vec::new();
    // Pieces from the last to the first: where they begin in `a` and in `b`, and how long they are.
    let mut pieces: Vec<(usize, usize, usize)> = Vec::new();
    let (mut i, mut j) = (a.len(), b.len());
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            text.push(a[i - 1]);
            (i, j) = (i - 1, j - 1);
            match pieces.last_mut() {
                Some((begins_a, begins_b, len)) if (*begins_a, *begins_b) == (i + 1, j + 1) => {
                    (*begins_a, *begins_b, *len) = (i, j, *len + 1);
                }
                _ => pieces.push((i, j, 1)),
            }
        } else if lengths[(i - 1) * width + j] > lengths[i * width + j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    if !places {
        text.reverse();
        c.out.bulk(&text);
        return Ok(());
    }
    pieces.retain(|(_, _, len)| *len >= len_min);
    c.out.map(2);
    c.out.bulk(b"matches");
    c.out.array(pieces.len());
    for (begins_a, begins_b, len) in pieces {
        c.out.array(if with_len { 3 } else { 2 });
        for begins in [begins_a, begins_b] {
            c.out.array(2);
            c.out.integer(begins as i64);
            c.out.integer((begins + len - 1) as i64);
        }
        if with_len {
            c.out.integer(len as i64);
        }
    }
    c.out.bulk(b"len");
    c.out.integer(total as i64);
    Ok(())
}

/// The longest value that a command may make: a few bytes of a request can ask for a long one, and it is refused before it
/// takes memory, and not by the engine, which would refuse the whole turn.
fn value_len_max(c: &Context<'_>) -> usize {
    VALUE_LEN_MAX.min(c.server.store.batch_len_max() / 2)
}

/// Refuses a value that would be longer than values may be.
pub(super) fn check_len(c: &Context<'_>, len: usize, more: usize) -> Answer {
    match len.checked_add(more) {
        Some(len) if len <= value_len_max(c) => Ok(()),
        _ => Err(Refusal::text("ERR string exceeds maximum allowed size (proto-max-bulk-len)")),
    }
}
