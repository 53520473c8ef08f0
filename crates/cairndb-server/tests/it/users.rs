//! Users: who is let in, what they are refused, and what becomes of their connections when they change.

use std::time::{Duration, Instant};

use crate::Served;
use crate::client::Client;

fn told(client: &mut Client, line: &str) -> String {
    client.line(line).to_string()
}

#[test]
fn a_user_does_what_they_may_and_nothing_else() {
    let served = Served::new();
    let (mut admin, mut ann) = (served.client(), served.client());
    assert_eq!(told(&mut admin, "acl setuser ann on >secret ~own:* &own +@all -@admin"), "+OK");
    assert_eq!(
        told(&mut ann, "auth ann wrong"),
        "-WRONGPASS invalid username-password pair or user is disabled."
    );
    assert_eq!(told(&mut ann, "auth ann secret"), "+OK");
    assert_eq!(told(&mut ann, "acl whoami"), "$\"ann\"");
    assert_eq!(told(&mut ann, "set own:a 1"), "+OK");
    assert_eq!(
        told(&mut ann, "get other"),
        "-NOPERM this user has no permissions to access one of the keys used as arguments"
    );
    assert_eq!(
        told(&mut ann, "config get port"),
        "-NOPERM this user has no permissions to run the 'config|get' command"
    );
    assert_eq!(
        told(&mut ann, "publish other x"),
        "-NOPERM this user has no permissions to access one of the channels used as arguments"
    );
    // What is refused is not queued, and the transaction with it.
    assert_eq!(told(&mut ann, "multi"), "+OK");
    assert!(told(&mut ann, "get other").starts_with("-NOPERM"));
    assert!(told(&mut ann, "exec").starts_with("-EXECABORT"));
    let log = told(&mut admin, "acl log");
    for part in [
        "$\"reason\" $\"auth\"",
        "$\"object\" $\"config|get\"",
        "$\"object\" $\"other\"",
        "$\"context\" $\"multi\"",
    ] {
        assert!(log.contains(part), "{part} in {log}");
    }
    assert!(told(&mut admin, "client list").contains("user=ann"));
    assert_eq!(told(&mut admin, "client kill user ann"), ":1");
    assert!(ann.is_at_end());
}

#[test]
fn a_change_reaches_connections_that_are_open() {
    let served = Served::new();
    let (mut admin, mut ann, mut listener) = (served.client(), served.client(), served.client());
    assert_eq!(told(&mut admin, "acl setuser ann on nopass ~* &* +@all"), "+OK");
    for client in [&mut ann, &mut listener] {
        assert_eq!(told(client, "auth ann x"), "+OK");
    }
    assert!(told(&mut listener, "subscribe news").contains("subscribe"));
    assert_eq!(told(&mut ann, "multi"), "+OK");
    assert_eq!(told(&mut ann, "get a"), "+QUEUED");
    assert_eq!(told(&mut admin, "acl setuser ann -get resetchannels"), "+OK");
    assert!(listener.is_at_end(), "who may no longer listen has to go");
    assert_eq!(
        told(&mut ann, "exec"),
        "*[-NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is \
         no longer allowed for the following reason: no permission to execute the command or subcommand]"
    );
    assert_eq!(told(&mut ann, "get a"), "-NOPERM this user has no permissions to run the 'get' command");
    // Turned off, they keep what they have; deleted, they go, and one of the same name is somebody else.
    assert_eq!(told(&mut admin, "acl setuser ann off"), "+OK");
    assert_eq!(told(&mut ann, "ping"), "+PONG");
    assert_eq!(told(&mut admin, "multi"), "+OK");
    assert_eq!(told(&mut admin, "acl deluser ann"), "+QUEUED");
    assert_eq!(told(&mut admin, "acl setuser ann on nopass +@all"), "+QUEUED");
    assert_eq!(told(&mut admin, "exec"), "*[:1 +OK]");
    assert!(ann.is_at_end());
}

#[test]
fn users_are_there_after_a_restart() {
    let served = Served::new();
    let mut admin = served.client();
    assert_eq!(told(&mut admin, "acl setuser ann on >secret ~* +@read"), "+OK");
    assert_eq!(told(&mut admin, "acl setuser default -@dangerous"), "+OK");
    let (db, directory) = served.stop();
    drop(db);
    let path = directory.path().join("db");
    let served = Served::with(|config| config.directory = path.clone());
    let mut client = served.client();
    assert!(told(&mut client, "keys *").starts_with("-NOPERM"));
    assert_eq!(told(&mut client, "auth ann secret"), "+OK");
    assert_eq!(told(&mut client, "get a"), "nil");
    drop(served);
    // A password that is given holds for the run.
    let served =
        Served::with(|config| (config.directory, config.password) = (path.clone(), Some("run".into())));
    assert_eq!(told(&mut served.client(), "ping"), "-NOAUTH Authentication required.");
    drop(served);
    let served = Served::with(|config| config.directory = path);
    assert_eq!(told(&mut served.client(), "ping"), "+PONG");
}

#[test]
fn a_password_can_be_asked_for_while_the_server_runs() {
    let served = Served::new();
    let mut first = served.client();
    assert_eq!(told(&mut first, "config set requirepass secret"), "+OK");
    assert_eq!(told(&mut first, "ping"), "+PONG");
    let mut second = served.client();
    assert_eq!(told(&mut second, "ping"), "-NOAUTH Authentication required.");
    assert_eq!(told(&mut second, "auth secret"), "+OK");
    assert_eq!(told(&mut second, "reset"), "+RESET");
    assert_eq!(told(&mut second, "ping"), "-NOAUTH Authentication required.");
    assert!(told(&mut second, "hello 3 auth default secret").starts_with("%["));
    assert_eq!(told(&mut first, "config set requirepass "), "+OK");
    assert_eq!(told(&mut served.client(), "ping"), "+PONG");
}

#[test]
fn passwords_are_made_up() {
    let served = Served::new();
    let mut client = served.client();
    let (first, second) = (told(&mut client, "acl genpass"), told(&mut client, "acl genpass"));
    assert_eq!(first.len(), "$\"\"".len() + 64);
    assert_ne!(first, second);
    assert_eq!(told(&mut client, "acl genpass 5").len(), "$\"\"".len() + 2);
}

/// A client that takes none of its replies is never asked who it is: it was there until it read, with all its buffers.
#[test]
fn who_is_deleted_goes_though_it_reads_nothing() {
    let served = Served::new();
    let (mut admin, mut ann) = (served.client(), served.client());
    assert_eq!(told(&mut admin, "acl setuser ann on nopass ~* &* +@all"), "+OK");
    assert_eq!(admin.ask(&[b"set", b"long", &vec![b'x'; 4 << 20]]).to_string(), "+OK");
    assert_eq!(told(&mut ann, "auth ann x"), "+OK");
    // Far more than sockets hold.
    for _ in 0..16 {
        ann.send_raw(&crate::client::request(&[b"get", b"long"]));
    }
    let count = |admin: &mut Client| told(admin, "client list").matches("user=ann").count();
    let is_stuck = |admin: &mut Client| told(admin, "client list").contains("cmd=get user=ann");
    let began = Instant::now();
    while !is_stuck(&mut admin) {
        assert!(began.elapsed() < Duration::from_secs(20), "it never came to the reply");
    }
    assert_eq!(told(&mut admin, "acl deluser ann"), ":1");
    let began = Instant::now();
    while count(&mut admin) > 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "it is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}
