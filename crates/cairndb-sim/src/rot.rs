//! Rot: a bit of a database at rest is flipped, each in turn; it is found, or it does no harm.
//!
//! Two small databases are built once, of every kind of file: one that was closed cleanly several times and is open
//! now, so that it has a chain of sealed logs and one that nobody has closed; and one whose manifest has edits. Both
//! have tables at two levels, packed and not, with range deletes. After a flip the database is verified and opened,
//! and everything is read: forwards, backwards, and key by key. What it answers is held against what was there.
//!
//! # Invariants
//! - I1. No read answers anything but what was written, or `Corrupt` with the flipped file's name or, where the loss
//!   of an edit is told by what it named, another's.
//! - I2. The check at rest finds every flip in a *live* byte. Bytes that are not live: the zero room behind the records
//!   of a log or manifest, the padding of a record, and a close mark that the next log says does not count.
//! - I3. The one exception is the *tail*: the last record of a log that was not closed, which nothing vouches for. Rot in
//!   it is a torn end, and what is found then is all that was written before it.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use cairndb::storage::{Fate, Faulty, FileKind, FileName, Storage};
use cairndb::{Compression, Db, Error, Options, verify};

use crate::dice::Dice;
use crate::oracle::{Map, differences};
use crate::quiet::quietly;
use crate::reads::{everything, is_entry};
use crate::tally::Tally;
use crate::trouble::{Done, Trouble, require};

/// How many bytes one seed flips.
const PIECE_LEN: usize = 512;

/// A database may come out a little longer than was asked for; seeds behind its end have nothing to do.
const SPARE_PIECES: u64 = 40;

/// The databases for `rot-bytes` and for `rot-bits`: their least length in all, in bytes.
const BYTES_LEN: usize = 64 << 10;
const BITS_LEN: usize = 128 << 10;

/// At least so much of them is live, in hundredths.
const LIVE_PERCENT: usize = 90;

/// How many seeds there are.
pub(crate) const BYTES_SEEDS: u64 = (BYTES_LEN / PIECE_LEN) as u64 + SPARE_PIECES;
pub(crate) const BITS_SEEDS: u64 = (BITS_LEN / PIECE_LEN) as u64 + SPARE_PIECES;

/// Zeros that are left behind the records of a log or manifest.
const ROOM_LEN: usize = 40;

const MEMORY_BUDGET_BYTES: u64 = 32 << 10;

/// The incarnation that opens what was spoiled.
const OPENED_ID: u128 = 0xca12 << 64;

/// Flips one bit in each byte of a piece of the smaller databases; all eight take their turns.
pub(crate) fn bytes(piece: u64) -> Result<Tally, String> {
    static BUILT: OnceLock<Vec<Built>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build_all(BYTES_LEN));
    flip_piece(built, piece, "bytes", |at| {
        let bit = (at + at / 8 + at / 64) % 8;
        bit as u8..bit as u8 + 1
    })
}

/// Flips every bit of a piece of the larger databases.
pub(crate) fn bits(piece: u64) -> Result<Tally, String> {
    static BUILT: OnceLock<Vec<Built>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build_all(BITS_LEN));
    flip_piece(built, piece, "bits", |_| 0..8)
}

/// A database at rest, and what it holds.
struct Built {
    disk: Faulty,
    files: Vec<(FileName, Vec<Life>)>,
    contents: Map,
    /// Without the last write.
    before: Map,
}

/// What a byte is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Live,
    /// Zeros laid down before they are needed.
    Room,
    /// Up to where the next record may begin.
    Padding,
    /// Behind the end that the next log gives to this one.
    Left,
    /// The last record of a log that was not closed.
    Tail,
}

fn flip_piece(
    built: &[Built],
    piece: u64,
    unit: &'static str,
    bits: impl Fn(usize) -> Range<u8>,
) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut begin = 0;
    let piece = piece as usize * PIECE_LEN..(piece as usize + 1) * PIECE_LEN;
    for built in built {
        for (name, lives) in &built.files {
            let from = piece.start.max(begin).min(begin + lives.len());
            let to = piece.end.min(begin + lives.len()).max(from);
            for at in from..to {
                for bit in bits(at) {
                    let flip = Flip { name: *name, offset: at - begin, bit, life: lives[at - begin] };
                    let found = quietly(|| flip.look(built).map_err(Trouble::told));
                    let counted = found.map_err(|told| format!("{flip}: {told}"))?.counted();
                    tally.follow(&format!("{flip}: {counted}"));
                    tally.add(counted, 1);
                    tally.add(unit, 1);
                    tally.add("live", u64::from(flip.life == Life::Live));
                }
            }
            begin += lives.len();
        }
    }
    Ok(tally)
}

struct Flip {
    name: FileName,
    offset: usize,
    bit: u8,
    life: Life,
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bit {} of the byte at {} of {} ({:?})", self.bit, self.offset, self.name, self.life)
    }
}

/// What came of a flip.
enum Found {
    AtOpen,
    AtRead,
    ByCheck,
    Harmless(Life),
    TailDropped,
}

impl Found {
    fn counted(&self) -> &'static str {
        match self {
            Found::AtOpen => "found_at_open",
            Found::AtRead => "found_at_read",
            Found::ByCheck => "found_by_check_alone",
            Found::Harmless(Life::Room) => "harmless_room",
            Found::Harmless(Life::Padding) => "harmless_padding",
            Found::Harmless(_) => "harmless_behind_the_end",
            Found::TailDropped => "tail_torn",
        }
    }
}

impl Flip {
    fn look(&self, built: &Built) -> Result<Found, Trouble> {
        let disk = built.disk.crashed_with(&mut |_| Fate::Keep);
        disk.flip_bit(self.name, self.offset as u64, self.bit);
        let check = verify(Arc::new(disk.clone()))?;
        check
            .checks
            .iter()
            .flat_map(|check| &check.problems)
            .try_for_each(|error| self.require_named(error))?;
        require!(!check.ok() || self.life != Life::Live, "I2: the check does not find it");
        require!(check.ok() || self.life == Life::Live, "I2: the check finds fault with it: {check:?}");
        if self.offset.is_multiple_of(8) {
            // As those who look at damage will.
            self.read(
                Db::open_read_only_with(Arc::new(disk.clone()), options(Compression::None, OPENED_ID)),
                built,
            )?;
        }
        let opened = Db::open_with(Arc::new(disk.clone()), options(Compression::None, OPENED_ID));
        let found = self.read(opened, built)?;
        disk.kill();
        Ok(match found {
            None if self.life == Life::Live => Found::ByCheck,
            None => Found::Harmless(self.life),
            Some(found) => found,
        })
    }

    /// Reads everything; `None` if all of it is right.
    fn read(&self, opened: cairndb::Result<Db>, built: &Built) -> Result<Option<Found>, Trouble> {
        let db = match opened {
            Ok(db) => db,
            Err(error) => return self.require_named(&error).map(|()| Some(Found::AtOpen)),
        };
        if self.life == Life::Tail {
            let found = everything(&db)?;
            let told = || differences(&built.before, &found);
            require!(found == built.before, "I3: not what was written before the tail:\n{}", told());
            return Ok(Some(Found::TailDropped));
        }
        let mut damaged = false;
        for keyspace in [0, 1] {
            for read in [forwards, backwards, gets] {
                match read(&db, keyspace, &built.contents) {
                    Ok(()) => {}
                    Err(Trouble::Engine(error)) => {
                        self.require_named(&error)?;
                        damaged = true;
                    }
                    Err(wrong) => return Err(wrong),
                }
            }
        }
        Ok(damaged.then_some(Found::AtRead))
    }

    /// I1: damage is told as such, with the file's name.
    fn require_named(&self, error: &Error) -> Done {
        let Error::Corrupt { file, .. } = error else {
            return Err(Trouble::Wrong(format!("I1: told as {error:?}")));
        };
        // An edit that is lost is missed by the files that it named, or dropped.
        let named = *file == self.name.to_string() || self.name.kind == FileKind::Manifest;
        require!(named, "I1: another file is named: {error}");
        Ok(())
    }
}

fn forwards(db: &Db, keyspace: u8, contents: &Map) -> Done {
    let mut scan = db.keyspace(keyspace)?.scan(..);
    for (name, slot) in contents.iter().filter(|(name, _)| name.0 == keyspace) {
        let item = scan.next_entry().transpose()?;
        let same = item.as_ref().is_some_and(|(key, entry)| *key == name.1 && is_entry(slot, entry));
        require!(same, "I1: a scan answers {item:?}, and it is {name:?} {slot:?}");
    }
    let item = scan.next_entry().transpose()?;
    require!(item.is_none(), "I1: a scan goes on with {item:?}");
    Ok(())
}

fn backwards(db: &Db, keyspace: u8, contents: &Map) -> Done {
    let mut scan = db.keyspace(keyspace)?.scan(..);
    for (name, slot) in contents.iter().rev().filter(|(name, _)| name.0 == keyspace) {
        let item = scan.next_entry_back().transpose()?;
        let same = item.as_ref().is_some_and(|(key, entry)| *key == name.1 && is_entry(slot, entry));
        require!(same, "I1: a scan from the back answers {item:?}, and it is {name:?} {slot:?}");
    }
    let item = scan.next_entry_back().transpose()?;
    require!(item.is_none(), "I1: a scan from the back goes on with {item:?}");
    Ok(())
}

/// Each key that is there; all but the first error are let be, wrong answers never are.
fn gets(db: &Db, keyspace: u8, contents: &Map) -> Done {
    let reader = db.keyspace(keyspace)?;
    let mut damage = None;
    for number in 0..KEYS {
        let key = key_of(number);
        match reader.get_entry(&key) {
            Err(error @ Error::Corrupt { .. }) => damage = damage.or(Some(error)),
            Err(error) => return Err(error.into()),
            Ok(entry) => {
                let slot = contents.get(&(keyspace, key));
                let same = match (&entry, slot) {
                    (None, None) => true,
                    (Some(entry), Some(slot)) => is_entry(slot, entry),
                    _ => false,
                };
                require!(same, "I1: a get of {number} answers {entry:?}, and it is {slot:?}");
            }
        }
    }
    damage.map_or(Ok(()), |error| Err(error.into()))
}

/// Keys are numbers below this.
const KEYS: usize = 200;

fn key_of(number: usize) -> Vec<u8> {
    format!("key {number:04}").into_bytes()
}

fn options(compression: Compression, id: u128) -> Options {
    Options {
        memory_budget_bytes: MEMORY_BUDGET_BYTES,
        compression,
        open_files_max: 64,
        ..Options::new(Arc::new(|| 1_000), Arc::new(move || id))
    }
}

/// Databases of at least this length in all.
fn build_all(len: usize) -> Vec<Built> {
    let mut built = vec![Build::new(1, len / KEYS / 2).closed_and_opened_again()];
    let missing = len - built[0].len();
    let long_enough = (8..)
        .map(|step| Build::new(2, step * 8).compacted_and_flushed())
        .find(|second| second.len() >= missing);
    built.extend(long_enough);
    let lives: Vec<Life> =
        built.iter().flat_map(|built| &built.files).flat_map(|(_, lives)| lives).copied().collect();
    let live = lives.iter().filter(|life| **life == Life::Live).count();
    assert!(
        lives.len() >= len && lives.len() <= len + PIECE_LEN * SPARE_PIECES as usize,
        "{} bytes",
        lives.len()
    );
    assert!(live * 100 >= lives.len() * LIVE_PERCENT, "of {} bytes {live} are live", lives.len());
    built
}

/// A database that is being built.
struct Build {
    disk: Faulty,
    db: Db,
    dice: Dice,
    value_len: usize,
    opens: u128,
    salt: u128,
}

impl Build {
    /// Packed tables at the last level, others at level 0, range deletes in both.
    fn new(salt: u128, value_len: usize) -> Build {
        let disk = Faulty::default();
        let first = options(Compression::Lz4, salt << 32);
        let db = Db::open_with(Arc::new(disk.clone()), first).expect("a new database opens");
        let dice = Dice::new(salt as u64);
        let mut build = Build { disk, db, dice, value_len, opens: 1, salt };
        build.put(0..KEYS, 1);
        build.delete_range(20..30);
        build.db.compact().expect("a compaction");
        build.close_and_open();
        build.level_0();
        build
    }

    /// Two runs of level 0, as they are.
    fn level_0(&mut self) {
        self.put(0..10, 5);
        self.delete_range(140..155);
        self.db.flush().expect("a flush");
        self.put(0..8, 7);
        self.delete_range(40..46);
        self.db.delete(key_of(3)).expect("a delete");
        self.db.put_with_expiry(key_of(4), "for long", u64::MAX).expect("a put");
        self.db.flush().expect("a flush");
    }

    fn closed_and_opened_again(mut self) -> Built {
        for round in 0..3 {
            self.put(round * 3..round * 3 + 3, 3);
            self.close_and_open();
        }
        assert!(self.db.recovery().wals > 2, "{:?}", self.db.recovery());
        self.killed()
    }

    fn compacted_and_flushed(mut self) -> Built {
        self.db.compact().expect("a compaction");
        self.level_0();
        self.killed()
    }

    /// Leaves a log that nobody has closed.
    fn killed(mut self) -> Built {
        self.put(0..9, 11);
        let before = everything(&self.db).map_err(Trouble::told).expect("it reads well");
        self.put(9..10, 1);
        let contents = everything(&self.db).map_err(Trouble::told).expect("it reads well");
        let levels = self.db.stats().levels;
        assert!(levels[0].tables > 1 && levels[6].tables > 1, "{levels:?}");
        let disk = self.disk.kill();
        let mut files: Vec<(FileName, Vec<u8>)> = Vec::new();
        for name in disk.list("sim.list").expect("a list") {
            let mut bytes = disk.read_file(name).expect("it is listed");
            if name.kind != FileKind::SsTable {
                let end = records_of(&bytes).last().map_or(0, |record| record.end);
                bytes.truncate(end.next_multiple_of(8) + ROOM_LEN);
                disk.write_file(name, &bytes);
            }
            files.push((name, bytes));
        }
        Built { disk, files: lives_of(&files), contents, before }
    }

    /// A few of the keys of each keyspace, `step` apart.
    fn put(&mut self, range: Range<usize>, step: usize) {
        for number in range {
            let mut value = vec![0; self.value_len / 2 + self.dice.below(self.value_len)];
            // A half that can be packed, and one that cannot.
            let half = value.len() / 2;
            value[..half].fill_with(|| self.dice.next() as u8);
            let keyspace = self.db.keyspace(u8::from(number.is_multiple_of(9))).expect("a keyspace");
            keyspace.put(key_of(number * step % KEYS), &value).expect("a put");
        }
    }

    fn delete_range(&mut self, range: Range<usize>) {
        self.db.delete_range(key_of(range.start)..key_of(range.end)).expect("a range delete");
    }

    fn close_and_open(&mut self) {
        self.db.close().expect("a close");
        let options = options(Compression::None, self.salt << 32 | self.opens);
        self.opens += 1;
        self.db = Db::open_with(Arc::new(self.disk.clone()), options).expect("it was closed");
    }
}

impl Built {
    fn len(&self) -> usize {
        self.files.iter().map(|(_, lives)| lives.len()).sum()
    }
}

/// FORMAT.md, "File header", "Records" and "WAL".
const HEADER_LEN: usize = 80;
const RECORD_HEADER_LEN: usize = 32;

/// What each byte of each file is for.
fn lives_of(files: &[(FileName, Vec<u8>)]) -> Vec<(FileName, Vec<Life>)> {
    let u64_at =
        |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let logs = || files.iter().filter(|(name, _)| name.kind == FileKind::Wal);
    let vouched = logs()
        .flat_map(|(_, bytes)| records_of(bytes).into_iter().map(|record| &bytes[record]))
        .map(|record| (u64_at(record, 16), u64_at(record, 24)))
        .max()
        .expect("there are records");
    let of_file = |(name, bytes): &(FileName, Vec<u8>)| {
        if name.kind == FileKind::SsTable {
            return (*name, vec![Life::Live; bytes.len()]);
        }
        let mut lives = vec![Life::Room; bytes.len()];
        let mut tail_records = 0;
        if bytes.iter().any(|byte| *byte != 0) {
            lives[..HEADER_LEN].fill(Life::Live);
        }
        let next =
            logs().find(|(_, bytes)| u64_at(bytes, 48) == name.number).filter(|_| name.kind == FileKind::Wal);
        let end = next.map_or(usize::MAX, |(_, next)| u64_at(next, 56) as usize);
        for record in records_of(bytes) {
            let (start, padded) = (record.start, record.end.next_multiple_of(8).min(bytes.len()));
            let is_tail = name.kind == FileKind::Wal && (name.number, start as u64) >= vouched;
            tail_records += usize::from(is_tail);
            let life = if is_tail { Life::Tail } else { Life::Live };
            lives[record.end..padded].fill(Life::Padding);
            lives[record].fill(life);
            if start >= end {
                lives[start..padded].fill(Life::Left);
            }
        }
        assert!(
            tail_records == usize::from((name.kind, name.number) == (FileKind::Wal, vouched.0)),
            "{name}"
        );
        (*name, lives)
    };
    files.iter().map(of_file).collect()
}

/// Where a file's records stand, without their padding.
fn records_of(bytes: &[u8]) -> Vec<Range<usize>> {
    let (mut records, mut at) = (Vec::new(), HEADER_LEN);
    while at + RECORD_HEADER_LEN <= bytes.len() && bytes[at + 12] != 0 {
        let len = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().expect("four bytes"));
        let end = at + RECORD_HEADER_LEN + len as usize;
        records.push(at..end);
        at = end.next_multiple_of(8);
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flip_of(built: &Built, life: Life) -> Flip {
        let place = |(name, lives): &(FileName, Vec<Life>)| {
            let offset = lives.iter().position(|other| *other == life)?;
            Some(Flip { name: *name, offset, bit: 3, life })
        };
        built.files.iter().find_map(place).expect("there is such a byte")
    }

    #[test]
    fn a_flip_that_nobody_finds_fails_the_rig() {
        let built = &build_all(BYTES_LEN)[0];
        let room = flip_of(built, Life::Room);
        assert!(room.look(built).is_ok());
        let told = Flip { life: Life::Live, ..room }.look(built).err().map(Trouble::told);
        assert!(told.as_ref().is_some_and(|told| told.starts_with("I2")), "{told:?}");
    }

    #[test]
    fn a_wrong_answer_fails_the_rig() {
        let mut built = build_all(BYTES_LEN).remove(0);
        let other = Map::clone(&built.contents);
        for (name, _) in other {
            let slot = built.contents.remove(&name).expect("it is there");
            let told = flip_of(&built, Life::Room).look(&built).err().map(Trouble::told);
            assert!(told.as_ref().is_some_and(|told| told.starts_with("I1")), "without {name:?}: {told:?}");
            built.contents.insert(name, slot);
        }
        let other_tail = Built { before: built.contents.clone(), ..built };
        let told = flip_of(&other_tail, Life::Tail).look(&other_tail).err().map(Trouble::told);
        assert!(told.as_ref().is_some_and(|told| told.starts_with("I3")), "{told:?}");
    }
}
