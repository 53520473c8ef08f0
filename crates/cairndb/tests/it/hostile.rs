//! Hostile bytes: what no honest disk holds, with the right checksums over it.
//!
//! The corpora in `fuzz/corpus` are replayed here on every run: the seeds, which the engine makes itself, and every
//! input that once was a finding. `CAIRN_CORPUS=write` writes the seeds anew after a change of the bytes on disk.

#![expect(clippy::disallowed_methods, reason = "the corpora are files of the repository")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use cairndb::fuzz::{Driven, Files, TARGETS, bases, drive, lying_lengths, read_input, seeds, sign};
use cairndb::storage::FileKind;

/// All corpora together stay below this, in bytes.
const CORPUS_LEN_MAX: u64 = 200 << 10;

fn corpus_of(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

/// The inputs that are kept for a target, by name.
fn kept(target: &str) -> BTreeMap<String, Vec<u8>> {
    let files =
        fs::read_dir(corpus_of(target)).unwrap_or_else(|error| panic!("the corpus of {target}: {error}"));
    let read = |file: fs::DirEntry| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap());
    files.map(|file| read(file.unwrap())).collect()
}

#[test]
fn every_kept_input_is_replayed() {
    let (mut count, mut len) = (0, 0);
    for (target, run) in TARGETS {
        let kept = kept(target);
        assert!(!kept.is_empty(), "the corpus of {target} is empty");
        for (name, input) in &kept {
            println!("{target}/{name}");
            run(input);
            count += 1;
            len += input.len() as u64;
        }
    }
    println!("{count} inputs of {len} bytes on {} targets", TARGETS.len());
    assert!(len <= CORPUS_LEN_MAX, "{len} bytes of corpora");
}

#[test]
fn the_seeds_are_those_that_this_engine_makes() {
    let write = std::env::var("CAIRN_CORPUS").is_ok_and(|value| value == "write");
    for (target, _) in TARGETS {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{target} has no seeds");
        if write {
            fs::create_dir_all(corpus_of(target)).unwrap();
            for (name, bytes) in &seeds {
                fs::write(corpus_of(target).join(name), bytes).unwrap();
            }
        }
        let kept = kept(target);
        for (name, bytes) in seeds {
            assert!(
                kept.get(&name) == Some(&bytes),
                "{target}/{name}: CAIRN_CORPUS=write writes the seeds anew"
            );
        }
    }
}

/// Were the signing wrong, every input would end at the first checksum and prove nothing.
#[test]
fn what_is_signed_reaches_the_parsers() {
    for (index, files) in bases().iter().enumerate() {
        let whole = Driven { sound: true, read: true, opened: true, compacted: true };
        assert_eq!(drive(files), whole, "base {index}");
        assert!(read_input(&[index as u8, 0]) == *files, "signing base {index} changes it");
    }
    let driven: Vec<Driven> = kept("directory").values().map(|input| drive(&read_input(input))).collect();
    let count = |holds: fn(&Driven) -> bool| driven.iter().filter(|driven| holds(driven)).count();
    let refused = count(|driven| !driven.opened);
    let late = count(|driven| driven.opened && !driven.compacted);
    let unsound = count(|driven| !driven.sound && driven.compacted);
    println!("{} directories: {refused} refused, {late} found while working, {unsound} never", driven.len());
    assert!(refused > 0 && late > 0, "{refused} refused, {late} found while working");
}

/// A table whose entries were not in order was read and kept as if they were: scans gave keys out of order, and a
/// compaction that merges such a table relies on an order that is not there. Whoever walks a block looks at it now.
#[test]
fn entries_out_of_order_were_taken_as_they_came() {
    let mut files = bases()[1].clone();
    let (_, table) = files.iter_mut().find(|(name, _)| name.kind == FileKind::SsTable).unwrap();
    // The second entry shares four bytes with the first; this is its last one, and the entries behind it go on from 2.
    assert_eq!(table[101..106], [4, 1, 5, 16, 1]);
    table[105] = 0xFF;
    sign(&mut files, false);
    let driven = drive(&files);
    assert_eq!(driven, Driven { sound: false, read: false, opened: true, compacted: false });
}

/// A manifest and a log that begin just below the last sequence number: after an unclean end the next ones lay 2^32
/// further, beyond what a block's tag holds, and lost their upper bits on the way into a table.
#[test]
fn numbers_beyond_the_last_were_given() {
    for (seq, opens) in [(1 << 61, true), ((1 << 61) + 1, false), ((1 << 62) - 1, false)] {
        let mut files = bases()[0].clone();
        for (name, bytes) in &mut files {
            match name.kind {
                // The base says: checkpoint, WAL 1, sequence number 1.
                FileKind::Manifest => {
                    assert_eq!(bytes[112..115], [3, 1, 1]);
                    bytes.splice(114..115, varint(seq));
                    bytes[84] += varint(seq).len() as u8 - 1;
                }
                _ => bytes[64..72].copy_from_slice(&seq.to_le_bytes()),
            }
        }
        sign(&mut files, true);
        let driven = drive(&files);
        assert_eq!((driven.sound, driven.read, driven.opened), (true, true, opens), "{seq}");
    }
}

/// A file named 18446744073709551615 in the directory: counting one further overflowed.
#[test]
fn a_file_of_the_greatest_number_ended_in_a_panic() {
    let kept = kept("directory");
    let of_greatest_number = kept.iter().filter(|(name, _)| name.ends_with("of-greatest-number"));
    let driven: Vec<Driven> = of_greatest_number.map(|(_, input)| drive(&read_input(input))).collect();
    assert!(driven.len() > 3 && driven.iter().all(|driven| !driven.compacted), "{driven:?}");
}

/// A batch whose checksum fits and whose entries are none: the check counted entries and looked at none.
#[test]
fn a_check_passed_a_log_that_no_open_could_read() {
    let driven = drive(&read_input(&kept("directory")["a-check-passed-a-log-that-no-open-could-read"]));
    assert!(!driven.sound, "{driven:?}");
}

/// Set for the process that [`slow_a_hostile_length_allocates_little`] starts.
const SWEEP: &str = "CAIRN_SWEEP";

/// What everything that can be done to a small hostile directory may allocate at once, in bytes: a buffer of 1 MiB in which
/// a check and a backup read; the budget of 64 KiB; buffers of table writers; the files themselves.
const HOSTILE_MEMORY_MAX: usize = 2 << 20;

/// How much `work` allocates beyond what there was.
fn peak_of(work: impl FnOnce()) -> usize {
    crate::ALLOCATOR.reset_peak_usage();
    let before = crate::ALLOCATOR.current_usage();
    work();
    crate::ALLOCATOR.peak_usage().saturating_sub(before)
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// `base` with a number put at every place of every file, and signed: two of six numbers, each as u32, as u64 or as
/// varint. Which of them goes by the place: fields of a kind lie at many places, so each kind meets them all.
fn with_hostile_numbers(base: &Files, mut look: impl FnMut(&str, &Files)) {
    for (name, bytes) in base {
        let len = bytes.len() as u64;
        let numbers = [u64::MAX, 0, len + 1, u64::MAX - 1, 1, len - 1];
        // Between the first and the last blocks of a table is nothing but values.
        let places = (0..bytes.len()).filter(|at| *at < 300 || *at + 1000 > bytes.len());
        for at in places {
            for (nth, number) in [numbers[at % 6], numbers[(at + 3) % 6]].into_iter().enumerate() {
                let field = match (at / 6 + nth) % 3 {
                    0 => number.to_le_bytes()[..4].to_vec(),
                    1 => number.to_le_bytes().to_vec(),
                    _ => varint(number),
                };
                let mut files = base.clone();
                let spoiled = files.get_mut(name).unwrap();
                let end = spoiled.len().min(at + field.len());
                spoiled[at..end].copy_from_slice(&field[..end - at]);
                sign(&mut files, true);
                look(&format!("{name} at {at}: {field:?}"), &files);
            }
        }
    }
}

/// The part of [`slow_a_hostile_length_allocates_little`] that runs in a process of its own.
#[test]
#[ignore = "optimised run"]
fn sweep_for_another_process() {
    if std::env::var(SWEEP).is_err() {
        return;
    }
    assert!(peak_of(|| drop(std::hint::black_box(vec![1_u8; 2 * HOSTILE_MEMORY_MAX]))) > HOSTILE_MEMORY_MAX);
    let (mut count, mut opened, mut most) = (0, 0, (0, String::new()));
    for base in 1..bases().len() {
        let sound = peak_of(|| assert!(drive(&bases()[base]).compacted));
        let mut look = |what: &str, files: &Files| {
            let mut driven = Driven::default();
            let peak = peak_of(|| driven = drive(files));
            count += 1;
            opened += usize::from(driven.opened);
            if peak > most.0 {
                most = (peak, format!("base {base}, {what}"));
            }
            assert!(
                peak <= HOSTILE_MEMORY_MAX,
                "base {base}, {what}: {peak} bytes, {sound} for the sound one"
            );
        };
        // The packed tables of base 2 are those of base 1 but for their blocks.
        if base != 2 {
            with_hostile_numbers(&bases()[base], &mut look);
        }
        for (what, files) in lying_lengths(&bases()[base]) {
            look(&what, &files);
        }
        println!("base {base}: {sound} bytes when nothing is spoiled");
    }
    assert!(opened > 1000, "{opened} of {count} could be opened");
    println!("{count} directories, {opened} of them opened; at most {} bytes allocated: {}", most.0, most.1);
}

/// Other stores allocate gigabytes for a length that nobody checked. Here a length is believed when what is there bears
/// it out.
#[test]
#[ignore = "optimised run"]
fn slow_a_hostile_length_allocates_little() {
    let sweep = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "hostile::sweep_for_another_process", "--nocapture"])
        .env(SWEEP, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&sweep.stdout).into_owned();
    println!("{said}{}", String::from_utf8_lossy(&sweep.stderr));
    assert!(sweep.status.success() && said.contains("at most"), "the sweep failed");
}
