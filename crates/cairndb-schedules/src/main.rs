//! Schedules: the engine run under drawn schedules, and held to what it promises under all of them.
//!
//! Built with `--cfg shuttle` (`cargo xtask schedules` does), the engine's locks and atomics ask a scheduler which thread
//! goes on; the disk under it asks too. Each seed is one schedule of one scenario, and the same again whenever it is
//! asked for. A schedule fails by an assertion of the scenario or of the engine, by a deadlock, or by never ending.
//!
//! # Where it sits
//! On `cairndb`, from outside. The scenarios are in `scenarios/`; what they assert about sets of writes is in `world`.
//!
//! # Why this way
//! A program and not tests of the engine's package: it is built by itself, in seconds, with nothing but the engine and
//! shuttle; and a run of a million schedules is a run of the same program as a run of one.

#[cfg(shuttle)]
mod scheduler;
#[cfg(shuttle)]
mod disk;
#[cfg(shuttle)]
mod world;
#[cfg(shuttle)]
mod scenarios;
#[cfg(shuttle)]
mod run;

use std::process::ExitCode;

#[cfg(shuttle)]
fn main() -> ExitCode {
    run::main()
}

#[cfg(not(shuttle))]
fn main() -> ExitCode {
    eprintln!(
        "this was built without --cfg shuttle, so nothing asks for a schedule; run cargo xtask schedules"
    );
    ExitCode::from(2)
}
