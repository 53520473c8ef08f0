//! Level: tables of one age, and a position over those of one run, one after the other.

use std::ops::Deref;

use crate::cursor::Cursor;
use crate::error::Result;
use crate::key::{EntryRef, SeqNo, Value};
use crate::sorted_keys::SortedKeys;
use crate::sstable::{Keep, Table, TableCursor};
use crate::sync::Arc;

/// The tables of a level, as the version sorts them.
pub(crate) struct Level {
    tables: Vec<Arc<Table>>,
    /// Where each ends; of level 0, whose tables may overlap, nobody asks.
    ends: SortedKeys,
}

impl Level {
    pub(super) fn new(tables: Vec<Arc<Table>>) -> Level {
        let ends = SortedKeys::new(tables.iter().map(|table| table.meta.end.as_slice()));
        Level { tables, ends }
    }

    /// The place of the first table of a run that ends behind `key`.
    pub(crate) fn find(&self, key: &[u8]) -> usize {
        self.ends.find(key, |at| self.ends.get(at) <= key)
    }

    /// The table of a run whose stretch holds `key`.
    pub(crate) fn table_for(&self, key: &[u8]) -> Option<&Arc<Table>> {
        self.tables.get(self.find(key)).filter(|table| table.meta.start.as_slice() <= key)
    }
}

impl Deref for Level {
    type Target = [Arc<Table>];

    fn deref(&self) -> &[Arc<Table>] {
        &self.tables
    }
}

/// A position in a run of tables; the one that it stands in is open.
pub(crate) struct LevelCursor {
    tables: Arc<Level>,
    keep: Keep,
    index: usize,
    table: Option<TableCursor>,
}

impl LevelCursor {
    /// Over a run of tables. `keep`: whether what it reads goes into the cache.
    pub(crate) fn new(tables: Arc<Level>, keep: Keep) -> LevelCursor {
        LevelCursor { tables, keep, index: 0, table: None }
    }

    fn open(&mut self, index: usize) {
        if self.table.is_none() || self.index != index {
            self.table = self.tables.get(index).map(|table| TableCursor::new(Arc::clone(table), self.keep));
            self.index = index;
        }
    }

    fn next_table(&mut self) -> Result<()> {
        while !self.stands() && self.index < self.tables.len() {
            self.open(self.index + 1);
            if let Some(table) = &mut self.table {
                table.seek(b"", SeqNo::MAX)?;
            }
        }
        Ok(())
    }

    fn prev_table(&mut self) -> Result<()> {
        while !self.stands() {
            let Some(index) = self.index.checked_sub(1) else { break };
            self.open(index);
            let end = self.tables[index].meta.end.clone();
            if let Some(table) = &mut self.table {
                table.seek_before(&end)?;
            }
        }
        Ok(())
    }
}

impl Cursor for LevelCursor {
    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        self.open(self.tables.find(key));
        if let Some(table) = &mut self.table {
            table.seek(key, seq)?;
        }
        self.next_table()
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        let behind = self.tables.partition_point(|table| table.meta.start.as_slice() < key);
        let Some(index) = behind.checked_sub(1) else {
            self.table = None;
            return Ok(());
        };
        self.open(index);
        if let Some(table) = &mut self.table {
            table.seek_before(key)?;
        }
        self.prev_table()
    }

    fn next(&mut self) -> Result<()> {
        let table = self.table.as_mut().expect("a cursor on an entry");
        table.next()?;
        if table.stands() { Ok(()) } else { self.next_table() }
    }

    fn prev(&mut self) -> Result<()> {
        self.table.as_mut().expect("a cursor on an entry").prev()?;
        self.prev_table()
    }

    fn stands(&self) -> bool {
        self.table.as_ref().is_some_and(TableCursor::stands)
    }

    fn entry(&self) -> Option<EntryRef<'_>> {
        self.table.as_ref()?.entry()
    }

    fn value(&self) -> Value {
        self.table.as_ref().map_or_else(|| Value::from(&[][..]), TableCursor::value)
    }
}
