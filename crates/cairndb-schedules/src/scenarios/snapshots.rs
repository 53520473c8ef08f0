//! Snapshots: moments that stay what they were, until they are let go.

use std::collections::BTreeMap;

use cairndb::{Durability, Reader};

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

/// A writer that puts, deletes and deletes ranges, a thread that compacts, and two that hold snapshots, of which a clone of
/// the reader may outlive the snapshot. When all are gone, what only they saw goes too.
pub(super) fn kept() {
    let world = World::new(ROOMY);
    let os = world.db.with_durability(Durability::Os);
    for key in KEYS {
        os.put(key, "first").unwrap();
    }
    world.db.flush().unwrap();
    let mut threads = vec![
        world.spawn(|world| {
            let (mut dice, os) = (World::dice(1), world.db.with_durability(Durability::Os));
            for round in 0..4_u64 {
                let key = dice.pick(&KEYS);
                match dice.below(4) {
                    0 => os.delete(key).unwrap(),
                    1 => os.delete_range("k1".."k9").unwrap(),
                    _ => os.put(key, round.to_string()).unwrap(),
                }
            }
        }),
        world.spawn(|world| {
            for _ in 0..2 {
                world.db.compact().unwrap();
            }
        }),
    ];
    threads.extend((2..4).map(|holder| {
        world.spawn(move |world| {
            let mut dice = World::dice(holder);
            for _ in 0..2 {
                hold(world, &mut dice);
            }
        })
    }));
    for thread in threads {
        thread.join().unwrap();
    }
    world.db.compact().unwrap();
    let stats = world.db.stats();
    let entries: u64 = stats.levels.iter().map(|level| level.entries + level.deletes).sum();
    let live = world.db.scan(..).count() as u64;
    assert_eq!(entries, live, "after compaction tables hold what nobody can see: {stats}");
    assert_eq!(stats.snapshots, 0);
    world.judge();
}

fn hold(world: &World, dice: &mut Dice) {
    let snapshot = world.db.snapshot().unwrap();
    let first = read(&snapshot, dice.one_in(2));
    assert!(first.values().all(|(_, seq)| *seq <= snapshot.seq()));
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
