//! Verification: every check of the project in one run, in order, with a count at the end.
//!
//! A check is a step with a name. It passes, fails, or is skipped with a reason: a tool that is not installed,
//! or a build so broken that running the step would only repeat the same error. A failed step does not keep
//! the later ones from running, so that one run shows everything there is to mend.
//!
//! # Invariants
//! - I1. Nothing in the tree is changed: cargo runs with `--locked`, what it builds goes to the target
//!   directory, and the last step compares what `git status` says with what it said before the first.

use std::env;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{browser, instructions, sabotage, schedules, tidy};

/// Where tests stand that need optimised code, each in its package's `tests/it`. The others need not be built so.
pub(crate) const SLOW_PACKAGES: [&str; 3] = ["cairndb", "cairndb-server", "cairndb-cli"];

const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// What the simulator runs here; `cargo xtask soak` runs more.
const SIMULATIONS: &[&str] = &[
    "-- crash --count 200000",
    "-- exhaustive-3 --seeds 1331",
    "-- rot-bytes --seeds 168",
    "-- metamorphic --seeds 50",
    "-- world --seeds 24",
    "--example orders",
];

/// Runs every check; true if none failed and, under `CI=true`, none was skipped.
pub(crate) fn verify(root: &Path) -> bool {
    let cargo = |arguments: &str| cargo(root, arguments);
    let status_before = git_status(root);
    let mut report = Report::default();

    report.step("fmt", || run(cargo("fmt --all --check")));
    report.step("clippy", || run(cargo("clippy --workspace --all-targets --locked -- -D warnings")));
    if report.has_failed("clippy") {
        println!("clippy failed; does the workspace build at all?");
        report.is_build_broken = run(cargo("check --workspace --all-targets --locked")) == Outcome::Failed;
    }

    let slow = SLOW_PACKAGES.map(|package| format!("--package {package}")).join(" ");
    let (tests, slow_tests) = match has_cargo_tool(root, "nextest") {
        true => (
            "nextest run --workspace --no-fail-fast --locked",
            format!(
                "nextest run --release {slow} --test it --run-ignored only --no-fail-fast --no-tests=fail --locked slow_"
            ),
        ),
        false => (
            "test --workspace --lib --bins --tests --locked",
            format!("test --release {slow} --test it --locked -- --ignored slow_"),
        ),
    };
    report.build_step("tests", || run(cargo(tests)));
    report.build_step("doc tests", || run(cargo("test --doc --workspace --locked")));
    report.build_step("slow", || run(cargo(&slow_tests)));
    report.build_step("simulator", || {
        let passed = SIMULATIONS.iter().all(|arguments| {
            run(cargo(&format!("run --release -q --locked -p cairndb-sim {arguments}"))) == Outcome::Passed
        });
        Outcome::of(passed)
    });
    report.build_step("sabotage", || {
        let mut git = Command::new("git");
        git.args(["rev-parse", "HEAD"]).current_dir(root);
        match read_output(git) {
            Some(commit) => Outcome::of(sabotage::sabotage(root, &["--draw", commit.trim()])),
            None => Outcome::Skipped("not a git checkout, or no git: nothing to draw a patch by".into()),
        }
    });
    report.build_step("kill", || rig(root, "kill.sh", "--count 50"));
    report.build_step("power ext4", || rig(root, "power.sh", "ext4 --count 5"));
    report.build_step("power xfs", || rig(root, "power.sh", "xfs --count 5"));
    report.build_step("full disk", || rig(root, "full_disk.sh", "--count 1"));
    report.build_step("strace", || rig(root, "strace.sh", "--sample 400"));
    report.build_step("server kill", || rig(root, "server_kill.sh", "--count 12"));
    report.build_step("server full disk", || rig(root, "server_full_disk.sh", "--count 1"));
    report.build_step("clients", || rig(root, "clients.sh", ""));
    report.build_step("console", || rig(root, "console.sh", ""));
    report.build_step("docs", || {
        let mut docs = cargo("doc --no-deps --workspace --locked");
        docs.env("RUSTDOCFLAGS", "-D warnings");
        run(docs)
    });
    report.step("tidy", || Outcome::of(tidy::tidy(root)));
    report.build_step("schedules", || Outcome::of(schedules::schedules(root, &[])));
    report.build_step("miri", || match schedules::has_miri(root) {
        true => Outcome::of(schedules::miri(root)),
        false => Outcome::Skipped("nightly with miri and rust-src is not installed".into()),
    });
    report.build_step("instructions", || match instructions::has_valgrind() {
        true => Outcome::of(instructions::instructions(root, &[])),
        false => Outcome::Skipped("valgrind is not installed".into()),
    });
    report.build_step("wasm", || check_wasm(root));
    report.build_step("browser", || match browser::missing(root) {
        None => Outcome::of(browser::check(root)),
        Some(missing) => Outcome::Skipped(missing),
    });
    report.step("deny", || match has_cargo_tool(root, "deny") {
        true => run(cargo("deny --locked check licenses bans sources")),
        false => Outcome::Skipped("cargo-deny is not installed".into()),
    });
    // They are no part of this workspace, so nothing else here would say that their lock files are out of date.
    report.step("other locks", || {
        let fits =
            |manifest| run(cargo(&format!("fetch --locked --manifest-path {manifest}"))) == Outcome::Passed;
        let client = "crates/cairndb-server/tests/clients/redis-rs/Cargo.toml";
        Outcome::of(fits("fuzz/Cargo.toml") & fits("bench/Cargo.toml") & fits(client))
    });
    report.step("unchanged", || compare_status(status_before.as_deref(), git_status(root).as_deref()));

    report.print();
    report.succeeded(env::var("CI").is_ok_and(|value| value == "true"))
}

/// Lets clippy and rustfmt mend what they can.
pub(crate) fn fix(root: &Path) -> bool {
    let clippy = run(cargo(root, "clippy --fix --workspace --all-targets --allow-dirty --allow-staged"));
    let fmt = run(cargo(root, "fmt --all"));
    clippy == Outcome::Passed && fmt == Outcome::Passed
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    /// With the reason.
    Skipped(String),
}

impl Outcome {
    fn of(passed: bool) -> Outcome {
        if passed { Outcome::Passed } else { Outcome::Failed }
    }
}

/// The steps so far: name, outcome, time.
#[derive(Default)]
struct Report {
    /// Whether a step that needs a build would only repeat its errors.
    is_build_broken: bool,
    steps: Vec<(&'static str, Outcome, Duration)>,
}

impl Report {
    /// Runs a step, prints how it ended and keeps that for the summary.
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Outcome) {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = work();
        let took = start.elapsed();
        println!("== {}", summary_line(name, &outcome, took));
        self.steps.push((name, outcome, took));
    }

    /// A step that is skipped where the workspace does not build.
    fn build_step(&mut self, name: &'static str, work: impl FnOnce() -> Outcome) {
        match self.is_build_broken {
            true => self.step(name, || Outcome::Skipped("the build is broken".into())),
            false => self.step(name, work),
        }
    }

    fn has_failed(&self, name: &str) -> bool {
        self.steps.iter().any(|(step, outcome, _)| *step == name && *outcome == Outcome::Failed)
    }

    /// How many steps passed, failed and were skipped.
    fn counts(&self) -> (usize, usize, usize) {
        let count = |kind: fn(&Outcome) -> bool| self.steps.iter().filter(|step| kind(&step.1)).count();
        (
            count(|outcome| *outcome == Outcome::Passed),
            count(|outcome| *outcome == Outcome::Failed),
            count(|outcome| matches!(outcome, Outcome::Skipped(_))),
        )
    }

    fn succeeded(&self, skip_is_failure: bool) -> bool {
        let (_, failed, skipped) = self.counts();
        failed == 0 && !(skip_is_failure && skipped > 0)
    }

    fn print(&self) {
        println!();
        for (name, outcome, took) in &self.steps {
            println!("{}", summary_line(name, outcome, *took));
        }
        let (passed, failed, skipped) = self.counts();
        println!("\n{passed} passed, {failed} failed, {skipped} skipped");
    }
}

fn summary_line(name: &str, outcome: &Outcome, took: Duration) -> String {
    let (word, reason) = match outcome {
        Outcome::Passed => ("passed", String::new()),
        Outcome::Failed => ("FAILED", String::new()),
        Outcome::Skipped(reason) => ("skipped", format!("  {reason}")),
    };
    format!("{name:<10} {word:<8} {:>7.1} s{reason}", took.as_secs_f64())
}

/// Checks the engine for the browser's target, which is added first where rustup can.
fn check_wasm(root: &Path) -> Outcome {
    if !has_wasm_target(root) {
        let mut rustup = Command::new("rustup");
        rustup.args(["target", "add", WASM_TARGET]).current_dir(root);
        if run(rustup) == Outcome::Failed {
            return Outcome::Skipped(format!(
                "the target {WASM_TARGET} is missing and rustup could not add it"
            ));
        }
    }
    run(cargo(root, &format!("check -p cairndb -p cairndb-storage --target {WASM_TARGET} --locked")))
}

/// Whether the compiler has a standard library for the browser's target, from rustup or from elsewhere.
fn has_wasm_target(root: &Path) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", WASM_TARGET]).current_dir(root);
    read_output(rustc).is_some_and(|directory| Path::new(directory.trim()).is_dir())
}

/// Runs a script of `tests/rigs`, which builds what it needs.
fn rig(root: &Path, script: &str, arguments: &str) -> Outcome {
    println!("tests/rigs/{script} {arguments}");
    let mut rig = Command::new("bash");
    rig.arg(format!("tests/rigs/{script}")).args(arguments.split_whitespace()).current_dir(root);
    match rig.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().and_then(Child::wait_with_output) {
        Ok(output) => rig_outcome(output.status.code(), &String::from_utf8_lossy(&output.stderr)),
        Err(error) => Outcome::Skipped(format!("bash: {error}")),
    }
}

/// What a rig's exit code means: with 2 it says, on the last line, why it cannot run here.
fn rig_outcome(code: Option<i32>, stderr: &str) -> Outcome {
    print!("{stderr}");
    match code {
        Some(2) => Outcome::Skipped(stderr.lines().last().unwrap_or("it does not say why").to_string()),
        code => Outcome::of(code == Some(0)),
    }
}

fn compare_status(before: Option<&str>, after: Option<&str>) -> Outcome {
    match (before, after) {
        (Some(before), Some(after)) if before == after => Outcome::Passed,
        (Some(before), Some(after)) => {
            println!("git status before:\n{before}git status after:\n{after}");
            Outcome::Failed
        }
        _ => Outcome::Skipped("not a git checkout, or no git".into()),
    }
}

fn git_status(root: &Path) -> Option<String> {
    let mut git = Command::new("git");
    git.args(["status", "--porcelain"]).current_dir(root);
    read_output(git)
}

/// Whether `cargo <name>` is there.
fn has_cargo_tool(root: &Path, name: &str) -> bool {
    read_output(cargo(root, &format!("{name} --version"))).is_some()
}

/// The cargo that runs us, with these arguments.
pub(crate) fn cargo(root: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments.split_whitespace()).current_dir(root);
    command
}

/// Prints the command and runs it, its output going where ours goes.
fn run(mut command: Command) -> Outcome {
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    let program = Path::new(command.get_program()).file_stem().unwrap_or_default().to_string_lossy();
    println!("{program} {}", arguments.join(" "));
    match command.status() {
        Ok(status) => Outcome::of(status.success()),
        Err(error) => {
            println!("{error}");
            Outcome::Failed
        }
    }
}

/// What the command prints, if it can be run and succeeds.
pub(crate) fn read_output(mut command: Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report_of(outcomes: &[Outcome]) -> Report {
        let steps = outcomes.iter().map(|outcome| ("x", outcome.clone(), Duration::ZERO));
        Report { steps: steps.collect(), is_build_broken: false }
    }

    #[test]
    fn a_failure_fails_and_a_skip_fails_where_it_counts() {
        let skipped = Outcome::Skipped("no tool".into());
        let green = report_of(&[Outcome::Passed, Outcome::Passed]);
        let patchy = report_of(&[Outcome::Passed, skipped.clone()]);
        let red = report_of(&[Outcome::Failed, skipped, Outcome::Passed]);
        assert!(green.succeeded(true));
        assert!(patchy.succeeded(false) && !patchy.succeeded(true));
        assert!(!red.succeeded(false));
        assert_eq!(red.counts(), (1, 1, 1));
    }

    #[test]
    fn a_broken_build_skips_what_needs_it() {
        let mut report = Report { is_build_broken: true, ..Report::default() };
        report.build_step("tests", || Outcome::Passed);
        report.step("tidy", || Outcome::Passed);
        assert_eq!(report.counts(), (1, 0, 1));
    }

    #[test]
    fn a_rig_that_cannot_run_here_is_skipped_with_its_reason() {
        assert_eq!(rig_outcome(Some(0), ""), Outcome::Passed);
        assert_eq!(rig_outcome(Some(1), "FAILED: it lost a write\n"), Outcome::Failed);
        assert_eq!(rig_outcome(None, ""), Outcome::Failed);
        let reason = "power.sh: xfs_io is not installed";
        assert_eq!(rig_outcome(Some(2), &format!("{reason}\n")), Outcome::Skipped(reason.into()));
    }

    #[test]
    fn a_changed_tree_is_found() {
        assert_eq!(compare_status(Some(""), Some("")), Outcome::Passed);
        assert_eq!(compare_status(Some(""), Some(" M Cargo.lock\n")), Outcome::Failed);
        assert!(matches!(compare_status(None, Some("")), Outcome::Skipped(_)));
    }
}
