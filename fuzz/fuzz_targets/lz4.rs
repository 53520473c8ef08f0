//! Fuzz target: `cairndb::fuzz::lz4`, which says what it asserts.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cairndb::fuzz::lz4(input));
