//! A directory: what it refuses, with which rights it makes files, and who is kept out by whom.

use crate::wal;
use cairndb_storage::{FileKind, LockError, LockMode, Native, Storage};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

const SITE: &str = "test";

/// Every entry of a directory with its bytes, to see that nothing changed.
fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(path).unwrap_or_default())).collect()
}

/// A database with one file.
fn database() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("db");
    let native = Native::create(&path).unwrap();
    native.create(SITE, FileKind::Wal, 0).unwrap().1.append(SITE, 0, b"bytes").unwrap();
    (parent, path)
}

#[test]
fn directory_and_files_belong_to_their_owner_alone() {
    let (_parent, path) = database();
    let _lock = Native::open(&path).unwrap().lock(SITE, LockMode::Exclusive).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("000001.wal")), 0o600);
    assert_eq!(mode(&path.join("LOCK")), 0o600);
}

#[test]
fn create_makes_the_last_part_of_the_path_alone() {
    let parent = tempfile::tempdir().unwrap();
    let error = Native::create(parent.path().join("absent/db")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("absent/db"), "{error}");
    assert_eq!(contents(parent.path()).len(), 0);

    Native::create(parent.path().join("db")).unwrap();
    Native::create(parent.path().join("db")).expect("an empty directory will do");
}

#[test]
fn open_wants_a_database_and_makes_none() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("db");
    for _ in 0..2 {
        for error in [Native::open(&path).unwrap_err(), Native::read_only(&path).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert_eq!(error.to_string(), format!("no database at {}", path.display()));
        }
        // Once with no directory, once with an empty one.
        let _ = fs::create_dir(&path);
        assert_eq!(contents(&path).len(), 0);
    }
}

#[test]
fn a_file_is_not_a_database() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for refused in [Native::create(file.path()), Native::open(file.path()), Native::read_only(file.path())] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotADirectory);
        assert!(error.to_string().contains("a file, not a directory"), "{error}");
    }
}

#[test]
fn other_peoples_directories_are_refused_and_left_alone() {
    for (files, named) in [
        (vec!["notes.txt", "zebra.txt"], "notes.txt"),
        (vec!["1.wal"], "1.wal"),
        // What LevelDB and its descendants leave: names that look like ours, and one that never is.
        (vec!["CURRENT", "LOCK", "000012.sst"], "CURRENT"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(directory.path().join(file), "theirs").unwrap();
        }
        let before = contents(directory.path());
        let path = directory.path();
        for refused in [Native::create(path), Native::open(path), Native::read_only(path)] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let text = format!("not a Cairn database: it holds {named}");
            assert!(error.to_string().contains(&text), "{error}");
        }
        assert_eq!(contents(path), before);
    }
}

#[test]
fn strangers_beside_a_database_are_neither_listed_nor_in_the_way() {
    let (_parent, path) = database();
    fs::write(path.join("notes.txt"), "mine").unwrap();
    fs::write(path.join("2.wal"), "not a name of ours").unwrap();
    let native = Native::open(&path).unwrap();
    assert_eq!(native.list(SITE).unwrap(), [wal(1)]);
    assert_eq!(native.path(), Some(&*path));
}

#[test]
fn links_out_of_the_directory_are_refused() {
    let (parent, path) = database();
    let (victim, empty) = (parent.path().join("victim"), parent.path().join("empty"));
    fs::write(&victim, "not ours").unwrap();
    fs::write(&empty, "").unwrap();
    symlink(&victim, path.join("000002.wal")).unwrap();
    symlink(&empty, path.join("000003.wal")).unwrap();
    symlink(parent.path().join("absent"), path.join("000004.wal")).unwrap();
    let native = Native::open(&path).unwrap();
    for number in 2..=4 {
        for error in [
            native.open(SITE, wal(number)).err().unwrap(),
            native.create(SITE, FileKind::Wal, number - 1).err().unwrap(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let text = format!("00000{number}.wal: not a file but a symbolic link");
            assert!(error.to_string().contains(&text), "{error}");
        }
    }
    symlink(&victim, path.join("LOCK")).unwrap();
    assert!(matches!(native.lock(SITE, LockMode::Exclusive), Err(LockError::Io(_))));
    assert!(matches!(native.lock(SITE, LockMode::Shared), Err(LockError::Io(_))));

    assert_eq!(fs::read(victim).unwrap(), b"not ours");
    assert!(!parent.path().join("absent").exists());
}

#[test]
fn only_regular_files_are_opened() {
    let (_parent, path) = database();
    fs::create_dir(path.join("000002.wal")).unwrap();
    let native = Native::open(&path).unwrap();
    let error = native.open(SITE, wal(2)).err().unwrap();
    assert!(error.to_string().contains("not a file but a directory"), "{error}");
    let made = Command::new("mkfifo").arg(path.join("000003.wal")).status();
    if made.is_ok_and(|status| status.success()) {
        let error = native.open(SITE, wal(3)).err().unwrap();
        assert!(error.to_string().contains("pipe"), "without waiting for a writer: {error}");
    }
}

#[test]
fn a_reader_changes_nothing() {
    let (_parent, path) = database();
    let before = contents(&path);
    let reader = Native::read_only(&path).unwrap();
    let errors = [
        reader.create(SITE, FileKind::Wal, 1).err().unwrap(),
        reader.remove(SITE, wal(1)).unwrap_err(),
        reader.sync_names(SITE).unwrap_err(),
        reader.link(SITE, wal(1), &reader).unwrap_err(),
        match reader.lock(SITE, LockMode::Exclusive) {
            Err(LockError::Io(error)) => error,
            other => panic!("{other:?}"),
        },
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem, "{error}");
    }
    let _lock = reader.lock(SITE, LockMode::Shared).expect("without a LOCK, a lock that holds nothing");
    assert_eq!(reader.list(SITE).unwrap(), [wal(1)]);
    assert_eq!(contents(&path), before);
}

#[test]
fn a_file_opened_for_reading_takes_no_bytes() {
    let (_parent, path) = database();
    let native = Native::open(&path).unwrap();
    let file = native.open(SITE, wal(1)).unwrap();
    for error in [file.append(SITE, 5, b"!").unwrap_err(), file.reserve(SITE, 99).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("000001.wal"), "{error}");
    }
    assert_eq!(file.len(SITE).unwrap(), 5);
}

#[test]
fn reserve_writes_its_zeros() {
    use std::os::unix::fs::MetadataExt;
    let (_parent, path) = database();
    let native = Native::open(&path).unwrap();
    let (_, file) = native.create(SITE, FileKind::Wal, 1).unwrap();
    file.reserve(SITE, 300_000).unwrap();
    file.sync(SITE).unwrap();
    let found = fs::metadata(path.join("000002.wal")).unwrap();
    assert_eq!(found.len(), 300_000);
    assert!(found.blocks() * 512 >= 300_000, "a hole was left: {} blocks", found.blocks());
}

#[test]
fn link_gives_another_directory_the_same_file() {
    let (parent, path) = database();
    let source = Native::open(&path).unwrap();
    let target = Native::create(parent.path().join("copy")).unwrap();
    assert!(target.link(SITE, wal(1), &source).unwrap());
    source.remove(SITE, wal(1)).unwrap();
    let mut bytes = [0; 5];
    target.open(SITE, wal(1)).unwrap().read_at(SITE, 0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"bytes");

    assert_eq!(target.link(SITE, wal(9), &source).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!target.link(SITE, wal(1), &cairndb_storage::Memory::default()).unwrap(), "memory has no path");
    symlink(parent.path().join("copy/000001.wal"), path.join("000007.wal")).unwrap();
    assert_eq!(target.link(SITE, wal(7), &source).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_lock_names_the_process_that_holds_it() {
    let (_parent, path) = database();
    let native = Native::open(&path).unwrap();
    // An older and longer text in the file must not show through.
    drop(native.lock(SITE, LockMode::Exclusive).unwrap());

    let mut writer = Holder::start(&path, LockMode::Exclusive);
    let expected = format!("process {}", writer.process.id());
    assert_eq!(holder(native.lock(SITE, LockMode::Exclusive)), expected);
    assert_eq!(holder(Native::read_only(&path).unwrap().lock(SITE, LockMode::Shared)), expected);
    writer.process.kill().unwrap();
    writer.process.wait().unwrap();
    drop(native.lock(SITE, LockMode::Exclusive).expect("a killed process gives its lock back"));

    let mut reader = Holder::start(&path, LockMode::Shared);
    assert_eq!(holder(native.lock(SITE, LockMode::Exclusive)), "a reader");
    drop(native.lock(SITE, LockMode::Shared).expect("readers share"));
    drop(reader.stdin.take());
    assert!(reader.process.wait().unwrap().success());
    native.lock(SITE, LockMode::Exclusive).unwrap();
}

fn holder<T>(locked: Result<T, LockError>) -> String {
    match locked {
        Ok(_) => panic!("got the lock that another process holds"),
        Err(LockError::Held(who)) => who,
        Err(LockError::Io(error)) => panic!("{error}"),
    }
}

const HELD_PATH: &str = "CAIRN_TEST_HELD_PATH";
const HELD_MODE: &str = "CAIRN_TEST_HELD_MODE";

/// Another process, this same program, that holds a lock until its input ends.
struct Holder {
    process: Child,
    stdin: Option<ChildStdin>,
}

impl Holder {
    fn start(path: &Path, mode: LockMode) -> Holder {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "native::hold_a_lock_for_another_process", "--ignored", "--nocapture"])
            .env(HELD_PATH, path)
            .env(HELD_MODE, if mode == LockMode::Shared { "shared" } else { "exclusive" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut lines = output.lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("holding")), "the other process did not get the lock");
        // The rest of its output must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Holder { process, stdin }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The other process's work. Run on its own, it finds nobody waiting, and passes.
#[test]
#[ignore = "run by other tests, as another process"]
fn hold_a_lock_for_another_process() {
    let Ok(path) = std::env::var(HELD_PATH) else { return };
    let mode = match std::env::var(HELD_MODE).as_deref() {
        Ok("shared") => LockMode::Shared,
        _ => LockMode::Exclusive,
    };
    let _lock = Native::open(path).unwrap().lock(SITE, mode).unwrap();
    println!("\nholding");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}
