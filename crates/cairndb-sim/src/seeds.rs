//! Seeds: a part of the simulation, run from one seed on until enough was done.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use crate::parts::Part;
use crate::tally::Tally;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many seeds.
    Seeds(u64),
    /// When the part's figure has reached this.
    Count(u64),
    /// After this time; seeds that were begun are ended.
    Time(Duration),
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Done {
    /// How often each thing happened.
    pub tally: Tally,
    /// The part's figure.
    pub count: u64,
    /// All seeds from the first up to this one, which is not among them, were run.
    pub next_seed: u64,
    /// How long it took.
    pub took: Duration,
}

/// Runs `part` from the seed `from` on, with as many threads as the machine has processors.
///
/// Errors: what went wrong under one seed, and how to see it again.
pub fn run_seeds(part: &Part, from: u64, until: Until) -> Result<Done, String> {
    let begun = Instant::now();
    let next = AtomicU64::new(from);
    let last = part.seeds.unwrap_or(u64::MAX);
    let shared = Mutex::new((Tally::default(), HashSet::new(), Vec::new()));
    let figure = |tally: &Tally, distinct: &HashSet<u64>| match part.unit {
        "distinct" => distinct.len() as u64,
        unit => tally.count(unit),
    };
    let is_enough = || {
        let shared = shared.lock().expect("a thread panicked");
        let (tally, distinct, failures) = &*shared;
        !failures.is_empty()
            || match until {
                Until::Seeds(count) => next.load(Ordering::Relaxed) >= from.saturating_add(count),
                Until::Count(count) => figure(tally, distinct) >= count,
                Until::Time(time) => begun.elapsed() >= time,
            }
    };
    let work = || {
        while !is_enough() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= last || matches!(until, Until::Seeds(count) if seed - from >= count) {
                break;
            }
            let done = part.run(seed);
            let mut shared = shared.lock().expect("a thread panicked");
            match done {
                Ok(mut of_seed) => {
                    shared.1.extend(of_seed.take_distinct());
                    shared.0.absorb(&of_seed);
                }
                Err(told) => shared.2.push(format!("{} of seed {seed}: {told}", part.name)),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let (tally, distinct, failures) = shared.into_inner().expect("a thread panicked");
    if !failures.is_empty() {
        return Err(failures.join("\n\n"));
    }
    let count = figure(&tally, &distinct);
    let end = if let Until::Seeds(count) = until { from.saturating_add(count) } else { u64::MAX };
    let next_seed = next.into_inner().min(last).min(end);
    Ok(Done { count, tally, next_seed, took: begun.elapsed() })
}
