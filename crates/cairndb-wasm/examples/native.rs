//! Native: the workload of `bench/browser`, by the native engine, in the thread that calls it; its rates as JSON.

#[cfg(not(target_family = "wasm"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    native::run()
}

#[cfg(target_family = "wasm")]
fn main() {}

#[cfg(not(target_family = "wasm"))]
mod native {
    use std::error::Error;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Instant, SystemTime};

    use cairndb::storage::Native;
    use cairndb::{Batch, Db, Durability, Options};

    // As `bench/browser/workload.js` has them.
    const KEYS: usize = 20_000;
    const BATCH: usize = 1000;
    const GETS: usize = 50_000;
    const PUTS_RELAXED: usize = 1000;
    const PUTS_STRICT: usize = 200;
    const SCANS: usize = 50;

    /// What an instance of 32 MiB leaves to the engine.
    const MEMORY_BUDGET_BYTES: u64 = 24 << 20;

    type Outcome<T> = Result<T, Box<dyn Error>>;

    pub(super) fn run() -> Outcome<()> {
        let parent = std::env::args().nth(1).ok_or("the folder to work in is missing")?;
        let dir = tempfile::tempdir_in(parent)?;
        let keys: Vec<String> = (0..KEYS).map(|number| format!("key {:08}", number * 7919 % KEYS)).collect();
        let mut rates = Rates(Vec::new());

        let db = open(dir.path(), Durability::Os)?;
        let values: Vec<[u8; 100]> = (0..KEYS as u64).map(value).collect();
        rates.note("bulk load, entries a second", KEYS, || {
            for (keys, values) in keys.chunks(BATCH).zip(values.chunks(BATCH)) {
                let mut batch = Batch::new();
                for (key, value) in keys.iter().zip(values) {
                    batch.put(key, value);
                }
                db.write(batch)?;
            }
            while db.maintain_due()? {}
            Ok(())
        })?;
        db.checkpoint()?;
        rates.note("get", GETS, || {
            for number in 0..GETS {
                let found = db.get(&keys[number * 31 % KEYS])?;
                assert_eq!(found.map(|value| value.len()), Some(100));
            }
            Ok(())
        })?;
        rates.note("scans of 1,000 entries", SCANS, || {
            for number in 0..SCANS {
                let from = keys[number * 17].as_bytes();
                let found: Result<Vec<_>, _> = db.scan(from..).take(1000).collect();
                assert!(!found?.is_empty());
            }
            Ok(())
        })?;
        rates.note("put, relaxed", PUTS_RELAXED, || {
            (0..PUTS_RELAXED).try_for_each(|number| db.put(&keys[number], value(number as u64)))?;
            Ok(())
        })?;
        db.close()?;
        let db = open(dir.path(), Durability::Sync)?;
        rates.note("put, strict", PUTS_STRICT, || {
            (0..PUTS_STRICT).try_for_each(|number| db.put(&keys[number], value(number as u64)))?;
            Ok(())
        })?;
        db.close()?;
        println!("{{{}}}", rates.0.join(","));
        Ok(())
    }

    struct Rates(Vec<String>);

    impl Rates {
        fn note(&mut self, name: &str, count: usize, work: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
            let begun = Instant::now();
            work()?;
            self.0.push(format!("\"{name}\":{}", count as f64 / begun.elapsed().as_secs_f64()));
            Ok(())
        }
    }

    fn open(dir: &Path, durability: Durability) -> Outcome<Db> {
        let now_ms = || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
        let ids = || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
        let options = Options {
            memory_budget_bytes: MEMORY_BUDGET_BYTES,
            durability,
            ..Options::new(Arc::new(now_ms), Arc::new(ids))
        };
        Ok(Db::open_with(Arc::new(Native::create(dir)?), options)?)
    }

    /// Bytes that do not pack.
    fn value(number: u64) -> [u8; 100] {
        let mut state = number + 1;
        std::array::from_fn(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        })
    }
}
