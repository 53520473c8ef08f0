//! Health: whether the process lives, and whether it can do what it is there for.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::problem::{Problem, STOPPED};
use super::{Answer, off_the_runtime};
use crate::server::Server;

/// Answers as long as the process does.
pub(super) async fn alive() -> Response {
    (StatusCode::OK, "ok\n").into_response()
}

/// Answers while keys can be read and written.
pub(super) async fn ready(State(server): State<Arc<Server>>) -> Answer {
    if let Some(cause) = server.store.db().stats().stopped {
        return Err(Problem::new(&STOPPED, cause));
    }
    off_the_runtime(move || server.store.check_room()).await??;
    Ok((StatusCode::OK, "ok\n").into_response())
}
