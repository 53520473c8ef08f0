//! Hostile: the inputs that are kept in `fuzz/corpus`, thrown at the server's fuzz targets on every run.
//!
//! An input that found a bug is kept there under a name that says what went wrong.

use std::fs;
use std::path::PathBuf;

use cairndb_server::fuzz::TARGETS;

#[test]
fn what_is_kept_of_fuzzing_finds_nothing() {
    for (name, target) in TARGETS {
        let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
        let kept = fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
        let mut count = 0;
        for input in kept {
            let path = input.expect("an entry").path();
            println!("{}", path.display());
            target(&fs::read(&path).expect("it reads"));
            count += 1;
        }
        assert!(count > 10, "{name} has {count} inputs");
    }
}

#[test]
fn any_bytes_are_a_client_s() {
    let mut dice = crate::stream::Dice::new(7);
    for (_, target) in TARGETS {
        for len in 0..200 {
            let bytes: Vec<u8> = (0..len).map(|_| b"*$\r\n0123 getx\"\\'"[dice.below(16)]).collect();
            target(&bytes);
        }
    }
}
