//! The built `cairn` as its users meet it: processes, exit codes, bytes on the two outputs, files on disk.
//!
//! # Where it sits
//! Outside: these tests know the command line's promises, and of the engine only the log that `replay` reads. Those
//! that want an optimised build and some time are named `slow_*`.

mod faults;
mod formats;
mod keys;
mod kill;
mod replay;
mod scan;
mod serve;
mod terminal;
mod trouble;
mod upkeep;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use tempfile::TempDir;

/// A place for one database, which is not made yet, and the command that is run on it.
struct Cairn {
    temporary: Rc<TempDir>,
    db: PathBuf,
}

/// What a process left behind.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: Vec<u8>,
    err: String,
}

impl Cairn {
    fn new() -> Cairn {
        let temporary = Rc::new(tempfile::tempdir().expect("a temporary directory"));
        Cairn { db: temporary.path().join("db"), temporary }
    }

    /// Another database, beside this one.
    fn beside(&self, name: &str) -> Cairn {
        Cairn { temporary: Rc::clone(&self.temporary), db: self.path(name) }
    }

    /// A path beside the database.
    fn path(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    /// Writes a file beside the database.
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file is written");
        path
    }

    fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
        command.arg("--db").arg(&self.db).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the command to its end.
    fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        finish(self.command(args).spawn().expect("cairn starts"))
    }

    /// Runs it with these bytes on standard input.
    fn run_with<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, input: &[u8]) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().expect("cairn starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let ran = finish(child);
        writer.join().expect("the input is written or refused");
        ran
    }

    /// Everything that is stored, in the form that can say all of it.
    fn dump(&self) -> String {
        self.run(["dump", "--format", "jsonl"]).ok()
    }
}

/// Waits for the process; none may ever panic.
fn finish(child: Child) -> Ran {
    let output = child.wait_with_output().expect("cairn ends");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!err.contains("panicked"), "{err}");
    Ran { code: output.status.code().unwrap_or(-1), out: output.stdout, err }
}

impl Ran {
    /// The output of a command that went well and had nothing to complain of.
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
        String::from_utf8(self.out).expect("text")
    }

    /// The message of a command that failed.
    #[track_caller]
    fn failed(self) -> String {
        assert_eq!(self.code, 2, "{self:?}");
        assert!(self.err.starts_with("cairn: ") || self.err.starts_with("error: "), "{self:?}");
        self.err
    }

    /// The same, with nothing printed before.
    #[track_caller]
    fn failed_silently(self) -> String {
        assert_eq!(self.out, b"", "{self:?}");
        self.failed()
    }
}

/// The database's files with this extension, in order.
fn files(db: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(db)
        .expect("the directory is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// Numbers that look random and are the same in every run (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
