//! Plates: every module says at its door what it is.
//!
//! The first line of a file is `//! Noun: one sentence`, for whoever opens the file first in their life. The
//! sentence may run on over the next lines, and ends with a full stop.

use super::source::RustFile;
use super::{Checked, Finding};

/// A noun may be `Commit path` or `The way to a cluster`, but not a sentence.
const MAX_NOUN_WORDS: usize = 5;

pub(super) fn check(files: &[&RustFile]) -> Checked {
    let modules: Vec<_> = files.iter().filter(|file| file.path.contains("src/") && !file.is_test()).collect();
    let findings =
        modules.iter().filter_map(|file| judge(&file.text).map(|what| Finding::new(&file.path, 1, what)));
    Checked { looked_at: format!("{} modules", modules.len()), findings: findings.collect() }
}

/// What is wrong with the plate of a file, if something is.
fn judge(text: &str) -> Option<&'static str> {
    let lines = text.lines().map_while(|line| line.strip_prefix("//! "));
    let paragraph: Vec<&str> = lines.collect();
    let Some((noun, sentence)) = paragraph.first().and_then(|line| line.split_once(": ")) else {
        return Some("the first line is not a plate: `//! Noun: one sentence.`");
    };
    let begins_well = noun.starts_with(|c: char| c.is_uppercase() || c == '`');
    if noun.split_whitespace().count() > MAX_NOUN_WORDS || !begins_well {
        return Some(
            "the plate does not begin with a noun, in upper case or backticks, of at most five words",
        );
    }
    let ends_with_stop = paragraph.last().is_some_and(|line| line.trim_end().ends_with('.'));
    (sentence.trim().is_empty() || !ends_with_stop)
        .then_some("the plate's first paragraph does not end with a full stop")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plate_is_a_noun_and_a_sentence() {
        assert_eq!(judge("//! Record: a checksummed unit of a log.\n//!\n//! More"), None);
        assert_eq!(judge("//! `cairn`: a database from the command line."), None);
        assert_eq!(judge("//! Commit path: how a batch becomes\n//! durable, then visible.\n\nuse x;"), None);
    }

    #[test]
    fn other_beginnings_are_findings() {
        for text in [
            "",
            "use std::io;",
            "// Record: a unit.",
            "//! This module implements records.",
            "//! record: a unit.",
            "//! Record: a unit",
            "//! A thing that we keep in here: a unit.",
            "\n//! Record: a unit.",
        ] {
            assert!(judge(text).is_some(), "{text}");
        }
    }

    #[test]
    fn only_modules_need_one() {
        let files = [
            "crates/a/src/x.rs",
            "crates/a/src/x/tests.rs",
            "crates/a/tests/it/main.rs",
            "xtask/src/main.rs",
        ];
        let files = files.map(|path| RustFile::new(path, ""));
        assert_eq!(check(&files.iter().collect::<Vec<_>>()).findings.len(), 2);
    }
}
