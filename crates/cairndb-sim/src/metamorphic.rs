//! Metamorphic: what a database answers does not depend on how it was opened.
//!
//! Every answer is held against the oracle, as in any world, and their bytes against those under the other options.

use cairndb::Compression;

use crate::script::{Config, calm_script};
use crate::tally::Tally;
use crate::world::answers;

const STEPS: usize = 300;

/// Runs one trace under 16 option sets.
pub(crate) fn run(seed: u64) -> Result<Tally, String> {
    let (config, steps) = calm_script(seed, STEPS);
    let mut tally = Tally::default();
    let mut expected = None;
    for options in option_sets(&config) {
        let found = answers(&options, &steps).map_err(|told| format!("{options:?}\n{told}"))?;
        tally.follow(&found.to_string());
        let (first, expected) = expected.get_or_insert((options.clone(), found));
        if found != *expected {
            return Err(format!("answers {found:x} under {options:?}\nand {expected:x} under {first:?}"));
        }
        tally.add("option_sets", 1);
    }
    tally.add("traces", 1);
    Ok(tally)
}

fn option_sets(config: &Config) -> Vec<Config> {
    let mut sets = Vec::new();
    for memory_budget_bytes in [64 << 10, 160 << 10, 1 << 20, 16 << 20] {
        for compression in [Compression::None, Compression::Lz4] {
            for open_files_max in [1, 512] {
                sets.push(Config { memory_budget_bytes, compression, open_files_max, ..config.clone() });
            }
        }
    }
    sets
}
