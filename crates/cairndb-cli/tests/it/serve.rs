//! `cairn serve`: settings from everywhere, clients, and an end in good order.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStderr, Command};
use std::time::{Duration, Instant};

use crate::Cairn;

/// A server on a port of its own.
pub(crate) struct Serving {
    child: Child,
    err: BufReader<ChildStderr>,
    /// What it has said and we have read.
    said: String,
    pub(crate) address: String,
}

impl Serving {
    pub(crate) fn start(cairn: &Cairn, more: &[&str]) -> Serving {
        Serving::spawn(&mut Serving::command(cairn, more))
    }

    fn command(cairn: &Cairn, more: &[&str]) -> Command {
        cairn.command(["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"].iter().chain(more))
    }

    fn spawn(command: &mut Command) -> Serving {
        let mut child = command.spawn().expect("cairn starts");
        let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut said = String::new();
        let address = loop {
            let begun = said.len();
            assert_ne!(err.read_line(&mut said).expect("a line"), 0, "{said}");
            let mut words = said[begun..].split_ascii_whitespace();
            if let Some(address) = words.find_map(|word| word.strip_prefix("redis=")) {
                break address.to_string();
            }
        };
        Serving { child, err, said, address }
    }

    /// Sends lines, and reads as many lines of replies as it is told.
    pub(crate) fn ask(&self, request: &str, lines: usize) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("somebody listens");
        stream.write_all(request.as_bytes()).expect("it is sent");
        BufReader::new(stream).lines().take(lines).map(|line| line.expect("a line") + "\n").collect()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The word of its log that begins so, without that.
    fn word(&self, begins: &str) -> String {
        let word = self.said.split_ascii_whitespace().find_map(|word| word.strip_prefix(begins));
        word.unwrap_or_else(|| panic!("{begins}: {}", self.said)).to_string()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Waits for its end; the exit code, and all that it said.
    pub(crate) fn end(mut self) -> (i32, String) {
        let status = self.child.wait().expect("it ends");
        self.err.read_to_string(&mut self.said).expect("text");
        assert!(!self.said.contains("panicked"), "{}", self.said);
        (status.code().unwrap_or(-1), self.said)
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
fn a_client_s_shutdown_ends_the_process_well() {
    for request in ["SHUTDOWN\r\n", "SHUTDOWN NOSAVE\r\n", "*2\r\n$8\r\nshutdown\r\n$4\r\nsave\r\n"] {
        let cairn = Cairn::new();
        let backups = cairn.path("backups");
        let more = ["--durability", "buffered", "--backup-dir", backups.to_str().expect("text")];
        let serving = Serving::start(&cairn, &more);
        assert_eq!(serving.ask("SET greeting hello\r\n", 1), "+OK\n");
        // No reply: the connection ends, and then the process does.
        assert_eq!(serving.ask(request, 1), "");
        let (code, said) = serving.end();
        assert_eq!(code, 0, "{said}");
        // What nobody had synced yet was, at the close.
        assert_eq!(cairn.run(["get", "greeting"]).ok(), "hello");
    }
}

#[test]
fn a_busy_port_is_told_with_the_way_out() {
    let cairn = Cairn::new();
    let serving = Serving::start(&cairn, &[]);
    let args = ["serve", "--listen", "127.0.0.1:0", "--http", &serving.address];
    let told = cairn.beside("other").run(args).failed_silently();
    assert!(told.contains(&serving.address) && told.contains("--http 127.0.0.1:8380"), "{told}");
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

#[test]
fn who_has_sent_a_command_before_the_end_gets_its_reply() {
    let cairn = Cairn::new();
    let serving = Serving::start(&cairn, &[]);
    let mut stream = TcpStream::connect(&serving.address).expect("somebody listens");
    let mut replies = BufReader::new(stream.try_clone().expect("a second handle"));
    stream.write_all(b"PING\r\n").expect("it is sent");
    let mut line = String::new();
    replies.read_line(&mut line).expect("a reply");
    assert_eq!(line, "+PONG\r\n");
    let idle = TcpStream::connect(&serving.address).expect("somebody listens");
    stream.write_all("INCR a\r\n".repeat(1_000).as_bytes()).expect("they are sent");
    line.clear();
    replies.read_line(&mut line).expect("a reply");
    serving.signal("TERM");
    let began = Instant::now();
    let (code, said) = serving.end();
    assert_eq!(code, 0, "{said}");
    assert!(began.elapsed() < Duration::from_secs(4), "an idle client keeps nobody waiting");
    drop(idle);
    let count = 1 + replies.lines().map_while(Result::ok).count();
    assert_eq!(cairn.run(["get", "a"]).ok(), count.to_string(), "as many replies as writes");
    for event in ["made a new database", "serving", "closing", "closed"] {
        assert!(said.contains(event), "{event}: {said}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let cairn = Cairn::new();
    let serving = Serving::start(&cairn, &[]);
    let mut stream = TcpStream::connect(&serving.address).expect("somebody listens");
    let value = "x".repeat(1 << 20);
    stream
        .write_all(format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n{value}\r\n", value.len()).as_bytes())
        .expect("it is sent");
    // Its replies fill every buffer on the way, and it takes none.
    stream.write_all("GET a\r\n".repeat(64).as_bytes()).expect("they are sent");
    let mut first = [0; 5];
    stream.read_exact(&mut first).expect("a reply");
    std::thread::sleep(Duration::from_millis(200));
    serving.signal("TERM");
    std::thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    serving.signal("TERM");
    let (code, said) = serving.end();
    assert_eq!(code, 128 + 15, "{said}");
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(cairn.run(["get", "a"]).ok(), value, "what was answered is there");
}

#[test]
fn the_log_is_told_what_recovery_found_and_never_what_was_stored() {
    let cairn = Cairn::new();
    let mut serving = Serving::start(&cairn, &["--requirepass", "sesame"]);
    let asked =
        "AUTH sesame\r\nCLIENT SETNAME evil\x1b[31m\r\nSET confidential treasure\r\nAUTH wrongone\r\n";
    serving.ask(asked, 4);
    serving.child.kill().expect("it is killed");
    serving.child.wait().expect("it ends");

    let mut command = Serving::command(
        &cairn,
        &["--log-format", "json", "--log-level", "debug", "--requirepass", "sesame"],
    );
    let mut child = command.spawn().expect("cairn starts");
    let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut events = Vec::new();
    let address = loop {
        let mut line = String::new();
        assert_ne!(err.read_line(&mut line).expect("a line"), 0, "{events:?}");
        let event: serde_json::Value = serde_json::from_str(&line).expect("each line is an object");
        let address = event["redis"].as_str().map(str::to_string);
        events.push(event);
        if let Some(address) = address {
            break address;
        }
    };
    let recovered = events.iter().find(|event| event["records"].is_u64()).expect("recovery is told");
    assert!(recovered["entries"].as_u64() >= Some(1), "{recovered}");
    let serving = Serving { child, err, said: String::new(), address };
    serving.ask(asked, 4);
    serving.signal("TERM");
    let (code, said) = serving.end();
    assert_eq!(code, 0);
    for line in said.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("each line is an object");
    }
    for secret in ["sesame", "confidential", "treasure", "wrongone", "\x1b"] {
        assert!(
            !said.contains(secret) && !events.iter().any(|event| event.to_string().contains(secret)),
            "{secret}"
        );
    }
}

#[test]
fn who_started_the_service_is_told_how_it_is() {
    let cairn = Cairn::new();
    let path = cairn.path("notify");
    let told = UnixDatagram::bind(&path).expect("a socket");
    told.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes options");
    let mut command = Serving::command(&cairn, &[]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000").env_remove("WATCHDOG_PID");
    let serving = Serving::spawn(&mut command);
    let next = || {
        let mut buffer = [0; 100];
        let len = told.recv(&mut buffer).expect("it is told");
        String::from_utf8_lossy(&buffer[..len]).trim_end().to_string()
    };
    let mut all: Vec<String> = (0..4).map(|_| next()).collect();
    assert_eq!(all.iter().filter(|state| *state == "READY=1").count(), 1, "{all:?}");
    assert_eq!(all.iter().filter(|state| *state == "WATCHDOG=1").count(), 3, "{all:?}");
    serving.signal("TERM");
    while all.last().is_none_or(|state| state != "STOPPING=1") {
        all.push(next());
    }
    assert_eq!(serving.end().0, 0);
}

#[test]
fn health_is_asked_over_either_port() {
    let cairn = Cairn::new();
    let serving = Serving::start(&cairn, &["--requirepass", "sesame"]);
    let asked = |args: &[&str]| cairn.run([&["health", "--timeout", "5s"], args].concat());
    assert_eq!(asked(&["--listen", &serving.address]).ok(), "", "who asks for a password is there");
    let http = serving.word("http=");
    assert_eq!(asked(&["--http", &http]).ok(), "");
    // Whoever answers there, it is no server of this kind.
    let other = asked(&["--listen", &http]);
    assert_eq!(other.code, 1, "{other:?}");
    serving.signal("TERM");
    let address = serving.address.clone();
    assert_eq!(serving.end().0, 0);
    let gone = asked(&["--listen", &address]);
    assert_eq!((gone.code, gone.out.as_slice()), (1, &b""[..]), "{gone:?}");
    assert!(gone.err.starts_with(&format!("cairn: {address}: ")), "{gone:?}");

    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let began = Instant::now();
    let unwell = cairn.run(["health", "--timeout", "300ms", "--listen", &address]);
    assert_eq!(unwell.code, 1, "{unwell:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "it waits no longer than it was told to");
}

#[test]
fn other_machines_are_not_served_without_a_password() {
    let cairn = Cairn::new();
    let told = cairn.run(["serve", "--listen", "0.0.0.0:0", "--http", ""]).failed();
    assert!(told.contains("requirepass") && told.contains("--unprotected"), "{told}");
    assert!(!cairn.db.exists());
    let mut command =
        cairn.command(["serve", "--listen", "0.0.0.0:0", "--http", "", "--requirepass", "sesame"]);
    let serving = Serving::spawn(&mut command);
    serving.signal("TERM");
    assert_eq!(serving.end().0, 0);
}
