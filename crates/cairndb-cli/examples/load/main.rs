//! Load: clients that write down what they were told, and hold a server to it. The rigs in `tests/rigs` kill it.
//!
//! ```text
//! load write PORT LEDGER [--seed S]      eight clients write until the server is gone
//! load check PORT LEDGER                 what is there, against the ledger; prints the ledger that goes on from it
//! load fill PORT LEDGER                  writes until the disk is full, and looks at what can still be done
//! load empty PORT LEDGER [--patience S]  deletes nine keys in ten, and waits until writes go on, a minute at most
//! load mix PORT HTTP --minutes M [--seed S]      everything at once, each client against a model of its own keys
//! ```
//! Exit codes: 0 · 1 a promise is broken · 3 acknowledged writes are lost, and what is there is a prefix all the same: what
//! weaker durability allows, and what the rigs' controls must see.

mod full;
mod ledger;
mod mix;
mod wire;

use std::process::exit;
use std::time::Duration;

/// A promise is broken: says which, and ends.
fn broken(what: &str) -> ! {
    eprintln!("{what}");
    exit(1)
}

/// A source of numbers that repeats itself for a seed. Source: SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<f64>().ok()
    };
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let port = |text: &str| text.parse::<u16>().unwrap_or_else(|_| broken("a port is a number"));
    let seed = option("--seed").unwrap_or(1.0) as u64;
    match words[..] {
        ["write", to, path, ..] => ledger::write(port(to), path, seed),
        ["check", to, path] => ledger::check(port(to), path),
        ["fill", to, path] => full::fill(port(to), path),
        ["empty", to, path, ..] => {
            full::empty(port(to), path, Duration::from_secs(option("--patience").unwrap_or(60.0) as u64));
        }
        ["mix", to, http, ..] => mix::mix(port(to), port(http), option("--minutes").unwrap_or(1.0), seed),
        _ => broken("load write|check|fill|empty PORT LEDGER, or load mix PORT HTTP --minutes M"),
    }
}
