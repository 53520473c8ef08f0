//! Manifest: edits as records, and the WAL checkpoint.
//!
//! The manifest is a log whose first record, the *base*, is a whole state, and whose other records are the edits since.
//! Of several manifests the newest whose base is whole is the truth, so no file ever has to be renamed: a new manifest
//! is written and synced, and then the old one is removed.
//!
//! # Where it sits
//! On `record` and `version`; `db` writes an edit for each flush and compaction, and a new manifest at each open.
//!
//! # On disk
//! A header, whose own fields are zero; a base; edits. Agrees with FORMAT.md, "Manifest".
//!
//! # Invariants
//! - I1. Each edit is synced before the next one is written: of an unsynced tail there is at most one record.
//!
//! # When things break
//! Crash: the last edit may be torn; then it was not acted on, and is dropped. A whole record behind one that is not
//! means rot (I1): `Corrupt`.

use std::collections::BTreeSet;

use cairndb_storage::{FileKind, FileName, Storage};

use crate::error::{Error, Result};
use crate::files::{ROOM_STEP_MIN, create_file, open_file, sync_names};
use crate::header::{HEADER_LEN, Header};
use crate::record::{Found, Position, RecordKind, RecordReader, RecordWriter, encode_record};
use crate::version::{Edit, State};
use crate::wal::written_len;

/// A manifest shorter than this is not replaced by a fresh one, in bytes.
const REPLACE_LEN_MIN: u64 = 256 << 10;

/// The largest step in which room is laid down, in bytes: edits are short, and few.
const ROOM_STEP_MAX: u64 = 32 << 10;

/// The same while the disk is full.
const REPLACE_LEN_MIN_TIGHT: u64 = 8 << 10;

/// A manifest that is this many times as long as its base is replaced.
const REPLACE_FACTOR: u64 = 4;

/// The manifest that is being written. It belongs to whoever does maintenance.
pub(crate) struct Manifest {
    log: RecordWriter,
    base_end: u64,
}

impl Manifest {
    /// Writes and syncs a new manifest above `above`, bytes and name. `current` is the one it replaces, 0 for none.
    pub(crate) fn create(
        storage: &dyn Storage,
        above: u64,
        current: u64,
        id: u128,
        base: &Edit,
    ) -> Result<Manifest> {
        let (number, file) = create_file(storage, FileKind::Manifest, above, "manifest.create")?;
        let name = FileName { kind: FileKind::Manifest, number };
        let mut log = RecordWriter::new(file, name, id, ROOM_STEP_MAX);
        let header = Header { name, features: 0, manifest: current, id, own: [0; 3] };
        let begun = log.begin(&header, "manifest.append");
        let mut manifest = Manifest { log, base_end: 0 };
        begun.and_then(|()| manifest.append(RecordKind::Base, base)).inspect_err(|error| {
            if matches!(error, Error::DiskFull { .. }) {
                // Its base was not written, and its number has to be free for the next attempt.
                drop(storage.remove("manifest.remove", name));
            }
        })?;
        manifest.base_end = manifest.log.end;
        // Even a full disk leaves unknown here whether the new one will be found: nobody may go on with the old one.
        sync_names(storage, "manifest.sync_names")?;
        Ok(manifest)
    }

    pub(crate) fn number(&self) -> u64 {
        self.log.name.number
    }

    /// What it may grow by at once, or a fresh one may take, in bytes.
    pub(crate) fn room_ahead(&self) -> u64 {
        self.base_end.next_multiple_of(ROOM_STEP_MIN).max(self.log.room().min(ROOM_STEP_MAX))
    }

    /// Records an edit, for good.
    ///
    /// Errors: `DiskFull`, and nothing was written; after `Io` the manifest must not be used any more.
    pub(crate) fn record(&mut self, edit: &Edit) -> Result<()> {
        self.append(RecordKind::Edit, edit)
    }

    /// Whether a fresh manifest would be much shorter; on a full disk that is worth the while earlier.
    pub(crate) fn is_long(&self, is_tight: bool) -> bool {
        let len_min = if is_tight { REPLACE_LEN_MIN_TIGHT } else { REPLACE_LEN_MIN };
        self.log.end > len_min && self.log.end > REPLACE_FACTOR * self.base_end
    }

    fn append(&mut self, kind: RecordKind, edit: &Edit) -> Result<()> {
        let mut bytes = Vec::new();
        encode_record(&mut bytes, self.log.place, self.log.end, kind, Position::default(), &[&edit.encode()]);
        self.log.make_room(bytes.len() as u64, "manifest.reserve")?;
        self.log.append(&bytes, "manifest.append")?;
        self.log.sync("manifest.sync")
    }
}

/// A manifest as it was found.
pub(crate) struct Recovered {
    pub(crate) header: Header,
    pub(crate) state: State,
    /// What the last edit gave up: tables, and logs from the checkpoint before it on. It may be in the page cache alone (I1),
    /// left there by a writer that was killed or whose sync failed; without it, these are needed.
    pub(crate) given_up: GivenUp,
    /// The records it was made of.
    pub(crate) records: u64,
    /// Where a record's clock stands before that of an earlier one.
    pub(crate) clock_fell: Option<u64>,
}

/// What a manifest would still need if its last edit were lost.
pub(crate) struct GivenUp {
    pub(crate) tables: Vec<u64>,
    pub(crate) first_wal: u64,
}

/// Finds the newest manifest whose base is whole; `None` if there is no such.
///
/// Errors: `Corrupt` for rot; `Invalid` for another format; `Io`.
pub(crate) fn recover(storage: &dyn Storage, numbers: &[u64]) -> Result<Option<Recovered>> {
    for number in numbers.iter().rev() {
        let name = FileName { kind: FileKind::Manifest, number: *number };
        match read(storage, name) {
            Ok(Some(recovered)) => return Ok(Some(recovered)),
            // Its base is not whole: it never came to be the truth.
            Ok(None) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Why the newest of the manifests that stand is not whole, after [`recover`] has found none that is.
pub(crate) fn damage(storage: &dyn Storage, numbers: &[u64]) -> Option<Error> {
    let name = FileName { kind: FileKind::Manifest, number: *numbers.last()? };
    let file = storage.open("manifest.open", name).ok()?;
    let not_whole = |offset| Error::corrupt(name, offset, "the manifest's base is not whole");
    Some(
        Header::read(file.as_ref(), name, "manifest.header")
            .map_or_else(|error| error, |_| not_whole(HEADER_LEN)),
    )
}

fn read(storage: &dyn Storage, name: FileName) -> Result<Option<Recovered>> {
    let file = open_file(storage, name, "manifest.open")?;
    let header = match Header::read(file.as_ref(), name, "manifest.header") {
        Ok(header) => header,
        Err(Error::Corrupt { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut reader = RecordReader::new(file, &header, "manifest.read")?;
    let (mut state, mut records, mut clock_fell) = (State::default(), 0, None);
    let mut given_up = GivenUp { tables: Vec::new(), first_wal: u64::MAX };
    loop {
        let record = match reader.next()? {
            Found::Record(record) => record,
            Found::End => break,
            Found::Bad { .. } if records == 0 => return Ok(None),
            Found::Bad { offset, what } => {
                if reader.skip_bad()? {
                    return Err(Error::corrupt(name, offset, what));
                }
                break;
            }
        };
        let offset = record.offset;
        let expected = if records == 0 { RecordKind::Base } else { RecordKind::Edit };
        let edit = Some(record)
            .filter(|record| record.kind == expected)
            .and_then(|record| Edit::decode(record.payload));
        if edit.as_ref().and_then(|edit| edit.clock_ms).is_some_and(|clock_ms| clock_ms < state.clock_ms) {
            clock_fell.get_or_insert(offset);
        }
        if let Some(edit) = edit.as_ref().filter(|_| records > 0) {
            given_up = GivenUp { tables: edit.removed.clone(), first_wal: state.checkpoint.wal };
        }
        let fits = edit.and_then(|edit| state.apply(&edit)).is_some() && state.is_sane();
        if !fits {
            return Err(Error::corrupt(
                name,
                offset,
                "the record passes its checksum, but does not fit the ones before it",
            ));
        }
        records += 1;
    }
    Ok(if records == 0 { None } else { Some(Recovered { header, state, given_up, records, clock_fell }) })
}

/// What can be read of a manifest that may be damaged.
pub(crate) struct Salvaged {
    pub(crate) header: Header,
    pub(crate) state: State,
    /// The last SSTable that its base knew of.
    pub(crate) base_sstable: u64,
    /// Tables that some edit drops.
    pub(crate) dropped: BTreeSet<u64>,
    /// Why edits may be missing from what was read.
    pub(crate) doubt: Option<Error>,
}

/// Reads the newest manifest whose base is whole, past damage behind that; `None` if there is no such. Bytes that cannot be
/// read are taken for damage.
pub(crate) fn salvage(storage: &dyn Storage, numbers: &[u64]) -> Option<Salvaged> {
    let names = numbers.iter().rev().map(|number| FileName { kind: FileKind::Manifest, number: *number });
    names.into_iter().find_map(|name| salvage_one(storage, name))
}

fn salvage_one(storage: &dyn Storage, name: FileName) -> Option<Salvaged> {
    let file = open_file(storage, name, "manifest.open").ok()?;
    let header = Header::read(file.as_ref(), name, "manifest.header").ok()?;
    let mut reader = RecordReader::new(file.clone(), &header, "manifest.read").ok()?;
    let mut found: Option<Salvaged> = None;
    let mut doubt = None;
    loop {
        match reader.next() {
            Ok(Found::Record(record)) => {
                let edit = Edit::decode(record.payload);
                match (&mut found, edit) {
                    (Some(found), Some(edit)) if record.kind == RecordKind::Edit => found.apply(edit),
                    (None, Some(edit)) if record.kind == RecordKind::Base => {
                        let state = State::default();
                        let (base_sstable, dropped) =
                            (edit.last_numbers.unwrap_or_default().0, BTreeSet::new());
                        found
                            .insert(Salvaged { header, state, base_sstable, dropped, doubt: None })
                            .apply(edit);
                    }
                    (None, _) => return None,
                    _ => doubt = Some(Error::corrupt(name, record.offset, "the record makes no sense here")),
                }
            }
            Ok(Found::End) => break,
            Ok(Found::Bad { .. }) if found.is_none() => return None,
            Ok(Found::Bad { offset, what }) => {
                if written_len(file.as_ref(), name, offset).is_ok_and(|len| len > 0) {
                    doubt.get_or_insert(Error::corrupt(name, offset, what));
                }
                if !reader.skip_bad().unwrap_or(false) {
                    break;
                }
            }
            Err(error) => {
                doubt.get_or_insert(error);
                break;
            }
        }
    }
    found.map(|found| Salvaged { doubt, ..found })
}

impl Salvaged {
    /// As [`State::apply`], of an edit before which some may be missing.
    fn apply(&mut self, mut edit: Edit) {
        for number in edit.removed.drain(..) {
            self.state.tables.remove(&number);
            self.dropped.insert(number);
        }
        for (level, meta) in edit.added.drain(..) {
            self.dropped.remove(&meta.number);
            self.state.tables.insert(meta.number, (level, meta));
        }
        let rest = self.state.apply(&edit);
        debug_assert!(rest.is_some(), "nothing that could misfit is left in it");
    }
}
