//! Dissect: every byte has a place and a name, damage included; and what the engine reads, the page shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairndb::dissect::{Field, Part, PartKind, Question, Taken, fields, parts, search, tree};
use cairndb::storage::{File, FileKind, FileName, Memory, Storage};
use cairndb::{Batch, Compression, Db, LookPlace, Options};

/// A database that has every kind of entry, several levels, packed and unpacked blocks, and a log that is not flushed.
fn database(compression: Compression) -> (Memory, Db) {
    let memory = Memory::default();
    let options = Options {
        memory_budget_bytes: 64 << 10,
        compression,
        ..Options::new(Arc::new(|| 5_000), Arc::new(|| 77))
    };
    let db = Db::open_with(Arc::new(memory.clone()), options).unwrap();
    for round in 0..4 {
        for number in (0..300).step_by(1 + round) {
            let value = format!("{round} {number} {}", "stone ".repeat(number % 9));
            db.put(format!("key {number:04}"), value).unwrap();
        }
        let mut batch = Batch::new();
        batch.delete(format!("key {:04}", 7 * round)).put("", "an empty key").put("empty", "");
        batch.keyspace(9).put_with_expiry("soon", "gone", 9_000).put(vec![0xFF; 300], vec![7; 6000]);
        batch.keyspace(0).delete_range(format!("key 02{round}0")..format!("key 02{round}5"));
        db.write(batch).unwrap();
        db.flush().unwrap();
        if round == 1 {
            db.compact().unwrap();
        }
    }
    db.put("key 0001", "newest").unwrap();
    db.delete("key 0002").unwrap();
    db.delete_range("key 0005".."key 0009").unwrap();
    (memory, db)
}

fn files(memory: &Memory) -> BTreeMap<FileName, Vec<u8>> {
    let names = memory.list("test").unwrap();
    names.into_iter().map(|name| (name, bytes_of(&memory.open("test", name).unwrap()))).collect()
}

fn bytes_of(file: &Arc<dyn File>) -> Vec<u8> {
    let mut bytes = vec![0; file.len("test").unwrap() as usize];
    file.read_at("test", 0, &mut bytes).unwrap();
    bytes
}

fn file_of(name: FileName, bytes: &[u8]) -> Arc<dyn File> {
    let (_, file) = Memory::default().create("test", name.kind, name.number - 1).unwrap();
    file.append("test", 0, bytes).unwrap();
    file
}

/// Takes a file apart, and holds it to the promise that nothing is left out.
fn whole(file: &Arc<dyn File>, name: FileName) -> Vec<(Part, Taken)> {
    let mut next = 0;
    let mut all = Vec::new();
    for part in parts(file, name).unwrap() {
        assert_eq!(part.offset, next, "{name}: {part:?}");
        next += part.len;
        let taken = fields(file, name, &part).unwrap();
        cover(&taken.stored, part.offset, part.len, name);
        if let Some((bytes, fields)) = &taken.unpacked {
            cover(fields, 0, bytes.len() as u64, name);
        }
        all.push((part, taken));
    }
    assert_eq!(next, file.len("test").unwrap(), "{name}");
    all
}

/// The innermost fields follow one another, and the outer ones hold them.
fn cover(fields: &[Field], offset: u64, len: u64, name: FileName) {
    let mut next = offset;
    for (index, field) in fields.iter().enumerate() {
        let is_outer = fields.get(index + 1).is_some_and(|inner| inner.depth > field.depth);
        assert_eq!(field.offset, next, "{name}: {field:?}");
        if !is_outer {
            next += field.len;
        }
        assert!(field.offset + field.len <= offset + len, "{name}: {field:?}");
    }
    assert_eq!(next, offset + len, "{name}");
}

fn damages(all: &[(Part, Taken)]) -> Vec<String> {
    let of_fields =
        |fields: &[Field]| fields.iter().filter_map(|field| field.damage.clone()).collect::<Vec<_>>();
    let mut found = Vec::new();
    for (part, taken) in all {
        found.extend(part.damage.clone());
        found.extend(of_fields(&taken.stored));
        found.extend(taken.unpacked.iter().flat_map(|(_, fields)| of_fields(fields)));
    }
    found
}

#[test]
fn every_byte_has_a_name_and_entries_are_those_that_inspect_prints() {
    for compression in [Compression::None, Compression::Lz4] {
        let (memory, _db) = database(compression);
        let mut kinds = Vec::new();
        for name in memory.list("test").unwrap() {
            let file = memory.open("test", name).unwrap();
            let all = whole(&file, name);
            assert_eq!(damages(&all), [""; 0], "{name}");
            let mut seen = Vec::new();
            for (part, taken) in &all {
                kinds.push(part.kind);
                let is_inside = part.kind == PartKind::Record || part.kind == PartKind::Data;
                let fields = taken.unpacked.as_ref().map_or(&taken.stored, |(_, fields)| fields);
                let entry = ["put", "delete", "put with expiry", "range delete"];
                let told = fields.iter().filter(|field| is_inside && entry.contains(&field.name));
                seen.extend(told.map(|field| format!("{} {}", field.name, field.value)));
            }
            let mut printed = Vec::new();
            cairndb::inspect(file, name, &mut printed).unwrap();
            let printed = String::from_utf8(printed).unwrap();
            let entries: Vec<String> = printed
                .lines()
                .filter(|line| line.contains(" @") && !line.starts_with("block") && !line.contains("@["))
                .map(|line| {
                    line.trim().split_once("  ").unwrap().1.split_whitespace().collect::<Vec<_>>().join(" ")
                })
                .collect();
            let seen: Vec<String> =
                seen.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
            assert_eq!(seen, entries, "{name}");
        }
        use PartKind::{Bounds, Data, Filter, Footer, Header, Index, RangeDeletes, Record, Room};
        for kind in [Header, Record, Data, Filter, Index, RangeDeletes, Bounds, Footer, Room] {
            assert!(kinds.contains(&kind), "{kind:?}");
        }
    }
}

/// The page that defines the format takes a log apart by hand. Each of its rows is a field here, or begins a part.
#[test]
fn the_worked_example_of_the_format_reads_as_the_page_says() {
    let page = include_str!("../../../../FORMAT.md");
    let (_, example) = page.split_once("## A WAL, byte by byte").unwrap();
    let dump = example.split("```").nth(1).unwrap();
    let byte = |text: &str| u8::from_str_radix(text, 16).unwrap();
    let mut bytes: Vec<u8> =
        dump.lines().flat_map(|line| line.split_whitespace().skip(1)).map(byte).collect();
    bytes.resize(4096, 0);
    let name: FileName = "000001.wal".parse().unwrap();
    let all = whole(&file_of(name, &bytes), name);
    assert_eq!(damages(&all), [""; 0]);
    let found: Vec<Field> = all.iter().flat_map(|(_, taken)| taken.stored.clone()).collect();
    let cells = example.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
    let offsets: Vec<u64> =
        cells.filter_map(|(cell, _)| u64::from_str_radix(cell.trim_matches('*'), 16).ok()).collect();
    assert!(offsets.len() > 30, "{offsets:?}");
    for offset in offsets {
        assert!(found.iter().any(|field| field.offset == offset), "nothing begins at {offset:02x}");
    }
    let says = |offset: u64, name: &str| {
        let field = found.iter().find(|field| (field.offset, field.name) == (offset, name));
        field.map(|field| field.value.as_str())
    };
    assert_eq!(says(0x20, "id"), Some("0f0e0d0c0b0a09080706050403020100"));
    assert_eq!(says(0x68, "vouched offset"), Some("80"));
    assert_eq!(says(0x7c, "put"), Some(r#"0/"a" @1 = "1""#));
    assert_eq!(says(0xb4, "delete"), Some(r#"0/"a" @2"#));
    assert_eq!(says(0xb8, "put with expiry"), Some(r#"0/"bb" @3 = "22" until 5000"#));
    assert_eq!(says(0xd4, "kind"), Some("3: close"));
}

/// The golden files of every format that was declared.
#[test]
fn golden_files_are_taken_apart_to_the_last_byte() {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/1");
    let mut count = 0;
    for directory in ["backup", "closed", "crashed"] {
        let storage = cairndb::storage::Native::read_only(golden.join(directory)).unwrap();
        for name in storage.list("test").unwrap() {
            let all = whole(&storage.open("test", name).unwrap(), name);
            let is_torn = directory == "crashed" && name.kind == FileKind::Wal;
            assert!(damages(&all).is_empty() || is_torn, "{directory}/{name}: {:?}", damages(&all));
            count += 1;
        }
    }
    assert!(count > 25, "{count}");
}

#[test]
fn every_changed_byte_is_shown_as_damage_and_nothing_panics() {
    let (memory, _db) = database(Compression::Lz4);
    for (name, bytes) in files(&memory) {
        if name.kind == FileKind::Reserve {
            continue;
        }
        let is_padding = |offset: u64| {
            let file = file_of(name, &bytes);
            let part =
                parts(&file, name).unwrap().into_iter().find(|part| part.offset + part.len > offset).unwrap();
            let field = fields(&file, name, &part)
                .unwrap()
                .stored
                .into_iter()
                .rev()
                .find(|f| f.offset <= offset)
                .unwrap();
            part.kind == PartKind::Record && field.name == "zero" && field.offset + 8 > part.offset + part.len
        };
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let offsets = (0..written.min(200)).chain((200..written).step_by(61)).chain([bytes.len() - 1]);
        for offset in offsets {
            let mut changed = bytes.clone();
            changed[offset] ^= 0x10;
            let all = whole(&file_of(name, &changed), name);
            assert!(!damages(&all).is_empty() || is_padding(offset as u64), "{name} at {offset}");
        }
        for len in [0, 1, 79, 80, 81, 100, bytes.len() / 2, bytes.len() - 1] {
            whole(&file_of(name, &bytes[..len.min(bytes.len())]), name);
        }
        let noise: Vec<u8> = (0..3000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert!(!damages(&whole(&file_of(name, &noise), name)).is_empty());
    }
}

/// Checksums keep most strange bytes from the readers. Here they are right over bytes that no writer writes.
#[test]
fn strange_bytes_under_right_checksums_are_taken_apart_too() {
    let take_apart = |files: &cairndb::fuzz::Files| {
        let memory = Memory::default();
        for (name, bytes) in files {
            let (_, file) = memory.create("test", name.kind, name.number - 1).unwrap();
            file.append("test", 0, bytes).unwrap();
            whole(&file, *name);
        }
        tree(&memory).unwrap();
        for key in [&b""[..], b"a", b"key 0001", b"k", &[0xFF; 9]] {
            search(&memory, 0, key).unwrap();
        }
    };
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..4_000 {
        let input: Vec<u8> = (0..40)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        take_apart(&cairndb::fuzz::read_input(&input));
    }
    for base in cairndb::fuzz::bases() {
        cairndb::fuzz::lying_lengths(base).iter().for_each(|(_, files)| take_apart(files));
    }
}

#[test]
fn a_search_answers_what_a_read_does_and_looks_at_the_same_blocks() {
    for compression in [Compression::None, Compression::Lz4] {
        let (memory, db) = database(compression);
        let mut keys: Vec<String> = (0..310).map(|number| format!("key {number:04}")).collect();
        keys.extend(["".into(), "empty".into(), "not there".into(), "zzz".into()]);
        for key in keys {
            let found = search(&memory, 0, key.as_bytes()).unwrap();
            let is_value = found.answer.as_ref().is_some_and(|answer| answer.starts_with("put"));
            assert_eq!(is_value, db.get(&key).unwrap().is_some(), "{key}: {found:?}");
            let looks = db.explain(&key).unwrap();
            let blocks: Vec<(u64, u64)> = looks
                .iter()
                .filter_map(|look| match (look.place, look.block) {
                    (LookPlace::Table { number, .. }, Some(block)) => Some((number, block.offset)),
                    _ => None,
                })
                .collect();
            let seen =
                found.sights.iter().filter(|sight| sight.question == Question::Block && !sight.is_beyond);
            assert_eq!(
                seen.map(|sight| (sight.file.number, sight.offset)).collect::<Vec<_>>(),
                blocks,
                "{key}"
            );
            for sight in &found.sights {
                assert!(!sight.is_damage, "{sight:?}");
                points_at_what_it_says(&memory, sight);
            }
        }
    }
}

/// The bytes that a sight points to are a field of the file, and an entry's field says what the sight does.
fn points_at_what_it_says(memory: &Memory, sight: &cairndb::dissect::Sight) {
    if sight.question != Question::Entry || sight.answer == "it is not in the block" {
        return;
    }
    let file = memory.open("test", sight.file).unwrap();
    let at = sight.packed_in.unwrap_or(sight.offset);
    let part =
        parts(&file, sight.file).unwrap().into_iter().find(|part| part.offset + part.len > at).unwrap();
    let taken = fields(&file, sight.file, &part).unwrap();
    let fields = if sight.packed_in.is_some() { taken.unpacked.unwrap().1 } else { taken.stored };
    let field = fields.iter().find(|field| (field.offset, field.len) == (sight.offset, sight.len)).unwrap();
    assert_eq!(format!("{} {}", field.name, field.value), sight.answer);
}

#[test]
fn a_tree_is_shown_of_a_damaged_database_too() {
    let (memory, _db) = database(Compression::None);
    let sound = tree(&memory).unwrap();
    assert!(sound.doubt.is_none() && sound.tables.iter().all(|table| table.damage.is_none()), "{sound:?}");
    assert!(
        sound.tables.iter().any(|table| table.level == 0) && sound.tables.iter().any(|table| table.level > 0)
    );
    memory.remove("test", sound.tables[0].file).unwrap();
    let torn = tree(&memory).unwrap();
    assert_eq!(torn.tables[0].damage.as_deref(), Some("the file is not there"));
    let found = search(&memory, 0, b"key 0100").unwrap();
    assert!(found.sights.iter().any(|sight| sight.is_damage), "{found:?}");
    memory.remove("test", sound.manifest.unwrap()).unwrap();
    assert_eq!(tree(&memory).unwrap().doubt.as_deref(), Some("there is no manifest"));
}
