//! Rot: a few pieces of the database of which every byte is flipped in `cargo xtask verify`.

use std::collections::BTreeMap;

use cairndb_sim::PARTS;

#[test]
fn what_rots_is_found_or_does_no_harm() {
    let part = PARTS.iter().find(|part| part.name == "rot-bytes").unwrap();
    // The first pieces are the manifest's and the first tables', the last ones those of a log that nobody closed.
    let mut all = BTreeMap::new();
    for seed in [0, 40, 127, 128, 129] {
        let tally = part.run(seed).unwrap();
        tally.counts().for_each(|(name, count)| *all.entry(name).or_insert(0) += count);
    }
    for name in ["found_at_open", "found_at_read", "harmless_room", "tail_torn"] {
        assert!(all.contains_key(name), "{name}: {all:#?}");
    }
}
