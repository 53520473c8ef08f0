//! What watches over a server: figures for Prometheus and for programs, and the page for people.

use super::Answer;
use crate::Served;
use crate::client::Reply;

/// The value of a line of Prometheus's text.
fn sample(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not there")).parse().expect("a number")
}

fn text(answer: Answer) -> String {
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body).expect("text")
}

#[test]
fn one_number_stands_in_all_three() {
    let served = Served::new();
    let mut client = served.client();
    for n in 0..20 {
        client.line(&format!("SET key{n} value"));
    }
    client.line("GET key1");
    client.line("GET nothing");
    let mut http = served.http();
    http.put("/v1/kv/other", b"value");
    http.ask("GET", "/v1/kv/other");
    let prometheus = text(http.ask("GET", "/metrics"));
    let json: serde_json::Value =
        serde_json::from_slice(&http.ask("GET", "/v1/stats").body).expect("it is JSON");
    let Reply::Bulk(_, Some(info)) = client.line("INFO ALL") else { panic!("INFO is text") };
    let info = String::from_utf8(info).expect("text");
    let told = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{name} is not told")).to_string()
    };
    let labelled = |name: &str, label: &str, wanted: &str| {
        let samples = json[name].as_array().expect("an array");
        samples.iter().find(|sample| sample[label] == wanted).expect("it is there")["value"].clone()
    };

    assert_eq!(sample(&prometheus, "cairn_seq"), 21.0);
    assert_eq!(json["cairn_seq"], 21);
    assert_eq!(told("seq"), "21");
    assert_eq!(sample(&prometheus, "cairn_keys{db=\"0\"}"), 21.0);
    assert_eq!(labelled("cairn_keys", "db", "0"), 21);
    assert_eq!(told("db0"), "keys=21,expires=0,avg_ttl=0");
    assert_eq!(sample(&prometheus, "cairn_command_seconds_count{command=\"set\"}"), 20.0);
    assert_eq!(labelled("cairn_command_seconds", "command", "set")["count"], 20);
    assert!(told("cmdstat_set").starts_with("calls=20,"));
    // Over HTTP as over the Redis protocol.
    for (result, n, field) in [("hit", 2, "keyspace_hits"), ("miss", 1, "keyspace_misses")] {
        let name = format!("cairn_keyspace_reads_total{{result=\"{result}\"}}");
        assert_eq!(sample(&prometheus, &name), f64::from(n));
        assert_eq!(labelled("cairn_keyspace_reads_total", "result", result), n);
        assert_eq!(told(field), n.to_string());
    }
    let budget = (32u64 << 20).to_string();
    assert_eq!(sample(&prometheus, "cairn_memory_budget_bytes").to_string(), budget);
    assert_eq!(json["cairn_memory_budget_bytes"].to_string(), budget);
    assert_eq!(told("memory_budget_bytes"), budget);
    assert_eq!(sample(&prometheus, "cairn_http_requests_total{method=\"PUT\",status=\"201\"}"), 1.0);
}

#[test]
fn prometheus_is_told_in_the_format_it_asks_for() {
    let served = Served::new();
    let mut http = served.http();
    let plain = http.ask("GET", "/metrics");
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(text(plain).contains("# TYPE cairn_connections_total counter\n"));
    // What Prometheus 3 sends.
    let accept =
        "Accept: application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let open = http.ask_with("GET", "/metrics", &[accept]);
    assert!(open.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    let open = text(open);
    assert!(open.contains("# TYPE cairn_connections counter\n") && open.ends_with("# EOF\n"));
}

#[test]
fn figures_are_for_those_who_may_ask_for_info() {
    let served = Served::with(|config| config.password = Some("secret".into()));
    let mut http = served.http();
    for path in ["/metrics", "/v1/stats"] {
        assert_eq!(http.ask("GET", path).status, 401, "{path}");
        assert_eq!(http.ask_with("GET", path, &["Authorization: Bearer secret"]).status, 200, "{path}");
    }
    let mut client = served.client();
    client.line("AUTH secret");
    client.line("ACL SETUSER reader on >pass ~* +@read -@dangerous");
    client.line("ACL SETUSER watcher on >pass -@all +info +config|get +client|setname");
    for (user, status) in [("reader", 403), ("watcher", 200)] {
        let authorization = format!("Authorization: Bearer {user}:pass");
        assert_eq!(http.ask_with("GET", "/metrics", &[&authorization]).status, status, "{user}");
    }
}

#[test]
fn the_page_is_open_and_may_do_nothing_else() {
    let served = Served::with(|config| config.password = Some("secret".into()));
    let answer = served.http().ask("GET", "/");
    let policy = answer.header("content-security-policy").expect("a policy").to_string();
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(text(answer).contains("<title>Cairn</title>"));
}

#[test]
fn a_read_is_explained_to_whoever_may_read_the_key() {
    let served = Served::with(|config| config.password = Some("secret".into()));
    let mut client = served.client();
    client.line("AUTH secret");
    client.line("ACL SETUSER ann on >pass ~ann:* +get +set");
    let mut http = served.http();
    let ann = "Authorization: Bearer ann:pass";
    assert_eq!(http.send("PUT", "/v1/kv/ann:a", &[ann], b"1").status, 201);
    let answer = http.ask_with("GET", "/v1/kv/ann:a?explain=1", &[ann]);
    let told: serde_json::Value = serde_json::from_slice(&answer.body).expect("it is JSON");
    assert_eq!(told["found"], true);
    assert_eq!(told["looks"][0]["place"], "active memtable");
    assert_eq!(told["looks"][0]["answer"], "value");
    assert!(told["looks"][0]["seq"].as_u64().is_some_and(|seq| seq > 0));
    assert_eq!((&told["tables"], &told["blocks_read"]), (&0.into(), &0.into()));
    assert!(told["microseconds"].as_f64().is_some_and(|n| n > 0.0));
    let missing = http.ask_with("GET", "/v1/kv/ann:b?explain=1", &[ann]);
    let told: serde_json::Value = serde_json::from_slice(&missing.body).expect("it is JSON");
    assert_eq!((&told["found"], &told["looks"][0]["answer"]), (&false.into(), &"not there".into()));
    assert_eq!(http.ask_with("GET", "/v1/kv/other?explain=1", &[ann]).status, 403);
    assert_eq!(http.ask_with("GET", "/v1/kv/ann:a?explain=yes", &[ann]).status, 400);
}
