//! Memory: what an instance may ever need, taken at its beginning.
//!
//! WebAssembly's memory grows and never shrinks. What is in use rises and falls: memtables fill while a compaction runs and
//! the cache is full, and the moments at which all of them are at their longest come when they come, in the second round of a
//! workload or in the fortieth; and each time memory would grow a little further. Taken at once, it does not grow at all as
//! long as the budget holds, and where it does not hold, that shows.
//!
//! # Where it sits
//! Called by `engine`; on the allocator alone.
//!
//! # Why this way
//! Pages that nothing has touched are address space, and no memory: what is never needed costs nothing. The allocator keeps
//! what is freed as one stretch, and takes from it only what fits nowhere else.

/// A page of WebAssembly's memory, in bytes.
pub const PAGE_LEN: u64 = 64 << 10;

/// Has the instance's memory be `len` bytes, or as much more as it is already. Where the browser refuses, it grows as it is
/// needed.
pub fn take_memory(len: u64) {
    let taken = core::arch::wasm32::memory_size(0) as u64 * PAGE_LEN;
    // The allocator's own few words come on top, and it takes whole pages.
    let left = len.saturating_sub(taken).saturating_sub(PAGE_LEN);
    let mut room: Vec<u8> = Vec::new();
    drop(room.try_reserve_exact(usize::try_from(left).unwrap_or(usize::MAX)));
    // Or the compiler would see that nobody uses it.
    drop(std::hint::black_box(room));
}
