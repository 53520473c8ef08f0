//! Parts: what the simulation can be asked to do, each from a number alone.

use crate::exhaustive;
use crate::matrix;
use crate::metamorphic;
use crate::rot;
use crate::script::{Config, Step, crash_script, script, script_of_bytes};
use crate::shrink::shrink;
use crate::states::Take;
use crate::tally::Tally;
use crate::world::{run, run_watched};

/// One kind of run, told apart by its seeds.
#[derive(Clone, Copy)]
pub struct Part {
    /// Its name on the command line and in the logs.
    pub name: &'static str,
    /// What one of it shows.
    pub about: &'static str,
    /// The tally's count that its figure is given in; "distinct" are things that count once.
    pub unit: &'static str,
    /// How many seeds there are, where there is an end to them.
    pub seeds: Option<u64>,
    run: fn(u64) -> Result<Tally, String>,
}

impl Part {
    /// Runs one seed. An error tells what went wrong, shrunk, and how to see it again.
    pub fn run(&self, seed: u64) -> Result<Tally, String> {
        (self.run)(seed).map_err(|told| {
            let name = self.name;
            format!("{told}\nagain: cargo run --release -p cairndb-sim -- {name} --seed {seed}")
        })
    }
}

/// Every part.
pub const PARTS: &[Part] = &[
    Part {
        name: "world",
        about: "2,000 operations against an oracle, with crashes, kills and failed calls among them",
        unit: "seeds",
        seeds: None,
        run: world,
    },
    Part {
        name: "crash",
        about: "what a crash at every storage call of 60 operations can leave, recovered and judged",
        unit: "distinct",
        seeds: None,
        run: crash,
    },
    Part {
        name: "exhaustive-3",
        about: "every sequence of three operations over two keys, every crash state inside its last one",
        unit: "sequences",
        seeds: Some(exhaustive::sequence_count(3)),
        run: |index| exhaustive::run(index, 3),
    },
    Part {
        name: "exhaustive-4",
        about: "the same with four operations",
        unit: "sequences",
        seeds: Some(exhaustive::sequence_count(4)),
        run: |index| exhaustive::run(index, 4),
    },
    Part {
        name: "metamorphic",
        about: "one trace under 16 option sets, answers compared byte for byte",
        unit: "traces",
        seeds: None,
        run: metamorphic::run,
    },
    Part {
        name: "faults",
        about: "every fault at every operation and every call of it, counted where the outcome changed",
        unit: "faults",
        seeds: None,
        run: matrix::run,
    },
    Part {
        name: "rot-bytes",
        about: "a bit of every byte of databases of 64 KiB, flipped and looked for; a seed is 512 bytes",
        unit: "bytes",
        seeds: Some(rot::BYTES_SEEDS),
        run: rot::bytes,
    },
    Part {
        name: "rot-bits",
        about: "every bit of databases of 128 KiB, flipped and looked for; a seed is 512 bytes",
        unit: "bits",
        seeds: Some(rot::BITS_SEEDS),
        run: rot::bits,
    },
];

/// Runs the world that these bytes make: each byte is a choice, so that a fuzzer which changes a byte changes an
/// operation, a crash or a fault.
pub fn run_bytes(bytes: &[u8]) -> Result<(), String> {
    let (config, steps) = script_of_bytes(bytes, BYTES_STEPS);
    run(&config, &steps).map(drop)
}

/// How many operations bytes may make.
const BYTES_STEPS: usize = 300;

/// How many operations a world has.
const WORLD_STEPS: usize = 2000;

/// How many operations a script has that is crashed at each call.
const CRASH_STEPS: usize = 60;

/// States that are drawn at each call.
const STATES_PER_CALL: u64 = 6;

fn world(seed: u64) -> Result<Tally, String> {
    let (config, steps) = script(seed, WORLD_STEPS);
    shrunk(&config, steps, run).map(|mut tally| {
        tally.add("seeds", 1);
        tally
    })
}

fn crash(seed: u64) -> Result<Tally, String> {
    let (config, steps) = crash_script(seed, CRASH_STEPS);
    let take = Take::Drawn { seed, per_call: STATES_PER_CALL };
    shrunk(&config, steps, |config, steps| run_watched(config, steps, 0, take))
}

/// Runs a script; if it fails, tells the shortest that does.
pub(crate) fn shrunk(
    config: &Config,
    steps: Vec<Step>,
    run: impl Fn(&Config, &[Step]) -> Result<Tally, String>,
) -> Result<Tally, String> {
    run(config, &steps).map_err(|told| {
        let (steps, told) = shrink(steps, told, &|steps| run(config, steps).map(drop));
        let lines: Vec<String> = steps.iter().map(|step| format!("  {step}")).collect();
        format!("{config:?}\n{told}\nshrunk to {} steps:\n{}", steps.len(), lines.join("\n"))
    })
}
