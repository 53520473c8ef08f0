//! checkpoint, compact, backup, verify, repair, stats, inspect and demo.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::{Cairn, Ran, files};

/// A database with a few hundred entries, most of them in an SSTable.
fn stored() -> Cairn {
    let cairn = Cairn::new();
    let lines: String = (0..500).map(|number| format!("key{number:04}\tvalue {number}\n")).collect();
    assert_eq!(cairn.run_with(["load", "-"], lines.as_bytes()).code, 0);
    assert_eq!(cairn.run(["checkpoint"]).code, 0);
    assert_eq!(cairn.run(["put", "key0000", "newer"]).code, 0);
    cairn
}

fn on_path(cairn: &Cairn, command: &str, path: &Path, more: &[&str]) -> Ran {
    let args = [OsStr::new(command), path.as_os_str()];
    cairn.run(args.into_iter().chain(more.iter().map(OsStr::new)))
}

#[test]
fn a_checkpoint_says_where_it_was_and_where_it_is() {
    let cairn = Cairn::new();
    assert_eq!(cairn.run(["put", "a", "1"]).code, 0);
    let text = cairn.run(["checkpoint"]).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("was: recovery starts at 0"), "{text}");
    assert!(
        lines[1].starts_with("is:  recovery starts at 0") && lines[1].contains(".wal, sequence number"),
        "{text}"
    );
    assert_eq!(cairn.run(["get", "a"]).ok(), "1");
}

#[test]
fn compaction_changes_no_entry() {
    let cairn = stored();
    let before = cairn.dump();
    let text = cairn.run(["compact"]).ok();
    assert!(text.starts_with("SSTables: ") && text.contains(" before, "), "{text}");
    assert_eq!(cairn.dump(), before);
    assert_eq!(cairn.run(["verify"]).code, 0);
}

#[test]
fn a_backup_is_a_database_of_its_own() {
    for more in [&[][..], &["--copy"]] {
        let cairn = stored();
        let copy = cairn.beside("backup");
        let text = on_path(&cairn, "backup", &copy.db, more).ok();
        assert!(text.contains("everything up to sequence number"), "{text}");
        assert!(more.is_empty() || text.contains("; 0 SSTables linked"), "{text}");
        assert_eq!(copy.dump(), cairn.dump());

        assert_eq!(cairn.run(["put", "only", "here"]).code, 0);
        assert_eq!(copy.run(["put", "only", "there"]).code, 0);
        assert_eq!(copy.run(["compact"]).code, 0);
        assert_eq!(cairn.run(["compact"]).code, 0);
        assert_eq!(cairn.run(["get", "only"]).ok(), "here");
        assert_eq!(copy.run(["get", "only"]).ok(), "there");
        assert_eq!(cairn.run(["verify"]).code, 0);
        assert_eq!(copy.run(["verify"]).code, 0);
    }
}

#[test]
fn a_backup_overwrites_nothing() {
    let cairn = stored();
    let other = cairn.beside("other");
    assert_eq!(other.run(["put", "a", "precious"]).code, 0);
    on_path(&cairn, "backup", &other.db, &[]).failed_silently();
    assert_eq!(other.run(["scan"]).ok(), "a\tprecious\n");
    let letters = cairn.path("letters");
    fs::create_dir(&letters).expect("a directory");
    fs::write(letters.join("dear.txt"), "dear").expect("a file");
    on_path(&cairn, "backup", &letters, &[]).failed_silently();
    assert_eq!(fs::read_dir(&letters).expect("a directory").count(), 1);
}

#[test]
fn verify_lists_the_promises_it_checked() {
    let cairn = stored();
    let text = cairn.run(["verify"]).ok();
    assert!(text.lines().filter(|line| line.starts_with("pass  promise ")).count() >= 1, "{text}");
    assert!(text.lines().last().is_some_and(|line| line.starts_with("no damage in ")), "{text}");
}

#[test]
fn verify_tells_of_all_twelve_promises_and_keeps_to_a_rate() {
    let cairn = stored();
    let text = cairn.run(["verify"]).ok();
    for promise in 1..=12 {
        assert!(text.contains(&format!("promise {promise:>2}: ")), "{promise}: {text}");
    }
    let unseen = |line: &&str| line.starts_with("  --  promise ");
    assert_eq!(text.lines().filter(unseen).count(), 5, "{text}");
    let bytes: u64 = files(&cairn.db, "sst").iter().map(|file| file.metadata().expect("a file").len()).sum();
    let begun = std::time::Instant::now();
    let paced = cairn.run(["verify", "--rate", &format!("{}B", bytes * 4)]).ok();
    assert!(begun.elapsed() > std::time::Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(paced, text);
    cairn.run(["verify", "--rate", "fast"]).failed_silently();
}

#[test]
fn repair_of_a_sound_database_is_a_copy() {
    let cairn = stored();
    let before = (listing(&cairn.db), cairn.dump());
    let new = cairn.beside("new");
    let text = on_path(&cairn, "repair", &new.db, &[]).ok();
    assert!(text.contains("501 entries") && text.lines().count() == 1, "{text}");
    assert_eq!((listing(&cairn.db), new.dump()), before);
    assert_eq!(new.run(["verify"]).code, 0);
    assert_eq!(new.run(["put", "more", "1"]).code, 0);
    let what = on_path(&cairn, "repair", &new.db, &[]).failed_silently();
    assert!(what.contains("not empty"), "{what}");
}

#[test]
fn repair_lists_what_is_lost_and_saves_the_rest() {
    let cairn = stored();
    let sstable = files(&cairn.db, "sst").remove(0);
    let mut bytes = fs::read(&sstable).expect("a file");
    bytes[200] ^= 1;
    fs::write(&sstable, &bytes).expect("a file");
    let before = listing(&cairn.db);
    assert_eq!(cairn.run(["verify"]).code, 2);
    let new = cairn.beside("new");
    let ran = on_path(&cairn, "repair", &new.db, &[]);
    assert_eq!(ran.code, 2, "{ran:?}");
    let text = String::from_utf8(ran.out.clone()).expect("text");
    assert!(text.starts_with("lost      000001.sst: entries, keys 0/\"key0000\" .. 0/\"key0"), "{text}");
    assert!(ran.err.contains("1 loss listed"), "{ran:?}");
    assert_eq!(listing(&cairn.db), before);
    assert_eq!(new.run(["verify"]).code, 0);
    assert_eq!(new.run(["get", "key0499"]).ok(), "value 499");
    assert_eq!(new.run(["get", "key0000"]).ok(), "newer", "it was in the log");
    assert_eq!(new.run(["get", "key0001"]).code, 1);
}

#[test]
fn repair_does_without_a_manifest_and_says_so() {
    let cairn = stored();
    let before = cairn.dump();
    for manifest in files(&cairn.db, "manifest") {
        fs::remove_file(manifest).expect("it is removed");
    }
    cairn.run(["scan"]).failed_silently();
    let new = cairn.beside("new");
    let ran = on_path(&cairn, "repair", &new.db, &[]);
    let text = String::from_utf8(ran.out.clone()).expect("text");
    assert!(
        ran.code == 2 && text.contains("unsure    no manifest") && text.contains("by no manifest"),
        "{ran:?}"
    );
    assert_eq!(new.dump(), before);
}

/// Every file's name, length and bytes.
fn listing(db: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(db)
        .expect("a directory")
        .map(|entry| entry.expect("an entry"))
        .map(|entry| (entry.file_name(), fs::read(entry.path()).expect("a file")))
        .collect();
    files.sort();
    files
}

#[test]
fn stats_are_for_people_and_for_programs() {
    let cairn = stored();
    assert!(cairn.run(["stats"]).ok().lines().count() > 1);
    let json: serde_json::Value = serde_json::from_str(&cairn.run(["stats", "--json"]).ok()).expect("JSON");
    let object = json.as_object().expect("an object");
    assert_eq!((&json["seq"], &json["levels"][0]["tables"]), (&501.into(), &1.into()), "{json}");
    assert!(object["stopped"].is_null() && object["maintenance_error"].is_null(), "{json}");
}

#[test]
fn inspect_prints_each_kind_of_file() {
    let cairn = stored();
    for extension in ["wal", "sst", "manifest"] {
        let files = files(&cairn.db, extension);
        assert!(!files.is_empty(), "{extension}");
        for file in files {
            assert!(!on_path(&cairn, "inspect", &file, &[]).ok().is_empty(), "{}", file.display());
        }
    }
}

#[test]
fn inspect_says_what_it_cannot_read() {
    let cairn = stored();
    let what = on_path(&cairn, "inspect", &cairn.file("letter.txt", "dear"), &[]).failed_silently();
    assert!(what.contains("letter.txt: not a database file's name"), "{what}");
    let what = on_path(&cairn, "inspect", &cairn.db.join("999999.sst"), &[]).failed_silently();
    assert!(what.contains("999999.sst: No such file"), "{what}");
}

/// Lines such as UnicodeData.txt has, and as many.
fn characters() -> String {
    let mut text = String::new();
    for number in (0..0x1_F800).step_by(4) {
        writeln!(text, "{number:04X};SOME CHARACTER {number};Lo;0;L;;;;;N;;;;;").expect("a string takes it");
    }
    text
}

#[test]
fn the_demo_shows_each_step_and_leaves_nothing_behind() {
    let cairn = Cairn::new();
    let data = cairn.file("characters.txt", characters());
    let temporary = cairn.path("tmp");
    fs::create_dir(&temporary).expect("a directory");
    let demo = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cairn"));
        command.env("TMPDIR", &temporary).args(["demo", "--data"]).arg(&data).args(more);
        let output = command.output().expect("cairn runs");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Ran { code: output.status.code().unwrap_or(-1), out: output.stdout, err }
    };
    let text = demo(&[]).ok();
    for step in
        ["1. load", "2. get", "3. scan", "4. delete", "5. reopen", "6. verify", "7. compact", "8. stats"]
    {
        assert!(text.contains(step), "{step}: {text}");
    }
    assert!(text.ends_with("All 8 steps did what they should.\n"), "{text}");
    assert_eq!(fs::read_dir(&temporary).expect("a directory").count(), 0);

    let kept = demo(&["--keep"]);
    assert!(kept.code == 0 && kept.err.contains("the database is in "), "{kept:?}");
    assert_eq!(fs::read_dir(&temporary).expect("a directory").count(), 1);
}

#[test]
fn the_demo_takes_a_place_of_its_own_only() {
    let cairn = Cairn::new();
    let data = cairn.file("characters.txt", characters());
    let what = cairn.run(["demo", "--data", "/nowhere/at/all"]).failed_silently();
    assert!(what.contains("/nowhere/at/all: No such file") && what.contains("--data"), "{what}");
    assert!(!cairn.db.exists());
    let ran = cairn.run([OsStr::new("demo"), OsStr::new("--data"), data.as_os_str()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(cairn.run(["get", "0040"]).ok(), "SOME CHARACTER 64;Lo;0;L;;;;;N;;;;;");
    let what = cairn.run([OsStr::new("demo"), OsStr::new("--data"), data.as_os_str()]).failed_silently();
    assert!(what.contains("not empty"), "{what}");
}
