//! Reads: everything that can be asked, held against what the oracle says.

use std::ops::Bound;

use cairndb::{Db, Entry, KeyRange, Reader};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::dice::Dice;
use crate::oracle::{Map, Name, Slot, differences, live, within};
use crate::script::{KEYSPACES, Read, Turn, key};
use crate::trouble::{Done, Trouble, require};

/// What a reader must find: the oracle's map, at this time.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) map: &'a Map,
    pub(crate) now_ms: u64,
}

/// A hash of what the engine has answered.
#[derive(Default)]
pub(crate) struct Answers(u64);

impl Answers {
    pub(crate) fn hash(&self) -> u64 {
        self.0
    }

    pub(crate) fn note(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn note_entry(&mut self, entry: Option<&Entry>) {
        let Some(entry) = entry else { return self.note(b"nothing") };
        self.note(&entry.value);
        self.note(&entry.seq.to_le_bytes());
        self.note(&entry.expires_at_ms.unwrap_or(u64::MAX).to_le_bytes());
    }

    fn note_items(&mut self, items: &[(Vec<u8>, Entry)]) {
        self.note(&items.len().to_le_bytes());
        for (key, entry) in items {
            self.note(key);
            self.note_entry(Some(entry));
        }
    }
}

impl Moment<'_> {
    fn slot(&self, name: &Name) -> Option<&Slot> {
        self.map.get(name).filter(|slot| slot.is_live(self.now_ms))
    }

    fn expected(&self, keyspace: u8, start: &[u8], end: Option<&[u8]>) -> Items {
        within(self.map, keyspace, start, end)
            .filter(|(_, slot)| slot.is_live(self.now_ms))
            .map(|(name, slot)| (name.1.clone(), slot.clone()))
            .collect()
    }

    pub(crate) fn require_entry(&self, name: Name, found: Option<Entry>) -> Done {
        let slot = self.slot(&name);
        let same = match (slot, &found) {
            (None, None) => true,
            (Some(slot), Some(entry)) => is_entry(slot, entry),
            _ => false,
        };
        let key = name.1.escape_ascii();
        require!(same, "get of {}:{key} at {}: expected {slot:?}, found {found:?}", name.0, self.now_ms);
        Ok(())
    }

    /// All of it by a scan, and each of the first `keys` keys by a get.
    pub(crate) fn compare_all(&self, db: &Db, keys: usize) -> Done {
        let (expected, found) = (live(self.map, self.now_ms), everything(db)?);
        require!(expected == found, "a whole scan differs:\n{}", differences(&expected, &found));
        self.compare_gets(db, keys)
    }

    /// Each of the first `keys` keys by a get.
    pub(crate) fn compare_gets(&self, db: &Db, keys: usize) -> Done {
        for keyspace in KEYSPACES {
            let reader = db.keyspace(keyspace)?;
            for number in 0..keys {
                let found = reader.get_entry(key(number))?;
                self.require_entry((keyspace, key(number)), found)?;
            }
        }
        Ok(())
    }
}

/// Makes one read.
pub(crate) fn check_read(
    reader: &Reader,
    moment: Moment<'_>,
    keyspace: u8,
    read: &Read,
    answers: &mut Answers,
) -> Done {
    match read {
        Read::Get(number) => {
            let found = reader.get_entry(key(*number))?;
            answers.note_entry(found.as_ref());
            moment.require_entry((keyspace, key(*number)), found)?;
        }
        Read::GetMany(numbers) => {
            let found = reader.get_many(numbers.iter().map(|number| key(*number)))?;
            require!(found.len() == numbers.len(), "{} answers", found.len());
            for (number, found) in numbers.iter().zip(found) {
                answers.note(found.as_deref().unwrap_or(b"nothing"));
                let slot = moment.slot(&(keyspace, key(*number)));
                let same = found.as_deref() == slot.map(|slot| &*slot.value);
                require!(same, "get_many of k{number}: {found:?}, expected {slot:?}");
            }
        }
        Read::Forward(stretch) => {
            let (start, end) = stretch.bounds();
            let expected = moment.expected(keyspace, &start, end.as_deref());
            let mut scan = reader.scan(range(&start, end.as_deref()));
            let found = collect(|| scan.next_entry())?;
            require_items(&expected, &found)?;
            answers.note_items(&found);
        }
        Read::Backward(stretch) => {
            let (start, end) = stretch.bounds();
            let mut expected = moment.expected(keyspace, &start, end.as_deref());
            expected.reverse();
            let mut scan = reader.scan(range(&start, end.as_deref()));
            let found = collect(|| scan.next_entry_back())?;
            require_items(&expected, &found)?;
            answers.note_items(&found);
        }
        Read::BothEnds(stretch, bits) => {
            let (start, end) = stretch.bounds();
            let expected = moment.expected(keyspace, &start, end.as_deref());
            let (mut scan, mut dice) = (reader.scan(range(&start, end.as_deref())), Dice::new(*bits));
            let (mut front, mut back) = (Vec::new(), Vec::new());
            loop {
                let from_back = dice.below(2) == 0;
                let item = if from_back { scan.next_entry_back() } else { scan.next_entry() };
                let Some(item) = item.transpose()? else { break };
                if from_back { back.push(item) } else { front.push(item) }
            }
            require!(scan.next().is_none() && scan.next_back().is_none(), "a scan that is over goes on");
            front.extend(back.into_iter().rev());
            require_items(&expected, &front)?;
            answers.note_items(&front);
        }
        Read::Prefix(prefix) => {
            let all = moment.expected(keyspace, prefix, None);
            let expected: Vec<_> = all.into_iter().filter(|(key, _)| key.starts_with(prefix)).collect();
            let mut scan = reader.scan_prefix(prefix);
            let found = collect(|| scan.next_entry())?;
            require_items(&expected, &found)?;
            answers.note_items(&found);
        }
        Read::Cursor(stretch, turns) => {
            let (start, end) = stretch.bounds();
            let expected = moment.expected(keyspace, &start, end.as_deref());
            walk_cursor(reader, &expected, range(&start, end.as_deref()), turns, answers)?;
        }
    }
    Ok(())
}

/// Everything in all keyspaces.
pub(crate) fn everything(db: &Db) -> Result<Map, Trouble> {
    let mut found = Map::new();
    for keyspace in KEYSPACES {
        let mut scan = db.keyspace(keyspace)?.scan(..);
        while let Some((key, entry)) = scan.next_entry().transpose()? {
            let slot =
                Slot { value: (&entry.value[..]).into(), seq: entry.seq, expires_at_ms: entry.expires_at_ms };
            found.insert((keyspace, key), slot);
        }
    }
    Ok(found)
}

pub(crate) fn is_entry(slot: &Slot, entry: &Entry) -> bool {
    *slot.value == entry.value[..] && slot.seq == entry.seq && slot.expires_at_ms == entry.expires_at_ms
}

pub(crate) fn range(start: &[u8], end: Option<&[u8]>) -> KeyRange {
    let end = end.map_or(Bound::Unbounded, |end| Bound::Excluded(end.to_vec()));
    (Bound::Included(start.to_vec()), end).into()
}

type Items = Vec<(Vec<u8>, Slot)>;

fn collect(
    mut next: impl FnMut() -> Option<cairndb::Result<(Vec<u8>, Entry)>>,
) -> Result<Vec<(Vec<u8>, Entry)>, Trouble> {
    let mut all = Vec::new();
    while let Some(item) = next().transpose()? {
        all.push(item);
    }
    Ok(all)
}

fn require_items(expected: &Items, found: &[(Vec<u8>, Entry)]) -> Done {
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        let same = expected.0 == found.0 && is_entry(&expected.1, &found.1);
        require!(same, "item {index} of a scan: expected {expected:?}, found {found:?}");
    }
    let (expected, found) = (expected.len(), found.len());
    require!(expected == found, "a scan of {found} items, expected {expected}");
    Ok(())
}

/// A cursor stands between two keys; so does an index into what is expected.
fn walk_cursor(
    reader: &Reader,
    expected: &Items,
    range: KeyRange,
    turns: &[Turn],
    answers: &mut Answers,
) -> Done {
    let (mut cursor, mut at) = (reader.cursor(range), 0);
    for (index, turn) in turns.iter().enumerate() {
        let (found, wanted) = match turn {
            Turn::First => {
                cursor.seek_first();
                at = 0;
                continue;
            }
            Turn::Last => {
                cursor.seek_last();
                at = expected.len();
                continue;
            }
            Turn::Seek(number) => {
                cursor.seek(key(*number));
                at = expected.partition_point(|(other, _)| *other < key(*number));
                continue;
            }
            Turn::Next => {
                let wanted = expected.get(at);
                at = (at + 1).min(expected.len());
                (cursor.next()?, wanted)
            }
            Turn::Prev => {
                let wanted = at.checked_sub(1).and_then(|before| expected.get(before));
                at = at.saturating_sub(1);
                (cursor.prev()?, wanted)
            }
        };
        let same = match (found, wanted) {
            (None, None) => true,
            (Some((key, value)), Some((wanted, slot))) => key == *wanted && *value == *slot.value,
            _ => false,
        };
        require!(same, "turn {index} ({turn:?}) of a cursor: expected {wanted:?}, found {found:?}");
        answers.note(found.map_or(b"nothing", |(key, _)| key));
        if let Some((_, slot)) = wanted {
            let entry = cursor.entry();
            let same = entry.as_ref().is_some_and(|entry| is_entry(slot, entry));
            require!(same, "the entry after turn {index}: expected {slot:?}, found {entry:?}");
        }
    }
    Ok(())
}
