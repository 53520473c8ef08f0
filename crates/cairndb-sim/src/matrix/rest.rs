//! Rest: files that are not what was written, when an operation comes to read them.
//!
//! An open database reads its tables alone, so those are what is spoiled under it; a recovery reads everything.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use cairndb::storage::{FileKind, FileName};
use cairndb::{Db, Error};

use crate::dice::Dice;
use crate::oracle::{Map, differences, live};
use crate::reads::everything;
use crate::script::{KEYSPACES, key};
use crate::tally::Tally;
use crate::trouble::{Done, Trouble, require};

use super::calls::Clean;
use super::places::look_at_place;
use super::scene::{Image, KEYS, NOW_MS, Scene, files_of};
use super::{Plant, RestFault, Verb};

/// What a disk writes whole, in bytes.
const BLOCK_LEN: usize = 512;

/// How many of a kind are drawn for each file.
const DRAWS: usize = 16;

/// Each length from so many bytes before the end on is tried.
const LAST_LENGTHS: usize = 64;

/// Files as they are found.
struct Damage {
    files: BTreeMap<FileName, Vec<u8>>,
    what: String,
}

/// Every damage of one kind; how often it was found.
pub(super) fn every_damage(
    image: &Image,
    other: &Image,
    clean: &Clean,
    fault: RestFault,
    plant: Plant,
    seed: u64,
    tally: &mut Tally,
) -> Result<u64, String> {
    let mut found = 0;
    for damage in damages(image, other, fault, &mut Dice::new(seed ^ fault as u64)) {
        let changes_nothing = |(name, bytes): (&FileName, &Vec<u8>)| {
            image.files.iter().any(|(other, whole)| other == name && whole == bytes)
        };
        if damage.files.iter().all(changes_nothing) {
            continue;
        }
        let told = |told: Trouble| format!("{fault:?}: {}: {}", damage.what, told.told());
        let is_found = meet(image, &damage, clean, fault, plant).map_err(told)?;
        tally.add("damages", 1);
        tally.follow(&format!("{fault:?} {} {is_found}", damage.what));
        found += u64::from(is_found);
    }
    Ok(found)
}

/// Does the operation over the damage; whether it was found.
fn meet(
    image: &Image,
    damage: &Damage,
    clean: &Clean,
    fault: RestFault,
    plant: Plant,
) -> Result<bool, Trouble> {
    let mut scene = image.stage(plant);
    damage.files.iter().for_each(|(name, bytes)| scene.disk.write_file(*name, bytes));
    let before = files_of(&scene.disk);
    let is_found = match scene.act() {
        Ok(outcome) => {
            // A torn tail is told in the report of a recovery; all damage in that of a repair.
            let same = outcome == clean.outcome();
            require!(
                same || image.verb.begins_closed(),
                "it reports {outcome}, and {} where nothing is wrong",
                clean.outcome()
            );
            !same && image.verb == Verb::Repair
        }
        Err(error) => {
            require_named(&error, damage)?;
            true
        }
    };
    let allowed = allowed(&scene, damage, fault);
    if scene.db.is_some() {
        read(&scene, &allowed, damage)?;
    } else {
        look_at_place(&scene, scene.repaired.is_some(), &allowed)?;
        let same = files_of(&scene.disk) == before;
        require!(same, "the files were changed");
    }
    if image.verb == Verb::Backup {
        look_at_place(&scene, !is_found, &allowed)?;
    }
    if !is_found && image.verb == Verb::Recovery {
        return Ok(false);
    }
    // What was damage in one place has done none elsewhere: with the old bytes back, all is as it was.
    let left = scene.disk.kill();
    for (name, whole) in &image.files {
        if damage.files.contains_key(name) && left.read_file(*name).is_some() {
            left.write_file(*name, whole);
        }
    }
    let db = Db::open_with(Arc::new(left), image.options(8 << 100))?;
    let found = everything(&db)?;
    let told = || differences(&scene.oracle.map, &found);
    require!(scene.allowed().iter().any(|map| **map == found), "with the old bytes back:\n{}", told());
    Ok(is_found)
}

/// Damage is told as damage, with a file's name.
fn require_named(error: &Error, damage: &Damage) -> Done {
    match error {
        Error::Stopped { cause } => require_named(cause, damage),
        Error::Corrupt { file, .. } => {
            let names = || damage.files.keys().map(FileName::to_string);
            // An edit that is lost is missed by the files that it named, or dropped; a log, by the one behind it.
            let indirect = damage.files.keys().any(|name| name.kind != FileKind::SsTable);
            let named = names().any(|name| name == *file) || (indirect && file.parse::<FileName>().is_ok());
            require!(named, "{error} is told, where {:?} were spoiled", names().collect::<Vec<_>>());
            Ok(())
        }
        error => Err(Trouble::Wrong(format!("it is told as {error:?}"))),
    }
}

/// What may be found: all of it; and if the last log was spoiled, which nobody had closed, all up to some place in it.
fn allowed(scene: &Scene<'_>, damage: &Damage, fault: RestFault) -> Vec<Arc<Map>> {
    let image = scene.image;
    let last = image.files.iter().map(|(name, _)| *name).rfind(|name| name.kind == FileKind::Wal);
    let all = scene.allowed();
    if !image.verb.begins_closed() || !damage.files.keys().any(|name| Some(*name) == last) {
        return vec![Arc::clone(&scene.oracle.map)];
    }
    let prefixes = scene.oracle.prefixes();
    let lost = if fault == RestFault::Bit { 1 } else { image.last_log_commits };
    prefixes[prefixes.len() - 1 - lost..].iter().cloned().chain(all).collect()
}

/// Each read answers right, or tells the damage.
fn read(scene: &Scene<'_>, allowed: &[Arc<Map>], damage: &Damage) -> Done {
    let is_live = |map: &Arc<Map>, found: &Map| live(map, NOW_MS) == *found;
    let candidates: Vec<&Arc<Map>> = match everything(scene.db()) {
        Ok(found) => {
            let told = || differences(&live(&allowed[0], NOW_MS), &found);
            require!(
                allowed.iter().any(|map| is_live(map, &found)),
                "a scan finds something else:\n{}",
                told()
            );
            allowed.iter().filter(|map| is_live(map, &found)).collect()
        }
        Err(Trouble::Engine(error)) => {
            require_named(&error, damage)?;
            allowed.iter().collect()
        }
        Err(wrong) => return Err(wrong),
    };
    for keyspace in KEYSPACES {
        let reader = scene.db().keyspace(keyspace)?;
        for number in 0..KEYS {
            match reader.get_entry(key(number)) {
                Err(error) => require_named(&error, damage)?,
                Ok(entry) => {
                    let name = (keyspace, key(number));
                    let found = entry.as_ref().map(|entry| (&entry.value[..], entry.seq));
                    let slot_of = |map: &Map| map.get(&name).map(|slot| (slot.value.to_vec(), slot.seq));
                    let found = found.map(|(value, seq)| (value.to_vec(), seq));
                    let right = candidates.iter().any(|map| slot_of(map) == found);
                    require!(right, "a get of {keyspace}:{number} answers {found:?}");
                }
            }
        }
    }
    Ok(())
}

/// The damages of a kind to the files that the operation may read.
fn damages(image: &Image, other: &Image, fault: RestFault, dice: &mut Dice) -> Vec<Damage> {
    let is_read = |name: &FileName| image.verb.begins_closed() || name.kind == FileKind::SsTable;
    let files: Vec<&(FileName, Vec<u8>)> = image.files.iter().filter(|(name, _)| is_read(name)).collect();
    let mut damages = Vec::new();
    for (index, (name, bytes)) in files.iter().enumerate() {
        let mut spoil = |what: String, bytes: Vec<u8>| {
            damages.push(Damage { files: [(*name, bytes)].into(), what: format!("{name}, {what}") });
        };
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if written == 0 {
            continue;
        }
        let blocks: Vec<Range<usize>> =
            (0..bytes.len()).step_by(BLOCK_LEN).map(|at| at..(at + BLOCK_LEN).min(bytes.len())).collect();
        match fault {
            RestFault::Bit => {
                for _ in 0..DRAWS {
                    let (at, bit) = (dice.below(written), dice.below(8));
                    let mut spoiled = bytes.clone();
                    spoiled[at] ^= 1 << bit;
                    spoil(format!("bit {bit} at {at}"), spoiled);
                }
            }
            RestFault::Stale => {
                let mut was = image.older.iter().filter(|(older, _)| older.kind == name.kind);
                let was: Vec<u8> = was.next_back().map_or_else(Vec::new, |(_, bytes)| bytes.clone());
                for block in blocks.iter().filter(|block| block.start < written).take(DRAWS) {
                    let mut spoiled = bytes.clone();
                    // Where nothing stood before, there were zeros.
                    spoiled[block.clone()].fill(0);
                    let old = was.get(block.start..block.end.min(was.len())).unwrap_or_default();
                    spoiled[block.start..block.start + old.len()].copy_from_slice(old);
                    spoil(format!("as of old at {block:?}"), spoiled);
                }
            }
            RestFault::Swapped | RestFault::Elsewhere => {
                for _ in 0..DRAWS {
                    let (a, b) = (dice.of(&blocks), dice.of(&blocks));
                    let len = a.len().min(b.len());
                    let mut spoiled = bytes.clone();
                    spoiled[a.start..a.start + len].copy_from_slice(&bytes[b.start..b.start + len]);
                    if fault == RestFault::Swapped {
                        spoiled[b.start..b.start + len].copy_from_slice(&bytes[a.start..a.start + len]);
                    }
                    spoil(format!("{b:?} stands at {a:?}"), spoiled);
                }
            }
            RestFault::FileSwapped => {
                for (second, of_second) in &files[index + 1..] {
                    if second.kind == name.kind {
                        let files = [(*name, of_second.clone()), (*second, bytes.clone())].into();
                        damages.push(Damage { files, what: format!("{name} and {second} changed round") });
                    }
                }
            }
            RestFault::Truncated => {
                let tail = bytes.len().saturating_sub(LAST_LENGTHS)..bytes.len();
                for len in (0..bytes.len()).step_by(BLOCK_LEN).chain(tail) {
                    spoil(format!("cut to {len}"), bytes[..len].to_vec());
                }
            }
            RestFault::Extended => {
                for len in [1, 7, BLOCK_LEN, 8 * BLOCK_LEN] {
                    let mut spoiled = bytes.clone();
                    spoiled.resize_with(bytes.len() + len, || dice.next() as u8 | 1);
                    spoil(format!("{len} bytes longer"), spoiled);
                }
            }
            RestFault::OtherDatabase => {
                if let Some((_, of_other)) = other.files.iter().find(|(same, _)| same == name) {
                    spoil("of another database".into(), of_other.clone());
                }
            }
            RestFault::HostileLength => {
                for (what, spoiled) in hostile_lengths(name.kind, bytes) {
                    spoil(what, spoiled);
                }
            }
        }
    }
    damages
}

/// FORMAT.md, "File header", "Records", "Footer" and "Blocks".
const HEADER_LEN: usize = 80;
const RECORD_HEADER_LEN: usize = 32;
const FOOTER_LEN: usize = 172;
const TRAILER_LEN: usize = 9;

/// More than any file holds, and within what a length field can say.
const HUGE: [u32; 3] = [u32::MAX, 0x4000_0000, 1 << 24];

/// The file with one length field each said to be huge, and signed again. Lengths inside of payloads and entries are what
/// the fuzz targets change.
fn hostile_lengths(kind: FileKind, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    for huge in HUGE {
        let mut change = |at: usize, signed: Range<usize>, crc_at: usize| {
            let mut spoiled = bytes.to_vec();
            spoiled[at..at + 4].copy_from_slice(&huge.to_le_bytes());
            // A record's header is signed for the place where the record begins.
            let place = signed.start.min(crc_at);
            let crc = checksum(&spoiled, place, signed);
            spoiled[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
            all.push((format!("a length of {huge} at {at}"), spoiled));
        };
        if kind != FileKind::SsTable {
            let mut at = HEADER_LEN;
            while at + RECORD_HEADER_LEN <= bytes.len() && bytes[at + 12] != 0 {
                change(at + 4, at + 4..at + RECORD_HEADER_LEN, at);
                at = (at + RECORD_HEADER_LEN + u32_at(at + 4)).next_multiple_of(8);
            }
            continue;
        }
        let footer = bytes.len() - FOOTER_LEN;
        for handle in 0..4 {
            let at = footer + handle * 12;
            let (offset, len) = (u32_at(at), u32_at(at + 8));
            change(at + 8, footer..footer + 160, footer + 160);
            if len > 0 {
                let trailer = offset + len;
                change(trailer + 1, offset..trailer + TRAILER_LEN - 4, trailer + TRAILER_LEN - 4);
            }
        }
    }
    all
}

/// FORMAT.md, "Checksums": of a stretch of this file, as of one that begins at `place`.
fn checksum(file: &[u8], place: usize, stretch: Range<usize>) -> u32 {
    let mut bound = file[32..48].to_vec();
    bound.extend_from_slice(&file[16..24]);
    bound.extend_from_slice(&(place as u64).to_le_bytes());
    bound.extend_from_slice(&file[stretch]);
    crc32c::crc32c(&bound)
}
