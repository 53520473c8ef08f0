//! `cairn serve`: settings from everywhere, clients, and an end in good order.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr};

use crate::Cairn;

/// A server on a port of its own.
struct Serving {
    child: Child,
    err: BufReader<ChildStderr>,
    address: String,
}

impl Serving {
    fn start(cairn: &Cairn, more: &[&str]) -> Serving {
        let args = ["serve", "--listen", "127.0.0.1:0"].iter().chain(more);
        let mut child = cairn.command(args).spawn().expect("cairn starts");
        let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        err.read_line(&mut line).expect("a line");
        let address = line.trim_end().rsplit_once(" on ").unwrap_or_else(|| panic!("{line}")).1.to_string();
        Serving { child, err, address }
    }

    /// Sends lines, and reads as many lines of replies as it is told.
    fn ask(&self, request: &str, lines: usize) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("somebody listens");
        stream.write_all(request.as_bytes()).expect("it is sent");
        BufReader::new(stream).lines().take(lines).map(|line| line.expect("a line") + "\n").collect()
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", name, &id]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Waits for its end; the exit code, and what it said after the first line.
    fn end(mut self) -> (i32, String) {
        let status = self.child.wait().expect("it ends");
        let mut said = String::new();
        self.err.read_to_string(&mut said).expect("text");
        assert!(!said.contains("panicked"), "{said}");
        (status.code().unwrap_or(-1), said)
    }
}

#[test]
fn what_was_set_over_the_network_is_there_once_the_server_has_ended() {
    let cairn = Cairn::new();
    let serving = Serving::start(&cairn, &[]);
    assert_eq!(serving.ask("SET greeting hello\r\nGET greeting\r\n", 3), "+OK\n$5\nhello\n");
    serving.signal("TERM");
    assert_eq!(serving.end().0, 0);
    assert_eq!(cairn.run(["get", "greeting"]).ok(), "hello");
}

#[test]
fn a_busy_port_is_told_with_the_way_out() {
    let cairn = Cairn::new();
    let serving = Serving::start(&cairn, &[]);
    let told = cairn.beside("other").run(["serve", "--listen", &serving.address]).failed_silently();
    assert!(told.contains(&serving.address) && told.contains("--listen 127.0.0.1:6380"), "{told}");
    assert!(!cairn.path("other").exists(), "nothing is made where nobody can be served");
    serving.signal("INT");
    assert_eq!(serving.end().0, 0);
}

#[test]
fn settings_come_from_flags_then_the_environment_then_the_file() {
    let cairn = Cairn::new();
    let file = cairn.file("cairn.toml", "maxclients = 1\nmemory-budget = \"64MiB\"\ndurability = \"os\"\n");
    let file = file.to_str().expect("text");
    let mut command = cairn.command(["serve", "--config", file, "--maxclients", "3", "--print-config"]);
    command
        .env("CAIRN_MAXCLIENTS", "2")
        .env("CAIRN_MEMORY_BUDGET", "32MiB")
        .env("CAIRN_REQUIREPASS", "sesame");
    let printed = crate::finish(command.spawn().expect("cairn starts")).ok();
    for line in [
        format!("db = \"{}\"  # --db\n", cairn.db.display()),
        "maxclients = 3  # --maxclients\n".into(),
        "memory-budget = \"32MiB\"  # CAIRN_MEMORY_BUDGET\n".into(),
        format!("durability = \"os\"  # {file}:3\n"),
        "listen = \"127.0.0.1:6379\"  # default\n".into(),
    ] {
        assert!(printed.contains(&line), "{line}{printed}");
    }
    assert!(!printed.contains("sesame"), "{printed}");

    let again = cairn.file("again.toml", &printed);
    let reprinted = cairn.run(["serve", "--config", again.to_str().expect("text"), "--print-config"]).ok();
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.contains("requirepass"));
        lines.map(|line| line.split("  # ").next().unwrap_or_default().to_string()).collect()
    };
    assert_eq!(values(&reprinted), values(&printed));
    assert!(!cairn.db.exists(), "looking at settings makes nothing");
}

#[test]
fn settings_can_be_checked_before_they_are_used() {
    let cairn = Cairn::new();
    let right = cairn.file("right.toml", "maxclients = 5\n");
    assert_eq!(cairn.run(["serve", "--check-config", "--config", right.to_str().expect("text")]).ok(), "");
    let wrong = cairn.file("wrong.toml", "maxclients = 5\nmaxclient = 6\n");
    let told =
        cairn.run(["serve", "--check-config", "--config", wrong.to_str().expect("text")]).failed_silently();
    assert_eq!(told, format!("cairn: {}:2: maxclient: there is no such setting\n", wrong.display()));
    let told = cairn.run(["serve", "--check-config", "--maxclients", "none"]).failed_silently();
    assert!(told.starts_with("cairn: --maxclients: argument couldn't be parsed"), "{told}");
    let told = cairn.run(["serve", "--check-config", "--config", "/nowhere/at/all"]).failed_silently();
    assert!(told.starts_with("cairn: /nowhere/at/all: "), "{told}");
}

#[test]
fn what_was_changed_while_serving_is_written_to_the_file_on_request() {
    let cairn = Cairn::new();
    let file = cairn.file("cairn.toml", "# ours\nmaxclients = 5 # few\n");
    let serving = Serving::start(&cairn, &["--config", file.to_str().expect("text")]);
    let told = serving.ask("CONFIG SET maxclients 7\r\nCONFIG SET db elsewhere\r\nCONFIG REWRITE\r\n", 3);
    let refused = "-ERR CONFIG SET failed (possibly related to argument 'db') - can't set immutable config";
    assert_eq!(told, format!("+OK\n{refused}\n+OK\n"));
    serving.signal("TERM");
    assert_eq!(serving.end().0, 0);
    assert_eq!(std::fs::read_to_string(file).expect("it is there"), "# ours\nmaxclients = 7 # few\n");

    let serving = Serving::start(&cairn, &[]);
    let told = serving.ask("CONFIG REWRITE\r\n", 1);
    assert_eq!(told, "-ERR The server is running without a config file\n");
    serving.signal("TERM");
    assert_eq!(serving.end().0, 0);
}
