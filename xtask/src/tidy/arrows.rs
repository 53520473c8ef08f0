//! Arrows: the guide knows the engine, the engine does not know the guide.
//!
//! The stages are for learning and may change with the lesson; nothing that people depend on may lean on them.

use super::source::line_number;
use super::{Checked, Finding, TextFile};

/// Where nothing may point at the guide.
const FROM: &str = "crates/";

/// How the guide would be named there.
const GUIDE: [&str; 3] = ["guide/", "stage-0", "stage_0"];

pub(super) fn check(texts: &[TextFile]) -> Checked {
    let from: Vec<_> = texts.iter().filter(|file| file.path.starts_with(FROM)).collect();
    let findings = from.iter().flat_map(|file| {
        let named = GUIDE.iter().flat_map(|name| file.text.match_indices(name));
        named.map(|(offset, name)| {
            Finding::new(&file.path, line_number(&file.text, offset), format!("`{name}` is the guide's"))
        })
    });
    Checked { looked_at: format!("{} texts", from.len()), findings: findings.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_must_not_point_at_the_guide() {
        let text = |path: &str, text: &str| TextFile { path: path.into(), text: text.into() };
        let texts = [
            text("crates/cairndb/src/lib.rs", "//! See guide/README.md.\n"),
            text("crates/cairndb/Cargo.toml", "stage-01 = { path = \"x\" }\n"),
            text("guide/stages/01-log/src/lib.rs", "stage_01"),
            text("crates/cairndb/src/view.rs", "struct Stage;"),
        ];
        let found = check(&texts);
        assert_eq!(found.findings.len(), 2);
        assert_eq!(found.looked_at, "3 texts");
    }
}
