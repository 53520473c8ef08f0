//! Chores: what this project needs done beyond what cargo does by itself.
//!
//! `cargo xtask verify` is the one test command: it runs every check in turn and changes nothing in the tree.
//! `cargo xtask fix` lets the tools mend what they can. `cargo xtask tidy` runs only the checks that read the
//! sources as text.
//!
//! # Why this way
//! Plain Rust on `std`, found through the alias in `.cargo/config.toml`: nothing to install, and the same on
//! every system that can build the database.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod browser;
mod instructions;
mod mutants;
mod sabotage;
mod schedules;
mod soak;
mod tidy;
mod verify;

const HELP: &str = "\
cargo xtask <command>

  verify   run every check and change nothing in the tree
             fmt        cargo fmt --check
             clippy     every target of the workspace, warnings are errors
             tests      cargo nextest run, or cargo test where nextest is not installed
             doc tests  cargo test --doc
             slow       the tests that need optimised code: #[ignore]d tests named slow_*
             simulator  cairndb-sim: crashes at every storage call, sequences, option sets, an application
             sabotage   one planted bug, drawn by the commit, must be caught
             kill       tests/rigs/kill.sh: a writing process is killed 50 times
             power      tests/rigs/power.sh: 5 power cuts on ext4, 5 on xfs (needs root)
             full disk  tests/rigs/full_disk.sh: a full ext4 of 32 MiB, emptied by deletes (needs root)
             strace     tests/rigs/strace.sh: the kernel refuses calls, a sample of 400 (needs strace)
             server kill
                        tests/rigs/server_kill.sh: a server is killed 12 times under load
             server full disk
                        tests/rigs/server_full_disk.sh: a full ext4 of 32 MiB under a server (needs root)
             clients    tests/rigs/clients.sh: redis-cli, redis-py, ioredis, node-redis and redis-rs against the
                        server (needs redis-cli, python3 with venv, node and npm)
             docs       cargo doc, warnings are errors
             tidy       see below
             schedules  20,000 schedules of the engine's threads, drawn and judged (see below)
             miri       the engine's unit tests under Miri (needs nightly with miri and rust-src)
             instructions
                        what each verb costs, under callgrind (needs valgrind)
             wasm       cairndb and cairndb-storage, checked for wasm32-unknown-unknown
             browser    the engine in Chromium and node, the npm package, the explorer (see below)
             deny       licences and sources of dependencies (needs cargo-deny)
             other locks
                        those of fuzz/, bench/ and redis-rs fit
             unchanged  git status says the same as before
           A missing tool is named and its check skipped. Exit code 1 if a check failed; with CI=true in the
           environment also if one was skipped.
  fix      cargo clippy --fix, then cargo fmt
  schedules [options]
           run the engine under drawn schedules of its threads; --help lists the options
  browser  install what is missing for it (on Debian), then run the engine in Chromium and in node over the same script as
           natively, build the npm package and the explorer, and drive them through what a page goes through
  explorer install what is missing for it (on Debian), then build the page that takes a database apart
  miri     run the engine's unit tests under Miri
  instructions [--write]
           count what each verb costs, under callgrind, and compare with crates/cairndb/benches/instructions.txt, or
           write that (needs valgrind)
  tidy     read the sources as text: rooms, bans, plates, constants, links, arrows, words, ignored tests
  soak     --part P --minutes M: run a rig for long, and write down how it went in docs/soak.log
  mutants  [--from SEED] [--minutes M]: change the engine in small ways, a sample by seed, and show what no test notices
           (needs cargo-mutants and nextest)
  stages   [NAME...]: measure the guide's stages beside the engine, and draw guide/stages/chart.svg; or measure those named,
           as stage_01 or cairndb, and draw nothing
  sabotage [NN...] [--draw SEED]: plant bugs, all of them or those named, and show that a rig catches each
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let root = workspace_root();
    let succeeded = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["verify"] => verify::verify(&root),
        ["fix"] => verify::fix(&root),
        ["schedules", ..] => schedules::schedules(&root, &arguments[1..]),
        ["instructions", ref rest @ ..] => instructions::instructions(&root, rest),
        ["browser"] => browser::browser(&root),
        ["explorer"] => browser::explorer(&root),
        ["miri"] => schedules::miri(&root),
        ["tidy"] => tidy::tidy(&root),
        ["soak", ref rest @ ..] => soak::soak(&root, rest),
        ["mutants", ref rest @ ..] => mutants::mutants(&root, rest),
        ["stages", ref rest @ ..] => stages(&root, rest),
        ["sabotage", ref rest @ ..] => sabotage::sabotage(&root, rest),
        ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            true
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The chart has a program of its own, so that nobody who builds this one builds the stages and the engine.
fn stages(root: &Path, names: &[&str]) -> bool {
    let arguments = ["run", "--release", "--quiet", "-p", "measure", "--", "guide/stages"];
    let mut command = std::process::Command::new("cargo");
    command.args(arguments).args(names).current_dir(root).status().is_ok_and(|status| status.success())
}

/// The directory above this package's, which cargo names when it runs us; else the current one.
fn workspace_root() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR")
        .and_then(|package| Path::new(&package).parent().map(Path::to_path_buf))
        .unwrap_or_else(|| PathBuf::from("."))
}
