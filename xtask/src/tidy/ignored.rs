//! Ignored tests: each `#[ignore]` is on a test that `verify` runs all the same.
//!
//! A test that needs optimised code is ignored in the usual run and run by the step `slow`. To be seen for what it
//! is, its name begins with `slow_`, and it stands where that step looks. A test that is another test's second process has
//! a name that ends with `_for_another_process`; the first one runs it. Any other `#[ignore]` would be a test that nothing
//! runs.

use super::source::{RustFile, words};
use super::{Checked, Finding};
use crate::verify::SLOW_PACKAGES;

pub(super) fn check(files: &[&RustFile]) -> Checked {
    let mut ignored_count = 0;
    let mut findings = Vec::new();
    for file in files {
        for (offset, _) in file.code_with_tests.match_indices("#[ignore") {
            ignored_count += 1;
            let mut after = words(&file.code_with_tests[offset..]).map(|(_, word)| word);
            let name = after.find(|word| *word == "fn").and_then(|_| after.next()).unwrap_or_default();
            let is_slow = name.starts_with("slow_") && is_run(&file.path);
            if !is_slow && !name.ends_with("_for_another_process") {
                let what = format!(
                    "`{name}` is ignored, and verify runs slow_* of {SLOW_PACKAGES:?} only, in tests/it"
                );
                findings.push(Finding::new(&file.path, file.line(offset), what));
            }
        }
    }
    Checked { looked_at: format!("{ignored_count} ignored tests"), findings }
}

/// Whether verify runs the slow tests of this file.
fn is_run(path: &str) -> bool {
    SLOW_PACKAGES.iter().any(|package| path.starts_with(&format!("crates/{package}/tests/it/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding_count(text: &str) -> usize {
        finding_count_in("crates/cairndb/tests/it/limits.rs", text)
    }

    fn finding_count_in(path: &str, text: &str) -> usize {
        check(&[&RustFile::new(path, text)]).findings.len()
    }

    #[test]
    fn only_tests_that_something_runs_are_ignored() {
        assert_eq!(finding_count("#[test]\n#[ignore = \"needs optimised code\"]\nfn slow_model() {}"), 0);
        assert_eq!(finding_count("#[test]\n#[ignore]\nfn hold_a_lock_for_another_process() {}"), 0);
        assert_eq!(finding_count("#[cfg(test)] mod t { #[ignore] fn flaky() {} }"), 1);
        assert_eq!(finding_count_in("crates/cairndb/src/wal.rs", "#[ignore] fn slow_model() {}"), 1);
        assert_eq!(
            finding_count_in("crates/cairndb-sim/tests/it/main.rs", "#[ignore] fn slow_model() {}"),
            1
        );
    }
}
