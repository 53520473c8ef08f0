//! Machine: what the hardware and the operating system can do, measured beside every run: the limits that the figures
//! are held against.

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use rustix::fs::fdatasync;
use serde::{Deserialize, Serialize};

use crate::data::{Dice, Shuffled};

/// Times in microseconds, each the median of many.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    /// 128 bytes appended to a growing file, and fdatasync.
    pub(crate) append_sync_us: f64,
    /// 128 bytes written where room was laid down and synced before, and fdatasync.
    pub(crate) overwrite_sync_us: f64,
    pub(crate) write_128_us: f64,
    pub(crate) pread_4096_us: f64,
    /// A load that depends on the one before, from 256 MiB.
    pub(crate) cache_miss_us: f64,
    /// A megabyte copied.
    pub(crate) copy_mib_us: f64,
    /// A word to another thread and back.
    pub(crate) hand_off_us: f64,
}

const ROOM: usize = 8 << 20;

/// Measures the machine, with files in `dir`, which are removed again.
pub(crate) fn limits(dir: &Path) -> Limits {
    let path = dir.join("cairn-bench-machine");
    let file = || {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).read(true).write(true).open(&path).expect("a file can be made")
    };
    let record = [7; 128];
    let growing = file();
    let append_sync_us = median_us(500, |n| write_and_sync(&growing, &record, n * 128));
    let laid_down = file();
    laid_down.write_all_at(&vec![0; ROOM], 0).expect("there is room");
    laid_down.sync_all().expect("the disk syncs");
    let overwrite_sync_us = median_us(500, |n| write_and_sync(&laid_down, &record, n * 128));
    let write_128_us =
        median_us(20_000, |n| laid_down.write_all_at(&record, n * 128 % ROOM as u64).expect("there is room"));
    let mut block = [0; 4096];
    let mut dice = Dice::new(1);
    let pread_4096_us = median_us(20_000, |_| {
        let offset = dice.below(ROOM as u64 / 4096) * 4096;
        laid_down.read_exact_at(&mut block, offset).expect("the file can be read");
    });
    fs::remove_file(&path).expect("what was made can be removed");
    let (source, mut target) = (vec![1u8; 1 << 20], vec![0u8; 1 << 20]);
    let copy_mib_us = median_us(500, |_| {
        target.copy_from_slice(black_box(&source));
        black_box(&mut target);
    });
    Limits {
        processor: processor(),
        cores: std::thread::available_parallelism().map_or(0, |cores| cores.get()),
        append_sync_us,
        overwrite_sync_us,
        write_128_us,
        pread_4096_us,
        cache_miss_us: cache_miss_us(),
        copy_mib_us,
        hand_off_us: hand_off_us(),
    }
}

fn write_and_sync(file: &File, record: &[u8], offset: u64) {
    file.write_all_at(record, offset).expect("there is room");
    fdatasync(file).expect("the disk syncs");
}

fn median_us(count: u64, mut op: impl FnMut(u64)) -> f64 {
    let mut times: Vec<f64> = Vec::with_capacity(count as usize);
    for n in 0..count {
        let begun = Instant::now();
        op(n);
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Walks one cycle through all slots of an array that no cache holds.
fn cache_miss_us() -> f64 {
    let count = (256u64 << 20) / 8;
    let order = Shuffled::new(count, 3);
    let mut next = vec![0u64; count as usize];
    let mut at = order.at(0);
    for index in 1..=count {
        let after = order.at(index % count);
        next[at as usize] = after;
        at = after;
    }
    let (steps, begun) = (2_000_000, Instant::now());
    for _ in 0..steps {
        at = next[at as usize];
    }
    black_box(at);
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(steps)
}

fn hand_off_us() -> f64 {
    let (there, far) = mpsc::channel::<u64>();
    let (answer, back) = mpsc::channel::<u64>();
    let other = std::thread::spawn(move || far.iter().for_each(|n| answer.send(n).expect("somebody waits")));
    let took = median_us(2_000, |n| {
        there.send(n).expect("somebody listens");
        back.recv().expect("somebody answers");
    });
    drop(there);
    other.join().expect("it ends when nobody sends");
    took
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("unknown", |(_, name)| name).to_string()
}
