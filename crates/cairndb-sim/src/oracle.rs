//! Oracle: what the database must hold: a map, and the commits that made it.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairndb::Durability;

/// Keyspace and key.
pub(crate) type Name = (u8, Vec<u8>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) value: Arc<[u8]>,
    pub(crate) seq: u64,
    pub(crate) expires_at_ms: Option<u64>,
}

impl Slot {
    pub(crate) fn is_live(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_none_or(|at| at > now_ms)
    }
}

pub(crate) type Map = BTreeMap<Name, Slot>;

/// What one entry of a batch does.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put(Name, Arc<[u8]>, Option<u64>),
    Delete(Name),
    Range(u8, Vec<u8>, Option<Vec<u8>>),
}

/// One atomic write.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) first_seq: u64,
    pub(crate) changes: Vec<Change>,
}

impl Commit {
    fn apply(&self, map: &mut Map) {
        for (seq, change) in (self.first_seq..).zip(&self.changes) {
            match change {
                Change::Put(name, value, expires_at_ms) => {
                    let slot = Slot { value: Arc::clone(value), seq, expires_at_ms: *expires_at_ms };
                    map.insert(name.clone(), slot);
                }
                Change::Delete(name) => {
                    map.remove(name);
                }
                Change::Range(keyspace, start, end) => {
                    let names: Vec<Name> =
                        within(map, *keyspace, start, end.as_deref()).map(|(name, _)| name.clone()).collect();
                    for name in names {
                        map.remove(&name);
                    }
                }
            }
        }
    }
}

/// The part of `map` in a stretch of a keyspace.
pub(crate) fn within<'a>(
    map: &'a Map,
    keyspace: u8,
    start: &[u8],
    end: Option<&'a [u8]>,
) -> impl DoubleEndedIterator<Item = (&'a Name, &'a Slot)> {
    let to = move |name: &Name| name.0 == keyspace && end.is_none_or(|end| name.1.as_slice() < end);
    let found: Vec<_> = map.range((keyspace, start.to_vec())..).take_while(|(name, _)| to(name)).collect();
    found.into_iter()
}

/// What the database must hold now, and what a crash may leave of it.
#[derive(Clone, Default)]
pub(crate) struct Oracle {
    pub(crate) map: Arc<Map>,
    /// What stood when the database was opened, and the commits since.
    base: Arc<Map>,
    commits: Vec<Commit>,
    /// How many of the commits survive a kill, and a power loss, whatever happens.
    kept_by_kill: usize,
    kept_by_crash: usize,
    /// The map after each of the commits, from the base on, if they are to be remembered.
    prefixes: Option<Vec<Arc<Map>>>,
    pub(crate) next_seq: u64,
    /// No open may begin below it: beyond every number that was ever given, and every open before.
    pub(crate) seq_floor: u64,
    /// Beyond every sequence number that was ever given to a write.
    pub(crate) given_floor: u64,
    /// The largest reading of the clock so far.
    pub(crate) now_ms: u64,
}

impl Oracle {
    /// Of a database that is not there yet.
    pub(crate) fn new(now_ms: u64) -> Oracle {
        Oracle { next_seq: 1, seq_floor: 1, given_floor: 1, now_ms, ..Oracle::default() }
    }

    /// From now on remembers what each commit leaves.
    pub(crate) fn remember(&mut self) {
        self.prefixes = Some(vec![Arc::clone(&self.base)]);
    }

    /// What a crash may leave now.
    ///
    /// Requires: [`Oracle::remember`], before the first commit.
    pub(crate) fn allowed(&self) -> Vec<Arc<Map>> {
        self.prefixes.as_ref().map_or_else(Vec::new, |prefixes| prefixes[self.kept_by_crash..].to_vec())
    }

    /// The states that the commits since the open have made.
    ///
    /// Requires: [`Oracle::remember`], before the first commit.
    pub(crate) fn prefixes(&self) -> &[Arc<Map>] {
        self.prefixes.as_deref().unwrap_or_default()
    }

    /// A write that was acknowledged.
    pub(crate) fn commit(&mut self, changes: Vec<Change>, durability: Durability) {
        if !changes.is_empty() {
            let commit = self.note(changes);
            commit.apply(Arc::make_mut(&mut self.map));
            if let Some(prefixes) = &mut self.prefixes {
                prefixes.push(Arc::clone(&self.map));
            }
        }
        self.keep(durability);
    }

    /// A write of which nothing is known.
    pub(crate) fn commit_perhaps(&mut self, changes: Vec<Change>) {
        if !changes.is_empty() {
            let commit = self.note(changes);
            if let Some(prefixes) = &mut self.prefixes {
                let mut map = Map::clone(&self.map);
                commit.apply(&mut map);
                prefixes.push(Arc::new(map));
            }
        }
    }

    /// What is left if the writes of which nothing is known were made, too.
    pub(crate) fn perhaps(&self) -> Option<Arc<Map>> {
        self.prefixes.as_ref().and_then(|prefixes| prefixes.last()).cloned()
    }

    fn note(&mut self, changes: Vec<Change>) -> Commit {
        let commit = Commit { first_seq: self.next_seq, changes };
        self.next_seq += commit.changes.len() as u64;
        self.seq_floor = self.seq_floor.max(self.next_seq);
        self.given_floor = self.next_seq;
        self.commits.push(commit.clone());
        commit
    }

    /// Everything written so far is as safe as this durability says.
    pub(crate) fn keep(&mut self, durability: Durability) {
        if durability >= Durability::Os {
            self.kept_by_kill = self.commits.len();
        }
        if durability == Durability::Sync {
            self.kept_by_crash = self.commits.len();
        }
    }

    /// Whether no crash can take anything of what was written.
    pub(crate) fn is_safe(&self) -> bool {
        self.kept_by_crash == self.commits.len()
    }

    /// Finds which prefix of the commits left `found`, and goes on from there; returns how many commits were lost.
    pub(crate) fn recover(&mut self, found: &Map, power_lost: bool) -> Result<usize, String> {
        let kept = if power_lost { self.kept_by_crash } else { self.kept_by_kill };
        let mut map = Map::clone(&self.base);
        self.commits[..kept].iter().for_each(|commit| commit.apply(&mut map));
        let at_least = map.clone();
        let mut at = kept;
        loop {
            if live(&map, self.now_ms).eq(found) {
                break;
            }
            let Some(commit) = self.commits.get(at) else {
                return Err(format!(
                    "what was found is left by no prefix of {kept} to {} commits since the open (of which {} were \
                     acknowledged);\nagainst the shortest:\n{}\nagainst the longest:\n{}",
                    self.commits.len(),
                    self.commits.len(),
                    differences(&live(&at_least, self.now_ms), found),
                    differences(&live(&map, self.now_ms), found),
                ));
            };
            commit.apply(&mut map);
            at += 1;
        }
        let lost = self.commits.len() - at;
        self.map = Arc::new(map);
        self.settle();
        Ok(lost)
    }

    /// The database was opened, and everything in it is safe.
    pub(crate) fn settle(&mut self) {
        self.base = Arc::clone(&self.map);
        self.commits.clear();
        (self.kept_by_kill, self.kept_by_crash) = (0, 0);
        if let Some(prefixes) = &mut self.prefixes {
            *prefixes = vec![Arc::clone(&self.base)];
        }
    }
}

/// What a reader finds at `now_ms`.
pub(crate) fn live(map: &Map, now_ms: u64) -> Map {
    map.iter()
        .filter(|(_, slot)| slot.is_live(now_ms))
        .map(|(name, slot)| (name.clone(), slot.clone()))
        .collect()
}

/// The first few keys on which two maps differ.
pub(crate) fn differences(expected: &Map, found: &Map) -> String {
    let shown = |slot: Option<&Slot>| {
        slot.map_or("nothing".to_string(), |slot| {
            format!("{} bytes @{} until {:?}", slot.value.len(), slot.seq, slot.expires_at_ms)
        })
    };
    let mut names: Vec<&Name> = expected.keys().chain(found.keys()).collect();
    names.sort();
    names.dedup();
    let differing = names.into_iter().filter(|name| expected.get(*name) != found.get(*name));
    let lines: Vec<String> = differing
        .take(6)
        .map(|name| {
            let (expected, found) = (expected.get(name), found.get(name));
            let key = name.1.escape_ascii();
            format!("  {}:{key}: expected {}, found {}", name.0, shown(expected), shown(found))
        })
        .collect();
    lines.join("\n")
}
