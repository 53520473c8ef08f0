//! Soak: long runs of the rigs, in parts that add up, and the page that is made of their log.
//!
//! `cargo xtask soak --part P --minutes M` goes on where the last run of that part ended, and appends one line to
//! `docs/soak.log`: date, commit, seeds, count, duration. `docs/reliability.md` takes its table from that log alone,
//! so that no number stands there without its line; `cargo xtask tidy` compares the two.
//!
//! # Why this way
//! A rig prints one line of flat JSON as its last, and the log's line holds it as it came. Nobody else writes the log, so
//! it is read here by looking for names, without a library.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::verify::read_output;

/// Where the runs are written down.
pub(crate) const LOG: &str = "docs/soak.log";

/// The page whose table is made from the log.
pub(crate) const PAGE: &str = "docs/reliability.md";

const BEGIN: &str = "<!-- from docs/soak.log: begin -->\n";
const END: &str = "<!-- from docs/soak.log: end -->";

/// A rig that runs for a long time.
#[derive(Clone, Copy)]
struct Part {
    name: &'static str,
    /// What the figure shows, as the page says it.
    about: &'static str,
    goal: Goal,
    /// The command; `{from}` is the first seed and `{minutes}` how long.
    command: &'static str,
}

#[derive(Clone, Copy)]
enum Goal {
    /// So many of what the rig counts.
    Count(u64),
    /// So many minutes, whatever they hold.
    Minutes(u64),
}

const PARTS: &[Part] = &[
    Part {
        name: "crash",
        about: "distinct simulated crash states, at every storage call; a tenth with the recovery crashed too",
        goal: Goal::Count(10_000_000),
        command: "cargo run --release -q -p cairndb-sim -- crash --from {from} --minutes {minutes}",
    },
    Part {
        name: "exhaustive-4",
        about: "sequences of four operations over two keys (there are 14,641), every crash state inside the last",
        goal: Goal::Count(14_641),
        command: "cargo run --release -q -p cairndb-sim -- exhaustive-4 --from {from} --minutes {minutes}",
    },
    Part {
        name: "world",
        about: "worlds of 2,000 operations with crashes, kills and failed calls among them",
        goal: Goal::Count(1_000),
        command: "cargo run --release -q -p cairndb-sim -- world --from {from} --minutes {minutes}",
    },
    Part {
        name: "faults",
        about: "failed calls and spoiled files at every operation, each class at every call; by seed another database",
        goal: Goal::Count(1_000_000),
        command: "cargo run --release -q -p cairndb-sim -- faults --from {from} --minutes {minutes}",
    },
    Part {
        name: "rot-bits",
        about: "bits of a 128 KiB database of all file types flipped, one at a time, each found or harmless",
        goal: Goal::Count(1_048_576),
        command: "cargo run --release -q -p cairndb-sim -- rot-bits --from {from} --minutes {minutes}",
    },
    Part {
        name: "kill",
        about: "kill -9 of a process whose four threads write; no acknowledged write lost",
        goal: Goal::Count(2_000),
        command: "tests/rigs/kill.sh --from {from} --minutes {minutes}",
    },
    Part {
        name: "power-ext4",
        about: "power cuts on a loop-mounted ext4; no acknowledged write lost",
        goal: Goal::Count(500),
        command: "tests/rigs/power.sh ext4 --from {from} --minutes {minutes}",
    },
    Part {
        name: "power-xfs",
        about: "power cuts on a loop-mounted xfs; no acknowledged write lost",
        goal: Goal::Count(500),
        command: "tests/rigs/power.sh xfs --from {from} --minutes {minutes}",
    },
    Part {
        name: "server-kill",
        about: "kill -9 of a server under eight clients; no acknowledged write lost",
        goal: Goal::Count(200),
        command: "tests/rigs/server_kill.sh --from {from} --minutes {minutes}",
    },
    Part {
        name: "server",
        about: "operations over both protocols, each answered as a model says, with backups, compactions and reconnects; memory, \
                files and space do not grow",
        goal: Goal::Minutes(10),
        command: "tests/rigs/server_soak.sh --from {from} --minutes {minutes}",
    },
    Part {
        name: "strace",
        about: "system calls of the shipped binary that the kernel refused, each class at each call",
        goal: Goal::Count(14_500),
        command: "tests/rigs/strace.sh --all --from {from} --minutes {minutes}",
    },
    Part {
        name: "metamorphic",
        about: "traces under 16 option sets each, answers equal byte for byte",
        goal: Goal::Count(10_000),
        command: "cargo run --release -q -p cairndb-sim -- metamorphic --from {from} --minutes {minutes}",
    },
    Part {
        name: "shuttle",
        about: "schedules of the engine's threads, drawn and judged",
        goal: Goal::Count(1_000_000),
        command: "cargo xtask schedules --from {from} --minutes {minutes}",
    },
    Part {
        name: "sabotage",
        about: "planted bugs, each caught by a rig that was not written for it",
        goal: Goal::Count(24),
        command: "cargo xtask sabotage",
    },
    Part {
        name: "mutants",
        about: "small changes to the log, the manifest, tables, versions, compaction and the front door that compile; \
                failures are those that no test notices ([which, and why](mutants.md))",
        goal: Goal::Count(300),
        command: "cargo xtask mutants --from {from} --minutes {minutes}",
    },
    Part {
        name: "fuzz-wal",
        about: "inputs to the log's reader, with the address sanitizer, in 512 MiB; so are the next eleven",
        goal: Goal::Minutes(15),
        command: "fuzz/run.sh wal {minutes}",
    },
    Part {
        name: "fuzz-manifest",
        about: "inputs to the manifest's reader",
        goal: Goal::Minutes(15),
        command: "fuzz/run.sh manifest {minutes}",
    },
    Part {
        name: "fuzz-block",
        about: "inputs to a block's reader",
        goal: Goal::Minutes(15),
        command: "fuzz/run.sh block {minutes}",
    },
    Part {
        name: "fuzz-table",
        about: "inputs to a table's reader: index and footer",
        goal: Goal::Minutes(15),
        command: "fuzz/run.sh table {minutes}",
    },
    Part {
        name: "fuzz-filter",
        about: "inputs to a filter",
        goal: Goal::Minutes(15),
        command: "fuzz/run.sh filter {minutes}",
    },
    Part {
        name: "fuzz-lz4",
        about: "inputs to a packed block",
        goal: Goal::Minutes(15),
        command: "fuzz/run.sh lz4 {minutes}",
    },
    Part {
        name: "fuzz-directory",
        about: "hostile directories, checksums signed anew",
        goal: Goal::Minutes(15),
        command: "fuzz/run.sh directory {minutes}",
    },
    Part {
        name: "fuzz-roadmap_log",
        about: "inputs to the roadmap's log",
        goal: Goal::Minutes(15),
        command: "fuzz/run.sh roadmap_log {minutes}",
    },
    Part {
        name: "fuzz-requests",
        about: "bytes to the Redis protocol's parser, whole and in pieces",
        goal: Goal::Minutes(15),
        command: "fuzz/run.sh requests {minutes}",
    },
    Part {
        name: "fuzz-commands",
        about: "bytes to a whole connection, every command behind it",
        goal: Goal::Minutes(15),
        command: "fuzz/run.sh commands {minutes}",
    },
    Part {
        name: "fuzz-http",
        about: "requests to every route of HTTP",
        goal: Goal::Minutes(15),
        command: "fuzz/run.sh http {minutes}",
    },
    Part {
        name: "fuzz-world",
        about: "operations, crashes and failed calls chosen by the fuzzer, against the oracle",
        goal: Goal::Minutes(15),
        command: "fuzz/run.sh world {minutes}",
    },
];

/// One run, as its line in the log tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Run {
    date: String,
    commit: String,
    part: String,
    unit: String,
    seeds: String,
    count: u64,
    seconds: f64,
    failures: u64,
}

impl Run {
    fn parse(line: &str) -> Option<Run> {
        Some(Run {
            date: text_of(line, "date")?,
            commit: text_of(line, "commit")?,
            part: text_of(line, "part")?,
            unit: text_of(line, "unit").unwrap_or_default(),
            seeds: text_of(line, "seeds").unwrap_or_default(),
            count: number_of(line, "count")? as u64,
            seconds: number_of(line, "took_seconds")?,
            failures: number_of(line, "failures")? as u64,
        })
    }

    fn next_seed(&self) -> u64 {
        self.seeds.split("..").nth(1).and_then(|end| end.parse().ok()).unwrap_or(0)
    }
}

/// The string behind `"name":` in a line of flat JSON.
fn text_of(line: &str, name: &str) -> Option<String> {
    let rest = line.split_once(&format!("\"{name}\":\""))?.1;
    rest.split_once('"').map(|(text, _)| text.to_string())
}

/// The number behind `"name":`.
fn number_of(line: &str, name: &str) -> Option<f64> {
    let rest = line.split_once(&format!("\"{name}\":"))?.1;
    rest.split([',', '}']).next()?.trim().parse().ok()
}

/// Runs the part that the arguments name, writes down how it went, and makes the page anew.
pub(crate) fn soak(root: &Path, arguments: &[&str]) -> bool {
    let (mut wanted, mut minutes) = (None, None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match (*argument, rest.next()) {
            ("--part", Some(name)) => wanted = PARTS.iter().find(|part| part.name == *name),
            ("--minutes", Some(text)) => minutes = text.parse::<f64>().ok(),
            _ => wanted = None,
        }
    }
    let (Some(part), Some(minutes)) = (wanted, minutes) else {
        eprintln!("cargo xtask soak --part PART --minutes M\nThe parts:");
        PARTS.iter().for_each(|part| eprintln!("  {:<14}{}", part.name, part.about));
        return false;
    };
    let read_log = || fs::read_to_string(root.join(LOG)).unwrap_or_default();
    let runs = runs_of(&read_log());
    let from = runs.iter().filter(|run| run.part == part.name).map(Run::next_seed).max().unwrap_or(0);
    let begun = Instant::now();
    let Some((passed, told)) = run_part(root, part, from, minutes) else { return false };
    let (date, commit, seconds) = (date(), commit(root), begun.elapsed().as_secs());
    let name = part.name;
    let stamp =
        format!(r#"{{"part":"{name}","date":"{date}","commit":"{commit}","took_seconds":{seconds},"rig":"#);
    let line = format!("{stamp}{told}}}");
    let line = match Run::parse(&line) {
        Some(_) => line,
        None => {
            eprintln!("the rig's last line is not a result: {told}");
            format!(r#"{stamp}{{"count":0,"seeds":"{from}..{from}","failures":1}}}}"#)
        }
    };
    append_to_log(root, &line);
    let old = fs::read_to_string(root.join(PAGE)).unwrap_or_default();
    match page_of(&old, &read_log()) {
        Some(page) => fs::write(root.join(PAGE), page).is_ok() && passed,
        None => {
            eprintln!("{PAGE} has no place for the table");
            false
        }
    }
}

/// Whether the part passed, and its last line; what it prints is shown as it comes.
fn run_part(root: &Path, part: &Part, from: u64, minutes: f64) -> Option<(bool, String)> {
    let text = part.command.replace("{from}", &from.to_string()).replace("{minutes}", &minutes.to_string());
    println!("{text}");
    let mut words = text.split_whitespace();
    let mut command = Command::new(words.next()?);
    command.args(words).current_dir(root).stderr(Stdio::inherit());
    match command.output() {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            print!("{told}");
            Some((output.status.success(), told.lines().last().unwrap_or_default().to_string()))
        }
        Err(error) => {
            eprintln!("{error}");
            None
        }
    }
}

fn date() -> String {
    let mut date = Command::new("date");
    date.args(["-u", "+%Y-%m-%dT%H:%MZ"]);
    read_output(date).unwrap_or_default().trim().to_string()
}

/// The commit whose code runs; with a plus where the sources differ from it.
fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(arguments).current_dir(root);
        read_output(git).unwrap_or_default()
    };
    let short = git(&["rev-parse", "--short=10", "HEAD"]);
    let changed = git(&["status", "--porcelain", "--", ".", ":!docs"]);
    format!("{}{}", short.trim(), if changed.is_empty() { "" } else { "+" })
}

fn runs_of(log: &str) -> Vec<Run> {
    log.lines().filter_map(Run::parse).collect()
}

fn append_to_log(root: &Path, line: &str) {
    let mut log =
        fs::OpenOptions::new().create(true).append(true).open(root.join(LOG)).expect("the log opens");
    writeln!(log, "{line}").expect("the log takes a line");
}

/// The page as the log makes it: its prose as it stands, its table anew. `None` if the table has no place in it.
pub(crate) fn page_of(page: &str, log: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{}{END}{after}", table(&runs_of(log))))
}

fn table(runs: &[Run]) -> String {
    let mut lines =
        String::from("| rig | what was run | so far | failures | runs | hours | last run | commit |\n");
    lines.push_str("|---|---|---|---|---|---|---|---|\n");
    for part in PARTS {
        let of_part: Vec<&Run> = runs.iter().filter(|run| run.part == part.name).collect();
        let Some(last) = of_part.last() else { continue };
        let count: u64 = of_part.iter().map(|run| run.count).sum();
        let failures: u64 = of_part.iter().map(|run| run.failures).sum();
        let hours = of_part.iter().map(|run| run.seconds).sum::<f64>() / 3600.0;
        let so_far = match part.goal {
            Goal::Count(goal) if count < goal => format!("{} of {}", grouped(count), grouped(goal)),
            Goal::Minutes(goal) if hours * 60.0 < goal as f64 => {
                format!("{} in {:.0} of {goal} minutes", grouped(count), (hours * 60.0).floor())
            }
            _ => grouped(count),
        };
        lines.push_str(&format!(
            "| {} | {} | {so_far} | {failures} | {} | {hours:.2} | {} | {} |\n",
            part.name,
            part.about,
            of_part.len(),
            last.date,
            last.commit,
        ));
    }
    lines
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"part":"crash","date":"2026-11-23T10:00Z","commit":"0123456789","took_seconds":3600,"rig":{"part":"crash","unit":"distinct","count":1234567,"seeds":"5..17","failures":0}}"#;

    #[test]
    fn a_line_of_the_log_is_read_back() {
        let run = Run::parse(LINE).unwrap();
        assert_eq!((run.count, run.next_seed(), run.failures), (1_234_567, 17, 0));
        assert_eq!(Run::parse("{}"), None);
        assert_eq!(Run::parse(&LINE.replace("\"count\":1234567,", "")), None);
    }

    #[test]
    fn the_page_keeps_its_prose() {
        let page = page_of(&format!("before\n{BEGIN}old\n{END}\nafter"), LINE).unwrap();
        assert!(page.starts_with("before\n") && page.ends_with("\nafter") && !page.contains("old"), "{page}");
        assert_eq!(page_of("no place", LINE), None);
    }

    #[test]
    fn the_table_adds_up_and_says_what_is_missing() {
        let run = Run::parse(LINE).unwrap();
        let text = table(&[run.clone(), run]);
        assert!(text.contains("| 2,469,134 of 10,000,000 | 0 | 2 | 2.00 |"), "{text}");
        assert!(!text.contains("world"), "a part that never ran has no row: {text}");
    }
}
