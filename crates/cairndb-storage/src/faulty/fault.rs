//! Fault: which calls are to fail, and a count of all that were made.
//!
//! A fault waits for calls of its description, lets some of them pass, and strikes. Every call is counted under
//! the site and the operation it was made for, so that a test can see what there is to aim at.

use crate::Site;
use std::collections::BTreeMap;
use std::io;

/// What a call asks of the storage: the methods of [`Storage`](crate::Storage) and [`File`](crate::File).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the method of its name")]
pub enum Operation {
    Create,
    Open,
    Remove,
    List,
    SyncNames,
    Lock,
    Reserve,
    Append,
    ReadAt,
    Len,
    Sync,
}

/// A call that is to fail.
///
/// ```
/// use cairndb_storage::{Fault, Operation};
/// use std::io::ErrorKind;
/// // The third sync from now fails, at the one place in the caller's code that is called "wal.sync".
/// let one = Fault::nth(3, ErrorKind::Other).at("wal.sync").on(Operation::Sync);
/// // Every call from the next on fails.
/// let all = Fault::nth(1, ErrorKind::Other).sticky();
/// # let _ = (one, all);
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    /// Calls of this description until it strikes, the struck one included.
    nth: u64,
    kind: io::ErrorKind,
    os_error: Option<i32>,
    site: Option<Site>,
    operation: Option<Operation>,
    sticky: bool,
}

impl Fault {
    /// The `nth` call from now fails with `kind`, once; 1 is the next call.
    ///
    /// # Panics
    /// If `nth` is 0.
    pub fn nth(nth: u64, kind: io::ErrorKind) -> Fault {
        assert!(nth > 0, "the next call is the first: nth(1, ...)");
        Fault { nth, kind, os_error: None, site: None, operation: None, sticky: false }
    }

    /// Fails with this error of the operating system's instead, for those that have no kind of their own: 24 is "too
    /// many open files" on Linux.
    pub fn os_error(self, number: i32) -> Fault {
        Fault { os_error: Some(number), ..self }
    }

    /// Counts and strikes calls from this site alone.
    pub fn at(self, site: Site) -> Fault {
        Fault { site: Some(site), ..self }
    }

    /// Counts and strikes calls of this operation alone.
    pub fn on(self, operation: Operation) -> Fault {
        Fault { operation: Some(operation), ..self }
    }

    /// Strikes every call after the first struck one too.
    pub fn sticky(self) -> Fault {
        Fault { sticky: true, ..self }
    }

    fn describes(&self, site: Site, operation: Operation) -> bool {
        let same_site = self.site.is_none_or(|wanted| wanted == site);
        same_site && self.operation.is_none_or(|wanted| wanted == operation)
    }
}

/// The faults that wait, and the calls that were made.
#[derive(Default)]
pub(super) struct Calls {
    faults: Vec<Fault>,
    counts: BTreeMap<(Site, Operation), u64>,
    total: u64,
    struck: u64,
}

impl Calls {
    /// Counts a call; returns the error it is to fail with.
    pub(super) fn count(&mut self, site: Site, operation: Operation) -> Option<io::Error> {
        self.total += 1;
        *self.counts.entry((site, operation)).or_default() += 1;
        let mut struck = None;
        self.faults.retain_mut(|fault| {
            if !fault.describes(site, operation) {
                return true;
            }
            if fault.nth > 1 {
                fault.nth -= 1;
                return true;
            }
            struck.get_or_insert((fault.kind, fault.os_error));
            fault.sticky
        });
        let (kind, os_error) = struck?;
        self.struck += 1;
        Some(match os_error {
            Some(number) => io::Error::from_raw_os_error(number),
            None => io::Error::new(kind, format!("{operation:?} at {site}: made to fail")),
        })
    }

    pub(super) fn add_fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(super) fn clear_faults(&mut self) {
        self.faults.clear();
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// How many calls were made to fail.
    pub(super) fn struck(&self) -> u64 {
        self.struck
    }

    pub(super) fn counts(&self) -> Vec<(Site, Operation, u64)> {
        self.counts.iter().map(|(&(site, operation), &count)| (site, operation, count)).collect()
    }
}
