//! Failure: why a command did not do what it was asked to, and how that is told.
//!
//! The engine's error says what happened and where; the person who typed the command also wants to know what to do.
//! That second line is added here, one for each kind of error, so that no command has to think of it.
//!
//! # Where it sits
//! Returned by every command, reported once by `main`.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use cairndb::Error;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no such key: exit 1.
    MissingKey,
    /// The server that was asked is not well, or not there: exit 1.
    Unwell(String),
    /// Whoever read our output has gone: exit 0, without a word.
    ClosedPipe,
    /// The engine says no: exit 2.
    Engine(Error),
    /// Anything else, in full sentences: exit 2.
    Told {
        /// What happened, and where.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl Failure {
    /// What happened, where the message says it all.
    pub(crate) fn told(what: impl fmt::Display) -> Failure {
        Failure::Told { what: what.to_string(), hint: None }
    }

    /// What happened, and what to do.
    pub(crate) fn hinted(what: impl fmt::Display, hint: impl fmt::Display) -> Failure {
        Failure::Told { what: what.to_string(), hint: Some(hint.to_string()) }
    }

    /// An error of the operating system's about the file at `path`.
    pub(crate) fn file(path: &Path, error: impl fmt::Display) -> Failure {
        Failure::told(format!("{}: {error}", path.display()))
    }

    /// The same, told of the database in `dir`: the engine knows names within its directory only.
    pub(crate) fn located(self, dir: &Path) -> Failure {
        match self {
            Failure::Engine(Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
                Failure::ClosedPipe
            }
            Failure::Engine(error) => Failure::Told { what: describe(&error, dir), hint: hint(&error, dir) },
            other => other,
        }
    }

    /// Says on standard error what happened, and gives the exit code.
    pub(crate) fn report(self, dir: &Path) -> ExitCode {
        match self.located(dir) {
            Failure::ClosedPipe => ExitCode::SUCCESS,
            Failure::MissingKey => {
                say("cairn: no such key");
                ExitCode::from(1)
            }
            Failure::Unwell(why) => {
                say(format_args!("cairn: {why}"));
                ExitCode::from(1)
            }
            Failure::Engine(error) => unreachable!("{error} was located"),
            Failure::Told { what, hint } => {
                say(format_args!("cairn: {what}"));
                if let Some(hint) = hint {
                    say(format_args!("       {hint}"));
                }
                ExitCode::from(2)
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Engine(error)
    }
}

/// A line on standard error. If nobody reads that either, there is nobody to tell.
pub(crate) fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The error with its file's whole path.
fn describe(error: &Error, dir: &Path) -> String {
    match error {
        Error::Corrupt { .. } => format!("{}/{error}", dir.display()),
        Error::Locked { .. } => format!("{}: {error}", dir.display()),
        _ => error.to_string(),
    }
}

fn hint(error: &Error, dir: &Path) -> Option<String> {
    let dir = dir.display();
    Some(match error {
        Error::Io { .. } => "once the cause is gone, run the command again".into(),
        Error::Corrupt { .. } => {
            format!("`cairn verify --db {dir}` lists all damage; a backup is the way back, or `cairn repair`")
        }
        Error::DiskFull { .. } => "nothing was written; make room and run the command again".into(),
        Error::Busy { .. } => "nothing was written; run the command again".into(),
        Error::Locked { .. } => "wait until it is done, or stop it; then run the command again".into(),
        Error::Stopped { .. } => "run the command again: opening the database starts afresh".into(),
        _ => return None,
    })
}
