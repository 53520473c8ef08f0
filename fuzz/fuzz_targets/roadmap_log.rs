//! Fuzz target: `cairndb::fuzz::roadmap_log`, which says what it asserts.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cairndb::fuzz::roadmap_log(input));
