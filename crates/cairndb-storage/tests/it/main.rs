//! The storages from outside: the one conformance suite over each, and then what each promises alone.
#![expect(clippy::disallowed_methods, reason = "tests look at directories from outside, and start threads")]

mod faulty;
#[cfg(unix)]
mod native;

use cairndb_storage::{Faulty, FileKind, FileName, Memory, conformance};
use std::sync::Arc;

#[test]
fn memory_conforms() {
    conformance::run(&mut || Arc::new(Memory::default()));
}

#[test]
fn faulty_conforms_when_nothing_is_asked_of_it() {
    conformance::run(&mut || Arc::new(Faulty::default()));
}

#[test]
fn a_disk_found_after_a_crash_or_a_kill_conforms() {
    conformance::run(&mut || Arc::new(Faulty::default().crash(7)));
    conformance::run(&mut || Arc::new(Faulty::default().kill()));
}

#[cfg(unix)]
#[test]
fn native_conforms() {
    let parent = tempfile::tempdir().unwrap();
    let mut count = 0;
    conformance::run(&mut || {
        count += 1;
        Arc::new(cairndb_storage::Native::create(parent.path().join(count.to_string())).unwrap())
    });
}

#[test]
fn names_have_one_spelling() {
    for text in ["000001.wal", "999999.sst", "1000000.manifest", "18446744073709551615.wal"] {
        assert_eq!(text.parse::<FileName>().unwrap().to_string(), text);
    }
    for text in
        ["", "LOCK", "000000.wal", "1.wal", "0000001.wal", "+00001.wal", "000001.WAL", "000001.wal.bak"]
    {
        assert!(text.parse::<FileName>().is_err(), "{text}");
    }
}

fn wal(number: u64) -> FileName {
    FileName { kind: FileKind::Wal, number }
}
