//! The sweep: notices what has expired, and tells of it.
//!
//! A key that has expired is gone for every reader at once, and the engine's compactions give its space back. What is left
//! to do is to count it and to tell those who listen: the store keeps, ordered by time, which keys expire when, and the
//! sweep goes through those whose time has come.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use crate::events::Class;
use crate::server::Server;

/// How long after its time a key's event may come, when there is not too much to do.
const EVERY: Duration = Duration::from_millis(100);
/// How many keys are looked at while others wait.
const SWEPT_MAX: usize = 500;

/// Sweeps until the server stops.
pub(crate) async fn sweep(server: Arc<Server>, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        if !matches!(some(&server).await, Ok(SWEPT_MAX)) {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stopped.changed() => {}
            }
        }
    }
}

/// Sweeps a little; returns how many keys it looked at. What fails is tried again the next time.
async fn some(server: &Arc<Server>) -> cairndb::Result<usize> {
    if !server.store.has_due()? {
        return Ok(0);
    }
    let (looked_at, expired, outcome) = {
        let mut data = server.store.gather();
        let (looked_at, expired) = data.sweep(SWEPT_MAX, server.events.wants(Class::Expired))?;
        (looked_at, expired, data.outcome())
    };
    if let Some(outcome) = outcome {
        let settled = server.store.settle(&outcome, |events| server.publish_events(events)).await;
        settled.map_err(|error| (*error).clone())?;
    }
    server.counters.expired.fetch_add(expired as u64, Ordering::Relaxed);
    Ok(looked_at)
}
