//! replay: a log comes in once, whole, whatever happens on the way.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use cairndb::roadmap_log::{encode_delete, encode_put};

use crate::{Cairn, Dice, Ran};

/// A log, where its records end, and what it says in the end.
struct Log {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    says: BTreeMap<String, String>,
}

impl Log {
    /// Puts, overwrites and deletes of a few keys.
    fn new(count: u64, keys: u64) -> Log {
        let mut log = Log { bytes: Vec::new(), ends: Vec::new(), says: BTreeMap::new() };
        let mut dice = Dice(12345);
        for number in 0..count {
            let key = format!("key{:05}", dice.below(keys));
            if dice.below(4) == 0 {
                encode_delete(key.as_bytes(), &mut log.bytes);
                log.says.remove(&key);
            } else {
                let value = format!("value {number}");
                encode_put(key.as_bytes(), value.as_bytes(), &mut log.bytes);
                log.says.insert(key, value);
            }
            log.ends.push(log.bytes.len());
        }
        log
    }

    fn text(&self) -> String {
        self.says.iter().map(|(key, value)| format!("{key}\t{value}\n")).collect()
    }
}

fn replay(cairn: &Cairn, log: &Path, more: &[&str]) -> Ran {
    let args = [OsStr::new("replay"), log.as_os_str()];
    cairn.run(args.into_iter().chain(more.iter().map(OsStr::new)))
}

#[test]
fn a_log_is_stored_and_only_what_is_new_is_stored_again() {
    let cairn = Cairn::new();
    let log = Log::new(50, 10);
    let path = cairn.file("app.log", &log.bytes);
    let text = replay(&cairn, &path, &[]).ok();
    assert!(text.contains(&format!("from offset 0 to {}", log.bytes.len())), "{text}");
    assert_eq!(cairn.run(["scan"]).ok(), log.text());

    let text = replay(&cairn, &path, &[]).ok();
    assert!(text.contains("0 puts, 0 deletes"), "{text}");
    let mut longer = log.bytes.clone();
    encode_put(b"late", b"1", &mut longer);
    fs::write(&path, &longer).expect("the log grows");
    let text = replay(&cairn, &path, &[]).ok();
    assert!(
        text.contains(&format!("from offset {} to {}: 1 put, 0 deletes", log.bytes.len(), longer.len())),
        "{text}"
    );
}

#[test]
fn a_replay_killed_at_every_record_adds_up_to_the_whole() {
    let log = Log::new(24, 6);
    let cairn = Cairn::new();
    let path = cairn.path("app.log");
    for (index, end) in log.ends.iter().enumerate() {
        // As if the log's writer, or the replay, had been killed here: the log up to this record, and a bit more.
        let torn = (end + index % 7).min(log.bytes.len());
        fs::write(&path, &log.bytes[..torn]).expect("the log grows");
        let text = replay(&cairn, &path, &[]).ok();
        assert!(text.contains(&format!("to {end}: ")), "record {index}: {text}");
        assert_eq!(text.contains("a torn record"), torn > *end, "record {index}: {text}");
        let status = replay(&cairn, &path, &["--status"]).ok();
        assert!(status.contains(&format!("replayed up to offset {end} ")), "record {index}: {status}");
    }
    assert_eq!(cairn.run(["scan"]).ok(), log.text());
}

#[test]
fn a_torn_record_at_every_byte_is_left_for_next_time() {
    let log = Log::new(3, 3);
    let (start, end) = (log.ends[1], log.ends[2]);
    for torn in start + 1..end {
        let cairn = Cairn::new();
        let path = cairn.file("app.log", &log.bytes[..torn]);
        let text = replay(&cairn, &path, &[]).ok();
        assert!(text.contains(&format!("a torn record at offset {start} ({} ", torn - start)), "{text}");
        fs::write(&path, &log.bytes).expect("the log grows");
        assert!(replay(&cairn, &path, &[]).ok().contains(&format!("from offset {start} to {end}")));
        assert_eq!(cairn.run(["scan"]).ok(), log.text());
    }
}

/// A log with one bit wrong in its eleventh record, whose ends are those of the tenth and the eleventh.
fn corrupt_log() -> (Log, usize, usize) {
    let mut log = Log::new(20, 5);
    let (start, next) = (log.ends[9], log.ends[10]);
    log.bytes[next - 5] ^= 1; // the last byte before its checksum
    (log, start, next)
}

#[test]
fn a_corrupt_record_in_the_middle_stops_it() {
    let cairn = Cairn::new();
    let (log, start, _) = corrupt_log();
    let path = cairn.file("app.log", &log.bytes);
    let what = replay(&cairn, &path, &[]).failed_silently();
    assert!(what.contains(&format!("{} is corrupt at offset {start}", path.display())), "{what}");
}

#[test]
fn what_stands_before_a_corrupt_record_is_stored() {
    let cairn = Cairn::new();
    let (log, start, _) = corrupt_log();
    let path = cairn.file("app.log", &log.bytes);
    replay(&cairn, &path, &[]).failed_silently();
    let status = replay(&cairn, &path, &["--status"]).ok();
    assert!(status.contains(&format!("up to offset {start} ")), "{status}");
}

#[test]
fn from_goes_on_beyond_a_corrupt_record() {
    let cairn = Cairn::new();
    let (log, _, next) = corrupt_log();
    let path = cairn.file("app.log", &log.bytes);
    let text = replay(&cairn, &path, &["--from", &next.to_string()]).ok();
    assert!(text.contains(&format!("from offset {next} to {}", log.bytes.len())), "{text}");
}

#[test]
fn from_starts_at_a_record_whatever_was_replayed() {
    let cairn = Cairn::new();
    let log = Log::new(20, 5);
    let path = cairn.file("app.log", &log.bytes);
    assert_eq!(replay(&cairn, &path, &[]).code, 0);
    let text = replay(&cairn, &path, &["--from", &log.ends[15].to_string()]).ok();
    assert!(text.contains(&format!("from offset {} to {}", log.ends[15], log.bytes.len())), "{text}");
    let what = replay(&cairn, &path, &["--from", &(log.ends[15] + 1).to_string()]).failed_silently();
    assert!(what.contains("app.log"), "{what}");
    assert_eq!(cairn.run(["scan"]).ok(), log.text());
}

#[test]
fn a_log_that_changed_under_its_checkpoint_is_refused() {
    let cairn = Cairn::new();
    let log = Log::new(20, 5);
    let path = cairn.file("app.log", &log.bytes);
    assert_eq!(replay(&cairn, &path, &[]).code, 0);
    let mut bytes = log.bytes[..log.ends[8]].to_vec();
    while bytes.len() < log.bytes.len() + 100 {
        encode_put(b"other", b"history", &mut bytes);
    }
    fs::write(&path, &bytes).expect("the log changes");
    let before = cairn.dump();
    let what = replay(&cairn, &path, &[]).failed_silently();
    assert!(what.contains("app.log"), "{what}");
    assert_eq!(cairn.dump(), before);
}

#[test]
fn a_log_is_known_by_its_first_record_and_not_by_its_path() {
    let cairn = Cairn::new();
    let log = Log::new(10, 5);
    assert_eq!(replay(&cairn, &cairn.file("app.log", &log.bytes), &[]).code, 0);
    let text = replay(&cairn, &cairn.file("renamed.log", &log.bytes), &[]).ok();
    assert!(text.contains("0 puts, 0 deletes"), "{text}");
    let mut other = Vec::new();
    encode_put(b"other", b"log", &mut other);
    let path = cairn.file("app.log", &other);
    assert!(replay(&cairn, &path, &["--status"]).ok().contains("nothing of it was replayed yet"));
    assert!(replay(&cairn, &path, &[]).ok().contains("1 put, 0 deletes"));
}

#[test]
fn status_changes_nothing_and_needs_a_database() {
    let cairn = Cairn::new();
    let path = cairn.file("app.log", Log::new(3, 3).bytes);
    let what = replay(&cairn, &path, &["--status"]).failed_silently();
    assert!(what.contains("no database at"), "{what}");
    assert!(!cairn.db.exists());
    replay(&cairn, &cairn.path("no.log"), &[]).failed_silently();
    assert!(!cairn.db.exists());
}

#[test]
fn a_log_may_go_into_any_keyspace() {
    let cairn = Cairn::new();
    let log = Log::new(10, 5);
    assert_eq!(replay(&cairn, &cairn.file("app.log", &log.bytes), &["--keyspace", "3"]).code, 0);
    assert_eq!(cairn.run(["scan"]).ok(), "");
    assert_eq!(cairn.run(["scan", "--keyspace", "3"]).ok(), log.text());
}

#[test]
fn a_replay_that_is_killed_goes_on_where_it_was() {
    let cairn = Cairn::new();
    let log = Log::new(60_000, 5_000);
    let path = cairn.file("app.log", &log.bytes);
    let mut dice = Dice(99);
    for _ in 0..4 {
        let mut child =
            cairn.command([OsStr::new("replay"), path.as_os_str()]).spawn().expect("cairn starts");
        std::thread::sleep(Duration::from_millis(5 + dice.below(60)));
        child.kill().expect("it is killed, or done");
        child.wait().expect("it ends");
    }
    assert_eq!(replay(&cairn, &path, &[]).code, 0);
    assert_eq!(cairn.run(["scan"]).ok(), log.text());
    assert_eq!(cairn.run(["verify"]).code, 0);
}
