//! Schedules: the checks of what threads do to each other: shuttle over the engine, and Miri over its unit tests.
//!
//! Shuttle decides at each lock and atomic which thread goes on; it takes every memory ordering for the strongest. Miri
//! runs the engine's unit tests, and a few that open a database on `Memory`, on an interpreter that knows the weak
//! orderings, and watches for undefined behaviour: of that safe code has none, but what it depends on could.
//!
//! # Why this way
//! Both are built into directories of their own: with their flags everything is compiled anew, and the ordinary build
//! must not be thrown away for it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What Miri runs: the unit tests, and two tests that open a database on `Memory`, write, flush, compact and read.
const MIRI_TESTS: [&str; 3] = ["::tests::", "smoke::verbs", "smoke::a_reader_that_outlives"];

/// Tests that Miri leaves out: each of their many readers has a window of a mebibyte or so, which takes an interpreter
/// twenty seconds to lay out, or they fill a disk; and there is but one thread in them.
const TOO_LONG_FOR_MIRI: [&str; 3] = ["roadmap_log::", "check::", "db::write::"];

/// Runs `cairndb-schedules` with these arguments; true if no schedule failed.
pub(crate) fn schedules(root: &Path, arguments: &[String]) -> bool {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["run", "--quiet", "--locked", "--package", "cairndb-schedules", "--target-dir"])
        .arg(target_directory(root).join("shuttle"))
        .arg("--")
        .args(arguments)
        .env("RUSTFLAGS", "--cfg shuttle -D warnings")
        .env("RUST_BACKTRACE", "0")
        .current_dir(root);
    succeeds(command)
}

/// Runs what is listed under Miri; true if all passed.
pub(crate) fn miri(root: &Path) -> bool {
    let mut command = Command::new("cargo");
    command
        .args(["+nightly", "miri", "test", "--locked", "--package", "cairndb", "--lib", "--test", "it"])
        .arg("--target-dir")
        .arg(target_directory(root).join("miri"))
        .arg("--")
        .args(MIRI_TESTS);
    for test in TOO_LONG_FOR_MIRI {
        command.args(["--skip", test]);
    }
    command.env("MIRIFLAGS", "-Zmiri-disable-isolation").env_remove("RUSTFLAGS").current_dir(root);
    succeeds(without_our_toolchain(command))
}

/// Whether nightly, Miri and the sources that it builds its standard library from are there.
pub(crate) fn has_miri(root: &Path) -> bool {
    let mut miri = Command::new("cargo");
    miri.args(["+nightly", "miri", "--version"]).current_dir(root);
    let mut sysroot = Command::new("rustc");
    sysroot.args(["+nightly", "--print", "sysroot"]).current_dir(root);
    let has = |command| without_our_toolchain(command).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let found = has(miri).is_ok_and(|output| output.status.success());
    found
        && has(sysroot).is_ok_and(|output| {
            let path = String::from_utf8_lossy(&output.stdout).trim().to_string();
            Path::new(&path).join("lib/rustlib/src/rust/library/Cargo.toml").is_file()
        })
}

/// The cargo that runs us has named its toolchain in the environment, where it would win over `+nightly`.
fn without_our_toolchain(mut command: Command) -> Command {
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    command
}

fn target_directory(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

fn succeeds(mut command: Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            println!("{error}");
            false
        }
    }
}
