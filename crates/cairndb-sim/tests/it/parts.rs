//! The parts: the same seed is the same world, and what the scripts are there to make happen does happen.

use cairndb_sim::{PARTS, Part, Until, run_bytes, run_seeds};

fn part(name: &str) -> &'static Part {
    PARTS.iter().find(|part| part.name == name).unwrap_or_else(|| panic!("no part {name}"))
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for name in ["crash", "exhaustive-3", "metamorphic"] {
        let traces: Vec<u64> = (5..8).map(|seed| part(name).run(seed).unwrap().trace()).collect();
        let again: Vec<u64> = (5..8).map(|seed| part(name).run(seed).unwrap().trace()).collect();
        assert_eq!(traces, again, "{name}");
        assert!(traces[0] != traces[1] && traces[1] != traces[2], "{name}: every seed has the same trace");
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

#[test]
fn any_bytes_make_a_world() {
    let bytes: Vec<u8> = (0..600u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for len in [0, 1, 7, 100, 600] {
        run_bytes(&bytes[..len]).unwrap();
    }
}
