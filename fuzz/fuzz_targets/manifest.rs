//! Fuzz target: `cairndb::fuzz::manifest`, which says what it asserts.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cairndb::fuzz::manifest(input));
