//! Group: writers that share one append and one sync.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use cairndb::{Batch, Condition, Durability, Error, Value};

use crate::disk::{Fault, Injected};
use crate::scheduler::Dice;
use crate::world::{ROOMY, World};

const DURABILITIES: [Durability; 3] = [Durability::Buffered, Durability::Os, Durability::Sync];

/// What a writer waits for: the disk, half of the time.
fn any_durability(dice: &mut Dice) -> Durability {
    if dice.one_in(2) { Durability::Sync } else { dice.pick(&DURABILITIES) }
}

/// Three writers, one of which counts by conditions, and a reader: what was acknowledged is there, in order, and nobody
/// was told `Ok` before the sync; no count is lost.
pub(super) fn commit() {
    let world = World::new(ROOMY);
    let mut threads: Vec<_> = (0..3_u64)
        .map(|writer| {
            world.spawn(move |world| {
                let mut dice = World::dice(writer);
                let mut counted = 0;
                for round in 0..3 {
                    let (name, durability) = (format!("{writer}{round}"), any_durability(&mut dice));
                    if writer == 0 || (writer == 1 && round == 1) {
                        counted += count_once(world, &name, durability);
                    } else {
                        world.write(&name, 8, durability).unwrap();
                    }
                    assert!(world.db.get(format!("a/{name}")).unwrap().is_some() || writer < 2);
                }
                counted
            })
        })
        .collect();
    threads.push(world.spawn(|world| {
        let mut dice = World::dice(7);
        for _ in 0..3 {
            world.read_one(&mut dice);
            world.read_all(&mut dice);
        }
        0
    }));
    let counted: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let count = world.db.get("count").unwrap().map_or(0, |value| number_of(&value));
    assert_eq!(count, counted, "an increment was lost or made twice");
    world.read_all(&mut World::dice(8));
    world.judge();
}

/// Adds one to the count, if nobody else does in between; how often that was done.
fn count_once(world: &World, name: &str, durability: Durability) -> u64 {
    let found = world.db.get("count").unwrap();
    let condition = match &found {
        Some(value) => Condition::value_equal("count", &value[..]),
        None => Condition::absent("count"),
    };
    let mut batch = Batch::new();
    batch.put("count", (found.map_or(0, |value| number_of(&value)) + 1).to_string());
    let written = world.write_if(name, 8, durability, batch, &[condition]).unwrap();
    u64::from(written.is_some())
}

fn number_of(value: &Value) -> u64 {
    String::from_utf8_lossy(value).parse().expect("a number was written")
}

/// An append or a sync of the log fails: nobody in its group is told `Ok`, what they wrote stays unseen, and whoever comes
/// later hears that writing has stopped.
pub(super) fn fails() {
    let world = World::new(ROOMY);
    let mut dice = World::dice(50);
    world.disk.plan(dice.pick(&["wal.sync", "wal.append"]), dice.below(4), Fault::Fails);
    let threads: Vec<_> = (0..4_u64)
        .map(|writer| {
            world.spawn(move |world| {
                let mut dice = World::dice(writer);
                let mut has_failed = false;
                for round in 0..3 {
                    match world.write(&format!("{writer}{round}"), 8, any_durability(&mut dice)) {
                        Ok(_) => assert!(!has_failed, "a write is acknowledged after writing has stopped"),
                        Err(Error::Io { .. }) => {
                            assert!(!has_failed, "this writer had heard that writing has stopped");
                            has_failed = true;
                        }
                        Err(Error::Stopped { .. }) => has_failed = true,
                        Err(error) => panic!("{error:?}"),
                    }
                    world.read_all(&mut dice);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(world.disk.is_planned() || world.db.stats().stopped.is_some(), "a fault that stopped nothing");
    world.read_all(&mut dice);
    world.judge();
}

/// The leader of a group panics: it alone does; everyone else is answered, with the truth.
pub(super) fn leader_panics() {
    let world = World::new(ROOMY);
    let mut dice = World::dice(50);
    world.disk.plan(dice.pick(&["wal.sync", "wal.append"]), dice.below(4), Fault::Panics);
    let threads: Vec<_> = (0..4_u64)
        .map(|writer| {
            world.spawn(move |world| {
                let mut dice = World::dice(writer);
                for round in 0..2 {
                    let (name, durability) = (format!("{writer}{round}"), any_durability(&mut dice));
                    match catch_unwind(AssertUnwindSafe(|| world.write(&name, 8, durability))) {
                        Ok(Ok(_) | Err(Error::Stopped { .. })) => {}
                        Ok(Err(error)) => panic!("{error:?}"),
                        Err(thrown) if thrown.is::<Injected>() => return 1,
                        Err(thrown) => resume_unwind(thrown),
                    }
                }
                0
            })
        })
        .collect();
    let panicked: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(panicked, u32::from(!world.disk.is_planned()));
    world.disk.forget_plan();
    if panicked > 0 {
        let later = world.write("later", 8, Durability::Sync);
        assert!(matches!(later, Err(Error::Stopped { .. })), "what the panic left is built upon: {later:?}");
    }
    world.read_all(&mut dice);
    world.judge();
}
