//! Constants: the numbers in FORMAT.md are the numbers in the source.
//!
//! FORMAT.md has a section headed "Constants" with a table whose rows begin `` | `NAME` | value | ``. For each row
//! the engine has a `const NAME`, and every one of that name has that value; where rooms use one name for several
//! things, the row says `` `room::NAME` ``. The other way round, a constant whose doc comment mentions FORMAT.md is
//! in the table.
//!
//! # Why this way
//! A specification that is checked by eye drifts. Values are numbers, byte strings, and the small sums of them
//! that sources are written in (`4 + 8`, `1 << 30`, `u16::MAX as usize`, other constants by name); for more, a
//! constant in a specification is too clever.

use std::fmt;

use super::source::{RustFile, words};
use super::{Checked, Finding};

/// Where the format's constants are.
pub(super) const DIRECTORY: &str = "crates/cairndb/src/";

/// The page that states them.
const PAGE: &str = "FORMAT.md";

pub(super) fn check(page: Option<&str>, files: &[&RustFile]) -> Checked {
    let rows = page.map_or(Vec::new(), table_rows);
    let constants: Vec<Constant<'_>> = files.iter().flat_map(|file| constants(file)).collect();
    let mut findings = Vec::new();
    if rows.is_empty() {
        findings.push(Finding::new(PAGE, 1, "there is no table under a heading \"Constants\""));
    }
    for row in &rows {
        findings.extend(judge_row(row, &constants).map(|what| Finding::new(PAGE, row.line, what)));
    }
    for constant in constants.iter().filter(|constant| constant.cites_page) {
        if !rows.iter().any(|row| constant.is_named(&row.name)) {
            let what = format!("`{}` cites {PAGE}, whose table does not have it", constant.name);
            findings.push(Finding::new(&constant.file.path, constant.line, what));
        }
    }
    Checked { looked_at: format!("{} rows, {} constants", rows.len(), constants.len()), findings }
}

/// One row of the table.
struct Row {
    line: usize,
    /// `NAME` or `room::NAME`.
    name: String,
    value: String,
}

/// One `const` of the engine.
struct Constant<'a> {
    file: &'a RustFile,
    line: usize,
    name: &'a str,
    value: &'a str,
    /// Whether its doc comment mentions the page.
    cites_page: bool,
}

impl Constant<'_> {
    /// Whether a row of this name means this constant.
    fn is_named(&self, row: &str) -> bool {
        match row.rsplit_once("::") {
            None => row == self.name,
            Some((room, name)) => {
                let inside = self.file.path.strip_prefix(DIRECTORY).unwrap_or(&self.file.path);
                let module = inside.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
                name == self.name && (module == room || module.ends_with(&format!("::{room}")))
            }
        }
    }
}

/// The rows of the tables under the heading "Constants".
fn table_rows(page: &str) -> Vec<Row> {
    let mut is_inside = false;
    let mut rows = Vec::new();
    for (index, line) in page.lines().enumerate() {
        if line.starts_with('#') {
            is_inside = line.trim_end().ends_with("Constants");
        }
        let mut cells = line.trim().strip_prefix('|').unwrap_or_default().split('|').map(str::trim);
        let (name, value) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        if let Some(name) =
            name.strip_prefix('`').and_then(|name| name.strip_suffix('`')).filter(|_| is_inside)
        {
            rows.push(Row { line: index + 1, name: name.into(), value: value.trim_matches('`').into() });
        }
    }
    rows
}

/// What is wrong with a row, if something is.
fn judge_row(row: &Row, constants: &[Constant<'_>]) -> Option<String> {
    let Some(stated) = evaluate(&row.value, &[]) else {
        return Some(format!("`{}`: `{}` is neither a number nor a byte string", row.name, row.value));
    };
    let mut named = constants.iter().filter(|constant| constant.is_named(&row.name)).peekable();
    if named.peek().is_none() {
        return Some(format!("`{}`: the source has no such constant", row.name));
    }
    named.find_map(|constant| {
        let place = format!("{}:{}", constant.file.path, constant.line);
        match evaluate(constant.value, constants) {
            None => Some(format!("`{}`: cannot read `{}` at {place}", row.name, constant.value)),
            Some(actual) if actual != stated => {
                Some(format!("`{}` is {stated} here, {actual} at {place}", row.name))
            }
            Some(_) => None,
        }
    })
}

/// Every `const NAME: T = value;` of a file, outside tests.
fn constants(file: &RustFile) -> Vec<Constant<'_>> {
    let (code, literals) = (&file.code, &file.code_with_literals);
    let words: Vec<_> = words(code).collect();
    let mut constants = Vec::new();
    for pair in words.windows(2).filter(|pair| pair[0].1 == "const") {
        let (offset, name) = pair[1];
        let after = offset + name.len();
        let is_name = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        if !is_name || !code[after..].starts_with(':') {
            continue;
        }
        let Some(value) = find_outside_brackets(code, after, b'=') else { continue };
        let Some(end) = find_outside_brackets(code, value, b';') else { continue };
        constants.push(Constant {
            file,
            line: file.line(offset),
            name,
            value: literals[value + 1..end].trim(),
            cites_page: doc_lines_above(&file.text, pair[0].0).any(|line| line.contains(PAGE)),
        });
    }
    constants
}

/// The first `wanted` at or after `start` that no bracket opened since then encloses.
fn find_outside_brackets(code: &str, start: usize, wanted: u8) -> Option<usize> {
    let mut depth = 0_isize;
    code.bytes().enumerate().skip(start).find_map(|(at, byte)| {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        (byte == wanted && depth == 0).then_some(at)
    })
}

/// The doc comment above the line that holds `offset`, its last line first; attributes between are passed over.
fn doc_lines_above(text: &str, offset: usize) -> impl Iterator<Item = &str> {
    let line_start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let above = text[..line_start].lines().rev().map(str::trim);
    above
        .take_while(|line| line.starts_with("///") || line.starts_with("#["))
        .filter(|line| line.starts_with("///"))
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Number(u128),
    Bytes(Vec<u8>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => write!(f, "{number} ({number:#x})"),
            Value::Bytes(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
        }
    }
}

/// The value of an expression; names in it are looked up among `constants`.
fn evaluate(expression: &str, constants: &[Constant<'_>]) -> Option<Value> {
    // Constants cannot name each other in a circle in a source that compiles; a specification may be read before.
    const MAX_DEPTH: usize = 16;
    Expression { rest: expression, constants, depth_left: MAX_DEPTH }.read_all()
}

/// A reader of `+ - * <<`, brackets, `as T`, literals, `T::MAX` and names.
struct Expression<'a> {
    rest: &'a str,
    constants: &'a [Constant<'a>],
    depth_left: usize,
}

impl Expression<'_> {
    fn read_all(mut self) -> Option<Value> {
        let value = self.read_shift()?;
        self.rest.trim().is_empty().then_some(value)
    }

    fn read_shift(&mut self) -> Option<Value> {
        let mut value = self.read_sum()?;
        while self.take("<<") {
            value = combine(value, self.read_sum()?, |a, b| a.checked_shl(b.try_into().ok()?))?;
        }
        Some(value)
    }

    fn read_sum(&mut self) -> Option<Value> {
        let mut value = self.read_product()?;
        loop {
            if self.take("+") {
                value = combine(value, self.read_product()?, u128::checked_add)?;
            } else if self.take("-") {
                value = combine(value, self.read_product()?, u128::checked_sub)?;
            } else {
                return Some(value);
            }
        }
    }

    fn read_product(&mut self) -> Option<Value> {
        let mut value = self.read_operand()?;
        while self.take("*") {
            value = combine(value, self.read_operand()?, u128::checked_mul)?;
        }
        Some(value)
    }

    fn read_operand(&mut self) -> Option<Value> {
        // The value behind a reference is the same value.
        while self.take("*") || self.take("&") {}
        let value = if self.take("(") {
            let value = self.read_shift()?;
            self.take(")").then_some(value)?
        } else if self.take("b\"") {
            Value::Bytes(self.take_bytes()?)
        } else {
            let word = self.take_word();
            match word.starts_with(|c: char| c.is_ascii_digit()) {
                true => Value::Number(parse_number(&word)?),
                false => self.look_up(&word)?,
            }
        };
        while self.take("as ") {
            self.take_word();
        }
        Some(value)
    }

    /// `u16::MAX`, or another constant.
    fn look_up(&self, name: &str) -> Option<Value> {
        match name {
            "u8::MAX" => return Some(Value::Number(u8::MAX.into())),
            "u16::MAX" => return Some(Value::Number(u16::MAX.into())),
            "u32::MAX" => return Some(Value::Number(u32::MAX.into())),
            "u64::MAX" => return Some(Value::Number(u64::MAX.into())),
            _ => {}
        }
        let last = name.rsplit("::").next()?;
        let mut values = self.constants.iter().filter(|constant| constant.name == last).map(|constant| {
            let depth_left = self.depth_left.checked_sub(1)?;
            Expression { rest: constant.value, constants: self.constants, depth_left }.read_all()
        });
        let first = values.next()??;
        values.all(|value| value.as_ref() == Some(&first)).then_some(first)
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A number, or a path of names.
    fn take_word(&mut self) -> String {
        let rest = self.rest.trim_start();
        let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
        self.rest = &rest[len..];
        rest[..len].into()
    }

    /// The rest of a byte string, after its opening quote.
    fn take_bytes(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut chars = self.rest.char_indices();
        while let Some((offset, c)) = chars.next() {
            let byte = match c {
                '"' => {
                    self.rest = &self.rest[offset + 1..];
                    return Some(bytes);
                }
                '\\' => match chars.next()?.1 {
                    'x' => u8::from_str_radix(self.rest.get(chars.next()?.0..=chars.next()?.0)?, 16).ok()?,
                    '0' => 0,
                    'n' => b'\n',
                    'r' => b'\r',
                    't' => b'\t',
                    other => u8::try_from(other).ok()?,
                },
                _ => u8::try_from(c).ok()?,
            };
            bytes.push(byte);
        }
        None
    }
}

fn combine(a: Value, b: Value, operate: impl Fn(u128, u128) -> Option<u128>) -> Option<Value> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => operate(a, b).map(Value::Number),
        _ => None,
    }
}

/// Decimal, or hexadecimal after `0x`; underscores anywhere; a type at the end.
fn parse_number(word: &str) -> Option<u128> {
    let digits = word.replace('_', "").to_ascii_lowercase();
    let types = ["u8", "u16", "u32", "u64", "u128", "usize", "i32", "i64"];
    let digits = types.iter().find_map(|suffix| digits.strip_suffix(suffix)).unwrap_or(&digits);
    match digits.strip_prefix("0x") {
        Some(hex) => u128::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAL: &str = "const HEADER_LEN: usize = 4 + 2 * 8;\n\
                       /// See FORMAT.md section 2.\n#[rustfmt::skip]\npub(crate) const MAGIC: [u8; 4] = *b\"W\\x41\\0;\";\n\
                       const MAX_LEN: u64 = 1 << 30;\nconst BOTH: usize = HEADER_LEN + MAX_KEY_LEN as usize;\n\
                       const MAX_KEY_LEN: u16 = u16::MAX;\nconst SALT: u64 = 0xDEAD_beef;";

    fn findings(table: &str, source: &str) -> Vec<String> {
        let page = format!(
            "# Format\n| `IGNORED` | 1 |\n## Appendix: Constants\n| name | value |\n|---|---|\n{table}"
        );
        let file = RustFile::new("crates/cairndb/src/wal.rs", source);
        check(Some(&page), &[&file]).findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn equal_values_pass() {
        let table = "| `HEADER_LEN` | 20 | bytes |\n| `MAGIC` | `b\"WA\\0;\"` |\n| `wal::MAX_LEN` | 1_073_741_824 |\n\
                     | `BOTH` | 65_555 |\n| `SALT` | 0xDEADBEEF |";
        assert_eq!(findings(table, WAL), [""; 0]);
    }

    #[test]
    fn a_different_value_is_a_finding() {
        let magic = "| `MAGIC` | b\"WA\\0;\" |\n";
        let finding = ["`HEADER_LEN` is 21 (0x15) here, 20 (0x14) at crates/cairndb/src/wal.rs:1"];
        assert_eq!(findings(&format!("{magic}| `HEADER_LEN` | 21 |"), WAL), finding);
        assert_eq!(findings("| `MAGIC` | b\"WAL;\" |", WAL).len(), 1);
        assert_eq!(findings(&format!("{magic}| `SALT` | about 3 |"), WAL).len(), 1);
    }

    #[test]
    fn a_missing_constant_is_a_finding() {
        let magic = "| `MAGIC` | b\"WA\\0;\" |\n";
        assert_eq!(
            findings(&format!("{magic}| `GONE` | 1 |"), WAL),
            ["`GONE`: the source has no such constant"]
        );
        assert_eq!(findings(&format!("{magic}| `manifest::HEADER_LEN` | 20 |"), WAL).len(), 1);
        assert_eq!(
            findings("| `SALT` | 0xDEADBEEF |", WAL),
            ["`MAGIC` cites FORMAT.md, whose table does not have it"]
        );
        assert_eq!(check(None, &[]).findings.len(), 1);
    }

    #[test]
    fn unreadable_and_unequal_sources_are_findings() {
        assert_eq!(findings("| `X` | 8 |", "const X: usize = size_of::<u64>();").len(), 1);
        assert_eq!(findings("| `X` | 8 |", "mod a { const X: u8 = 8; } mod b { const X: u8 = 9; }").len(), 1);
    }
}
