//! Full: a server whose disk has no room left, and what it still does.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::broken;
use crate::wire::{Reply, Wire};

/// What a key gets.
const VALUE_LEN: usize = 3_000;
/// How many keys are asked for at a time.
const PIPELINE_LEN: usize = 50;
/// The disk is full when this many pipelines in a row began with a refusal.
const TRIES_IN_VAIN: usize = 10;

fn key(number: usize) -> Vec<u8> {
    format!("fill:{number:07}").into_bytes()
}

fn value(number: usize) -> Vec<u8> {
    // Nothing that packs well.
    let mut dice = crate::Dice(number as u64);
    (0..VALUE_LEN).map(|_| dice.below(256) as u8).collect()
}

/// Writes until a write is refused for want of space; then reads go on, and deletes do. The ledger is how many keys there are.
pub(crate) fn fill(port: u16, path: &str) {
    let filled = try_fill(port).unwrap_or_else(|error| broken(&format!("the server broke off: {error}")));
    let kept = std::fs::File::create(path).and_then(|mut file| file.write_all(filled.to_string().as_bytes()));
    kept.unwrap_or_else(|error| broken(&format!("{path}: {error}")));
}

fn try_fill(port: u16) -> io::Result<usize> {
    let mut wire = Wire::open(port)?;
    let (mut filled, mut refusal) = (0, String::new());
    // What is too long for the last room is not too long one by one.
    for len in [PIPELINE_LEN, 1] {
        let mut in_vain = 0;
        // Compactions find some room again for a while.
        while in_vain < TRIES_IN_VAIN {
            match fill_some(&mut wire, filled, len)? {
                None => (filled, in_vain) = (filled + len, 0),
                Some((number, why)) => {
                    in_vain = if number > filled { 0 } else { in_vain + 1 };
                    (filled, refusal) = (number, why);
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }
    println!("filled: {filled} keys, then: {refusal}");
    if !refusal.contains("disk is full") {
        broken(&format!("a full disk is told as {refusal}"));
    }
    for number in (0..filled).step_by(7) {
        if wire.ask(&[b"GET", &key(number)])?.value() != Some(value(number)) {
            broken(&format!("key {number} reads otherwise than it was written"));
        }
    }
    println!("read: every seventh key of {filled}");
    Ok(filled)
}

/// Fills some keys; if one was refused, how many were not, and why.
fn fill_some(wire: &mut Wire, first: usize, len: usize) -> io::Result<Option<(usize, String)>> {
    (first..first + len).for_each(|number| wire.push(&[b"SET", &key(number), &value(number)]));
    wire.send()?;
    let mut refused = None;
    for number in first..first + len {
        match (wire.reply()?, &refused) {
            (Reply::Failed(why), None) => refused = Some((number, why)),
            (Reply::Failed(_), Some(_)) => {}
            // After a turn that was refused, a smaller one may have had room.
            (told, _) if told.is_ok() => {}
            (told, _) => broken(&format!("key {number} was answered {told:?}, one before it {refused:?}")),
        }
    }
    Ok(refused)
}

/// Deletes nine keys in ten, and waits until writes go on by themselves.
pub(crate) fn empty(port: u16, path: &str, patience: Duration) {
    let filled = std::fs::read_to_string(path).ok().and_then(|text| text.parse().ok());
    let filled = filled.unwrap_or_else(|| broken(&format!("{path} does not say how many keys there are")));
    try_empty(port, filled, patience)
        .unwrap_or_else(|error| broken(&format!("the server broke off: {error}")));
}

fn try_empty(port: u16, filled: usize, patience: Duration) -> io::Result<()> {
    let mut wire = Wire::open(port)?;
    for number in (0..filled).filter(|number| number % 10 != 0) {
        match wire.ask(&[b"DEL", &key(number)])? {
            Reply::Number(1) => {}
            told => broken(&format!("the deletion of key {number} was answered {told:?}")),
        }
    }
    println!("deleted: nine keys in ten");
    let begun = Instant::now();
    while !wire.ask(&[b"SET", b"more", &value(0)])?.is_ok() {
        if begun.elapsed() > patience {
            broken(&format!("{} s after the deletes, the disk is full", patience.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("writes go on {} ms after the last delete", begun.elapsed().as_millis());
    for number in (0..filled).step_by(10) {
        if wire.ask(&[b"GET", &key(number)])?.value() != Some(value(number)) {
            broken(&format!("key {number} was kept, and reads otherwise than it was written"));
        }
    }
    Ok(())
}
