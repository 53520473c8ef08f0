//! load and dump: what is written out comes back as it was.

use std::ffi::OsStr;
use std::fmt::Write;

use crate::{Cairn, Ran};

/// Far enough away for these tests.
const LATER_MS: u64 = 4_000_000_000_000;

/// Keys and values that break formats, one of each with every other, as hexadecimal escapes.
fn nasty_tsv() -> String {
    let fields: [&[u8]; 16] = [
        b"",
        b"\0",
        b"\t",
        b"\n",
        b"\r",
        b"\r\n",
        b"a\r",
        b"\\",
        b"\\n",
        b"\"",
        b",",
        b";",
        b"{\"b64\":1}",
        b"\xff\xfe",
        b"\xc3(",
        "größe".as_bytes(),
    ];
    let mut text = String::new();
    let escaped =
        |field: &[u8]| field.iter().fold(String::new(), |text, byte| format!("{text}\\x{byte:02x}"));
    for (index, key) in fields.iter().enumerate() {
        for value in &fields {
            let key = escaped(&[*key, b"/", *value].concat());
            writeln!(text, "{key}\t{}", escaped(value)).expect("a string takes it");
        }
        if index % 2 == 0 {
            writeln!(text, "{}\t\t{}", escaped(key), LATER_MS + index as u64).expect("a string takes it");
        }
    }
    text
}

fn load(cairn: &Cairn, args: &[&str], input: &[u8]) -> Ran {
    cairn.run_with(["load", "-"].iter().chain(args), input)
}

#[test]
fn tsv_and_jsonl_give_an_equal_database() {
    let first = Cairn::new();
    assert!(load(&first, &[], nasty_tsv().as_bytes()).ok().starts_with("264 entries stored in "));
    let all = first.dump();
    assert_eq!(all.lines().count(), 264);
    assert_eq!(all.lines().filter(|line| line.contains("expires_at_ms")).count(), 8);
    for format in ["tsv", "jsonl"] {
        let dumped = first.run(["dump", "--format", format]).ok();
        let second = Cairn::new();
        assert_eq!(load(&second, &["--format", format], dumped.as_bytes()).code, 0);
        assert_eq!(second.dump(), all, "{format}");
        assert_eq!(second.run(["dump", "--format", format]).ok(), dumped);
    }
}

#[test]
fn a_log_gives_an_equal_database_but_for_expiry() {
    let first = Cairn::new();
    assert_eq!(load(&first, &[], nasty_tsv().as_bytes()).code, 0);
    let dumped = first.run(["dump", "--format", "log"]);
    assert_eq!(dumped.code, 0);
    assert!(
        dumped.err.starts_with("cairn: 8 entries expire, which this format cannot say"),
        "{}",
        dumped.err
    );
    let second = Cairn::new();
    assert_eq!(load(&second, &["--format", "log"], &dumped.out).code, 0);
    let without: String = first
        .dump()
        .lines()
        .map(|line| {
            line.split(",\"expires_at_ms\"").next().unwrap_or(line).trim_end_matches('}').to_owned() + "\n"
        })
        .collect();
    let with: String =
        second.dump().lines().map(|line| line.trim_end_matches('}').to_owned() + "\n").collect();
    assert_eq!(with, without);
}

#[test]
fn csv_gives_an_equal_database_or_stops() {
    let first = Cairn::new();
    let plain = "key,value with, delimiters\n,\nquote\",\"\"\nback\\slash,\\n\ntab\t,\t\n";
    assert_eq!(load(&first, &["--format", "csv"], plain.as_bytes()).code, 0);
    let dumped = first.run(["dump", "--format", "csv"]).ok();
    let second = Cairn::new();
    assert_eq!(load(&second, &["--format", "csv"], dumped.as_bytes()).code, 0);
    assert_eq!(second.dump(), first.dump());

    assert_eq!(first.run(["put", "has, one", "1"]).code, 0);
    let what = first.run(["dump", "--format", "csv"]).failed();
    assert!(
        what.contains("csv cannot carry the entry of key has, one: the key holds the delimiter"),
        "{what}"
    );
    assert_eq!(first.run(["dump", "--format", "csv", "--delimiter", "|"]).code, 0);
}

#[test]
fn csv_says_which_expiries_it_left_out() {
    let cairn = Cairn::new();
    assert_eq!(cairn.run(["put", "a", "1", "--ttl", "1d"]).code, 0);
    let ran = cairn.run(["dump", "--format", "csv"]);
    assert_eq!((ran.code, ran.out.as_slice()), (0, &b"a,1\n"[..]));
    assert!(ran.err.contains("1 entry expires"), "{}", ran.err);
}

#[test]
fn a_plain_data_file_loads_verbatim() {
    let cairn = Cairn::new();
    let data =
        "0041;LATIN CAPITAL LETTER A;Lu;0;L;;;;;N;;;;0061;\n005C;REVERSE SOLIDUS;Po;0;ON;;;;;N;\"\\n\";;;;\n";
    let args = ["--format", "csv", "--delimiter", ";", "--key-field", "1"];
    assert_eq!(load(&cairn, &args, data.as_bytes()).code, 0);
    assert_eq!(cairn.run(["get", "0041"]).ok(), "LATIN CAPITAL LETTER A;Lu;0;L;;;;;N;;;;0061;");
    assert_eq!(cairn.run(["get", "005C"]).ok(), "REVERSE SOLIDUS;Po;0;ON;;;;;N;\"\\n\";;;;");
    assert_eq!(cairn.run(["dump", "--format", "csv", "--delimiter", ";"]).ok(), data);

    let by_name = ["--format", "csv", "--delimiter", ";", "--key-field", "2", "--keyspace", "1"];
    assert_eq!(load(&cairn, &by_name, data.as_bytes()).code, 0);
    let ran = cairn.run(["get", "--keyspace", "1", "LATIN CAPITAL LETTER A"]);
    assert_eq!(ran.ok(), "0041;Lu;0;L;;;;;N;;;;0061;");
}

#[test]
fn a_line_that_cannot_be_read_is_named_and_those_before_it_are_stored() {
    let cairn = Cairn::new();
    let file = cairn.file("words.tsv", "a\t1\nb\t2\nc\nd\t4\n");
    let ran = cairn.run([OsStr::new("load"), file.as_os_str()]);
    let what = ran.failed_silently();
    assert!(what.contains(&format!("{}:3: no tab between key and value", file.display())), "{what}");
    assert!(what.contains("2 entries stored, all from the lines before this one"), "{what}");
    assert_eq!(cairn.run(["scan"]).ok(), "a\t1\nb\t2\n");

    let what = load(&cairn, &["--format", "jsonl"], b"{\"key\":\"e\"}\n").failed_silently();
    assert!(what.contains("standard input:1: no \"value\""), "{what}");
}

#[test]
fn acknowledgements_are_line_numbers() {
    let cairn = Cairn::new();
    let lines: String = (0..10).map(|number| format!("key{number}\tvalue\n")).collect();
    assert_eq!(load(&cairn, &["--ack", "--batch", "4"], lines.as_bytes()).ok(), "4\n8\n10\n");
    assert_eq!(load(&cairn, &["--ack", "--batch", "5"], lines.as_bytes()).ok(), "5\n10\n");
    assert_eq!(load(&cairn, &["--ack"], b"").ok(), "");
    let big = format!("a\t{}\nb\t{}\nc\t\n", "x".repeat(700_000), "y".repeat(700_000));
    assert_eq!(load(&cairn, &["--ack"], big.as_bytes()).ok(), "1\n3\n", "a batch ends at a mebibyte");
}

#[test]
fn the_later_of_two_lines_wins_and_a_log_deletes() {
    let cairn = Cairn::new();
    assert_eq!(load(&cairn, &[], b"a\t1\nb\t1\na\t2\n").code, 0);
    assert_eq!(cairn.run(["scan"]).ok(), "a\t2\nb\t1\n");
    let mut log = Vec::new();
    cairndb::roadmap_log::encode_delete(b"a", &mut log);
    cairndb::roadmap_log::encode_put(b"c", b"3", &mut log);
    assert_eq!(load(&cairn, &["--format", "log"], &log).code, 0);
    assert_eq!(cairn.run(["scan"]).ok(), "b\t1\nc\t3\n");
}

#[test]
fn an_empty_file_makes_an_empty_database() {
    let cairn = Cairn::new();
    assert!(load(&cairn, &[], b"").ok().starts_with("0 entries stored"));
    assert_eq!(cairn.run(["scan"]).ok(), "");
}

#[test]
fn a_file_that_cannot_be_opened_makes_no_database() {
    let cairn = Cairn::new();
    let what = cairn.run(["load", "/nowhere/at/all"]).failed_silently();
    assert!(what.contains("/nowhere/at/all: No such file"), "{what}");
    let what = cairn.run(["load", "/"]).failed_silently();
    assert!(what.contains("a directory, not a file"), "{what}");
    cairn.run(["load", "-", "--key-field", "2"]).failed_silently();
    cairn.run(["load", "-", "--format", "csv", "--key-field", "0"]).failed_silently();
    assert!(!cairn.db.exists());
}

#[test]
fn dumps_are_of_one_keyspace() {
    let cairn = Cairn::new();
    assert_eq!(cairn.run(["put", "a", "0"]).code, 0);
    assert_eq!(cairn.run(["put", "b", "9", "--keyspace", "9"]).code, 0);
    assert_eq!(cairn.run(["dump"]).ok(), "a\t0\n");
    assert_eq!(cairn.run(["dump", "--keyspace", "9"]).ok(), "b\t9\n");
}
