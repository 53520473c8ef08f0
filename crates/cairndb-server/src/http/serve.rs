//! Serve: connections: taken in as many as there may be, given time for a head and no more, and drained at the end.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::Http;
use super::guard::Ends;
use crate::log;
use crate::server::Server;
use crate::settings::Config;
use crate::socket;

/// The longest head of a request, in bytes; a longer one is refused with 431. Keys in paths end at 64 KiB, encoded.
const HEAD_LEN_MAX: usize = 128 << 10;

/// What a client is told that is one too many.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Takes connections until the server stops, and then waits for those that are there.
pub(crate) async fn accept(server: Arc<Server>, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
    let router = TowerToHyperService::new(super::router(server.clone(), stopped.clone()));
    let Config { http: Http { header_time, .. }, limits, .. } = server.settings();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(header_time).max_buf_size(HEAD_LEN_MAX);
    // Every connection holds one more sender: how many there are, is how many senders there are beside this.
    let (places, mut left) = mpsc::channel::<()>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
        };
        let (mut stream, there) = match accepted {
            Ok(accepted) => accepted,
            // Most often there are no file descriptors left: clients that go give some back.
            Err(error) => {
                log::not_accepted(&error, &server.trouble.accept);
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // As it is now: the bound may be set anew while the server runs.
        if places.strong_count() > server.limits().clients {
            if server.tls.is_none() {
                tokio::spawn(async move { stream.write_all(FULL).await });
            }
            continue;
        }
        let place = places.clone();
        let (server, http, router, stopped) = (server.clone(), http.clone(), router.clone(), stopped.clone());
        tokio::spawn(async move {
            socket::prepare(&stream, limits);
            let here = stream.local_addr().unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
            let ends = Ends { here, there };
            match &server.tls {
                None => _ = serve(&http, router, stream, ends, stopped).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => _ = serve(&http, router, stream, ends, stopped).await,
                    Err(error) => log::refused(there, &format!("TLS: {error}"), &server.trouble.refused),
                },
            }
            drop(place);
        });
    }
    drop(listener);
    drop(places);
    _ = left.recv().await;
}

/// Answers the requests of one connection.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    http: &http1::Builder,
    router: TowerToHyperService<axum::Router>,
    stream: S,
    ends: Ends,
    mut stopped: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ends);
        router.call(request)
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        served = connection.as_mut() => return served,
        _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
