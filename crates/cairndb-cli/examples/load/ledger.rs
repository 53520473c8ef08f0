//! Ledger: what clients have begun and what they were answered, and whether the server holds to it.
//!
//! ```text
//! begun 2 117      client 2 has sent its operations up to this one
//! done 2 117       and has been answered them
//! ```
//! What an operation does follows from its client and its number: it counts, or gives one of fifty keys a value that
//! names it, or gives two keys the same value in a transaction. So what a client's keys hold says how far it came; it has
//! to be as far as it was answered, at least, and no further than it had begun.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};

use crate::wire::{Reply, Wire};
use crate::{Dice, broken};

const CLIENTS: u64 = 8;
/// Keys of a client that get one value after the other.
const KEYS: u64 = 50;
/// At most so many operations are sent before their replies are read.
const PIPELINE_LEN_MAX: u64 = 16;

/// From where to where a client came: answered, and begun.
type Ledger = BTreeMap<u64, (u64, u64)>;

fn read(path: &str) -> Ledger {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut ledger: Ledger = (0..CLIENTS).map(|client| (client, (0, 0))).collect();
    for line in text.lines() {
        // The last line may have been cut.
        let words: Vec<&str> = line.split(' ').collect();
        let [what, client, number] = words[..] else { continue };
        let (Ok(client), Ok(number)) = (client.parse::<u64>(), number.parse::<u64>()) else { continue };
        let stretch = ledger.entry(client).or_default();
        match what {
            "begun" => stretch.1 = number,
            "done" => *stretch = (number, stretch.1.max(number)),
            _ => {}
        }
    }
    ledger
}

/// Writes until the server has gone. It must not answer anything but what was asked for.
pub(crate) fn write(port: u16, path: &str, seed: u64) {
    let ledger = read(path);
    std::thread::scope(|scope| {
        for (client, (_, begun)) in ledger {
            scope.spawn(move || {
                let mut log =
                    OpenOptions::new().append(true).create(true).open(path).expect("the ledger opens");
                // However it ends: the server was killed.
                _ = go_on(port, client, begun, &mut log, &mut Dice(seed * CLIENTS + client));
            });
        }
    });
}

fn go_on(port: u16, client: u64, mut number: u64, log: &mut impl Write, dice: &mut Dice) -> io::Result<()> {
    let mut wire = Wire::open(port)?;
    loop {
        let count = 1 + dice.below(PIPELINE_LEN_MAX);
        log.write_all(format!("begun {client} {}\n", number + count).as_bytes())?;
        (number + 1..=number + count).for_each(|number| push(&mut wire, client, number));
        wire.send()?;
        for number in number + 1..=number + count {
            for _ in 0..replies(number) {
                if let Reply::Failed(why) = wire.reply()? {
                    broken(&format!("client {client}, operation {number}: {why}"));
                }
            }
        }
        number += count;
        log.write_all(format!("done {client} {number}\n").as_bytes())?;
    }
}

fn push(wire: &mut Wire, client: u64, number: u64) {
    let name = |what: &str| format!("{what}:{client}").into_bytes();
    match number % 3 {
        0 => {
            wire.push(&[b"MULTI"]);
            wire.push(&[b"SET", &name("one"), number.to_string().as_bytes()]);
            wire.push(&[b"SET", &name("other"), number.to_string().as_bytes()]);
            wire.push(&[b"EXEC"]);
        }
        1 => wire.push(&[b"SET", format!("key:{client}:{}", number % KEYS).as_bytes(), &value(number)]),
        _ => wire.push(&[b"INCR", &name("count")]),
    }
}

fn replies(number: u64) -> usize {
    if number.is_multiple_of(3) { 4 } else { 1 }
}

/// What an operation gives its key: its number, and some length, so that tables are written.
fn value(number: u64) -> Vec<u8> {
    format!("{number} {}", "x".repeat((number * 37 % 900) as usize)).into_bytes()
}

/// Everything a client's keys hold once it has come to `number`; nothing for those that it has not come to.
fn expected(number: u64) -> Vec<Option<Vec<u8>>> {
    let newest =
        |fits: &dyn Fn(u64) -> bool| (1..=number).rev().take(3 * KEYS as usize).find(|&number| fits(number));
    let pair = newest(&|number| number.is_multiple_of(3)).map(|number| number.to_string().into_bytes());
    let count = (number + 1) / 3;
    let keys = (0..KEYS).map(|key| newest(&|number| number % 3 == 1 && number % KEYS == key).map(value));
    [pair.clone(), pair, (count > 0).then(|| count.to_string().into_bytes())]
        .into_iter()
        .chain(keys)
        .collect()
}

/// Holds the server to the ledger.
pub(crate) fn check(port: u16, path: &str) {
    let mut wire = Wire::open(port).unwrap_or_else(|error| broken(&format!("nobody listens: {error}")));
    let mut lost = 0;
    for (client, (done, begun)) in read(path) {
        let keys = ["one", "other", "count"].map(|what| format!("{what}:{client}")).into_iter();
        let keys: Vec<String> = keys.chain((0..KEYS).map(|key| format!("key:{client}:{key}"))).collect();
        let words: Vec<&[u8]> =
            std::iter::once(&b"MGET"[..]).chain(keys.iter().map(String::as_bytes)).collect();
        let held: Vec<Option<Vec<u8>>> = match wire.ask(&words) {
            Ok(Reply::Many(Some(replies))) => replies.into_iter().map(Reply::value).collect(),
            told => broken(&format!("client {client}: {told:?}")),
        };
        let came_to = (0..=begun).rev().find(|&number| expected(number) == held);
        let Some(number) = came_to else {
            broken(&format!(
                "client {client} was answered up to {done}, had begun {begun}, and its keys hold no prefix of that"
            ));
        };
        lost += done.saturating_sub(number);
        println!("begun {client} {number}\ndone {client} {number}");
    }
    if lost > 0 {
        eprintln!("{lost} acknowledged operations are lost");
        std::process::exit(3);
    }
}
