//! Witness: writes, says what was acknowledged, and later swears to what is there. The rigs in `tests/rigs` kill it.
//!
//! ```text
//! witness write  DIR LEDGER [--seed S] [--threads N] [--count N] [--durability sync|os|buffered]
//! witness script DIR LEDGER [--seed S]
//! witness check  DIR LEDGER
//! ```
//! `write` runs threads that put, delete, write batches, delete ranges and write on conditions, each among keys of its
//! own, and closes after `count` operations of each. `script` does the same from one thread and without a second one,
//! and flushes, compacts, backs up to `DIR.backup`, checkpoints, closes and opens again on the way: from the same
//! directory and ledger it makes the same calls each time. Both say on standard output what they begin and what is acknowledged. Appended to
//! the ledger, that is what `check` holds the directory to; `check` prints the ledger that the next writer goes on from.
//!
//! # The ledger
//! ```text
//! stands           an open returned Ok, so there is a database
//! next 2 117       thread 2 goes on with operation 117
//! holds 2 30 98    its key 30 has the value that operation 98 gave it
//! begun 2 117      it is about to call
//! done 2 117       the call returned Ok
//! refused 2 117    the call was answered `DiskFull` or `Busy`: it was not made, and never will be
//! backup 0 130     a backup returned Ok when thread 0 had come to operation 130
//! ```
//! What an operation does follows from its thread and its number; the seed says which number comes first. No number is
//! used twice, and every value tells who wrote it: an older value that comes back is seen for what it is.
//!
//! # What `check` asks
//! The directory verifies as it was left (unless nothing was ever promised), and it opens. Each thread's keys are what
//! they were after some prefix of its operations that takes in all acknowledged ones, and no refused one. A backup that
//! was acknowledged opens, and is what the thread held then. The database takes a write; it closes, it verifies, and no
//! file is left over that nothing names, one spare log apart.
//!
//! Exit codes: 0 · 1 a promise is broken · 2 the engine returned an error · 3 acknowledged operations are lost, and what
//! is there is a prefix all the same: what weaker durability allows, and what the rigs' controls must see.

#![expect(clippy::disallowed_methods, reason = "a program that runs as several threads, and reads a ledger")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{Write as _, stdout};
use std::process::exit;
use std::sync::Arc;
use std::{env, fs, thread};

use cairndb::storage::{FileKind, Native, Storage};
use cairndb::{BackupMode, Batch, Condition, Db, Durability, Error, Options, Outcome, verify};

const BROKEN: i32 = 1;
const ERROR: i32 = 2;
const LOST: i32 = 3;

/// The keys of a thread: few, so that most writes hide older ones.
const KEYS: u64 = 240;

/// Small, so that flushes and compactions never end.
const MEMORY_BUDGET_BYTES: u64 = 192 << 10;

/// A thread gives up after this many refusals in a row.
const REFUSALS_MAX: u32 = 20;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let [verb, dir, ledger, ..] = &args[..] else { usage() };
    let option = |name: &str, default: u64| match args.iter().position(|arg| arg == name) {
        Some(at) => args.get(at + 1).and_then(|text| text.parse().ok()).unwrap_or_else(|| usage()),
        None => default,
    };
    let durability = match args.iter().position(|arg| arg == "--durability").map(|at| args.get(at + 1)) {
        None => Durability::Sync,
        Some(Some(text)) if text == "sync" => Durability::Sync,
        Some(Some(text)) if text == "os" => Durability::Os,
        Some(Some(text)) if text == "buffered" => Durability::Buffered,
        Some(_) => usage(),
    };
    let seed = option("--seed", 1);
    match verb.as_str() {
        "write" => write(dir, ledger, seed, option("--threads", 4), option("--count", u64::MAX), durability),
        "script" => script(dir, ledger, seed),
        "check" => check(dir, ledger),
        _ => usage(),
    }
}

fn usage() -> ! {
    eprintln!(
        "usage: witness write|script|check DIR LEDGER [--seed S] [--threads N] [--count N] [--durability D]"
    );
    exit(ERROR)
}

fn end(code: i32, what: impl Display) -> ! {
    eprintln!("witness: {what}");
    exit(code)
}

/// One line, at once: whoever reads it may be all that is left of us.
fn say(line: impl Display) {
    if writeln!(stdout(), "{line}").is_err() {
        exit(ERROR);
    }
}

fn options() -> Options {
    Options { memory_budget_bytes: MEMORY_BUDGET_BYTES, ..Options::default() }
}

// What is written.

/// Numbers that depend on the seed alone: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// One atomic write of a thread's, and whether it is asked for on a condition that holds or on one that does not.
struct Operation {
    changes: Vec<Change>,
    condition: Option<(u64, bool)>,
}

enum Change {
    Put(u64),
    Delete(u64),
    DeleteRange(u64, u64),
}

impl Operation {
    fn draw(thread: u64, number: u64) -> Operation {
        let mut dice = Dice(thread << 56 ^ number << 8);
        let mut condition = None;
        let change = |dice: &mut Dice| match dice.below(20) {
            0..3 => Change::Delete(dice.below(KEYS)),
            3 => {
                let start = dice.below(KEYS);
                Change::DeleteRange(start, start + dice.below(30))
            }
            _ => Change::Put(dice.below(KEYS)),
        };
        let count = match dice.below(10) {
            0..6 => 1,
            6 => {
                condition = Some((dice.below(KEYS), dice.below(4) > 0));
                1 + dice.below(3)
            }
            _ => 2 + dice.below(8),
        };
        Operation { changes: (0..count).map(|_| change(&mut dice)).collect(), condition }
    }

    fn batch(&self, thread: u64, number: u64) -> Batch {
        let mut batch = Batch::new();
        for change in &self.changes {
            match *change {
                Change::Put(key) => batch.put(name(thread, key), value(thread, number, key)),
                Change::Delete(key) => batch.delete(name(thread, key)),
                Change::DeleteRange(start, end) => batch.delete_range(name(thread, start)..name(thread, end)),
            };
        }
        batch
    }

    /// What it does to the keys of its thread.
    fn apply(&self, number: u64, held: &mut BTreeMap<u64, u64>) {
        if self.condition.is_some_and(|(_, holds)| !holds) {
            return;
        }
        for change in &self.changes {
            match *change {
                Change::Put(key) => drop(held.insert(key, number)),
                Change::Delete(key) => drop(held.remove(&key)),
                Change::DeleteRange(start, end) => held.retain(|key, _| !(start..end).contains(key)),
            }
        }
    }
}

/// All threads' keys lie between each other's, so that tables and blocks hold keys of all of them.
fn name(thread: u64, key: u64) -> String {
    format!("{thread}/{key:04}")
}

/// Its first words tell who wrote it; its length may be anything up to a few blocks.
fn value(thread: u64, number: u64, key: u64) -> Vec<u8> {
    let mut dice = Dice(number << 16 ^ key << 8 ^ thread);
    let len = if dice.below(40) == 0 { 9000 } else { 20 + dice.below(300) };
    let mut value = format!("{thread} {number} {key} ").into_bytes();
    value.extend((0..len).map(|_| b'a' + dice.below(26) as u8));
    value
}

// What is said of it.

/// What the ledger knows of one thread.
#[derive(Clone, Default)]
struct Account {
    /// Its keys before operation `next`, and which operation gave each its value.
    held: BTreeMap<u64, u64>,
    next: u64,
    begun: Option<u64>,
    done: Option<u64>,
    refused: Vec<u64>,
    backup: Option<u64>,
}

/// The ledger, read.
#[derive(Default)]
struct Ledger {
    stands: bool,
    accounts: BTreeMap<u64, Account>,
}

impl Ledger {
    /// What a thread goes on from.
    ///
    /// Requires: a ledger that `check` printed, or an empty one.
    fn account(&self, thread: u64, seed: u64) -> Account {
        if self.accounts.values().any(|account| account.begun.is_some()) {
            end(ERROR, "the ledger tells of operations that have not been checked");
        }
        self.accounts.get(&thread).cloned().unwrap_or_else(|| {
            let next = seed << 20;
            say(format_args!("next {thread} {next}"));
            Account { next, ..Account::default() }
        })
    }
}

fn read_ledger(path: &str) -> Ledger {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.unwrap_or_else(|error| end(ERROR, format_args!("{path}: {error}"))),
    };
    let mut ledger = Ledger::default();
    for line in text.split_inclusive('\n') {
        // The last line may have been cut short by whatever ended the writer.
        let Some(line) = line.strip_suffix('\n') else { break };
        if line == "stands" {
            ledger.stands = true;
            continue;
        }
        let mut words = line.split(' ');
        let verb = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let [thread, number, ..] = numbers[..] else {
            end(ERROR, format_args!("{path}: not a line of a ledger: {line}"));
        };
        let account = ledger.accounts.entry(thread).or_default();
        match (verb, numbers.get(2)) {
            ("next", None) => account.next = number,
            ("holds", Some(by)) => drop(account.held.insert(number, *by)),
            ("begun", None) => account.begun = Some(number),
            ("done", None) => account.done = Some(number),
            ("refused", None) => account.refused.push(number),
            ("backup", None) => account.backup = Some(number),
            _ => end(ERROR, format_args!("{path}: not a line of a ledger: {line}")),
        }
    }
    ledger
}

// Who writes.

/// One thread's work.
struct Writer {
    db: Db,
    thread: u64,
    account: Account,
}

impl Writer {
    /// Makes this many operations.
    ///
    /// Errors: the engine's, after which it is unknown whether the last one was made.
    fn run(&mut self, count: u64) -> cairndb::Result<()> {
        let mut refusals = 0;
        for _ in 0..count {
            let (thread, number) = (self.thread, self.account.next);
            let operation = Operation::draw(thread, number);
            say(format_args!("begun {thread} {number}"));
            match self.write(&operation, number) {
                Ok(()) => {
                    say(format_args!("done {thread} {number}"));
                    operation.apply(number, &mut self.account.held);
                    refusals = 0;
                }
                Err(error @ (Error::DiskFull { .. } | Error::Busy { .. })) => {
                    say(format_args!("refused {thread} {number}"));
                    refusals += 1;
                    if refusals == REFUSALS_MAX {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
            self.account.next += 1;
            self.read(Dice(number).below(KEYS))?;
        }
        Ok(())
    }

    fn write(&self, operation: &Operation, number: u64) -> cairndb::Result<()> {
        let batch = operation.batch(self.thread, number);
        let Some((key, holds)) = operation.condition else { return self.db.write(batch).map(drop) };
        let name = name(self.thread, key);
        let condition = match (self.account.held.get(&key), holds) {
            (Some(by), true) => Condition::value_equal(name, value(self.thread, *by, key)),
            (None, false) => Condition::value_equal(name, "never written"),
            _ => Condition::absent(name),
        };
        match self.db.write_if(batch, &[condition])? {
            Outcome::Written(_) if holds => Ok(()),
            Outcome::Unmet { .. } if !holds => Ok(()),
            outcome => end(BROKEN, format_args!("{} {number}: condition answered {outcome:?}", self.thread)),
        }
    }

    /// Reads a key of its own back.
    fn read(&self, key: u64) -> cairndb::Result<()> {
        let found = self.db.get(name(self.thread, key))?.map(|found| found.to_vec());
        let expected = self.account.held.get(&key).map(|by| value(self.thread, *by, key));
        if found != expected {
            let (found, expected) = (brief(found.as_deref()), brief(expected.as_deref()));
            end(BROKEN, format_args!("{} reads back {found}, wrote {expected}", name(self.thread, key)));
        }
        Ok(())
    }
}

fn brief(value: Option<&[u8]>) -> String {
    value.map_or("nothing".into(), |value| format!("'{}'", value[..value.len().min(30)].escape_ascii()))
}

fn write(dir: &str, ledger: &str, seed: u64, threads: u64, count: u64, durability: Durability) {
    let ledger = read_ledger(ledger);
    let opened = Options { durability, ..options() }.open(dir);
    let db = opened.unwrap_or_else(|error| end(ERROR, format_args!("open: {error}")));
    say("stands");
    let mut writers: Vec<Writer> = (0..threads)
        .map(|thread| Writer { db: db.clone(), thread, account: ledger.account(thread, seed) })
        .collect();
    let failed = thread::scope(|scope| {
        let running: Vec<_> = writers.iter_mut().map(|writer| scope.spawn(|| writer.run(count))).collect();
        running.into_iter().filter_map(|writer| writer.join().expect("no thread panics").err()).last()
    });
    drop(writers);
    let closed = db.close();
    if let Some(error) = failed {
        end(ERROR, format_args!("write: {error}"));
    }
    closed.unwrap_or_else(|error| end(ERROR, format_args!("close: {error}")));
}

/// What `script` does between its writes, given the number of the next operation.
type Verb<'a> = &'a dyn Fn(&Db, u64) -> cairndb::Result<()>;

/// Everything that makes calls on storage, in one thread. What fails is told, and the work goes on where it can.
fn script(dir: &str, ledger: &str, seed: u64) {
    let failed = Cell::new(false);
    let tell = |what: &str, error: Error| {
        eprintln!("witness: {what}: {error}");
        failed.set(true);
    };
    let mut account = read_ledger(ledger).account(0, seed);
    for round in 0..2 {
        // Without the thread that `Db::open` starts: this one makes all the steps.
        let native = Native::create(dir).unwrap_or_else(|error| end(ERROR, format_args!("open: {error}")));
        let opened = Db::open_with(Arc::new(native), options());
        let db = opened.unwrap_or_else(|error| end(ERROR, format_args!("open: {error}")));
        say("stands");
        let mut writer = Writer { db: db.clone(), thread: 0, account };
        let mut verbs: Vec<(&str, Verb)> = vec![
            ("flush", &|db, _| db.flush()),
            ("compact", &|db, _| db.compact()),
            ("checkpoint", &|db, _| db.checkpoint().map(drop)),
            ("maintain", &|db, _| {
                // Twice in vain is what makes it idle, and then it leaves a mark.
                while db.maintain()? {}
                while db.maintain()? {}
                Ok(())
            }),
        ];
        let to_backup = format!("{dir}.backup");
        let backup = |db: &Db, next: u64| {
            db.backup_to(&to_backup, BackupMode::Link)?;
            say(format_args!("backup 0 {next}"));
            Ok(())
        };
        if round == 0 {
            verbs.insert(2, ("backup", &backup));
        }
        for (what, verb) in verbs {
            if let Err(error) = writer.run(14) {
                tell("write", error);
                break;
            }
            if let Err(error) = verb(&db, writer.account.next) {
                tell(what, error);
            }
        }
        account = writer.account;
        if let Err(error) = db.close() {
            tell("close", error);
        }
        if failed.get() {
            exit(ERROR);
        }
    }
}

// Who swears.

fn check(dir: &str, ledger: &str) {
    let ledger = read_ledger(ledger);
    if ledger.stands {
        verify_at_rest(dir, "as it was left");
    }
    let opened = options().open(dir);
    let db = opened.unwrap_or_else(|error| end(BROKEN, format_args!("it does not open: {error}")));
    say("stands");
    let mut lost = 0;
    let mut found = read_all(&db);
    for (thread, account) in &ledger.accounts {
        let held = found.remove(thread).unwrap_or_default();
        lost += lost_operations(*thread, account, &held);
        say(format_args!("next {thread} {}", account.begun.map_or(account.next, |begun| begun + 1)));
        for (key, by) in &held {
            say(format_args!("holds {thread} {key} {by}"));
        }
        if let Some(number) = account.backup {
            check_backup(dir, *thread, account, number);
        }
    }
    if !found.is_empty() {
        end(BROKEN, format_args!("keys of threads that never wrote: {:?}", found.keys()));
    }
    let written = db.put("written after", "a crash").and_then(|()| db.delete("written after"));
    written.unwrap_or_else(|error| end(BROKEN, format_args!("it takes no write: {error}")));
    db.close().unwrap_or_else(|error| end(BROKEN, format_args!("it does not close: {error}")));
    let named = verify_at_rest(dir, "after it was opened");
    let listed = Native::open(dir).and_then(|native| native.list("witness"));
    let listed = listed.unwrap_or_else(|error| end(ERROR, error));
    let reserves = listed.iter().filter(|name| name.kind == FileKind::Reserve).count();
    let stand = listed.len() - reserves;
    // A spare log, and what this and earlier incarnations laid down for a full disk.
    if stand > named + 1 || reserves > 5 {
        end(BROKEN, format_args!("{stand} files stand in {dir}, and {named} of them are needed"));
    }
    if lost > 0 {
        end(LOST, format_args!("{lost} acknowledged operations are lost; what is there is a prefix"));
    }
}

/// Ends unless every promise that can be checked holds; how many files the database has.
fn verify_at_rest(dir: &str, when: &str) -> usize {
    let native = Native::read_only(dir).unwrap_or_else(|error| end(BROKEN, error));
    let verified = verify(Arc::new(native));
    let verified = verified.unwrap_or_else(|error| end(BROKEN, format_args!("{dir} {when}: {error}")));
    for problem in verified.checks.iter().flat_map(|check| &check.problems) {
        eprintln!("witness: {dir} {when}: {problem}");
    }
    if !verified.ok() {
        exit(BROKEN);
    }
    verified.files
}

/// Every thread's keys, and which operation gave each its value.
fn read_all(db: &Db) -> BTreeMap<u64, BTreeMap<u64, u64>> {
    let mut threads = BTreeMap::<u64, BTreeMap<u64, u64>>::new();
    for item in db.scan(..) {
        let (stored, found) = item.unwrap_or_else(|error| end(BROKEN, format_args!("scan: {error}")));
        let text = String::from_utf8_lossy(&found);
        let mut words = text.split(' ').map_while(|word| word.parse::<u64>().ok());
        let (Some(thread), Some(number), Some(key)) = (words.next(), words.next(), words.next()) else {
            end(BROKEN, format_args!("{} has a strange value", stored.escape_ascii()));
        };
        if stored != name(thread, key).as_bytes() || found != value(thread, number, key) {
            end(BROKEN, format_args!("{} has a value that was never written", stored.escape_ascii()));
        }
        threads.entry(thread).or_default().insert(key, number);
    }
    threads
}

/// How many acknowledged operations are missing from `found`, which has to be what some prefix of all leaves.
fn lost_operations(thread: u64, account: &Account, found: &BTreeMap<u64, u64>) -> u64 {
    let acknowledged = account.done.map_or(account.next, |done| done + 1);
    let begun = account.begun.map_or(account.next, |begun| begun + 1);
    let prefix = (account.next..=begun).rev().find(|count| state_before(account, thread, *count) == *found);
    let Some(prefix) = prefix else {
        let expected = state_before(account, thread, acknowledged);
        for key in 0..KEYS + 30 {
            let (is, was) = (found.get(&key), expected.get(&key));
            if is != was {
                eprintln!("witness: {}: there by {is:?}, acknowledged by {was:?}", name(thread, key));
            }
        }
        end(BROKEN, format_args!("thread {thread}: what is there is after no prefix of its operations"));
    };
    acknowledged.saturating_sub(prefix)
}

/// The thread's keys before its operation `number`, the refused ones left out.
fn state_before(account: &Account, thread: u64, number: u64) -> BTreeMap<u64, u64> {
    let mut held = account.held.clone();
    for number in (account.next..number).filter(|number| !account.refused.contains(number)) {
        Operation::draw(thread, number).apply(number, &mut held);
    }
    held
}

fn check_backup(dir: &str, thread: u64, account: &Account, number: u64) {
    let backup = format!("{dir}.backup");
    verify_at_rest(&backup, "as a backup");
    let opened = options().open(&backup);
    let db = opened.unwrap_or_else(|error| end(BROKEN, format_args!("the backup does not open: {error}")));
    if read_all(&db).remove(&thread).unwrap_or_default() != state_before(account, thread, number) {
        end(BROKEN, format_args!("the backup is not what thread {thread} held before operation {number}"));
    }
}
