//! Bounds: who goes beyond one is closed, and nobody else notices.

use std::time::{Duration, Instant};

use cairndb_server::{Config, Error};

use crate::Served;

/// A request that is announced, and comes to `len` bytes so far.
fn unfinished(len: usize) -> Vec<u8> {
    let mut bytes = b"*2\r\n$3\r\nGET\r\n$100000000\r\n".to_vec();
    bytes.resize(bytes.len() + len, b'x');
    bytes
}

#[test]
fn a_request_that_goes_on_and_on_is_cut_off() {
    let served = Served::with(|config| config.limits.request_len = 100_000);
    let (mut long, mut other) = (served.client(), served.client());
    long.send_raw(&unfinished(150_000));
    assert!(long.is_at_end());
    assert_eq!(other.line("ping").to_string(), "+PONG");

    // What waits for EXEC is a request that goes on, too.
    let mut queue = served.client();
    queue.line("multi");
    let value = vec![b'x'; 60_000];
    assert_eq!(queue.ask(&[b"set", b"a", &value]).to_string(), "+QUEUED");
    queue.send_raw(&crate::client::request(&[b"set", b"b", &value]));
    assert!(queue.is_at_end());
    assert_eq!(other.line("exists a b").to_string(), ":0");
}

#[test]
fn a_word_may_be_as_long_as_is_set_and_no_longer() {
    let served = Served::with(|config| config.limits.word_len = 1_000);
    let mut client = served.client();
    assert_eq!(client.ask(&[b"set", b"a", &[b'x'; 1_000]]).to_string(), "+OK");
    client.send_raw(b"*2\r\n$3\r\nGET\r\n$1001\r\n");
    assert_eq!(client.reply().to_string(), "-ERR Protocol error: invalid bulk length");
    assert!(client.is_at_end());
}

#[test]
fn a_reply_that_is_too_long_is_not_put_together() {
    let served = Served::with(|config| config.limits.replies_len = 1 << 20);
    let (mut client, mut other) = (served.client(), served.client());
    assert_eq!(client.ask(&[b"set", b"a", &[b'x'; 100_000]]).to_string(), "+OK");
    assert!(client.line("mget a a a a a a a a a a").to_string().len() > 1_000_000, "so much may be");
    let many = [&b"a"[..]; 11];
    client.send_raw(&crate::client::request(&[&[&b"mget"[..]], &many[..]].concat()));
    assert!(client.is_at_end());
    assert_eq!(other.line("strlen a").to_string(), ":100000");
    // It is changed while the server runs, in figures, and shown as Redis shows it.
    assert_eq!(other.line("config set client-output-buffer-limit 64MiB").to_string(), "+OK");
    let shown = other.line("config get client-output-buffer-limit").to_string();
    assert!(shown.contains("normal 67108864 0 0"), "{shown}");
}

#[test]
fn who_holds_most_goes_when_all_together_hold_too_much() {
    let served = Served::with(|config| config.limits.buffers_len = 3 << 20);
    let mut small = served.client();
    let (mut first, mut second) = (served.client(), served.client());
    first.send_raw(&unfinished(1_400_000));
    assert_eq!(small.line("ping").to_string(), "+PONG");
    second.send_raw(&unfinished(2_500_000));
    assert!(second.is_at_end() || first.is_at_end());
    assert_eq!(small.ask(&[b"set", b"a", &[b'x'; 100_000]]).to_string(), "+OK", "it stays within its share");
}

#[test]
fn who_listens_and_does_not_read_goes() {
    let served = Served::with(|config| config.limits.replies_len = 1 << 20);
    let (mut listener, mut speaker) = (served.client(), served.client());
    listener.line("subscribe news");
    let news = vec![b'x'; 100_000];
    let mut told = ":1".to_string();
    let began = Instant::now();
    while told == ":1" && began.elapsed() < Duration::from_secs(20) {
        told = speaker.ask(&[b"publish", b"news", &news]).to_string();
    }
    assert_eq!(told, ":0", "nobody listens any more");
}

#[test]
fn who_is_silent_for_too_long_goes_unless_it_listens() {
    let served = Served::with(|config| config.limits.idle = Some(Duration::from_millis(300)));
    let (mut silent, mut listener) = (served.client(), served.client());
    listener.line("subscribe news");
    let began = Instant::now();
    assert!(silent.is_at_end());
    let took = began.elapsed();
    assert!((Duration::from_millis(250)..Duration::from_secs(5)).contains(&took), "{took:?}");
    assert_eq!(served.client().line("publish news now").to_string(), ":1");
    assert!(listener.reply().to_string().contains("now"));
}

#[test]
fn what_others_can_reach_asks_for_a_password() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config =
        Config { directory: directory.path().join("db"), listen: "0.0.0.0:0".into(), ..Config::default() };
    match cairndb_server::start(config.clone()) {
        Err(Error::Settings(why)) => {
            assert!(
                why.contains("0.0.0.0:0") && why.contains("requirepass") && why.contains("--unprotected"),
                "{why}"
            );
        }
        other => panic!("{:?}", other.map(|running| running.address())),
    }
    assert!(!directory.path().join("db").exists(), "nothing is made");
    for config in
        [Config { password: Some("sesame".into()), ..config.clone() }, Config { unprotected: true, ..config }]
    {
        cairndb_server::start(config).expect("it starts").stop().expect("it closes");
    }
}
