//! The wire: heads that are broken, slow, foreign or two-faced, and who may come in.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Http;
use crate::Served;

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let served = Served::new();
    let mut http = served.http();
    let mut pipeline = Vec::new();
    for n in 0..100 {
        let value = n.to_string();
        pipeline.extend(
            format!(
                "PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{value}",
                value.len()
            )
            .into_bytes(),
        );
        pipeline.extend(b"GET /v1/kv/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    http.send_raw(&pipeline);
    for n in 0..100 {
        assert_eq!(http.answer().status, if n == 0 { 201 } else { 204 });
        assert_eq!(http.answer().body, n.to_string().as_bytes());
    }
}

#[test]
fn a_body_may_come_in_chunks_and_ends_the_connection() {
    let served = Served::new();
    let mut http = served.http();
    http.send_raw(
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    std::thread::sleep(Duration::from_millis(20));
    http.send_raw(b"2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n");
    let answer = http.answer();
    assert_eq!((answer.status, answer.header("connection")), (201, Some("close")));
    assert!(http.is_at_end());
    assert_eq!(served.http().ask("GET", "/v1/kv/a").body, b"abcde");
}

#[test]
fn a_length_that_can_be_read_in_two_ways_smuggles_nothing() {
    let served = Served::new();
    let smuggled = "DELETE /v1/kv/kept HTTP/1.1\r\nHost: localhost\r\n\r\n";
    served.http().put("/v1/kv/kept", b"1");
    let heads = [
        // Both lengths: chunks count, and the connection ends with this request.
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 0",
        "Content-Length: 0, 5",
        "Content-Length: +0",
        "Content-Length: 0x0",
        "Content-Length:",
        "Content-Length: 0\r\n Content-Length: 5",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding : chunked",
    ];
    for head in heads {
        let mut http = served.http();
        http.send_raw(
            format!("PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n0\r\n\r\n{smuggled}")
                .as_bytes(),
        );
        let answer = http.answer();
        assert!(matches!(answer.status, 201 | 204 | 400), "{head}: {}", answer.status);
        assert!(http.is_at_end(), "{head}: what follows was read as a request");
    }
    assert_eq!(served.http().ask("GET", "/v1/kv/kept").body, b"1");
}

#[test]
fn a_broken_head_is_refused() {
    let served = Served::new();
    for (head, status) in [
        ("GET /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nX: a\r\n folded\r\n\r\n", 400),
        ("GET /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nX : a\r\n\r\n", 400),
        ("GET /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n", 400),
        ("GET /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", 400),
        ("GET  /v1/kv/a HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET /v1/kv/a\r\nHost: localhost\r\n\r\n", 400),
        ("GET /v1/kv/a HTTP/3.0\r\nHost: localhost\r\n\r\n", 400),
        ("GET /v1/kv/a HTTP/1.1\r\n\r\n", 400),
        ("GET /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("*1\r\n$4\r\nPING\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET http://localhost/v1/kv/a HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET http://evil.example/v1/kv/a HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        ("GET http://localhost/v1/kv/a HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
    ] {
        let mut http = served.http();
        http.send_raw(head.as_bytes());
        assert_eq!(http.answer().status, status, "{head}");
    }
}

#[test]
fn a_line_may_end_in_a_bare_newline_and_hides_nothing() {
    let served = Served::new();
    let mut http = served.http();
    http.put("/v1/kv/a", b"1");
    http.send_raw(b"GET /v1/kv/a HTTP/1.1\nHost: localhost\nX: y\n\n");
    assert_eq!(http.answer().body, b"1");
    // Behind a bare newline stands a header like any other: one that is counted.
    http.send_raw(b"GET /v1/kv/a HTTP/1.1\r\nX: y\nHost: evil.example\r\n\r\n");
    assert_eq!(http.answer().problem(), (403, "forbidden_host".into()));
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let served = Served::new();
    let mut http = served.http();
    http.send_raw(
        &[b"GET /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nX: ", vec![b'a'; 200_000].as_slice()].concat(),
    );
    assert_eq!(http.answer_without_body().status, 431);
    let many = "X: y\r\n".repeat(200);
    let mut http = served.http();
    http.send_raw(format!("GET /v1/kv/a HTTP/1.1\r\nHost: localhost\r\n{many}\r\n").as_bytes());
    assert_eq!(http.answer_without_body().status, 431);
    let mut http = served.http();
    http.send_raw(
        format!("GET /v1/kv/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(70_000)).as_bytes(),
    );
    assert_eq!(http.answer_without_body().status, 414);
    // The longest path there can be.
    let mut http = served.http();
    let path = format!("/v1/kv/{}", "a".repeat(65_534 - 7));
    assert_eq!(http.put(&path, b"1").status, 201);
    assert_eq!(http.ask("GET", &path).body, b"1");
}

#[test]
fn a_slow_head_is_not_waited_for() {
    let served = Served::with(|config| config.http.header_time = Duration::from_millis(200));
    let mut idle = served.http();
    assert_eq!(idle.ask("GET", "/healthz").status, 200);
    let mut slow = served.http();
    slow.send_raw(b"GET /healthz HT");
    let began = Instant::now();
    // One is told so, one that was idle is not.
    let bytes = slow.rest();
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&bytes));
    assert!(idle.is_at_end());
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(served.http().ask("GET", "/healthz").status, 200);
}

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_sent() {
    let served = Served::new();
    let mut http = served.http();
    http.send_raw(
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(http.answer().problem(), (413, "too_large".into()));
    let mut http = served.http();
    http.send_raw(
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(http.answer_without_body().status, 100);
    http.send_raw(b"abc");
    assert_eq!(http.answer().status, 201);
    // In chunks, nobody knows before.
    let mut http = served.http();
    http.send_raw(b"PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    let answer = std::thread::scope(|scope| {
        let mut writer = http.stream.try_clone().expect("a socket can be shared");
        scope.spawn(move || {
            use std::io::Write;
            let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();
            // The server may have had enough before the end.
            (0..200).try_for_each(|_| writer.write_all(&chunk)).ok();
        });
        http.answer()
    });
    assert_eq!(answer.problem(), (413, "too_large".into()));
    let limit = answer.json()["limit"].as_u64().expect("the limit is told") as usize;
    assert_eq!(served.http().put("/v1/kv/a", &vec![b'x'; limit]).status, 204);
    assert_eq!(served.http().put("/v1/kv/a", &vec![b'x'; limit + 1]).problem(), (413, "too_large".into()));
    assert_eq!(served.http().ask("PUT", "/v1/kv/a").problem(), (411, "length_required".into()));
}

#[test]
fn many_large_values_at_once_fit_into_turns() {
    let served = Served::new();
    let len = 3 << 20;
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let mut http = served.http();
            std::thread::spawn(move || http.put(&format!("/v1/kv/{n}"), &vec![b'x'; len]).status)
        })
        .collect();
    tasks.into_iter().for_each(|task| assert_eq!(task.join().expect("it is answered"), 201));
}

#[test]
fn other_paths_and_methods_are_told_what_there_is() {
    let served = Served::new();
    let mut http = served.http();
    for path in ["//", "/v1", "/v1/kv/../healthz/x", "/v2/kv/a", "/v1/%6Bv/a", "/HEALTHZ", "/healthz/"] {
        let answer = http.ask("DELETE", path);
        if path.starts_with("/v1/kv/") {
            assert_eq!(answer.problem(), (404, "key_not_found".into()), "{path}");
        } else {
            assert_eq!(answer.problem(), (404, "route_not_found".into()), "{path}");
        }
    }
    let answer = http.ask("PATCH", "/v1/kv/a");
    assert_eq!(answer.problem(), (405, "method_not_allowed".into()));
    let allowed = answer.header("allow").expect("it says what can be asked");
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        assert!(allowed.contains(method), "{allowed}");
    }
}

#[test]
fn pages_of_other_origins_are_refused() {
    let served = Served::new();
    let mut http = served.http();
    let port = served.http_address().port();
    let here = format!("Host: localhost:{port}");
    for refused in [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: http://localhost:1",
        "Origin: http://localhost",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ] {
        for (method, target) in [("GET", "/v1/kv/a"), ("DELETE", "/v1/kv/a"), ("GET", "/healthz")] {
            let answer = http.ask_with(method, target, &[&here, refused]);
            assert_eq!(answer.problem(), (403, "forbidden_origin".into()), "{method} {target} {refused}");
        }
    }
    for let_in in [
        format!("Origin: http://localhost:{port}"),
        "Sec-Fetch-Site: same-origin".into(),
        "Sec-Fetch-Site: none".into(),
    ] {
        assert_eq!(http.ask_with("GET", "/healthz", &[&here, &let_in]).status, 200, "{let_in}");
    }
}

#[test]
fn a_foreign_host_is_refused_unless_it_was_named() {
    let served = Served::with(|config| config.http.hosts = vec!["cairn.example".into()]);
    let mut http = served.http();
    for (host, status) in [
        ("evil.example", 403),
        ("evil.example:8379", 403),
        ("127.0.0.1.evil.example", 403),
        ("192.0.2.1", 403),
        ("", 403),
        ("Cairn.Example:443", 200),
        ("localhost:1", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:80", 200),
    ] {
        assert_eq!(http.ask_with("GET", "/healthz", &[&format!("Host: {host}")]).status, status, "{host}");
    }
}

#[test]
fn who_has_no_password_gets_nothing_but_health() {
    let served = Served::with(|config| config.password = Some("se:cret".into()));
    let mut http = served.http();
    assert_eq!(http.ask("GET", "/healthz").status, 200);
    assert_eq!(http.ask("GET", "/readyz").status, 200);
    for header in
        ["X: y", "Authorization: Bearer wrong", "Authorization: Basic c2U6Y3JldA==", "Authorization: se:cret"]
    {
        for target in ["/v1/kv/a", "/nothing", "/v1/kv/a?password=se:cret"] {
            let answer = http.ask_with("GET", target, &[header]);
            assert_eq!(answer.problem(), (401, "unauthorized".into()), "{header}");
            assert!(answer.header("www-authenticate").is_some());
        }
    }
    for header in [
        "Authorization: Bearer default:se:cret",
        "Authorization: Bearer :se:cret",
        // default:se:cret, and the same without a name.
        "Authorization: Basic ZGVmYXVsdDpzZTpjcmV0",
        "Authorization: Basic OnNlOmNyZXQ=",
    ] {
        assert_eq!(http.ask_with("GET", "/v1/kv/a", &[header]).problem().0, 404, "{header}");
    }
}

#[test]
fn users_may_do_what_they_may_do_over_redis() {
    let served = Served::new();
    let mut redis = served.client();
    assert_eq!(redis.line("acl setuser ann on >secret ~own:* %R~read:* +get +set").to_string(), "+OK");
    let mut http = served.http();
    let ann = "Authorization: Basic YW5uOnNlY3JldA==";
    let refused = (403, "forbidden".to_string());
    http.put("/v1/kv/read:a", b"1");
    assert_eq!(http.send("PUT", "/v1/kv/own:a", &[ann], b"1").status, 201);
    assert_eq!(http.ask_with("GET", "/v1/kv/read:a", &[ann]).body, b"1");
    assert_eq!(http.ask_with("GET", "/v1/kv/other", &[ann]).problem(), refused);
    assert_eq!(http.send("PUT", "/v1/kv/read:a", &[ann], b"2").problem(), refused);
    assert_eq!(http.ask_with("DELETE", "/v1/kv/own:a", &[ann]).problem(), refused);
    let log = redis.line("acl log").to_string();
    assert!(log.contains("protocol=http") && log.contains("\"ann\""), "{log}");
    redis.line("acl setuser ann off");
    assert_eq!(http.ask_with("GET", "/v1/kv/read:a", &[ann]).problem().0, 401);
}

#[test]
fn who_is_one_too_many_is_told_so() {
    let served = Served::with(|config| config.limits.clients = 3);
    let mut there: Vec<Http> = (0..3).map(|_| served.http()).collect();
    there.iter_mut().for_each(|http| assert_eq!(http.ask("GET", "/healthz").status, 200));
    assert_eq!(served.http().answer().status, 503);
    drop(there.pop());
    let began = Instant::now();
    while served.http().try_ask_health() != Some(200) {
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_stop_answers_what_was_asked() {
    let served = Served::new();
    let mut idle = served.http();
    assert_eq!(idle.ask("GET", "/healthz").status, 200);
    let mut busy = served.http();
    busy.send_raw(b"PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nab");
    std::thread::sleep(Duration::from_millis(50));
    let answered = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        busy.send_raw(b"c");
        busy.answer().status
    });
    let (db, _directory) = served.stop();
    assert_eq!(answered.join().expect("it is answered"), 201);
    assert!(idle.is_at_end());
    assert_eq!(db.get("a").expect("it reads").as_deref(), Some(&b"abc"[..]));
}

impl Http {
    /// All that is still sent before the end.
    fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// The status of a request that the server may not even read.
    fn try_ask_health(&mut self) -> Option<u16> {
        use std::io::Write;
        self.stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
        let text = String::from_utf8(if self.fill() { std::mem::take(&mut self.buffer) } else { Vec::new() })
            .ok()?;
        text.split(' ').nth(1)?.parse().ok()
    }
}

#[test]
fn a_body_may_be_as_long_as_is_set_and_no_longer() {
    let served = Served::with(|config| config.limits.body_len = 1_000);
    let mut http = served.http();
    assert_eq!(http.put("/v1/kv/a", &[b'x'; 1_000]).status, 201);
    let refused = http.put("/v1/kv/a", &[b'x'; 1_001]);
    assert_eq!((refused.problem(), &refused.json()["limit"]), ((413, "too_large".into()), &1_000.into()));
    assert_eq!(served.client().line("config set http-max-body 2000").to_string(), "+OK");
    assert_eq!(served.http().put("/v1/kv/a", &[b'x'; 1_001]).status, 204);
    // However much is set, two bodies must fit into a batch.
    assert_eq!(served.client().line("config set http-max-body 1GiB").to_string(), "+OK");
    assert_eq!(served.http().put("/v1/kv/a", &vec![b'x'; (4 << 20) + 1]).json()["limit"], 4 << 20);
}

#[test]
fn the_bound_on_clients_holds_as_it_is_now() {
    let served = Served::with(|config| config.limits.clients = 2);
    let alive = |http: &mut Http| http.ask("GET", "/healthz").status;
    let (mut first, mut second) = (served.http(), served.http());
    assert_eq!((alive(&mut first), alive(&mut second)), (200, 200));
    assert_eq!(served.http().answer().status, 503);
    let set = |line: &str| assert_eq!(served.client().line(line).to_string(), "+OK");
    set("config set maxclients 3");
    let mut third = served.http();
    assert_eq!(alive(&mut third), 200);
    assert_eq!(served.http().answer().status, 503);
    // Those who are there stay; who comes finds no place until enough have gone.
    set("config set maxclients 1");
    assert_eq!((alive(&mut first), alive(&mut third)), (200, 200));
    drop(second);
    drop(third);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(served.http().answer().status, 503);
    drop(first);
    // Who is refused is told so, unasked.
    let is_refused = || {
        let mut stream = TcpStream::connect(served.http_address()).expect("somebody listens");
        stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket takes options");
        stream.read(&mut [0]).is_ok()
    };
    let began = Instant::now();
    while is_refused() {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody finds a place any more");
    }
}
