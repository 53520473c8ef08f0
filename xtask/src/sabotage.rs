//! Sabotage: planted bugs, each of which a rig must catch: a rig that has caught nothing proves nothing.
//!
//! Each `crates/cairndb-sim/sabotage/NN-name.patch` begins with a few lines of `Word: text`:
//! ```text
//! Breaks: promise 2: a `Sync` write survives, and what was written to the log before it does not
//! Like: <store> issue <number>, "<title>" (<address>)          where it is modelled on a public report; without
//!                                                              quotation marks it says in our words what went wrong
//! Rig: sim crash --count 60000
//! ```
//! Before any is tried all must fit the tree, those too that are not asked for: a run of one would otherwise tell nothing
//! of the others. A patch is then applied to a copy of the tree, the rig is built there and run, and it must fail and say
//! why. A patch that does not compile, or is not caught in time, fails the run; so does a rig that fails on the tree as
//! it is, and, when all are run, a promise that no patch breaks.
//!
//! # Why this way
//! One scratch copy with one warm target directory: of the copy only what differs is written, so that a build after a
//! patch builds what the patch touches.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::verify::read_output;

const PATCHES: &str = "crates/cairndb-sim/sabotage";

/// How long a rig may look for a planted bug.
const SEARCH_SECONDS: u64 = 300;

/// The promises of ARCHITECTURE.md are numbered up to this.
const PROMISE_COUNT: u8 = 12;

/// Of what a rig says this much is shown, in characters.
const FINDING_LEN: usize = 200;

/// Something that looks for bugs of any kind: no test that was written for one of the patches.
struct Rig {
    name: &'static str,
    build: &'static str,
    /// What a patch says behind the rig's name follows.
    run: &'static str,
}

const RIGS: &[Rig] = &[
    Rig {
        name: "sim",
        build: "cargo build -q --profile sabotage --locked -p cairndb-sim",
        run: "cargo run -q --profile sabotage --locked -p cairndb-sim --",
    },
    // The inputs that fuzzing keeps, and directories whose every length lies.
    Rig {
        name: "hostile",
        build: "cargo test -q --profile sabotage --locked -p cairndb --features fuzz --test it --no-run",
        run: "cargo test -q --profile sabotage --locked -p cairndb --features fuzz --test it -- --include-ignored --nocapture",
    },
    // Threads take turns as a scheduler draws them.
    Rig {
        name: "shuttle",
        build: "cargo build -q --profile sabotage --locked --config crates/cairndb-schedules/shuttle.toml --target-dir ../shuttle -p cairndb-schedules",
        run: "cargo run -q --profile sabotage --locked --config crates/cairndb-schedules/shuttle.toml --target-dir ../shuttle -p cairndb-schedules --",
    },
];

struct Patch {
    name: String,
    path: PathBuf,
    breaks: String,
    promise: u8,
    /// The public report that it is modelled on.
    like: Option<String>,
    rig: String,
    /// The files that it changes.
    files: Vec<String>,
}

impl Patch {
    fn read(path: PathBuf) -> Result<Patch, String> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
        let says = |word: &str| {
            let line = text
                .lines()
                .take_while(|line| !line.starts_with("diff "))
                .find_map(|line| line.strip_prefix(word));
            line.map(|rest| rest.trim().to_string())
        };
        let missing = |word: &str| format!("{name}: has no line `{word} ...`");
        let breaks = says("Breaks:").ok_or_else(|| missing("Breaks: promise N:"))?;
        let rig = says("Rig:").ok_or_else(|| missing("Rig:"))?;
        let number = breaks.strip_prefix("promise ").and_then(|rest| rest.split_once(':'));
        let promise = number.and_then(|(number, _)| number.parse().ok());
        let promise = promise.ok_or_else(|| missing("Breaks: promise N:"))?;
        let like = says("Like:");
        let files = text.lines().filter_map(|line| line.strip_prefix("+++ b/")).map(str::to_string).collect();
        Ok(Patch { name, path, breaks, promise, like, rig, files })
    }
}

/// Runs the planted bugs that the arguments name, one that `--draw SEED` picks, or all; true if all were caught.
pub(crate) fn sabotage(root: &Path, arguments: &[&str]) -> bool {
    // Git takes no other path for the end of its search for a repository.
    let root = &root.canonicalize().expect("the workspace is there");
    let patches = match read_patches(root) {
        Ok(patches) => patches,
        Err(told) => {
            eprintln!("{told}");
            return false;
        }
    };
    let total = patches.len();
    let wanted: Vec<&Patch> = match arguments {
        [] => patches.iter().collect(),
        ["--draw", seed] => patches.iter().skip(hash(seed) as usize % total.max(1)).take(1).collect(),
        names => {
            patches.iter().filter(|patch| names.iter().any(|name| patch.name.starts_with(name))).collect()
        }
    };
    if wanted.is_empty() {
        eprintln!("no such patch in {PATCHES}");
        return false;
    }
    let scratch = root.join("target/sabotage/tree");
    let begun = Instant::now();
    let mut caught = 0;
    if !all_fit(root, &scratch, &patches) || !baseline(&scratch, &wanted) {
        return false;
    }
    for patch in &wanted {
        match try_patch(root, &scratch, patch) {
            Ok(told) => {
                caught += 1;
                println!("caught   {:<44}{told}", patch.name);
            }
            Err(told) => println!("MISSED   {:<44}{told}\n         it breaks: {}", patch.name, patch.breaks),
        }
    }
    let is_whole = wanted.len() == total;
    let unbroken: Vec<u8> = (1..=PROMISE_COUNT)
        .filter(|number| is_whole && patches.iter().all(|patch| patch.promise != *number))
        .collect();
    for number in &unbroken {
        println!("MISSING  promise {number}: no patch breaks it");
    }
    let modelled = wanted.iter().filter(|patch| patch.like.is_some()).count();
    println!("{modelled} of {} are modelled on public reports", wanted.len());
    println!(
        r#"{{"part":"sabotage","unit":"caught","count":{caught},"of":{total},"seconds":{:.1},"failures":{}}}"#,
        begun.elapsed().as_secs_f64(),
        wanted.len() - caught
    );
    caught == wanted.len() && unbroken.is_empty()
}

fn read_patches(root: &Path) -> Result<Vec<Patch>, String> {
    let listed = fs::read_dir(root.join(PATCHES)).map_err(|error| format!("{PATCHES}: {error}"))?;
    let mut paths: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    paths.sort();
    paths.into_iter().map(Patch::read).collect()
}

/// Makes the copy hold the tree, which every patch must fit.
fn all_fit(root: &Path, scratch: &Path, patches: &[Patch]) -> bool {
    if let Err(told) = copy_tree(root, scratch) {
        eprintln!("{told}");
        return false;
    }
    let mut fit = true;
    for patch in patches {
        if let Err(told) = git_apply(scratch, &patch.path, &["--check"]) {
            println!("STALE    {:<44}{told}", patch.name);
            fit = false;
        }
    }
    fit
}

/// The rigs must pass on the tree as it is.
fn baseline(scratch: &Path, wanted: &[&Patch]) -> bool {
    let rigs: BTreeSet<&str> = wanted.iter().map(|patch| patch.rig.as_str()).collect();
    rigs.into_iter().all(|rig| match run_rig(scratch, rig) {
        Ok(ran) if ran.passed => {
            println!("passes   {rig:<44}on the tree as it is, in {:.1} s", ran.took.as_secs_f64());
            true
        }
        Ok(ran) => {
            println!("FAILS    {rig:<44}on the tree as it is: {}", ran.told);
            false
        }
        Err(told) => {
            println!("FAILS    {rig:<44}{told}");
            false
        }
    })
}

/// How the patch was caught, or why not.
fn try_patch(root: &Path, scratch: &Path, patch: &Patch) -> Result<String, String> {
    copy_tree(root, scratch)?;
    apply(scratch, &patch.path)?;
    let is_changed = |name: &String| fs::read(root.join(name)).ok() != fs::read(scratch.join(name)).ok();
    if patch.files.is_empty() || !patch.files.iter().all(is_changed) {
        return Err("does not apply: nothing was changed".into());
    }
    let ran = run_rig(scratch, &patch.rig)?;
    match ran.passed {
        true => Err(format!("`{}` passes, in {:.1} s", patch.rig, ran.took.as_secs_f64())),
        false => Ok(format!("by `{}` in {:.1} s: {}", patch.rig, ran.took.as_secs_f64(), ran.told)),
    }
}

/// Applies a patch to the copy.
pub(crate) fn apply(scratch: &Path, patch: &Path) -> Result<(), String> {
    git_apply(scratch, patch, &[])
}

fn git_apply(scratch: &Path, patch: &Path, options: &[&str]) -> Result<(), String> {
    let mut git = Command::new("git");
    git.arg("apply").args(options).arg(patch).current_dir(scratch);
    // To git, the copy is no part of the repository around it.
    git.env("GIT_CEILING_DIRECTORIES", scratch.parent().unwrap_or(scratch));
    let applied = git.stderr(Stdio::piped()).output().map_err(|error| format!("git: {error}"))?;
    match applied.status.success() {
        true => Ok(()),
        false => Err(format!("does not apply: {}", String::from_utf8_lossy(&applied.stderr).trim())),
    }
}

struct Ran {
    passed: bool,
    took: Duration,
    /// The line that says what is wrong.
    told: String,
}

/// Builds a rig, which must work, and runs it.
fn run_rig(scratch: &Path, rig: &str) -> Result<Ran, String> {
    let (name, rest) = rig.split_once(' ').unwrap_or((rig, ""));
    let known = RIGS.iter().find(|known| known.name == name);
    let Rig { build, run, .. } = known.ok_or_else(|| format!("no rig is called {name}"))?;
    let built = command_of(scratch, build).output().map_err(|error| format!("{build}: {error}"))?;
    if !built.status.success() {
        return Err(format!("does not compile:\n{}", String::from_utf8_lossy(&built.stderr)));
    }
    let (begun, limit) = (Instant::now(), Duration::from_secs(SEARCH_SECONDS));
    let log = scratch.with_file_name("rig.log");
    let file = fs::File::create(&log).map_err(|error| error.to_string())?;
    let mut child = command_of(scratch, &format!("{run} {rest}"))
        .stdout(file.try_clone().map_err(|error| error.to_string())?)
        .stderr(file)
        .spawn()
        .map_err(|error| error.to_string())?;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            let told = fs::read_to_string(&log).unwrap_or_default();
            let told =
                first_finding(&told).ok_or_else(|| format!("`{rig}`: {status}, and it said nothing"))?;
            return Ok(Ran { passed: status.success(), took: begun.elapsed(), told });
        }
        if begun.elapsed() > limit {
            // An engine that hangs is wrong too, but then the rig should say so itself.
            child.kill().map_err(|error| error.to_string())?;
            return Err(format!("`{rig}` did not end in {SEARCH_SECONDS} s"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What the rig found first: what the simulator says below the step, or the first line that calls something wrong.
fn first_finding(told: &str) -> Option<String> {
    let wanted = ["panicked", "FAILED", "expected", "differs", "wrong", "lost"];
    // The schedule checker names the task first, and then what was wrong in it.
    let is_told =
        |line: &&str| !line.starts_with("Task failed") && !line.starts_with("test panicked in task");
    let below_a_step = told.lines().skip_while(|line| !line.starts_with("at ")).nth(1);
    let mut lines = told.lines().filter(is_told);
    // What a panic says stands below the line that says where it was.
    let mut wrong = || match lines.find(|line| wanted.iter().any(|word| line.contains(word))) {
        Some(line) if line.contains("panicked at") => lines.next(),
        line => line,
    };
    let line = below_a_step.or_else(&mut wrong).or_else(|| told.lines().find(|line| !line.is_empty()))?;
    Some(line.trim().chars().take(FINDING_LEN).collect())
}

fn command_of(directory: &Path, text: &str) -> Command {
    let mut words = text.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).current_dir(directory).env("CARGO_TARGET_DIR", directory.with_file_name("target"));
    command.stdin(Stdio::null());
    command
}

/// Makes the copy hold what the tree holds; writes what differs and nothing else.
pub(crate) fn copy_tree(root: &Path, scratch: &Path) -> Result<(), String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let listed = read_output(git).ok_or("not a git checkout, or no git")?;
    let names: BTreeSet<&str> = listed.split('\0').filter(|name| !name.is_empty()).collect();
    remove_others(scratch, scratch, &names)?;
    for name in &names {
        let Ok(wanted) = fs::read(root.join(name)) else { continue };
        let place = scratch.join(name);
        if fs::read(&place).is_ok_and(|found| found == wanted) {
            continue;
        }
        let parent = place.parent().unwrap_or(scratch);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&place, wanted))
            .map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// Removes from the copy what the tree does not hold: files that a patch has added, or that are gone.
fn remove_others(scratch: &Path, directory: &Path, names: &BTreeSet<&str>) -> Result<(), String> {
    let Ok(listed) = fs::read_dir(directory) else { return Ok(()) };
    for path in listed.flatten().map(|entry| entry.path()) {
        let name = path.strip_prefix(scratch).unwrap_or(&path).to_string_lossy().into_owned();
        if path.is_dir() {
            remove_others(scratch, &path, names)?;
        } else if !names.contains(name.as_str()) {
            fs::remove_file(&path).map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(())
}

/// Spreads seeds that differ little (FNV-1a).
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
