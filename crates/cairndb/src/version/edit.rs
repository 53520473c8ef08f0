//! Edit: the difference between two versions, and the state that edits add up to.
//!
//! # On disk
//! A sequence of fields, each a tag byte and its value; agrees with FORMAT.md, "Edits".
//! ```text
//! 1 added table: level u8, table     2 removed table: number varint      3 checkpoint: WAL varint, seq varint
//! 4 clock: ms varint                 5 last numbers: SSTable, WAL varints  6 needed WAL: number varint, id u128
//! ```

use std::collections::BTreeMap;

use super::LEVEL_COUNT;
use crate::coding::{Decoder, put_varint};
use crate::key::SEQ_LIMIT;
use crate::sstable::TableMeta;
use crate::wal::Checkpoint;

const TAG_ADDED: u8 = 1;
const TAG_REMOVED: u8 = 2;
const TAG_CHECKPOINT: u8 = 3;
const TAG_CLOCK: u8 = 4;
const TAG_LAST_NUMBERS: u8 = 5;
const TAG_WAL: u8 = 6;

/// What FORMAT.md calls the field with this tag.
#[cfg(feature = "dissect")]
pub(crate) fn tag_name(tag: u8) -> Option<&'static str> {
    Some(match tag {
        TAG_ADDED => "added table",
        TAG_REMOVED => "removed table",
        TAG_CHECKPOINT => "checkpoint",
        TAG_CLOCK => "clock",
        TAG_LAST_NUMBERS => "last numbers",
        TAG_WAL => "needed WAL",
        _ => return None,
    })
}

/// What changes from one state to the next. A table that is removed and added moves to another level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) added: Vec<(usize, TableMeta)>,
    pub(crate) removed: Vec<u64>,
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The clock's last reading.
    pub(crate) clock_ms: Option<u64>,
    /// The last numbers that were given to an SSTable and to a WAL.
    pub(crate) last_numbers: Option<(u64, u64)>,
    /// Logs that must stand, with the ids they were written under.
    pub(crate) wals: Vec<(u64, u128)>,
}

impl Edit {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in &self.removed {
            out.push(TAG_REMOVED);
            put_varint(&mut out, *number);
        }
        for (level, meta) in &self.added {
            out.push(TAG_ADDED);
            out.push(*level as u8);
            meta.encode(&mut out);
        }
        if let Some(checkpoint) = self.checkpoint {
            out.push(TAG_CHECKPOINT);
            put_varint(&mut out, checkpoint.wal);
            put_varint(&mut out, checkpoint.seq);
        }
        if let Some(clock_ms) = self.clock_ms {
            out.push(TAG_CLOCK);
            put_varint(&mut out, clock_ms);
        }
        if let Some((sstable, wal)) = self.last_numbers {
            out.push(TAG_LAST_NUMBERS);
            put_varint(&mut out, sstable);
            put_varint(&mut out, wal);
        }
        for (number, id) in &self.wals {
            out.push(TAG_WAL);
            put_varint(&mut out, *number);
            out.extend_from_slice(&id.to_le_bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Edit> {
        let mut from = Decoder::new(bytes);
        let mut edit = Edit::default();
        while !from.is_at_end() {
            match from.u8()? {
                TAG_ADDED => {
                    let level = usize::from(from.u8()?);
                    edit.added.push((
                        Some(level).filter(|level| *level < LEVEL_COUNT)?,
                        TableMeta::decode(&mut from)?,
                    ));
                }
                TAG_REMOVED => edit.removed.push(from.varint()?),
                TAG_CHECKPOINT => {
                    edit.checkpoint = Some(Checkpoint { wal: from.varint()?, seq: from.varint()? });
                }
                TAG_CLOCK => edit.clock_ms = Some(from.varint()?),
                TAG_LAST_NUMBERS => edit.last_numbers = Some((from.varint()?, from.varint()?)),
                TAG_WAL => edit.wals.push((from.varint()?, from.u128()?)),
                _ => return None,
            }
        }
        Some(edit)
    }
}

/// What all edits of a manifest add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// By number: the level and the table.
    pub(crate) tables: BTreeMap<u64, (usize, TableMeta)>,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) clock_ms: u64,
    pub(crate) last_sstable: u64,
    pub(crate) last_wal: u64,
    pub(crate) wals: Vec<(u64, u128)>,
}

impl State {
    /// `None` if the edit does not fit: it removes what is not there, or adds what is.
    pub(crate) fn apply(&mut self, edit: &Edit) -> Option<()> {
        for number in &edit.removed {
            self.tables.remove(number)?;
        }
        for (level, meta) in &edit.added {
            if self.tables.insert(meta.number, (*level, meta.clone())).is_some() {
                return None;
            }
        }
        self.checkpoint = edit.checkpoint.unwrap_or(self.checkpoint);
        self.clock_ms = self.clock_ms.max(edit.clock_ms.unwrap_or(0));
        let (sstable, wal) = edit.last_numbers.unwrap_or((0, 0));
        self.last_sstable = self.last_sstable.max(sstable);
        self.last_wal = self.last_wal.max(wal);
        self.wals.extend(&edit.wals);
        self.wals.retain(|(number, _)| *number >= self.checkpoint.wal);
        Some(())
    }

    /// Whether a database can be in this state: recovery has somewhere to begin, with a sequence number that no table
    /// knows, and the levels below 0 are runs.
    pub(crate) fn is_sane(&self) -> bool {
        let begins = self.checkpoint.wal > 0
            && (1..SEQ_LIMIT).contains(&self.checkpoint.seq)
            && self.tables.values().all(|(_, meta)| meta.counts.seq_max < self.checkpoint.seq);
        let mut stretches: Vec<_> = self
            .tables
            .values()
            .filter(|(level, _)| *level > 0)
            .map(|(level, meta)| (*level, &meta.start, &meta.end))
            .collect();
        stretches.sort_unstable();
        begins && stretches.is_sorted_by(|a, b| a.0 != b.0 || a.2 <= b.1)
    }

    /// The edit that makes this state out of nothing: a manifest's base.
    pub(crate) fn base(&self) -> Edit {
        Edit {
            added: self.tables.values().cloned().collect(),
            removed: Vec::new(),
            checkpoint: Some(self.checkpoint),
            clock_ms: Some(self.clock_ms),
            last_numbers: Some((self.last_sstable, self.last_wal)),
            wals: self.wals.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sstable::TableCounts;

    #[test]
    fn edits_come_back_whole_or_not_at_all() {
        let counts = TableCounts { seq_min: 1, seq_max: 9, ..TableCounts::default() };
        let meta =
            TableMeta { number: 7, start: b"a".to_vec(), end: b"b".to_vec(), counts, ..TableMeta::default() };
        let edit = Edit {
            added: vec![(3, meta)],
            removed: vec![1, 2],
            checkpoint: Some(Checkpoint { wal: 4, seq: 99 }),
            clock_ms: Some(1_000_000),
            last_numbers: Some((7, 4)),
            wals: vec![(3, 42)],
        };
        let bytes = edit.encode();
        assert_eq!(Edit::decode(&bytes), Some(edit.clone()));
        let mut state = State { tables: [(1, (0, TableMeta::default()))].into(), ..State::default() };
        assert_eq!(state.apply(&edit), None, "table 2 is not there");
        let whole =
            (0..bytes.len()).filter(|len| Edit::decode(&bytes[..*len]).as_ref() == Some(&edit)).count();
        assert_eq!(whole, 0);
    }

    #[test]
    fn a_level_that_there_is_not_makes_no_edit() {
        let counts = TableCounts { seq_min: 1, seq_max: 9, ..TableCounts::default() };
        let meta = TableMeta { start: b"a".to_vec(), end: b"b".to_vec(), counts, ..TableMeta::default() };
        let decoded = |level| {
            Edit::decode(&Edit { added: vec![(level, meta.clone())], ..Edit::default() }.encode()).is_some()
        };
        assert_eq!([LEVEL_COUNT - 1, LEVEL_COUNT].map(decoded), [true, false]);
    }
    #[test]
    fn a_database_begins_behind_its_tables_and_its_levels_are_runs() {
        let table = |number: u64, level: usize, start: &str, end: &str| {
            let counts = TableCounts { seq_min: 1, seq_max: 9, ..TableCounts::default() };
            let (start, end) = (start.as_bytes().to_vec(), end.as_bytes().to_vec());
            (number, (level, TableMeta { number, start, end, counts, ..TableMeta::default() }))
        };
        let is_sane = |wal, seq, tables: Vec<(u64, (usize, TableMeta))>| {
            let (checkpoint, tables) = (Checkpoint { wal, seq }, tables.into_iter().collect());
            State { checkpoint, tables, ..State::default() }.is_sane()
        };
        assert!(is_sane(1, 1, vec![]));
        assert!(!is_sane(0, 1, vec![]) && !is_sane(1, 0, vec![]) && !is_sane(1, SEQ_LIMIT, vec![]));
        assert_eq!([9, 10].map(|seq| is_sane(1, seq, vec![table(1, 0, "a", "b")])), [false, true]);
        let pair = |level: usize, other: usize, start| {
            is_sane(1, 10, vec![table(1, level, "a", "c"), table(2, other, start, "d")])
        };
        assert_eq!([pair(1, 1, "b"), pair(1, 1, "c")], [false, true], "a run's tables do not overlap");
        assert!(pair(0, 0, "b") && pair(1, 2, "b"), "those of level 0 may, and those of two levels");
    }
}
