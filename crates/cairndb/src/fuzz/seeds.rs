//! Seeds: small sound directories, and the inputs that fuzzing begins with.
//!
//! They are made by the engine itself, the same bytes each time, so `fuzz/corpus` can be compared with them and made
//! anew when the bytes on disk change.

use cairndb_storage::{FileKind, FileName, Memory};

use super::{Files, options};
use crate::batch::Batch;
use crate::coding::put_slice;
use crate::db::Db;
use crate::error::Result;
use crate::files::{len_of, list_files, open_file, read_at};
use crate::options::{Compression, Durability, Options};
use crate::roadmap_log::{encode_delete, encode_put};
use crate::sstable::FOOTER_LEN;
use crate::sync::{Arc, OnceLock};

/// Small sound directories, each with something that the others have not.
pub fn bases() -> &'static [Files] {
    static BASES: OnceLock<Vec<Files>> = OnceLock::new();
    BASES.get_or_init(|| {
        let made = [nothing(), levels(Compression::None), levels(Compression::Lz4), logs(), deletes()];
        made.into_iter().collect::<Result<Vec<_>>>().expect("memory keeps what it is given")
    })
}

fn open(memory: &Memory, first_id: u64, compression: Compression) -> Result<Db> {
    let options = Options { compression, ..options(first_id) };
    Db::open_with(Arc::new(memory.clone()), options)
}

/// The bytes as they stand, without the room at the end of logs.
fn files_of(memory: &Memory) -> Result<Files> {
    let mut files = Files::new();
    // A reserve is room alone.
    for name in list_files(memory, "fuzz")?.into_iter().filter(|name| name.kind != FileKind::Reserve) {
        let file = open_file(memory, name, "fuzz")?;
        let mut bytes = vec![0; len_of(file.as_ref(), name, "fuzz")? as usize];
        read_at(file.as_ref(), name, 0, &mut bytes, "fuzz")?;
        if name.kind != FileKind::SsTable {
            let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            // A payload may end in an id, and an id in zeros.
            bytes.truncate((len + size_of::<u128>()).next_multiple_of(8));
        }
        if !bytes.is_empty() {
            files.insert(name, bytes);
        }
    }
    Ok(files)
}

fn value(key: u32) -> Vec<u8> {
    key.wrapping_mul(0x9E37_79B9).to_le_bytes().repeat(3 + key as usize % 9)
}

/// A new database, closed.
fn nothing() -> Result<Files> {
    let memory = Memory::default();
    open(&memory, 10, Compression::None)?.close()?;
    files_of(&memory)
}

/// Tables at two levels, of several blocks, with every kind of entry; two keyspaces; a log that was sealed.
fn levels(compression: Compression) -> Result<Files> {
    let memory = Memory::default();
    let db = open(&memory, 20, compression)?;
    for key in 0..240_u32 {
        db.put(key.to_be_bytes(), value(key))?;
    }
    db.keyspace(3)?.put("other", "keyspace")?;
    let mut log = Vec::new();
    encode_put(b"from", b"a log", &mut log);
    db.replay_log(&log[..], None)?;
    db.compact()?;
    for key in 100..110_u32 {
        db.put(key.to_be_bytes(), value(key + 1))?;
    }
    db.put_with_expiry("expired", "long ago", 5)?;
    db.put_with_expiry("expires", "some day", u64::MAX)?;
    db.delete_range(20_u32.to_be_bytes()..30_u32.to_be_bytes())?;
    db.flush()?;
    db.delete(5_u32.to_be_bytes())?;
    db.delete_range(25_u32.to_be_bytes()..50_u32.to_be_bytes())?;
    db.flush()?;
    db.put("logged", "and closed")?;
    db.close()?;
    files_of(&memory)
}

/// Logs of which the last was not closed: batches of every kind, and a torn end.
fn logs() -> Result<Files> {
    let memory = Memory::default();
    open(&memory, 30, Compression::None)?.close()?;
    let db = open(&memory, 31, Compression::None)?;
    db.put("first", "1")?;
    db.close()?;
    let db = open(&memory, 32, Compression::None)?;
    let mut batch = Batch::new();
    batch
        .put("a", "1")
        .put_with_expiry("b", "2", 1 << 50)
        .delete("a")
        .delete_range("c".."f")
        .keyspace(3)
        .put("k", "3");
    db.write(batch)?;
    db.put("long", vec![9; 400])?;
    db.with_durability(Durability::Os).put("torn", "end")?;
    let mut files = files_of(&memory)?;
    drop(db);
    let last = files.iter_mut().rfind(|(name, _)| name.kind == FileKind::Wal);
    if let Some((_, bytes)) = last {
        bytes.truncate(bytes.len() - 24);
    }
    Ok(files)
}

/// A table of range deletes alone, over one of few entries.
fn deletes() -> Result<Files> {
    let memory = Memory::default();
    let db = open(&memory, 40, Compression::None)?;
    let held = {
        for key in ["a", "b", "c", "d"] {
            db.put(key, key)?;
        }
        db.flush()?;
        db.snapshot()?
    };
    db.delete_range("a".."c")?;
    db.delete_range("b".."d")?;
    db.flush()?;
    let files = files_of(&memory);
    drop(held);
    files
}

/// What fuzzing of `target` begins with: names and inputs.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    match target {
        "wal" => file_seeds(FileKind::Wal),
        "manifest" => file_seeds(FileKind::Manifest),
        "table" => file_seeds(FileKind::SsTable),
        "block" => block_seeds(),
        "filter" => vec![
            named("lines", [&[0; 64][..], &[0xFF; 64], &[6]].concat()),
            named("keys", b"keykeykey".to_vec()),
        ],
        "lz4" => lz4_seeds(),
        "directory" => directory_seeds(),
        "roadmap_log" => roadmap_log_seeds(),
        _ => Vec::new(),
    }
}

fn named(name: impl Into<String>, bytes: Vec<u8>) -> (String, Vec<u8>) {
    (name.into(), bytes)
}

/// The files of a kind, each to be signed: as they are, and under the number that parsers look at.
fn file_seeds(kind: FileKind) -> Vec<(String, Vec<u8>)> {
    let files =
        bases().iter().enumerate().flat_map(|(base, files)| files.iter().map(move |file| (base, file)));
    files
        .filter(|(_, (name, _))| name.kind == kind)
        .map(|(base, (name, bytes))| {
            let mut input = [&[0], &bytes[..]].concat();
            input[17..25].copy_from_slice(&1_u64.to_le_bytes());
            named(format!("base-{base}-{}", name.number), input)
        })
        .collect()
}

fn first_of(base: usize, kind: FileKind) -> (&'static FileName, &'static Vec<u8>) {
    bases()[base].iter().find(|(name, _)| name.kind == kind).expect("every base has one")
}

/// The first data block of a table, and its index.
fn block_seeds() -> Vec<(String, Vec<u8>)> {
    let (_, table) = first_of(1, FileKind::SsTable);
    let footer = &table[table.len() - FOOTER_LEN..];
    let offset = u64::from_le_bytes(footer[..8].try_into().expect("eight bytes")) as usize;
    let len = u32::from_le_bytes(footer[8..12].try_into().expect("four bytes")) as usize;
    let index = [&[0], &table[offset..offset + len]].concat();
    let mut small = vec![0];
    // Three entries, of which the second shares two bytes with the first, and one restart point.
    small.extend_from_slice(b"\0\x03\x05\x02aaav1\x02\x01\x09\x02bv2\0\x01\x04b");
    small.extend_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0]);
    vec![named("index", index), named("small", small)]
}

fn lz4_seeds() -> Vec<(String, Vec<u8>)> {
    let text = b"stone upon stone upon stone upon stone upon stone".repeat(4);
    let packed = lz4_flex::block::compress(&text);
    let input = |len: u32, packing: u8, packed: &[u8]| [&len.to_le_bytes()[..], &[packing], packed].concat();
    vec![
        named("packed", input(text.len() as u32, 1, &packed)),
        named("longer", input(text.len() as u32 + 1, 1, &packed)),
        named("bomb", input(packed.len() as u32 * 255, 1, &packed)),
        named("most", input(u32::MAX, 1, &packed)),
        named("plain", input(5, 0, b"plain")),
    ]
}

fn roadmap_log_seeds() -> Vec<(String, Vec<u8>)> {
    let mut log = vec![0];
    for key in 0..20_u32 {
        encode_put(&(key % 7).to_be_bytes(), &value(key), &mut log);
    }
    encode_delete(&3_u32.to_be_bytes(), &mut log);
    let (mut torn, mut bad) = (log.clone(), log.clone());
    torn.truncate(log.len() - 3);
    torn[0] = 1;
    bad[0] = 1;
    bad[40] ^= 1;
    vec![named("whole", log), named("torn", torn), named("bad", bad)]
}

/// Every base as it is; and of each kind of file every suspicion that one edit can raise.
fn directory_seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<_> =
        (0..bases().len()).map(|base| named(format!("base-{base}"), vec![base as u8, 0])).collect();
    for base in [1, 3] {
        let files = &bases()[base];
        for kind in [FileKind::Manifest, FileKind::SsTable, FileKind::Wal] {
            let file = index_of(files, kind);
            let mut add = |what: &str, edit: &[u8]| {
                let name = format!("{}-{base}-{what}", kind.extension());
                seeds.push(named(name, [&[base as u8, 0], edit].concat()));
            };
            add("gone", &[6, file]);
            add("empty", &[3, file, 0, 0]);
            add("cut", &[3, file, 100, 0]);
            add("of-greatest-number", &[7, file, 201, 0]);
            add("of-zero-id", &[1, file, 32, 0, 0, 3, 1, file, 40, 0, 0, 3]);
            add("of-later-manifest", &[1, file, 24, 0, 2, 3]);
            for (field, at) in [("a", 48), ("b", 56), ("c", 64)] {
                for (what, number) in [("zero", 0), ("greatest", 2), ("limit", 12)] {
                    add(&format!("field-{field}-{what}"), &[1, file, at, 0, number, 3]);
                }
            }
            let mut twice = vec![4, file, 80, 0];
            put_slice(&mut twice, &record_of(files, file));
            add("first-record-twice", &twice);
        }
    }
    seeds
}

/// The first 200 bytes behind the header of a file.
fn record_of(files: &Files, file: u8) -> Vec<u8> {
    let bytes = files.values().nth(usize::from(file)).expect("a file of this index");
    bytes.iter().copied().skip(80).take(200).collect()
}

/// The index of the first file of a kind, by which edits name it.
fn index_of(files: &Files, kind: FileKind) -> u8 {
    files.keys().position(|name| name.kind == kind).map_or(0, |index| index as u8)
}
