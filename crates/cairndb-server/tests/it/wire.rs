//! The wire: what happens when clients break off, send nonsense, or come in numbers, and what is left on disk.

use crate::Served;
use crate::client::{Client, request};

#[test]
fn what_was_answered_is_there_after_a_restart() {
    let served = Served::new();
    let mut client = served.client();
    assert_eq!(client.line("set a 1").to_string(), "+OK");
    assert_eq!(client.line("select 3").to_string(), "+OK");
    assert_eq!(client.line("set a 2").to_string(), "+OK");
    let (db, _directory) = served.stop();
    assert_eq!(db.get("a").expect("it reads").as_deref(), Some(&b"1"[..]));
    let third = db.keyspace(3).expect("there are 255");
    assert_eq!(third.get("a").expect("it reads").as_deref(), Some(&b"2"[..]));
}

#[test]
fn a_pipeline_is_answered_in_order_however_it_is_cut() {
    let served = Served::new();
    let mut bytes = Vec::new();
    for n in 0..200 {
        bytes.extend(request(&[b"incr", b"n"]));
        bytes.extend(request(&[b"set", format!("k{n}").as_bytes(), &vec![b'x'; n * 7]]));
    }
    for piece_len in [1, 3, 7, 1_000, bytes.len()] {
        let mut client = served.client();
        assert_eq!(client.line("flushall").to_string(), "+OK");
        bytes.chunks(piece_len).for_each(|piece| client.send_raw(piece));
        for n in 1..=200 {
            assert_eq!(client.reply().to_string(), format!(":{n}"));
            assert_eq!(client.reply().to_string(), "+OK");
        }
    }
}

#[test]
fn nonsense_is_told_and_ends_the_connection() {
    let served = Served::new();
    for (nonsense, told) in [
        (&b"*1\r\n$-5\r\n"[..], "-ERR Protocol error: invalid bulk length"),
        (b"*99999999999\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n:3\r\n", "-ERR Protocol error: expected '$', got ':'"),
        (b"set \"a\r\n", "-ERR Protocol error: unbalanced quotes in request"),
    ] {
        let mut client = served.client();
        client.send_raw(nonsense);
        assert_eq!(client.reply().to_string(), told);
        assert!(client.is_at_end());
    }
    assert_eq!(served.client().line("ping").to_string(), "+PONG");
}

#[test]
fn a_browser_that_was_tricked_is_shown_the_door() {
    let served = Served::new();
    for first in ["POST / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"] {
        let mut client = served.client();
        client.send_raw(first.as_bytes());
        client.send_raw(b"\r\nset a evil\r\n");
        while !client.is_at_end() {
            client.reply();
        }
    }
    assert_eq!(served.client().line("exists a").to_string(), ":0");
}

#[test]
fn half_a_request_costs_nobody_else_anything() {
    let served = Served::new();
    let idle: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = served.client();
            client.send_raw(b"*3\r\n$3\r\nSET\r\n$1000000\r\nabc");
            client
        })
        .collect();
    assert_eq!(served.client().line("ping").to_string(), "+PONG");
    drop(idle);
    assert_eq!(served.client().line("dbsize").to_string(), ":0");
}

/// A few bytes asked for half a gibibyte, and when the engine refused it, everybody's writes of that turn failed with it.
#[test]
fn a_long_offset_costs_nobody_anything() {
    let served = Served::new();
    let mut client = served.client();
    client.send_raw(
        b"set a 1\r\nsetrange b 500000000 x\r\nsetbit c 4000000000 1\r\nset d 1\r\nexists a b c d\r\n",
    );
    let too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    for told in ["+OK", too_long, too_long, "+OK", ":2"] {
        assert_eq!(client.reply().to_string(), told);
    }
}

#[test]
fn who_has_no_password_gets_nothing() {
    let served = Served::with(|config| config.password = Some("secret".into()));
    let mut client = served.client();
    assert_eq!(client.line("get a").to_string(), "-NOAUTH Authentication required.");
    assert_eq!(
        client.line("auth wrong").to_string(),
        "-WRONGPASS invalid username-password pair or user is disabled."
    );
    assert_eq!(client.line("auth secret").to_string(), "+OK");
    assert_eq!(client.line("get a").to_string(), "$nil".trim_start_matches('$'));
}

#[test]
fn messages_come_while_others_work() {
    let served = Served::new();
    let (mut listener, mut speaker) = (served.client(), served.client());
    assert_eq!(listener.line("subscribe news").to_string(), "*[$\"subscribe\" $\"news\" :1]");
    assert_eq!(speaker.line("publish news hello").to_string(), ":1");
    assert_eq!(listener.reply().to_string(), "*[$\"message\" $\"news\" $\"hello\"]");
    assert_eq!(speaker.line("config set notify-keyspace-events KEA").to_string(), "+OK");
    assert_eq!(listener.line("psubscribe __key*").to_string(), "*[$\"psubscribe\" $\"__key*\" :2]");
    assert_eq!(speaker.line("set a 1").to_string(), "+OK");
    assert_eq!(listener.reply().to_string(), "*[$\"pmessage\" $\"__key*\" $\"__keyspace@0__:a\" $\"set\"]");
    assert_eq!(listener.reply().to_string(), "*[$\"pmessage\" $\"__key*\" $\"__keyevent@0__:set\" $\"a\"]");
}

#[test]
fn a_scan_visits_every_key_that_stands_throughout() {
    let served = Served::new();
    let mut client = served.client();
    for n in 0..1_000 {
        client.line(&format!("set stays{n} x"));
    }
    let (mut seen, mut cursor, mut rounds) = (std::collections::BTreeSet::new(), "0".to_string(), 0);
    loop {
        // The data changes between calls, and the cursor's own key goes.
        client.line(&format!("set comes{rounds} x"));
        client.line(&format!("del comes{}", rounds - 1));
        let reply = client.line(&format!("scan {cursor} count 17"));
        let crate::client::Reply::Many(_, Some(parts)) = reply else { panic!("{reply}") };
        let crate::client::Reply::Many(_, Some(keys)) = &parts[1] else { panic!("{parts:?}") };
        seen.extend(keys.iter().map(ToString::to_string).filter(|key| key.contains("stays")));
        cursor = parts[0].to_string().trim_matches(['$', '"']).to_string();
        rounds += 1;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 1_000);
    assert!(rounds > 50, "each call does a part: {rounds}");
}

#[test]
fn what_expires_is_gone_at_once_and_told_soon() {
    let served = Served::new();
    let (mut listener, mut speaker) = (served.client(), served.client());
    assert_eq!(speaker.line("config set notify-keyspace-events Ex").to_string(), "+OK");
    assert_eq!(listener.line("subscribe __keyevent@0__:expired").to_string().matches("subscribe").count(), 1);
    // Written again or taken away, a key does not expire at the old time.
    for line in ["set again 1 px 50", "set again 2", "set gone 1 px 50", "del gone", "set a 1 px 60"] {
        speaker.line(line);
    }
    assert_eq!(listener.reply().to_string(), "*[$\"message\" $\"__keyevent@0__:expired\" $\"a\"]");
    assert_eq!(speaker.line("exists a again gone").to_string(), ":1");
    // It is counted when it has been told.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !speaker.line("info stats").to_string().contains("expired_keys:1") {
        assert!(std::time::Instant::now() < until, "what has expired is not counted");
    }
}

#[test]
#[ignore = "needs optimised code"]
fn slow_a_large_database_is_counted_roughly() {
    let served = Served::with(|config| config.durability = cairndb_server::Durability::Buffered);
    let mut client = served.client();
    for n in 0..1_500_u32 {
        let keys: Vec<String> = (0..1_000).map(|m| format!("key {:07}", n * 1_000 + m)).collect();
        let pairs = keys.iter().flat_map(|key| [key.as_bytes(), b"a value"]);
        let words: Vec<&[u8]> = [&b"mset"[..]].into_iter().chain(pairs).collect();
        assert_eq!(client.ask(&words).to_string(), "+OK");
    }
    let told = client.line("dbsize").to_string();
    let keys: u32 = told.trim_start_matches(':').parse().expect("it is a number");
    assert!((1_200_000..=1_800_000).contains(&keys), "{keys}");
    assert!(client.line("info keyspace").to_string().contains("estimated=1"));
}

#[test]
fn clients_are_told_how_a_command_is_spelled() {
    let served = Served::new();
    let mut client = served.client();
    let told = client.line("command docs copy").to_string();
    let arguments = "$\"arguments\" *[\
        *[$\"name\" $\"source\" $\"type\" $\"key\" $\"key_spec_index\" :0] \
        *[$\"name\" $\"destination\" $\"type\" $\"key\" $\"key_spec_index\" :1] \
        *[$\"name\" $\"destination-db\" $\"type\" $\"integer\" $\"token\" $\"DB\" $\"flags\" *[+optional]] \
        *[$\"name\" $\"replace\" $\"type\" $\"pure-token\" $\"token\" $\"REPLACE\" $\"flags\" *[+optional]]]";
    assert!(told.ends_with(&format!("{arguments}]]")), "{told}");
    // What takes no words says nothing of them.
    assert!(!client.line("command docs dbsize").to_string().contains("arguments"));
}
