//! Output: standard output, whose reader may go away at any time.
//!
//! A closed pipe is no error for a tool whose output is piped into `head`: the first write that meets one becomes
//! [`Failure::ClosedPipe`], which ends the command quietly. Any other failure to write is an error like all others.
//!
//! # Where it sits
//! Every command prints through this; nothing else touches standard output.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use crate::failure::Failure;

/// Standard output, buffered. What is left in it counts only after [`Output::flush`].
pub(crate) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub(crate) fn new() -> Output {
        Output(BufWriter::with_capacity(64 << 10, io::stdout().lock()))
    }

    pub(crate) fn is_terminal() -> bool {
        io::stdout().is_terminal()
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write_all(bytes).map_err(failure)
    }

    pub(crate) fn line(&mut self, line: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.0, "{line}").map_err(failure)
    }

    /// Hands everything to the reader now.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(failure)
    }

    /// For code that writes by itself.
    pub(crate) fn writer(&mut self) -> &mut dyn Write {
        &mut self.0
    }
}

fn failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::told(format_args!("standard output: {error}")),
    }
}
