//! Tells the program which versions it was built with: from the lock file, since that is what was compiled.

use std::fs;

const PACKAGES: [&str; 7] = ["cairndb", "rocksdb", "librocksdb-sys", "fjall", "redb", "heed", "sled"];

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let lock = fs::read_to_string("Cargo.lock").expect("Cargo.lock stands beside build.rs");
    for package in PACKAGES {
        let entry =
            lock.split("[[package]]").find(|entry| entry.contains(&format!("name = \"{package}\"\n")));
        let version = entry.and_then(|entry| entry.split("version = \"").nth(1)?.split('"').next());
        let name = package.to_uppercase().replace('-', "_");
        println!("cargo::rustc-env={name}_VERSION={}", version.unwrap_or("unknown"));
    }
}
