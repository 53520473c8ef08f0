//! The session, natively: what the page shows of steps and crashes is true.

use std::sync::Arc;

use cairndb::{Batch, Db, Durability, Options};
use cairndb_explorer::{Session, Verb};
use cairndb_storage::{Memory, Storage};
use serde_json::Value;

fn step(session: &mut Session, verb: Verb) -> Value {
    let told: Value = serde_json::from_str(&session.step(verb).unwrap()).unwrap();
    let last = told.as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["failed"], false, "{last}");
    last
}

fn put(session: &mut Session, key: &str, durability: Durability) -> Value {
    step(session, Verb::Put(0, key.into(), b"a value".repeat(20), durability))
}

/// Every state of every moment of a step: verdict and text.
fn crashes(session: &Session, step: &Value) -> Vec<(String, String)> {
    let index = step["index"].as_u64().unwrap() as usize;
    let mut found = Vec::new();
    for moment in 0..step["moments"].as_array().unwrap().len() {
        let plan: Value = serde_json::from_str(&session.plan(index, moment).unwrap()).unwrap();
        let states = plan["states"].as_u64().unwrap();
        let swept: Value = serde_json::from_str(&session.sweep(index, moment, 0, states).unwrap()).unwrap();
        for state in swept.as_array().unwrap() {
            found.push((state["verdict"].as_str().unwrap().into(), state["text"].as_str().unwrap().into()));
        }
    }
    found
}

#[test]
fn an_honest_disk_breaks_no_promise_whatever_it_loses() {
    let mut session = Session::new(1_000, 1);
    let mut states = 0;
    let mut steps = vec![put(&mut session, "first", Durability::Sync)];
    steps.push(put(&mut session, "second", Durability::Buffered));
    steps.push(put(&mut session, "third", Durability::Sync));
    steps.push(step(&mut session, Verb::Flush));
    steps.push(step(&mut session, Verb::Delete(0, b"first".to_vec(), Durability::Sync)));
    for made in &steps[..5] {
        for (verdict, text) in crashes(&session, made) {
            assert_eq!(verdict, "kept", "{}: {text}", made["title"]);
            states += 1;
        }
    }
    assert!(states > 100, "{states}");
    step(&mut session, Verb::Flush);
    let compacted = step(&mut session, Verb::Compact);
    assert!(crashes(&session, &compacted).iter().all(|(verdict, _)| verdict == "kept"));
}

#[test]
fn what_was_not_promised_may_be_lost_and_a_disk_that_lies_breaks_a_promise() {
    let mut session = Session::new(1_000, 2);
    step(&mut session, Verb::Open);
    let put_os = put(&mut session, "os", Durability::Os);
    let texts = crashes(&session, &put_os);
    assert!(texts.iter().all(|(verdict, _)| verdict == "kept"));
    assert!(
        texts.iter().any(|(_, text)| text.contains("the write is gone, and was not promised")),
        "{texts:?}"
    );
    session.lie(true);
    let lied_to = put(&mut session, "sync", Durability::Sync);
    let texts = crashes(&session, &lied_to);
    assert!(
        texts.iter().any(|(verdict, text)| verdict == "broken" && text.contains("The disk had lied")),
        "{texts:?}"
    );
}

#[test]
fn a_state_can_be_gone_on_with_and_what_was_given_comes_back() {
    let mut session = Session::new(1_000, 3);
    put(&mut session, "kept", Durability::Sync);
    let last = put(&mut session, "lost", Durability::Os);
    let index = last["index"].as_u64().unwrap() as usize;
    let moment = last["moments"].as_array().unwrap().len() - 1;
    let things: Value = serde_json::from_str(&session.unsynced(index, moment).unwrap()).unwrap();
    let count = things.as_array().unwrap().len();
    assert!(count > 0);
    session.adopt(index, moment, &"l".repeat(count)).unwrap();
    assert_eq!(step(&mut session, Verb::Get(0, b"lost".to_vec()))["answer"], "nothing");
    assert_ne!(step(&mut session, Verb::Get(0, b"kept".to_vec()))["answer"], "nothing");
    session.restart();
    let tree: Value = serde_json::from_str(&session.tree().unwrap()).unwrap();
    assert_eq!(tree["files"].as_array().unwrap().len(), 0, "nothing had been given");
}

/// The verdict is of what was looked at, and says so if that is not all.
#[test]
fn what_is_too_much_to_be_compared_is_said() {
    let memory = Memory::default();
    let db = Db::open_with(Arc::new(memory.clone()), Options::default()).unwrap();
    let mut batch = Batch::new();
    for number in 0..5_001 {
        batch.put(format!("{number:05}"), "there before");
    }
    db.write(batch).unwrap();
    db.close().unwrap();
    let mut session = Session::new(1_000, 5);
    for name in memory.list("test.list").unwrap() {
        let file = memory.open("test.open", name).unwrap();
        let mut bytes = vec![0; file.len("test.len").unwrap() as usize];
        file.read_at("test.read", 0, &mut bytes).unwrap();
        session.add(&name.to_string(), bytes);
    }
    let unseen = "keys that no step has touched were not compared";
    let one_more = put(&mut session, "one more", Durability::Sync);
    assert!(
        crashes(&session, &one_more).iter().all(|(verdict, text)| verdict == "kept" && text.contains(unseen))
    );
    for number in 0..2 {
        step(&mut session, Verb::Delete(0, format!("{number:05}").into(), Durability::Sync));
    }
    let few_enough = put(&mut session, "one more", Durability::Sync);
    assert!(crashes(&session, &few_enough).iter().all(|(_, text)| !text.contains(unseen)));
}

#[test]
fn a_damaged_copy_says_so_and_goes_on_being_shown() {
    let mut session = Session::new(1_000, 4);
    assert!(session.add("000001.manifest", b"cairnman and no more".to_vec()));
    assert!(!session.add("README", Vec::new()));
    let parts: Value = serde_json::from_str(&session.parts("000001.manifest").unwrap()).unwrap();
    assert_eq!(parts[0]["damage"], "the file is shorter than its header");
    let fields = session.fields("000001.manifest", 0).unwrap();
    assert!(fields.contains("these bytes make no sense here"), "{fields}");
    assert!(session.add("000001.sst", vec![7; 5_000]));
    let told: Value = serde_json::from_str(&session.step(Verb::Get(0, b"key".to_vec())).unwrap()).unwrap();
    assert_eq!(told.as_array().unwrap().len(), 1, "what does not open is not read");
    assert_eq!(told[0]["failed"], true, "{told}");
    assert!(session.search(0, b"key").is_ok() && session.tree().unwrap().contains("doubt"));
}
