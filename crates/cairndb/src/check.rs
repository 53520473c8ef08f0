//! Check: stub.
