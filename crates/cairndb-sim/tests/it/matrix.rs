//! Matrix: the published table is the one that the faults make.

use std::fs;

use cairndb_sim::fault_matrix;

/// `UPDATE_GOLDENFILES=1` writes the page anew, to be looked at before it is kept.
#[test]
fn the_published_fault_matrix_is_what_is_counted() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fault-matrix.md");
    let page = fault_matrix().unwrap();
    if std::env::var_os("UPDATE_GOLDENFILES").is_some_and(|value| value == "1") {
        fs::write(path, &page).unwrap();
    }
    let published = fs::read_to_string(path).unwrap_or_default();
    for (published, counted) in published.lines().zip(page.lines()) {
        assert_eq!(published, counted, "UPDATE_GOLDENFILES=1 writes docs/fault-matrix.md anew");
    }
    assert_eq!(published.len(), page.len());
}
