//! Databases: the commands that are about one as a whole.

use std::ops::{Bound, ControlFlow};

use super::{Answer, Context, Refusal, SYNTAX, integer};
use crate::store::DATABASES;

const NO_DATABASE: Refusal = Refusal::text("ERR DB index is out of range");

/// How many keys `DBSIZE` counts before it estimates.
const COUNTED_MAX: u64 = 1_000_000;

pub(super) fn dbsize(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    let database = c.client.database;
    let (mut keys, mut last) = (0, Vec::new());
    c.data.visit_keys(database, Bound::Unbounded, b"", |key| {
        keys += 1;
        if keys < COUNTED_MAX {
            return Ok(ControlFlow::Continue(()));
        }
        last = key.to_vec();
        Ok(ControlFlow::Break(()))
    })?;
    // Of many, the rest is estimated.
    if keys == COUNTED_MAX {
        keys = c.data.estimate(database, keys, &last)?;
    }
    c.out.integer(keys as i64);
    Ok(())
}

pub(super) fn flushdb(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    flush_mode(&words[1..])?;
    c.data.clear(c.client.database);
    c.out.ok();
    Ok(())
}

pub(super) fn flushall(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    flush_mode(&words[1..])?;
    (0..DATABASES).for_each(|database| c.data.clear(database));
    c.out.ok();
    Ok(())
}

/// Clearing is one entry either way.
fn flush_mode(words: &[&[u8]]) -> Answer {
    match words {
        [] => Ok(()),
        [mode] if mode.eq_ignore_ascii_case(b"SYNC") || mode.eq_ignore_ascii_case(b"ASYNC") => Ok(()),
        _ => Err(SYNTAX),
    }
}

/// Atomic, and bounded: what both hold is written anew, in one batch. A mapping of databases to keyspaces would take no
/// time, but then keyspace 0 would no longer be database 0: docs/decisions/0015.
pub(super) fn swapdb(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let parse = |word: &[u8], told| integer(word).and_then(database_index).map_err(|_| Refusal::text(told));
    let one = parse(words[1], "ERR invalid first DB index")?;
    let other = parse(words[2], "ERR invalid second DB index")?;
    let (one, other) = (database(one)?, database(other)?);
    if one != other && !c.data.swap(one, other)? {
        return Err(Refusal::text(
            "ERR SWAPDB writes what both databases hold anew, and that is more than an eighth of the memory budget",
        ));
    }
    c.out.ok();
    Ok(())
}

pub(super) fn select(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    c.client.database = database(integer(words[1])?)?;
    c.out.ok();
    Ok(())
}

/// The database that a client means.
pub(super) fn database(n: i64) -> Result<usize, Refusal> {
    usize::try_from(database_index(n)?).ok().filter(|&n| n < DATABASES).ok_or(NO_DATABASE)
}

fn database_index(n: i64) -> Result<i64, Refusal> {
    i32::try_from(n).map(i64::from).map_err(|_| {
        Refusal::text("ERR value is out of range, value must between -2147483648 and 2147483647")
    })
}
