//! Process: a server that is all that its process does, from the first signal that it heeds to the last.
//!
//! `SIGHUP` has the certificate read anew. The first `SIGTERM` or `SIGINT` asks it to end in good order, as a client's
//! `SHUTDOWN` does; the second ends it at once: nothing that was answered is lost by that, but the next start has a log to
//! replay. Signals are heeded before the database is opened, for that may take a while, and nobody is to be killed between
//! "serving" and the first look at a signal.
//!
//! Where the process was started by systemd, or by what speaks as it does, that is told when clients can come, when the
//! end begins, and, if it asked for that, every now and then that all is well.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::listen::{self, Error};
use crate::log;
use crate::settings::Config;

/// Open files that are not for clients: the engine's tables and logs, listening, standard streams.
const FILES_KEPT: u64 = 640;

/// Opens the database, serves it, and returns when the process was asked to end and the database is closed.
///
/// Errors: as [`crate::start`] and [`crate::Running::stop`].
pub fn run(mut config: Config) -> Result<(), Error> {
    let files = raise_open_files(config.limits.clients);
    if files < config.limits.clients {
        log::fewer_clients(config.limits.clients, files);
        config.limits.clients = files;
    }
    let runtime = listen::runtime()?;
    let (asked, hangups) = heed_signals(&runtime)?;
    if let Some(limit) = sd_notify::watchdog_enabled() {
        runtime.spawn(keep_telling(limit / 2));
    }
    let running = listen::start_on(runtime, config)?;
    running.reload_certificate_on(hangups);
    tell(NotifyState::Ready);
    running.block_on(async {
        tokio::select! {
            // Nobody asks any more only if the runtime is gone.
            _ = asked => {}
            () = running.until_client_asks() => {}
        }
    });
    tell(NotifyState::Stopping);
    running.stop()
}

/// Has the system allow as many open files as so many clients need, and returns for how many clients they are enough.
fn raise_open_files(clients: usize) -> usize {
    let wanted = clients as u64 + FILES_KEPT;
    // The system's own bound cannot be raised from here; what it allows is what there is.
    let allowed = rlimit::increase_nofile_limit(wanted).unwrap_or(wanted);
    usize::try_from(allowed.saturating_sub(FILES_KEPT)).unwrap_or(usize::MAX).max(1)
}

/// Tells who started the process, if they asked; if nobody listens any more, there is nobody to tell.
fn tell(state: NotifyState<'_>) {
    _ = sd_notify::notify(&[state]);
}

/// Tells as long as there are threads that come to it.
async fn keep_telling(every: Duration) {
    loop {
        tell(NotifyState::Watchdog);
        tokio::time::sleep(every).await;
    }
}

/// What is told when the process is asked to end, and each time it is asked to read the certificate anew.
fn heed_signals(runtime: &Runtime) -> Result<(oneshot::Receiver<()>, Signal), Error> {
    let within = runtime.enter();
    let caught = |kind| signal(kind).map_err(|source| Error::io("cannot wait for signals", source));
    let (mut terminate, mut interrupt) = (caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?);
    let hangups = caught(SignalKind::hangup())?;
    drop(within);
    let (ask, asked) = oneshot::channel();
    runtime.spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        _ = ask.send(());
        let number = either(&mut terminate, &mut interrupt).await;
        std::process::exit(128 + number);
    });
    Ok((asked, hangups))
}

/// Waits for one of the two, and returns its number.
async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> i32 {
    let kind = tokio::select! {
        _ = terminate.recv() => SignalKind::terminate(),
        _ = interrupt.recv() => SignalKind::interrupt(),
    };
    kind.as_raw_value()
}
