//! HTTP: the same databases for everything that speaks it: curl, browsers, what watches over servers.
//!
//! A request passes the guard, finds its route in one table, and is answered out of the store that the Redis side uses.
//! Its writes are staged in the same turns: so they share syncs with all others, abort a `WATCH`, and are told to who
//! subscribed.
//!
//! # Where it sits
//! Beside `connection`: both stand on `server` and `store`, and know nothing of each other. `listen` brings the sockets.

mod admin;
mod batch;
mod body;
mod changes;
mod conditions;
mod console;
mod explain;
mod guard;
mod health;
mod json;
mod kv;
mod list;
mod problem;
mod query;
mod serve;
mod stats;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, any, on};
use axum::{Extension, Router};

#[cfg(feature = "fuzz")]
pub(crate) use guard::Ends;
use problem::{METHOD_NOT_ALLOWED, Problem, ROUTE_NOT_FOUND};
pub(crate) use serve::accept;

use tokio::sync::watch;

use crate::server::Server;

/// How HTTP is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Where: an address and a port, 0 for any that is free; nothing for not at all.
    pub listen: String,
    /// Names that a request may have as its `Host`, beside this machine's own.
    pub hosts: Vec<String>,
    /// How long a request's head may take to come, and a connection be idle.
    pub header_time: Duration,
}

impl Default for Http {
    fn default() -> Http {
        Http { listen: "127.0.0.1:8379".into(), hosts: Vec::new(), header_time: Duration::from_secs(30) }
    }
}

/// What a route answers.
type Answer = Result<Response, Problem>;

/// A path, and what it answers to each method.
struct Route {
    path: &'static str,
    methods: Vec<&'static str>,
    handlers: MethodRouter<Arc<Server>>,
}

impl Route {
    fn new(path: &'static str) -> Route {
        Route { path, methods: Vec::new(), handlers: MethodRouter::new() }
    }

    /// `HEAD` too: the same without its body.
    fn get<H: Handler<T, Arc<Server>>, T: 'static>(self, handler: H) -> Route {
        self.on("get", MethodFilter::GET, handler)
    }

    fn put<H: Handler<T, Arc<Server>>, T: 'static>(self, handler: H) -> Route {
        self.on("put", MethodFilter::PUT, handler)
    }

    fn post<H: Handler<T, Arc<Server>>, T: 'static>(self, handler: H) -> Route {
        self.on("post", MethodFilter::POST, handler)
    }

    fn delete<H: Handler<T, Arc<Server>>, T: 'static>(self, handler: H) -> Route {
        self.on("delete", MethodFilter::DELETE, handler)
    }

    fn on<H: Handler<T, Arc<Server>>, T: 'static>(
        mut self,
        method: &'static str,
        filter: MethodFilter,
        handler: H,
    ) -> Route {
        self.methods.push(method);
        self.handlers = self.handlers.merge(on(filter, handler));
        self
    }
}

/// All that can be asked for.
fn routes() -> Vec<Route> {
    vec![
        Route::new("/").get(console::page),
        Route::new("/metrics").get(stats::prometheus),
        Route::new("/v1/stats").get(stats::json),
        Route::new("/healthz").get(health::alive),
        Route::new("/readyz").get(health::ready),
        Route::new("/v1/admin/backup").post(admin::backup),
        Route::new("/v1/admin/checkpoint").post(admin::checkpoint),
        Route::new("/v1/admin/compact").post(admin::compact),
        Route::new("/v1/admin/flush").post(admin::flush),
        Route::new("/v1/admin/verify").post(admin::verify),
        Route::new("/v1/changes").get(changes::changes),
        Route::new("/v1/batch").post(batch::batch),
        Route::new("/v1/kv").get(list::list),
        Route::new("/v1/openapi.json").get(openapi),
        Route::new("/v1/kv/{*key}").get(kv::get).put(kv::put).delete(kv::delete),
    ]
}

/// The routes, behind the guard.
pub(crate) fn router(server: Arc<Server>, stopped: watch::Receiver<bool>) -> Router {
    let routes = routes().into_iter();
    routes
        .fold(Router::new(), |router, route| router.route(route.path, route.handlers))
        .route("/v1/kv/", any(kv::without_key))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(route_not_found)
        .layer(Extension(stopped))
        .layer(from_fn_with_state(server.clone(), guard::guard))
        .with_state(server)
}

/// What there is, for programs.
async fn openapi() -> Response {
    json_body(include_str!("openapi.json"))
}

fn json_response(value: &serde_json::Value) -> Response {
    json_body(value.to_string())
}

fn json_body(json: impl Into<Body>) -> Response {
    let mut response = Response::new(json.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Runs what may wait for the disk for long, where nobody else has to wait for it. Goes on when the client has gone.
async fn off_the_runtime<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(run).await.map_err(|_| Problem::from(cairndb::Error::Closed))
}

async fn route_not_found(request: Request) -> Problem {
    Problem::new(&ROUTE_NOT_FOUND, format!("there is nothing at {}", request.uri().path()))
}

async fn method_not_allowed(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    Problem::new(&METHOD_NOT_ALLOWED, format!("{path} does not answer {method}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_description_has_the_routes_and_no_others() {
        let described: serde_json::Value =
            serde_json::from_str(include_str!("openapi.json")).expect("it is JSON");
        let mut told = BTreeSet::new();
        for (path, item) in described["paths"].as_object().expect("it has paths") {
            let methods = item.as_object().expect("a path has methods").keys();
            told.extend(
                methods.filter(|&name| name != "parameters").map(|method| format!("{method} {path}")),
            );
        }
        let ours: BTreeSet<String> = routes()
            .iter()
            .flat_map(|route| {
                let path = route.path.replace("{*", "{");
                route.methods.iter().map(move |method| format!("{method} {path}"))
            })
            .collect();
        assert_eq!(told, ours);
    }
}
