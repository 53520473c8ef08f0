//! The parts: the same seed is the same world, and what the scripts are there to make happen does happen.

use cairndb_sim::{PARTS, Part, Until, run_bytes, run_seeds};

fn part(name: &str) -> &'static Part {
    PARTS.iter().find(|part| part.name == name).unwrap_or_else(|| panic!("no part {name}"))
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    // The matrix of faults is compared whole, cell by cell.
    let parts = [
        ("world", 5..6),
        ("crash", 5..8),
        ("exhaustive-3", 5..8),
        ("metamorphic", 5..7),
        ("rot-bytes", 5..7),
    ];
    for (name, seeds) in parts {
        let traces = || seeds.clone().map(|seed| part(name).run(seed).unwrap().trace()).collect::<Vec<u64>>();
        let first = traces();
        assert_eq!(first, traces(), "{name}");
        assert!(first.windows(2).all(|pair| pair[0] != pair[1]), "{name}: every seed has the same trace");
    }
}

#[test]
fn a_few_worlds_meet_what_matters() {
    let done = run_seeds(part("world"), 0, Until::Seeds(2)).unwrap();
    for name in
        ["level_0", "level_6", "flushes", "compactions", "crashes", "kills", "torn_tails", "faults_met"]
    {
        assert!(done.tally.count(name) > 0, "{name}: {:#?}", done.tally);
    }
}

#[test]
fn every_crash_of_a_few_scripts_is_recovered_from() {
    let done = run_seeds(part("crash"), 0, Until::Seeds(3)).unwrap();
    assert!(done.count > 300 && done.tally.count("states_in_recovery") > 300, "{done:#?}");
}

#[test]
fn a_finite_part_ends() {
    let last = part("exhaustive-3").seeds.unwrap();
    let done = run_seeds(part("exhaustive-3"), last - 5, Until::Count(1000)).unwrap();
    assert_eq!((done.count, done.next_seed), (5, last));
}

/// The corpus of the fuzz target `world`: where a fuzzer begins, and what it once has found.
#[test]
fn every_kept_world_is_replayed() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/world");
    let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(inputs.len() >= 12, "{corpus}: {} inputs", inputs.len());
    for input in inputs {
        run_bytes(&std::fs::read(&input).unwrap())
            .unwrap_or_else(|told| panic!("{}: {told}", input.display()));
    }
    run_bytes(b"").unwrap();
}

/// A disk that filled up while the reserve was laid down: it stood there in part, longer than the database knew.
#[test]
fn a_reserve_laid_down_in_part_counted_for_less() {
    let tally = part("crash").run(201).unwrap();
    assert!(tally.count("full_disks_met") > 0, "the script has no full disk any more: {tally:?}");
}
