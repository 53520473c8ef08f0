//! `cairn-bench`: Cairn and its peers, on equal terms, in one run that anyone can repeat.
//!
//! `run` calls itself once for each engine, group and repetition, in turns, each on a fresh directory, and keeps every line of
//! results; `report` makes the table out of them; `machine` measures what the machine itself can do.

mod data;
mod engines;
mod groups;
mod machine;
mod measure;
mod plot;
mod report;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Cairn and its peers, side by side.
#[derive(Parser)]
#[command(version, about, max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run groups of workloads over engines, and write what was seen.
    Run(run::Plan),
    /// Print the table of what runs have written.
    Report {
        /// Files of results.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print a picture of what runs have written, as SVG.
    Plot {
        /// Files of results.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print what the machine can do: a sync, a copy, a cache miss.
    Machine {
        /// Where files may be made.
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
    /// List the engines and the groups.
    List,
    /// One group with one engine; called by `run`.
    #[command(hide = true)]
    One(One),
    /// Fill the log and die; called by a group.
    #[command(hide = true)]
    Die {
        #[arg(long)]
        engine: String,
        #[arg(long)]
        dir: PathBuf,
    },
}

#[derive(Args)]
struct One {
    #[arg(long)]
    engine: String,
    #[arg(long)]
    group: String,
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    repetition: u64,
    #[arg(long)]
    scale: f64,
    #[arg(long)]
    seconds: f64,
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> ExitCode {
    match run_verb(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(told) => {
            eprintln!("cairn-bench: {told}");
            ExitCode::FAILURE
        }
    }
}

fn run_verb(verb: Verb) -> Result<(), String> {
    match verb {
        Verb::Run(plan) => run::run(&plan),
        Verb::Report { files } => report::print(&files),
        Verb::Plot { files } => {
            print!("{}", report::plot(&files)?);
            Ok(())
        }
        Verb::Machine { dir } => {
            println!(
                "{}",
                serde_json::to_string_pretty(&machine::limits(&dir)).expect("numbers have a JSON form")
            );
            Ok(())
        }
        Verb::List => {
            for terms in engines::ENGINES {
                println!("{:<10} {:<14} at Os: {}", terms.name, terms.version, terms.loses);
            }
            for group in groups::GROUPS {
                println!("{:<10} {}", group.name, group.about);
            }
            Ok(())
        }
        Verb::One(one) => run_one(one),
        Verb::Die { engine, dir } => groups::die(run::engine_of(&engine)?, &dir),
    }
}

fn run_one(one: One) -> Result<(), String> {
    let rig = groups::Rig {
        terms: run::engine_of(&one.engine)?,
        dir: one.dir,
        repetition: one.repetition,
        scale: one.scale,
        time: Duration::from_secs_f64(one.seconds),
        only: &one.only,
        values: data::Values::new(),
        lines: Vec::new().into(),
    };
    for line in rig.run(run::group_of(&one.group)?) {
        println!("{}", serde_json::to_string(&line).expect("a line has a JSON form"));
    }
    Ok(())
}
