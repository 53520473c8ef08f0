//! Serve: the database behind the Redis protocol and HTTP, until the process is asked to end.
//!
//! # Where it sits
//! The only command that `cairndb-server` is behind; this file brings flags, environment and file together, and turns the
//! server's errors into advice.

use cairndb_server::{Config, Error, Layers, LogFormat, LogLevel, Origin, Protocol};
use tracing_subscriber::filter::LevelFilter;

use crate::args::Serve;
use crate::failure::Failure;
use crate::output::Output;

/// Serves until `SIGTERM` or `SIGINT`, or only looks at the settings.
pub(crate) fn serve(serve: &Serve) -> Result<(), Failure> {
    let layers = layers(serve)?;
    if serve.print_config {
        let mut out = Output::new();
        out.bytes(layers.print().as_bytes())?;
        return out.flush();
    }
    if serve.check_config {
        return Ok(());
    }
    let config = layers.config().clone();
    let directory = config.directory.clone();
    log_to_stderr(&config);
    cairndb_server::run(config).map_err(|error| failure(error).located(&directory))
}

/// Has the log be written, as lines of standard error.
fn log_to_stderr(config: &Config) {
    let level = match config.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let lines =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).with_max_level(level);
    match config.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}

/// What was set, and where.
fn layers(serve: &Serve) -> Result<Layers, Failure> {
    let mut layers = Layers::default();
    if let Some(file) = &serve.config {
        layers.read_file(file).map_err(failure)?;
    }
    layers.read_environment(|variable| std::env::var_os(variable)).map_err(failure)?;
    for (name, word) in &serve.given.0 {
        let word = word.to_str().ok_or_else(|| Failure::told(format_args!("--{name}: this is not UTF-8")))?;
        layers.set(name, word, Origin::Flag).map_err(failure)?;
    }
    Ok(layers)
}

fn failure(error: Error) -> Failure {
    match &error {
        Error::Listen { protocol, source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
            let hint = match protocol {
                Protocol::Redis => "--listen chooses another port: --listen 127.0.0.1:6380",
                Protocol::Http => "--http chooses another port: --http 127.0.0.1:8380, or --http '' for none",
            };
            Failure::hinted(&error, hint)
        }
        Error::Listen { .. } | Error::Io { .. } | Error::Settings(_) => Failure::told(&error),
        Error::Engine(engine) => Failure::Engine(engine.clone()),
    }
}
