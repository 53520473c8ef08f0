//! Answers: what a database says, as long as nothing goes wrong.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use cairndb_storage::{Faulty, Storage};

use crate::database::{Database, Subject};
use crate::model::{Moment, Operation, read_all, script, shown};

pub(crate) fn put_is_read(subject: &Subject) -> Result<(), String> {
    holds_after(subject, &[Operation::put(b"a", b"1"), Operation::put(b"b", b"2")])
}

pub(crate) fn missing_holds_nothing(subject: &Subject) -> Result<(), String> {
    let mut database = fresh(subject)?;
    equal("a", told(database.get(b"a"))?, None)?;
    told(database.put(b"a", b"1"))?;
    equal("aa", told(database.get(b"aa"))?, None)?;
    equal("an empty key", told(database.get(b""))?, None)
}

pub(crate) fn last_put_counts(subject: &Subject) -> Result<(), String> {
    let puts = [b"1", b"2", b"3"].map(|value| Operation::put(b"a", value));
    holds_after(subject, &puts)
}

pub(crate) fn deleted_holds_nothing(subject: &Subject) -> Result<(), String> {
    let first = [Operation::put(b"a", b"1"), Operation::delete(b"a"), Operation::delete(b"never")];
    holds_after(subject, &first)?;
    holds_after(subject, &[first.as_slice(), &[Operation::put(b"a", b"2")]].concat())
}

pub(crate) fn any_bytes(subject: &Subject) -> Result<(), String> {
    let all: Vec<u8> = (0..=255).collect();
    let puts = [
        Operation::put(b"", b"the empty key"),
        Operation::put(b"an empty value", b""),
        Operation::put(&all, &all),
        Operation::put(&[0], &[0, 0]),
        Operation::put(&[0, 0], &[0]),
        Operation::put(&[255; 300], b"\n\r\0"),
    ];
    holds_after(subject, &puts)
}

pub(crate) fn long_values(subject: &Subject) -> Result<(), String> {
    let puts = [1_u32, 1 << 12, 1 << 16, 1 << 18, 1_000_000].map(|len| {
        let value: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        Operation::put(&len.to_le_bytes(), &value)
    });
    holds_after(subject, &puts)
}

pub(crate) fn as_a_map(subject: &Subject) -> Result<(), String> {
    let (disk, mut moment) = (Faulty::default(), Moment::new());
    let operations = script(1, 6_000, 800, 300);
    for part in operations.chunks(1_500) {
        let mut database = told((subject.open)(Arc::new(disk.clone())))?;
        for operation in part {
            told(operation.run(database.as_mut()))?;
            operation.apply_to(&mut moment);
            let value = told(database.get(&operation.key))?;
            equal(&shown(&operation.key), value.as_ref(), moment.get(&operation.key))?;
        }
        same(&read_all(database.as_mut(), &operations)?, &moment)?;
    }
    Ok(())
}

fn fresh(subject: &Subject) -> Result<Box<dyn Database>, String> {
    told((subject.open)(Arc::new(Faulty::default())))
}

/// Runs the operations and looks at every key, before and after the database was opened again.
fn holds_after(subject: &Subject, operations: &[Operation]) -> Result<(), String> {
    let (disk, mut moment): (Arc<dyn Storage>, _) = (Arc::new(Faulty::default()), Moment::new());
    let mut database = told((subject.open)(Arc::clone(&disk)))?;
    for operation in operations {
        told(operation.run(database.as_mut()))?;
        operation.apply_to(&mut moment);
    }
    same(&read_all(database.as_mut(), operations)?, &moment)?;
    drop(database);
    let mut database = told((subject.open)(disk))?;
    same(&read_all(database.as_mut(), operations)?, &moment)
}

pub(crate) fn told<T>(result: io::Result<T>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// Says which key differs, if one does.
pub(crate) fn same(found: &Moment, wanted: &Moment) -> Result<(), String> {
    for key in wanted.keys().chain(found.keys()) {
        equal(&shown(key), found.get(key), wanted.get(key))?;
    }
    Ok(())
}

fn equal<T: PartialEq + Debug + AsRef<[u8]>>(
    key: &str,
    found: Option<T>,
    wanted: Option<T>,
) -> Result<(), String> {
    let text =
        |value: &Option<T>| value.as_ref().map_or("nothing".to_string(), |value| shown(value.as_ref()));
    if found == wanted { Ok(()) } else { Err(format!("{key} holds {}, not {}", text(&found), text(&wanted))) }
}
