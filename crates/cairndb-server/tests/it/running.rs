//! Running a server: what its owner does to it while clients are there.

use std::time::{Duration, Instant};

use cairndb_server::Durability;

use crate::Served;
use crate::client::{Client, request};

fn told(client: &mut Client, line: &str) -> String {
    client.line(line).to_string()
}

/// How long this takes.
fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

#[test]
fn databases_are_exchanged_whole_and_for_good() {
    let served = Served::new();
    let (mut one, mut other, mut watcher) = (served.client(), served.client(), served.client());
    assert_eq!(told(&mut other, "select 3"), "+OK");
    for line in ["set a 0", "set only0 x", "set soon 1 pxat 4000000000000"] {
        assert_eq!(told(&mut one, line), "+OK");
    }
    assert_eq!(told(&mut other, "set a 3"), "+OK");
    assert_eq!(told(&mut watcher, "watch a"), "+OK");
    // In a transaction, and with what is not written yet.
    for line in ["multi", "set staged y", "swapdb 0 3", "get a"] {
        told(&mut one, line);
    }
    assert_eq!(told(&mut one, "exec"), "*[+OK +OK $\"3\"]");
    assert_eq!(told(&mut one, "dbsize"), ":1");
    assert_eq!(told(&mut other, "mget a only0 staged"), "*[$\"0\" $\"x\" $\"y\"]");
    assert_eq!(told(&mut other, "pexpiretime soon"), ":4000000000000");
    assert_eq!(told(&mut watcher, "multi"), "+OK");
    assert_eq!(told(&mut watcher, "ping"), "+QUEUED");
    assert_eq!(told(&mut watcher, "exec"), "*nil");
    let (db, _directory) = served.stop();
    assert_eq!(db.get("a").expect("it reads").as_deref(), Some(&b"3"[..]));
}

#[test]
fn databases_that_are_too_large_are_not_exchanged() {
    let served = Served::with(|config| config.memory_budget_bytes = 16 << 20);
    let mut client = served.client();
    let value = vec![b'x'; 300_000];
    for n in 0..10 {
        assert_eq!(client.ask(&[b"set", format!("k{n}").as_bytes(), &value]).to_string(), "+OK");
    }
    assert!(told(&mut client, "swapdb 0 1").starts_with("-ERR SWAPDB writes"));
    assert_eq!(told(&mut client, "dbsize"), ":10");
}

#[test]
fn a_backup_is_written_where_backups_are_allowed() {
    let refused = Served::new();
    let mut client = refused.client();
    for line in ["save", "bgsave"] {
        assert!(told(&mut client, line).starts_with("-ERR backups are not allowed"), "{line}");
    }
    let backups = tempfile::tempdir().expect("a temporary directory");
    let served = Served::with(|config| config.backup_directory = Some(backups.path().into()));
    let mut client = served.client();
    let before = told(&mut client, "lastsave");
    // What came before it in the pipeline is in it.
    client.send_raw(&[request(&[b"set", b"a", b"1"]), request(&[b"save"]), request(&[b"ping"])].concat());
    for expected in ["+OK", "+OK", "+PONG"] {
        assert_eq!(client.reply().to_string(), expected);
    }
    assert_eq!(told(&mut client, "bgsave"), "+Background saving started");
    let until = Instant::now() + Duration::from_secs(30);
    let names = || -> Vec<_> { std::fs::read_dir(backups.path()).expect("it is there").flatten().collect() };
    while names().len() < 2 || told(&mut client, "info persistence").contains("bgsave_in_progress:1") {
        assert!(Instant::now() < until, "the second backup does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(told(&mut client, "lastsave") >= before);
    for name in names() {
        let copy = cairndb::Db::open(name.path()).expect("it opens");
        assert_eq!(copy.get("a").expect("it reads").as_deref(), Some(&b"1"[..]));
    }
}

#[test]
fn a_client_can_end_the_server() {
    let mut served = Served::new();
    let (mut client, mut idle) = (served.client(), served.client());
    assert_eq!(told(&mut client, "shutdown abort"), "-ERR No shutdown in progress.");
    assert_eq!(told(&mut client, "shutdown nosave save"), "-ERR syntax error");
    assert_eq!(told(&mut client, "shutdown save"), "-ERR Errors trying to SHUTDOWN. Check logs.");
    assert_eq!(told(&mut client, "set a 1"), "+OK");
    client.send_raw(&request(&[b"shutdown", b"nosave"]));
    let running = served.running.take().expect("it runs");
    running.until_asked_to_end();
    running.stop().expect("it closes");
    assert!(client.is_at_end() && idle.is_at_end());
    let db = cairndb::Db::open(served.directory.path().join("db")).expect("it opens");
    assert_eq!(db.get("a").expect("it reads").as_deref(), Some(&b"1"[..]));
}

#[test]
fn commands_are_held_back_in_a_pause() {
    let served = Served::new();
    let (mut admin, mut client) = (served.client(), served.client());
    let pause = Duration::from_millis(300);
    assert_eq!(told(&mut admin, "client pause 300 write"), "+OK");
    assert!(timed(|| assert_eq!(told(&mut client, "get a"), "nil")) < pause);
    assert!(timed(|| assert_eq!(told(&mut client, "set a 1"), "+OK")) > pause / 2);
    // A transaction is held when it would write.
    assert_eq!(told(&mut client, "multi"), "+OK");
    assert_eq!(told(&mut client, "incr a"), "+QUEUED");
    assert_eq!(told(&mut admin, "client pause 300 write"), "+OK");
    assert!(timed(|| assert_eq!(told(&mut client, "exec"), "*[:2]")) > pause / 2);
    // What came before the held command is answered, and what comes after it waits its turn.
    assert_eq!(told(&mut admin, "client pause 60000 all"), "+OK");
    let mut other = served.client();
    other.send_raw(&request(&[b"ping"]));
    assert_eq!(told(&mut client, "set a"), "-ERR wrong number of arguments for 'set' command");
    client.send_raw(&[request(&[b"incr", b"a"]), request(&[b"get", b"a"])].concat());
    assert!(timed(|| assert_eq!(told(&mut admin, "client unpause"), "+OK")) < pause);
    assert_eq!(client.reply().to_string(), ":3");
    assert_eq!(client.reply().to_string(), "$\"3\"");
    assert_eq!(other.reply().to_string(), "+PONG");
    // A client that is held can be killed, and leaves nothing behind.
    assert_eq!(told(&mut admin, "client pause 60000 write"), "+OK");
    client.send_raw(&request(&[b"incr", b"a"]));
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(told(&mut admin, "client kill type normal"), ":2");
    assert!(client.is_at_end());
    assert_eq!(told(&mut admin, "get a"), "$\"3\"");
}

#[test]
fn one_waits_and_the_others_do_not() {
    let served = Served::new();
    let (mut sleeper, mut other) = (served.client(), served.client());
    let slept = timed(|| {
        sleeper.send_raw(&[request(&[b"debug", b"sleep", b"0.3"]), request(&[b"ping"])].concat());
        assert!(timed(|| assert_eq!(told(&mut other, "ping"), "+PONG")) < Duration::from_millis(250));
        assert_eq!(sleeper.reply().to_string(), "+OK");
        assert_eq!(sleeper.reply().to_string(), "+PONG");
    });
    assert!(slept >= Duration::from_millis(300));
    assert_eq!(told(&mut other, "multi"), "+OK");
    assert_eq!(told(&mut other, "debug sleep 1"), "+QUEUED");
    assert_eq!(told(&mut other, "exec"), "*[-ERR Command not allowed inside a transaction]");
}

#[test]
fn what_was_written_is_synced_when_asked() {
    for (durability, at_once) in [(Durability::Sync, 1), (Durability::Os, 0), (Durability::Buffered, 0)] {
        let served = Served::with(|config| config.durability = durability);
        let mut client = served.client();
        assert_eq!(told(&mut client, "set a 1"), "+OK");
        assert_eq!(told(&mut client, "waitaof 0 0 0"), format!("*[:{at_once} :0]"));
        assert_eq!(told(&mut client, "waitaof 1 0 0"), "*[:1 :0]");
        assert_eq!(
            told(&mut client, "waitaof 2 0 0"),
            "-ERR value is out of range, value must between 0 and 1"
        );
        assert_eq!(told(&mut client, "wait 1 0"), ":0");
    }
}

#[test]
fn many_large_values_at_once_do_not_fail_each_other() {
    let served = Served::with(|config| config.memory_budget_bytes = 16 << 20);
    let value = vec![b'x'; 1 << 20];
    std::thread::scope(|scope| {
        for n in 0..24 {
            let (mut client, value) = (served.client(), &value);
            scope.spawn(move || {
                let set = request(&[b"set", format!("k{n}").as_bytes(), value]);
                client.send_raw(&[set.clone(), set.clone(), set].concat());
                (0..3).for_each(|_| assert_eq!(client.reply().to_string(), "+OK"));
            });
        }
    });
    assert_eq!(told(&mut served.client(), "dbsize"), ":24");
}
