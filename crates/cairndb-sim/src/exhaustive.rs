//! Exhaustive: every sequence of a few operations over two keys, and every crash state inside its last one.

use cairndb::{Compression, Durability};

use crate::parts::shrunk;
use crate::script::{Config, Item, Op, Step, Stretch, Written};
use crate::states::Take;
use crate::tally::Tally;
use crate::world::run_watched;

/// More states than this at one call, and the moment would be counted as cut short.
const STATES_MOST: usize = 1 << 14;

/// The operations, in a fixed order: a sequence is a number in this base.
fn alphabet() -> Vec<Op> {
    use Durability::{Os, Sync};
    let written = |key| Written { keyspace: 0, key, len: 9, expires_in: None };
    let both = Stretch { from: Some(1), to: Some(3) };
    vec![
        Op::Put(written(1), Sync),
        Op::Put(written(2), Os),
        Op::Delete(0, 1, Sync),
        Op::DeleteRange(0, both, Sync),
        Op::Batch {
            items: vec![Item::Put(written(2)), Item::Delete(0, 1)],
            conditions: Vec::new(),
            durability: Sync,
        },
        Op::Flush,
        Op::Compact,
        Op::Maintain(3),
        Op::Checkpoint,
        Op::Close { by_drop: false, read_only: false },
        Op::Kill { then_crash: None },
    ]
}

/// How many sequences of this length there are.
pub(crate) const fn sequence_count(len: u32) -> u64 {
    OP_COUNT.pow(len)
}

const OP_COUNT: u64 = 11;

/// Runs the sequence of this index.
pub(crate) fn run(index: u64, len: usize) -> Result<Tally, String> {
    let alphabet = alphabet();
    assert_eq!(alphabet.len() as u64, OP_COUNT, "the count of sequences follows from it");
    let mut rest = index;
    let steps = (0..len).map(|number| {
        let op = alphabet[(rest % OP_COUNT) as usize].clone();
        rest /= OP_COUNT;
        Step { number, op }
    });
    let config = Config {
        seed: index,
        memory_budget_bytes: 32 << 10,
        compression: Compression::None,
        open_files_max: 8,
        keep_changes_bytes: [0, 1 << 20][index as usize % 2],
        keys: 3,
        value_len_max: 9,
        heavy: false,
        durabilities: vec![Durability::Sync],
        faults: false,
    };
    let take = Take::All { most: STATES_MOST };
    let watched = |config: &Config, steps: &[Step]| {
        let tally = run_watched(config, steps, steps.len().saturating_sub(1), take)?;
        match tally.count("moments_cut_short") {
            0 => Ok(tally),
            count => Err(format!("{count} calls have more than {STATES_MOST} crash states")),
        }
    };
    shrunk(&config, steps.collect(), watched).map(|mut tally| {
        tally.add("sequences", 1);
        tally
    })
}
