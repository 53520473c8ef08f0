//! Database: what the contract asks of a database, whatever it is made of.

use std::io;
use std::sync::Arc;

use cairndb_storage::Storage;

/// A database that is open.
pub trait Database {
    /// Makes `key` hold `value`.
    ///
    /// # Errors
    /// Whatever keeps it from doing so.
    fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()>;

    /// What `key` holds, if anything.
    ///
    /// # Errors
    /// Whatever keeps it from saying so.
    fn get(&mut self, key: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// Makes `key` hold nothing.
    ///
    /// # Errors
    /// Whatever keeps it from doing so.
    fn delete(&mut self, key: &[u8]) -> io::Result<()>;
}

/// Opens the database in a storage, or begins one.
pub type Open = fn(Arc<dyn Storage>) -> io::Result<Box<dyn Database>>;

/// A kind of database that is held to the contract.
#[derive(Clone, Copy)]
pub struct Subject {
    /// What it is called.
    pub name: &'static str,
    /// How it is opened.
    pub open: Open,
}

/// A stage as a [`Subject`]: `subject!(stage_01)`.
#[macro_export]
macro_rules! subject {
    ($stage:ident) => {{
        struct Stage($stage::Database);

        impl $crate::Database for Stage {
            fn put(&mut self, key: &[u8], value: &[u8]) -> std::io::Result<()> {
                self.0.put(key, value)
            }

            fn get(&mut self, key: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
                self.0.get(key)
            }

            fn delete(&mut self, key: &[u8]) -> std::io::Result<()> {
                self.0.delete(key)
            }
        }

        $crate::Subject {
            name: stringify!($stage),
            open: |storage| Ok(Box::new(Stage($stage::Database::open(storage)?))),
        }
    }};
}
