//! Fuzz target: `cairndb::fuzz::table`, which says what it asserts.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cairndb::fuzz::table(input));
