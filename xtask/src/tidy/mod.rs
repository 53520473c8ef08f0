//! Tidiness: what the sources must look like beyond what a compiler asks.
//!
//! Each check is a pure function from the texts of files to findings, so each is tested on small texts, one of
//! which must fail. This module only reads the files, calls the checks and prints what they found, with how
//! much they looked at: a check that looked at nothing shows as a zero.
//!
//! # Why this way
//! The checks read Rust as text, with a small scanner that knows comments, strings and `#[cfg(test)]`, not with
//! a parser: that would be the largest dependency of the project, for rules that a glance can decide. What the
//! scanner cannot see (a path built by a macro) goes unchecked.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

mod source;

mod arrows;
mod bans;
mod constants;
mod ignored;
mod links;
mod plates;
mod rooms;
mod words;

use crate::soak;
use source::RustFile;

/// What holds nothing we wrote. (In a second worktree `.git` is a file.)
const FOREIGN: [&str; 6] = [".git", "target", "node_modules", "wasm", "inline.js", "cairn-data"];

/// Runs every check and prints the findings; true if there are none.
pub(crate) fn tidy(root: &Path) -> bool {
    let tree = match Tree::read(root) {
        Ok(tree) => tree,
        Err(error) => {
            println!("{}: {error}", root.display());
            return false;
        }
    };
    let mut finding_count = 0;
    for (name, check) in CHECKS {
        let Checked { looked_at, mut findings } = check(&tree);
        println!("{name:<10} {looked_at}");
        findings.sort();
        for finding in &findings {
            println!("  {}:{}: {}", finding.path, finding.line, finding.what);
        }
        finding_count += findings.len();
    }
    println!("{finding_count} findings");
    finding_count == 0
}

type Check = fn(&Tree) -> Checked;

const CHECKS: [(&str, Check); 9] = [
    ("rooms", |tree| rooms::check(&tree.rust_under(rooms::DIRECTORY))),
    ("bans", |tree| bans::check(&tree.rust_under("crates/"))),
    ("plates", |tree| plates::check(&tree.rust_under(""))),
    ("constants", |tree| constants::check(tree.text("FORMAT.md"), &tree.rust_under(constants::DIRECTORY))),
    ("links", |tree| links::check(&tree.texts, &tree.paths)),
    ("arrows", |tree| arrows::check(&tree.texts)),
    ("words", |tree| words::check(&tree.texts, &tree.rust_under(""))),
    ("soak", |tree| {
        let (page, log) =
            (tree.text(soak::PAGE).unwrap_or_default(), tree.text(soak::LOG).unwrap_or_default());
        let is_from_log = soak::page_of(page, log).as_deref() == Some(page);
        let what = "its table is not what docs/soak.log makes of it";
        let findings = if is_from_log { Vec::new() } else { vec![Finding::new(soak::PAGE, 1, what)] };
        Checked { looked_at: format!("{} runs", log.lines().count()), findings }
    }),
    ("ignored", |tree| ignored::check(&tree.rust_under(""))),
];

/// What a check found, and in how much.
struct Checked {
    /// A phrase with numbers in it: `"21 rooms, 340 references"`.
    looked_at: String,
    findings: Vec<Finding>,
}

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// From 1.
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: path.into(), line, what: what.into() }
    }
}

/// A text file, by its path from the root, with `/` between the parts.
struct TextFile {
    path: String,
    text: String,
}

/// Every file that is ours.
struct Tree {
    /// Files and directories.
    paths: BTreeSet<String>,
    /// The files that are UTF-8, outside `testdata/`.
    texts: Vec<TextFile>,
    rust: Vec<RustFile>,
}

impl Tree {
    fn read(root: &Path) -> io::Result<Tree> {
        let mut tree = Tree { paths: BTreeSet::new(), texts: Vec::new(), rust: Vec::new() };
        tree.read_directory(root, "")?;
        Ok(tree)
    }

    fn read_directory(&mut self, root: &Path, directory: &str) -> io::Result<()> {
        let mut entries = fs::read_dir(root.join(directory))?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
            if FOREIGN.contains(&name.as_str()) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                self.read_directory(root, &path)?;
            } else if !path.starts_with("testdata/") || path.ends_with(".md") {
                self.read_file(root, &path)?;
            }
            self.paths.insert(path);
        }
        Ok(())
    }

    fn read_file(&mut self, root: &Path, path: &str) -> io::Result<()> {
        let Ok(text) = String::from_utf8(fs::read(root.join(path))?) else { return Ok(()) };
        if path.ends_with(".rs") {
            self.rust.push(RustFile::new(path, &text));
        }
        self.texts.push(TextFile { path: path.into(), text });
        Ok(())
    }

    /// The Rust files whose path begins with `prefix`.
    fn rust_under(&self, prefix: &str) -> Vec<&RustFile> {
        self.rust.iter().filter(|file| file.path.starts_with(prefix)).collect()
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.texts.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }
}
