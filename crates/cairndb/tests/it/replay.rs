//! A log in the roadmap's format is taken once, whatever happens on the way.

use std::io::Read;
use std::sync::Arc;

use cairndb::roadmap_log::{encode_delete, encode_put};
use cairndb::storage::Faulty;
use cairndb::{Db, Error};

use crate::common::{TINY, contents, open, options};

/// A log of puts and deletes, and where its records end.
fn log(count: u32) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut ends) = (Vec::new(), vec![0]);
    for index in 0..count {
        match index % 7 {
            6 => encode_delete(&(index / 2).to_be_bytes(), &mut bytes),
            _ => encode_put(
                &(index % 50).to_be_bytes(),
                &index.to_be_bytes().repeat(1 + index as usize % 40),
                &mut bytes,
            ),
        }
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn expected(log: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let db = open(&Faulty::default(), 1);
    db.replay_log(log, None).unwrap();
    contents(&db)
}

#[test]
fn a_log_that_grows_is_taken_record_by_record() {
    let (bytes, ends) = log(60);
    let db = open(&Faulty::default(), 1);
    for (index, end) in ends.iter().enumerate().skip(1) {
        // With half of the next record already there: it is torn, and left.
        let torn = ends.get(index + 1).map_or(0, |next| (next - end) / 2);
        let report = db.replay_log(&bytes[..end + torn], None).unwrap();
        assert_eq!((report.from, report.to), (ends[index - 1] as u64, *end as u64));
        assert_eq!((report.puts + report.deletes, report.torn_bytes), (1, torn as u64));
    }
    assert_eq!(contents(&db), expected(&bytes));
    let again = db.replay_log(&bytes[..], None).unwrap();
    assert_eq!(again.puts + again.deletes, 0);
    let status = db.replay_status(&bytes[..]).unwrap().unwrap();
    assert_eq!((status.offset, status.log), (bytes.len() as u64, again.log));
}

#[test]
fn a_crash_at_every_storage_call_loses_and_repeats_nothing() {
    let (bytes, _) = log(400);
    let expected = expected(&bytes);
    let mut crashes = 0;
    for calls in 0.. {
        let disk = Faulty::default();
        let db = open(&disk, 1);
        disk.stop_after(calls);
        let finished = db.replay_log(&bytes[..], None).is_ok();
        let disk = disk.crash(calls);
        drop(db);
        let db = open(&disk, 1000);
        let report = db.replay_log(&bytes[..], None).unwrap();
        assert_eq!(report.to, bytes.len() as u64);
        assert_eq!(contents(&db), expected, "after {calls} calls");
        if finished {
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 5, "{crashes} crashes are too few to show anything");
}

#[test]
fn changed_bytes_before_the_checkpoint_stop_it() {
    let (bytes, ends) = log(60);
    let db = open(&Faulty::default(), 1);
    db.replay_log(&bytes[..ends[40]], None).unwrap();
    let before = contents(&db);
    let mut changed = bytes.clone();
    changed[ends[20] + 9] ^= 1;
    let error = db.replay_log(&changed[..], None).unwrap_err();
    assert!(error.to_string().contains("not those that were taken"), "{error}");
    let error = db.replay_log(&bytes[..ends[30]], None).unwrap_err();
    assert!(error.to_string().contains("shorter"), "{error}");
    assert_eq!(contents(&db), before);
    let report = db.replay_log(&changed[..], Some(ends[40] as u64)).unwrap();
    assert_eq!(report.puts + report.deletes, 20, "handed in, a checkpoint is believed");
}

#[test]
fn damage_in_the_middle_stops_it_behind_what_is_whole() {
    let (mut bytes, ends) = log(60);
    bytes[ends[30] + 9] ^= 1;
    let db = open(&Faulty::default(), 1);
    let error = db.replay_log(&bytes[..], None).unwrap_err();
    assert!(matches!(error, Error::Corrupt { offset, .. } if offset == ends[30] as u64), "{error}");
    assert_eq!(contents(&db), expected(&bytes[..ends[30]]));
}

#[test]
fn a_reader_that_gives_little_at_a_time_is_enough() {
    struct Trickle<'a>(&'a [u8]);
    impl Read for Trickle<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let len = self.0.len().min(buf.len()).min(3);
            self.0.read(&mut buf[..len])
        }
    }
    let (bytes, _) = log(60);
    let db = Db::open_with(Arc::new(Faulty::default()), options(TINY, 1)).unwrap();
    db.replay_log(Trickle(&bytes), None).unwrap();
    assert_eq!(contents(&db), expected(&bytes));
}
