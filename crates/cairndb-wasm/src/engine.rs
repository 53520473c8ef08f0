//! Engine: the database as JavaScript calls it.
//!
//! Bytes and numbers in, bytes and numbers out; what is pleasant to use is made of it in `npm/`. Of one thread. All calls but
//! `open` and `topUp` are done when they return. Errors are thrown as `Error`s named `CairnError`, with the engine's `kind`.
//!
//! # Where it sits
//! Called by `npm/host.js`; stands on everything here.

use std::cell::RefCell;
use std::sync::Arc;

use cairndb::{
    BackupMode, Batch, Compression, Condition, Db, Durability, Error, Options, Outcome, Reader, Scan,
    Snapshot,
};
use cairndb_storage::{Memory, Storage};
use js_sys::{Array, Object, Reflect};
use wasm_bindgen::prelude::*;

use crate::js::{console_error, now_ms, random_id};
use crate::memory::{PAGE_LEN, take_memory};
use crate::opfs::{OpenError, Opfs};
use crate::tar::{Tar, Target};
use crate::wire::{Request, Requests, put_bytes};

/// What an instance takes beside the engine's budget, and an eighth that lies idle between what is in use: its code's data, and the
/// messages that it is working on.
const OVERHEAD_BYTES: u64 = 4 << 20;

/// How often an open is tried again with more spares: each time there are twice as many.
const OPEN_TRIES: usize = 8;

/// An open database.
#[wasm_bindgen]
pub struct Engine {
    db: Db,
    /// `None` for one in memory.
    opfs: Option<Opfs>,
    held: RefCell<Held>,
}

/// What JavaScript holds, by the numbers that it was given.
#[derive(Default)]
struct Held {
    last: u32,
    things: Vec<(u32, Thing)>,
}

enum Thing {
    Snapshot(Snapshot),
    Scan(Box<Scanning>),
    Export(Tar),
}

struct Scanning {
    scan: Scan,
    is_reverse: bool,
    /// Entries that may still come.
    left: f64,
    with_values: bool,
}

impl Held {
    fn add(&mut self, thing: Thing) -> u32 {
        self.last += 1;
        self.things.push((self.last, thing));
        self.last
    }

    fn get(&mut self, number: u32) -> Result<&mut Thing, JsValue> {
        let found = self.things.iter_mut().find(|(held, _)| *held == number);
        found.map(|(_, thing)| thing).ok_or_else(released)
    }
}

fn released() -> JsValue {
    thrown_text("Invalid", "the snapshot, scan or export has been released")
}

#[wasm_bindgen]
impl Engine {
    /// Opens the database `name` of this origin, or without a name a new one in memory.
    ///
    /// `memory_budget_bytes` is the whole instance's, at least 8 MiB. What a write waits for is said at each [`Engine::sync`].
    pub async fn open(name: Option<String>, memory_budget_bytes: f64, lz4: bool) -> Result<Engine, JsValue> {
        std::panic::set_hook(Box::new(|panic| console_error(&format!("cairndb: {panic}"))));
        let instance_bytes = memory_budget_bytes as u64;
        take_memory(instance_bytes);
        let options = Options {
            memory_budget_bytes: (instance_bytes - instance_bytes / 8).saturating_sub(OVERHEAD_BYTES),
            compression: if lz4 { Compression::Lz4 } else { Compression::None },
            ..Options::new(Arc::new(now_ms), Arc::new(random_id))
        };
        let (db, opfs) = match name {
            None => (Db::open_with(Arc::new(Memory::default()), options).map_err(thrown)?, None),
            Some(name) => {
                let opfs = Opfs::open(&name).await.map_err(thrown_open)?;
                (open_on(&opfs, &options).await.map_err(thrown)?, Some(opfs))
            }
        };
        Ok(Engine { db, opfs, held: RefCell::default() })
    }

    /// The value of a key; `snapshot` is 0 for the present.
    pub fn get(&self, snapshot: u32, key: &[u8]) -> Result<Option<Vec<u8>>, JsValue> {
        let value = self.read(snapshot, |reader| reader.get(key))?;
        Ok(value.map(cairndb::Value::into_vec))
    }

    /// Writes the requests of `wire.js`, and says of each how it went: `undefined` or, of a compare-and-swap, whether
    /// it was done; or the error. After a `Busy` nothing more is written. None of it need survive anything before [`Engine::sync`] has returned.
    pub fn write(&self, requests: &[u8]) -> Array {
        let db = self.db.with_durability(Durability::Buffered);
        let mut requests = Requests::new(requests);
        let results = Array::new();
        while let Some(request) = requests.next() {
            let result = match request {
                Request::Batch(batch) => db.write(batch).map(|_| JsValue::UNDEFINED),
                Request::Swap { key, expected, new } => {
                    let condition = match expected {
                        Some(value) => Condition::value_equal(key, value),
                        None => Condition::absent(key),
                    };
                    let mut batch = Batch::new();
                    match new {
                        Some(value) => batch.put(key, value),
                        None => batch.delete(key),
                    };
                    let outcome = db.write_if(batch, &[condition]);
                    outcome.map(|outcome| matches!(outcome, Outcome::Written(_)).into())
                }
            };
            let is_busy = matches!(result, Err(Error::Busy { .. }));
            results.push(&result.unwrap_or_else(thrown));
            if is_busy {
                // What comes behind it must not overtake it: both are tried again.
                break;
            }
        }
        results
    }

    /// Has everything written before it survive a power loss (2), this instance (1), or neither (0).
    pub fn sync(&self, durability: u8) -> Result<(), JsValue> {
        let durability = match durability {
            0 => Durability::Buffered,
            1 => Durability::Os,
            _ => Durability::Sync,
        };
        self.db.with_durability(durability).write(Batch::new()).map(|_| ()).map_err(thrown)
    }

    /// Holds the present moment under a number, until it is released.
    pub fn snapshot(&self) -> Result<u32, JsValue> {
        let snapshot = self.db.snapshot().map_err(thrown)?;
        Ok(self.held.borrow_mut().add(Thing::Snapshot(snapshot)))
    }

    /// Begins to read a stretch of keys, from `start` to before `end` if there is one, at most `limit` of them.
    #[wasm_bindgen(js_name = scan)]
    pub fn begin_scan(
        &self,
        snapshot: u32,
        start: &[u8],
        end: Option<Vec<u8>>,
        is_reverse: bool,
        limit: f64,
        with_values: bool,
    ) -> Result<u32, JsValue> {
        let scan = self.read(snapshot, |reader| {
            Ok(match &end {
                Some(end) => reader.scan(start..end.as_slice()),
                None => reader.scan(start..),
            })
        })?;
        Ok(self.held.borrow_mut().add(Thing::Scan(Box::new(Scanning {
            scan,
            is_reverse,
            left: limit,
            with_values,
        }))))
    }

    /// The scan's next entries, about `len` bytes of them; none at its end.
    #[wasm_bindgen(js_name = scanNext)]
    pub fn scan_next(&self, number: u32, len: usize) -> Result<Vec<u8>, JsValue> {
        let mut held = self.held.borrow_mut();
        let Thing::Scan(scanning) = held.get(number)? else { return Err(released()) };
        let mut out = Vec::new();
        while out.len() < len && scanning.left > 0.0 {
            let next = if scanning.is_reverse { scanning.scan.next_back() } else { scanning.scan.next() };
            let Some(entry) = next else {
                scanning.left = 0.0;
                break;
            };
            let (key, value) = entry.map_err(thrown)?;
            put_bytes(&mut out, &key);
            put_bytes(&mut out, if scanning.with_values { &value } else { &[] });
            scanning.left -= 1.0;
        }
        let is_over = out.is_empty();
        drop(held);
        if is_over {
            self.release(number);
        }
        Ok(out)
    }

    /// Begins an openable copy of the database, as a tar file.
    #[wasm_bindgen(js_name = export)]
    pub fn begin_export(&self) -> Result<u32, JsValue> {
        let target = Target::default();
        self.db.backup(&target, BackupMode::Link).map_err(thrown)?;
        let tar = Tar::of(target).map_err(|error| thrown_text("Io", &error.to_string()))?;
        Ok(self.held.borrow_mut().add(Thing::Export(tar)))
    }

    /// The export's next bytes, about `len`; none at its end.
    #[wasm_bindgen(js_name = exportNext)]
    pub fn export_next(&self, number: u32, len: usize) -> Result<Vec<u8>, JsValue> {
        let mut held = self.held.borrow_mut();
        let Thing::Export(tar) = held.get(number)? else { return Err(released()) };
        let bytes = tar.next(len).map_err(|error| thrown_text("Io", &error.to_string()))?;
        drop(held);
        if bytes.is_empty() {
            self.release(number);
        }
        Ok(bytes)
    }

    /// Lets go of a snapshot, scan or export.
    pub fn release(&self, number: u32) {
        let mut held = self.held.borrow_mut();
        let gone = held.things.iter().position(|(other, _)| *other == number);
        let gone = gone.map(|index| held.things.swap_remove(index));
        // What it held of the engine goes when nobody looks at the others.
        drop(held);
        drop(gone);
    }

    /// Moves what is in memory into tables, so that recovery has nothing to replay. `Busy` if there is no spare for them.
    pub fn checkpoint(&self) -> Result<Object, JsValue> {
        let moved = self.db.checkpoint().map_err(thrown)?;
        let checkpoint = Object::new();
        set(&checkpoint, "wal", moved.after.wal as f64);
        set(&checkpoint, "seq", moved.after.seq as f64);
        Ok(checkpoint)
    }

    /// Makes one step of the work that writes leave behind; whether more is waiting. `is_idle`: it may be what an idle
    /// database owes.
    pub fn maintain(&self, is_idle: bool) -> Result<bool, JsValue> {
        let stepped = if is_idle { self.db.maintain() } else { self.db.maintain_due() };
        stepped.map_err(thrown)
    }

    /// Whether there is something for `topUp` to do.
    #[wasm_bindgen(js_name = wantsTopUp)]
    pub fn wants_top_up(&self) -> bool {
        self.opfs.as_ref().is_some_and(Opfs::wants_top_up)
    }

    /// Makes the spare files that are wanted.
    #[wasm_bindgen(js_name = topUp)]
    pub async fn top_up(&self) -> Result<(), JsValue> {
        let Some(opfs) = self.opfs.clone() else { return Ok(()) };
        opfs.top_up().await.map_err(|error| thrown_text("Io", &format!("making files ahead: {error}")))
    }

    /// What the database holds and has done.
    pub fn stats(&self) -> Object {
        let stats = self.db.stats();
        let told = Object::new();
        for (name, value) in stats.rows() {
            set(&told, name, value as f64);
        }
        let levels = Array::new();
        for level in &stats.levels {
            let row = Object::new();
            set(&row, "tables", level.tables as f64);
            set(&row, "entries", level.entries as f64);
            set(&row, "deletes", level.deletes as f64);
            set(&row, "bytes", level.bytes as f64);
            levels.push(&row);
        }
        set(&told, "levels", levels);
        set(&told, "stopped", stats.stopped);
        set(&told, "maintenance_error", stats.maintenance_error);
        set(&told, "wasm_bytes", core::arch::wasm32::memory_size(0) as f64 * PAGE_LEN as f64);
        told
    }

    /// What opening the database found and did.
    pub fn recovery(&self) -> Object {
        let report = self.db.recovery();
        let told = Object::new();
        set(&told, "created", report.created);
        set(&told, "sealed", report.sealed);
        set(&told, "wals", report.wals as f64);
        set(&told, "records", report.records as f64);
        set(&told, "entries", report.entries as f64);
        set(&told, "torn_bytes", report.torn_bytes as f64);
        set(&told, "torn", report.torn.clone());
        set(&told, "files_removed", report.files_removed as f64);
        set(&told, "took_ms", report.took_ms as f64);
        told
    }

    /// Checks every byte on the disk against what was promised.
    pub fn verify(&self) -> Result<Object, JsValue> {
        let found = self.db.verify().map_err(thrown)?;
        let told = Object::new();
        set(&told, "ok", found.ok());
        set(&told, "files", found.files as f64);
        set(&told, "bytes", found.bytes as f64);
        let checks = Array::new();
        for check in &found.checks {
            let row = Object::new();
            set(&row, "promise", f64::from(check.promise));
            set(&row, "seen", check.seen);
            set(&row, "what", check.what.as_str());
            let problems: Array =
                check.problems.iter().map(|error| JsValue::from(error.to_string())).collect();
            set(&row, "problems", problems);
            checks.push(&row);
        }
        set(&told, "checks", checks);
        Ok(told)
    }

    /// Closes the database and its files. It is closed also if that fails.
    pub fn close(&self) -> Result<(), JsValue> {
        let held = std::mem::take(&mut *self.held.borrow_mut());
        drop(held);
        let closed = self.db.close();
        self.opfs.iter().for_each(Opfs::close);
        closed.map_err(thrown)
    }
}

impl Engine {
    fn read<T>(&self, snapshot: u32, read: impl FnOnce(&Reader) -> cairndb::Result<T>) -> Result<T, JsValue> {
        if snapshot == 0 {
            return read(&self.db).map_err(thrown);
        }
        match self.held.borrow_mut().get(snapshot)? {
            Thing::Snapshot(snapshot) => read(snapshot).map_err(thrown),
            _ => Err(released()),
        }
    }
}

/// Opens the engine, with spares for what it makes; and makes those anew that it has used. Spares are counted from what was
/// found in the directory, so those that an earlier session left are used, and none are left behind.
pub async fn open_on(opfs: &Opfs, options: &Options) -> cairndb::Result<Db> {
    let top_up = async || {
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::StorageFull => {
                Error::DiskFull { what: format!("making files ahead: {error}") }
            }
            _ => Error::Io { what: "making files ahead".into(), source: Arc::new(error) },
        };
        opfs.top_up().await.map_err(failed)
    };
    for _ in 0..OPEN_TRIES {
        top_up().await?;
        match Db::open_with(Arc::new(opfs.clone()) as Arc<dyn Storage>, options.clone()) {
            Err(Error::Busy { .. }) => opfs.want_more(),
            opened => {
                let db = opened?;
                top_up().await?;
                return Ok(db);
            }
        }
    }
    Err(Error::Busy { what: "the logs would take more files than can be made ahead".into() })
}

/// An error as it is thrown.
fn thrown(error: Error) -> JsValue {
    let kind = match &error {
        Error::Io { .. } => "Io",
        Error::Corrupt { .. } => "Corrupt",
        Error::DiskFull { .. } => "DiskFull",
        Error::Invalid { .. } => "Invalid",
        Error::Busy { .. } => "Busy",
        Error::Closed => "Closed",
        Error::Locked { .. } => "Locked",
        Error::ReadOnly => "ReadOnly",
        Error::Stopped { .. } => "Stopped",
        _ => "Io",
    };
    let value = thrown_text(kind, &error.to_string());
    if let Error::Corrupt { file, offset, .. } = &error {
        set(value.unchecked_ref(), "file", file.as_str());
        set(value.unchecked_ref(), "offset", *offset as f64);
    }
    value
}

fn thrown_open(error: OpenError) -> JsValue {
    match error {
        OpenError::Held => thrown_text("Locked", "the database is open in another tab or worker"),
        OpenError::Io(error) => {
            thrown(Error::Io { what: "opening the directory".into(), source: Arc::new(error) })
        }
    }
}

fn thrown_text(kind: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    error.set_name("CairnError");
    set(error.unchecked_ref(), "kind", kind);
    error.into()
}

/// A fresh object takes any property.
fn set(object: &Object, name: &str, value: impl Into<JsValue>) {
    drop(Reflect::set(object, &name.into(), &value.into()));
}
