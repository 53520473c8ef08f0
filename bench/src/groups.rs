//! Groups: the workloads that share a store. A group runs in a process of its own, on a fresh directory.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::data::{Dice, ENTRY_LEN, Shuffled, Values, Zipf, key};
use crate::engines::{Durability, Engine, Terms};
use crate::measure::{Line, Times, Until, disk_bytes, measure, once, peak_memory, written_bytes};

/// Entries of the stores that are filled to measure filling.
const FILL_COUNT: u64 = 1_000_000;

/// Entries of a store that fits a cache of 64 MB: 46 MB.
const SMALL_COUNT: u64 = 400_000;

/// Entries of a store ten times such a cache: 638 MB.
const LARGE_COUNT: u64 = 5_500_000;

/// Entries of the range that is emptied; and of each neighbour.
const EMPTIED_COUNT: u64 = 500_000;
const NEIGHBOUR_COUNT: u64 = 50_000;

/// How much a killed process has in its log.
const LOG_BYTES: u64 = 16 << 20;

/// The sizes at which the growth of costs is looked at.
const GROWTH_COUNTS: [(u64, &str, &str); 3] = [
    (500_000, "write at 0.5 million", "read at 0.5 million"),
    (2_000_000, "write at 2 million", "read at 2 million"),
    (8_000_000, "write at 8 million", "read at 8 million"),
];

/// Entries of the fill whose longest write is looked at.
const LONG_FILL_COUNT: u64 = 10_000_000;

/// Writes of one batch while a store is only being made.
const LOAD_BATCH: u64 = 1_000;

/// A group, and for which engines it is meant.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    run: fn(&Rig<'_>),
    pub(crate) is_for: fn(&Terms) -> bool,
}

/// All groups, in the order in which they run.
pub(crate) const GROUPS: &[Group] = &[
    Group { name: "seq", about: "fillseq, readseq", run: seq, is_for: |_| true },
    Group { name: "random", about: "fillrandom, overwrite, space", run: random, is_for: |_| true },
    Group { name: "batch", about: "fillbatch of 1,000", run: batch, is_for: |_| true },
    Group {
        name: "sync",
        about: "fillsync, group commit, synced batches",
        run: sync,
        is_for: |terms| terms.syncs,
    },
    Group {
        name: "small",
        about: "reads, scans, YCSB on a store that fits the cache",
        run: small,
        is_for: |_| true,
    },
    Group {
        name: "large",
        about: "reads on a store ten times the cache",
        run: large,
        // sled takes 21 GB of memory for it, and with that the page cache which the others' files are in.
        is_for: |terms| terms.name != "sled",
    },
    Group { name: "emptied", about: "scan of an emptied range", run: emptied, is_for: |_| true },
    Group { name: "reopen", about: "open after a close and after a kill", run: reopen, is_for: |_| true },
    Group {
        name: "growth",
        about: "rates at 0.5, 2 and 8 million keys",
        run: growth,
        is_for: |terms| terms.is_lsm,
    },
    Group {
        name: "stall",
        about: "the longest write of ten million",
        run: stall,
        is_for: |terms| terms.is_lsm,
    },
];

/// What a group works with.
pub(crate) struct Rig<'a> {
    pub(crate) terms: &'static Terms,
    pub(crate) dir: PathBuf,
    pub(crate) repetition: u64,
    /// A share of the entries, for quick looks; 1 in what is published.
    pub(crate) scale: f64,
    /// How long each timed workload goes on.
    pub(crate) time: Duration,
    /// Only workloads whose name contains this; the others of a group still run if they make its store.
    pub(crate) only: &'a str,
    pub(crate) values: Values,
    pub(crate) lines: Mutex<Vec<Line>>,
}

impl Rig<'_> {
    /// Runs a group and hands back its lines.
    pub(crate) fn run(self, group: &Group) -> Vec<Line> {
        (group.run)(&self);
        self.lines.into_inner().expect("no thread panics")
    }

    fn open(&self, durability: Durability) -> Box<dyn Engine> {
        self.terms.open(&self.dir, durability)
    }

    fn scaled(&self, count: u64) -> u64 {
        ((count as f64 * self.scale) as u64).max(1_000)
    }

    fn is_wanted(&self, workload: &str) -> bool {
        workload.contains(self.only)
    }

    /// Notes a workload of `ops` operations.
    fn note(&self, workload: &str, ops: u64, times: &Times, figures: &[(&str, f64)]) {
        let quantile = |of: f64| times.latencies.value_at_quantile(of);
        let latency_ns = [
            ("p50", quantile(0.5)),
            ("p99", quantile(0.99)),
            ("p99.9", quantile(0.999)),
            ("max", times.latencies.max()),
        ];
        let line = Line {
            engine: self.terms.name.to_string(),
            workload: workload.to_string(),
            repetition: self.repetition,
            ops,
            seconds: times.took.as_secs_f64(),
            cpu_seconds: times.cpu.as_secs_f64(),
            latency_ns: latency_ns.map(|(name, value)| (name.to_string(), value)).into(),
            peak_memory: peak_memory(),
            figures: figures
                .iter()
                .map(|(name, value)| (name.to_string(), *value))
                .collect::<BTreeMap<_, _>>(),
        };
        self.lines.lock().expect("no thread panics").push(line);
    }

    /// Runs `op` for the time that timed workloads have, and notes it.
    fn timed(&self, workload: &str, threads: u64, op: impl Fn(&mut Dice, u64) + Sync) {
        if self.is_wanted(workload) {
            let times = measure(threads, Until::Time(self.time), op);
            self.note(workload, times.calls, &times, &[]);
        }
    }

    /// Puts every even number below `2 * count` in an order drawn by `seed`, as quickly as the engine can.
    fn load(&self, store: &dyn Engine, count: u64, seed: u64) {
        let order = Shuffled::new(count, seed);
        let mut done = 0;
        while done < count {
            let end = count.min(done + LOAD_BATCH);
            store.write(&mut (done..end).map(|n| (key(2 * order.at(n)), self.values.value(seed ^ n))));
            done = end;
        }
    }
}

fn seq(rig: &Rig<'_>) {
    let (store, count) = (rig.open(Durability::Os), rig.scaled(FILL_COUNT));
    let times = measure(1, Until::Calls(count), |_, n| store.put(&key(n), rig.values.value(n)));
    rig.note("fillseq", count, &times, &[]);
    store.settle();
    if rig.is_wanted("readseq") {
        let times = measure(1, Until::Time(rig.time), |_, _| {
            let (seen, sum) = store.scan(&key(0), u64::MAX);
            assert_eq!(seen, count, "a scan sees every entry");
            black_box(sum);
        });
        rig.note("readseq", times.calls * count, &times, &[]);
    }
    store.close();
}

fn random(rig: &Rig<'_>) {
    let (store, count) = (rig.open(Durability::Os), rig.scaled(FILL_COUNT));
    let order = Shuffled::new(count, 1);
    let put = |n: u64, order: &Shuffled| store.put(&key(2 * order.at(n)), rig.values.value(n));
    let times = measure(1, Until::Calls(count), |_, n| put(n, &order));
    rig.note("fillrandom", count, &times, &[]);
    let order = Shuffled::new(count, 2);
    let times = measure(1, Until::Calls(count), |_, n| put(n, &order));
    rig.note("overwrite", count, &times, &[]);
    if !rig.is_wanted("space") {
        return store.close();
    }
    for seed in 3..7 {
        rig.load(store.as_ref(), count, seed);
    }
    let raw = (count * ENTRY_LEN) as f64;
    let at_once = disk_bytes(&rig.dir) as f64 / raw;
    let times = once(|| store.settle());
    let settled = disk_bytes(&rig.dir) as f64 / raw;
    let written = written_bytes() as f64 / (6.0 * raw);
    let figures = [("at once", at_once), ("settled", settled), ("written", written)];
    rig.note("space", 1, &times, &figures);
    store.close();
}

fn batch(rig: &Rig<'_>) {
    let (store, count) = (rig.open(Durability::Os), rig.scaled(FILL_COUNT));
    let order = Shuffled::new(count, 1);
    let times = measure(1, Until::Calls(count / 1_000), |_, n| {
        let numbers = n * 1_000..(n + 1) * 1_000;
        store.write(&mut numbers.map(|n| (key(2 * order.at(n)), rig.values.value(n))));
    });
    rig.note("fillbatch", times.calls * 1_000, &times, &[]);
    store.close();
}

fn sync(rig: &Rig<'_>) {
    let store = rig.open(Durability::Sync);
    let count = rig.scaled(LARGE_COUNT);
    rig.timed("fillsync", 1, |dice, n| store.put(&key(dice.below(count)), rig.values.value(n)));
    rig.timed("group commit", 8, |dice, n| store.put(&key(dice.below(count)), rig.values.value(n)));
    if rig.is_wanted("batches of 100") {
        let times = measure(1, Until::Time(rig.time), |dice, n| {
            let numbers = n * 100..(n + 1) * 100;
            store.write(&mut numbers.map(|n| (key(dice.below(count)), rig.values.value(n))));
        });
        rig.note("batches of 100", times.calls * 100, &times, &[]);
    }
    store.close();
}

fn small(rig: &Rig<'_>) {
    let (store, count) = (rig.open(Durability::Os), rig.scaled(SMALL_COUNT));
    rig.load(store.as_ref(), count, 1);
    store.settle();
    let store = store.as_ref();
    // Everything that a cache can hold is in it before anything is measured.
    store.scan(&key(0), u64::MAX);
    measure(1, Until::Calls(count), |dice, _| found(store.get(&key(2 * dice.below(count)))));

    rig.timed("readrandom", 1, |dice, _| found(store.get(&key(2 * dice.below(count)))));
    rig.timed("readrandom, 2 threads", 2, |dice, _| found(store.get(&key(2 * dice.below(count)))));
    rig.timed("readmissing", 1, |dice, _| missed(store.get(&key(2 * dice.below(count) + 1))));
    rig.timed("scan of 100", 1, |dice, _| {
        let (seen, sum) = store.scan(&key(2 * dice.below(count.saturating_sub(100).max(1))), 100);
        assert_eq!(seen, 100);
        black_box(sum);
    });
    let zipf = Zipf::new(count);
    let ycsb = |workload: &str, reads: u64| {
        rig.timed(workload, 2, |dice, n| {
            let key = key(2 * zipf.draw(dice));
            if dice.below(100) < reads {
                found(store.get(&key))
            } else {
                store.put(&key, rig.values.value(n))
            }
        });
    };
    ycsb("YCSB C", 100);
    ycsb("YCSB B", 95);
    ycsb("YCSB A", 50);
    if rig.is_wanted("4 readers, 1 writer") {
        readers_and_writer(rig, store, count);
    }
}

/// Four threads read at random while one overwrites at random, as quickly as it can.
fn readers_and_writer(rig: &Rig<'_>, store: &dyn Engine, count: u64) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut dice, mut writes) = (Dice::new(99), 0);
            while !is_over.load(Ordering::Relaxed) {
                store.put(&key(2 * dice.below(count)), rig.values.value(writes));
                writes += 1;
            }
            writes
        });
        let reads =
            measure(4, Until::Time(rig.time), |dice, _| found(store.get(&key(2 * dice.below(count)))));
        is_over.store(true, Ordering::Relaxed);
        let writes = writer.join().expect("the writer does not panic") as f64 / reads.took.as_secs_f64();
        rig.note("4 readers, 1 writer", reads.calls, &reads, &[("writes", writes)]);
    });
}

fn large(rig: &Rig<'_>) {
    let (store, count) = (rig.open(Durability::Os), rig.scaled(LARGE_COUNT));
    rig.load(store.as_ref(), count, 1);
    store.settle();
    measure(1, Until::Calls(count / 10), |dice, _| found(store.get(&key(2 * dice.below(count)))));
    rig.timed("readrandom, ten times the cache", 1, |dice, _| found(store.get(&key(2 * dice.below(count)))));
    let workload = "readrandom, ten times the cache, 2 threads";
    rig.timed(workload, 2, |dice, _| found(store.get(&key(2 * dice.below(count)))));
    rig.timed("readmissing, ten times the cache", 1, |dice, _| {
        missed(store.get(&key(2 * dice.below(count) + 1)))
    });
    store.close();
}

fn emptied(rig: &Rig<'_>) {
    let (store, count, beside) =
        (rig.open(Durability::Os), rig.scaled(EMPTIED_COUNT), rig.scaled(NEIGHBOUR_COUNT));
    rig.load(store.as_ref(), count + 2 * beside, 1);
    store.settle();
    for number in beside..beside + count {
        store.delete(&key(2 * number));
    }
    store.settle();
    let times = once(|| assert_eq!(store.scan(&key(2 * beside), 1).0, 1, "the neighbour is there"));
    rig.note("emptied range", 1, &times, &[]);
    store.close();
}

fn reopen(rig: &Rig<'_>) {
    let (store, count) = (rig.open(Durability::Os), rig.scaled(FILL_COUNT));
    rig.load(store.as_ref(), count, 1);
    store.settle();
    store.close();
    let open = |workload: &str| {
        let mut store = None;
        let times = once(|| {
            let opened = rig.open(Durability::Os);
            found(opened.get(&key(0)));
            store = Some(opened);
        });
        rig.note(workload, 1, &times, &[]);
        store.expect("it was opened").close();
    };
    open("reopen after a close");
    let program = std::env::current_exe().expect("this program has a path");
    let killed =
        Command::new(program).args(["die", "--engine", rig.terms.name, "--dir"]).arg(&rig.dir).status();
    assert!(!killed.expect("it starts again").success(), "it dies as it should");
    open("reopen after a kill");
}

/// Fills the log and dies: the other half of `reopen`.
pub(crate) fn die(terms: &Terms, dir: &Path) -> ! {
    let (store, values) = (terms.open(dir, Durability::Os), Values::new());
    for n in 0..LOG_BYTES / ENTRY_LEN {
        store.put(&key(2 * n), values.value(n));
    }
    std::process::abort()
}

fn growth(rig: &Rig<'_>) {
    for (count, write, read) in GROWTH_COUNTS {
        let dir = rig.dir.join(count.to_string());
        std::fs::create_dir(&dir).expect("the directory is fresh");
        let (store, count) = (rig.terms.open(&dir, Durability::Os), rig.scaled(count));
        let order = Shuffled::new(count, 1);
        let times =
            measure(1, Until::Calls(count), |_, n| store.put(&key(2 * order.at(n)), rig.values.value(n)));
        rig.note(write, count, &times, &[]);
        store.settle();
        rig.timed(read, 1, |dice, _| found(store.get(&key(2 * dice.below(count)))));
        store.close();
    }
}

fn stall(rig: &Rig<'_>) {
    let (store, count) = (rig.open(Durability::Os), rig.scaled(LONG_FILL_COUNT));
    let order = Shuffled::new(count, 1);
    let times = measure(1, Until::Calls(count), |_, n| store.put(&key(2 * order.at(n)), rig.values.value(n)));
    rig.note(
        "fillrandom of ten million",
        count,
        &times,
        &[("longest write, ms", times.latencies.max() as f64 / 1e6)],
    );
    store.close();
}

fn found(answer: Option<u64>) {
    black_box(answer.expect("the key is there"));
}

fn missed(answer: Option<u64>) {
    assert!(black_box(answer).is_none(), "the key is not there");
}
