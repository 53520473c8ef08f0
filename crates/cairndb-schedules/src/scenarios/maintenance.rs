//! Maintenance: steps made by several threads at once, against writers that wait for them and a close.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use cairndb::{Durability, Error};

use crate::disk::{Fault, Injected};
use crate::world::{LONG, NARROW, ROOMY, World};

/// Steps until the database is closed or stopped, at most so many.
fn make_steps(world: &World, count: usize) {
    for _ in 0..count {
        match world.db.maintain() {
            Ok(true) => {}
            Ok(false) => shuttle::thread::yield_now(),
            Err(Error::Closed | Error::Stopped { .. } | Error::Io { .. }) => return,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Writes until the database is closed, at most so often.
fn write_until_closed(world: &World, writer: u64, count: u64) {
    for round in 0..count {
        match world.write(&format!("{writer}{round}"), LONG, Durability::Os) {
            Ok(_) => {}
            Err(Error::Closed) => return,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Two threads that make steps, one that flushes and compacts, a writer, and a close.
pub(super) fn races() {
    let world = World::new(NARROW);
    let mut dice = World::dice(50);
    for round in 0..3 {
        world.write(&format!("before{round}"), 8, Durability::Os).unwrap();
        world.db.flush().unwrap();
    }
    let mut threads = vec![
        world.spawn(|world| make_steps(world, 8)),
        world.spawn(|world| make_steps(world, 8)),
        world.spawn(|world| write_until_closed(world, 1, 8)),
        world.spawn(|world| {
            let mut dice = World::dice(3);
            let done = if dice.one_in(2) { world.db.compact() } else { world.db.flush() };
            assert!(matches!(done, Ok(()) | Err(Error::Closed)), "{done:?}");
        }),
    ];
    if dice.one_in(2) {
        threads.push(world.spawn(|world| world.close().unwrap()));
    }
    for thread in threads {
        thread.join().unwrap();
    }
    world.judge();
}

/// Writers that fill memtables faster than they are flushed, and a thread that attends to that, until a step of its fails
/// for good or panics: whoever waits for a step hears of it. Then the close, which must find the thread's end.
pub(super) fn stops() {
    let world = World::new(NARROW);
    let mut dice = World::dice(50);
    let site = dice.pick(&["manifest.append", "manifest.sync", "names.sync", "wal.sync", "wal.append"]);
    // Of the sites the first two are called by nobody else.
    let panics = site.starts_with("manifest") && dice.one_in(2);
    world.disk.plan(site, dice.below(3), if panics { Fault::Panics } else { Fault::Fails });
    world
        .db
        .attend_on(move |work| {
            let thread = shuttle::thread::spawn(move || catch_unwind(AssertUnwindSafe(work)));
            Ok(Box::new(move || match thread.join().unwrap() {
                Err(thrown) if !panics || !thrown.is::<Injected>() => resume_unwind(thrown),
                _ => {}
            }))
        })
        .unwrap();
    let threads: Vec<_> = (0..2_u64)
        .map(|writer| {
            world.spawn(move |world| {
                let mut dice = World::dice(writer);
                let mut has_failed = false;
                for round in 0..8 {
                    // Maintenance syncs logs too, so a failure of it may be told to either.
                    let durability = dice.pick(&[Durability::Os, Durability::Os, Durability::Sync]);
                    match world.write(&format!("{writer}{round}"), LONG, durability) {
                        Ok(_) => assert!(!has_failed, "a write is acknowledged after writing has stopped"),
                        Err(Error::Io { .. } | Error::Stopped { .. }) => has_failed = true,
                        Err(error) => panic!("{error:?}"),
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    if panics {
        world.disk.forget_plan();
    }
    world.judge();
}

/// Threads that freeze the memtable, each in its own way, and a close; behind the close the directory is somebody else's.
pub(super) fn freeze_meets_close() {
    let world = World::new(ROOMY);
    world.write("before", 8, Durability::Os).unwrap();
    let mut threads: Vec<_> = (0..3)
        .map(|freezer| {
            world.spawn(move |world| {
                let done = match World::dice(freezer).below(4) {
                    0 => world.db.flush(),
                    1 => world.db.checkpoint().map(drop),
                    2 => world.db.compact(),
                    _ => (0..3).try_for_each(|_| world.db.maintain().map(drop)),
                };
                assert!(matches!(done, Ok(()) | Err(Error::Closed)), "{done:?}");
            })
        })
        .collect();
    threads.push(world.spawn(|world| {
        world.close().unwrap();
        let next = World::on(world.disk.clone(), ROOMY);
        next.write("next", 8, Durability::Sync).unwrap();
        next.close().unwrap();
    }));
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(world.disk.late(), [""; 0], "changed after the close had returned");
}

/// The name of a log that is being laid down cannot be synced: nothing may be acknowledged out of a log that a power loss
/// takes away.
pub(super) fn spare_without_name() {
    let world = World::new(NARROW);
    let mut dice = World::dice(50);
    world.disk.plan("names.sync", dice.below(3), Fault::Fails);
    let mut threads: Vec<_> = (0..2_u64)
        .map(|writer| {
            world.spawn(move |world| {
                let mut dice = World::dice(writer);
                for round in 0..6 {
                    let durability = dice.pick(&[Durability::Sync, Durability::Os]);
                    match world.write(&format!("{writer}{round}"), LONG, durability) {
                        Ok(_) | Err(Error::Io { .. } | Error::Stopped { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            })
        })
        .collect();
    threads.push(world.spawn(|world| make_steps(world, 8)));
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(world.disk.is_planned() || world.db.stats().stopped.is_some(), "a fault that stopped nothing");
    world.judge();
}
