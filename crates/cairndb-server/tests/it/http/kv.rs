//! One key at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use crate::Served;

#[test]
fn a_value_comes_back_byte_for_byte() {
    let served = Served::new();
    let mut http = served.http();
    let value: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let put = http.put("/v1/kv/a", &value);
    assert_eq!((put.status, put.body.len()), (201, 0));
    let got = http.ask("GET", "/v1/kv/a");
    assert_eq!((got.status, got.header("content-type")), (200, Some("application/octet-stream")));
    assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(got.header("cache-control"), Some("no-store"));
    assert_eq!(got.etag(), put.etag());
    assert!(got.body == value);
    let again = http.put("/v1/kv/a", b"");
    assert_eq!(again.status, 204);
    assert_ne!(again.etag(), put.etag());
    assert_eq!(http.ask("GET", "/v1/kv/a").body, b"");
    assert_eq!(http.ask("DELETE", "/v1/kv/a").status, 204);
    assert_eq!(http.ask("DELETE", "/v1/kv/a").problem(), (404, "key_not_found".into()));
    assert_eq!(http.ask("GET", "/v1/kv/a").problem(), (404, "key_not_found".into()));
}

#[test]
fn head_is_get_without_its_body() {
    let served = Served::new();
    let mut http = served.http();
    let put = http.put("/v1/kv/a", b"12345");
    let head = http.ask("HEAD", "/v1/kv/a");
    assert_eq!((head.status, head.header("content-length"), head.etag()), (200, Some("5"), put.etag()));
    assert_eq!(http.ask("HEAD", "/v1/kv/b").status, 404);
    // Had a body followed, this answer would not be one.
    assert_eq!(http.ask("GET", "/v1/kv/a").body, b"12345");
}

#[test]
fn a_key_is_the_bytes_behind_the_prefix() {
    let served = Served::new();
    let mut http = served.http();
    let mut redis = served.client();
    let keys: &[(&str, &[u8])] = &[
        ("plain", b"plain"),
        ("a/b/c", b"a/b/c"),
        ("a%2Fb%2fd", b"a/b/d"),
        ("/", b"/"),
        ("//x", b"//x"),
        ("x/", b"x/"),
        (".", b"."),
        ("..", b".."),
        ("../..", b"../.."),
        ("%2e%2E/x", b"../x"),
        ("a/./b/../c", b"a/./b/../c"),
        ("%00", b"\0"),
        ("%ff%FE", b"\xff\xfe"),
        ("a+b", b"a+b"),
        ("a%20b", b"a b"),
        ("%25", b"%"),
        ("%3Fdb=1", b"?db=1"),
        ("{*key}", b"{*key}"),
        ("a;b=c,d:e@f!$&'()*", b"a;b=c,d:e@f!$&'()*"),
    ];
    for (n, (spelled, key)) in keys.iter().enumerate() {
        let value = n.to_string();
        assert_eq!(http.put(&format!("/v1/kv/{spelled}"), value.as_bytes()).status, 201, "{spelled}");
        assert_eq!(redis.ask(&[b"get", key]).to_string(), format!("$\"{value}\""), "{spelled}");
        assert_eq!(http.ask("GET", &format!("/v1/kv/{spelled}")).body, value.as_bytes(), "{spelled}");
    }
    assert_eq!(redis.line("dbsize").to_string(), format!(":{}", keys.len()));
    for wrong in ["", "%", "%4", "%zz", "a%+1"] {
        for method in ["GET", "DELETE"] {
            let answer = http.ask(method, &format!("/v1/kv/{wrong}"));
            assert_eq!(answer.problem(), (400, "bad_key".into()), "{method} {wrong}");
        }
    }
    assert_eq!(http.put("/v1/kv/", b"x").problem(), (400, "bad_key".into()));
    assert_eq!(redis.line("dbsize").to_string(), format!(":{}", keys.len()));
}

#[test]
fn databases_are_those_of_redis() {
    let served = Served::new();
    let mut http = served.http();
    let mut redis = served.client();
    for n in 0..16 {
        assert_eq!(http.put(&format!("/v1/kv/k?db={n}"), n.to_string().as_bytes()).status, 201);
        redis.line(&format!("select {n}"));
        assert_eq!(redis.line("get k").to_string(), format!("$\"{n}\""));
    }
    assert_eq!(http.ask("GET", "/v1/kv/k").body, b"0");
    assert_eq!(http.ask("DELETE", "/v1/kv/k?db=3").status, 204);
    assert_eq!(http.ask("GET", "/v1/kv/k?db=3").status, 404);
    assert_eq!(http.ask("GET", "/v1/kv/k?db=4").body, b"4");
    for wrong in ["db=16", "db=-1", "db=x", "db=", "DB=1", "db=1&db=1", "limit=3"] {
        let answer = http.ask("GET", &format!("/v1/kv/k?{wrong}"));
        assert_eq!(answer.problem(), (400, "bad_parameter".into()), "{wrong}");
    }
}

#[test]
fn a_ttl_ends_a_value_for_both_protocols() {
    let served = Served::new();
    let mut http = served.http();
    let mut redis = served.client();
    assert_eq!(http.put("/v1/kv/a?ttl=1h", b"1").status, 201);
    let got = http.ask("GET", "/v1/kv/a");
    let now_ms =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let at_ms: u128 = got.header("x-cairn-expires-at").expect("it expires").parse().expect("a number");
    assert!((now_ms + 3_500_000..=now_ms + 3_600_000).contains(&at_ms), "{at_ms}");
    let expiretime = redis.line("pexpiretime a").to_string();
    assert_eq!(expiretime, format!(":{at_ms}"));
    assert_eq!(http.put("/v1/kv/a?ttl=30ms", b"2").status, 204);
    std::thread::sleep(std::time::Duration::from_millis(40));
    assert_eq!(http.ask("GET", "/v1/kv/a").status, 404);
    assert_eq!(redis.line("exists a").to_string(), ":0");
    assert_eq!(http.send("PUT", "/v1/kv/a", &["If-None-Match: *"], b"3").status, 201);
    for wrong in ["ttl=", "ttl=5", "ttl=0s", "ttl=1.5s", "ttl=-1s", "ttl=1y", "ttl=99999999999999999999d"] {
        let answer = http.put(&format!("/v1/kv/a?{wrong}"), b"");
        assert_eq!(answer.problem(), (400, "bad_parameter".into()), "{wrong}");
        assert_eq!(answer.json()["parameter"], "ttl");
    }
}

#[test]
fn conditions_are_kept() {
    let served = Served::new();
    let mut http = served.http();
    let failed = (412, "precondition_failed".to_string());
    let put = http.send("PUT", "/v1/kv/a", &["If-Match: *"], b"0");
    assert_eq!((put.problem(), put.header("etag")), (failed.clone(), None));
    let first = http.send("PUT", "/v1/kv/a", &["If-None-Match: *"], b"1");
    assert_eq!(first.status, 201);
    let taken = http.send("PUT", "/v1/kv/a", &["If-None-Match: *"], b"2");
    assert_eq!((taken.problem(), taken.etag()), (failed.clone(), first.etag()));
    assert_eq!(taken.json()["etag"], first.etag());
    let matching = format!("If-Match: \"x\", {}", first.etag());
    let second = http.send("PUT", "/v1/kv/a", &[&matching], b"2");
    assert_eq!(second.status, 204);
    let stale = http.send("PUT", "/v1/kv/a", &[&matching], b"3");
    assert_eq!((stale.problem(), stale.etag()), (failed.clone(), second.etag()));
    let weak = http.send("PUT", "/v1/kv/a", &[&format!("If-Match: W/{}", second.etag())], b"3");
    assert_eq!(weak.problem(), failed);
    let known = http.ask_with("GET", "/v1/kv/a", &[&format!("If-None-Match: W/{}", second.etag())]);
    assert_eq!((known.status, known.etag(), known.body.len()), (304, second.etag(), 0));
    assert_eq!(http.ask_with("GET", "/v1/kv/a", &[&format!("If-None-Match: {}", first.etag())]).body, b"2");
    assert_eq!(http.ask_with("GET", "/v1/kv/a", &[&matching]).problem(), failed);
    assert_eq!(http.ask_with("DELETE", "/v1/kv/a", &[&matching]).problem(), failed);
    assert_eq!(http.ask_with("DELETE", "/v1/kv/b", &["If-Match: *"]).problem(), failed);
    let matching = format!("If-Match: {}", second.etag());
    assert_eq!(http.ask_with("DELETE", "/v1/kv/a", &[&matching]).status, 204);
    let malformed = http.ask_with("GET", "/v1/kv/a", &["If-Match: 7"]);
    assert_eq!(malformed.problem(), (400, "bad_header".into()));
    assert_eq!(malformed.json()["header"], "if-match");
}

#[test]
fn a_round_of_compare_and_swap_has_one_winner() {
    let served = Served::new();
    let (clients, rounds) = (32, 25);
    let tag = http_tag(&served);
    let (barrier, wins) = (Arc::new(Barrier::new(clients)), Arc::new(AtomicUsize::new(0)));
    let current = Arc::new(std::sync::Mutex::new(tag));
    let tasks: Vec<_> = (0..clients)
        .map(|n| {
            let (barrier, wins, current) = (barrier.clone(), wins.clone(), current.clone());
            let mut http = served.http();
            std::thread::spawn(move || {
                for round in 1..=rounds {
                    barrier.wait();
                    let tag = current.lock().expect("nobody panicked").clone();
                    barrier.wait();
                    let value = format!("{round} {n}");
                    let put = http.send("PUT", "/v1/kv/a", &[&format!("If-Match: {tag}")], value.as_bytes());
                    match put.status {
                        204 => {
                            wins.fetch_add(1, Ordering::SeqCst);
                            *current.lock().expect("nobody panicked") = put.etag().to_string();
                        }
                        412 => assert_ne!(put.etag(), tag),
                        other => panic!("{other}"),
                    }
                    barrier.wait();
                    assert_eq!(wins.load(Ordering::SeqCst), round);
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(|task| task.join().expect("it held"));
    let got = served.http().ask("GET", "/v1/kv/a");
    assert_eq!(got.etag(), *current.lock().expect("nobody panicked"));
}

fn http_tag(served: &Served) -> String {
    served.http().put("/v1/kv/a", b"0").etag().to_string()
}

#[test]
fn a_reader_of_the_present_is_believed_at_once() {
    // Someone reads a tag that a turn has just written and not yet settled, and gives it back at once.
    let served = Served::new();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let mut http = served.http();
            std::thread::spawn(move || {
                let mut done = 0;
                while done < 50 {
                    let got = http.ask("GET", "/v1/kv/n");
                    let (condition, n) = match got.status {
                        404 => ("If-None-Match: *".to_string(), 0),
                        _ => {
                            let n =
                                String::from_utf8(got.body.clone()).expect("text").parse().expect("a number");
                            (format!("If-Match: {}", got.etag()), n)
                        }
                    };
                    let n: usize = n;
                    let put = http.send("PUT", "/v1/kv/n", &[&condition], (n + 1).to_string().as_bytes());
                    done += usize::from(put.status < 300);
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(|task| task.join().expect("it held"));
    assert_eq!(served.http().ask("GET", "/v1/kv/n").body, b"400");
}

#[test]
fn redis_and_http_see_each_other() {
    let served = Served::new();
    let (mut http, mut redis, mut listener) = (served.http(), served.client(), served.client());
    redis.line("config set notify-keyspace-events KEA");
    listener.line("psubscribe __keyspace@0__:*");
    let told =
        |event: &str| format!("*[$\"pmessage\" $\"__keyspace@0__:*\" $\"__keyspace@0__:a\" $\"{event}\"]");
    redis.line("set a 1");
    assert_eq!(listener.reply().to_string(), told("set"));
    assert_eq!(http.ask("GET", "/v1/kv/a").body, b"1");
    redis.line("watch a");
    assert_eq!(http.put("/v1/kv/a?ttl=80ms", b"2").status, 204);
    assert_eq!(listener.reply().to_string(), told("set"));
    assert_eq!(listener.reply().to_string(), told("expire"));
    assert_eq!(redis.line("multi").to_string(), "+OK");
    assert_eq!(redis.line("set a 3").to_string(), "+QUEUED");
    assert_eq!(redis.line("exec").to_string(), "*nil", "somebody wrote over HTTP");
    assert_eq!(redis.line("get a").to_string(), "$\"2\"");
    assert_eq!(listener.reply().to_string(), told("expired"));
    redis.line("set a 4");
    assert_eq!(listener.reply().to_string(), told("set"));
    assert_eq!(http.ask("DELETE", "/v1/kv/a").status, 204);
    assert_eq!(listener.reply().to_string(), told("del"));
    assert_eq!(redis.line("get a").to_string(), "nil");
}

#[test]
fn writers_share_a_sync() {
    let served = Served::with(|config| config.durability = cairndb_server::Durability::Sync);
    let before = syncs(&served);
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let mut http = served.http();
            std::thread::spawn(move || {
                for round in 0..20 {
                    assert_eq!(http.put(&format!("/v1/kv/{n}-{round}"), b"x").status, 201);
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(|task| task.join().expect("it held"));
    let synced = syncs(&served) - before;
    assert!(synced < 320, "{synced} syncs for 320 writes");
}

/// How often the log was synced, as `INFO` tells it.
fn syncs(served: &Served) -> u64 {
    let info = served.client().line("info engine").to_string();
    let at = info.find("groups_synced_total:").expect("it is told") + "groups_synced_total:".len();
    info[at..].chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

#[test]
fn what_was_answered_is_there_after_a_restart() {
    let served = Served::new();
    let put = served.http().put("/v1/kv/a?db=2", b"1");
    let (db, _directory) = served.stop();
    let entry =
        db.keyspace(2).expect("there are 255").get_entry("a").expect("it reads").expect("it is there");
    assert_eq!((entry.value.as_ref(), format!("\"{}\"", entry.seq)), (&b"1"[..], put.etag().to_string()));
}
