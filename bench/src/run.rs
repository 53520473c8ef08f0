//! Run: engines in turns, groups one after the other, as often as asked; every line of results is kept.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::engines::{ENGINES, Terms, engine};
use crate::groups::{GROUPS, Group};
use crate::machine::{Limits, limits};
use crate::measure::Line;

/// What to run, and where.
#[derive(Args)]
pub(crate) struct Plan {
    /// Where the results go; the directory is made. The file's name is the time at which the run began.
    #[arg(long, default_value = "results")]
    results: PathBuf,
    /// Where the stores are made, in a directory that is removed again.
    #[arg(long, default_value = "target/stores")]
    dir: PathBuf,
    /// The engines; all, if none is named.
    #[arg(long, value_delimiter = ',')]
    engines: Vec<String>,
    /// The groups; all, if none is named.
    #[arg(long, value_delimiter = ',')]
    groups: Vec<String>,
    /// Only the workloads whose name contains this, and what they need.
    #[arg(long, default_value = "")]
    only: String,
    #[arg(long, default_value_t = 3)]
    repetitions: u64,
    /// A share of the entries, for quick looks: what is published has 1.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// How long each timed workload goes on.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

/// The first line of a file of results.
#[derive(Serialize, Deserialize)]
pub(crate) struct Head {
    /// When the run began, in seconds since 1970.
    pub(crate) began: u64,
    pub(crate) commit: String,
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) repetitions: u64,
    pub(crate) scale: f64,
    pub(crate) seconds: f64,
    pub(crate) machine: Limits,
}

pub(crate) fn engine_of(name: &str) -> Result<&'static Terms, String> {
    engine(name).ok_or_else(|| format!("there is no engine {name:?}; `list` names them"))
}

pub(crate) fn group_of(name: &str) -> Result<&'static Group, String> {
    let found = GROUPS.iter().find(|group| group.name == name);
    found.ok_or_else(|| format!("there is no group {name:?}; `list` names them"))
}

/// Runs the plan, and prints the report.
pub(crate) fn run(plan: &Plan) -> Result<(), String> {
    let engines = named(&plan.engines, ENGINES.iter().collect(), engine_of)?;
    let groups = named(&plan.groups, GROUPS.iter().collect(), group_of)?;
    fs::create_dir_all(&plan.results).map_err(told(&plan.results))?;
    fs::create_dir_all(&plan.dir).map_err(told(&plan.dir))?;
    let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let path = plan.results.join(format!("{began}.jsonl"));
    let mut file = File::create_new(&path).map_err(told(&path))?;
    let head = Head {
        began,
        commit: commit(),
        versions: engines.iter().map(|terms| (terms.name.to_string(), terms.version.to_string())).collect(),
        repetitions: plan.repetitions,
        scale: plan.scale,
        seconds: plan.seconds,
        machine: limits(&plan.dir),
    };
    writeln!(file, "{}", serde_json::to_string(&head).expect("a head has a JSON form"))
        .map_err(told(&path))?;
    for repetition in 0..plan.repetitions {
        for group in &groups {
            let mut turn: Vec<_> = engines.iter().filter(|terms| (group.is_for)(terms)).collect();
            let first = (repetition as usize) % turn.len().max(1);
            turn.rotate_left(first);
            for terms in turn {
                for line in run_one(plan, terms, group, repetition)? {
                    let json = serde_json::to_string(&line).expect("a line has a JSON form");
                    writeln!(file, "{json}").map_err(told(&path))?;
                    eprintln!(
                        "{repetition} {:<10} {:<44} {:>12.0}/s",
                        line.engine,
                        line.workload,
                        line.rate()
                    );
                }
            }
        }
    }
    println!("{}", path.display());
    crate::report::print(&[path])
}

fn named<T: Copy>(
    names: &[String],
    all: Vec<T>,
    find: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    if names.is_empty() { Ok(all) } else { names.iter().map(|name| find(name)).collect() }
}

/// One group with one engine, in a process and a directory of its own.
fn run_one(plan: &Plan, terms: &Terms, group: &Group, repetition: u64) -> Result<Vec<Line>, String> {
    let dir = plan.dir.join(format!("{}-{}", terms.name, group.name));
    let fresh = fs::remove_dir_all(&dir).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    fresh.and_then(|()| fs::create_dir(&dir)).map_err(|error| format!("{}: {error}", dir.display()))?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command
        .args(["one", "--engine", terms.name, "--group", group.name, "--only", &plan.only, "--dir"])
        .arg(&dir);
    command.args(["--repetition", &repetition.to_string(), "--scale", &plan.scale.to_string()]);
    command.args(["--seconds", &plan.seconds.to_string()]).stderr(std::process::Stdio::inherit());
    let output = command.output().map_err(|error| error.to_string())?;
    fs::remove_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    // What one engine leaves to be written to the disk is not the next one's to wait for.
    rustix::fs::sync();
    if !output.status.success() {
        return Err(format!("{} in group {}: {}", terms.name, group.name, output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|line| line.contains(&plan.only));
    lines.map(|line| serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))).collect()
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let plus = if git(&["status", "--porcelain", "../crates"]).is_some_and(|text| text.is_empty()) {
        ""
    } else {
        "+"
    };
    git(&["rev-parse", "--short=10", "HEAD"]).map_or("unknown".into(), |commit| commit + plus)
}

/// Says which file an error is about.
fn told(what: &Path) -> impl Fn(std::io::Error) -> String + '_ {
    move |error| format!("{}: {error}", what.display())
}
