//! Database: how a command gets at the one it was pointed to.
//!
//! Three doors, by what the command may do there. To read, a database must stand: reading never creates anything.
//! To change one, it must stand too. Only `put`, `load` and `replay` may make one.
//!
//! # Where it sits
//! Called first by every command but `verify`, `repair`, `inspect` and `demo`, which look at files or bring their own place.

use std::path::Path;

use cairndb::storage::Native;
use cairndb::{Db, Keyspace, Options};

use crate::args::Target;
use crate::failure::Failure;

/// An open database, and the keyspace that the command works in.
pub(crate) struct Database {
    pub(crate) db: Db,
    pub(crate) keyspace: Keyspace,
}

impl Database {
    /// For reading: nothing on disk changes.
    pub(crate) fn read(target: &Target) -> Result<Database, Failure> {
        require(target.dir())?;
        Database::of(options(target).open_read_only(target.dir())?, target)
    }

    /// For changing a database that stands.
    pub(crate) fn change(target: &Target) -> Result<Database, Failure> {
        require(target.dir())?;
        Database::make(target)
    }

    /// For writing; a database that does not stand yet is made.
    pub(crate) fn make(target: &Target) -> Result<Database, Failure> {
        Database::of(options(target).open(target.dir())?, target)
    }

    fn of(db: Db, target: &Target) -> Result<Database, Failure> {
        let keyspace = db.keyspace(target.keyspace)?;
        Ok(Database { db, keyspace })
    }

    /// Closes it, and says if that failed: the drop alone would not.
    pub(crate) fn close(self) -> Result<(), Failure> {
        Ok(self.db.close()?)
    }
}

/// Says so if no database stands at `dir`.
pub(crate) fn require(dir: &Path) -> Result<Native, Failure> {
    Native::read_only(dir).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::hinted(
            format_args!("no database at {}", dir.display()),
            "`cairn put` and `cairn load` make one; --db points to another place",
        ),
        _ => Failure::told(error),
    })
}

fn options(target: &Target) -> Options {
    Options { durability: target.durability(), ..Options::default() }
}
