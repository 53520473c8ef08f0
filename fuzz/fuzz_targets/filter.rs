//! Fuzz target: `cairndb::fuzz::filter`, which says what it asserts.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cairndb::fuzz::filter(input));
