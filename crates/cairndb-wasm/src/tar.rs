//! Tar: a database as one stream of bytes, for a page to keep or to send.
//!
//! A backup is made into a place that takes tables by reference: they never change, and an open file can be read though its
//! name is gone. So what is written while the stream is read does not show in it. `tar -x` makes a directory of it that
//! `cairn` opens.
//!
//! # Where it sits
//! Called by `engine`; stands on the storage traits alone.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use cairndb_storage::{File, FileKind, FileName, Lock, LockError, LockMode, Memory, Site, Storage};

const SITE: Site = "export";

/// Everything in a tar file comes in blocks of so many bytes.
const BLOCK_LEN: usize = 512;

/// Where a backup goes: what is new into memory, tables as they are.
#[derive(Default)]
pub(crate) struct Target {
    fresh: Memory,
    tables: Mutex<Vec<(FileName, Arc<dyn File>)>>,
}

impl Storage for Target {
    fn create(&self, site: Site, kind: FileKind, above: u64) -> io::Result<(u64, Arc<dyn File>)> {
        self.fresh.create(site, kind, above)
    }

    fn open(&self, site: Site, name: FileName) -> io::Result<Arc<dyn File>> {
        self.fresh.open(site, name)
    }

    fn remove(&self, site: Site, name: FileName) -> io::Result<()> {
        self.fresh.remove(site, name)
    }

    fn list(&self, site: Site) -> io::Result<Vec<FileName>> {
        self.fresh.list(site)
    }

    fn sync_names(&self, site: Site) -> io::Result<()> {
        self.fresh.sync_names(site)
    }

    fn lock(&self, site: Site, mode: LockMode) -> Result<Lock, LockError> {
        self.fresh.lock(site, mode)
    }

    fn link(&self, site: Site, name: FileName, from: &dyn Storage) -> io::Result<bool> {
        let file = from.open(site, name)?;
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).push((name, file));
        Ok(true)
    }
}

/// A stream of tar's bytes.
pub(crate) struct Tar {
    files: Vec<(FileName, Arc<dyn File>)>,
    /// Of the last of them.
    offset: u64,
    is_over: bool,
}

impl Tar {
    /// Of what a backup has put into `target`. The manifest comes last: a stream that ends early is no database.
    pub(crate) fn of(target: Target) -> io::Result<Tar> {
        let mut files = target.tables.into_inner().unwrap_or_else(PoisonError::into_inner);
        for name in target.fresh.list(SITE)? {
            files.push((name, target.fresh.open(SITE, name)?));
        }
        files.sort_unstable_by_key(|(name, _)| (name.kind == FileKind::Manifest, *name));
        files.reverse();
        Ok(Tar { files, offset: 0, is_over: false })
    }

    /// The next bytes, about `len`; none at the end.
    pub(crate) fn next(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < len && !self.is_over {
            let Some((name, file)) = self.files.last() else {
                out.resize(out.len() + 2 * BLOCK_LEN, 0);
                self.is_over = true;
                break;
            };
            let file_len = file.len(SITE)?;
            if self.offset == 0 {
                out.extend_from_slice(&header(*name, file_len));
            }
            let start = out.len();
            let left = usize::try_from(file_len - self.offset).unwrap_or(usize::MAX);
            out.resize(start + left.min(len), 0);
            let count = file.read_at(SITE, self.offset, &mut out[start..])?;
            if count < out.len() - start {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{name} ends early")));
            }
            self.offset += count as u64;
            if self.offset == file_len {
                out.resize(start + count.next_multiple_of(BLOCK_LEN), 0);
                self.files.pop();
                self.offset = 0;
            }
        }
        Ok(out)
    }
}

/// A file's header, in the form of POSIX.1-1988: fields of octal digits, and a sum over all of them.
fn header(name: FileName, len: u64) -> [u8; BLOCK_LEN] {
    let mut header = [0; BLOCK_LEN];
    let mut put =
        |offset: usize, text: &str| header[offset..offset + text.len()].copy_from_slice(text.as_bytes());
    put(0, &name.to_string());
    put(100, "0000600\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{len:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}
