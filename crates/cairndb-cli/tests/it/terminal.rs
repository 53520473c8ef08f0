//! What is different on a terminal. `script` makes one; where it is not installed there is nothing to see.

use std::process::{Command, Stdio};

use crate::Cairn;

/// Runs a shell command on a terminal of its own, and returns all that it showed.
fn shown(cairn: &Cairn, shell: &str) -> Option<String> {
    let shell =
        shell.replace("cairn ", &format!("'{}' --db '{}' ", env!("CARGO_BIN_EXE_cairn"), cairn.db.display()));
    let mut command = Command::new("script");
    command.args(["-qec", &shell, "/dev/null"]).env("SHELL", "/bin/sh").stdin(Stdio::null());
    let output = command.output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn get_ends_its_line_on_a_terminal_only() {
    let cairn = Cairn::new();
    assert_eq!(cairn.run(["put", "a", "hello"]).code, 0);
    assert_eq!(cairn.run(["get", "a"]).ok(), "hello");
    if let Some(text) = shown(&cairn, "cairn get a") {
        assert_eq!(text, "hello\r\n");
    }
}

#[test]
fn progress_is_shown_on_a_terminal_only_and_after_a_second() {
    let slow = "(echo 'a\t1'; sleep 1.6; echo 'b\t2') | cairn load -";
    let Some(text) = shown(&Cairn::new(), slow) else { return };
    assert!(text.contains("loading: 4 bytes, 1."), "{text:?}");
    assert!(text.contains("\r\x1b[K2 entries stored"), "it is wiped: {text:?}");
    let text = shown(&Cairn::new(), &format!("{slow} 2>&1 | cat")).expect("as before");
    assert!(text.starts_with("2 entries stored in 1."), "{text:?}");
    let text = shown(&Cairn::new(), "printf 'a\t1\n' | cairn load -").expect("as before");
    assert!(text.starts_with("1 entry stored in "), "{text:?}");
}
