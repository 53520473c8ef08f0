//! Fuzz target: `cairndb_sim::run_bytes`: operations, crashes and failed calls, against the oracle.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cairndb_sim::run_bytes(input).unwrap());
