//! Ignored tests: each `#[ignore]` is on a test that `verify` runs all the same.
//!
//! A test that needs optimised code is ignored in the usual run and run by the step `slow`. To be seen for what it
//! is, its name begins with `slow_`, and it stands in a crate that the step covers. Any other `#[ignore]` would be
//! a test that nothing runs.

use super::source::{RustFile, words};
use super::{Checked, Finding};

/// Where the step `slow` looks.
const DIRECTORY: &str = "crates/cairndb/";

pub(super) fn check(files: &[&RustFile]) -> Checked {
    let mut ignored_count = 0;
    let mut findings = Vec::new();
    for file in files {
        for (offset, _) in file.code_with_tests.match_indices("#[ignore") {
            ignored_count += 1;
            let mut after = words(&file.code_with_tests[offset..]).map(|(_, word)| word);
            let name = after.find(|word| *word == "fn").and_then(|_| after.next()).unwrap_or_default();
            if !name.starts_with("slow_") || !file.path.starts_with(DIRECTORY) {
                let what = format!("`{name}` is ignored, and only slow_* in {DIRECTORY} is run by verify");
                findings.push(Finding::new(&file.path, file.line(offset), what));
            }
        }
    }
    Checked { looked_at: format!("{ignored_count} ignored tests"), findings }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding_count(path: &str, text: &str) -> usize {
        check(&[&RustFile::new(path, text)]).findings.len()
    }

    #[test]
    fn only_slow_tests_of_the_engine_are_ignored() {
        let slow = "#[test]\n#[ignore = \"needs optimised code\"]\nfn slow_model() {}";
        assert_eq!(finding_count("crates/cairndb/tests/it/model.rs", slow), 0);
        assert_eq!(finding_count("crates/cairndb-storage/src/native.rs", slow), 1);
        assert_eq!(
            finding_count("crates/cairndb/src/wal.rs", "#[cfg(test)] mod t { #[ignore] fn flaky() {} }"),
            1
        );
    }
}
