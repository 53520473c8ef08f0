//! Mutants: small changes to the engine, drawn by seed, each of which some test must notice.
//!
//! cargo-mutants makes the changes: another operator, a field left out, a function that returns a constant. Seed s
//! takes every 200th of them in the rooms below, beginning with number s, so that a few seeds are spread over all rooms.
//! A mutant meets the engine's tests first, and if it lives, those of the simulator and of the command line. One that does
//! not compile counts neither way; one that hangs is caught. What those other tests catch, they must not catch where nothing
//! was changed: on a busy machine tests take too long, and many mutants would be caught that nobody notices.
//!
//! # Why this way
//! In a scratch copy with one warm target directory, in place: a mutant costs one incremental build. No mutant is
//! excused: those that live are printed, and `docs/mutants.md` says of each why.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::sabotage::{apply, copy_tree};

/// Where what is lost or wrong is decided.
const ROOMS: [&str; 7] =
    ["wal.rs", "record.rs", "manifest.rs", "sstable/**", "version/**", "compaction/**", "db/**"];

/// The mutants are divided into so many seeds.
const SEED_COUNT: u64 = 200;

/// So many of those that compile must be caught, in hundredths.
const CAUGHT_PERCENT_MIN: usize = 90;

/// What `cargo mutants` counted for one seed.
#[derive(Debug, Default)]
struct Score {
    caught: usize,
    unviable: usize,
    survivors: Vec<String>,
}

/// `--from SEED --minutes M`: takes seed after seed until the time is over. True if enough of them are caught.
pub(crate) fn mutants(root: &Path, arguments: &[&str]) -> bool {
    let root = &root.canonicalize().expect("the workspace is there");
    let (mut from, mut minutes) = (0u64, 1.0f64);
    for pair in arguments.chunks(2) {
        match pair {
            ["--from", text] => from = text.parse().unwrap_or(0),
            ["--minutes", text] => minutes = text.parse().unwrap_or(1.0),
            _ => {
                eprintln!("cargo xtask mutants [--from SEED] [--minutes M]");
                return false;
            }
        }
    }
    let scratch = root.join("target/mutants/tree");
    if let Err(told) = copy_tree(root, &scratch) {
        eprintln!("{told}");
        return false;
    }
    let (begun, limit) = (Instant::now(), Duration::from_secs_f64(minutes * 60.0));
    let mut total = Score::default();
    let mut seed = from;
    while seed < SEED_COUNT && (seed == from || begun.elapsed() < limit) {
        match try_seed(root, &scratch, seed) {
            Ok(score) => {
                for name in &score.survivors {
                    println!("LIVES    {name}");
                }
                total.caught += score.caught;
                total.unviable += score.unviable;
                total.survivors.extend(score.survivors);
            }
            Err(told) => {
                eprintln!("seed {seed}: {told}");
                return false;
            }
        }
        seed += 1;
    }
    let viable = total.caught + total.survivors.len();
    println!(
        "{} of {viable} caught, {:.1} %; {} more did not compile",
        total.caught,
        100.0 * total.caught as f64 / viable.max(1) as f64,
        total.unviable
    );
    println!(
        r#"{{"part":"mutants","unit":"mutants","count":{viable},"seeds":"{from}..{seed}","of":{SEED_COUNT},"seconds":{:.1},"failures":{}}}"#,
        begun.elapsed().as_secs_f64(),
        total.survivors.len()
    );
    viable > 0 && total.caught * 100 >= viable * CAUGHT_PERCENT_MIN
}

/// The mutants of one seed.
fn try_seed(root: &Path, scratch: &Path, seed: u64) -> Result<Score, String> {
    let out = scratch.with_file_name("out");
    if out.exists() {
        fs::remove_dir_all(&out).map_err(|error| error.to_string())?;
    }
    run_mutants(scratch, &out, seed)?;
    let read = |name: &str| {
        let path = out.join("mutants.out").join(name);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let count = |name: &str| read(name).map(|text| text.lines().count());
    let mut score = Score {
        caught: count("caught.txt")? + count("timeout.txt")?,
        unviable: count("unviable.txt")?,
        survivors: Vec::new(),
    };
    let (missed, outcomes) = (read("missed.txt")?, read("outcomes.json")?);
    let diffs = outcomes.split(r#""summary": "MissedMutant""#).skip(1).map(|rest| {
        let path = rest.split_once(r#""diff_path": ""#)?.1;
        path.split_once('"').map(|(path, _)| out.join("mutants.out").join(path))
    });
    for (name, diff) in missed.lines().zip(diffs) {
        apply(scratch, &patch_of(name, diff)?)?;
        let passes = passes_the_other_tests(scratch)?;
        copy_tree(root, scratch)?;
        // What fails on the tree as it is, too, was not the mutant.
        if !passes && !passes_the_other_tests(scratch)? {
            return Err(format!("the tests fail without {name} too: is the machine busy?"));
        }
        match passes {
            true => score.survivors.push(name.to_string()),
            false => score.caught += 1,
        }
    }
    Ok(score)
}

/// A patch for git of what cargo-mutants has noted: there, in the place of the new file's name stands what was done.
fn patch_of(name: &str, diff: Option<PathBuf>) -> Result<PathBuf, String> {
    let path = diff.ok_or_else(|| format!("no diff of {name}"))?;
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file = name.split(':').next().unwrap_or_default();
    let hunks = text.split_once("\n@@").map(|(_, hunks)| hunks).unwrap_or_default();
    let patch = path.with_extension("patch");
    fs::write(&patch, format!("--- a/{file}\n+++ b/{file}\n@@{hunks}")).map_err(|error| error.to_string())?;
    Ok(patch)
}

fn passes_the_other_tests(scratch: &Path) -> Result<bool, String> {
    let mut command = Command::new("cargo");
    command.args(["nextest", "run", "--cargo-profile", "mutants", "--package", "cairndb-sim"]);
    command.args(["--package", "cairndb-cli"]);
    let output = prepared(command, scratch).output().map_err(|error| format!("cargo nextest: {error}"))?;
    Ok(output.status.success())
}

/// In the copy, with its target directory; tests that hang are ended soon: .config/nextest.toml.
fn prepared(mut command: Command, scratch: &Path) -> Command {
    command.current_dir(scratch).env("CARGO_TARGET_DIR", scratch.with_file_name("target"));
    command.env("NEXTEST_PROFILE", "mutants").stdin(Stdio::null());
    command
}

fn run_mutants(scratch: &Path, out: &Path, seed: u64) -> Result<(), String> {
    let mut command = Command::new("cargo");
    command.args(["mutants", "--in-place", "--package", "cairndb", "--test-tool", "nextest"]);
    command.args([
        "--profile",
        "mutants",
        "--baseline",
        "skip",
        "--timeout",
        "300",
        "--build-timeout",
        "900",
    ]);
    for room in ROOMS {
        command.arg("--file").arg(format!("crates/cairndb/src/{room}"));
    }
    command.arg("--shard").arg(format!("{seed}/{SEED_COUNT}")).args(["--sharding", "round-robin"]);
    command.arg("--output").arg(out);
    let output = prepared(command, scratch).output().map_err(|error| format!("cargo mutants: {error}"))?;
    // 0: all caught; 2: some live; 3: some hang. The rest is its own trouble.
    match output.status.code() {
        Some(0 | 2 | 3) => Ok(()),
        _ => Err(String::from_utf8_lossy(&output.stderr).trim().to_string()),
    }
}
