//! Inspect: stub.
