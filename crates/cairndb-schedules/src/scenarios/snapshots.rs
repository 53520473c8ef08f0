//! Snapshots: moments that stay what they were, until they are let go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cairndb::{Batch, Durability, Reader};

use crate::scheduler::Dice;
use crate::world::{ROOMY, World};

const KEYS: [&str; 3] = ["k0", "k1", "k2"];

/// What a moment holds: each key's value and sequence number.
type Moment = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

fn read(reader: &Reader, by_scan: bool) -> Moment {
    let mut moment = Moment::new();
    if by_scan {
        let mut scan = reader.scan(..);
        while let Some(item) = scan.next_entry_back() {
            let (key, entry) = item.unwrap();
            moment.insert(key, (entry.value.to_vec(), entry.seq));
        }
    } else {
        for key in KEYS {
            if let Some(entry) = reader.get_entry(key).unwrap() {
                moment.insert(key.into(), (entry.value.to_vec(), entry.seq));
            }
        }
    }
    moment
}

/// What the one writer has done, with its sequence numbers, and what snapshots found.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<(Vec<(u64, Change)>, Vec<(u64, Moment)>)>>);

/// What one write does to which key.
#[derive(Clone, Copy)]
enum Change {
    Put(&'static str, u64),
    Delete(&'static str),
    /// Of all keys but the first.
    DeleteRange,
}

impl Notes {
    fn write(&self, world: &World, change: Change) {
        let mut batch = Batch::new();
        match change {
            Change::Put(key, value) => batch.put(key, value.to_string()),
            Change::Delete(key) => batch.delete(key),
            Change::DeleteRange => batch.delete_range("k1".."k9"),
        };
        batch.durability(Durability::Os);
        let seq = world.db.write(batch).unwrap();
        self.0.lock().unwrap().0.push((seq, change));
    }

    fn found(&self, seq: u64, moment: Moment) {
        self.0.lock().unwrap().1.push((seq, moment));
    }

    /// Every snapshot must have found what all writes up to its number leave.
    fn judge(&self) {
        let notes = self.0.lock().unwrap();
        for (held, found) in &notes.1 {
            let mut moment = Moment::new();
            for (seq, change) in notes.0.iter().filter(|(seq, _)| seq <= held) {
                match change {
                    Change::Put(key, value) => {
                        moment.insert((*key).into(), (value.to_string().into_bytes(), *seq));
                    }
                    Change::Delete(key) => {
                        moment.remove(key.as_bytes());
                    }
                    Change::DeleteRange => moment.retain(|key, _| key.as_slice() < b"k1"),
                }
            }
            assert_eq!(*found, moment, "a snapshot at {held} has not found its moment");
        }
    }
}

/// A writer that puts, deletes and deletes ranges, a thread that compacts, and two that hold snapshots, of which a clone of
/// the reader may outlive the snapshot. When all are gone, what only they saw goes too.
pub(super) fn kept() {
    let world = World::new(ROOMY);
    let (notes, mut dice) = (Notes::default(), World::dice(50));
    for key in KEYS {
        notes.write(&world, Change::Put(key, 100));
    }
    if dice.one_in(2) {
        world.db.flush().unwrap();
    }
    let writing = notes.clone();
    let mut threads = vec![
        world.spawn(move |world| {
            let mut dice = World::dice(1);
            for round in 0..4_u64 {
                let key = dice.pick(&KEYS);
                let change = match dice.below(4) {
                    0 => Change::Delete(key),
                    1 => Change::DeleteRange,
                    _ => Change::Put(key, round),
                };
                writing.write(world, change);
            }
        }),
        world.spawn(|world| {
            for _ in 0..2 {
                world.db.compact().unwrap();
            }
        }),
    ];
    threads.extend((2..4).map(|holder| {
        let notes = notes.clone();
        world.spawn(move |world| {
            let mut dice = World::dice(holder);
            for _ in 0..3 {
                glance(world, &notes);
                glance(world, &notes);
                hold(world, &notes, &mut dice);
            }
        })
    }));
    for thread in threads {
        thread.join().unwrap();
    }
    notes.judge();
    world.db.compact().unwrap();
    let stats = world.db.stats();
    let entries: u64 = stats.levels.iter().map(|level| level.entries + level.deletes).sum();
    let live = world.db.scan(..).count() as u64;
    assert_eq!(entries, live, "after compaction tables hold what nobody can see: {stats}");
    assert_eq!(stats.snapshots, 0);
    world.judge();
}

/// A snapshot that goes as soon as it has been read.
fn glance(world: &World, notes: &Notes) {
    let snapshot = world.db.snapshot().unwrap();
    notes.found(snapshot.seq(), read(&snapshot, false));
}

fn hold(world: &World, notes: &Notes, dice: &mut Dice) {
    let snapshot = world.db.snapshot().unwrap();
    let first = read(&snapshot, dice.one_in(2));
    notes.found(snapshot.seq(), first.clone());
    let reader = Reader::clone(&snapshot);
    for _ in 0..2 {
        shuttle::thread::yield_now();
        assert_eq!(read(&snapshot, dice.one_in(2)), first, "a snapshot has changed");
    }
    drop(snapshot);
    shuttle::thread::yield_now();
    assert_eq!(
        read(&reader, dice.one_in(2)),
        first,
        "a reader has outlived its snapshot, and sees another moment"
    );
}
