//! Browser: the engine in Chromium and in node, and the npm package that is made of it.
//!
//! Six things are run, and each needs the ones before it: the native side of the script that both sides run; the same
//! script, the contract of storage and the browser's own tests in a worker of a real Chromium; the contract in node; the
//! package and the explorer, built with their sizes; what a page goes through, driven from outside, databases that go to `cairn`
//! and come back among it; and the explorer, worked as a learner would.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The same as the crate's: the two talk in a form that changes with each version.
const WASM_BINDGEN: &str = "0.2.130";

const TARGET: &str = "wasm32-unknown-unknown";

/// What the builds need of npm, as its lock file has it.
const NPM_INSTALL: &str = "ci --no-audit --no-fund";

/// From the package's folder.
const EXPLORER_BUILD: &str = "../explorer/build.mjs";

/// What has to be there, under the names that Debian and cargo give it.
struct Tools {
    chromedriver: PathBuf,
    wasm_bindgen: PathBuf,
}

/// Why the browser's part cannot be run here; nothing if it can.
pub(crate) fn missing(root: &Path) -> Option<String> {
    find(root).err()
}

/// Installs what is missing, where that is known how, and runs everything.
pub(crate) fn browser(root: &Path) -> bool {
    install(root);
    match find(root) {
        Ok(tools) => run_all(root, &tools),
        Err(missing) => {
            println!("{missing}");
            false
        }
    }
}

/// Installs what is missing, and builds the explorer's page.
pub(crate) fn explorer(root: &Path) -> bool {
    install(root);
    let tools = match find(root) {
        Ok(tools) => tools,
        Err(missing) => {
            println!("{missing}");
            return false;
        }
    };
    let built =
        run_in_turn(npm_install(root, &tools).into_iter().chain([npm(root, &tools, "node", EXPLORER_BUILD)]));
    if built {
        println!("python3 -m http.server --bind 127.0.0.1 -d crates/cairndb-wasm/explorer/page");
    }
    built
}

/// Runs everything with what is there.
pub(crate) fn check(root: &Path) -> bool {
    find(root).is_ok_and(|tools| run_all(root, &tools))
}

fn run_all(root: &Path, tools: &Tools) -> bool {
    let package = root.join("crates/cairndb-wasm");
    let cargo = |arguments: &str| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(arguments.split_whitespace()).current_dir(&package);
        // Found by its directory, where the test runner looks for the browser's address and options too.
        cargo.env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER",
            tools.wasm_bindgen.with_file_name("wasm-bindgen-test-runner"),
        );
        cargo.env("CHROMEDRIVER", &tools.chromedriver).env("WASM_BINDGEN_TEST_TIMEOUT", "600");
        cargo
    };
    let npm = |program: &str, arguments: &str| npm(root, tools, program, arguments);
    let tests = format!("test --locked --target {TARGET} -p cairndb-wasm");
    let rust = [
        cargo(&format!(
            "clippy --locked --target {TARGET} -p cairndb-wasm -p cairndb-explorer --lib -- -D warnings"
        )),
        cargo("test --locked -p cairndb-wasm --test it"),
        cargo(&format!("{tests} --lib --test it")),
        // The native command, which databases are exchanged with.
        cargo("build --locked -p cairndb-cli"),
    ];
    let pages = [
        npm("node", "build.mjs"),
        npm("node", EXPLORER_BUILD),
        npm("node_modules/.bin/tsc", "-p test"),
        npm(
            "node",
            "--test --test-concurrency=1 test/node.test.mjs test/lifecycle.test.mjs test/exchange.test.mjs test/bundlers.test.mjs",
        ),
        npm("node", "--test ../explorer/test/explorer.test.mjs"),
    ];
    run_in_turn(rust.into_iter().chain(npm_install(root, tools)).chain(pages))
}

/// Installs what the builds need, unless it stands there as the lock file has it: npm notes that behind everything else.
fn npm_install(root: &Path, tools: &Tools) -> Option<Command> {
    let time = |path: &str| fs::metadata(root.join("crates/cairndb-wasm/npm").join(path))?.modified();
    let is_there = match (time("node_modules/.package-lock.json"), time("package-lock.json")) {
        (Ok(installed), Ok(locked)) => installed > locked,
        _ => false,
    };
    (!is_there).then(|| npm(root, tools, "npm", NPM_INSTALL))
}

/// A command in the package's folder.
fn npm(root: &Path, tools: &Tools, program: &str, arguments: &str) -> Command {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace()).current_dir(root.join("crates/cairndb-wasm/npm"));
    command.env("CAIRN_WASM_BINDGEN", &tools.wasm_bindgen);
    command
}

/// Whether all of them end well; none is run behind one that does not.
fn run_in_turn(steps: impl IntoIterator<Item = Command>) -> bool {
    steps.into_iter().all(|mut step| {
        println!("{step:?}");
        let begun = Instant::now();
        let done = step.status().is_ok_and(|status| status.success());
        println!("took {:.0} s", begun.elapsed().as_secs_f64());
        done
    })
}

fn find(root: &Path) -> Result<Tools, String> {
    let installed = root.join("target/tools/bin");
    let on_path = |name: &str| {
        let path = env::var_os("PATH").unwrap_or_default();
        let places = env::split_paths(&path).chain([installed.clone()]);
        places.map(|place| place.join(name)).find(|program| program.is_file())
    };
    for name in ["chromium", "node", "npm"] {
        on_path(name).ok_or(format!("{name} is not installed"))?;
    }
    let chromedriver = on_path("chromedriver").ok_or("chromedriver is not installed")?;
    let wasm_bindgen = on_path("wasm-bindgen").ok_or("wasm-bindgen is not installed")?;
    let told = Command::new(&wasm_bindgen).arg("--version").output();
    let version =
        told.map(|told| String::from_utf8_lossy(&told.stdout).trim().to_string()).unwrap_or_default();
    if version != format!("wasm-bindgen {WASM_BINDGEN}") {
        return Err(format!("{} is not {WASM_BINDGEN} but '{version}'", wasm_bindgen.display()));
    }
    Ok(Tools { chromedriver, wasm_bindgen })
}

/// On Debian, and with cargo. What cannot be installed is named by [`find`].
fn install(root: &Path) {
    let run = |program: &str, arguments: &str| {
        println!("{program} {arguments}");
        let mut command = Command::new(program);
        drop(command.args(arguments.split_whitespace()).current_dir(root).status());
    };
    match missing(root) {
        None => return,
        Some(missing) if missing.contains("wasm-bindgen") => {}
        Some(_) => {
            run("apt-get", "update -qq");
            run("apt-get", "install -y -qq --no-install-recommends chromium chromium-driver nodejs npm");
        }
    }
    if missing(root).is_some_and(|missing| missing.contains("wasm-bindgen")) {
        // Not --locked: its lock file asks for a version that the registry does not have.
        run(
            env!("CARGO"),
            &format!(
                "install wasm-bindgen-cli --version {WASM_BINDGEN} --root target/tools --target-dir target/tools/build"
            ),
        );
    }
}
