//! The feed of changes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Http;
use crate::Served;

/// Events as they come.
struct Feed {
    http: Http,
    text: String,
}

impl Feed {
    fn begin(served: &Served, target: &str, headers: &[&str]) -> Feed {
        let mut http = served.http();
        http.send_raw(&super::head("GET", target, headers));
        let answer = http.answer_without_body();
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
        Feed { http, text: String::new() }
    }

    /// The next event: its id, its name and its data.
    fn next(&mut self) -> (u64, String, Value) {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_string(), rest.to_string());
                self.text = rest;
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if let Some(data) = field("data:") {
                    let id = field("id:").and_then(|id| id.parse().ok()).expect("an event has an id");
                    let name = field("event:").expect("an event has a name").to_string();
                    return (id, name, serde_json::from_str(data).expect("data is JSON"));
                }
            }
            let chunk = self.http.chunk().expect("the feed goes on");
            self.text += std::str::from_utf8(&chunk).expect("events are text");
        }
    }
}

#[test]
fn what_is_written_is_told_by_whoever_it_was() {
    let served = Served::new();
    let mut feed = Feed::begin(&served, "/v1/changes", &[]);
    let (mut http, mut redis) = (served.http(), served.client());
    let put = http.put("/v1/kv/a", b"1");
    let (id, name, data) = feed.next();
    assert_eq!((format!("\"{id}\""), &*name), (put.etag().to_string(), "put"));
    assert_eq!((&data["db"], &data["key"], &data["value"]), (&json!(0), &json!("a"), &json!("1")));
    redis.line("select 3");
    redis.ask(&[b"set", b"\xff", b"\xfe", b"PX", b"60000"]);
    let (_, _, data) = feed.next();
    assert_eq!((&data["db"], &data["key"]), (&json!(3), &json!({ "b64": "/w==" })));
    assert!(data["expires_at_ms"].is_u64());
    redis.ask(&[b"del", b"\xff"]);
    assert_eq!(feed.next().1, "delete");
    redis.line("flushdb");
    let (_, name, data) = feed.next();
    assert_eq!((&*name, &data["start"], &data["end"]), ("delete_range", &json!(""), &Value::Null));
}

#[test]
fn a_feed_goes_on_where_it_was_left() {
    let served = Served::new();
    let mut http = served.http();
    let ops: Vec<Value> =
        (0..10).map(|n| json!({ "op": "put", "key": n.to_string(), "value": "x" })).collect();
    let done = http.send("POST", "/v1/batch", &[], json!({ "ops": ops }).to_string().as_bytes());
    assert_eq!(done.status, 200);
    let mut feed = Feed::begin(&served, "/v1/changes?since=0", &[]);
    let seen: Vec<_> = (0..5).map(|_| feed.next()).collect();
    drop(feed);
    // In the middle of a batch; and the header goes before the address, which a browser asks for again.
    let id = format!("Last-Event-ID: {}", seen[4].0);
    let mut feed = Feed::begin(&served, "/v1/changes?since=0", &[&id]);
    for n in 5..10 {
        assert_eq!(feed.next().2["key"], n.to_string());
    }
    http.put("/v1/kv/after", b"");
    assert_eq!(feed.next().2["key"], "after");
}

#[test]
fn what_has_gone_is_told() {
    let served = Served::with(|config| config.keep_changes_bytes = 0);
    let mut http = served.http();
    for n in 0..3 {
        http.put(&format!("/v1/kv/{n}"), b"x");
        http.ask("POST", "/v1/admin/flush");
    }
    let began = Instant::now();
    loop {
        let mut asker = served.http();
        asker.send_raw(&super::head("GET", "/v1/changes?since=0", &[]));
        if asker.answer_without_body().status == 410 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "nothing goes");
        std::thread::sleep(Duration::from_millis(20));
    }
    let answer = http.ask("GET", "/v1/changes?since=0");
    assert_eq!(answer.problem(), (410, "gone".into()));
    let oldest = answer.json()["oldest"].as_u64().expect("it is told");
    Feed::begin(&served, &format!("/v1/changes?since={}", oldest - 1), &[]);
    for (target, header) in [("/v1/changes?since=x", "X: y"), ("/v1/changes", "Last-Event-ID: x")] {
        assert_eq!(http.ask_with("GET", target, &[header]).status, 400, "{target} {header}");
    }
    assert_eq!(http.ask("GET", "/v1/changes?since=1000000").problem(), (400, "invalid".into()));
}

#[test]
fn a_feed_ends_with_the_server() {
    let served = Served::new();
    let mut feed = Feed::begin(&served, "/v1/changes", &[]);
    served.http().put("/v1/kv/a", b"1");
    feed.next();
    let began = Instant::now();
    served.stop();
    assert!(began.elapsed() < Duration::from_secs(3), "the end waited for a feed");
    assert!(feed.http.chunk().is_none());
}
