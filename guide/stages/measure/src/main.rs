//! Chart: one workload over every stage and the engine, at several sizes, and a picture of what was seen.
//!
//! Every database gets its keys in a scattered order, twice over, is closed, opened, and read at random; until then no
//! sync waits for the disk, so that a slow disk makes the chart no slower. Then it is written for a while, and waits for
//! all that it syncs. What that is, is its own affair: stages 1 and 2 sync nothing. If databases are named, as
//! `stage_01`, these alone are looked at, and nothing is drawn.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cairndb_storage::{Native, Storage};
use contract::{Database, Directory, Subject, TESTS};
use measure::{ENGINE, STAGES};
use peak_alloc::PeakAlloc;
use serde_json::json;

mod counted;
mod draw;

use counted::{Counted, Traffic};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// How many keys a database holds.
const SIZES: [u64; 4] = [1_000, 4_000, 16_000, 64_000];

const KEY_LEN: u64 = 16;
const VALUE_LEN: u64 = 100;

/// Reads go on for so long, and then writes.
const READ_TIME: Duration = Duration::from_millis(500);
const WRITE_TIME: Duration = Duration::from_millis(1_000);

/// What was seen of one database at one size.
pub(crate) struct Seen {
    pub(crate) name: &'static str,
    pub(crate) keys: u64,
    /// The figures, in the order of [`draw::PANELS`].
    pub(crate) figures: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let out = std::env::args().nth(1).ok_or("which directory is the chart to be put into?")?;
    let wanted: Vec<String> = std::env::args().skip(2).collect();
    let all = STAGES.into_iter().chain([ENGINE]);
    let subjects: Vec<Subject> =
        all.filter(|subject| wanted.is_empty() || wanted.iter().any(|name| name == subject.name)).collect();
    if subjects.is_empty() {
        return Err(format!("no database is called {}", wanted.join(" or ")).into());
    }
    let crash_tests = TESTS.iter().filter(|test| test.is_crash);
    let mut passed = Vec::new();
    for subject in &subjects {
        let count = crash_tests.clone().filter(|test| (test.run)(subject).is_ok()).count();
        println!("{}: passes {count} of {} crash tests", subject.name, crash_tests.clone().count());
        passed.push((subject.name, count, crash_tests.clone().count()));
    }
    let mut seen = Vec::new();
    for keys in SIZES {
        for subject in &subjects {
            let line = look_at(subject, keys)?;
            println!("{line}");
            seen.push(line);
        }
    }
    if !wanted.is_empty() {
        return Ok(());
    }
    let mut lines = String::new();
    for line in &seen {
        lines += &format!("{}\n", line.to_json());
    }
    for (name, count, of) in &passed {
        lines += &format!("{}\n", json!({"name": name, "crash tests passed": count, "of": of}));
    }
    fs::write(Path::new(&out).join("chart.jsonl"), lines)?;
    draw::draw(&Path::new(&out).join("chart.svg"), &seen, &passed)
}

impl Seen {
    fn to_json(&self) -> serde_json::Value {
        let mut line = json!({"name": self.name, "keys": self.keys});
        for (panel, figure) in draw::PANELS.iter().zip(&self.figures) {
            line[*panel] = json!(figure);
        }
        line
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:<9} {:>6} keys", self.name, self.keys)?;
        draw::PANELS
            .iter()
            .zip(&self.figures)
            .try_for_each(|(panel, figure)| write!(f, "  {panel} {figure:.4}"))
    }
}

/// Runs the workload.
fn look_at(subject: &Subject, keys: u64) -> Result<Seen, Box<dyn Error>> {
    // Beside the build, which is on a real disk; a temporary directory may be in memory.
    let place = tempfile::tempdir_in(std::env::current_exe()?.parent().ok_or("no directory")?)?;
    let path = place.path().join("data");
    let traffic = Arc::new(Traffic::default());
    let storage = || -> Result<Arc<dyn Storage>, Box<dyn Error>> {
        let traffic = Arc::clone(&traffic);
        // The engine begins a new log with each opening; the stages go on with theirs.
        Ok(if subject.name == ENGINE.name {
            Arc::new(Counted { storage: Native::create(&path)?, traffic })
        } else {
            Arc::new(Counted { storage: Directory::create(&path)?, traffic })
        })
    };
    let memory_before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();

    let mut database = (subject.open)(storage()?)?;
    // A step that is prime visits every key once, far from the one before, as the sizes are not multiples of it.
    let put = |database: &mut dyn Database, n: u64| database.put(&key(n * 7_919 % keys), &value(n));
    for n in 0..2 * keys {
        put(database.as_mut(), n)?;
    }
    let raw = (2 * keys * (KEY_LEN + VALUE_LEN)) as f64;
    drop(database);
    let write_amplification = traffic.written.load(Ordering::Relaxed) as f64 / raw;
    let space_amplification = disk_bytes(&path)? as f64 / (raw / 2.0);

    let begin = Instant::now();
    let mut database = (subject.open)(storage()?)?;
    let open_ms = begin.elapsed().as_secs_f64() * 1e3;

    let read_before = traffic.read.load(Ordering::Relaxed);
    let (begin, mut reads) = (Instant::now(), 0_u64);
    while begin.elapsed() < READ_TIME {
        // Multiplied by the golden ratio, as Knuth would have it, numbers in a row land far apart.
        let key = key((reads.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % keys);
        assert!(database.get(&key)?.is_some(), "{}: {key:?} holds nothing", subject.name);
        reads += 1;
    }
    let read_rate = reads as f64 / begin.elapsed().as_secs_f64();
    let read_bytes = (traffic.read.load(Ordering::Relaxed) - read_before) as f64 / reads as f64;
    let memory = MEMORY.peak_usage().saturating_sub(memory_before) as f64 / 1e6;

    traffic.is_synced.store(true, Ordering::Relaxed);
    // The first one waits for what was not synced before, too.
    put(database.as_mut(), 0)?;
    let (begin, mut writes) = (Instant::now(), 0_u64);
    while begin.elapsed() < WRITE_TIME {
        writes += 1;
        put(database.as_mut(), writes)?;
    }
    let write_rate = writes as f64 / begin.elapsed().as_secs_f64();

    let figures =
        vec![read_rate, read_bytes, write_rate, write_amplification, space_amplification, open_ms, memory];
    Ok(Seen { name: subject.name, keys, figures })
}

fn key(n: u64) -> Vec<u8> {
    format!("key {n:012}").into_bytes()
}

fn value(n: u64) -> Vec<u8> {
    (0..VALUE_LEN).map(|at| (n.wrapping_mul(at + 1) % 251) as u8).collect()
}

fn disk_bytes(path: &Path) -> std::io::Result<u64> {
    fs::read_dir(path)?.try_fold(0, |sum, entry| {
        let entry = entry?;
        let metadata = entry.metadata()?;
        Ok(sum + if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.len() })
    })
}
