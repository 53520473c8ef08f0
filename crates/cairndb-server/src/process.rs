//! Process: a server that is all that its process does, from the first signal that it heeds to the last.
//!
//! The first `SIGTERM` or `SIGINT` asks it to end in good order, the second ends it at once: nothing that was answered is
//! lost by that, but the next start has a log to replay. Signals are heeded before the database is opened, for that may
//! take a while, and nobody is to be killed between "serving" and the first look at a signal.

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::listen::{self, Error, Running};
use crate::settings::Config;

/// Opens the database, serves it, and returns when the process was asked to end and the database is closed. `begun` is told
/// when clients can come.
///
/// Errors: as [`crate::start`] and [`Running::stop`].
pub fn run(config: Config, begun: impl FnOnce(&Running)) -> Result<(), Error> {
    let runtime = listen::runtime()?;
    let asked = heed_signals(&runtime)?;
    let running = listen::start_on(runtime, config)?;
    begun(&running);
    // Nobody asks any more only if the runtime is gone.
    _ = running.block_on(asked);
    running.stop()
}

/// What is told when the process is asked to end.
fn heed_signals(runtime: &Runtime) -> Result<oneshot::Receiver<()>, Error> {
    let within = runtime.enter();
    let caught = |kind| signal(kind).map_err(|source| Error::io("cannot wait for signals", source));
    let (mut terminate, mut interrupt) = (caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?);
    drop(within);
    let (ask, asked) = oneshot::channel();
    runtime.spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        _ = ask.send(());
        let number = either(&mut terminate, &mut interrupt).await;
        std::process::exit(128 + number);
    });
    Ok(asked)
}

/// Waits for one of the two, and returns its number.
async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> i32 {
    let kind = tokio::select! {
        _ = terminate.recv() => SignalKind::terminate(),
        _ = interrupt.recv() => SignalKind::interrupt(),
    };
    kind.as_raw_value()
}
