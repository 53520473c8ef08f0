//! Turn: how a request writes: in the store's turns, beside the commands of the Redis side.

use std::sync::Arc;

use super::problem::Problem;
use crate::server::Server;
use crate::store::{Data, Outcome};

/// Stages what `stage` does in a turn with room for `len` bytes, and returns what it answered when the turn has settled.
///
/// What `stage` refuses it must refuse before it writes.
pub(crate) async fn write<T>(
    server: &Arc<Server>,
    len: usize,
    mut stage: impl FnMut(&mut Data<'_>) -> Result<T, Problem>,
) -> Result<T, Problem> {
    while server.pause.held().is_some() {
        server.pause.over().await;
    }
    loop {
        match staged(server, len, &mut stage) {
            Ok((done, outcome)) => return settled(server, outcome, done).await,
            // Whether that turn is written is the concern of those who are in it.
            Err(full) => _ = settled(server, Some(full), Ok(())).await,
        }
    }
}

/// What `stage` answered, and the turn that has to settle before anybody is told. The error is a turn without room.
#[expect(clippy::type_complexity, reason = "a pair, or a turn")]
fn staged<T>(
    server: &Server,
    len: usize,
    stage: &mut impl FnMut(&mut Data<'_>) -> Result<T, Problem>,
) -> Result<(Result<T, Problem>, Option<Arc<Outcome>>), Arc<Outcome>> {
    let mut data = server.store.gather();
    match data.lacks_room(len) {
        Some(full) => Err(full),
        None => Ok((stage(&mut data), data.outcome())),
    }
}

async fn settled<T>(
    server: &Arc<Server>,
    outcome: Option<Arc<Outcome>>,
    done: Result<T, Problem>,
) -> Result<T, Problem> {
    let Some(outcome) = outcome else { return done };
    let server = server.clone();
    // On a task of its own: a client that goes away must not take the lead of a turn with it.
    let task =
        tokio::spawn(
            async move { server.store.settle(&outcome, |events| server.publish_events(events)).await },
        );
    match task.await {
        Ok(settled) => settled.map_err(Problem::from).and(done),
        Err(_) => Err(Problem::from(cairndb::Error::Closed)),
    }
}
