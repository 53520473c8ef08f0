//! Whatever can be wrong around a database: each its own message, and nothing changed on disk.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::{Cairn, files, finish};

/// Every command that only reads, or that changes a database which must stand already.
const NEEDS_A_DATABASE: [&[&str]; 10] = [
    &["get", "a"],
    &["delete", "a"],
    &["scan"],
    &["dump"],
    &["checkpoint"],
    &["compact"],
    &["verify"],
    &["stats"],
    &["backup", "/nowhere/at/all"],
    &["repair", "/nowhere/at/all"],
];

/// A running load, which has the database open for writing.
fn writer(cairn: &Cairn) -> Child {
    let mut command = cairn.command(["load", "-", "--ack", "--batch", "1"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("cairn starts");
    child.stdin.as_mut().expect("a pipe").write_all(b"held\t1\n").expect("a line is sent");
    let mut ack = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut ack).expect("a line");
    assert_eq!(ack, "1\n");
    child
}

#[test]
fn without_a_database_nothing_is_read_and_nothing_is_made() {
    let cairn = Cairn::new();
    for args in NEEDS_A_DATABASE {
        let what = cairn.run(args).failed_silently();
        assert!(what.contains(&format!("no database at {}", cairn.db.display())), "{args:?}: {what}");
        assert!(!cairn.db.exists(), "{args:?}");
    }
    fs::create_dir(&cairn.db).expect("a directory");
    for args in NEEDS_A_DATABASE {
        let what = cairn.run(args).failed_silently();
        assert!(what.contains("no database at "), "{args:?}: {what}");
        assert_eq!(fs::read_dir(&cairn.db).expect("a directory").count(), 0, "{args:?}");
    }
}

#[test]
fn the_default_directory_is_named_as_it_is_typed() {
    let cairn = Cairn::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cairn"));
    command.arg("scan").current_dir(cairn.temporary.path());
    let output = command.output().expect("cairn runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.starts_with("cairn: no database at ./cairn-data\n"), "{err}");
}

#[test]
fn one_process_writes_and_the_others_are_told_which() {
    let cairn = Cairn::new();
    let mut holder = writer(&cairn);
    let named = format!("locked by process {}", holder.id());
    for args in
        [&["get", "held"][..], &["put", "a", "1"], &["scan"], &["compact"], &["stats"], &["load", "-"]]
    {
        let what = cairn.run(args).failed_silently();
        assert!(what.contains(&named), "{args:?}: {what}");
        assert!(what.contains("wait until it is done"), "{what}");
    }
    drop(holder.stdin.take());
    assert_eq!(finish(holder).code, 0);
    assert_eq!(cairn.run(["get", "held"]).ok(), "1");
}

#[test]
fn readers_share_and_keep_a_writer_out() {
    let cairn = Cairn::new();
    let lines: String = (0..20_000).map(|number| format!("{number:06}\tsome value or other\n")).collect();
    assert_eq!(cairn.run_with(["load", "-"], lines.as_bytes()).code, 0);
    let mut reader = cairn.command(["dump"]).spawn().expect("cairn starts");
    let mut first = [0; 1];
    reader.stdout.as_mut().expect("a pipe").read_exact(&mut first).expect("a byte");
    assert_eq!(cairn.run(["get", "000001"]).ok(), "some value or other");
    let what = cairn.run(["put", "a", "1"]).failed_silently();
    assert!(what.contains("locked by a reader"), "{what}");
    let rest = finish(reader);
    assert_eq!((rest.code, 1 + rest.out.len()), (0, lines.len()));
    assert_eq!(cairn.run(["put", "a", "1"]).code, 0);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let cairn = Cairn::new();
    let lines: String = (0..20_000).map(|number| format!("{number:06}\tsome value or other\n")).collect();
    assert_eq!(cairn.run_with(["load", "-"], lines.as_bytes()).code, 0);
    for args in [&["dump"][..], &["scan", "--reverse"], &["dump", "--format", "log"]] {
        let mut child = cairn.command(args).spawn().expect("cairn starts");
        let mut first = [0; 10];
        child.stdout.take().expect("a pipe").read_exact(&mut first).expect("ten bytes");
        let ran = finish(child);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn a_load_goes_on_when_nobody_reads_its_acknowledgements() {
    let cairn = Cairn::new();
    let mut child = writer(&cairn);
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"b\t2\nc\t3\nd\t4\n").expect("lines are sent");
    drop(stdin);
    let ran = finish(child);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(cairn.run(["scan", "--keys-only"]).ok(), "b\nc\nd\nheld\n");
}

#[test]
fn a_full_disk_under_standard_output_is_an_error() {
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let cairn = Cairn::new();
    assert_eq!(cairn.run(["put", "a", "1"]).code, 0);
    let child = cairn.command(["get", "a"]).stdout(full).spawn().expect("cairn starts");
    let what = finish(child).failed();
    assert!(what.contains("standard output: No space left"), "{what}");
}

#[test]
fn another_s_directory_is_left_alone() {
    let cairn = Cairn::new();
    fs::create_dir(&cairn.db).expect("a directory");
    fs::write(cairn.db.join("letter.txt"), "dear").expect("a file");
    for args in [&["put", "a", "1"][..], &["get", "a"], &["scan"], &["verify"], &["compact"]] {
        let what = cairn.run(args).failed_silently();
        assert!(what.contains("not a Cairn database: it holds letter.txt"), "{args:?}: {what}");
        assert_eq!(fs::read_dir(&cairn.db).expect("a directory").count(), 1, "{args:?}");
    }
}

#[test]
fn a_file_is_not_a_directory() {
    let cairn = Cairn::new();
    cairn.file("db", "dear");
    for args in [&["put", "a", "1"][..], &["get", "a"], &["verify"]] {
        let what = cairn.run(args).failed_silently();
        assert!(what.contains("a file, not a directory"), "{args:?}: {what}");
    }
    assert_eq!(fs::read(&cairn.db).expect("the file is there"), b"dear");
}

/// A directory in which this user cannot make another: root may do so nearly anywhere.
fn unwritable(cairn: &Cairn) -> std::path::PathBuf {
    let dir = cairn.path("unwritable");
    fs::create_dir(&dir).expect("a directory");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o500)).expect("a mode");
    if fs::write(dir.join("probe"), "").is_err() { dir } else { Path::new("/proc").into() }
}

#[test]
fn an_unwritable_place_is_named() {
    let cairn = Cairn::new();
    let mut there = cairn.beside("unused");
    there.db = unwritable(&cairn).join("db");
    let what = there.run(["put", "a", "1"]).failed_silently();
    assert!(what.contains(&there.db.display().to_string()), "{what}");
    assert!(!there.db.exists());
}

#[test]
fn a_missing_parent_is_not_made() {
    let cairn = Cairn::new();
    let there = cairn.beside("no/such");
    let what = there.run(["put", "a", "1"]).failed_silently();
    assert!(what.contains("no/such"), "{what}");
    assert!(!cairn.path("no").exists());
}

#[test]
fn a_key_that_is_too_long_is_refused_and_nothing_is_written() {
    let cairn = Cairn::new();
    assert_eq!(cairn.run(["put", "a", "1"]).code, 0);
    let long = "k".repeat(65_536);
    let what = cairn.run(["put", &long, "1"]).failed_silently();
    assert!(what.contains("key"), "{what}");
    let line = format!("b\t2\n{long}\t3\n");
    cairn.run_with(["load", "-"], line.as_bytes()).failed();
    assert_eq!(cairn.run(["put", &long[1..], "1"]).code, 0);
    assert_eq!(cairn.run(["get", &long[1..]]).ok(), "1");
    assert_eq!(cairn.run(["verify"]).code, 0);
}

#[test]
fn a_value_that_is_too_long_is_refused_and_nothing_is_written() {
    let cairn = Cairn::new();
    assert_eq!(cairn.run(["put", "a", "1"]).code, 0);
    let file = cairn.path("large");
    // A hole: it takes no room on disk.
    fs::File::create(&file).and_then(|file| file.set_len(80 << 20)).expect("a file");
    let what = cairn.run(["put", "b", "--file", file.to_str().expect("text")]).failed_silently();
    assert!(what.contains("cairn: "), "{what}");
    assert_eq!(cairn.dump(), "{\"key\":\"a\",\"value\":\"1\"}\n");
}

/// A database with an SSTable, a manifest and a WAL that all matter.
fn stored() -> Cairn {
    let cairn = Cairn::new();
    let lines: String = (0..2000).map(|number| format!("key{number:04}\tvalue {number}\n")).collect();
    assert_eq!(cairn.run_with(["load", "-"], lines.as_bytes()).code, 0);
    assert_eq!(cairn.run(["compact"]).code, 0);
    assert_eq!(cairn.run(["put", "key0000", "newer"]).code, 0);
    cairn
}

#[test]
fn damage_in_an_sstable_is_found_named_and_survived() {
    let cairn = stored();
    let table = files(&cairn.db, "sst").pop().expect("an SSTable");
    let name = table.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    let mut bytes = fs::read(&table).expect("it can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&table, &bytes).expect("it can be written");

    let ran = cairn.run(["verify"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    let text = String::from_utf8_lossy(&ran.out).into_owned();
    assert!(text.contains("FAIL  promise ") && text.contains(&name) && text.contains("offset"), "{text}");
    assert!(ran.err.contains("problem found in ") || ran.err.contains("problems found in "), "{}", ran.err);

    let what = cairn.run(["dump"]).failed();
    assert!(what.contains(&format!("{}/{name} is corrupt at offset", cairn.db.display())), "{what}");
    assert!(what.contains("cairn verify --db"), "{what}");
    for number in (0..2000).step_by(97) {
        let ran = cairn.run(["get", &format!("key{number:04}")]);
        let value = if number == 0 { "newer".to_owned() } else { format!("value {number}") };
        assert!(ran.code == 2 || (ran.code == 0 && ran.out == value.as_bytes()), "{number}: {ran:?}");
    }
}

#[test]
fn a_flipped_byte_anywhere_is_damage_or_does_no_harm() {
    let cairn = stored();
    let sound = cairn.dump();
    let mut dice = crate::Dice(4711);
    for extension in ["manifest", "wal", "sst"] {
        for file in files(&cairn.db, extension) {
            let bytes = fs::read(&file).expect("it can be read");
            for _ in 0..8 {
                let offset = dice.below(bytes.len() as u64) as usize;
                let mut damaged = bytes.clone();
                damaged[offset] ^= 1 << dice.below(8);
                fs::write(&file, &damaged).expect("it can be written");
                let ran = cairn.run(["dump", "--format", "jsonl"]);
                let right = ran.code == 2 || (ran.code == 0 && ran.out == sound.as_bytes());
                assert!(right, "{} at {offset}: {} {}", file.display(), ran.code, ran.err);
                let found = cairn.run(["verify"]);
                assert!(found.code == 0 || found.code == 2, "{found:?}");
                assert!(ran.code == 0 || found.code == 2, "{} at {offset}: verify missed it", file.display());
                let seen = cairn.run(["inspect", file.to_str().expect("text")]);
                assert!(seen.code == 0 || seen.code == 2, "{seen:?}");
            }
            fs::write(&file, &bytes).expect("it can be written");
        }
    }
    assert_eq!(cairn.dump(), sound);
}

#[test]
fn a_wrong_command_line_is_an_error_with_advice() {
    let cairn = Cairn::new();
    for args in
        [&[][..], &["put"], &["fly"], &["--durability", "never", "scan"], &["load", "-", "--batch", "0"]]
    {
        let ran = cairn.run(args);
        assert_eq!(ran.code, 2, "{args:?}");
        assert!(ran.err.contains("--help") || ran.err.contains("Usage"), "{args:?}: {}", ran.err);
    }
}
