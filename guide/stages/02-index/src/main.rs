//! Program: the stage on the command line; `--help` says what it can do.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::program(&contract::subject!(stage_02))
}
