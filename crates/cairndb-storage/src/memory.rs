//! Memory: a storage that lives as long as its last clone.
//!
//! For tests, for examples and for data that may vanish. A file is a vector of bytes behind a lock of its own, so
//! readers of one file run side by side, and nobody waits for another file. A sync has nothing to do and says `Ok`.
//!
//! # Where it sits
//! One of the places that the engine can be given; knows nothing of power loss: that is what
//! [`Faulty`](crate::Faulty) is for.

use crate::holders::Holders;
use crate::{File, FileKind, FileName, Lock, LockError, LockMode, Site, Storage};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A storage in memory; a clone is another handle on the same files.
///
/// Thread-safe; the set of names and each file have a lock each, held for one call.
///
/// ```
/// use cairndb_storage::{FileKind, FileName, Memory, Storage};
/// let memory = Memory::default();
/// let (number, file) = memory.create("example", FileKind::Wal, 0)?;
/// file.append("example", 0, b"stone")?;
///
/// let same = memory.clone().open("example", FileName { kind: FileKind::Wal, number })?;
/// let mut bytes = [0; 5];
/// assert_eq!(same.read_at("example", 0, &mut bytes)?, 5);
/// assert_eq!(&bytes, b"stone");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Memory {
    files: Arc<RwLock<BTreeMap<FileName, Arc<MemoryFile>>>>,
    holders: Holders,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Storage for Memory {
    fn create(&self, _site: Site, kind: FileKind, above: u64) -> io::Result<(u64, Arc<dyn File>)> {
        let name = next_name(kind, above)?;
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        let file = files.entry(name).or_default();
        if !file.bytes().is_empty() {
            return Err(already_exists(name));
        }
        Ok((name.number, file.clone()))
    }

    fn open(&self, _site: Site, name: FileName) -> io::Result<Arc<dyn File>> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        match files.get(&name) {
            Some(file) => Ok(file.clone()),
            None => Err(not_found(name)),
        }
    }

    fn remove(&self, _site: Site, name: FileName) -> io::Result<()> {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        files.remove(&name).map(drop).ok_or_else(|| not_found(name))
    }

    fn list(&self, _site: Site) -> io::Result<Vec<FileName>> {
        Ok(self.files.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect())
    }

    fn sync_names(&self, _site: Site) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _site: Site, mode: LockMode) -> Result<Lock, LockError> {
        self.holders.take(mode)
    }
}

/// The name that `create` gives out: one above `above`, whatever stands there.
pub(crate) fn next_name(kind: FileKind, above: u64) -> io::Result<FileName> {
    match above.checked_add(1) {
        Some(number) => Ok(FileName { kind, number }),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "no file number is left")),
    }
}

pub(crate) fn not_found(name: FileName) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{name}: no such file"))
}

pub(crate) fn already_exists(name: FileName) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, format!("{name}: stands already, and holds bytes"))
}

#[derive(Default)]
struct MemoryFile {
    bytes: RwLock<Vec<u8>>,
}

impl File for MemoryFile {
    fn reserve(&self, _site: Site, len: u64) -> io::Result<()> {
        grow(&mut self.bytes_mut(), len)
    }

    fn append(&self, _site: Site, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64).ok_or_else(out_of_room)?;
        let mut file = self.bytes_mut();
        if offset == file.len() as u64 {
            // The common case writes each byte once: no zeros first.
            file.try_reserve(bytes.len()).map_err(|_| out_of_room())?;
            file.extend_from_slice(bytes);
            return Ok(());
        }
        grow(&mut file, end)?;
        // The vector reaches `end`, so both bounds fit in memory.
        file[offset as usize..end as usize].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, _site: Site, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        Ok(copy_from(&self.bytes(), offset, buf))
    }

    fn len(&self, _site: Site) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn sync(&self, _site: Site) -> io::Result<()> {
        Ok(())
    }
}

impl MemoryFile {
    fn bytes(&self) -> RwLockReadGuard<'_, Vec<u8>> {
        self.bytes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes_mut(&self) -> RwLockWriteGuard<'_, Vec<u8>> {
        self.bytes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies what stands at `offset` into `buf`; returns how many bytes there were.
pub(crate) fn copy_from(bytes: &[u8], offset: u64, buf: &mut [u8]) -> usize {
    let start = bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
    let count = buf.len().min(bytes.len() - start);
    buf[..count].copy_from_slice(&bytes[start..start + count]);
    count
}

/// Makes the vector at least `len` long with zeros; memory that cannot be had is a full disk, not an abort.
pub(crate) fn grow(bytes: &mut Vec<u8>, len: u64) -> io::Result<()> {
    let len = usize::try_from(len).map_err(|_| out_of_room())?;
    if len > bytes.len() {
        bytes.try_reserve(len - bytes.len()).map_err(|_| out_of_room())?;
        bytes.resize(len, 0);
    }
    Ok(())
}

fn out_of_room() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "out of memory for a file")
}
