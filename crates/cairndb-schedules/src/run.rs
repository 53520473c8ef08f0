//! Run: seeds in, verdicts out.
//!
//! Seeds are taken in order, by as many threads as the machine has cores, and every one that is taken is run to its
//! end: so a run that is cut short by its time has still covered all seeds from its first to its last. A seed's scenario
//! is its remainder by their number.

use std::env;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::scenarios::SCENARIOS;
use crate::scheduler::{Seeded, Seeds, seed};

const HELP: &str = "\
cargo xtask schedules [options]

  --schedules N     how many to run (else CAIRN_SCHEDULES in the environment, else 20000)
  --minutes M       as many as there is time for, instead
  --from N          the first seed (0)
  --seed N          this seed alone: repeats what a failure has named
  --scenario NAME   only the seeds of one scenario
  --jobs N          threads (as many as there are cores)

The last line is one JSON object: {\"part\":\"shuttle\",\"unit\":\"schedules\",\"count\":..,\"seeds\":\"a..b\",
\"seconds\":..,\"failures\":0}, b not included.
";

/// A schedule with more points than this goes round in circles.
const POINTS_MAX: usize = 1_000_000;

struct Plan {
    first: u64,
    /// Not included.
    end: u64,
    until: Option<Instant>,
    scenario: Option<usize>,
    jobs: usize,
}

pub(crate) fn main() -> ExitCode {
    let Some(plan) = Plan::read(env::args().skip(1)) else {
        eprint!("{HELP}");
        return ExitCode::from(2);
    };
    // Shuttle puts its hook before this one, and shows who panicked; this says in one line why.
    panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a panic without words").replace('\n', " ");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        eprintln!("wrong: {message} ({place})");
    }));
    let began = Instant::now();
    let next = Arc::new(AtomicU64::new(plan.first));
    let failed = Arc::new(AtomicBool::new(false));
    let failures: u64 = thread::scope(|scope| {
        let jobs: Vec<_> = (0..plan.jobs).map(|_| scope.spawn(|| job(&plan, &next, &failed))).collect();
        jobs.into_iter().map(|job| u64::from(!job.join().unwrap_or(false))).sum()
    });
    let end = next.load(Ordering::Relaxed).min(plan.end);
    let count = (plan.first..end).filter(|seed| plan.wants(*seed)).count();
    println!(
        r#"{{"part":"shuttle","unit":"schedules","count":{count},"seeds":"{}..{end}","seconds":{:.1},"failures":{failures}}}"#,
        plan.first,
        began.elapsed().as_secs_f64()
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs seeds until there are no more; false if one failed.
fn job(plan: &Plan, next: &Arc<AtomicU64>, failed: &Arc<AtomicBool>) -> bool {
    let (next, ended) = (Arc::clone(next), Arc::clone(failed));
    let (end, until, scenario) = (plan.end, plan.until, plan.scenario);
    let seeds: Seeds = Arc::new(move || {
        loop {
            let is_over = ended.load(Ordering::Relaxed) || until.is_some_and(|until| Instant::now() >= until);
            if is_over {
                return None;
            }
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return None;
            }
            if scenario.is_none_or(|scenario| scenario == scenario_of(seed)) {
                return Some(seed);
            }
        }
    });
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(POINTS_MAX);
    config.silence_warnings = true;
    let runner = Runner::new(Seeded::new(seeds), config);
    let run = || runner.run(|| (SCENARIOS[scenario_of(seed())].1)());
    let passed = catch_unwind(AssertUnwindSafe(run)).is_ok();
    if !passed {
        failed.store(true, Ordering::Relaxed);
        let seed = seed();
        let name = SCENARIOS[scenario_of(seed)].0;
        eprintln!("\nscenario {name} FAILED; to repeat it: cargo xtask schedules --seed {seed}\n");
    }
    passed
}

fn scenario_of(seed: u64) -> usize {
    (seed % SCENARIOS.len() as u64) as usize
}

impl Plan {
    fn read(arguments: impl Iterator<Item = String>) -> Option<Plan> {
        let (mut count, mut jobs) = (None, thread::available_parallelism().map_or(1, usize::from));
        let (mut first, mut until, mut scenario) = (0, None, None);
        let arguments: Vec<String> = arguments.collect();
        for pair in arguments.chunks(2) {
            let [option, value] = pair else { return None };
            let number = || value.parse::<u64>().ok();
            match option.as_str() {
                "--schedules" => count = Some(number()?),
                "--minutes" => {
                    until = Some(Instant::now() + Duration::from_secs_f64(60.0 * value.parse::<f64>().ok()?));
                }
                "--from" => first = number()?,
                "--seed" => (first, count, jobs) = (number()?, Some(1), 1),
                "--scenario" => {
                    scenario = Some(SCENARIOS.iter().position(|(name, _)| *name == value)?);
                }
                "--jobs" => jobs = number()?.max(1) as usize,
                _ => return None,
            }
        }
        let counted =
            || env::var("CAIRN_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
        let end = if until.is_some() { u64::MAX } else { first + count.unwrap_or_else(counted) };
        Some(Plan { first, end, until, scenario, jobs })
    }

    fn wants(&self, seed: u64) -> bool {
        self.scenario.is_none_or(|scenario| scenario == scenario_of(seed))
    }
}
