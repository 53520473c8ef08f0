//! The engine from outside.

mod backup;
mod changes;
mod common;
mod concurrency;
mod damage;
mod dissect;
mod explain;
mod full_disk;
mod golden;
mod hostile;
mod limits;
mod repair;
mod replay;
mod scripts;
mod smoke;
mod spares;

/// Counts what is allocated, for the tests that bound it.
#[global_allocator]
static ALLOCATOR: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
