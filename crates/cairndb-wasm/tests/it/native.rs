//! The native side: the script over a directory. What it wrote is left for the browser's side.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairndb::Db;
use cairndb::storage::Native;

use crate::script::{COUNTS, Map, Step, apply, compare, files_of, note, options, pack, steps};

/// A database in a directory, which goes on in a copy of it after a crash: the lock on the old one is still held.
struct Session {
    root: tempfile::TempDir,
    path: PathBuf,
    crashes: usize,
    db: Db,
}

impl Session {
    fn begin() -> Session {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("0");
        let db = open(&path, 0);
        Session { root, path, crashes: 0, db }
    }

    fn take(&mut self, number: usize, step: &Step) {
        match step {
            Step::Close => {
                self.db.close().unwrap();
                self.db = open(&self.path, number);
            }
            Step::Crash => {
                self.crashes += 1;
                let copy = self.root.path().join(self.crashes.to_string());
                copy_files(&self.path, &copy);
                self.path = copy;
                std::mem::forget(std::mem::replace(&mut self.db, open(&self.path, number)));
            }
            step => apply(&self.db, step).unwrap(),
        }
    }
}

fn open(path: &Path, step: usize) -> Db {
    Db::open_with(Arc::new(Native::create(path).unwrap()), options(step)).unwrap()
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn the_script_leaves_its_bytes_for_the_browser() {
    let (mut session, mut map, mut from) = (Session::begin(), Map::new(), 0);
    for (part, count) in COUNTS.into_iter().enumerate() {
        for (number, step) in steps(from, count) {
            session.take(number, &step);
            note(&mut map, &step);
            if matches!(step, Step::Close | Step::Crash) {
                compare(&session.db, &map);
            }
        }
        from += count;
        session.db.close().unwrap();
        let files = files_of(&Native::open(&session.path).unwrap());
        let stats = session.db.stats();
        assert!(files.len() > 4 && stats.levels[1..].iter().any(|level| level.tables > 0), "{stats}");
        let left = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("same-bytes-{part}.bin"));
        std::fs::write(left, pack(&files)).unwrap();
        session.db = open(&session.path, from);
    }
    compare(&session.db, &map);
}
