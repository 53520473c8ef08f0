//! Matrix: every fault at every operation, and a table of how often each was met.
//!
//! A cell counts a fault only if the operation answered otherwise than it does when nothing fails, and if the oracle
//! then found everything right: reads of the open database, what a power loss, a kill or a close at that moment leaves,
//! and that the operation succeeds once nothing fails any more. Where it cannot count, the cell says why.
//!
//! # Where it sits
//! `scene` sets up the moment before each operation; `calls` fails storage calls, `rest` spoils files; `places` looks at
//! what a backup or a repair has made elsewhere.

// In reading order: a module uses only those above it.
mod scene;
mod places;
mod calls;
mod rest;

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::quiet::quietly;
use crate::tally::Tally;
use crate::trouble::Trouble;

use calls::Clean;
use scene::Image;

/// What the database is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Put,
    Batch,
    RangeDelete,
    Flush,
    Compaction,
    ManifestSwitch,
    Checkpoint,
    Backup,
    Replay,
    Recovery,
    Repair,
}

impl Verb {
    /// It begins with files that nobody has open, and reads all of them.
    fn begins_closed(self) -> bool {
        matches!(self, Verb::Recovery | Verb::Repair)
    }
}

/// A failure of storage calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum CallFault {
    Io,
    Full,
    Short,
    TooManyFiles,
    SyncFails,
}

/// A damage to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum RestFault {
    Bit,
    Stale,
    Swapped,
    Elsewhere,
    FileSwapped,
    Truncated,
    Extended,
    OtherDatabase,
    HostileLength,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Call(CallFault, bool),
    Interrupted,
    Rest(RestFault),
}

/// A fault of the rig itself, which it must find: the control.
#[cfg_attr(not(test), expect(dead_code, reason = "only the tests plant one"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plant {
    None,
    /// The oracle is told of a write that never happened.
    PhantomWrite,
    /// The disk says of every sync that it was done.
    LyingSync,
}

const VERBS: [(Verb, &str); 11] = [
    (Verb::Put, "put"),
    (Verb::Batch, "batch"),
    (Verb::RangeDelete, "range delete"),
    (Verb::Flush, "flush"),
    (Verb::Compaction, "compaction"),
    (Verb::ManifestSwitch, "manifest switch"),
    (Verb::Checkpoint, "checkpoint"),
    (Verb::Backup, "backup"),
    (Verb::Replay, "replay"),
    (Verb::Recovery, "recovery"),
    (Verb::Repair, "repair"),
];

const ROWS: [(Row, &str); 20] = [
    (Row::Call(CallFault::Io, false), "EIO, once"),
    (Row::Call(CallFault::Io, true), "EIO, from then on"),
    (Row::Call(CallFault::Full, false), "ENOSPC, once"),
    (Row::Call(CallFault::Full, true), "ENOSPC, from then on"),
    (Row::Call(CallFault::Short, false), "short write, once"),
    (Row::Call(CallFault::Short, true), "short write, from then on"),
    (Row::Call(CallFault::TooManyFiles, false), "too many open files, once"),
    (Row::Call(CallFault::TooManyFiles, true), "too many open files, from then on"),
    (Row::Call(CallFault::SyncFails, false), "a sync fails, later ones \"succeed\""),
    (Row::Call(CallFault::SyncFails, true), "every sync fails from then on"),
    (Row::Interrupted, "EINTR"),
    (Row::Rest(RestFault::Bit), "a bit flipped"),
    (Row::Rest(RestFault::Stale), "a block stale"),
    (Row::Rest(RestFault::Swapped), "two blocks swapped"),
    (Row::Rest(RestFault::Elsewhere), "a block written elsewhere"),
    (Row::Rest(RestFault::FileSwapped), "two files swapped"),
    (Row::Rest(RestFault::Truncated), "a file cut short"),
    (Row::Rest(RestFault::Extended), "garbage behind a file"),
    (Row::Rest(RestFault::OtherDatabase), "another database's file"),
    (Row::Rest(RestFault::HostileLength), "a hostile length, signed"),
];

/// Why a cell cannot count, by the letter that stands in it.
const REASONS: [(char, &str); 3] = [
    (
        'a',
        "Impossible by contract: no call of `Storage` may end so. `Native` makes an interrupted call again: \
         `an_interrupted_call_is_made_again` in `crates/cairndb-storage/src/native.rs`, and `tests/rigs/strace.sh` on \
         the command itself.",
    ),
    (
        'b',
        "Impossible: the operation reads no file. It writes what is in memory, to files of its own; what is at rest is \
         read by recovery, reads, compaction and `cairn verify`.",
    ),
    (
        'c',
        "Harmless: nothing behind the end that the manifest records of a table is ever read. Recovery, \
         repair and `cairn verify` look at the length.",
    ),
];

/// The letter of the reason why a cell cannot count.
fn impossible(row: Row, verb: Verb) -> Option<char> {
    match (row, verb) {
        (Row::Interrupted, _) => Some('a'),
        (Row::Rest(_), Verb::Flush | Verb::ManifestSwitch | Verb::Checkpoint) => Some('b'),
        (Row::Rest(RestFault::Extended), verb) if !verb.begins_closed() => Some('c'),
        _ => None,
    }
}

type Cells = BTreeMap<(Row, Verb), u64>;

/// Every fault at every operation of the databases of this seed; how many were counted.
pub(crate) fn run(seed: u64) -> Result<Tally, String> {
    quietly(|| fill(seed, Plant::None)).map(|(tally, _)| tally)
}

/// `docs/fault-matrix.md`, from the databases of the seed 0.
///
/// Errors: what went wrong; a cell that counts nothing and has no reason.
pub fn fault_matrix() -> Result<String, String> {
    let (_, cells) = quietly(|| fill(0, Plant::None))?;
    let mut page = String::from(INTRODUCTION);
    let names: Vec<&str> = VERBS.iter().map(|(_, name)| *name).collect();
    let _ = writeln!(page, "| | {} |\n|---|{}", names.join(" | "), "---:|".repeat(names.len()));
    for (row, name) in ROWS {
        let _ = write!(page, "| {name} |");
        for (verb, of_verb) in VERBS {
            let count = cells.get(&(row, verb)).copied().unwrap_or(0);
            let cell = match (impossible(row, verb), count) {
                (Some(letter), 0) => letter.to_string(),
                (None, 1..) => count.to_string(),
                (reason, count) => {
                    return Err(format!("{name}, {of_verb}: {count} counted, reason {reason:?}"));
                }
            };
            let _ = write!(page, " {cell} |");
        }
        page.push('\n');
    }
    page.push('\n');
    for (letter, reason) in REASONS {
        let _ = writeln!(page, "- **{letter}** {reason}");
    }
    let _ = writeln!(page, "\n{} faults are counted.", cells.values().sum::<u64>());
    Ok(page)
}

const INTRODUCTION: &str = include_str!("introduction.txt");

fn fill(seed: u64, plant: Plant) -> Result<(Tally, Cells), String> {
    let (mut tally, mut cells) = (Tally::default(), Cells::new());
    for (verb, name) in VERBS {
        let (image, other) = (Image::build(verb, seed), Image::build(verb, seed + (1 << 32)));
        let clean = Clean::of(&image).map_err(Trouble::told).map_err(|told| format!("{name}: {told}"))?;
        for (row, of_row) in ROWS {
            let counted = match row {
                _ if impossible(row, verb) == Some('b') => continue,
                Row::Interrupted => continue,
                Row::Call(fault, sticky) => {
                    calls::every_call(&image, &clean, fault, sticky, plant, &mut tally)
                }
                Row::Rest(fault) => {
                    rest::every_damage(&image, &other, &clean, fault, plant, seed, &mut tally)
                }
            };
            let counted = counted.map_err(|told| format!("{name}, {of_row}: {told}"))?;
            tally.add("faults", counted);
            cells.insert((row, verb), counted);
        }
    }
    Ok((tally, cells))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(plant: Plant) -> String {
        quietly(|| fill(0, plant)).map(|(tally, _)| tally).unwrap_err()
    }

    #[test]
    fn an_oracle_that_knows_of_a_write_that_never_happened_is_found() {
        let told = told(Plant::PhantomWrite);
        assert!(told.starts_with("put, EIO, once") && told.contains("never: expected 7 bytes"), "{told}");
    }

    #[test]
    fn the_same_oracle_is_found_where_files_are_spoiled() {
        let (image, other) = (Image::build(Verb::Put, 0), Image::build(Verb::Put, 1));
        let clean = Clean::of(&image).map_err(Trouble::told).unwrap();
        let meet = |plant| {
            rest::every_damage(&image, &other, &clean, RestFault::Extended, plant, 0, &mut Tally::default())
        };
        meet(Plant::None).unwrap();
        let told = meet(Plant::PhantomWrite).unwrap_err();
        assert!(told.contains("never: expected 7 bytes"), "{told}");
    }

    #[test]
    fn a_disk_that_only_says_that_it_synced_is_found() {
        let told = told(Plant::LyingSync);
        assert!(told.starts_with("put, EIO, once") && told.contains("after a crash"), "{told}");
    }
}
