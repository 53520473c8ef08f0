//! Files: calls on storage, with errors that say which file they were about.
//!
//! The operating system's error alone does not tell what was being done to what. Every other room reads, opens and
//! syncs through these functions, so that the same failure always reads the same.
//!
//! # Where it sits
//! On `error`; the only calls on storage that do not come through here are appends, whose failures mean something
//! else to each caller.

use cairndb_storage::{File, FileKind, FileName, Lock, LockError, LockMode, Site, Storage};

use crate::error::{Error, Result};
use crate::sync::Arc;

/// The first step in which room is laid down, in bytes; each step doubles the room up to the caller's largest.
pub(crate) const ROOM_STEP_MIN: u64 = 4 << 10;

pub(crate) fn open_file(storage: &dyn Storage, name: FileName, site: Site) -> Result<Arc<dyn File>> {
    storage.open(site, name).map_err(|e| Error::io(format_args!("opening {name}"), e))
}

/// Creates the next file of this kind above `above`.
///
/// Errors: `Busy` if the storage has no spare just now; nothing was changed then. `Corrupt` if no number is left: no
/// database comes to that by itself.
pub(crate) fn create_file(
    storage: &dyn Storage,
    kind: FileKind,
    above: u64,
    site: Site,
) -> Result<(u64, Arc<dyn File>)> {
    let Some(next) = above.checked_add(1) else {
        let name = FileName { kind, number: above };
        return Err(Error::corrupt(name, 0, "no file number is left beyond this one"));
    };
    storage.create(site, kind, above).map_err(|e| match e.kind() {
        std::io::ErrorKind::WouldBlock => {
            Error::Busy { what: format!("the storage has no spare .{} file", kind.extension()) }
        }
        _ => Error::io(format_args!("creating {}", FileName { kind, number: next }), e),
    })
}

/// Lays down room in `file` until it has `wanted` bytes, in steps that double up to `step_max`, so that this is rare; where a whole step does
/// not fit the disk, as much as is wanted. `laid` is how much was there before and is there now.
///
/// Errors: `DiskFull`, and nothing is lost; `Io`.
pub(crate) fn lay_down(
    file: &dyn File,
    name: FileName,
    laid: &mut u64,
    wanted: u64,
    step_max: u64,
    site: Site,
) -> Result<()> {
    if *laid >= wanted {
        return Ok(());
    }
    let reserve = |len| {
        let reserved = file.reserve(site, len).map(|()| len);
        reserved.map_err(|e| Error::io(format_args!("laying down room in {name}"), e))
    };
    let least = wanted.next_multiple_of(ROOM_STEP_MIN);
    let ample = least.max(*laid + (*laid).clamp(ROOM_STEP_MIN, step_max));
    *laid = match reserve(ample) {
        Err(Error::DiskFull { .. }) if ample > least => reserve(least)?,
        reserved => reserved?,
    };
    Ok(())
}

/// Reads from `offset` until `buf` is full or the file ends; how many bytes that was.
pub(crate) fn read_at(
    file: &dyn File,
    name: FileName,
    offset: u64,
    buf: &mut [u8],
    site: Site,
) -> Result<usize> {
    file.read_at(site, offset, buf)
        .map_err(|e| Error::io(format_args!("reading {name} at offset {offset}"), e))
}

pub(crate) fn len_of(file: &dyn File, name: FileName, site: Site) -> Result<u64> {
    file.len(site).map_err(|e| Error::io(format_args!("asking for the length of {name}"), e))
}

/// Makes the file's bytes survive power loss. After a failure they are unknown, for ever.
pub(crate) fn sync_file(file: &dyn File, name: FileName, site: Site) -> Result<()> {
    file.sync(site).map_err(|e| Error::unknown(format_args!("syncing {name}"), e))
}

/// Makes what was created and removed survive power loss.
pub(crate) fn sync_names(storage: &dyn Storage, site: Site) -> Result<()> {
    storage.sync_names(site).map_err(|e| Error::unknown("syncing the names of files", e))
}

/// The files that stand, in order, but for spares: the empty ones behind the last of their kind that holds bytes. They were made
/// ahead and never used, here or by another who had the database before: the next create of their kind takes them over, so
/// their numbers are not skipped, and they are nobody's orphans.
pub(crate) fn list_files(storage: &dyn Storage, site: Site) -> Result<Vec<FileName>> {
    let mut names = storage.list(site).map_err(|e| Error::io("listing the database's files", e))?;
    for kind in FileKind::ALL {
        while let Some(index) = names.iter().rposition(|name| name.kind == kind) {
            // One that cannot be looked at is for those to tell of who need it.
            let is_spare =
                storage.open(site, names[index]).and_then(|file| file.len(site)).is_ok_and(|len| len == 0);
            if !is_spare {
                break;
            }
            names.remove(index);
        }
    }
    Ok(names)
}

/// Errors: `Locked`, with the holder.
pub(crate) fn lock(storage: &dyn Storage, mode: LockMode, site: Site) -> Result<Lock> {
    storage.lock(site, mode).map_err(|error| match error {
        LockError::Held(holder) => Error::Locked { holder },
        LockError::Io(error) => Error::io("locking the database", error),
    })
}
