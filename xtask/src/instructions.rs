//! Instructions: a guard against engines that grow slower step by step: what each verb costs, counted by callgrind, and
//! held against a file of figures.
//!
//! A figure that is off by more than the tolerance fails, upward or downward: who changes what a verb costs says so, by
//! `cargo xtask instructions --write`.
//!
//! # Why this way
//! A library that drives callgrind keeps its figures beside its builds, where nobody reads them in a review. What is
//! needed of it is one number from one line of output.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What was measured last, and is expected.
const FIGURES: &str = "crates/cairndb/benches/instructions.txt";

/// The verbs that `benches/instructions.rs` knows.
const VERBS: [&str; 7] =
    ["put", "get", "get from memory", "miss", "scan of 100", "flush an entry", "compact an entry"];

/// How far a figure may be off, in hundredths.
const TOLERANCE_PERCENT: u64 = 5;

/// Counts what each verb costs, and compares; with `--write`, notes it instead. True if all fits.
pub(crate) fn instructions(root: &Path, arguments: &[&str]) -> bool {
    let is_written = match arguments {
        [] => false,
        ["--write"] => true,
        _ => {
            eprintln!("cargo xtask instructions [--write]");
            return false;
        }
    };
    let counted: Result<BTreeMap<_, _>, _> = build(root)
        .and_then(|program| VERBS.iter().map(|verb| Ok((*verb, count(&program, verb)?))).collect());
    let counted = match counted {
        Ok(counted) => counted,
        Err(told) => {
            eprintln!("{told}");
            return false;
        }
    };
    if is_written {
        let lines = VERBS.iter().map(|verb| format!("{verb}: {}\n", counted[verb]));
        return fs::write(root.join(FIGURES), lines.collect::<String>()).is_ok();
    }
    let text = fs::read_to_string(root.join(FIGURES)).unwrap_or_default();
    let expected: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter_map(|(verb, figure)| Some((verb, figure.parse().ok()?)))
        .collect();
    // Not `all`: every figure is shown.
    VERBS.iter().filter(|verb| !fits(verb, counted[*verb], expected.get(*verb).copied())).count() == 0
}

/// Whether valgrind is installed.
pub(crate) fn has_valgrind() -> bool {
    let version = Command::new("valgrind").arg("--version").stdin(Stdio::null()).output();
    version.is_ok_and(|output| output.status.success())
}

fn fits(verb: &str, counted: u64, expected: Option<u64>) -> bool {
    let Some(expected) = expected else {
        println!("{verb:<18} {counted:>9}  {FIGURES} has no figure for it");
        return false;
    };
    let fits = counted.abs_diff(expected) * 100 <= expected * TOLERANCE_PERCENT;
    let verdict = if fits { "" } else { "  off by more than is tolerated; cargo xtask instructions --write" };
    println!("{verb:<18} {counted:>9}  expected {expected:>9}{verdict}");
    fits
}

/// Builds the program, and says where it is.
fn build(root: &Path) -> Result<PathBuf, String> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "--package", "cairndb", "--bench", "instructions"]);
    cargo.args(["--message-format", "json-render-diagnostics"]).current_dir(root).stderr(Stdio::inherit());
    let output = cargo.output().map_err(|error| format!("cargo: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let path = text.lines().rev().find_map(|line| line.split_once(r#""executable":""#)?.1.split('"').next());
    path.filter(|_| output.status.success()).map(PathBuf::from).ok_or_else(|| "it does not build".into())
}

/// The instructions of one call of `verb`.
fn count(program: &Path, verb: &str) -> Result<u64, String> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg("--toggle-collect=*counted_by_callgrind*").arg(program).arg(verb);
    let output = valgrind.output().map_err(|error| format!("valgrind: {error}"))?;
    let (told, said) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let number = |text: &str, before: &str| -> Option<u64> {
        text.lines().find_map(|line| line.split_once(before)?.1.trim().parse().ok())
    };
    match (number(&told, "Collected :"), number(&said, "calls ")) {
        (Some(collected), Some(calls)) if output.status.success() && calls > 0 => Ok(collected / calls),
        _ => Err(format!("{verb}: {said}{told}")),
    }
}
