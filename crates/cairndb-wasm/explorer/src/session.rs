//! Session: one database on the page: what was given, a copy of it, and the steps that were made on the copy.
//!
//! # Invariants
//! - I1. What was given is never changed: every step works on the copy, and `restart` makes a fresh one.
//!
//! # Why this way
//! The copy is opened when the first step needs it, for opening writes: a new log, a new manifest. A learner is to see that
//! too, so it is a step of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairndb::dissect;
use cairndb::{Db, Durability, Error, LookAnswer, LookPlace, Options, Reader};
use cairndb_storage::{Faulty, FileName, Operation, Storage};
use serde::Serialize;

use crate::oracle::{Oracle, Write};
use crate::recorder::{Call, Recorder, Recording};
use crate::told::{
    File, ToldCall, ToldFields, ToldMoment, ToldOpen, ToldPart, ToldSearch, ToldStep, ToldTree, kind,
};

/// The engine's budget here: small, so that a memtable is soon full.
const MEMORY_BUDGET_BYTES: u64 = 32 << 20;

/// Moments are kept of so many steps, the last ones.
const STEPS_WITH_MOMENTS: usize = 6;

/// The site of what is read here.
const SITE: &str = "explorer";

/// What a step does.
#[derive(Clone, Debug)]
pub enum Verb {
    /// Opens the copy, with all that recovery does.
    Open,
    /// Puts a value under a key of a keyspace.
    Put(u8, Vec<u8>, Vec<u8>, Durability),
    /// Deletes a key of a keyspace.
    Delete(u8, Vec<u8>, Durability),
    /// Reads a key of a keyspace.
    Get(u8, Vec<u8>),
    /// Moves the memtable into a table.
    Flush,
    /// Makes one step of maintenance.
    Maintain,
    /// Compacts everything.
    Compact,
    /// Closes the copy.
    Close,
}

/// A database on the page. Of one thread.
pub struct Session {
    given: BTreeMap<FileName, Vec<u8>>,
    pub(crate) recorder: Recorder,
    pub(crate) db: Option<Db>,
    pub(crate) steps: Vec<Step>,
    pub(crate) oracle: Oracle,
    pub(crate) options: Options,
    /// The parts of the file that was last asked for: finding them reads all of it.
    parts: RefCell<Option<(FileName, Arc<[dissect::Part]>)>>,
}

/// A step that was made.
pub(crate) struct Step {
    pub(crate) title: String,
    answer: Result<String, String>,
    looks: Vec<String>,
    pub(crate) recording: Recording,
    /// Syncs were lies while it was made.
    pub(crate) was_lied_to: bool,
}

impl Session {
    /// A session without files. `now_ms` is what its clock says from then on; `seed` begins the ids of its incarnations.
    pub fn new(now_ms: u64, seed: u64) -> Session {
        let next = AtomicU64::new(0);
        let ids = move || (u128::from(seed) << 64) | u128::from(next.fetch_add(1, Ordering::Relaxed));
        let options = Options::new(Arc::new(move || now_ms), Arc::new(ids));
        Session {
            given: BTreeMap::new(),
            recorder: Recorder::new(Faulty::default()),
            db: None,
            steps: Vec::new(),
            oracle: Oracle::default(),
            options: Options { memory_budget_bytes: MEMORY_BUDGET_BYTES, ..options },
            parts: RefCell::default(),
        }
    }

    /// Adds a file that was given; whether it is one of a database's.
    pub fn add(&mut self, name: &str, bytes: Vec<u8>) -> bool {
        let Ok(name) = name.parse::<FileName>() else { return false };
        self.recorder.disk.write_file(name, &bytes);
        self.parts.take();
        self.given.insert(name, bytes);
        true
    }

    /// Goes back to what was given.
    pub fn restart(&mut self) {
        let disk = Faulty::default();
        for (name, bytes) in &self.given {
            disk.write_file(*name, bytes);
        }
        self.go_on_with(disk);
    }

    /// Takes another disk for the copy.
    pub(crate) fn go_on_with(&mut self, disk: Faulty) {
        // A database that is let go of closes, and would write.
        self.recorder.disk.kill();
        self.db = None;
        self.recorder = Recorder::new(disk);
        self.steps.clear();
        self.oracle = Oracle::default();
        self.parts.take();
    }

    /// Has the copy's disk say of every sync that it was done, and not do it.
    pub fn lie(&mut self, lies: bool) {
        self.recorder.lie(lies);
    }

    /// The files, and what the newest manifest says of them, as JSON.
    pub fn tree(&self) -> Result<String, String> {
        let disk = &self.recorder.disk;
        let mut files = Vec::new();
        for name in disk.list(SITE).map_err(text)? {
            let len = disk.open(SITE, name).and_then(|file| file.len(SITE)).map_err(text)?;
            files.push(File { name: name.to_string(), kind: kind(name.kind), len });
        }
        let open = self.db.as_ref().map(|db| ToldOpen {
            memtable_bytes: db.stats().memtable_bytes,
            seq: db
                .snapshot()
                .map_or_else(|error| error.to_string(), |snapshot| format!("@{}", snapshot.seq())),
            recovery: recovery(db),
        });
        json(&ToldTree::new(dissect::tree(disk).map_err(text)?, files, open))
    }

    /// A file's parts, as JSON.
    pub fn parts(&self, name: &str) -> Result<String, String> {
        let (name, file) = self.open_file(name)?;
        let parts = self.parts_of(name, &file)?;
        json(&parts.iter().cloned().map(ToldPart::from).collect::<Vec<_>>())
    }

    /// The fields of the part of a file that begins at `offset`, as JSON.
    pub fn fields(&self, name: &str, offset: u64) -> Result<String, String> {
        let taken = self.taken(name, offset)?;
        let told = |fields: Vec<dissect::Field>| fields.into_iter().map(Into::into).collect();
        json(&ToldFields {
            stored: told(taken.stored),
            unpacked: taken.unpacked.map(|(_, fields)| told(fields)),
        })
    }

    /// The bytes of the packed block that begins at `offset`, unpacked.
    pub fn unpacked(&self, name: &str, offset: u64) -> Result<Vec<u8>, String> {
        Ok(self.taken(name, offset)?.unpacked.map(|(bytes, _)| bytes).unwrap_or_default())
    }

    /// Bytes of a file.
    pub fn bytes(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, String> {
        let (_, file) = self.open_file(name)?;
        let there = file.len(SITE).map_err(text)?.saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(there).unwrap_or(usize::MAX).min(len)];
        let count = file.read_at(SITE, offset, &mut bytes).map_err(text)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// The way to a key, as JSON.
    pub fn search(&self, keyspace: u8, key: &[u8]) -> Result<String, String> {
        let found = dissect::search(&self.recorder.disk, keyspace, key).map_err(text)?;
        json(&ToldSearch::from(found))
    }

    /// Makes a step, after the one that opens the copy if that has not been made; tells of both, as JSON. That it failed is
    /// told too, and is no error.
    pub fn step(&mut self, verb: Verb) -> Result<String, String> {
        let first = self.steps.len();
        if self.db.is_none() && !matches!(verb, Verb::Open | Verb::Close) {
            self.make(&Verb::Open);
        }
        if self.db.is_some() || matches!(verb, Verb::Open) {
            self.make(&verb);
        }
        let old = self.steps.len().saturating_sub(STEPS_WITH_MOMENTS);
        for step in &mut self.steps[..old] {
            step.recording.moments.clear();
        }
        json(&(first..self.steps.len()).map(|index| self.told(index)).collect::<Vec<_>>())
    }

    fn parts_of(
        &self,
        name: FileName,
        file: &Arc<dyn cairndb_storage::File>,
    ) -> Result<Arc<[dissect::Part]>, String> {
        if let Some((_, parts)) = self.parts.borrow().as_ref().filter(|(known, _)| *known == name) {
            return Ok(Arc::clone(parts));
        }
        let parts: Arc<[dissect::Part]> = dissect::parts(file, name).map_err(text)?.into();
        *self.parts.borrow_mut() = Some((name, Arc::clone(&parts)));
        Ok(parts)
    }

    fn make(&mut self, verb: &Verb) {
        self.parts.take();
        let mut looks = Vec::new();
        let title = title(verb);
        let was_lied_to = self.recorder.lies();
        let answer = self.work(verb, &mut looks).map_err(|error| error.to_string());
        let recording = self.recorder.take();
        self.steps.push(Step { title, answer, looks, recording, was_lied_to });
    }

    fn work(&mut self, verb: &Verb, looks: &mut Vec<String>) -> cairndb::Result<String> {
        if let Verb::Open = verb {
            let opened = Db::open_with(Arc::new(self.recorder.clone()), self.options.clone())?;
            let told = recovery(&opened);
            self.db = Some(opened);
            return Ok(told);
        }
        let db = self.db.clone().ok_or(Error::Closed)?;
        match verb {
            Verb::Put(keyspace, key, value, durability) => {
                self.write(&db, (*keyspace, key.clone()), Some(value.clone()), *durability)?;
                Ok(format!("written, and visible: @{}", db.snapshot()?.seq()))
            }
            Verb::Delete(keyspace, key, durability) => {
                self.write(&db, (*keyspace, key.clone()), None, *durability)?;
                Ok(format!("deleted: @{}", db.snapshot()?.seq()))
            }
            Verb::Get(keyspace, key) => {
                let keyspace = db.keyspace(*keyspace)?;
                let value = keyspace.get(key)?;
                let looked = Reader::explain(&keyspace, key)?;
                looks.extend(
                    looked.iter().map(|look| format!("{}: {}", place(look.place), answer(look.answer))),
                );
                Ok(value.map_or("nothing".into(), |value| format!("\"{}\"", value[..].escape_ascii())))
            }
            Verb::Flush => db.flush().map(|()| "what was in memory is in a table".into()),
            Verb::Maintain => {
                let more = db.maintain()?;
                Ok(if more { "more is waiting" } else { "nothing more is waiting" }.into())
            }
            Verb::Compact => db.compact().map(|()| "nothing is left that nobody can see".into()),
            Verb::Open | Verb::Close => {
                let closed = db.close();
                self.db = None;
                closed.map(|()| "closed cleanly: the log is sealed".into())
            }
        }
    }

    fn write(
        &mut self,
        db: &Db,
        place: (u8, Vec<u8>),
        value: Option<Vec<u8>>,
        durability: Durability,
    ) -> cairndb::Result<()> {
        let keyspace = db.with_durability(durability).keyspace(place.0)?;
        let step = self.steps.len();
        let (key, new) = (place.1.clone(), value.clone());
        self.oracle.begin(db, Write { step, place, value, durability, is_acknowledged: false })?;
        let written = match new {
            Some(value) => keyspace.put(key, value),
            None => keyspace.delete(key),
        };
        self.oracle.end(written.is_ok(), matches!(written, Err(Error::Io { .. })));
        written
    }

    fn told(&self, index: usize) -> ToldStep {
        let step = &self.steps[index];
        let (answer, failed) = match &step.answer {
            Ok(answer) => (answer.clone(), false),
            Err(error) => (error.clone(), true),
        };
        let moment = |moment: &crate::recorder::Moment| ToldMoment {
            title: match step.recording.calls.get(moment.call) {
                Some(call) => format!("before {}", call_text(call)),
                None => "when it is done".into(),
            },
            unsynced: crate::crash::unsynced(&moment.disk).len(),
        };
        ToldStep {
            index,
            title: step.title.clone(),
            answer,
            failed,
            calls: step.recording.calls.iter().map(told_call).collect(),
            dropped: step.recording.dropped,
            looks: step.looks.clone(),
            moments: step.recording.moments.iter().map(moment).collect(),
        }
    }

    fn open_file(&self, name: &str) -> Result<(FileName, Arc<dyn cairndb_storage::File>), String> {
        let name: FileName = name.parse().map_err(|error| format!("{name}: {error}"))?;
        Ok((name, self.recorder.disk.open(SITE, name).map_err(text)?))
    }

    fn taken(&self, name: &str, offset: u64) -> Result<dissect::Taken, String> {
        let (name, file) = self.open_file(name)?;
        let parts = self.parts_of(name, &file)?;
        let part = parts.iter().find(|part| part.offset == offset).ok_or("no part begins there")?;
        dissect::fields(&file, name, part).map_err(text)
    }
}

pub(crate) fn json(told: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(told).map_err(text)
}

pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn title(verb: &Verb) -> String {
    let shown = |keyspace: u8, key: &[u8]| {
        let key = key.escape_ascii();
        if keyspace == 0 { format!("\"{key}\"") } else { format!("{keyspace}/\"{key}\"") }
    };
    match verb {
        Verb::Open => "open".into(),
        Verb::Put(keyspace, key, _, durability) => {
            format!("put {}, {}", shown(*keyspace, key), wait(*durability))
        }
        Verb::Delete(keyspace, key, durability) => {
            format!("delete {}, {}", shown(*keyspace, key), wait(*durability))
        }
        Verb::Get(keyspace, key) => format!("get {}", shown(*keyspace, key)),
        Verb::Flush => "flush".into(),
        Verb::Maintain => "one step of maintenance".into(),
        Verb::Compact => "compact".into(),
        Verb::Close => "close".into(),
    }
}

fn wait(durability: Durability) -> &'static str {
    match durability {
        Durability::Buffered => "buffered",
        Durability::Os => "os",
        Durability::Sync => "sync",
    }
}

/// What an open found, in a sentence.
pub(crate) fn recovery(db: &Db) -> String {
    let report = db.recovery();
    if report.created {
        return "there was no database: this is a new one".into();
    }
    let counted =
        |count: u64, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let (entries, logs) =
        (counted(report.entries, "entry", "entries"), counted(report.wals as u64, "log", "logs"));
    let replayed = format!("{entries} replayed from {logs}");
    let how = if report.sealed { "closed cleanly before" } else { "not closed cleanly before" };
    let torn = report.torn.as_ref().map(|torn| format!("; dropped a torn end: {torn}")).unwrap_or_default();
    format!("{how}; {replayed}{torn}")
}

fn place(place: LookPlace) -> String {
    match place {
        LookPlace::ActiveMemtable => "active memtable".into(),
        LookPlace::FrozenMemtable => "frozen memtable".into(),
        LookPlace::Table { level, number } => format!("{number:06}.sst, level {level}"),
    }
}

fn answer(answer: LookAnswer) -> String {
    match answer {
        LookAnswer::FilteredOut => "its filter says no".into(),
        LookAnswer::NotThere => "not there".into(),
        LookAnswer::Value(seq) => format!("a value @{seq}"),
        LookAnswer::Delete(seq) => format!("a delete @{seq}"),
    }
}

fn told_call(call: &Call) -> ToldCall {
    ToldCall {
        operation: operation(call.operation),
        site: call.site,
        file: call.file.map(|name| name.to_string()),
        offset: call.offset,
        len: call.len,
    }
}

fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "create",
        Operation::Open => "open",
        Operation::Remove => "remove",
        Operation::List => "list",
        Operation::SyncNames => "sync names",
        Operation::Lock => "lock",
        Operation::Reserve => "lay down",
        Operation::Append => "append",
        Operation::ReadAt => "read",
        Operation::Len => "length",
        Operation::Sync => "sync",
    }
}

fn call_text(call: &Call) -> String {
    let file = call.file.map(|name| format!(" {name}")).unwrap_or_default();
    match call.operation {
        Operation::Append => format!("append{file}, {} bytes at {}", call.len, call.offset),
        Operation::Reserve => format!("lay down{file}, {} bytes at {}", call.len, call.offset),
        other => format!("{}{file}", operation(other)),
    }
}
