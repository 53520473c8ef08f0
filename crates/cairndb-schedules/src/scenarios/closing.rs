//! Closing: a close, or the last handle's end, among everything that can be under way.

use std::collections::BTreeSet;
use std::sync::Arc;

use cairndb::{BackupMode, Db, Durability, Error};

use crate::disk::{Disk, Opened};
use crate::world::{LONG, NARROW, World, names, options, place};

/// A writer, readers with a snapshot and a scan, a backup, and a close.
pub(super) fn among_all() {
    let world = World::new(NARROW);
    for round in 0..3 {
        world.write(&format!("before{round}"), 8, Durability::Os).unwrap();
        world.db.flush().unwrap();
    }
    let threads = vec![
        world.spawn(|world| {
            for round in 0..4 {
                match world.write(
                    &format!("1{round}"),
                    LONG,
                    World::dice(1).pick(&[Durability::Os, Durability::Sync]),
                ) {
                    Ok(_) => {}
                    Err(Error::Closed) => return,
                    Err(error) => panic!("{error:?}"),
                }
            }
        }),
        world.spawn(|world| {
            let mut dice = World::dice(2);
            for _ in 0..2 {
                world.read_one(&mut dice);
                world.read_all(&mut dice);
            }
        }),
        world.spawn(|world| {
            let Ok(snapshot) = world.db.snapshot() else { return };
            let mut found: Vec<BTreeSet<String>> = Vec::new();
            for _ in 0..2 {
                match names(&snapshot, &mut World::dice(3)) {
                    Ok(names) => found.push(names),
                    Err(Error::Closed) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "a snapshot has changed");
        }),
        world.spawn(back_up),
        world.spawn(|world| world.close().unwrap()),
    ];
    for thread in threads {
        thread.join().unwrap();
    }
    world.judge_closed(true);
}

/// A backup that is finished is whole, on the disk, and has all that was acknowledged before it began.
fn back_up(world: &World) {
    let before = world.acknowledged();
    let (disk, to) = place();
    match world.db.backup(to.as_ref(), BackupMode::Copy) {
        Ok(_) => {}
        Err(Error::Closed) => return,
        Err(error) => panic!("{error:?}"),
    }
    let left = Disk::from_image(&disk.image());
    let copy = Db::open_with(Arc::new(Opened(left.session())), options(NARROW, 5000)).unwrap();
    let found = names(&copy, &mut World::dice(4)).unwrap();
    assert!(before.is_subset(&found), "acknowledged before the backup: {before:?}; in it: {found:?}");
}

/// Handles, a scan and a snapshot go one by one, on threads of their own: the last one closes the database, once.
pub(super) fn by_last_handle() {
    let world = World::new(NARROW);
    world.write("before", 8, Durability::Os).unwrap();
    let threads = vec![
        world.spawn(|world| {
            for round in 0..3 {
                world.write(&format!("1{round}"), LONG, Durability::Os).unwrap();
            }
        }),
        world.spawn(|world| world.read_all(&mut World::dice(2))),
        world.spawn_owner(|world| {
            let (mut scan, mut snapshot) = (world.db.scan(..), Some(world.db.snapshot().unwrap()));
            drop(world);
            while let Some(item) = scan.next() {
                item.unwrap();
                snapshot = None;
            }
            drop(snapshot);
        }),
        world.spawn(|world| {
            world.db.maintain().unwrap();
        }),
    ];
    let remains = world.leave();
    for thread in threads {
        thread.join().unwrap();
    }
    remains.judge(true);
}
