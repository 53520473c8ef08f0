//! Admin: upkeep that somebody asks for. One thing at a time, off the threads that serve.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use serde_json::{Value, json};

use super::guard::Who;
use super::problem::{BACKUPS_OFF, IN_PROGRESS, Problem};
use super::query::{Query, refuse};
use super::{Answer, json_response, off_the_runtime};
use crate::backups::{dated_name, is_name};
use crate::server::Server;

pub(super) async fn flush(State(server): State<Arc<Server>>, who: Who, uri: Uri) -> Answer {
    upkeep(server, &who, &uri, |server| server.store.db().flush().map(|()| json!({}))).await
}

pub(super) async fn compact(State(server): State<Arc<Server>>, who: Who, uri: Uri) -> Answer {
    upkeep(server, &who, &uri, |server| server.store.db().compact().map(|()| json!({}))).await
}

pub(super) async fn checkpoint(State(server): State<Arc<Server>>, who: Who, uri: Uri) -> Answer {
    upkeep(server, &who, &uri, |server| {
        let moved = server.store.db().checkpoint()?;
        let place = |at: cairndb::Checkpoint| json!({ "wal": at.wal, "seq": at.seq });
        Ok(json!({ "before": place(moved.before), "after": place(moved.after) }))
    })
    .await
}

/// Reads everything on disk. What is damaged is what was asked for: the answer is 200 with `ok` of false.
pub(super) async fn verify(State(server): State<Arc<Server>>, who: Who, uri: Uri) -> Answer {
    upkeep(server, &who, &uri, |server| {
        let verification = server.store.db().verify()?;
        let checks = verification.checks.iter().map(|check| {
            let problems: Vec<String> = check.problems.iter().map(cairndb::Error::to_string).collect();
            json!({ "promise": check.promise, "seen": check.seen, "what": check.what, "problems": problems })
        });
        let checks: Vec<Value> = checks.collect();
        let (files, bytes) = (verification.files, verification.bytes);
        Ok(json!({ "ok": verification.ok(), "files": files, "bytes": bytes, "checks": checks }))
    })
    .await
}

/// Writes a backup, under the name that is given or one of its time.
pub(super) async fn backup(State(server): State<Arc<Server>>, who: Who, uri: Uri) -> Answer {
    let query = Query::of(&uri, &["name"])?;
    who.check(&[b"bgsave"])?;
    let form = "up to 100 letters, digits, dots, dashes and underscores, the first of them no dot";
    let name = query.read("name", form, |name| is_name(name).then(|| name.to_string()))?;
    let name = name.unwrap_or_else(dated_name);
    if !server.backups.are_allowed() {
        return Err(Problem::new(&BACKUPS_OFF, "there is no directory for backups: --backup-dir"));
    }
    let report = off_the_runtime(move || {
        let turn = server.backups.turn().ok_or_else(in_progress)?;
        let report = turn.write(server.store.db(), &name).map_err(|error| match error {
            cairndb::Error::Invalid { what } => refuse("name", what),
            error @ cairndb::Error::Locked { .. } => refuse("name", error.to_string()),
            error => Problem::from(error),
        })?;
        Ok::<_, Problem>(json!({
            "name": name,
            "seq": report.seq,
            "files_linked": report.linked,
            "files_copied": report.copied,
            "bytes_copied": report.bytes_copied,
        }))
    });
    Ok(json_response(&report.await??))
}

async fn upkeep(
    server: Arc<Server>,
    who: &Who,
    uri: &Uri,
    run: impl FnOnce(&Server) -> cairndb::Result<Value> + Send + 'static,
) -> Answer {
    Query::of(uri, &[])?;
    who.check(&[b"config", b"rewrite"])?;
    let place = server.upkeep.clone().try_acquire_owned().map_err(|_| in_progress())?;
    // It goes on, and keeps its place, when the client has gone.
    let told = off_the_runtime(move || {
        let told = run(&server);
        drop(place);
        told
    });
    Ok(json_response(&told.await??))
}

fn in_progress() -> Problem {
    Problem::new(&IN_PROGRESS, "another one is under way")
}
