//! Measure: what one workload took: time, the processor's time, latencies, memory, bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::data::Dice;

/// What one engine did with one workload: a line of results.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) engine: String,
    pub(crate) workload: String,
    pub(crate) repetition: u64,
    /// Operations; entries, where the workload's rate is one of entries.
    pub(crate) ops: u64,
    pub(crate) seconds: f64,
    /// The processor's time of the whole process, its background threads included.
    pub(crate) cpu_seconds: f64,
    /// Latencies in nanoseconds by name: "p50", "p99", "p99.9", "max".
    pub(crate) latency_ns: BTreeMap<String, u64>,
    /// The most memory that the process has had so far, in bytes.
    pub(crate) peak_memory: u64,
    /// What else the workload knows, by name.
    pub(crate) figures: BTreeMap<String, f64>,
}

impl Line {
    /// Operations a second.
    pub(crate) fn rate(&self) -> f64 {
        self.ops as f64 / self.seconds
    }
}

/// How long a workload goes on.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// So many calls, divided among the threads.
    Calls(u64),
    Time(Duration),
}

/// What was measured, before it is named.
pub(crate) struct Times {
    pub(crate) calls: u64,
    pub(crate) took: Duration,
    pub(crate) cpu: Duration,
    pub(crate) latencies: Histogram<u64>,
}

/// A histogram of nanoseconds up to a minute, in two digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 2).expect("the bounds are in order")
}

/// Calls `op` from so many threads, with dice of the thread's own and the number of the call. Each call is timed from the end of
/// the one before: one reading of the clock a call, for every engine alike.
pub(crate) fn measure(threads: u64, until: Until, op: impl Fn(&mut Dice, u64) + Sync) -> Times {
    let (op, barrier) = (&op, &Barrier::new(threads as usize + 1));
    std::thread::scope(|scope| {
        let run = |thread: u64| {
            let (mut dice, mut latencies) = (Dice::new(thread + 1), histogram());
            barrier.wait();
            let begun = Instant::now();
            let mut last = begun;
            let mut calls = 0;
            loop {
                let is_over = match until {
                    Until::Calls(all) => calls >= all / threads,
                    Until::Time(limit) => last.duration_since(begun) >= limit,
                };
                if is_over {
                    return latencies;
                }
                op(&mut dice, calls * threads + thread);
                calls += 1;
                let now = Instant::now();
                latencies.saturating_record(now.duration_since(last).as_nanos() as u64);
                last = now;
            }
        };
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        let cpu = cpu_time();
        barrier.wait();
        let begun = Instant::now();
        let mut latencies = histogram();
        for handle in handles {
            latencies.add(handle.join().expect("no thread panics")).expect("the bounds are the same");
        }
        Times { calls: latencies.len(), took: begun.elapsed(), cpu: cpu_time() - cpu, latencies }
    })
}

/// Times one call.
pub(crate) fn once(op: impl FnOnce()) -> Times {
    let (cpu, begun) = (cpu_time(), Instant::now());
    op();
    let took = begun.elapsed();
    let mut latencies = histogram();
    latencies.saturating_record(took.as_nanos() as u64);
    Times { calls: 1, took, cpu: cpu_time() - cpu, latencies }
}

/// The processor's time that this process has taken.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The most memory this process has had, in bytes.
pub(crate) fn peak_memory() -> u64 {
    field("/proc/self/status", "VmHWM:").map_or(0, |kib| kib * 1024)
}

/// The bytes this process has handed to the operating system to write.
pub(crate) fn written_bytes() -> u64 {
    field("/proc/self/io", "wchar:").unwrap_or(0)
}

fn field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The bytes that a directory takes on the disk, holes apart.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(dir).expect("the directory can be read").flatten();
    let len_of = |path: &Path| match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => disk_bytes(path),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(|entry| len_of(&entry.path())).sum()
}
