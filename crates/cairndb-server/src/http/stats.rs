//! Stats: the figures, for Prometheus and for programs.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::IntoResponse;

use super::guard::Who;
use super::{Answer, off_the_runtime};
use crate::metrics::{self, OPEN_METRICS, PROMETHEUS};
use crate::server::Server;

/// The text that Prometheus reads; OpenMetrics for who asks for that.
pub(super) async fn prometheus(State(server): State<Arc<Server>>, who: Who, headers: HeaderMap) -> Answer {
    who.check(&[b"info"])?;
    // It counts keys.
    let figures = off_the_runtime(move || metrics::figures(&server)).await?;
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (media, text) = match accepted.any(|value| value.contains("application/openmetrics-text")) {
        true => (OPEN_METRICS, figures.open_metrics()),
        false => (PROMETHEUS, figures.prometheus()),
    };
    Ok(([(CONTENT_TYPE, media)], text).into_response())
}

pub(super) async fn json(State(server): State<Arc<Server>>, who: Who) -> Answer {
    who.check(&[b"info"])?;
    let text = off_the_runtime(move || metrics::figures(&server).json().to_string()).await?;
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}
