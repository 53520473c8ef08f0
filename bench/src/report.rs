//! Report: the table of ratios, and which floors they reach.
//!
//! In each repetition ours is divided by theirs; what is printed is the median of those ratios, and between which two they
//! lay. So a machine that slows down for a minute slows both. Of several runs each gives its own median, and a row is judged
//! by the median of those.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::engines::{ENGINES, Terms, engine};
use crate::measure::Line;
use crate::run::Head;

/// Which number of a line is compared.
#[derive(Clone, Copy)]
enum Measure {
    /// Operations a second: more is better.
    Rate,
    /// One of the line's figures, by name: more is better.
    More(&'static str),
    /// One of the line's figures, by name: less is better.
    Less(&'static str),
    /// Milliseconds: less is better.
    Milliseconds,
}

/// Whom we are held against.
#[derive(Clone, Copy)]
enum Peer {
    /// The best of all others.
    Best,
    /// The best of the other log-structured trees.
    BestLsm,
    Named(&'static str),
    /// Nobody: a number of its own.
    Number,
    /// Our own figure in another workload.
    Ours(&'static str),
}

/// A row of the table: a workload, and what it should at least reach.
struct Row {
    workload: &'static str,
    measure: Measure,
    floors: &'static [(Peer, f64)],
}

const fn row(workload: &'static str, measure: Measure, floors: &'static [(Peer, f64)]) -> Row {
    Row { workload, measure, floors }
}

pub(crate) const OURS: &str = "cairndb";
const ROCKS: Peer = Peer::Named("rocksdb");

use Measure::{Less, Milliseconds, More, Rate};
use Peer::{Best, BestLsm, Named, Number, Ours};

const ROWS: &[Row] = &[
    row("fillsync", Rate, &[(Best, 1.0), (ROCKS, 1.3)]),
    row("group commit", Rate, &[(ROCKS, 1.5)]),
    row("batches of 100", Rate, &[(Best, 1.3)]),
    row("fillseq", Rate, &[(Best, 1.3)]),
    row("fillrandom", Rate, &[(Best, 1.2)]),
    row("fillbatch", Rate, &[(Best, 1.2)]),
    row("overwrite", Rate, &[(Best, 1.3)]),
    row("readrandom", Rate, &[(BestLsm, 2.0)]),
    row("readrandom, 2 threads", Rate, &[(BestLsm, 2.0)]),
    row("readrandom, ten times the cache", Rate, &[(BestLsm, 1.7)]),
    row("readrandom, ten times the cache, 2 threads", Rate, &[(BestLsm, 1.7)]),
    row("readmissing", Rate, &[(Best, 1.1)]),
    row("readmissing, ten times the cache", Rate, &[]),
    row("readseq", Rate, &[(BestLsm, 2.0)]),
    row("scan of 100", Rate, &[(BestLsm, 2.0)]),
    row("4 readers, 1 writer", Rate, &[(BestLsm, 1.5)]),
    row("4 readers, 1 writer", More("writes"), &[(Named("fjall"), 1.0)]),
    row("YCSB A", Rate, &[(BestLsm, 1.3)]),
    row("YCSB B", Rate, &[(BestLsm, 1.3)]),
    row("YCSB C", Rate, &[(BestLsm, 1.3)]),
    row("emptied range", Milliseconds, &[(ROCKS, 0.1)]),
    row("reopen after a close", Milliseconds, &[(Number, 10.0)]),
    row("reopen after a kill", Milliseconds, &[(Number, 100.0)]),
    row("space", Less("at once"), &[]),
    row("space", Less("settled"), &[(ROCKS, 1.0)]),
    row("space", Less("written"), &[]),
    row("write at 8 million", Rate, &[(Ours("write at 0.5 million"), 0.6)]),
    row("read at 8 million", Rate, &[(Ours("read at 2 million"), 0.7)]),
    row("fillrandom of ten million", Less("longest write, ms"), &[(Number, 100.0)]),
];

/// At most so much of the best log-structured peer's p99.
const P99_MAX: f64 = 1.25;

/// What one run saw.
pub(crate) struct Run {
    head: Head,
    lines: Vec<Line>,
}

/// Ratios of several repetitions.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

/// Prints what the runs in `files` saw.
pub(crate) fn print(files: &[PathBuf]) -> Result<(), String> {
    let runs = files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    for run in &runs {
        let head = &run.head;
        let versions: Vec<_> =
            head.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        println!(
            "Run {}: commit {}, {}; {} repetitions, scale {}, {} s a timed workload; {}, {} cores.",
            head.began,
            head.commit,
            versions.join(", "),
            head.repetitions,
            head.scale,
            head.seconds,
            head.machine.processor,
            head.machine.cores,
        );
    }
    println!("\n| workload | {} | floor | reached |", names(ENGINES).join(" | "));
    println!("|---|{}---|---|", "---|".repeat(ENGINES.len()));
    for row in ROWS {
        print_row(row, &runs);
    }
    println!("\np99 in microseconds, and ours to the best log-structured peer's, at most {P99_MAX}:\n");
    println!("| workload | {} | ratio |", names(ENGINES).join(" | "));
    println!("|---|{}---|", "---|".repeat(ENGINES.len()));
    for row in ROWS.iter().filter(|row| matches!(row.measure, Rate)) {
        print_p99(row, &runs);
    }
    println!("\nProcessor time per operation, in microseconds, over all threads:\n");
    println!("| workload | {} |", names(ENGINES).join(" | "));
    println!("|---|{}", "---|".repeat(ENGINES.len()));
    for row in ROWS.iter().filter(|row| matches!(row.measure, Rate)) {
        let cell = |terms: &Terms| {
            let found = values(&runs, terms.name, row.workload, |line| {
                Some(1e6 * line.cpu_seconds / line.ops as f64)
            });
            median(found).map_or("–".into(), |cpu| format!("{cpu:.2}"))
        };
        println!("| {} | {} |", row.workload, ENGINES.iter().map(cell).collect::<Vec<_>>().join(" | "));
    }
    print_memory(&runs);
    Ok(())
}

/// The picture of what the runs in `files` saw.
pub(crate) fn plot(files: &[PathBuf]) -> Result<String, String> {
    Ok(crate::plot::draw(&files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?))
}

/// The workloads whose figure is a rate, in the order of the table.
pub(crate) fn rated_workloads() -> impl Iterator<Item = &'static str> {
    ROWS.iter().filter(|row| matches!(row.measure, Rate)).map(|row| row.workload)
}

/// The median of an engine's rates over all repetitions of all runs.
pub(crate) fn median_rate(runs: &[Run], engine: &str, workload: &str) -> Option<f64> {
    median(values(runs, engine, workload, |line| Some(line.rate())))
}

fn read(path: &Path) -> Result<Run, String> {
    let told = |what: &str| format!("{}: {what}", path.display());
    let text = fs::read_to_string(path).map_err(|error| told(&error.to_string()))?;
    let mut lines = text.lines();
    let head =
        serde_json::from_str(lines.next().unwrap_or_default()).map_err(|error| told(&error.to_string()))?;
    let parsed = lines.map(|line| serde_json::from_str(line).map_err(|error| told(&error.to_string())));
    Ok(Run { head, lines: parsed.collect::<Result<_, _>>()? })
}

fn names(engines: &[Terms]) -> Vec<&'static str> {
    engines.iter().map(|terms| terms.name).collect()
}

impl Measure {
    fn of(self, line: &Line) -> Option<f64> {
        match self {
            Rate => Some(line.rate()),
            Milliseconds => Some(line.seconds * 1e3),
            More(name) | Less(name) => line.figures.get(name).copied(),
        }
    }

    fn is_more_better(self) -> bool {
        matches!(self, Rate | More(_))
    }

    fn show(self, value: f64) -> String {
        match self {
            Rate | More(_) if value >= 1e6 => format!("{:.2}M", value / 1e6),
            Rate | More(_) if value >= 1e4 => format!("{:.0}k", value / 1e3),
            Rate | More(_) => format!("{value:.0}"),
            Less(_) | Milliseconds => format!("{value:.2}"),
        }
    }

    fn label(self) -> String {
        match self {
            Rate => String::new(),
            Milliseconds => ", ms".to_string(),
            More(name) | Less(name) => format!(": {name}"),
        }
    }
}

fn print_row(row: &Row, runs: &[Run]) {
    let cell = |terms: &Terms| {
        let found = values(runs, terms.name, row.workload, |line| row.measure.of(line));
        median(found).map_or("–".into(), |value| row.measure.show(value))
    };
    let cells: Vec<_> = ENGINES.iter().map(cell).collect();
    if cells.iter().all(|cell| cell == "–") {
        return;
    }
    let (mut floors, mut reached) = (Vec::new(), Vec::new());
    for (peer, floor) in row.floors {
        let Some(spread) = spread_of_runs(runs, row, *peer) else { continue };
        let is_met =
            if row.measure.is_more_better() { spread.median >= *floor } else { spread.median <= *floor };
        let sign = if row.measure.is_more_better() { "≥" } else { "≤" };
        floors.push(format!("{sign} {floor} {}", peer.label()));
        let mark = if is_met { "" } else { " **missed**" };
        reached.push(format!("{:.2} ({:.2} to {:.2}){mark}", spread.median, spread.least, spread.most));
    }
    let label = format!("{}{}", row.workload, row.measure.label());
    println!("| {label} | {} | {} | {} |", cells.join(" | "), floors.join("; "), reached.join("; "));
}

impl Peer {
    fn label(self) -> String {
        match self {
            Best => "× best".into(),
            BestLsm => "× best LSM".into(),
            Named(name) => format!("× {name}"),
            Number => String::new(),
            Ours(workload) => format!("× {workload}"),
        }
    }
}

/// The median over the runs of what each says of the row; the spread is over all repetitions.
fn spread_of_runs(runs: &[Run], row: &Row, peer: Peer) -> Option<Spread> {
    let of_runs: Vec<Vec<f64>> = runs.iter().map(|run| ratios(run, row, peer)).collect();
    let medians = of_runs.iter().filter_map(|ratios| median(ratios.clone())).collect();
    let all: Vec<f64> = of_runs.concat();
    Some(Spread {
        median: median(medians)?,
        least: all.iter().copied().min_by(f64::total_cmp)?,
        most: all.iter().copied().max_by(f64::total_cmp)?,
    })
}

/// Ours by theirs, repetition by repetition.
fn ratios(run: &Run, row: &Row, peer: Peer) -> Vec<f64> {
    let more = row.measure.is_more_better();
    let ratio = |repetition| {
        let of = |engine: &str, workload: &str| {
            let is_it = |line: &&Line| {
                line.engine == engine && line.workload == workload && line.repetition == repetition
            };
            run.lines.iter().find(is_it).and_then(|line| row.measure.of(line))
        };
        let best = |is_peer: fn(&Terms) -> bool| {
            let peers = ENGINES.iter().filter(|terms| terms.name != OURS && is_peer(terms));
            let found = peers.filter_map(|terms| of(terms.name, row.workload));
            found.reduce(|a, b| if more { a.max(b) } else { a.min(b) })
        };
        let theirs = match peer {
            Best => best(|_| true),
            BestLsm => best(|terms| terms.is_lsm),
            Named(name) => of(name, row.workload),
            Number => Some(1.0),
            Ours(workload) => of(OURS, workload),
        };
        Some(of(OURS, row.workload)? / theirs?)
    };
    (0..run.head.repetitions).filter_map(ratio).collect()
}

fn print_p99(row: &Row, runs: &[Run]) {
    let p99 = |name: &str| {
        let of = |line: &Line| line.latency_ns.get("p99").map(|ns| *ns as f64 / 1e3);
        median(values(runs, name, row.workload, of))
    };
    let Some(ours) = p99(OURS) else { return };
    let cells: Vec<_> =
        ENGINES.iter().map(|terms| p99(terms.name).map_or("–".into(), |us| format!("{us:.1}"))).collect();
    let peers = ENGINES.iter().filter(|terms| terms.is_lsm && terms.name != OURS);
    let ratio = peers.filter_map(|terms| p99(terms.name)).reduce(f64::min).map(|best| ours / best);
    let mark = if ratio.is_some_and(|ratio| ratio > P99_MAX) { " **missed**" } else { "" };
    let ratio = ratio.map_or("–".into(), |ratio| format!("{ratio:.2}"));
    println!("| {} | {} | {ratio}{mark} |", row.workload, cells.join(" | "));
}

/// The most memory of each engine, by the workload after which it was seen.
fn print_memory(runs: &[Run]) {
    println!("\nPeak memory so far in the group's process, in MB; engines that map files apart:\n");
    let engines: Vec<_> = ENGINES.iter().filter(|terms| !terms.maps_files).collect();
    println!("| workload | {} |", engines.iter().map(|terms| terms.name).collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "---|".repeat(engines.len()));
    let mut seen = BTreeMap::new();
    for line in runs.iter().flat_map(|run| &run.lines) {
        if engine(&line.engine).is_some_and(|terms| !terms.maps_files) {
            let place: &mut Vec<f64> = seen.entry((&line.workload, &line.engine)).or_default();
            place.push(line.peak_memory as f64 / 1e6);
        }
    }
    let mut workloads: Vec<_> = seen.keys().map(|(workload, _)| *workload).collect();
    workloads.dedup();
    for workload in workloads {
        let cell = |terms: &&Terms| {
            let found = seen.get(&(workload, &terms.name.to_string())).cloned().unwrap_or_default();
            median(found).map_or("–".into(), |bytes| format!("{bytes:.0}"))
        };
        println!("| {workload} | {} |", engines.iter().map(cell).collect::<Vec<_>>().join(" | "));
    }
}

fn values(runs: &[Run], engine: &str, workload: &str, of: impl Fn(&Line) -> Option<f64>) -> Vec<f64> {
    let lines = runs.iter().flat_map(|run| &run.lines);
    lines.filter(|line| line.engine == engine && line.workload == workload).filter_map(of).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 0 => Some((values[middle - 1] + values[middle]) / 2.0),
        _ => Some(values[middle]),
    }
}
