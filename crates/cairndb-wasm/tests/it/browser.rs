//! The browser's side: the contract of storage, the script, and what is the browser's own.

use std::sync::Arc;

use cairndb::storage::{FileKind, FileName, Storage, conformance};
use cairndb::{Db, Error, Options};
use cairndb_wasm::{OpenError, Opfs, PAGE_LEN, open_on, take_memory};
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

use crate::script::{COUNTS, Files, Map, Step, apply, compare, files_of, note, options, steps, unpack};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// What the native side has left; see native.rs.
const NATIVE: [&[u8]; 2] = [
    include_bytes!(concat!(env!("CARGO_TARGET_TMPDIR"), "/../../tmp/same-bytes-0.bin")),
    include_bytes!(concat!(env!("CARGO_TARGET_TMPDIR"), "/../../tmp/same-bytes-1.bin")),
];

/// Numbers that the checks of storage ask for.
const ASKED_FOR: [u64; 9] = [1, 2, 3, 4, 7, 20, 41, 999_999, 1_000_000];

#[wasm_bindgen_test]
async fn it_is_a_storage_as_every_other() {
    for (index, (name, check)) in conformance::CHECKS.into_iter().enumerate() {
        console_log!("{name}");
        let opfs = Opfs::open(&format!("conformance {index}")).await.unwrap();
        for kind in FileKind::ALL {
            for number in ASKED_FOR {
                opfs.make_spare(FileName { kind, number }).await.unwrap();
            }
        }
        let storage: Arc<dyn Storage> = Arc::new(opfs);
        check(&storage);
    }
}

/// The script's database in a directory of the browser.
struct Session {
    name: &'static str,
    opfs: Opfs,
    db: Db,
}

impl Session {
    async fn begin(name: &'static str, step: usize) -> Session {
        let opfs = Opfs::open(name).await.unwrap();
        let db = open_on(&opfs, &options(step)).await.unwrap();
        Session { name, opfs, db }
    }

    async fn take(&mut self, number: usize, step: &Step) {
        match step {
            Step::Close | Step::Crash => {
                let fresh = || Session::begin(self.name, number);
                if matches!(step, Step::Close) {
                    self.db.close().unwrap();
                }
                self.opfs.close();
                let fresh = fresh().await;
                // Its files are closed under it: it can neither write nor seal anything more.
                std::mem::forget(std::mem::replace(self, fresh));
            }
            step => loop {
                match apply(&self.db, step) {
                    Err(Error::Busy { .. }) => {}
                    done => {
                        done.unwrap();
                        break;
                    }
                }
                self.opfs.top_up().await.unwrap();
            },
        }
        self.opfs.top_up().await.unwrap();
    }
}

fn require_same(files: &Files, native: &Files) {
    let told = |files: &Files| {
        let names = files.iter().map(|(name, bytes)| format!("{name} {}", bytes.len()));
        names.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(told(files), told(native));
    for ((name, bytes), (_, native)) in files.iter().zip(native) {
        let differs = bytes.iter().zip(native).position(|(byte, native)| byte != native);
        assert_eq!(differs, None, "{name}: the first byte that differs");
    }
}

/// 20,000 operations with flushes, compactions, checkpoints, crashes and reopens leave the files that they leave natively;
/// and 4,000 more in the native directory, moved here, what they leave there.
#[wasm_bindgen_test]
async fn the_same_script_leaves_the_same_bytes() {
    let (mut session, mut map) = (Session::begin("script", 0).await, Map::new());
    for (number, step) in steps(0, COUNTS[0]) {
        session.take(number, &step).await;
        note(&mut map, &step);
        if matches!(step, Step::Close | Step::Crash) {
            compare(&session.db, &map);
        }
    }
    session.db.close().unwrap();
    let native = unpack(NATIVE[0]);
    require_same(&files_of(&session.opfs), &native);
    console_log!("{} files of {} bytes are the same", native.len(), NATIVE[0].len());

    let moved = Opfs::open("moved").await.unwrap();
    for (name, bytes) in &native {
        moved.make_spare(*name).await.unwrap();
        let (_, file) = moved.create("test", name.kind, name.number - 1).unwrap();
        file.append("test", 0, bytes).unwrap();
        file.sync("test").unwrap();
    }
    moved.close();
    let mut session = Session::begin("moved", COUNTS[0]).await;
    compare(&session.db, &map);
    for (number, step) in steps(COUNTS[0], COUNTS[1]) {
        session.take(number, &step).await;
        note(&mut map, &step);
    }
    compare(&session.db, &map);
    session.db.close().unwrap();
    require_same(&files_of(&session.opfs), &unpack(NATIVE[1]));
}

/// Spares that are left from one session are those of the next: there are never more of them.
#[wasm_bindgen_test]
async fn every_open_left_more_empty_files_behind() {
    let mut counts = Vec::new();
    for round in 0..16 {
        let session = Session::begin("reopened", round * 10).await;
        session.db.put("key", "value").unwrap();
        session.db.close().unwrap();
        assert!(!session.opfs.wants_top_up(), "an open ends with its spares made");
        session.opfs.close();
        let left = Opfs::open("reopened").await.unwrap();
        counts.push(left.file_count() - left.list("test").unwrap().len());
    }
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

#[wasm_bindgen_test]
async fn a_directory_that_is_open_is_locked() {
    let first = Opfs::open("locked").await.unwrap();
    assert!(matches!(Opfs::open("locked").await, Err(OpenError::Held)));
    first.close();
    assert!(Opfs::open("locked").await.is_ok());
}

/// Without spares a put goes on to the hard limit and is then told `Busy`; with them it goes on.
#[wasm_bindgen_test]
async fn without_spares_nothing_is_lost() {
    let session = Session::begin("no spares", 0).await;
    let mut count = 0_u64;
    let refused = loop {
        match session.db.put(count.to_be_bytes(), [7; 500]) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Busy { .. }), "{refused}");
    assert_eq!(session.db.scan(..).count() as u64, count);
    session.opfs.top_up().await.unwrap();
    session.db.put(count.to_be_bytes(), [7; 500]).unwrap();
    session.opfs.close();
    std::mem::forget(session);
    let session = Session::begin("no spares", 100).await;
    assert_eq!(session.db.scan(..).count() as u64, count + 1);
}

/// What an instance takes at its beginning, the budget and a little, is all it ever takes, whatever is written.
#[wasm_bindgen_test]
async fn memory_stays_flat() {
    const BUDGET: u64 = 8 << 20;
    take_memory(core::arch::wasm32::memory_size(0) as u64 * PAGE_LEN + BUDGET + (2 << 20));
    let opfs = Opfs::open("flat").await.unwrap();
    let options = Options { memory_budget_bytes: BUDGET, ..options(0) };
    let db = open_on(&opfs, &options).await.unwrap();
    let pages = || core::arch::wasm32::memory_size(0);
    let (before, mut after) = (pages(), Vec::new());
    for round in 0..6_u64 {
        for number in 0..30_000_u64 {
            let key = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes();
            while let Err(error) =
                db.with_durability(cairndb::Durability::Os).put(key, vec![round as u8; 400])
            {
                assert!(matches!(error, Error::Busy { .. }), "{error}");
                opfs.top_up().await.unwrap();
            }
            if number % 64 == 0 {
                drop(db.maintain_due());
                opfs.top_up().await.unwrap();
            }
        }
        assert_eq!(db.scan(..).count(), 30_000);
        after.push(pages());
    }
    console_log!("{before} pages before, {after:?} after each round");
    assert!(after.iter().all(|pages| *pages == before), "{before}, {after:?}");
}
