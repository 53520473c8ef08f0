//! What the tests share: options that make every run the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairndb::storage::Storage;
use cairndb::{Db, Options};

/// The least budget in which everything happens soon.
pub(crate) const TINY: u64 = 64 << 10;

/// Ids that begin at `first_id`, a clock that stands still, and this budget.
pub(crate) fn options(budget: u64, first_id: u64) -> Options {
    let next = AtomicU64::new(first_id);
    let ids = move || u128::from(next.fetch_add(1, Ordering::Relaxed));
    Options { memory_budget_bytes: budget, ..Options::new(Arc::new(|| 1000), Arc::new(ids)) }
}

pub(crate) fn open(storage: &(impl Storage + Clone + 'static), first_id: u64) -> Db {
    Db::open_with(Arc::new(storage.clone()), options(TINY, first_id)).unwrap()
}

/// Everything in keyspace 0.
pub(crate) fn contents(db: &Db) -> Vec<(Vec<u8>, Vec<u8>)> {
    db.scan(..).map(|item| item.unwrap()).map(|(key, value)| (key, value.into_vec())).collect()
}
