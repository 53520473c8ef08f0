//! Directory: a hostile place for a whole database, and everything that can be done in it.
//!
//! An input is a number of a small sound directory and a list of edits to its files; at the end all is signed. So the
//! parsers meet damage that no checksum tells of, and one kind of file meets what the others say of it.

use cairndb_storage::{FileName, Memory, Storage};

use super::lengths::{claim, point};
use super::parsers::check_error;
use super::seeds::bases;
use super::sign::sign;
use super::{Files, memory_of, options};
use crate::check::verify;
use crate::coding::Decoder;
use crate::db::{BackupMode, Db};
use crate::error::{Error, Result};
use crate::inspect::inspect;
use crate::repair::repair;
use crate::sync::Arc;

/// No file that is edited grows beyond this, in bytes.
const FILE_LEN_MAX: usize = 64 << 10;

/// A settled database is settled long before this many steps.
const STEPS_MAX: usize = 5000;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Driven {
    /// A check found nothing wrong.
    pub sound: bool,
    /// It could be opened for reading, and everything in it be read.
    pub read: bool,
    /// It could be opened for writing.
    pub opened: bool,
    /// Everything in it could be compacted.
    pub compacted: bool,
}

/// The files that an input stands for: `| base u8 | flags u8 | edit | edit | ...`. Flags: 1, nothing is signed; 2, tables
/// keep the bounds that the manifest gives them.
pub fn read_input(input: &[u8]) -> Files {
    let mut from = Decoder::new(input);
    let bases = bases();
    let base = usize::from(from.u8().unwrap_or(0)) % bases.len();
    let mut files = bases[base].clone();
    let flags = from.u8().unwrap_or(0);
    while edit(&mut files, &mut from).is_some() {}
    if flags & 1 == 0 {
        sign(&mut files, flags & 2 == 0);
    }
    files
}

/// One edit: `| what u8 | file u8 | ... |`, as far as the input goes. Places are u16, from the end if their top bit is set.
fn edit(files: &mut Files, from: &mut Decoder<'_>) -> Option<()> {
    let (what, file) = (from.u8()?, from.u8()?);
    let names: Vec<FileName> = files.keys().copied().collect();
    let name = *names.get(usize::from(file) % names.len().max(1))?;
    let bytes = files.get_mut(&name)?;
    let mut place = |len: usize| {
        let place = from.u16()?;
        let at = usize::from(place & 0x7FFF) % (len + 1);
        Some(if place < 0x8000 { at } else { len - at })
    };
    match what % 11 {
        // These bytes, over those that stand there.
        0 => {
            let at = place(bytes.len())?;
            let new = from.slice()?;
            let end = bytes.len().min(at + new.len());
            bytes[at..end].copy_from_slice(&new[..end - at]);
        }
        // A number that lengths and counts are apt to trip over.
        1 => {
            let at = place(bytes.len())?;
            let number = hostile_number(from.u8()?, bytes.len() as u64);
            let width = [1, 2, 4, 8][usize::from(from.u8()? % 4)];
            let end = bytes.len().min(at + width);
            bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
        }
        // The same as a varint.
        2 => {
            let at = place(bytes.len())?;
            let mut number = Vec::new();
            crate::coding::put_varint(&mut number, hostile_number(from.u8()?, bytes.len() as u64));
            let end = bytes.len().min(at + number.len());
            bytes[at..end].copy_from_slice(&number[..end - at]);
        }
        3 => {
            let at = place(bytes.len())?;
            bytes.truncate(at);
        }
        // These bytes between those that stand there.
        4 => {
            let at = place(bytes.len())?;
            let new = from.slice()?;
            if bytes.len() + new.len() <= FILE_LEN_MAX {
                bytes.splice(at..at, new.iter().copied());
            }
        }
        5 => {
            let (at, len) = (place(bytes.len())?, usize::from(from.u8()?));
            let end = bytes.len().min(at + len);
            bytes.drain(at..end);
        }
        6 => drop(files.remove(&name)),
        // A file under another name of its kind; numbered so, or not.
        7 => {
            let (number, renumber) = (u64::from(from.u8()?), from.u8()? % 2 == 0);
            let number = if number > 200 { u64::MAX - (number - 201) } else { number.max(1) };
            let mut copy = bytes.clone();
            if let Some(field) = copy.get_mut(16..24).filter(|_| renumber) {
                field.copy_from_slice(&number.to_le_bytes());
            }
            files.insert(FileName { number, ..name }, copy);
        }
        // A body of the input's own.
        8 => *bytes = from.slice()?.to_vec(),
        // A table whose index points elsewhere.
        9 => {
            let (nth, number) = (usize::from(from.u8()?), hostile_number(from.u8()?, bytes.len() as u64));
            let is_offset = from.u8()? % 2 == 0;
            point(name, bytes, nth, |handle| match is_offset {
                true => handle.offset = number,
                false => handle.len = number as u32,
            });
        }
        // A block that unpacks to any length.
        _ => {
            let (nth, number) = (usize::from(from.u8()?), hostile_number(from.u8()?, bytes.len() as u64));
            claim(name, bytes, nth, number as u32);
        }
    }
    Some(())
}

fn hostile_number(which: u8, len: u64) -> u64 {
    let numbers = [
        0,
        1,
        u64::MAX,
        u64::MAX - 1,
        len,
        len.wrapping_sub(1),
        len + 1,
        u64::from(u32::MAX),
        1 << 31,
        (1 << 48) - 1,
        1 << 61,
        (1 << 62) - 1,
        1 << 62,
        1 << 63,
    ];
    numbers[usize::from(which) % numbers.len()]
}

/// Does everything to a copy of these files that can be done to a database.
pub fn drive(files: &Files) -> Driven {
    let memory = memory_of(files);
    for name in files.keys() {
        let file = memory.open("fuzz", *name).expect("the file stands");
        if let Err(error) = inspect(file, *name, &mut std::io::sink()) {
            check_error(&error);
        }
    }
    let mut driven = Driven::default();
    match verify(Arc::new(memory.clone())) {
        Ok(verification) => driven.sound = verification.ok(),
        Err(error) => check_error(&error),
    }
    match Db::open_read_only_with(Arc::new(memory.clone()), options(1000)) {
        Ok(db) => driven.read = read_all(&db, driven.sound),
        Err(error) => refuse(&error, driven.sound),
    }
    match Db::open_with(Arc::new(memory.clone()), options(2000)) {
        Ok(db) => {
            driven.opened = true;
            let worked = work(&db, driven.sound);
            if let Err(error) = &worked {
                refuse(error, driven.sound);
            }
            driven.compacted = worked.is_ok();
            drop(db.close());
        }
        Err(error) => refuse(&error, driven.sound),
    }
    if driven.compacted && driven.sound {
        let again = verify(Arc::new(memory.clone())).expect("it was just closed");
        assert!(again.ok(), "a sound directory is sound after work: {again:?}");
    }
    match Db::open_with(Arc::new(memory), options(3000)) {
        Ok(db) => drop(read_all(&db, driven.sound)),
        Err(error) => refuse(&error, driven.sound),
    }
    let repaired = Memory::default();
    match repair(Arc::new(memory_of(files)), Arc::new(repaired.clone()), options(5000)) {
        Ok(_) => {
            let made = verify(Arc::new(repaired)).expect("a repair makes a database");
            assert!(made.ok(), "what was repaired is not sound: {made:?}");
        }
        Err(error) => check_error(&error),
    }
    driven
}

/// Damage is told by its name, and only where a check tells of it too.
fn refuse(error: &Error, sound: bool) {
    let error = match error {
        Error::Stopped { cause } => cause,
        error => error,
    };
    check_error(error);
    let exhausted = matches!(error, Error::Corrupt { what, .. } if what.contains("left"));
    assert!(!sound || exhausted, "a check found nothing, and then: {error:?}");
}

/// Reads everything in every way; whether it all could be read.
fn read_all(db: &Db, sound: bool) -> bool {
    let mut whole = true;
    for keyspace in [0, 3] {
        match read_keyspace(db, keyspace, sound) {
            Ok(()) => {}
            Err(error) => {
                refuse(&error, sound);
                whole = false;
            }
        }
    }
    let _ = format!("{}{:?}", db.stats(), db.recovery());
    whole
}

fn read_keyspace(db: &Db, keyspace: u8, sound: bool) -> Result<()> {
    let reader = db.keyspace(keyspace)?;
    let forward: Result<Vec<_>> = reader.scan(..).collect();
    let backward: Result<Vec<_>> = reader.scan(..).rev().collect();
    let len = reader.approximate_len(..);
    let mut cursor = reader.cursor(..);
    for (index, (key, _)) in forward.iter().flatten().enumerate().take(40) {
        let found = reader.get(key);
        cursor.seek(key);
        let next = if index % 2 == 0 { cursor.next() } else { cursor.prev() };
        let next = next.map(|found| found.map(|(key, _)| key.to_vec()));
        if sound {
            found?;
            next?;
        }
    }
    let snapshot = db.snapshot()?.keyspace(keyspace)?;
    let held = snapshot.scan("a".."x").rev().map(|item| item.map(drop)).collect::<Result<Vec<()>>>();
    let (forward, mut backward) = (forward?, backward?);
    backward.reverse();
    assert!(!sound || forward == backward, "a scan backward is the scan forward turned round");
    len?;
    held.map(drop)
}

/// Writes, flushes, settles, compacts, copies.
fn work(db: &Db, sound: bool) -> Result<()> {
    read_all(db, sound);
    let snapshot = db.snapshot()?;
    db.put("hostile", [7; 300])?;
    db.delete_range("b".."c")?;
    db.flush()?;
    settle(db)?;
    db.delete("hostile")?;
    db.keyspace(3)?.put_with_expiry("soon", "gone", 1)?;
    drop(snapshot);
    db.compact()?;
    settle(db)?;
    let copy = Memory::default();
    db.backup(&copy, BackupMode::Copy)?;
    let copy = Db::open_with(Arc::new(copy), options(4000))?;
    read_all(&copy, sound);
    copy.close()
}

fn settle(db: &Db) -> Result<()> {
    let mut idle = 0;
    for _ in 0..STEPS_MAX {
        idle = if db.maintain()? { 0 } else { idle + 1 };
        if idle == 3 {
            return Ok(());
        }
    }
    panic!("{STEPS_MAX} steps, and maintenance finds no end: {}", db.stats());
}
