//! Links: every relative link in a Markdown file leads to a file that is there, or to a heading that is.
//!
//! Addresses with a scheme (`https:`) are not followed; code, fenced or between backticks, is not looked at.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checked, Finding, TextFile};

/// `paths` holds every file and directory, from the root.
pub(super) fn check(texts: &[TextFile], paths: &BTreeSet<String>) -> Checked {
    let pages: BTreeMap<&str, String> = texts
        .iter()
        .filter(|file| file.path.ends_with(".md"))
        .map(|file| (file.path.as_str(), without_fences(&file.text)))
        .collect();
    let mut link_count = 0;
    let mut findings = Vec::new();
    for (path, text) in &pages {
        for (line, target) in links(text) {
            link_count += 1;
            if let Some(what) = judge(path, &target, &pages, paths) {
                findings.push(Finding::new(path, line, what));
            }
        }
    }
    Checked { looked_at: format!("{link_count} links in {} pages", pages.len()), findings }
}

/// What is wrong with a link in `page`, if something is.
fn judge(
    page: &str,
    target: &str,
    pages: &BTreeMap<&str, String>,
    paths: &BTreeSet<String>,
) -> Option<String> {
    let has_scheme =
        target.split_once(':').is_some_and(|(scheme, _)| scheme.chars().all(char::is_alphanumeric));
    if has_scheme {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let Some(file) = resolve(page, file) else {
        return Some(format!("`{target}` leads out of the project"));
    };
    if !file.is_empty() && !paths.contains(&file) {
        return Some(format!("`{target}` leads nowhere: there is no {file}"));
    }
    let has_anchor = |text: &String| anchors(text).iter().any(|known| known == anchor);
    let is_missing = !anchor.is_empty() && !pages.get(file.as_str()).is_some_and(has_anchor);
    is_missing.then(|| format!("`{target}`: {file} has no such heading"))
}

/// The path from the root of a link in `page`; the page itself for an empty link.
fn resolve(page: &str, link: &str) -> Option<String> {
    if link.is_empty() {
        return Some(page.into());
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            ".." => _ = parts.pop()?,
            "." | "" => {}
            _ => parts.push(part),
        }
    }
    (!link.starts_with('/')).then(|| parts.join("/"))
}

/// Targets of `[text](target)` and `[label]: target`, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = without_code_spans(line);
        let inline = line.match_indices("](").filter_map(|(offset, _)| line[offset + 2..].split(')').next());
        let reference =
            line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
        for target in inline.chain(reference) {
            // A title may follow the target.
            let target = target.split_whitespace().next().unwrap_or_default();
            links.push((index + 1, target.trim_matches(['<', '>']).to_string()));
        }
    }
    links
}

/// The anchors of a page's headings, made as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for heading in text.lines().filter(|line| line.starts_with('#')) {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let mut unique = anchor.clone();
        for number in 1.. {
            if !anchors.contains(&unique) {
                break;
            }
            unique = format!("{anchor}-{number}");
        }
        anchors.push(unique);
    }
    anchors
}

/// The text with fenced code emptied, line for line.
fn without_fences(text: &str) -> String {
    let mut fence: Option<&str> = None;
    let mut kept = String::new();
    for line in text.lines() {
        let marks = ["```", "~~~"].into_iter().find(|marks| line.trim_start().starts_with(marks));
        match (fence, marks) {
            (None, None) => kept.push_str(line),
            (None, opened) => fence = opened,
            (Some(open), Some(closing)) if open == closing => fence = None,
            _ => {}
        }
        kept.push('\n');
    }
    kept
}

/// The line without what stands between backticks; a backtick without a partner is kept.
fn without_code_spans(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    let is_open = |index: usize| parts.len().is_multiple_of(2) && index == parts.len() - 1;
    let outside = parts.iter().enumerate().filter(|(index, _)| index.is_multiple_of(2) || is_open(*index));
    outside.map(|(_, part)| *part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(page: &str, text: &str) -> Vec<String> {
        let other = "# Title\n## What is a `key`?\n## Again\n## Again\n```\n# not a heading\n```\n";
        let texts = [(page, text), ("docs/other.md", other)];
        let texts = texts.map(|(path, text)| TextFile { path: path.into(), text: text.into() });
        let paths = [page, "docs", "docs/other.md", "LICENSE"].map(str::to_string).into();
        check(&texts, &paths).findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text = "# Here\n[a](docs/other.md) [b](docs/other.md#what-is-a-key) [c](#here) [d](docs/) [e](https://x.y/z)\n\
                    [f](docs/other.md#again-1 \"title\") `[g](gone)`\n```\n[h](gone)\n```\n[i]: LICENSE\n";
        assert_eq!(findings("README.md", text), [""; 0]);
        assert_eq!(findings("docs/page.md", "[a](other.md) [b](../LICENSE)"), [""; 0]);
    }

    #[test]
    fn links_that_lead_nowhere_are_findings() {
        for text in [
            "[a](gone.md)",
            "[a](docs/other.md#gone)",
            "[a](docs/other.md#not-a-heading)",
            "[a](#gone)",
            "[a](../LICENSE)",
            "[a](/LICENSE)",
            "[a]: gone.md",
            "`x` [a](gone.md) a lone ` mark",
        ] {
            assert_eq!(findings("README.md", text).len(), 1, "{text}");
        }
    }
}
