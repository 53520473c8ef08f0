//! `cairn`: a Cairn database from the command line.
//!
//! Every verb of the engine is a command here, and so is every way of looking at what it left on disk. The command
//! line adds three things of its own: text formats in and out, messages that say what to do, and exit codes.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done; also when the reader of our output went away |
//! | 1 | the key is not there; the server that was asked is not well |
//! | 2 | an error, or damage was found |
//!
//! # Where it sits
//! On top of everything: it calls `cairndb` and nothing calls it. Data goes to standard output, all talk to standard
//! error.
//!
//! # Why this way
//! One process per command: each opens the database, does one thing and closes it. That is slow beside a program that
//! keeps it open, and it is the harshest test of opening and closing that a user can run.

mod args;
mod database;
mod demo;
mod escape;
mod explain;
mod failure;
mod format;
mod health;
mod human;
mod keys;
mod load;
mod output;
mod progress;
mod repair;
mod replay;
mod report;
mod scan;
mod serve;
mod upkeep;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use failure::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(args.target.dir()),
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    let target = &args.target;
    match &args.command {
        Command::Put(put) => keys::put(target, put),
        Command::Get(get) => keys::get(target, get),
        Command::Delete(delete) => keys::delete(target, delete),
        Command::Scan(scan) => scan::scan(target, scan),
        Command::Dump(dump) => scan::dump(target, dump),
        Command::Load(load) => load::load(target, load),
        Command::Replay(replay) => replay::replay(target, replay),
        Command::Checkpoint => upkeep::checkpoint(target),
        Command::Compact => upkeep::compact(target),
        Command::Backup(backup) => upkeep::backup(target, backup),
        Command::Verify(verify) => report::verify(target, verify),
        Command::Repair(repair) => repair::repair(target, repair),
        Command::Stats(stats) => report::stats(target, stats),
        Command::Inspect(inspect) => report::inspect(inspect),
        Command::Serve(serve) => serve::serve(serve),
        Command::Health(health) => health::health(health),
        Command::Demo(demo) => demo::demo(target, demo),
    }
}
