//! The server as its clients meet it: bytes over a socket.
//!
//! # Where it sits
//! Outside: these tests start a server in this process, and speak to it as clients do. Those named `slow_redis_*` start
//! Debian's redis-server beside it, and compare.

mod client;
mod differential;
mod hostile;
mod http;
mod info;
mod limits;
mod running;
mod stream;
mod tls;
mod users;
mod watching;
mod wire;

use cairndb_server::{Config, Durability, Http, Running};
use client::Client;
use tempfile::TempDir;

/// A server on an empty directory.
struct Served {
    running: Option<Running>,
    directory: TempDir,
}

impl Served {
    fn new() -> Served {
        Served::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Served {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config {
            directory: directory.path().join("db"),
            listen: "127.0.0.1:0".into(),
            durability: Durability::Os,
            memory_budget_bytes: 32 << 20,
            http: Http { listen: "127.0.0.1:0".into(), ..Http::default() },
            ..Config::default()
        };
        change(&mut config);
        let running = Some(cairndb_server::start(config).expect("it starts"));
        Served { running, directory }
    }

    fn address(&self) -> std::net::SocketAddr {
        self.running.as_ref().expect("it runs").address()
    }

    fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// Stops the server, and opens what it left.
    fn stop(mut self) -> (cairndb::Db, TempDir) {
        self.running.take().expect("it runs").stop().expect("it closes");
        let directory =
            std::mem::replace(&mut self.directory, tempfile::tempdir().expect("a temporary directory"));
        (cairndb::Db::open(directory.path().join("db")).expect("it opens again"), directory)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().expect("it closes");
        }
    }
}
