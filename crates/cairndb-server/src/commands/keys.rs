//! Keys: the commands that look at keys, whatever they hold, and at when they expire.

use std::ops::{Bound, ControlFlow};

use super::databases::database;
use super::{Answer, Context, Refusal, SYNTAX, integer};
use crate::events::Class;
use crate::glob;

const NO_SUCH_KEY: Refusal = Refusal::text("ERR no such key");
const SAME: Refusal = Refusal::text("ERR source and destination objects are the same");

pub(super) fn del(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let mut deleted = 0;
    for key in &words[1..] {
        if c.contains(key)? {
            c.delete(key);
            c.happened(Class::Generic, "del", key);
            deleted += 1;
        }
    }
    c.out.integer(deleted);
    Ok(())
}

pub(super) fn exists(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let mut there = 0;
    for key in &words[1..] {
        there += i64::from(c.contains(key)?);
    }
    c.out.integer(there);
    Ok(())
}

pub(super) fn type_of(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let there = c.contains(words[1])?;
    c.out.simple(if there { "string" } else { "none" });
    Ok(())
}

pub(super) fn rename(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    move_key(c, words[1], words[2], true)?;
    c.out.ok();
    Ok(())
}

pub(super) fn renamenx(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let moved = move_key(c, words[1], words[2], false)?;
    c.out.integer(i64::from(moved));
    Ok(())
}

fn move_key(c: &mut Context<'_>, from: &[u8], to: &[u8], replace: bool) -> Result<bool, Refusal> {
    let held = c.get(from)?.ok_or(NO_SUCH_KEY)?;
    if from == to {
        return Ok(replace);
    }
    if !replace && c.contains(to)? {
        return Ok(false);
    }
    c.delete(from);
    c.put(to, &held.value, held.expires_at_ms);
    c.happened(Class::Generic, "rename_from", from);
    c.happened(Class::Generic, "rename_to", to);
    Ok(true)
}

pub(super) fn copy(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let (mut to_database, mut replace) = (c.client.database, false);
    let mut rest = &words[3..];
    while let [option, tail @ ..] = rest {
        rest = tail;
        match (option.to_ascii_uppercase().as_slice(), tail) {
            (b"REPLACE", _) => replace = true,
            (b"DB", [n, tail @ ..]) => {
                to_database = database(integer(n)?)?;
                rest = tail;
            }
            _ => return Err(SYNTAX),
        }
    }
    if words[1] == words[2] && to_database == c.client.database {
        return Err(SAME);
    }
    let Some(held) = c.get(words[1])? else {
        c.out.integer(0);
        return Ok(());
    };
    let there = c.data.contains(to_database, words[2])?;
    if there && !replace {
        c.out.integer(0);
        return Ok(());
    }
    c.data.put(to_database, words[2], &held.value, held.expires_at_ms);
    c.happened_in(to_database, Class::Generic, "copy_to", words[2]);
    c.out.integer(1);
    Ok(())
}

pub(super) fn move_to(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let to_database = database(integer(words[2])?)?;
    let from_database = c.client.database;
    if to_database == from_database {
        return Err(SAME);
    }
    let Some(held) = c.get(words[1])? else {
        c.out.integer(0);
        return Ok(());
    };
    if c.data.contains(to_database, words[1])? {
        c.out.integer(0);
        return Ok(());
    }
    c.delete(words[1]);
    c.data.put(to_database, words[1], &held.value, held.expires_at_ms);
    c.happened(Class::Generic, "move_from", words[1]);
    c.happened_in(to_database, Class::Generic, "move_to", words[1]);
    c.out.integer(1);
    Ok(())
}

pub(super) fn expire(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    expire_at(c, words, 1_000, false, "expire")
}

pub(super) fn pexpire(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    expire_at(c, words, 1, false, "pexpire")
}

pub(super) fn expireat(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    expire_at(c, words, 1_000, true, "expireat")
}

pub(super) fn pexpireat(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    expire_at(c, words, 1, true, "pexpireat")
}

fn expire_at(c: &mut Context<'_>, words: &[&[u8]], unit_ms: i64, absolute: bool, command: &str) -> Answer {
    let (mut if_none, mut if_some, mut if_later, mut if_sooner) = (false, false, false, false);
    for option in &words[3..] {
        match option.to_ascii_uppercase().as_slice() {
            b"NX" => if_none = true,
            b"XX" => if_some = true,
            b"GT" => if_later = true,
            b"LT" => if_sooner = true,
            _ => {
                let option = super::told_word(option, usize::MAX);
                return Err(Refusal::Text(format!("ERR Unsupported option {option}").into()));
            }
        }
    }
    if if_none && (if_some || if_later || if_sooner) {
        return Err(Refusal::text("ERR NX and XX, GT or LT options at the same time are not compatible"));
    }
    if if_later && if_sooner {
        return Err(Refusal::text("ERR GT and LT options at the same time are not compatible"));
    }
    let now = if absolute { 0 } else { c.data.now_ms as i64 };
    let at = integer(words[2])?.checked_mul(unit_ms).and_then(|n| n.checked_add(now));
    let at =
        at.ok_or_else(|| Refusal::Text(format!("ERR invalid expire time in '{command}' command").into()))?;

    let Some(held) = c.get(words[1])? else {
        c.out.integer(0);
        return Ok(());
    };
    let old = held.expires_at_ms.map(|at| at as i64);
    let refused = (if_none && old.is_some())
        || (if_some && old.is_none())
        || (if_later && old.is_none_or(|old| at <= old))
        || (if_sooner && old.is_some_and(|old| at >= old));
    if refused {
        c.out.integer(0);
        return Ok(());
    }
    match u64::try_from(at) {
        Ok(at) if at > c.data.now_ms => {
            c.put(words[1], &held.value, Some(at));
            c.happened(Class::Generic, "expire", words[1]);
        }
        _ => {
            c.delete(words[1]);
            c.happened(Class::Generic, "del", words[1]);
        }
    }
    c.out.integer(1);
    Ok(())
}

pub(super) fn ttl(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let now = c.data.now_ms as i64;
    tell_expiry(c, words[1], |at| seconds((at - now).max(0)))
}

pub(super) fn pttl(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let now = c.data.now_ms as i64;
    tell_expiry(c, words[1], |at| (at - now).max(0))
}

pub(super) fn expiretime(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    tell_expiry(c, words[1], seconds)
}

pub(super) fn pexpiretime(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    tell_expiry(c, words[1], |at| at)
}

/// Rounded.
fn seconds(ms: i64) -> i64 {
    ((ms.max(0) as u64 + 500) / 1_000) as i64
}

fn tell_expiry(c: &mut Context<'_>, key: &[u8], tell: impl Fn(i64) -> i64) -> Answer {
    let n = match c.get(key)? {
        None => -2,
        Some(held) => held.expires_at_ms.map_or(-1, |at| tell(at as i64)),
    };
    c.out.integer(n);
    Ok(())
}

pub(super) fn persist(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let held = c.get(words[1])?.filter(|held| held.expires_at_ms.is_some());
    if let Some(held) = &held {
        c.put(words[1], &held.value, None);
        c.happened(Class::Generic, "persist", words[1]);
    }
    c.out.integer(i64::from(held.is_some()));
    Ok(())
}

pub(super) fn keys(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let mut found = Vec::new();
    c.data.visit_keys(c.client.database, Bound::Unbounded, glob::literal_prefix(words[1]), |key| {
        if glob::matches(words[1], key) {
            found.push(key.to_vec());
        }
        Ok(ControlFlow::Continue(()))
    })?;
    c.out.array(found.len());
    found.iter().for_each(|key| c.out.bulk(key));
    Ok(())
}

/// A cursor stands for the last key that was looked at, so that it outlives any change of the data.
pub(super) fn scan(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    const INVALID: Refusal = Refusal::text("ERR invalid cursor");
    let cursor: u64 = std::str::from_utf8(words[1]).ok().and_then(|n| n.parse().ok()).ok_or(INVALID)?;
    let (mut pattern, mut count, mut strings) = (&b"*"[..], 10, true);
    let mut rest = &words[2..];
    while let [option, tail @ ..] = rest {
        let [value, tail @ ..] = tail else { return Err(SYNTAX) };
        rest = tail;
        match option.to_ascii_uppercase().as_slice() {
            b"MATCH" => pattern = value,
            b"TYPE" => strings = value.eq_ignore_ascii_case(b"string"),
            b"COUNT" => {
                count = integer(value)?;
                if count < 1 {
                    return Err(SYNTAX);
                }
            }
            _ => return Err(SYNTAX),
        }
    }
    let after = if cursor == 0 { None } else { Some(c.server.scans.key(cursor).ok_or(INVALID)?) };
    let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut found = Vec::new();
    let (mut looked_at, mut last) = (0, None);
    c.data.visit_keys(c.client.database, from, glob::literal_prefix(pattern), |key| {
        if strings && glob::matches(pattern, key) {
            found.push(key.to_vec());
        }
        looked_at += 1;
        if looked_at < count.min(SCANNED_MAX) {
            return Ok(ControlFlow::Continue(()));
        }
        last = Some(key.to_vec());
        Ok(ControlFlow::Break(()))
    })?;
    let next = last.map_or(0, |key| c.server.scans.cursor(key));
    c.out.array(2);
    c.out.bulk(next.to_string().as_bytes());
    c.out.array(found.len());
    found.iter().for_each(|key| c.out.bulk(key));
    Ok(())
}

/// How many keys a call of `SCAN` looks at, whatever it was asked for.
const SCANNED_MAX: i64 = 100_000;

pub(super) fn randomkey(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    let key = random_key(c)?;
    c.out.bulk_or_null(key.as_deref());
    Ok(())
}

/// A key behind a random place between the first and the last, out of some that stand there.
fn random_key(c: &mut Context<'_>) -> Result<Option<Vec<u8>>, Refusal> {
    const NEIGHBOURS: u64 = 64;
    let mut start = [0; 8];
    start.copy_from_slice(&crate::random::number().to_le_bytes());
    let picked = crate::random::number() % NEIGHBOURS;
    let mut found = Vec::new();
    for from in [Bound::Included(&start[..]), Bound::Unbounded] {
        c.data.visit_keys(c.client.database, from, b"", |key| {
            found.push(key.to_vec());
            let enough = found.len() as u64 > picked;
            Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if !found.is_empty() {
            break;
        }
    }
    let n = found.len();
    Ok((n > 0).then(|| found.swap_remove(picked as usize % n)))
}
