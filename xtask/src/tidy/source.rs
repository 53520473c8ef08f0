//! Source: one Rust file, with its comments, literals and test code told from the rest.
//!
//! A check that looks for `std::fs` must not stumble over a comment that explains why it is banned. So each
//! file is kept in two further forms of the same length, in which what does not concern a check is blanked out
//! by spaces: offsets and line numbers stay true in all of them.
//!
//! # Where it sits
//! Under every check; it knows of none.

use std::ops::Range;

/// A Rust file in three forms of equal length.
pub(super) struct RustFile {
    /// From the root, with `/` between the parts.
    pub(super) path: String,
    /// As it stands on disk.
    pub(super) text: String,
    /// Without comments, literals and items under `#[cfg(test)]`.
    pub(super) code: String,
    /// Without comments and items under `#[cfg(test)]`, but with its literals.
    pub(super) code_with_literals: String,
    /// Without comments and literals, tests included.
    pub(super) code_with_tests: String,
}

impl RustFile {
    pub(super) fn new(path: &str, text: &str) -> RustFile {
        let classes = classify(text.as_bytes());
        let keep = |kept: &dyn Fn(Class) -> bool| {
            let bytes = text.bytes().zip(&classes);
            bytes.map(|(byte, class)| if kept(*class) || byte == b'\n' { byte } else { b' ' }).collect()
        };
        let code_with_tests: Vec<u8> = keep(&|class| class == Class::Code);
        let mut code = code_with_tests.clone();
        let mut code_with_literals: Vec<u8> = keep(&|class| class != Class::Comment);
        for tests in test_items(&code_with_tests) {
            blank(&mut code[tests.clone()]);
            blank(&mut code_with_literals[tests]);
        }
        RustFile {
            path: path.into(),
            text: text.into(),
            code: into_text(code),
            code_with_literals: into_text(code_with_literals),
            code_with_tests: into_text(code_with_tests),
        }
    }

    /// The number, from 1, of the line that holds this offset.
    pub(super) fn line(&self, offset: usize) -> usize {
        line_number(&self.text, offset)
    }

    /// Whether the whole file is for tests, by its place: `tests.rs`, `tests/`, `benches/`, `examples/`.
    pub(super) fn is_test(&self) -> bool {
        let mut parts = self.path.split('/');
        parts.any(|part| ["tests.rs", "tests", "benches", "examples"].contains(&part))
    }
}

/// The number, from 1, of the line that holds this offset.
pub(super) fn line_number(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count()
}

/// A path in code, such as `crate::key::Key`; a group in braces gives one path for each of its leaves.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CodePath {
    pub(super) offset: usize,
    pub(super) segments: Vec<String>,
}

/// Every path in `code` that begins with one of `roots` and goes on with `::`.
pub(super) fn paths_from(code: &str, roots: &[&str]) -> Vec<CodePath> {
    let mut paths = Vec::new();
    let mut end_of_last = 0;
    for (offset, word) in words(code) {
        if offset >= end_of_last && roots.contains(&word) {
            let mut found = Vec::new();
            let end = read_path(code.as_bytes(), offset, &mut Vec::new(), &mut found);
            let leaves = found.into_iter().filter(|segments| segments.len() > 1);
            paths.extend(leaves.map(|segments| CodePath { offset, segments }));
            end_of_last = end;
        }
    }
    paths
}

/// Every identifier, keyword and number of `code`, with its offset.
pub(super) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + code[rest..].find(is_word_char)?;
        let len = code[start..].find(|c| !is_word_char(c)).unwrap_or(code.len() - start);
        rest = start + len;
        Some((start, &code[start..rest]))
    })
}

/// The names of `mod name;` in `code`, in their order.
pub(super) fn modules(code: &str) -> Vec<String> {
    let words: Vec<_> = words(code).collect();
    let declared = words.windows(2).filter(|pair| {
        let (offset, name) = pair[1];
        pair[0].1 == "mod" && code[offset + name.len()..].trim_start().starts_with(';')
    });
    declared.map(|pair| pair[1].1.to_string()).collect()
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Reads the path or group at `at`, adds each leaf with `prefix` before it to `found`, returns where it ends.
fn read_path(code: &[u8], at: usize, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    let mut at = skip_spaces(code, at);
    if code.get(at) == Some(&b'{') {
        at += 1;
        while at < code.len() && code[at] != b'}' {
            at = read_path(code, at, &mut prefix.clone(), found);
            while at < code.len() && !b",}".contains(&code[at]) {
                at += 1;
            }
            if code.get(at) == Some(&b',') {
                at = skip_spaces(code, at + 1);
            }
        }
        return at + 1;
    }
    let len = code[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let segment = String::from_utf8_lossy(&code[at..at + len]).into_owned();
    if len > 0 && segment != "self" {
        prefix.push(segment);
    }
    at += len;
    let after = skip_spaces(code, at);
    if len > 0 && code[after..].starts_with(b"::") {
        return read_path(code, after + 2, prefix, found);
    }
    if !prefix.is_empty() {
        found.push(prefix.clone());
    }
    at
}

fn skip_spaces(code: &[u8], at: usize) -> usize {
    at + code[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Code,
    Comment,
    Literal,
}

/// What each byte belongs to. A literal's quotes and its `r#` are part of it, its `b` is too.
fn classify(text: &[u8]) -> Vec<Class> {
    let mut classes = vec![Class::Code; text.len()];
    let mut at = 0;
    while at < text.len() {
        let (class, len) = match text[at] {
            b'/' if text[at..].starts_with(b"//") => (Class::Comment, line_len(&text[at..])),
            b'/' if text[at..].starts_with(b"/*") => (Class::Comment, block_comment_len(&text[at..])),
            b'"' => (Class::Literal, quoted_len(&text[at..], b'"')),
            b'\'' => char_len(&text[at..]).map_or((Class::Code, 1), |len| (Class::Literal, len)),
            byte if byte.is_ascii_alphanumeric() || byte == b'_' => word_or_prefixed_literal(&text[at..]),
            _ => (Class::Code, 1),
        };
        let end = (at + len).min(text.len());
        classes[at..end].fill(class);
        at = end;
    }
    classes
}

fn line_len(text: &[u8]) -> usize {
    text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len())
}

fn block_comment_len(text: &[u8]) -> usize {
    let (mut at, mut depth) = (2, 1);
    while at < text.len() && depth > 0 {
        match &text[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

/// The length of a literal that begins and ends with `quote`, in which a backslash hides one byte.
fn quoted_len(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != quote {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// The length of a character literal; `None` for a lifetime.
fn char_len(text: &[u8]) -> Option<usize> {
    if text.get(1) == Some(&b'\\') {
        return Some(quoted_len(text, b'\''));
    }
    let char_len = match *text.get(1)? {
        0..=0x7f => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    (text.get(1 + char_len) == Some(&b'\'')).then_some(char_len + 2)
}

/// A word, or the literal that begins with it: `b"..."`, `b'x'`, `r#"..."#`, `br"..."`.
fn word_or_prefixed_literal(text: &[u8]) -> (Class, usize) {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let len = text.iter().take_while(|byte| is_word(byte)).count();
    let (word, rest) = text.split_at(len);
    if [b"r".as_slice(), b"br", b"cr"].contains(&word) {
        let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
        if rest.get(hashes) == Some(&b'"') {
            let end: Vec<u8> = [b"\"".as_slice(), &rest[..hashes]].concat();
            let body = &rest[hashes + 1..];
            let body_len = body.windows(end.len()).position(|window| window == end).unwrap_or(body.len());
            return (Class::Literal, len + hashes + 1 + body_len + end.len());
        }
    }
    match (word, rest.first()) {
        (b"b" | b"c", Some(b'"')) => (Class::Literal, len + quoted_len(rest, b'"')),
        (b"b", Some(b'\'')) => (Class::Literal, len + quoted_len(rest, b'\'')),
        _ => (Class::Code, len),
    }
}

/// Where the items under `#[cfg(test)]` or `#[cfg(all(test, ...))]` stand; everything, under `#![cfg(test)]`.
fn test_items(code: &[u8]) -> Vec<Range<usize>> {
    let starts_with_any = |at: usize, texts: &[&[u8]]| texts.iter().any(|text| code[at..].starts_with(text));
    let mut items = Vec::new();
    let mut at = 0;
    while at < code.len() {
        if starts_with_any(at, &[b"#![cfg(test)]"]) {
            return Vec::from([Range { start: 0, end: code.len() }]);
        }
        if starts_with_any(at, &[b"#[cfg(test)]", b"#[cfg(all(test,"]) {
            let end = item_end(code, at);
            items.push(at..end);
            at = end;
        } else {
            at += 1;
        }
    }
    items
}

/// Where the item that begins at `start`, with its attributes, ends: at its `;` or its closing brace.
fn item_end(code: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' if depth == 0 => return at,
            b')' | b']' => depth -= 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

fn blank(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .expect("whole comments, literals and items were blanked, never part of a character")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        let file = RustFile::new("x.rs", text);
        assert_eq!(file.code.len(), text.len());
        file.code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        assert_eq!(code("a /* b /* c */ d */ e // f\ng"), "a e g");
        assert_eq!(code(r##"f("x\"y", r#"a"b"#, b"z", '"', b'\'', '\\', 'ü') + 1"##), "f( , , , , , , ) + 1");
        assert_eq!(code("fn f<'a>(x: &'a str) -> &'a str {}"), "fn f<'a>(x: &'a str) -> &'a str {}");
        assert_eq!(RustFile::new("x.rs", "x = b\"ab\"; // c").code_with_literals.trim_end(), "x = b\"ab\";");
    }

    #[test]
    fn test_items_are_blanked() {
        assert_eq!(code("a();\n#[cfg(test)]\nmod tests { fn x() { y[1]; } }\nb();"), "a(); b();");
        assert_eq!(code("#[cfg(test)] mod tests; mod real;"), "mod real;");
        assert_eq!(code("#[cfg(test)] #[path = \"y\"] use x::{a, b}; c"), "; c");
        assert_eq!(code("#![cfg(test)] fn x() {}"), "");
        assert_eq!(code("#[cfg(not(test))] mod kept;"), "#[cfg(not(test))] mod kept;");
        assert_eq!(code("struct S { a: u8, #[cfg(test)] b: u8 } kept"), "struct S { a: u8, } kept");
    }

    #[test]
    fn paths_are_read_through_groups() {
        let text = "use crate::{a::{B, c::*}, d as e};\nfn f() { crate::g::<T>::h(); my_crate::x(); super::super::y }";
        let paths: Vec<_> =
            paths_from(text, &["crate", "super"]).into_iter().map(|p| p.segments.join("::")).collect();
        assert_eq!(paths, ["crate::a::B", "crate::a::c", "crate::d", "crate::g", "super::super::y"]);
        let std = paths_from("use std::{self, fs::{self, File}};", &["std"]);
        let std: Vec<_> = std.iter().map(|path| path.segments.join("::")).collect();
        assert_eq!(std, ["std::fs", "std::fs::File"]);
    }

    #[test]
    fn modules_keep_their_order() {
        assert_eq!(modules("pub mod b; mod a; mod inline { } pub(crate) mod c ;"), ["b", "a", "c"]);
    }
}
