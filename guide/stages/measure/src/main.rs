//! Chart: one workload over every stage and the engine, at several sizes, and a picture of what was seen.
//!
//! Every database gets its keys in a scattered order, twice over, and is closed, opened and read at random. What a
//! database syncs is its own affair, and part of what is measured: stages 1 and 2 sync nothing.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cairndb_storage::{Native, Storage};
use contract::{Directory, Subject, TESTS};
use measure::{ENGINE, STAGES};
use peak_alloc::PeakAlloc;
use serde_json::json;

mod counted;
mod draw;

use counted::{Bytes, Counted};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// How many keys a database holds.
const SIZES: [u64; 4] = [1_000, 4_000, 16_000, 64_000];

const KEY_LEN: u64 = 16;
const VALUE_LEN: u64 = 100;

/// Reads go on for so long.
const READ_TIME: Duration = Duration::from_millis(500);

/// What was seen of one database at one size.
pub(crate) struct Seen {
    pub(crate) name: &'static str,
    pub(crate) keys: u64,
    /// The figures, in the order of [`draw::PANELS`].
    pub(crate) figures: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let out = std::env::args().nth(1).ok_or("which directory is the chart to be put into?")?;
    let subjects: Vec<Subject> = STAGES.into_iter().chain([ENGINE]).collect();
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
    let bytes = Arc::new(Bytes::default());
    let storage = || -> Result<Arc<dyn Storage>, Box<dyn Error>> {
        let bytes = Arc::clone(&bytes);
        // The engine begins a new log with each opening; the stages go on with theirs.
        Ok(if subject.name == ENGINE.name {
            Arc::new(Counted { storage: Native::create(&path)?, bytes })
        } else {
            Arc::new(Counted { storage: Directory::create(&path)?, bytes })
        })
    };
    let memory_before = MEMORY.current_usage();

    let mut database = (subject.open)(storage()?)?;
    let begin = Instant::now();
    for n in 0..2 * keys {
        // An odd step visits every key once, far from the one before, as the sizes are not multiples of it.
        database.put(&key(n * 7_919 % keys), &value(n))?;
    }
    let writes = 2.0 * keys as f64 / begin.elapsed().as_secs_f64();
    let raw = (2 * keys * (KEY_LEN + VALUE_LEN)) as f64;
    let write_amplification = bytes.written.load(Ordering::Relaxed) as f64 / raw;
    drop(database);
    let space_amplification = disk_bytes(&path)? as f64 / (raw / 2.0);

    let begin = Instant::now();
    let mut database = (subject.open)(storage()?)?;
    let open_ms = begin.elapsed().as_secs_f64() * 1e3;
    let memory = MEMORY.current_usage().saturating_sub(memory_before) as f64 / 1e6;

    let read_before = bytes.read.load(Ordering::Relaxed);
    let (begin, mut reads) = (Instant::now(), 0_u64);
    while begin.elapsed() < READ_TIME {
        // Multiplied by the golden ratio, as Knuth would have it, numbers in a row land far apart.
        let key = key((reads.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % keys);
        assert!(database.get(&key)?.is_some(), "{}: {key:?} holds nothing", subject.name);
        reads += 1;
    }
    let read_rate = reads as f64 / begin.elapsed().as_secs_f64();
    let read_bytes = (bytes.read.load(Ordering::Relaxed) - read_before) as f64 / reads as f64;

    let figures =
        vec![read_rate, read_bytes, writes, write_amplification, space_amplification, open_ms, memory];
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
