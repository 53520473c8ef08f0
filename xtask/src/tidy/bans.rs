//! Bans: what the engine must not reach for, and the one room where it may.
//!
//! The engine is given its storage, its clock and its caller's threads, so that a simulator or a browser can
//! give it others. One `Instant::now` in a corner would make a run that cannot be replayed. `clippy.toml` says
//! the same to the compiler; here it is said of whole modules, imports included.

use super::source::{RustFile, paths_from, words};
use super::{Checked, Finding};

/// A rule: these paths, in this crate's sources, only in these rooms.
struct Ban {
    /// The crate's directory.
    directory: &'static str,
    paths: &'static [&'static str],
    /// Names of modules of the crate's root.
    allowed_in: &'static [&'static str],
    reason: &'static str,
}

const BANS: [Ban; 3] = [
    Ban {
        directory: "crates/cairndb/src/",
        paths: &[
            "std::env",
            "std::fs",
            "std::net",
            "std::process",
            "std::thread",
            "std::time",
            "thread::spawn",
            "Instant::now",
            "SystemTime",
            "rand",
            "fastrand",
            "getrandom",
        ],
        allowed_in: &["host"],
        reason: "storage, clock, ids and threads are given to the engine; only `host` takes them from the system",
    },
    Ban {
        directory: "crates/cairndb/src/",
        paths: &["std::sync"],
        allowed_in: &["sync"],
        reason: "locks, atomics and Arc come from crate::sync, so that a schedule checker can replace them",
    },
    Ban {
        directory: "crates/cairndb-storage/src/",
        paths: &["std::fs"],
        allowed_in: &["native"],
        reason: "only `native` touches a file system; the other backends run anywhere",
    },
];

/// A span of time is a plain number; only asking what time it is needs a clock.
const HARMLESS: [&str; 1] = ["std::time::Duration"];

pub(super) fn check(files: &[&RustFile]) -> Checked {
    let mut file_count = 0;
    let mut findings = Vec::new();
    for ban in &BANS {
        for file in files.iter().filter(|file| file.path.starts_with(ban.directory) && !file.is_test()) {
            file_count += 1;
            let room = file.path[ban.directory.len()..].trim_end_matches(".rs").split('/').next();
            if room.is_some_and(|room| ban.allowed_in.contains(&room)) {
                continue;
            }
            for (offset, written) in banned(&file.code, ban.paths) {
                let what = format!("`{written}`: {}", ban.reason);
                findings.push(Finding::new(&file.path, file.line(offset), what));
            }
        }
    }
    Checked { looked_at: format!("{} rules, {file_count} times a file", BANS.len()), findings }
}

/// Where `code` uses one of `bans`: as a path, or as a bare word if the ban is one word.
fn banned(code: &str, bans: &[&str]) -> Vec<(usize, String)> {
    let roots: Vec<&str> = bans.iter().map(|ban| ban.split("::").next().unwrap_or(ban)).collect();
    let core_roots = ["core", "alloc"];
    let mut found: Vec<(usize, String)> = Vec::new();
    for path in paths_from(code, &[&roots[..], &core_roots].concat()) {
        let written = path.segments.join("::");
        let mut segments = path.segments;
        if core_roots.contains(&segments[0].as_str()) {
            segments[0] = "std".into();
        }
        let is_under =
            |ban: &str| segments.iter().map(String::as_str).collect::<Vec<_>>().starts_with(&parts(ban));
        if bans.iter().any(|ban| is_under(ban)) && !HARMLESS.iter().any(|ban| is_under(ban)) {
            found.push((path.offset, written));
        }
    }
    let types = words(code).filter(|(_, word)| *word == "SystemTime" && bans.contains(word));
    found.extend(types.map(|(offset, word)| (offset, word.to_string())));
    found
}

fn parts(path: &str) -> Vec<&str> {
    path.split("::").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding_count(path: &str, text: &str) -> usize {
        check(&[&RustFile::new(path, text)]).findings.len()
    }

    #[test]
    fn the_engine_reaches_for_nothing() {
        let room = "crates/cairndb/src/db/write.rs";
        assert_eq!(finding_count(room, "use std::io; use std::time::Duration; // not std::fs"), 0);
        for text in [
            "use std::fs;",
            "use std::{io, fs::File};",
            "let now = Instant::now();",
            "use std::time::Instant;",
            "fn f(t: &SystemTime) {}",
            "thread::spawn(f);",
            "std::thread::sleep(d);",
            "rand::random()",
            "std::env::var(x)",
            "std::net::TcpStream::connect(x)",
            "std::process::abort()",
            "use std::sync::Arc;",
            "use core::sync::atomic::AtomicU64;",
        ] {
            assert!(finding_count(room, text) > 0, "{text}");
        }
    }

    #[test]
    fn each_ban_has_its_room() {
        assert_eq!(
            finding_count("crates/cairndb/src/host.rs", "use std::thread; use std::time::Instant;"),
            0
        );
        assert_eq!(finding_count("crates/cairndb/src/host.rs", "use std::sync::Arc;"), 1);
        assert_eq!(finding_count("crates/cairndb/src/sync.rs", "pub(crate) use std::sync::Arc;"), 0);
        assert_eq!(finding_count("crates/cairndb-storage/src/native.rs", "use std::fs;"), 0);
        assert_eq!(finding_count("crates/cairndb-storage/src/memory.rs", "use std::fs;"), 1);
    }

    #[test]
    fn tests_are_free() {
        let text = "#[cfg(test)] mod tests { use std::fs; }";
        assert_eq!(finding_count("crates/cairndb/src/wal.rs", text), 0);
        assert_eq!(finding_count("crates/cairndb/src/wal/tests.rs", "use std::fs;"), 0);
    }
}
