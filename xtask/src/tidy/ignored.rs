//! Ignored tests: each `#[ignore]` is on a test that `verify` runs all the same.
//!
//! A test that needs optimised code is ignored in the usual run and run by the step `slow`. To be seen for what it
//! is, its name begins with `slow_`. A test that is another test's second process has a name that ends with
//! `_for_another_process`; the first one runs it. Any other `#[ignore]` would be a test that nothing runs.

use super::source::{RustFile, words};
use super::{Checked, Finding};

pub(super) fn check(files: &[&RustFile]) -> Checked {
    let mut ignored_count = 0;
    let mut findings = Vec::new();
    for file in files {
        for (offset, _) in file.code_with_tests.match_indices("#[ignore") {
            ignored_count += 1;
            let mut after = words(&file.code_with_tests[offset..]).map(|(_, word)| word);
            let name = after.find(|word| *word == "fn").and_then(|_| after.next()).unwrap_or_default();
            if !name.starts_with("slow_") && !name.ends_with("_for_another_process") {
                let what = format!("`{name}` is ignored, and verify runs slow_* only");
                findings.push(Finding::new(&file.path, file.line(offset), what));
            }
        }
    }
    Checked { looked_at: format!("{ignored_count} ignored tests"), findings }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding_count(text: &str) -> usize {
        check(&[&RustFile::new("crates/cairndb/src/wal.rs", text)]).findings.len()
    }

    #[test]
    fn only_tests_that_something_runs_are_ignored() {
        assert_eq!(finding_count("#[test]\n#[ignore = \"needs optimised code\"]\nfn slow_model() {}"), 0);
        assert_eq!(finding_count("#[test]\n#[ignore]\nfn hold_a_lock_for_another_process() {}"), 0);
        assert_eq!(finding_count("#[cfg(test)] mod t { #[ignore] fn flaky() {} }"), 1);
    }
}
