//! Script: what both sides do, drawn from a seed, and a map that knows what must be there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairndb::storage::FileKind;
use cairndb::storage::{FileName, Storage};
use cairndb::{Batch, Compression, Db, Durability, Options};

/// What is done before the directory is compared, and what goes on in it afterwards.
pub(crate) const COUNTS: [usize; 2] = [20_000, 4_000];

const MEMORY_BUDGET_BYTES: u64 = 1 << 20;
const KEYS: u64 = 3000;

/// What must be there.
pub(crate) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A directory's files that hold bytes, the reserve's too.
pub(crate) type Files = Vec<(FileName, Vec<u8>)>;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Put(Vec<u8>, Vec<u8>, Durability),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
    Batch(Vec<(Vec<u8>, Vec<u8>)>),
    Flush,
    Compact,
    Checkpoint,
    Maintain(usize),
    Close,
    /// The end of the process or the worker: nothing is closed.
    Crash,
}

/// What an open is given: ids and a clock that follow from how far the script is.
pub(crate) fn options(step: usize) -> Options {
    let next = AtomicU64::new(step as u64);
    let ids = move || u128::from(next.fetch_add(1, Ordering::Relaxed)) << 64 | 7;
    let now_ms = 1_000_000 + step as u64;
    Options {
        memory_budget_bytes: MEMORY_BUDGET_BYTES,
        compression: Compression::Lz4,
        // Most writes wait for no disk, so that the script takes seconds; the log notes each sync.
        durability: Durability::Os,
        ..Options::new(Arc::new(move || now_ms), Arc::new(ids))
    }
}

/// The steps from one place in the script to another.
pub(crate) fn steps(from: usize, count: usize) -> impl Iterator<Item = (usize, Step)> {
    (from..from + count).map(|number| (number, step(number)))
}

fn step(number: usize) -> Step {
    let mut dice = Dice(number as u64 + 1);
    match (number + 1) % 4000 {
        0 => return Step::Close,
        1300 | 2700 => return Step::Crash,
        900 => return Step::Checkpoint,
        2000 => return Step::Compact,
        _ => {}
    }
    match dice.below(100) {
        0..60 => {
            let durability = if dice.below(16) == 0 { Durability::Sync } else { Durability::Os };
            Step::Put(key(&mut dice), value(&mut dice), durability)
        }
        60..70 => Step::Delete(key(&mut dice)),
        70 => {
            let (a, b) = (key(&mut dice), key(&mut dice));
            // A short stretch: the keys of one prefix.
            let b = [&a[..2], &b[2..]].concat();
            if a < b { Step::DeleteRange(a, b) } else { Step::DeleteRange(b, a) }
        }
        71..80 => Step::Batch((0..1 + dice.below(12)).map(|_| (key(&mut dice), value(&mut dice))).collect()),
        80 if dice.below(40) == 0 => Step::Flush,
        _ => Step::Maintain(dice.below(3) as usize),
    }
}

/// Does a step, but for the ends of a session.
pub(crate) fn apply(db: &Db, step: &Step) -> cairndb::Result<()> {
    match step {
        Step::Put(key, value, durability) => db.with_durability(*durability).put(key, value),
        Step::Delete(key) => db.delete(key),
        Step::DeleteRange(from, to) => db.delete_range(from..to),
        Step::Batch(entries) => {
            let mut batch = Batch::new();
            for (key, value) in entries {
                batch.put(key, value);
            }
            db.write(batch).map(|_| ())
        }
        Step::Flush => db.flush(),
        Step::Compact => db.compact(),
        Step::Checkpoint => db.checkpoint().map(|_| ()),
        Step::Maintain(count) => {
            for _ in 0..*count {
                db.maintain()?;
            }
            Ok(())
        }
        Step::Close | Step::Crash => unreachable!("the driver's"),
    }
}

/// What the step makes of what must be there.
pub(crate) fn note(map: &mut Map, step: &Step) {
    match step {
        Step::Put(key, value, _) => drop(map.insert(key.clone(), value.clone())),
        Step::Delete(key) => drop(map.remove(key)),
        Step::DeleteRange(from, to) => map.retain(|key, _| key < from || key >= to),
        Step::Batch(entries) => map.extend(entries.iter().cloned()),
        _ => {}
    }
}

/// Holds everything against what must be there, from both ends and key by key.
pub(crate) fn compare(db: &Db, map: &Map) {
    let forward = db.scan(..).map(|item| item.unwrap()).map(|(key, value)| (key, value.into_vec()));
    assert!(forward.eq(map.iter().map(|(key, value)| (key.clone(), value.clone()))), "a scan differs");
    let backward = db.scan(..).rev().map(|item| item.unwrap().0);
    assert!(backward.eq(map.keys().rev().cloned()), "a scan from the end differs");
    for number in (0..KEYS).step_by(7) {
        let key = key_of(number);
        let found = db.get(&key).unwrap().map(cairndb::Value::into_vec);
        assert_eq!(found.as_ref(), map.get(&key), "{}", String::from_utf8_lossy(&key));
    }
    let check = db.verify().unwrap();
    assert!(check.ok(), "{check:?}");
}

/// The files that hold bytes.
pub(crate) fn files_of(storage: &dyn Storage) -> Files {
    let bytes_of = |name: FileName| {
        let file = storage.open("test", name).unwrap();
        let mut bytes = vec![0; file.len("test").unwrap() as usize];
        file.read_at("test", 0, &mut bytes).unwrap();
        (name, bytes)
    };
    let files = storage.list("test").unwrap().into_iter().map(bytes_of);
    files.filter(|(_, bytes)| !bytes.is_empty()).collect()
}

/// Puts a directory's files into one piece.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn pack(files: &Files) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in files {
        out.push(FileKind::ALL.iter().position(|kind| *kind == name.kind).unwrap() as u8);
        out.extend_from_slice(&name.number.to_le_bytes());
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(bytes);
    }
    out
}

/// And takes them out again.
#[cfg(target_family = "wasm")]
pub(crate) fn unpack(mut bytes: &[u8]) -> Files {
    let mut files = Vec::new();
    while let Some((kind, rest)) = bytes.split_first() {
        let (number, rest) = rest.split_first_chunk().unwrap();
        let (len, rest) = rest.split_first_chunk().unwrap();
        let (file, rest) = rest.split_at(u64::from_le_bytes(*len) as usize);
        let name = FileName { kind: FileKind::ALL[usize::from(*kind)], number: u64::from_le_bytes(*number) };
        files.push((name, file.to_vec()));
        bytes = rest;
    }
    files
}

fn key(dice: &mut Dice) -> Vec<u8> {
    key_of(dice.below(KEYS))
}

fn key_of(number: u64) -> Vec<u8> {
    format!("{:02}/{number:05}", number * 7 % 100).into_bytes()
}

/// Part of it packs well, and part does not.
fn value(dice: &mut Dice) -> Vec<u8> {
    let len = [0, 20, 100, 100, 300, 900][dice.below(6) as usize] as usize;
    let mut value = vec![b'.'; len / 2];
    while value.len() < len {
        value.extend_from_slice(&dice.next().to_le_bytes());
    }
    value.truncate(len);
    value
}

struct Dice(u64);

impl Dice {
    /// Sebastiano Vigna's splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
