//! Rooms: a module of the engine uses only the modules that stand above it in the list.
//!
//! `lib.rs` lists the rooms bottom-up, each beneath everything it uses, and a room with rooms of its own lists
//! those in the same way. So the list can be read as the order in which to learn the engine, and no two modules
//! depend on each other. A `crate::` or `super::` path that goes to a sibling further down, or to the room's own
//! front that hides where it goes, is a finding.
//!
//! # Why this way
//! What `lib.rs` or a room's front module uses is its own business: it stands above all of its children. Inside a
//! room a child may use items of its front module (`super::Item`), which the tree of a small room needs; at the
//! root it may not, because `crate::Item` says nothing about which room it comes from.

use std::collections::BTreeMap;

use super::source::{CodePath, RustFile, modules, paths_from};
use super::{Checked, Finding};

/// Where the rooms are.
pub(super) const DIRECTORY: &str = "crates/cairndb/src/";

pub(super) fn check(files: &[&RustFile]) -> Checked {
    let order: Order = files.iter().map(|file| (module_path(&file.path), modules(&file.code))).collect();
    let room_count = order.get(&Vec::new()).map_or(0, Vec::len);
    if room_count == 0 {
        let finding = Finding::new(&format!("{DIRECTORY}lib.rs"), 1, "lists no modules");
        return Checked { looked_at: "0 rooms".into(), findings: vec![finding] };
    }
    let mut reference_count = 0;
    let mut findings = Vec::new();
    for file in files {
        let module = module_path(&file.path);
        if module.is_empty() || file.is_test() || is_undeclared(&order, &module) {
            continue;
        }
        for path in paths_from(&file.code, &["crate", "super"]) {
            reference_count += 1;
            if let Some(what) = judge(&order, &module, &path) {
                findings.push(Finding::new(&file.path, file.line(path.offset), what));
            }
        }
    }
    Checked { looked_at: format!("{room_count} rooms, {reference_count} references"), findings }
}

/// The children of each module, in the order in which it lists them. The root is the empty path.
type Order = BTreeMap<Vec<String>, Vec<String>>;

/// `crates/cairndb/src/sstable/block.rs` is `[sstable, block]`, `db/mod.rs` and `db.rs` are `[db]`.
fn module_path(file: &str) -> Vec<String> {
    let inside = file.strip_prefix(DIRECTORY).unwrap_or(file).trim_end_matches(".rs");
    let mut parts: Vec<String> = inside.split('/').map(str::to_string).collect();
    if ["lib", "mod"].contains(&parts[parts.len() - 1].as_str()) {
        parts.pop();
    }
    parts
}

/// Whether some parent on the way to this module does not list it, or lists it for tests only.
fn is_undeclared(order: &Order, module: &[String]) -> bool {
    (0..module.len())
        .any(|depth| order.get(&module[..depth]).is_some_and(|children| !children.contains(&module[depth])))
}

/// What is wrong with a path used in `module`, if something is.
fn judge(order: &Order, module: &[String], path: &CodePath) -> Option<String> {
    let target = resolve(module, &path.segments)?;
    let depth = module.iter().zip(&target).take_while(|(ours, theirs)| ours == theirs).count();
    if depth == module.len() {
        return None;
    }
    let siblings = order.get(&module[..depth]).map_or(&[][..], Vec::as_slice);
    let place = |name: &String| siblings.iter().position(|sibling| sibling == name);
    let written = path.segments.join("::");
    match target.get(depth).map(|name| (name, place(name))) {
        Some((name, Some(theirs))) => (place(&module[depth])? < theirs)
            .then(|| format!("`{written}`: `{}` stands above `{name}` and may not use it", module[depth])),
        _ if depth == 0 => Some(format!("`{written}` names no room; write crate::room::Item")),
        _ => None,
    }
}

/// The path from the root, without `crate` and `super`; `None` if it leads out of the crate.
fn resolve(module: &[String], segments: &[String]) -> Option<Vec<String>> {
    let ups = segments.iter().take_while(|segment| *segment == "super").count();
    let base = if segments[0] == "crate" { &[][..] } else { &module[..module.len().checked_sub(ups)?] };
    let rest = if segments[0] == "crate" { &segments[1..] } else { &segments[ups..] };
    Some([base, rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: (&str, &str) = (
        "lib.rs",
        "mod error; pub mod key; mod sstable; #[cfg(test)] mod stage; pub use key::Key; use sstable::X;",
    );

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let files = [&[LIB], files].concat();
        let files: Vec<_> =
            files.iter().map(|(path, text)| RustFile::new(&format!("{DIRECTORY}{path}"), text)).collect();
        check(&files.iter().collect::<Vec<_>>()).findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_room_may_use_what_stands_above_it() {
        assert_eq!(findings(&[("key.rs", "use crate::error::Error; use crate::key::Key;")]), [""; 0]);
        assert_eq!(findings(&[("sstable/mod.rs", "mod block; use crate::{error, key::Key};")]), [""; 0]);
    }

    #[test]
    fn a_room_may_not_use_what_stands_below_it() {
        let below = ["`crate::sstable::X`: `key` stands above `sstable` and may not use it"];
        assert_eq!(findings(&[("key.rs", "use crate::{error::Error, sstable::X};")]), below);
        assert_eq!(findings(&[("key.rs", "fn f() { super::sstable::x() }")]).len(), 1);
        assert_eq!(findings(&[("key/parts.rs", "use crate::sstable;"), ("key.rs", "mod parts;")]).len(), 1);
    }

    #[test]
    fn the_front_door_hides_the_room() {
        assert_eq!(
            findings(&[("error.rs", "use crate::Key;")]),
            ["`crate::Key` names no room; write crate::room::Item"]
        );
    }

    #[test]
    fn rooms_inside_a_room_have_an_order_too() {
        let front = ("sstable/mod.rs", "mod block; mod reader; pub struct Meta;");
        assert_eq!(
            findings(&[front, ("sstable/reader.rs", "use super::block::Block; use super::Meta;")]),
            [""; 0]
        );
        assert_eq!(findings(&[front, ("sstable/block.rs", "use super::reader::Reader;")]).len(), 1);
        assert_eq!(findings(&[front, ("sstable/block.rs", "use crate::sstable::reader::Reader;")]).len(), 1);
        assert_eq!(findings(&[front, ("sstable/error.rs", "use super::super::error::Error;")]), [""; 0]);
    }

    #[test]
    fn tests_may_use_everything() {
        assert_eq!(findings(&[("key.rs", "#[cfg(test)] mod tests { use crate::sstable::X; }")]), [""; 0]);
        assert_eq!(
            findings(&[("key/tests.rs", "use crate::sstable::X;"), ("stage.rs", "use crate::Key;")]),
            [""; 0]
        );
    }

    #[test]
    fn an_empty_list_is_a_finding() {
        assert_eq!(check(&[]).findings.len(), 1);
    }
}
