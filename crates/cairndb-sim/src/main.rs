//! Main: the simulation, from the command line.

use std::process::ExitCode;
use std::time::Duration;

use cairndb_sim::{PARTS, Part, Until, fault_matrix, run_seeds};
use clap::Parser;

/// Runs a database in a simulated world, where every crash can be had again.
#[derive(Parser)]
#[command(name = "cairndb-sim", after_help = parts_help())]
struct Args {
    /// What to run
    #[arg(default_value = "world", value_parser = part_of)]
    part: Part,
    /// Run this seed alone, and print a hash of its trace
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "seeds", "count", "minutes"])]
    seed: Option<u64>,
    /// Print docs/fault-matrix.md, from the databases of seed 0
    #[arg(long)]
    fault_matrix: bool,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// Stop after so many seeds [default: 100, or all where there is an end to them]
    #[arg(long, value_name = "N", group = "until")]
    seeds: Option<u64>,
    /// Stop when the part's figure has reached this
    #[arg(long, value_name = "N", group = "until")]
    count: Option<u64>,
    /// Stop after so many minutes
    #[arg(long, value_name = "M", group = "until")]
    minutes: Option<f64>,
}

fn part_of(name: &str) -> Result<Part, String> {
    let names = || PARTS.iter().map(|part| part.name).collect::<Vec<_>>().join(", ");
    PARTS.iter().find(|part| part.name == name).copied().ok_or_else(|| format!("the parts are {}", names()))
}

fn parts_help() -> String {
    let lines = PARTS.iter().map(|part| format!("  {:<14}{}\n", part.name, part.about));
    format!("Parts:\n{}\nThe last line printed is for programs.", lines.collect::<String>())
}

impl Args {
    fn until(&self) -> Until {
        match (self.seed, self.count, self.minutes) {
            (Some(_), _, _) => Until::Seeds(1),
            (_, Some(count), _) => Until::Count(count),
            (_, _, Some(minutes)) => Until::Time(Duration::from_secs_f64(minutes * 60.0)),
            _ => Until::Seeds(self.seeds.or(self.part.seeds).unwrap_or(100)),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.fault_matrix {
        return print_fault_matrix();
    }
    let (part, from) = (args.part, args.seed.unwrap_or(args.from));
    let done = match run_seeds(&part, from, args.until()) {
        Ok(done) => done,
        Err(told) => {
            eprintln!("{told}");
            let name = part.name;
            println!(
                r#"{{"part":"{name}","unit":"{}","count":0,"seeds":"{from}..{from}","failures":1}}"#,
                part.unit
            );
            return ExitCode::FAILURE;
        }
    };
    for (name, count) in done.tally.counts() {
        println!("{name:<28}{count:>12}");
    }
    if args.seed.is_some() {
        println!("{:<28}{:>12x}", "trace", done.tally.trace());
    }
    let all = part.seeds.map_or_else(String::new, |seeds| format!(r#","of":{seeds}"#));
    println!(
        r#"{{"part":"{}","unit":"{}","count":{},"seeds":"{}..{}"{all},"seconds":{:.1},"failures":0}}"#,
        part.name,
        part.unit,
        done.count,
        from,
        done.next_seed,
        done.took.as_secs_f64()
    );
    ExitCode::SUCCESS
}

fn print_fault_matrix() -> ExitCode {
    match fault_matrix() {
        Ok(page) => {
            print!("{page}");
            ExitCode::SUCCESS
        }
        Err(told) => {
            eprintln!("{told}");
            ExitCode::FAILURE
        }
    }
}
