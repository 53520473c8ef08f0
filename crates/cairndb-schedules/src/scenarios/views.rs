//! Views: reads while memtables are frozen and flushed, and tables compacted and removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairndb::{Batch, Durability, Value};

use crate::world::{LONG, NARROW, ROOMY, World};

/// Written together, always with the same number.
const KEYS: [&str; 3] = ["k0", "k1", "k2"];

/// One writer and the number that it has been told is written.
#[derive(Clone, Default)]
struct Acknowledged(Arc<AtomicU64>);

impl Acknowledged {
    fn write(&self, world: &World, number: u64, filler_len: usize) {
        let mut batch = Batch::new();
        for key in KEYS {
            batch.put(key, number.to_string());
        }
        batch.put(format!("filler{}", number % 2), vec![7; filler_len]).durability(Durability::Os);
        world.db.write(batch).unwrap();
        self.0.store(number, Ordering::SeqCst);
    }

    fn number(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Reads all keys, in one of four ways: they must agree, on what was acknowledged before or later.
    fn read(&self, world: &World, way: u64) {
        let before = self.number();
        let numbers: Vec<u64> = match way {
            0 => {
                let values = world.db.get_many(KEYS).unwrap();
                values.iter().map(|value| number_of(value.as_ref())).collect()
            }
            1 => {
                let mut scan = world.db.scan("k0".."k9");
                let ends = [scan.next(), scan.next_back(), scan.next(), scan.next_back()];
                ends.into_iter().flatten().map(|item| number_of(Some(&item.unwrap().1))).collect()
            }
            2 => {
                let snapshot = world.db.snapshot().unwrap();
                let entries = KEYS.map(|key| snapshot.get_entry(key).unwrap());
                assert!(entries.iter().flatten().all(|entry| entry.seq <= snapshot.seq()));
                entries.iter().map(|entry| number_of(entry.as_ref().map(|entry| &entry.value))).collect()
            }
            _ => {
                let entry = world.db.get_entry("k1").unwrap();
                let visible = world.db.snapshot().unwrap().seq();
                assert!(
                    entry.as_ref().is_none_or(|entry| entry.seq <= visible),
                    "seen before it was visible"
                );
                vec![number_of(entry.as_ref().map(|entry| &entry.value))]
            }
        };
        assert!(numbers.iter().all(|number| *number == numbers[0]), "half a batch: {numbers:?}");
        let found = numbers.first().copied().unwrap_or(0);
        assert!(found >= before, "{before} was acknowledged, and {found} is found");
    }
}

fn number_of(value: Option<&Value>) -> u64 {
    value.map_or(0, |value| String::from_utf8_lossy(value).parse().expect("a number was written"))
}

/// A writer that fills memtables, a thread that flushes them, and two readers.
pub(super) fn while_flushed() {
    let world = World::new(NARROW);
    let (acknowledged, mut dice) = (Acknowledged::default(), World::dice(1));
    for number in 1..=1 + dice.below(3) {
        acknowledged.write(&world, number, LONG);
    }
    let (first, last) = (acknowledged.number() + 1, acknowledged.number() + 14);
    let (writing, flushing) = (acknowledged.clone(), acknowledged.clone());
    let mut threads = vec![
        world.spawn(move |world| (first..=last).for_each(|number| writing.write(world, number, LONG))),
        world.spawn(move |world| {
            while flushing.number() < last {
                if !world.db.maintain().unwrap() {
                    shuttle::thread::yield_now();
                }
            }
        }),
    ];
    threads.extend((2..4).map(|reader| {
        let acknowledged = acknowledged.clone();
        world.spawn(move |world| {
            let mut dice = World::dice(reader);
            (0..12).for_each(|_| acknowledged.read(world, dice.below(4)));
        })
    }));
    for thread in threads {
        thread.join().unwrap();
    }
    world.judge();
}

/// A writer that flushes each write, a thread that compacts, and two readers.
pub(super) fn while_compacted() {
    let world = World::new(ROOMY);
    let (acknowledged, mut dice) = (Acknowledged::default(), World::dice(1));
    for number in 1..=2 + dice.below(2) {
        acknowledged.write(&world, number, 10);
        world.db.flush().unwrap();
    }
    let first = acknowledged.number() + 1;
    let writing = acknowledged.clone();
    let mut threads = vec![
        world.spawn(move |world| {
            for number in first..first + 2 {
                writing.write(world, number, 10);
                world.db.flush().unwrap();
            }
        }),
        world.spawn(|world| world.db.compact().unwrap()),
    ];
    threads.extend((2..4).map(|reader| {
        let acknowledged = acknowledged.clone();
        world.spawn(move |world| {
            let mut dice = World::dice(reader);
            (0..10).for_each(|_| acknowledged.read(world, dice.below(4)));
        })
    }));
    for thread in threads {
        thread.join().unwrap();
    }
    acknowledged.read(&world, 0);
    world.judge();
}
