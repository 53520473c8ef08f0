//! Follower: a second map, which the database's changes alone keep in step.
//!
//! It reads the changes every few steps and must then hold what the oracle holds. When the database is opened again it
//! begins where it last knew that everything was safe, so that what the logs kept from before a crash is read, too.

use std::sync::Arc;

use cairndb::{Change, ChangeKind, Changes, Db, Error};

use crate::oracle::{Map, Slot, differences, live, within};
use crate::trouble::{Trouble, require};

#[derive(Default)]
pub(crate) struct Follower {
    /// The disk has been asked to fail.
    pub(crate) disk_failed: bool,
    /// `None` while the database is not open.
    changes: Option<Changes>,
    map: Map,
    /// The last change that was read.
    seq: u64,
    /// A moment of which nothing can be lost any more: the last sequence number, and what stood then.
    safe: (u64, Arc<Map>),
}

impl Follower {
    /// Follows a database that has been opened; `present` is what it holds. Whether changes from before were there to be read.
    pub(crate) fn begin(&mut self, db: &Db, present: &Arc<Map>) -> Result<bool, Trouble> {
        (self.seq, self.map) = (self.safe.0, Map::clone(&self.safe.1));
        match db.changes(self.seq) {
            Ok(changes) => {
                self.changes = Some(changes);
                Ok(true)
            }
            Err(error) => self.begin_anew(db, present, error).map(|()| false),
        }
    }

    /// Goes on from the present, if that is because what comes next is not kept any more.
    fn begin_anew(&mut self, db: &Db, present: &Arc<Map>, error: Error) -> Result<(), Trouble> {
        let may_be = match &error {
            Error::Invalid { .. } => self.seq + 1 < db.oldest_change(),
            // A sync that failed may have been followed by one that "succeeded".
            Error::Corrupt { .. } => self.disk_failed,
            _ => false,
        };
        if !may_be {
            return Err(error.into());
        }
        (self.seq, self.map) = (db.stats().seq, Map::clone(present));
        self.changes = Some(db.changes(self.seq)?);
        Ok(())
    }

    /// Lets go of the database.
    pub(crate) fn end(&mut self) {
        self.changes = None;
    }

    /// Reads what has changed, and holds what comes of it against `present`; how many changes there were.
    pub(crate) fn follow(&mut self, db: &Db, present: &Arc<Map>, now_ms: u64) -> Result<u64, Trouble> {
        let Some(changes) = &mut self.changes else { return Ok(0) };
        let mut count = 0;
        loop {
            match changes.next_change() {
                Ok(Some(change)) => {
                    require!(
                        change.first_seq > self.seq,
                        "change {} comes behind {}",
                        change.first_seq,
                        self.seq
                    );
                    (self.seq, count) = (change.last_seq, count + 1);
                    apply(change, &mut self.map);
                }
                Ok(None) => break,
                Err(error) => {
                    self.begin_anew(db, present, error)?;
                    return Ok(count);
                }
            }
        }
        let (followed, present) = (live(&self.map, now_ms), live(present, now_ms));
        require!(
            followed == present,
            "changes up to {} leave something else than what is there:\n{}",
            db.stats().seq,
            differences(&present, &followed)
        );
        Ok(count)
    }

    /// Everything up to `seq` is safe.
    pub(crate) fn note_safe(&mut self, seq: u64, present: &Arc<Map>) {
        self.safe = (seq, Arc::clone(present));
    }
}

fn apply(change: Change, map: &mut Map) {
    for entry in change.entries {
        let name = (entry.keyspace, entry.key);
        match entry.kind {
            ChangeKind::Put { value, expires_at_ms } => {
                map.insert(name, Slot { value: value.into(), seq: entry.seq, expires_at_ms });
            }
            ChangeKind::Delete => drop(map.remove(&name)),
            ChangeKind::DeleteRange { end } => {
                let covered: Vec<_> =
                    within(map, name.0, &name.1, end.as_deref()).map(|(name, _)| name.clone()).collect();
                covered.iter().for_each(|name| drop(map.remove(name)));
            }
            other => unreachable!("no change does {other:?}"),
        }
    }
}
