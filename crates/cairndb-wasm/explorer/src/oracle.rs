//! Oracle: what a crash may make of the writes of a session, and what it must not.
//!
//! The writes have an order. A crash may leave any first part of them that holds every write whose `Sync` was
//! acknowledged, and nothing else (promises 1 and 2). So there are few states in which the keys can be, and whatever opens
//! after a crash is in one of them or breaks a promise.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use cairndb::{Db, Durability, Result};

/// A keyspace and a key in it.
pub(crate) type Place = (u8, Vec<u8>);

/// With more keys than this, those that no step has touched are not compared.
const COMPARED_MAX: usize = 5_000;

/// One write of the session.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// The step that made it.
    pub(crate) step: usize,
    pub(crate) place: Place,
    /// `None` for a delete.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) durability: Durability,
    /// It was answered `Ok`.
    pub(crate) is_acknowledged: bool,
}

/// The writes in order, and what their keys held before.
#[derive(Clone, Default)]
pub(crate) struct Oracle {
    writes: Vec<Write>,
    before: BTreeMap<Place, Option<Vec<u8>>>,
}

/// What is true of a state in which a database was found.
pub(crate) struct Judgement {
    pub(crate) is_kept: bool,
    pub(crate) text: String,
}

impl Oracle {
    /// To be called before the write is made, while `db` still holds what was there.
    pub(crate) fn begin(&mut self, db: &Db, write: Write) -> Result<()> {
        if !self.before.contains_key(&write.place) {
            let value = read(db, &write.place)?;
            self.before.insert(write.place.clone(), value);
        }
        self.writes.push(write);
        Ok(())
    }

    /// The last write was answered `Ok`; or it was refused, and never happened.
    pub(crate) fn end(&mut self, is_acknowledged: bool, may_have_happened: bool) {
        if !is_acknowledged && !may_have_happened {
            self.writes.pop();
        } else if let Some(write) = self.writes.last_mut() {
            write.is_acknowledged = is_acknowledged;
        }
    }

    /// Judges what is found after a crash in step `step`, or behind it if `is_over`. `rest` is what [`Oracle::untouched`] says
    /// of the database that went on.
    pub(crate) fn judge(
        &self,
        found: &Db,
        rest: Option<u64>,
        step: usize,
        is_over: bool,
    ) -> Result<Judgement> {
        let begun = self.writes.iter().take_while(|write| write.step <= step).count();
        let answered = |write: &Write| write.is_acknowledged && (write.step < step || is_over);
        let promised = self.writes[..begun]
            .iter()
            .rposition(|write| answered(write) && write.durability == Durability::Sync)
            .map_or(0, |last| last + 1);
        let mut values = BTreeMap::new();
        for place in self.before.keys() {
            values.insert(place.clone(), read(found, place)?);
        }
        let matching = (0..=begun).rev().find(|count| self.after(*count) == values);
        let is_whole = rest.is_none() || self.untouched(found)? == rest;
        let writes =
            |count: usize| if count == 1 { "1 write".to_string() } else { format!("{count} writes") };
        Ok(match matching {
            _ if !is_whole => broken("keys are lost that no step has touched".into()),
            None => broken("what is there is no first part of what was written".into()),
            Some(count) if count < promised => {
                let lost = promised - count;
                let verb = if lost == 1 { "is" } else { "are" };
                broken(format!("{} of {promised} acknowledged with sync {verb} lost", writes(lost)))
            }
            Some(_) if begun == 0 => Judgement { is_kept: true, text: "every key is there".into() },
            Some(count) if count == begun => {
                let text = if begun == 1 {
                    "the write is there".into()
                } else {
                    format!("all {begun} writes are there")
                };
                Judgement { is_kept: true, text }
            }
            Some(0) if begun == 1 => {
                Judgement { is_kept: true, text: "the write is gone, and was not promised".into() }
            }
            Some(count) => Judgement {
                is_kept: true,
                text: format!("{count} of {} there; the rest was not promised", writes(begun)),
            },
        })
    }

    /// The touched keys after the first `count` writes.
    fn after(&self, count: usize) -> BTreeMap<Place, Option<Vec<u8>>> {
        let mut values = self.before.clone();
        for write in &self.writes[..count] {
            values.insert(write.place.clone(), write.value.clone());
        }
        values
    }

    /// A hash of all other keys of keyspace 0; nothing if they are too many.
    pub(crate) fn untouched(&self, db: &Db) -> Result<Option<u64>> {
        let mut hasher = DefaultHasher::new();
        for (count, item) in db.scan(..).enumerate() {
            if count == COMPARED_MAX {
                return Ok(None);
            }
            let (key, value) = item?;
            if !self.before.contains_key(&(0, key.clone())) {
                (key, &value[..]).hash(&mut hasher);
            }
        }
        Ok(Some(hasher.finish()))
    }
}

fn broken(text: String) -> Judgement {
    Judgement { is_kept: false, text }
}

fn read(db: &Db, (keyspace, key): &Place) -> Result<Option<Vec<u8>>> {
    Ok(db.keyspace(*keyspace)?.get(key)?.map(cairndb::Value::into_vec))
}
