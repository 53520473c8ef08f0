//! Script: operations drawn from a seed, in a form that is short to read.

use std::fmt;
use std::io::ErrorKind;

use cairndb::storage::Operation;
use cairndb::{Compression, Durability};

use crate::dice::Dice;

/// How the database of a script is opened, and what its keys are.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The values' bytes follow from it.
    pub(crate) seed: u64,
    pub(crate) memory_budget_bytes: u64,
    pub(crate) compression: Compression,
    pub(crate) open_files_max: usize,
    /// If this is not 0, the changes are followed.
    pub(crate) keep_changes_bytes: u64,
    pub(crate) keys: usize,
    pub(crate) value_len_max: usize,
    /// Stretches of writes are longer and values larger: to fill deeper levels.
    pub(crate) heavy: bool,
    pub(crate) durabilities: Vec<Durability>,
    pub(crate) faults: bool,
}

/// The keyspaces that scripts use.
pub(crate) const KEYSPACES: [u8; 3] = [0, 1, 254];

/// A key by its number: among them the empty one, prefixes of others, and such as end in the least and greatest bytes.
pub(crate) fn key(number: usize) -> Vec<u8> {
    if number == 0 {
        return Vec::new();
    }
    let mut key = format!("k{:03}", number / 4).into_bytes();
    key.extend_from_slice([&b""[..], b"\0", b"/x", b"\xFF\xFF"][number % 4]);
    key
}

/// A stretch of keys: from the lesser of two keys to the greater, or from or to no end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) from: Option<usize>,
    pub(crate) to: Option<usize>,
}

impl Stretch {
    pub(crate) fn bounds(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match (self.from.map(key), self.to.map(key)) {
            (Some(a), Some(b)) if b < a => (b, Some(a)),
            (from, to) => (from.unwrap_or_default(), to),
        }
    }
}

/// What a value is, apart from its bytes, which follow from the step that writes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) keyspace: u8,
    pub(crate) key: usize,
    pub(crate) len: usize,
    /// Milliseconds from now.
    pub(crate) expires_in: Option<i64>,
}

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Put(Written),
    Delete(u8, usize),
    Range(u8, Stretch),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    Absent,
    ItsValue,
    OtherValue,
    ItsSeq,
    OtherSeq,
}

#[derive(Clone, Debug)]
pub(crate) enum Read {
    Get(usize),
    GetMany(Vec<usize>),
    Forward(Stretch),
    Backward(Stretch),
    /// Item by item from either end, as the bits say, until the ends meet.
    BothEnds(Stretch, u64),
    Prefix(Vec<u8>),
    Cursor(Stretch, Vec<Turn>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    Next,
    Prev,
    Seek(usize),
    First,
    Last,
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Put(Written, Durability),
    /// Puts of many keys in a row.
    Fill {
        keyspace: u8,
        first: usize,
        count: usize,
        len: usize,
        durability: Durability,
    },
    Delete(u8, usize, Durability),
    DeleteRange(u8, Stretch, Durability),
    Clear(u8),
    Batch {
        items: Vec<Item>,
        conditions: Vec<(u8, usize, Expect)>,
        durability: Durability,
    },
    SyncAll,
    Read {
        keyspace: u8,
        snapshot: Option<usize>,
        read: Read,
    },
    Snapshot(usize),
    Release(usize),
    OpenScan {
        slot: usize,
        keyspace: u8,
        stretch: Stretch,
    },
    StepScan {
        slot: usize,
        back: bool,
        count: usize,
    },
    DropScan(usize),
    Flush,
    Compact,
    Maintain(usize),
    Checkpoint,
    Backup,
    Clock(i64),
    Close {
        by_drop: bool,
        read_only: bool,
    },
    Kill {
        then_crash: Option<u64>,
    },
    Crash {
        seed: u64,
        stop_open_after: Option<u64>,
        read_only: bool,
    },
    StopAfter(u64),
    Fault {
        nth: u64,
        operation: Operation,
        kind: ErrorKind,
    },
    /// For so many steps the disk has room for no more than this, in bytes.
    Full {
        room: u64,
        steps: usize,
    },
}

/// An operation with the number that it had when the script was whole: what it writes follows from that.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) number: usize,
    pub(crate) op: Op,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5} {:?}", self.number, self.op)
    }
}

/// The script of a seed.
pub(crate) fn script(seed: u64, count: usize) -> (Config, Vec<Step>) {
    let mut dice = Dice::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0xca12);
    let config = draw_config(&mut dice, seed);
    let calm = draw_calm(&mut dice);
    let steps = (0..count).map(|number| Step { number, op: draw(&mut dice, &config, calm) }).collect();
    (config, steps)
}

/// The script that these bytes make.
pub(crate) fn script_of_bytes(bytes: &[u8], most: usize) -> (Config, Vec<Step>) {
    let mut dice = Dice::loaded(bytes);
    let config = Config { heavy: false, ..draw_config(&mut dice, 0) };
    let calm = draw_calm(&mut dice);
    let mut steps = Vec::new();
    while !dice.is_spent() && steps.len() < most {
        steps.push(Step { number: steps.len(), op: draw(&mut dice, &config, calm) });
    }
    (config, steps)
}

/// How rarely a script crashes, in steps.
fn draw_calm(dice: &mut Dice) -> usize {
    dice.of(&[20, 60, 60, 300])
}

fn draw_config(dice: &mut Dice, seed: u64) -> Config {
    use Durability::{Buffered, Os, Sync};
    let heavy = dice.one_in(8);
    Config {
        seed,
        memory_budget_bytes: if heavy { 32 << 10 } else { dice.of(&[32 << 10, 40 << 10, 64 << 10]) },
        compression: dice.of(&[Compression::None, Compression::None, Compression::Lz4]),
        open_files_max: dice.of(&[1, 2, 8, 512]),
        keep_changes_bytes: [0, 64 << 10, 4 << 20][seed as usize % 3],
        keys: if heavy { 5000 } else { dice.of(&[12, 60, 60, 400, 1200]) },
        value_len_max: if heavy { 2000 } else { dice.of(&[40, 400, 2000]) },
        heavy,
        durabilities: dice.of(&[
            vec![Sync],
            vec![Sync, Os, Buffered],
            vec![Os, Os, Os, Os, Os, Os, Sync],
            vec![Buffered, Buffered, Buffered, Buffered, Os],
            vec![Sync, Buffered, Buffered, Buffered, Buffered, Buffered, Buffered],
        ]),
        faults: dice.one_in(2),
    }
}

/// A script without crashes and failures.
pub(crate) fn calm_script(seed: u64, count: usize) -> (Config, Vec<Step>) {
    let (mut config, _) = script(seed, 0);
    config.value_len_max = config.value_len_max.min(400);
    config.keys = config.keys.min(400);
    config.heavy = false;
    let mut dice = Dice::new(seed.wrapping_mul(0x9e6d_62d0_6f6a_9a9b) ^ 0xca13);
    let calm = usize::MAX;
    let steps = (0..count).map(|number| Step { number, op: draw(&mut dice, &config, calm) }).collect();
    (config, steps)
}

/// In a script that is crashed at each call, one operation in so many is a call that will fail, or a kill.
const FAILURE_ONE_IN: usize = 24;

/// What a call that fails says: that the disk is broken, that it is full, or that what one may have of it is.
const KINDS: [ErrorKind; 4] =
    [ErrorKind::Other, ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::QuotaExceeded];

/// A create may also say that there is no file to be had just now, as where they are made ahead.
const KINDS_OF_CREATE: [ErrorKind; 4] =
    [ErrorKind::Other, ErrorKind::WouldBlock, ErrorKind::StorageFull, ErrorKind::WouldBlock];

fn fault(dice: &mut Dice, nth: u64, operation: Operation) -> Op {
    let kinds = if operation == Operation::Create { KINDS_OF_CREATE } else { KINDS };
    Op::Fault { nth, operation, kind: dice.of(&kinds) }
}

fn failure(dice: &mut Dice) -> Op {
    use Operation::{Append, Create, Reserve, Sync, SyncNames};
    if dice.one_in(4) {
        return Op::Kill { then_crash: None };
    }
    if dice.one_in(4) {
        return Op::Full { room: dice.below(20_000) as u64, steps: 1 + dice.below(20) };
    }
    let operation = dice.of(&[Sync, Sync, Sync, SyncNames, Append, Create, Reserve]);
    let nth = 1 + dice.below(4) as u64;
    fault(dice, nth, operation)
}

/// A script of operations that change something, one commit at a time, in a small database; now and then a call fails.
pub(crate) fn crash_script(seed: u64, count: usize) -> (Config, Vec<Step>) {
    let (mut config, calm) = calm_script(seed, count * 4);
    config.memory_budget_bytes = 32 << 10;
    config.keys = config.keys.min(60);
    let mut ops = Vec::new();
    for step in calm {
        match step.op {
            Op::Read { .. } | Op::OpenScan { .. } | Op::StepScan { .. } | Op::DropScan(_) | Op::Backup => {}
            Op::Fill { keyspace, first, count, len, durability } => {
                let written = |index| {
                    let key = (first + index * 7) % config.keys;
                    Op::Put(Written { keyspace, key, len, expires_in: None }, durability)
                };
                ops.extend((0..count).map(written));
            }
            op => ops.push(op),
        }
    }
    let mut dice = Dice::new(seed.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ 0xca14);
    for op in &mut ops {
        if dice.one_in(FAILURE_ONE_IN) {
            *op = failure(&mut dice);
        }
    }
    ops.truncate(count);
    let steps = ops.into_iter().enumerate().map(|(number, op)| Step { number, op }).collect();
    (config, steps)
}

fn draw(dice: &mut Dice, config: &Config, calm: usize) -> Op {
    if dice.one_in(calm) {
        return disaster(dice, config);
    }
    let keyspace = keyspace(dice);
    let durability = dice.of(&config.durabilities);
    match dice.below(100) {
        0..10 if config.heavy => fill(dice, config, keyspace, durability),
        0..22 => Op::Put(written(dice, config), durability),
        22..30 => fill(dice, config, keyspace, durability),
        30..37 => Op::Delete(keyspace, dice.below(config.keys), durability),
        37..41 => Op::DeleteRange(keyspace, stretch(dice, config), durability),
        41 if dice.one_in(8) && !config.heavy => Op::Clear(keyspace),
        41..50 => batch(dice, config, durability),
        50 => Op::SyncAll,
        51..72 => {
            let snapshot = if dice.one_in(3) { Some(dice.below(3)) } else { None };
            Op::Read { keyspace, snapshot, read: read(dice, config) }
        }
        72..75 => Op::Snapshot(dice.below(3)),
        75..77 => Op::Release(dice.below(3)),
        77 => Op::OpenScan { slot: dice.below(2), keyspace, stretch: wide_stretch(dice, config) },
        78..80 => Op::StepScan { slot: dice.below(2), back: dice.one_in(2), count: 1 + dice.below(12) },
        80 => Op::DropScan(dice.below(2)),
        81..83 => Op::Flush,
        83 if dice.one_in(3) => Op::Compact,
        83..93 => Op::Maintain(1 + dice.below(6)),
        93 => Op::Checkpoint,
        94 if dice.one_in(6) => Op::Backup,
        94 => Op::Maintain(40),
        95..98 => Op::Clock(dice.of(&[1, 10, 100, 1000, -5, -500])),
        98 if dice.one_in(2) => Op::Close { by_drop: dice.one_in(2), read_only: dice.one_in(3) },
        _ => Op::Maintain(2),
    }
}

fn disaster(dice: &mut Dice, config: &Config) -> Op {
    match dice.below(10) {
        0..5 => Op::Crash {
            seed: dice.next() % 10_000,
            stop_open_after: if dice.one_in(3) { Some(dice.below(60) as u64) } else { None },
            read_only: dice.one_in(4),
        },
        5 => Op::Kill { then_crash: None },
        6 => Op::Kill { then_crash: Some(dice.next() % 10_000) },
        7 | 8 => Op::StopAfter(dice.below(120) as u64),
        _ if config.faults => {
            use Operation::{Append, Create, ReadAt, Remove, Reserve, Sync, SyncNames};
            if dice.one_in(3) {
                return Op::Full { room: dice.below(100_000) as u64, steps: 1 + dice.below(60) };
            }
            let operation = dice.of(&[Append, Create, ReadAt, Remove, Reserve, Sync, SyncNames]);
            let nth = 1 + dice.below(20) as u64;
            fault(dice, nth, operation)
        }
        _ => Op::StopAfter(dice.below(40) as u64),
    }
}

fn keyspace(dice: &mut Dice) -> u8 {
    KEYSPACES[[0, 0, 0, 0, 1, 2][dice.below(6)]]
}

fn written(dice: &mut Dice, config: &Config) -> Written {
    let expires_in = if dice.one_in(6) { Some(dice.of(&[-3, 0, 1, 20, 300, 3000])) } else { None };
    let len = match dice.below(8) {
        0 => 0,
        1..5 => dice.below(config.value_len_max / 8 + 1),
        _ => dice.below(config.value_len_max),
    };
    Written { keyspace: keyspace(dice), key: dice.below(config.keys), len, expires_in }
}

fn fill(dice: &mut Dice, config: &Config, keyspace: u8, durability: Durability) -> Op {
    let count = 1 + dice.below(if config.heavy { 60 } else { 12 });
    Op::Fill {
        keyspace: if config.heavy { 0 } else { keyspace },
        first: dice.below(config.keys),
        count: count.min(config.keys),
        len: dice.below(config.value_len_max),
        durability,
    }
}

fn batch(dice: &mut Dice, config: &Config, durability: Durability) -> Op {
    use Expect::{Absent, ItsSeq, ItsValue, OtherSeq, OtherValue};
    let count = if dice.one_in(6) { dice.below(30) } else { dice.below(6) };
    let item = |dice: &mut Dice| match dice.below(8) {
        0 | 1 => Item::Delete(keyspace(dice), dice.below(config.keys)),
        2 => Item::Range(keyspace(dice), stretch(dice, config)),
        _ => Item::Put(written(dice, config)),
    };
    let items = (0..count).map(|_| item(dice)).collect();
    let conditions = if dice.one_in(3) {
        let expect =
            |dice: &mut Dice| dice.of(&[Absent, ItsValue, ItsValue, ItsSeq, ItsSeq, OtherSeq, OtherValue]);
        (0..1 + dice.below(2)).map(|_| (keyspace(dice), dice.below(config.keys), expect(dice))).collect()
    } else {
        Vec::new()
    };
    Op::Batch { items, conditions, durability }
}

fn stretch(dice: &mut Dice, config: &Config) -> Stretch {
    if dice.one_in(6) && !config.heavy {
        return wide_stretch(dice, config);
    }
    let from = dice.below(config.keys);
    let most = config.keys / if config.heavy { 100 } else { 4 };
    Stretch { from: Some(from), to: Some(from + dice.below(most + 2)) }
}

fn wide_stretch(dice: &mut Dice, config: &Config) -> Stretch {
    let end = |dice: &mut Dice| if dice.one_in(2) { None } else { Some(dice.below(config.keys)) };
    Stretch { from: end(dice), to: end(dice) }
}

fn read(dice: &mut Dice, config: &Config) -> Read {
    match dice.below(12) {
        0..4 => Read::Get(dice.below(config.keys)),
        4 => Read::GetMany((0..dice.below(8)).map(|_| dice.below(config.keys)).collect()),
        5 => Read::Forward(stretch(dice, config)),
        6 => Read::Backward(stretch(dice, config)),
        7 | 8 => Read::BothEnds(stretch(dice, config), dice.next()),
        9 => {
            let prefix = key(dice.below(config.keys));
            Read::Prefix(prefix[..dice.below(prefix.len() + 1)].to_vec())
        }
        _ => {
            let turn = |dice: &mut Dice| match dice.below(12) {
                0..5 => Turn::Next,
                5..9 => Turn::Prev,
                9 | 10 => Turn::Seek(dice.below(config.keys)),
                _ => dice.of(&[Turn::First, Turn::Last]),
            };
            let turns = (0..4 + dice.below(24)).map(|_| turn(dice)).collect();
            Read::Cursor(stretch(dice, config), turns)
        }
    }
}
