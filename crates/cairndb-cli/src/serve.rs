//! Serve: the database behind the Redis protocol, until the process is asked to end.
//!
//! # Where it sits
//! The only command that `cairndb-server` is behind; this file turns arguments into its configuration, and its errors
//! into advice.

use cairndb_server::{Config, Error};

use crate::args::{Serve, Target};
use crate::failure::{Failure, say};

/// Serves until `SIGTERM` or `SIGINT`.
pub(crate) fn serve(target: &Target, serve: &Serve) -> Result<(), Failure> {
    let running = cairndb_server::start(Config {
        directory: target.dir().to_path_buf(),
        listen: serve.listen.clone(),
        durability: target.durability(),
        password: serve.requirepass.clone().filter(|password| !password.is_empty()),
        clients_max: serve.maxclients,
        memory_budget_bytes: serve.memory_budget,
    })
    .map_err(failure)?;
    say(format_args!("serving {} on {}", target.dir().display(), running.address()));
    running.until_asked_to_end().map_err(failure)?;
    say("closing");
    running.stop().map_err(failure)
}

fn failure(error: Error) -> Failure {
    match &error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
            Failure::hinted(&error, "--listen chooses another port: --listen 127.0.0.1:6380")
        }
        Error::Io { .. } => Failure::told(&error),
        Error::Engine(engine) => Failure::Engine(engine.clone()),
    }
}
