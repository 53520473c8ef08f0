//! Program: the stage on the command line, as `cargo run -p stage-02 -- --crash-at 7`.

use std::process::ExitCode;

fn main() -> ExitCode {
    contract::program(&contract::subject!(stage_02))
}
