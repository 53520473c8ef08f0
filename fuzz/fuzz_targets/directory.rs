//! Fuzz target: `cairndb::fuzz::directory`, which says what it asserts.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cairndb::fuzz::directory(input));
