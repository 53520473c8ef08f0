//! Threads: a few that serve clients, shared out among them.
//!
//! A client stays with the thread that it was given: whatever it sends is read, run and answered there, and no other
//! thread is woken for it.
//!
//! # Why this way
//! A scheduler that moves tasks between threads has a thread look for work whenever another has some; waking one costs
//! more than most commands do. And more threads than there are processors to spare take the processor from each other,
//! and from clients on the same machine. The price is that a command that takes long (`KEYS` of everything) keeps the
//! clients of its thread waiting. What was measured is in docs/performance.md.

use std::io;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// Threads that serve clients.
pub(crate) struct Threads {
    handles: Vec<Handle>,
    joins: Vec<JoinHandle<()>>,
    end: watch::Sender<bool>,
}

/// How many threads serve clients: half as many as there are processors; the network, compactions and clients take the others.
pub(crate) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2))
}

impl Threads {
    /// Starts `count` of them.
    ///
    /// Errors: the operating system's, if it has no thread to give.
    pub(crate) fn start(count: usize) -> io::Result<Threads> {
        let (end, ended) = watch::channel(false);
        let mut threads = Threads { handles: Vec::new(), joins: Vec::new(), end };
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            threads.handles.push(runtime.handle().clone());
            let mut ended = ended.clone();
            let thread = std::thread::Builder::new().name(format!("clients-{number}"));
            threads.joins.push(thread.spawn(move || _ = runtime.block_on(ended.changed()))?);
        }
        Ok(threads)
    }

    /// One for each thread, to give it clients.
    pub(crate) fn handles(&self) -> Vec<Handle> {
        self.handles.clone()
    }

    /// Ends them. What clients still do ends where it waits.
    pub(crate) fn end(self) {
        self.end.send_replace(true);
        for join in self.joins {
            _ = join.join();
        }
    }
}
