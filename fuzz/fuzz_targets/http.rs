//! Fuzz target: `cairndb_server::fuzz::http`, which says what it asserts.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cairndb_server::fuzz::http(input));
