//! scan: ranges, directions and limits.

use crate::Cairn;

fn stored() -> Cairn {
    let cairn = Cairn::new();
    let ran = cairn.run_with(["load", "-"], b"a\t1\nab\t2\nb\t3\nba\t4\nc\t5\n");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    cairn
}

#[test]
fn a_scan_prints_entries_in_order() {
    assert_eq!(stored().run(["scan"]).ok(), "a\t1\nab\t2\nb\t3\nba\t4\nc\t5\n");
}

#[test]
fn ranges_prefixes_limits_and_directions() {
    let cairn = stored();
    let keys = |args: &[&str]| {
        let args = ["scan", "--keys-only"].iter().chain(args);
        cairn.run(args).ok().lines().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(&["--prefix", "a"]), "a ab");
    assert_eq!(keys(&["--prefix", ""]), "a ab b ba c");
    assert_eq!(keys(&["--prefix", "x"]), "");
    assert_eq!(keys(&["--from", "ab"]), "ab b ba c");
    assert_eq!(keys(&["--to", "b"]), "a ab");
    assert_eq!(keys(&["--from", "ab", "--to", "ba"]), "ab b");
    assert_eq!(keys(&["--from", "b", "--to", "b"]), "");
    assert_eq!(keys(&["--reverse"]), "c ba b ab a");
    assert_eq!(keys(&["--reverse", "--limit", "2"]), "c ba");
    assert_eq!(keys(&["--limit", "2"]), "a ab");
    assert_eq!(keys(&["--limit", "0"]), "");
    assert_eq!(keys(&["--prefix", "b", "--reverse"]), "ba b");
    assert_eq!(keys(&["--escape", "--from", r"\x62", "--to", r"\x63"]), "b ba");
}

#[test]
fn what_cannot_be_meant_is_an_error() {
    let cairn = stored();
    let what = cairn.run(["scan", "--from", "b", "--to", "a"]).failed_silently();
    assert!(what.contains("--from is beyond --to"), "{what}");
    cairn.run(["scan", "--prefix", "a", "--from", "a"]).failed_silently();
    cairn.run(["scan", "--limit", "-1"]).failed_silently();
    cairn.run(["scan", "--keys-only", "--format", "log"]).failed_silently();
    cairn.run(["scan", "--delimiter", ";"]).failed_silently();
    cairn.run(["scan", "--format", "csv", "--delimiter", ";;"]).failed_silently();
}

#[test]
fn a_scan_writes_every_format() {
    let cairn = stored();
    let scan = |args: &[&str]| cairn.run(["scan", "--limit", "1"].iter().chain(args)).ok();
    assert_eq!(scan(&["--format", "tsv"]), "a\t1\n");
    assert_eq!(scan(&["--format", "csv"]), "a,1\n");
    assert_eq!(scan(&["--format", "csv", "--delimiter", "|"]), "a|1\n");
    assert_eq!(scan(&["--format", "jsonl"]), "{\"key\":\"a\",\"value\":\"1\"}\n");
    assert_eq!(scan(&["--format", "jsonl", "--keys-only"]), "{\"key\":\"a\"}\n");
    let log = cairn.run(["scan", "--limit", "1", "--format", "log"]).out;
    assert_eq!(log[..10], *b"\x01\0\0\0\x01\0\0\0a1");
}

#[test]
fn a_scan_of_an_empty_keyspace_prints_nothing() {
    let cairn = stored();
    assert_eq!(cairn.run(["scan", "--keyspace", "3"]).ok(), "");
}
