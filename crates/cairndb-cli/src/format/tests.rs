//! Every format, there and back, with the bytes that break formats.

use super::*;

const CSV: Layout = Layout::Csv { delimiter: b';', key_field: 1 };

/// Keys and values that some format somewhere trips over.
fn nasty() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        "",
        " ",
        "a",
        "\0",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "a\n",
        "a\r",
        "\\",
        "\\n",
        "\\x41",
        "\"",
        "{",
        "{\"b64\":\"\"}",
        ";",
        ",",
        "a;b",
        "größe",
        "\u{2028}",
        "\u{feff}",
        "null",
        "1e5",
        "😀",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    all.extend([vec![0xff], vec![0xc3], vec![b'a', 0x80, b'\n'], (0..=255).collect()]);
    all
}

fn written(layout: Layout, key: &[u8], value: &[u8], expires_at_ms: Option<u64>) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    Writer::new(layout, false).write(key, value, expires_at_ms, &mut out)?;
    Ok(out)
}

fn read(layout: Layout, text: &[u8]) -> Result<Vec<Change>, String> {
    let mut reader = Reader::new(layout, Box::new(io::Cursor::new(text.to_vec())));
    let mut changes = Vec::new();
    while let Some(change) = reader.next().map_err(|what| format!("{}: {what}", reader.line()))? {
        changes.push(change);
    }
    Ok(changes)
}

fn put(key: &[u8], value: &[u8], expires_at_ms: Option<u64>) -> Change {
    Change::Put { key: key.to_vec(), value: value.to_vec(), expires_at_ms }
}

#[test]
fn tsv_jsonl_and_log_carry_any_bytes() {
    for layout in [Layout::Tsv, Layout::Jsonl, Layout::Log] {
        let (mut text, mut expected) = (Vec::new(), Vec::new());
        for key in nasty() {
            for value in nasty() {
                text.extend(written(layout, &key, &value, None).expect("any bytes can be written"));
                expected.push(put(&key, &value, None));
            }
        }
        assert_eq!(read(layout, &text), Ok(expected), "I1: {layout:?}");
    }
}

#[test]
fn tsv_and_jsonl_carry_the_expiry() {
    for layout in [Layout::Tsv, Layout::Jsonl] {
        for at in [0, 1, 1_790_000_000_000, u64::MAX] {
            let text = written(layout, b"key", b"", Some(at)).expect("written");
            assert_eq!(read(layout, &text), Ok(vec![put(b"key", b"", Some(at))]), "I1: {layout:?}");
        }
    }
}

#[test]
fn csv_and_log_count_the_expiries_they_leave_out() {
    for layout in [CSV, Layout::Log] {
        let mut writer = Writer::new(layout, false);
        let mut out = Vec::new();
        writer.write(b"a", b"1", Some(7), &mut out).expect("written");
        writer.write(b"b", b"2", None, &mut out).expect("written");
        assert_eq!(writer.expiries_left_out(), 1);
        assert_eq!(read(layout, &out), Ok(vec![put(b"a", b"1", None), put(b"b", b"2", None)]));
    }
}

#[test]
fn csv_comes_back_equal_or_is_refused() {
    let mut refused = 0;
    for key in nasty() {
        for value in nasty() {
            match written(CSV, &key, &value, None) {
                Ok(text) => assert_eq!(read(CSV, &text), Ok(vec![put(&key, &value, None)]), "I1"),
                Err(what) => {
                    assert!(what.contains("csv cannot carry"), "{what}");
                    let reason = key.contains(&b';')
                        || key.contains(&b'\n')
                        || value.contains(&b'\n')
                        || value.ends_with(b"\r");
                    assert!(reason, "refused for nothing: {key:?} {value:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn csv_takes_any_field_as_the_key() {
    let line = "0041;LATIN CAPITAL LETTER A;Lu;";
    let take = |key_field| read(Layout::Csv { delimiter: b';', key_field }, line.as_bytes());
    assert_eq!(take(1), Ok(vec![put(b"0041", b"LATIN CAPITAL LETTER A;Lu;", None)]));
    assert_eq!(take(2), Ok(vec![put(b"LATIN CAPITAL LETTER A", b"0041;Lu;", None)]));
    assert_eq!(take(3), Ok(vec![put(b"Lu", b"0041;LATIN CAPITAL LETTER A;", None)]));
    assert_eq!(take(4), Ok(vec![put(b"", b"0041;LATIN CAPITAL LETTER A;Lu", None)]));
    assert!(take(5).is_err_and(|what| what == "1: the line has 4 fields, and --key-field asks for number 5"));
}

#[test]
fn lines_end_as_they_do_anywhere() {
    for text in ["a\t1\nb\t2\n", "a\t1\nb\t2", "a\t1\r\nb\t2\r\n"] {
        assert_eq!(
            read(Layout::Tsv, text.as_bytes()),
            Ok(vec![put(b"a", b"1", None), put(b"b", b"2", None)])
        );
    }
    assert_eq!(read(Layout::Tsv, b""), Ok(vec![]));
}

#[test]
fn a_line_that_cannot_be_read_is_named() {
    let cases: [(Layout, &str, &str); 13] = [
        (Layout::Tsv, "a\t1\nb\n", "2: no tab"),
        (Layout::Tsv, "\n", "1: no tab"),
        (Layout::Tsv, "a\t1\tsoon\n", "1: the third field"),
        (Layout::Tsv, "a\t1\t+5\n", "1: the third field"),
        (Layout::Tsv, "a\t1\t2\t3\n", "1: more than three"),
        (Layout::Tsv, "a\tC:\\dir\n", "1: a backslash"),
        (CSV, "a\n", "1: no ';'"),
        (Layout::Jsonl, "{}\n", "1: no \"key\""),
        (Layout::Jsonl, "{\"key\":\"a\"}\n", "1: no \"value\""),
        (Layout::Jsonl, "{\"key\":1,\"value\":\"\"}\n", "1: \"key\" is neither"),
        (Layout::Jsonl, "{\"key\":{\"b64\":\"?\"},\"value\":\"\"}\n", "1: \"key\" is not base64"),
        (Layout::Jsonl, "{\"key\":\"a\",\"value\":\"\",\"ttl\":5}\n", "1: there is no member \"ttl\""),
        (Layout::Jsonl, "key\n", "1: not a JSON object"),
    ];
    for (layout, text, expected) in cases {
        let what = read(layout, text.as_bytes()).expect_err(text);
        assert!(what.starts_with(expected), "{what}");
    }
}

#[test]
fn keys_alone_are_a_line_each() {
    let write = |layout, key: &[u8]| {
        let mut out = Vec::new();
        Writer::new(layout, true).write(key, b"value", Some(1), &mut out).map(|()| out)
    };
    assert_eq!(write(Layout::Tsv, b"a\nb"), Ok(b"a\\nb\n".to_vec()));
    assert_eq!(write(CSV, b"ab"), Ok(b"ab\n".to_vec()));
    assert_eq!(write(Layout::Jsonl, b"ab"), Ok(b"{\"key\":\"ab\"}\n".to_vec()));
}

#[test]
fn a_log_carries_deletes() {
    let mut text = Vec::new();
    roadmap_log::encode_put(b"a", b"1", &mut text);
    roadmap_log::encode_delete(b"a", &mut text);
    assert_eq!(
        read(Layout::Log, &text),
        Ok(vec![put(b"a", b"1", None), Change::Delete { key: b"a".to_vec() }])
    );
}

#[test]
fn a_key_in_a_message_is_short_and_harmless() {
    assert_eq!(shown(b"a\x1b[31m"), "a\\x1b[31m");
    assert_eq!(shown(&[b'x'; 100]), format!("{}...", "x".repeat(60)));
}

#[test]
fn a_torn_log_is_an_error() {
    let mut text = Vec::new();
    roadmap_log::encode_put(b"a", b"1", &mut text);
    let whole = text.len();
    roadmap_log::encode_put(b"b", b"2", &mut text);
    for torn in whole + 1..text.len() {
        let what = read(Layout::Log, &text[..torn]).expect_err("torn");
        assert!(what.starts_with("2: the record is torn"), "{what}");
    }
}
