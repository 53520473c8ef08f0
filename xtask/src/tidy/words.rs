//! Words: what must not be left behind in a finished text.
//!
//! A note to come back later is a promise nobody keeps; a macro that stands for missing code is missing code;
//! the path of one person's checkout means nothing to anybody else.

use super::source::{RustFile, line_number, words};
use super::{Checked, Finding, TextFile};

/// Macros that stand for code to be written, or for a look at a value.
const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Taken apart, so that this file does not trip over itself.
const NOTES: [&str; 4] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];

/// Directories of the machines that the project was built on.
const WORKSHOPS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Files in which notes are looked for: the code, not the prose.
const CODE_ENDINGS: [&str; 5] = [".rs", ".sh", ".toml", ".js", ".ci/run"];

pub(super) fn check(texts: &[TextFile], rust: &[&RustFile]) -> Checked {
    let mut findings = Vec::new();
    for file in rust {
        let macros = words(&file.code_with_tests).filter(|(offset, word)| {
            MACROS.contains(word) && file.code_with_tests[offset + word.len()..].starts_with('!')
        });
        findings.extend(
            macros.map(|(offset, word)| Finding::new(&file.path, file.line(offset), format!("`{word}!`"))),
        );
    }
    for TextFile { path, text } in texts {
        let mut found: Vec<(usize, &str)> =
            WORKSHOPS.iter().flat_map(|place| outright(text, place)).collect();
        if CODE_ENDINGS.iter().any(|ending| path.ends_with(ending)) {
            found.extend(words(text).filter(|(_, word)| NOTES.contains(word)));
        }
        let as_finding = |(offset, word)| Finding::new(path, line_number(text, offset), format!("`{word}`"));
        findings.extend(found.into_iter().map(as_finding));
    }
    Checked { looked_at: format!("{} texts", texts.len()), findings }
}

/// Where `place` begins an absolute path, rather than being part of a longer one.
fn outright<'a>(text: &'a str, place: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let is_start =
        |offset: usize| !text[..offset].ends_with(|c: char| c.is_alphanumeric() || "_-.~}".contains(c));
    text.match_indices(place).filter(move |(offset, _)| is_start(*offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding_count(path: &str, text: &str) -> usize {
        let texts = [TextFile { path: path.into(), text: text.into() }];
        let rust = [RustFile::new(path, text)];
        let rust: Vec<_> = rust.iter().filter(|_| path.ends_with(".rs")).collect();
        check(&texts, &rust).findings.len()
    }

    #[test]
    fn notes_and_stand_ins_are_found() {
        for text in ["fn f() { todo!() }", "#[cfg(test)] mod t { dbg!(x); }", "unimplemented!(\"x\")"] {
            assert_eq!(finding_count("x.rs", text), 1, "{text}");
        }
        for note in NOTES {
            assert_eq!(finding_count("x.rs", &format!("// {note}: later")), 1);
            assert_eq!(finding_count("x.md", note), 0);
        }
    }

    #[test]
    fn workshop_paths_are_found() {
        for place in WORKSHOPS {
            assert_eq!(finding_count("x.md", &format!("see {place}x")), 1);
            assert_eq!(finding_count("x.md", &format!("see docs{place}x")), 0);
        }
    }

    #[test]
    fn ordinary_words_pass() {
        assert_eq!(
            finding_count("x.rs", "// no todo! in a comment\nlet todo = mastodon; let s = \"dbg!\";"),
            0
        );
    }
}
