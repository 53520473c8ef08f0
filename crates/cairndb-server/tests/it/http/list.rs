//! Many keys: pages, streams and batches.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Answer, Http};
use crate::Served;

fn keys(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("a page has items");
    items
        .iter()
        .map(|item| item["key"].as_str().map_or_else(|| item["key"].to_string(), String::from))
        .collect()
}

fn list(http: &mut Http, query: &str) -> Value {
    let answer = http.ask("GET", &format!("/v1/kv?{query}"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{query}");
    answer.json()
}

fn lines(http: &mut Http, query: &str) -> Vec<Value> {
    let answer = http.ask_with("GET", &format!("/v1/kv?{query}"), &["Accept: application/x-ndjson"]);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/x-ndjson")),
        "{query}"
    );
    answer
        .body
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("a line is JSON"))
        .collect()
}

fn batch(http: &mut Http, body: &Value) -> Answer {
    http.send("POST", "/v1/batch", &[], body.to_string().as_bytes())
}

#[test]
fn a_page_tells_of_each_key_what_is_known() {
    let served = Served::new();
    let mut http = served.http();
    let etag = http.put("/v1/kv/a", b"text").etag().to_string();
    http.put("/v1/kv/%ff?ttl=1h", b"\xfe\x00");
    let page = list(&mut http, "");
    assert_eq!(page["items"][0], json!({ "key": "a", "value": "text", "etag": etag, "expires_at_ms": null }));
    assert_eq!(page["items"][1]["key"], json!({ "b64": "/w==" }));
    assert_eq!(page["items"][1]["value"], json!({ "b64": "/gA=" }));
    assert!(page["items"][1]["expires_at_ms"].as_u64().is_some());
    assert_eq!(page["cursor"], Value::Null);
    assert_eq!(
        list(&mut http, "values=false")["items"][0],
        json!({ "key": "a", "etag": etag, "expires_at_ms": null })
    );
    assert_eq!(list(&mut http, "db=1"), json!({ "items": [], "cursor": null }));
}

#[test]
fn a_range_is_cut_out_of_the_keys() {
    let served = Served::new();
    let mut http = served.http();
    for key in ["a", "b", "b%00", "b1", "b2", "b%ff", "c", "%ff", "%ff%ff"] {
        http.put(&format!("/v1/kv/{key}"), b"");
    }
    let text = |query: &str, http: &mut Http| keys(&list(http, query)).join(" ");
    for (query, expected) in [
        ("prefix=b", "b b\0 b1 b2 {\"b64\":\"Yv8=\"}"),
        ("prefix=b&reverse", "{\"b64\":\"Yv8=\"} b2 b1 b\0 b"),
        ("prefix=b%ff", "{\"b64\":\"Yv8=\"}"),
        ("prefix=%ff", "{\"b64\":\"/w==\"} {\"b64\":\"//8=\"}"),
        ("start=b1&end=c", "b1 b2 {\"b64\":\"Yv8=\"}"),
        ("start=b%00&end=b1", "b\0"),
        ("end=b", "a"),
        ("start=c&end=b", ""),
        ("prefix=b&start=a&end=b2", "b b\0 b1"),
        ("prefix=b&start=b1", "b1 b2 {\"b64\":\"Yv8=\"}"),
        ("prefix=x", ""),
        ("limit=2&reverse=true", "{\"b64\":\"//8=\"} {\"b64\":\"/w==\"}"),
    ] {
        assert_eq!(text(query, &mut http), expected, "{query}");
    }
    for wrong in
        ["limit=0", "limit=-1", "limit=x", "reverse=1", "values=no", "cursor=%3F", "prefx=a", "prefix=%"]
    {
        let answer = http.ask("GET", &format!("/v1/kv?{wrong}"));
        assert_eq!(answer.problem(), (400, "bad_parameter".into()), "{wrong}");
        assert!(answer.json()["parameter"].is_string());
    }
}

#[test]
fn pages_join_without_a_gap_in_both_directions() {
    let served = Served::new();
    let mut http = served.http();
    let mut redis = served.client();
    for n in 0..2_500 {
        redis.ask(&[b"set", &[b"k\xff".as_slice(), format!("{n:04}").as_bytes()].concat(), b"x"]);
    }
    redis.line("set z x");
    for (limit, pages) in [("", 26), ("&limit=1000", 3), ("&limit=5000", 3), ("&limit=2500", 3)] {
        for direction in ["", "&reverse"] {
            let (mut seen, mut cursor, mut count) = (Vec::new(), String::new(), 0);
            loop {
                let page = list(&mut http, &format!("values=false{limit}{direction}{cursor}"));
                seen.extend(keys(&page));
                count += 1;
                match page["cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!((seen.len(), count), (2_501, pages), "{limit}{direction}");
            let first = if direction.is_empty() { 0 } else { 2_500 };
            assert_eq!(seen[2_500 - first], "z");
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 2_501);
        }
    }
}

#[test]
fn a_page_of_long_values_ends_early() {
    let served = Served::new();
    let mut http = served.http();
    for n in 0..5 {
        http.put(&format!("/v1/kv/{n}"), &vec![b'x'; 3 << 20]);
    }
    let page = list(&mut http, "");
    assert_eq!(keys(&page), ["0", "1"]);
    let cursor = page["cursor"].as_str().expect("there is more").to_string();
    assert_eq!(keys(&list(&mut http, &format!("cursor={cursor}"))), ["2", "3"]);
    assert_eq!(keys(&list(&mut http, "values=false")).len(), 5);
}

#[test]
fn a_stream_shows_one_moment_and_can_be_left() {
    let served = Served::new();
    let mut http = served.http();
    for chunk in 0..10 {
        let ops: Vec<Value> = (0..500)
            .map(|n| json!({ "op": "put", "key": format!("{chunk}-{n:03}"), "value": "x".repeat(1_000) }))
            .collect();
        assert_eq!(batch(&mut http, &json!({ "ops": ops })).status, 200);
    }
    assert_eq!(lines(&mut http, "prefix=3-").len(), 500);
    assert_eq!(lines(&mut http, "limit=7&reverse")[6]["key"], "9-493");
    // Read a little, have everything deleted, and read on: all is still there.
    let mut slow = served.http();
    slow.send_raw(b"GET /v1/kv HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n");
    assert_eq!(slow.answer_without_body().status, 200);
    let mut seen = slow.chunk().expect("it has begun");
    let all = json!({ "ops": [{ "op": "delete_range" }] });
    assert_eq!(batch(&mut http, &all).status, 200);
    assert_eq!(list(&mut http, ""), json!({ "items": [], "cursor": null }));
    while let Some(chunk) = slow.chunk() {
        seen.extend(chunk);
    }
    assert_eq!(seen.iter().filter(|&&byte| byte == b'\n').count(), 5_000);
    // One who goes in the middle leaves nothing behind.
    let mut leaver = served.http();
    leaver.send_raw(b"GET /v1/kv HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n");
    leaver.answer_without_body();
    drop((leaver, slow));
    let began = Instant::now();
    while !served.client().line("info engine").to_string().contains("iterators:0\\r\\n") {
        assert!(began.elapsed() < Duration::from_secs(10), "somebody still reads");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_batch_is_done_or_not() {
    let served = Served::new();
    let (mut http, mut redis) = (served.http(), served.client());
    let a = http.put("/v1/kv/a", b"1").etag().to_string();
    redis.line("set r1 x");
    redis.line("set r2 x");
    redis.line("watch r2");
    let ops = json!([
        { "op": "put", "key": "b", "value": "2" },
        { "op": "put", "key": { "b64": "/w==" }, "value": { "b64": "/g==" }, "ttl_ms": 60_000 },
        { "op": "delete", "key": "a" },
        { "op": "delete", "key": "a" },
        { "op": "delete_range", "start": "r", "end": "s" },
        { "op": "put", "key": "r3", "value": "" },
        { "op": "put", "key": "", "value": "empty" },
    ]);
    let refused = batch(
        &mut http,
        &json!({ "ops": ops, "if": [{ "key": "a", "etag": a }, { "key": "b", "etag": "*" }] }),
    );
    assert_eq!(refused.problem(), (412, "precondition_failed".into()));
    let problem = refused.json();
    assert_eq!(
        (&problem["index"], &problem["key"], &problem["etag"]),
        (&json!(1), &json!("b"), &Value::Null)
    );
    assert_eq!(http.ask("GET", "/v1/kv/b").status, 404);
    let done = batch(
        &mut http,
        &json!({ "ops": ops, "if": [{ "key": "a", "etag": a }, { "key": "b", "etag": null }] }),
    );
    assert_eq!(done.status, 200, "{done:?}");
    let results = &done.json()["results"];
    assert_eq!(results[0]["etag"], http.ask("GET", "/v1/kv/b").etag());
    assert_eq!(results[1]["etag"], http.ask("GET", "/v1/kv/%ff").etag());
    assert_eq!(
        (&results[2], &results[3], &results[4]),
        (&json!({ "found": true }), &json!({ "found": false }), &json!({}))
    );
    assert_eq!(results[5]["etag"], http.ask("GET", "/v1/kv/r3").etag());
    assert_eq!(redis.ask(&[b"get", b""]).to_string(), "$\"empty\"");
    assert_eq!(redis.line("exists a r1 r2").to_string(), ":0");
    redis.line("multi");
    assert_eq!(redis.line("exec").to_string(), "*nil", "a range took away what was watched");
    let stale = batch(&mut http, &json!({ "ops": [], "if": [{ "key": "b", "etag": "\"1\"" }], "db": 0 }));
    assert_eq!(stale.json()["etag"], results[0]["etag"]);
    let elsewhere = batch(
        &mut http,
        &json!({ "ops": [{ "op": "put", "key": "b", "value": "3" }], "if": [{ "key": "b", "etag": null }], "db": 5 }),
    );
    assert_eq!(elsewhere.status, 200);
    assert_eq!(http.ask("GET", "/v1/kv/b?db=5").body, b"3");
}

#[test]
fn a_batch_that_is_none_is_told_where() {
    let served = Served::new();
    let mut http = served.http();
    for (body, told) in [
        ("", "line 1 column 0"),
        ("{", "line 1 column 1"),
        ("{}", "ops"),
        (r#"{"ops":[{"op":"put","key":"a"}]}"#, "value"),
        (r#"{"ops":[{"op":"set","key":"a","value":"b"}]}"#, "set"),
        (r#"{"ops":[{"op":"put","key":"a","value":1}]}"#, "string"),
        (r#"{"ops":[{"op":"put","key":"a","value":{"b64":"?"}}]}"#, "b64"),
        (r#"{"ops":[{"op":"put","key":"a","value":"b","ttl_ms":0}]}"#, "ops[0].ttl_ms"),
        (r#"{"ops":[{"op":"put","key":"a","value":"b","ttl":5}]}"#, "ttl"),
        (r#"{"ops":[{"op":"delete_range","start":"b","end":"a"}]}"#, "ops[0].end"),
        (r#"{"ops":[],"if":[{"key":"a"}]}"#, "etag"),
        (r#"{"ops":[],"if":[{"key":"a","etag":"7"}]}"#, "tag"),
        (r#"{"ops":[],"db":16}"#, "db"),
        (r#"{"ops":[]} x"#, "trailing"),
        (r#"{"ops":[],"iff":[]}"#, "iff"),
    ] {
        let answer = http.send("POST", "/v1/batch", &[], body.as_bytes());
        assert_eq!(answer.problem(), (400, "bad_body".into()), "{body}");
        let detail = answer.json()["detail"].as_str().expect("it is told").to_string();
        assert!(detail.contains(told), "{body}: {detail}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(http.send("POST", "/v1/batch", &[], deep.as_bytes()).problem(), (400, "bad_body".into()));
    let many: Vec<Value> = (0..10_001).map(|_| json!({ "op": "delete", "key": "a" })).collect();
    assert_eq!(batch(&mut http, &json!({ "ops": many })).problem(), (413, "too_large".into()));
    let long = json!({ "ops": [{ "op": "delete", "key": "x".repeat(65_536) }] });
    assert_eq!(batch(&mut http, &long).problem(), (400, "bad_key".into()));
    assert_eq!(served.client().line("dbsize").to_string(), ":0");
}

#[test]
fn users_see_and_do_what_they_may() {
    let served = Served::new();
    let (mut http, mut redis) = (served.http(), served.client());
    redis.line("mset own:a 1 other:a 1");
    redis.line("acl setuser ann on >secret ~own:* +get +set +scan");
    let ann = "Authorization: Bearer ann:secret";
    let page = http.ask_with("GET", "/v1/kv", &[ann]).json();
    assert_eq!(keys(&page), ["own:a"]);
    for (body, status) in [
        (r#"{"ops":[{"op":"put","key":"own:a","value":"2"}]}"#, 200),
        (r#"{"ops":[{"op":"put","key":"own:a","value":"2"},{"op":"put","key":"other:a","value":"2"}]}"#, 403),
        (r#"{"ops":[{"op":"delete","key":"own:a"}]}"#, 403),
        (r#"{"ops":[{"op":"delete_range"}]}"#, 403),
        (r#"{"ops":[],"if":[{"key":"other:a","etag":"*"}]}"#, 403),
    ] {
        assert_eq!(http.send("POST", "/v1/batch", &[ann], body.as_bytes()).status, status, "{body}");
    }
    assert_eq!(redis.line("get other:a").to_string(), "$\"1\"");
    assert_eq!(http.ask_with("POST", "/v1/admin/flush", &[ann]).status, 403);
}
