//! put, get and delete.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::Cairn;

#[test]
fn a_value_that_was_put_is_there_for_the_next_process() {
    let cairn = Cairn::new();
    assert_eq!(cairn.run(["put", "greeting", "hello"]).ok(), "");
    assert_eq!(cairn.run(["get", "greeting"]).ok(), "hello");
    assert_eq!(cairn.run(["put", "greeting", "good day"]).ok(), "");
    assert_eq!(cairn.run(["get", "greeting"]).ok(), "good day");
    assert_eq!(cairn.run(["delete", "greeting"]).ok(), "");
    let ran = cairn.run(["get", "greeting"]);
    assert_eq!((ran.code, ran.out.as_slice(), ran.err.as_str()), (1, &b""[..], "cairn: no such key\n"));
    assert_eq!(cairn.run(["delete", "greeting"]).ok(), "", "what is gone may be deleted again");
}

#[test]
fn arguments_are_the_bytes_that_they_are() {
    let cairn = Cairn::new();
    let key = OsStr::from_bytes(b"\xff\n\\t");
    let value = OsStr::from_bytes(b"\\x41 \xc3\x28\n");
    assert_eq!(cairn.run([OsStr::new("put"), key, value]).code, 0);
    let ran = cairn.run([OsStr::new("get"), key]);
    assert_eq!((ran.code, ran.out.as_slice()), (0, value.as_bytes()));
}

#[test]
fn escape_decodes_keys_and_values() {
    let cairn = Cairn::new();
    assert_eq!(cairn.run(["put", "--escape", r"\x00\t", r"a\nb\r\\\xFF"]).ok(), "");
    let ran = cairn.run(["get", "--escape", r"\x00\x09"]);
    assert_eq!((ran.code, ran.out.as_slice()), (0, &b"a\nb\r\\\xff"[..]));
    let what = cairn.run(["put", "--escape", r"a\q", "1"]).failed_silently();
    assert!(what.contains(r"--escape: a\q: a backslash begins one of"), "{what}");
    assert_eq!(cairn.run(["delete", "--escape", r"\x00\t"]).ok(), "");
    assert_eq!(cairn.dump(), "");
}

#[test]
fn the_empty_key_and_the_empty_value_are_like_any_other() {
    let cairn = Cairn::new();
    assert_eq!(cairn.run(["put", "", ""]).ok(), "");
    let ran = cairn.run(["get", ""]);
    assert_eq!((ran.code, ran.out.len()), (0, 0));
    assert_eq!(cairn.dump(), "{\"key\":\"\",\"value\":\"\"}\n");
}

#[test]
fn a_value_may_come_from_a_file_or_from_standard_input() {
    let cairn = Cairn::new();
    let bytes: Vec<u8> = (0..200_000u32).map(|index| (index.wrapping_mul(index) >> 7) as u8).collect();
    let file = cairn.file("value", &bytes);
    assert_eq!(
        cairn.run([OsStr::new("put"), OsStr::new("a"), OsStr::new("--file"), file.as_os_str()]).ok(),
        ""
    );
    assert_eq!(cairn.run(["get", "a"]).out, bytes);
    assert_eq!(cairn.run_with(["put", "b", "--file", "-"], b"\0piped\n").ok(), "");
    assert_eq!(cairn.run(["get", "b"]).out, b"\0piped\n");
}

#[test]
fn a_file_that_is_not_there_is_named_and_makes_no_database() {
    let cairn = Cairn::new();
    let what = cairn.run(["put", "a", "--file", "/nowhere/at/all"]).failed_silently();
    assert!(what.contains("/nowhere/at/all: No such file"), "{what}");
    assert!(!cairn.db.exists());
}

#[test]
fn put_wants_one_value() {
    let cairn = Cairn::new();
    cairn.run(["put", "a"]).failed_silently();
    cairn.run(["put", "a", "1", "--file", "x"]).failed_silently();
    cairn.run(["put", "a", "1", "2"]).failed_silently();
    assert!(!cairn.db.exists());
}

#[test]
fn a_negative_number_is_a_value_and_a_dash_key_follows_two() {
    let cairn = Cairn::new();
    assert_eq!(cairn.run(["put", "temperature", "-5"]).ok(), "");
    assert_eq!(cairn.run(["get", "temperature"]).ok(), "-5");
    assert_eq!(cairn.run(["put", "--", "--ttl", "x"]).ok(), "");
    assert_eq!(cairn.run(["get", "--", "--ttl"]).ok(), "x");
}

#[test]
fn a_value_expires_when_its_time_has_come() {
    let cairn = Cairn::new();
    assert_eq!(cairn.run(["put", "short", "1", "--ttl", "1ms"]).ok(), "");
    assert_eq!(cairn.run(["put", "long", "2", "--ttl", "30d"]).ok(), "");
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(cairn.run(["get", "short"]).code, 1);
    assert_eq!(cairn.run(["get", "long"]).ok(), "2");
    assert!(cairn.dump().starts_with("{\"key\":\"long\",\"value\":\"2\",\"expires_at_ms\":"));
    for wrong in ["0s", "30", "soon", "-1s"] {
        let ttl = format!("--ttl={wrong}");
        cairn.run(["put", "a", "1", &ttl]).failed_silently();
    }
}

#[test]
fn each_keyspace_has_keys_of_its_own() {
    let cairn = Cairn::new();
    assert_eq!(cairn.run(["put", "a", "zero"]).ok(), "");
    assert_eq!(cairn.run(["put", "a", "seven", "--keyspace", "7"]).ok(), "");
    assert_eq!(cairn.run(["get", "a"]).ok(), "zero");
    assert_eq!(cairn.run(["--keyspace", "7", "get", "a"]).ok(), "seven");
    assert_eq!(cairn.run(["get", "a", "--keyspace", "8"]).code, 1);
    assert_eq!(cairn.run(["delete", "a", "--keyspace", "7"]).ok(), "");
    assert_eq!(cairn.run(["get", "a"]).ok(), "zero");
    cairn.run(["get", "a", "--keyspace", "255"]).failed_silently();
}

#[test]
fn every_durability_survives_a_process_that_ends_well() {
    for level in ["sync", "os", "buffered"] {
        let cairn = Cairn::new();
        assert_eq!(cairn.run(["put", "a", level, "--durability", level]).ok(), "");
        assert_eq!(cairn.run(["get", "a"]).ok(), level);
    }
}

#[test]
fn help_has_examples_for_every_command() {
    let cairn = Cairn::new();
    let commands = [
        "put",
        "get",
        "delete",
        "scan",
        "load",
        "dump",
        "replay",
        "checkpoint",
        "backup",
        "compact",
        "verify",
        "stats",
        "inspect",
        "demo",
    ];
    let all = cairn.run(["--help"]).ok();
    for command in commands {
        assert!(all.contains(&format!("  {command} ")), "{command}");
        let help = cairn.run([command, "--help"]).ok();
        assert!(help.contains("Example") && help.contains(&format!("cairn {command}")), "{help}");
    }
    assert!(cairn.run(["--version"]).ok().starts_with("cairn "));
    cairn.run(["fetch"]).failed_silently();
}

#[test]
fn explain_tells_where_a_key_was_looked_for() {
    let cairn = Cairn::new();
    cairn.run(["put", "granite", "igneous"]).ok();
    let told = cairn.run(["get", "granite", "--explain"]).ok();
    assert!(
        told.starts_with("active memtable          a value, of write 1\n0 tables, 0 filtered out; "),
        "{told}"
    );
    cairn.run(["compact"]).ok();
    let told = cairn.run(["get", "granite", "--explain"]).ok();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "active memtable          not there");
    assert!(lines[1].contains(".sst") && lines[1].contains("a value, of write 1"), "{told}");
    assert!(lines[1].contains("block at ") && lines[1].ends_with(": read"), "{told}");
    assert!(
        lines[2].starts_with("1 table, 0 filtered out; 1 block, ") && lines[2].contains(" µs, and "),
        "{told}"
    );
    // Between the keys of a table, so that its filter is asked.
    cairn.run_with(["load", "-"], b"a\t1\nc\t2\n").ok();
    cairn.run(["compact"]).ok();
    let ran = cairn.run(["get", "b", "--explain"]);
    let told = String::from_utf8(ran.out).expect("text");
    assert_eq!((ran.code, ran.err.as_str()), (1, "cairn: no such key\n"));
    assert!(
        told.contains("its filter says no") && told.contains("1 table, 1 filtered out; 0 blocks"),
        "{told}"
    );
}
