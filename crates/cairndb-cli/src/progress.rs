//! Progress: one line on the terminal while something takes longer than a second.
//!
//! Nothing is shown before that, nor when standard error is not a terminal; the line is wiped when the work is done,
//! so that a script or a log never sees it.
//!
//! # Where it sits
//! Held by a command while it works; its own thread draws.
//!
//! # Why this way
//! The known crates for this do ten times as much and bring six more with them; a line with a bar is forty lines here.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::human;

/// What takes less than this is not worth a line.
const SILENT: Duration = Duration::from_secs(1);

/// How often the line is drawn again.
const REDRAW: Duration = Duration::from_millis(200);

/// How many characters the bar itself takes: with its words around it, it fits on a narrow terminal.
const BAR_LEN: u64 = 24;

/// What [`Progress::advance`] counts.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Nothing: there is only the time to show.
    Time,
    /// Entries, of which nobody knows how many there will be.
    Entries,
    /// Bytes, of so many if that is known.
    Bytes(Option<u64>),
}

/// Work under way. Dropping it wipes the line.
pub(crate) struct Progress {
    done: Arc<AtomicU64>,
    drawing: Option<Drawing>,
}

/// The thread that draws; it ends when `_stop` is dropped.
struct Drawing {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Progress {
    /// Begins to show `doing`, such as "loading".
    pub(crate) fn start(doing: &'static str, unit: Unit) -> Progress {
        if io::stderr().is_terminal() { Progress::drawn(doing, unit) } else { Progress::silent() }
    }

    /// Progress that is never shown.
    pub(crate) fn silent() -> Progress {
        Progress { done: Arc::default(), drawing: None }
    }

    fn drawn(doing: &'static str, unit: Unit) -> Progress {
        let done = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&done);
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || draw(doing, unit, &counted, &stopped));
        Progress { done, drawing: Some(Drawing { stop, thread }) }
    }

    /// So much more is done.
    pub(crate) fn advance(&self, by: u64) {
        self.done.fetch_add(by, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(Drawing { stop, thread }) = self.drawing.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// Draws until the other end of `stopped` is dropped.
fn draw(doing: &str, unit: Unit, done: &AtomicU64, stopped: &Receiver<()>) {
    let begun = Instant::now();
    if stopped.recv_timeout(SILENT) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    loop {
        let line = line(doing, unit, done.load(Ordering::Relaxed), begun.elapsed());
        let _ = write!(io::stderr(), "\r\x1b[K{line}");
        if stopped.recv_timeout(REDRAW) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    let _ = write!(io::stderr(), "\r\x1b[K");
}

/// The line: no wider than 78 characters for any number below a billion or a terabyte.
fn line(doing: &str, unit: Unit, done: u64, elapsed: Duration) -> String {
    match unit {
        Unit::Time => format!("{doing}: {}", human::time(elapsed)),
        Unit::Entries => {
            format!("{doing}: {}, {}", human::counted(done, "entry", "entries"), human::time(elapsed))
        }
        Unit::Bytes(Some(total)) if total > 0 => bar(doing, done.min(total), total, elapsed),
        Unit::Bytes(_) => format!("{doing}: {}, {}", human::bytes(done), human::time(elapsed)),
    }
}

fn bar(doing: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let share = done as f64 / total as f64;
    let full = (share * BAR_LEN as f64) as usize;
    let left = if share > 0.0 { elapsed.mul_f64(1.0 / share - 1.0) } else { Duration::ZERO };
    let bar: String = (0..BAR_LEN as usize).map(|index| if index < full { '#' } else { '.' }).collect();
    let left = if share > 0.0 { format!(", {} left", human::time(left)) } else { String::new() };
    format!("{doing} [{bar}] {:.0} % of {}{left}", share * 100.0, human::bytes(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_and_how_long() {
        let two = Duration::from_secs(2);
        assert_eq!(line("loading", Unit::Entries, 1, two), "loading: 1 entry, 2.0 s");
        assert_eq!(line("loading", Unit::Bytes(None), 2048, two), "loading: 2.0 KiB, 2.0 s");
        assert_eq!(
            line("loading", Unit::Bytes(Some(4096)), 1024, two),
            "loading [######..................] 25 % of 4.0 KiB, 6.0 s left"
        );
        assert_eq!(
            line("loading", Unit::Bytes(Some(4096)), 9999, two),
            "loading [########################] 100 % of 4.0 KiB, 0 ms left"
        );
        assert!(line("loading", Unit::Bytes(Some(1 << 39)), 1, Duration::from_secs(9999)).len() < 90);
    }
}
