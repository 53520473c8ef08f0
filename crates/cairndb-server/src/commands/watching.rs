//! Watching: the slow log, latencies, and all that others do.

use super::{Answer, Context, Refusal};
use crate::metrics::Spread;

pub(super) fn slowlog_get(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    const COUNT: Refusal = Refusal::text("ERR count should be greater than or equal to -1");
    let count = match &words[2..] {
        [] => 10,
        [count] => match crate::resp::request::integer(count).filter(|&count| count >= -1).ok_or(COUNT)? {
            -1 => usize::MAX,
            count => usize::try_from(count).unwrap_or(usize::MAX),
        },
        _ => return Err(super::unfit_subcommand("SLOWLOG", words[1])),
    };
    let entries = c.server.slow.latest(count);
    c.out.array(entries.len());
    for slow in entries {
        c.out.array(6);
        c.out.integer(slow.id as i64);
        c.out.integer(slow.at_s as i64);
        c.out.integer(slow.took_us as i64);
        c.out.array(slow.words.len());
        slow.words.iter().for_each(|word| c.out.bulk(word));
        c.out.bulk(slow.address.as_bytes());
        c.out.bulk(&slow.name);
    }
    Ok(())
}

pub(super) fn slowlog_len(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    c.out.integer(c.server.slow.count() as i64);
    Ok(())
}

pub(super) fn slowlog_reset(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    c.server.slow.forget();
    c.out.ok();
    Ok(())
}

pub(super) fn latency_latest(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    let events = c.server.latency.events();
    c.out.array(events.len());
    for (event, samples) in events {
        let (second, ms) = samples.worst.back().copied().unwrap_or_default();
        c.out.array(4);
        c.out.bulk(event.as_bytes());
        [second, ms, samples.max_ms].into_iter().for_each(|n| c.out.integer(n as i64));
    }
    Ok(())
}

pub(super) fn latency_history(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let events = c.server.latency.events();
    let asked = events.into_iter().find(|(event, _)| words[2].eq_ignore_ascii_case(event.as_bytes()));
    let samples = asked.map(|(_, samples)| samples).unwrap_or_default();
    c.out.array(samples.worst.len());
    for (second, ms) in samples.worst {
        c.out.array(2);
        c.out.integer(second as i64);
        c.out.integer(ms as i64);
    }
    Ok(())
}

pub(super) fn latency_reset(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let forgotten = c.server.latency.forget(&words[2..]);
    c.out.integer(forgotten as i64);
    Ok(())
}

/// How long the named commands took, or all that were run: for each doubling of microseconds how many took no longer.
pub(super) fn latency_histogram(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let named: Vec<_> = match &words[2..] {
        [] => super::all_rows().collect(),
        // With a command come its subcommands.
        names => names
            .iter()
            .filter_map(|name| super::find_row(name))
            .flat_map(|row| std::iter::once(row).chain(row.subcommands))
            .collect(),
    };
    let measured = named.into_iter().map(|row| (row.name, c.server.counters.command(row).runs_ns.spread()));
    let measured: Vec<(&str, Spread)> = measured.filter(|(_, spread)| spread.count > 0).collect();
    c.out.map(measured.len());
    for (name, spread) in measured {
        c.out.bulk(name.as_bytes());
        c.out.map(2);
        c.out.bulk(b"calls");
        c.out.integer(spread.count as i64);
        c.out.bulk(b"histogram_usec");
        let steps = doublings(&spread);
        c.out.map(steps.len());
        for (us, count) in steps {
            c.out.integer(us as i64);
            c.out.integer(count as i64);
        }
    }
    Ok(())
}

/// Microseconds, and how many took no longer; only where there are more of them than before. The doublings are of 1,024
/// nanoseconds, since that is where the counts have their ends.
fn doublings(spread: &Spread) -> Vec<(u64, u64)> {
    const FIRST: u32 = 10;
    const LAST: u32 = 36;
    let mut steps = Vec::new();
    let mut below = 0;
    for shift in FIRST..=LAST {
        let start = if shift == FIRST { 0 } else { 1 << (shift - 1) };
        let count = spread.between(start, 1 << shift);
        if count > 0 {
            below += count;
            steps.push(((1 << shift) / 1_000, below));
        }
    }
    steps
}

pub(super) fn monitor(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    if c.client.in_transaction {
        return Err(Refusal::text("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    c.client.monitors = true;
    c.server.monitors.enter(c.client);
    c.out.ok();
    Ok(())
}
