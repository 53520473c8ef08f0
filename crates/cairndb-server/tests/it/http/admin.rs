//! Upkeep, and what the server says of itself.

use crate::Served;

#[test]
fn upkeep_is_done_when_it_is_asked_for() {
    let served = Served::new();
    let mut http = served.http();
    http.put("/v1/kv/a", b"1");
    let moved = http.ask("POST", "/v1/admin/checkpoint").json();
    assert!(moved["before"]["seq"].as_u64() < moved["after"]["seq"].as_u64(), "{moved}");
    for verb in ["flush", "compact"] {
        assert_eq!(http.ask("POST", &format!("/v1/admin/{verb}")).json(), serde_json::json!({}), "{verb}");
    }
    let verified = http.ask("POST", "/v1/admin/verify").json();
    assert_eq!(verified["ok"], true, "{verified}");
    assert!(verified["checks"].as_array().is_some_and(|checks| checks.len() >= 12), "{verified}");
    assert_eq!(http.ask("GET", "/v1/kv/a").body, b"1");
    assert_eq!(http.ask("GET", "/v1/admin/flush").problem(), (405, "method_not_allowed".into()));
    assert_eq!(http.ask("POST", "/v1/admin/flush?x=1").problem(), (400, "bad_parameter".into()));
}

#[test]
fn a_backup_goes_where_it_is_allowed_to() {
    let served = Served::new();
    let refused = served.http().ask("POST", "/v1/admin/backup?name=monday");
    assert_eq!(refused.problem(), (403, "backups_off".into()));
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let served = Served::with(|config| config.backup_directory = Some(elsewhere.path().join("backups")));
    let mut http = served.http();
    http.put("/v1/kv/a", b"1");
    let written = http.ask("POST", "/v1/admin/backup?name=monday").json();
    assert_eq!(written["name"], "monday", "{written}");
    let copy = cairndb::Db::open(elsewhere.path().join("backups/monday")).expect("it opens");
    assert_eq!(copy.get("a").expect("it reads").as_deref(), Some(&b"1"[..]));
    drop(copy);
    assert_eq!(http.ask("POST", "/v1/admin/backup?name=monday").problem(), (400, "bad_parameter".into()));
    for wrong in ["..", ".", "", "a%2Fb", "%2Ftmp%2Fx", "a%00", ".hidden", "%ff"] {
        let answer = http.ask("POST", &format!("/v1/admin/backup?name={wrong}"));
        assert_eq!(answer.problem(), (400, "bad_parameter".into()), "{wrong}");
    }
    let dated = http.ask("POST", "/v1/admin/backup").json();
    assert!(elsewhere.path().join("backups").join(dated["name"].as_str().expect("it has a name")).is_dir());
}

#[test]
fn the_description_is_json() {
    let served = Served::new();
    let answer = served.http().ask("GET", "/v1/openapi.json");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json()["openapi"], "3.1.0");
}
