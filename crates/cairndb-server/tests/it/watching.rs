//! Watching: what is told of what others do, and of what took long.

use crate::Served;
use crate::client::{Client, Reply, request};

fn told(client: &mut Client, line: &str) -> String {
    client.line(line).to_string()
}

/// The words of a line of `MONITOR`, which begins with a time and an address.
fn monitored(client: &mut Client) -> String {
    let line = client.reply().to_string();
    let (head, words) = line.split_once("] ").expect("an address stands in brackets");
    assert!(head.starts_with('+') && head.contains(" [0 127.0.0.1:"), "{head}");
    words.to_string()
}

#[test]
fn a_monitor_is_told_of_all_but_secrets() {
    let served = Served::new();
    let (mut monitor, mut client) = (served.client(), served.client());
    assert_eq!(told(&mut monitor, "monitor"), "+OK");
    client.ask(&[b"set", b"a", b"b \"\r\n\x00\xff"]);
    for line in ["auth default secret", "config get port", "acl setuser x >secret", "multi", "get a", "exec"]
    {
        told(&mut client, line);
    }
    assert_eq!(monitored(&mut monitor), r#""set" "a" "b \"\r\n\x00\xff""#);
    assert_eq!(monitored(&mut monitor), "\"multi\"");
    assert_eq!(monitored(&mut monitor), "\"exec\"");
    assert_eq!(monitored(&mut monitor), "\"get\" \"a\"");
    assert!(told(&mut client, "client list").contains("flags=O"));
    // Its own are told too, until it begins anew.
    monitor.send_raw(&request(&[b"ping"]));
    assert_eq!(monitor.reply().to_string(), "+PONG");
    assert_eq!(monitored(&mut monitor), "\"ping\"");
    assert_eq!(told(&mut monitor, "reset"), "+RESET");
    told(&mut client, "get a");
    monitor.send_raw(&request(&[b"echo", b"x"]));
    let mut replies = vec![monitor.reply().to_string()];
    while replies.last().is_some_and(|reply| reply != "$\"x\"") {
        replies.push(monitor.reply().to_string());
    }
    assert!(!replies.iter().any(|reply| reply.contains("\"get\"")), "{replies:?}");
}

#[test]
fn slow_commands_are_kept() {
    let served = Served::new();
    let mut client = served.client();
    assert_eq!(told(&mut client, "client setname me"), "+OK");
    assert_eq!(told(&mut client, "config set slowlog-log-slower-than 0 slowlog-max-len 2"), "+OK");
    for line in ["slowlog reset", "get first", "get second", "auth default secret"] {
        told(&mut client, line);
    }
    assert_eq!(told(&mut client, "config set slowlog-log-slower-than -1"), "+OK");
    assert_eq!(told(&mut client, "slowlog len"), ":2");
    let Reply::Many(_, Some(entries)) = client.line("slowlog get") else { panic!("it is an array") };
    let Reply::Many(_, Some(latest)) = &entries[0] else { panic!("it is an array") };
    assert_eq!(latest[3].to_string(), "*[$\"auth\" $\"(redacted)\"]");
    assert!(latest[4].to_string().starts_with("$\"127.0.0.1:"));
    assert_eq!(latest[5].to_string(), "$\"me\"");
    let Reply::Many(_, Some(before)) = &entries[1] else { panic!("it is an array") };
    assert_eq!(before[3].to_string(), "*[$\"get\" $\"second\"]");
    assert_eq!(told(&mut client, "slowlog get 1").matches("redacted").count(), 1);
    assert_eq!(told(&mut client, "slowlog reset"), "+OK");
    assert_eq!(told(&mut client, "slowlog get -1"), "*[]");
}

#[test]
fn what_took_long_is_told_by_event() {
    let served = Served::new();
    let mut client = served.client();
    assert_eq!(told(&mut client, "latency latest"), "*[]");
    assert_eq!(told(&mut client, "config set latency-monitor-threshold 1"), "+OK");
    // A set of some size takes more than a millisecond to be written, sooner or later.
    let value = vec![b'x'; 4 << 20];
    while told(&mut client, "latency history aof-write") == "*[]" {
        assert_eq!(client.ask(&[b"set", b"a", &value]).to_string(), "+OK");
    }
    assert!(told(&mut client, "latency latest").contains("aof-write"));
    assert!(told(&mut client, "latency reset").trim_start_matches(':').parse::<u32>().is_ok_and(|n| n > 0));
    assert_eq!(told(&mut client, "latency reset aof-write"), ":0");
    let told_of = told(&mut client, "latency histogram set config");
    assert!(told_of.starts_with("*[$\"set\" *[$\"calls\" :") && told_of.contains("config|set"), "{told_of}");
}
