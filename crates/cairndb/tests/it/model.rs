//! Model: seeded random operations against a `BTreeMap`, with crashes as operations.
//!
//! A seed makes a script; the script runs on the engine, over the disk that lies, and on an oracle that is a map and
//! a list of commits; every read must answer what the oracle says. After a crash, what is found must be what a prefix
//! of the commits leaves, and the prefix must hold every commit that was promised. A script that fails is shrunk: its
//! operations are taken away one after the other as long as it still fails, and what is left is printed.
//!
//! `CAIRN_SEED=17 cargo test -p cairndb model` runs one seed; the script depends on nothing else. `CAIRN_SEEDS=5000` runs
//! as many.

#![expect(clippy::disallowed_methods, reason = "shrinking is bounded by the clock")]

mod oracle;
mod runner;
mod script;
mod shrink;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use runner::{Reached, run};
use script::script;

/// Runs seeds `0..seeds`, or the one that the environment asks for; returns what was reached.
fn run_seeds(seeds: u64, count: usize) -> Option<Reached> {
    if let Ok(seed) = std::env::var("CAIRN_SEED") {
        check(seed.parse().expect("CAIRN_SEED is a number"), count).unwrap_or_else(|told| panic!("{told}"));
        return None;
    }
    let seeds =
        std::env::var("CAIRN_SEEDS").map_or(seeds, |seeds| seeds.parse().expect("CAIRN_SEEDS is a number"));
    let (next, reached) = (AtomicU64::new(0), Mutex::new(Reached::default()));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let seed @ 0.. = next.fetch_add(1, Ordering::Relaxed)
                    && seed < seeds
                    && failures.lock().unwrap().is_empty()
                {
                    match check(seed, count) {
                        Ok(by_seed) => reached.lock().unwrap().add(&by_seed),
                        Err(told) => failures.lock().unwrap().push(told),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let reached = reached.into_inner().unwrap();
    println!("{reached:#?}");
    Some(reached)
}

fn check(seed: u64, count: usize) -> Result<Reached, String> {
    let (config, steps) = script(seed, count);
    run(&config, &steps).map_err(|told| {
        let (steps, told) = shrink::shrink(&config, steps, told);
        let lines: Vec<String> = steps.iter().map(|step| format!("  {step}")).collect();
        format!("seed {seed}, {config:?}\n{told}\nshrunk to {} steps:\n{}", steps.len(), lines.join("\n"))
    })
}

#[test]
fn model() {
    if let Some(reached) = run_seeds(10, 500) {
        reached.require_a_little();
    }
}

#[test]
#[ignore = "optimised run"]
fn slow_model() {
    if let Some(reached) = run_seeds(200, 2000) {
        reached.require_everything();
    }
}
