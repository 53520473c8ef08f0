//! Guard: who may ask at all: what every request passes before its route is looked for.
//!
//! A browser sends to this port whatever page its user has open. So a page of another origin is refused (`Origin`,
//! `Sec-Fetch-Site`), and so is a request for a host that is not this server: a page whose name was made to point here
//! (DNS rebinding) is of the same origin as far as the browser can tell, but it gives its own name as `Host`.
//!
//! Passwords stand in `Authorization` alone: a query is kept in logs. Who has shown one is a user as on the Redis side, and may
//! do what the commands do that would do the same there.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, HOST, ORIGIN, TRANSFER_ENCODING, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::problem::{BAD_HEADER, FORBIDDEN, FORBIDDEN_HOST, FORBIDDEN_ORIGIN, Problem, UNAUTHORIZED};
use crate::acl::{DEFAULT, Object, User};
use crate::commands;
use crate::pause::Held;
use crate::server::Server;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What is told without a password: nothing of the data, and what asks often has none; the page asks for one itself.
const OPEN: [&str; 3] = ["/", "/healthz", "/readyz"];

/// The two ends of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) here: SocketAddr,
    pub(crate) there: SocketAddr,
}

/// Who asks.
#[derive(Clone)]
pub(crate) struct Who {
    user: Arc<User>,
    server: Arc<Server>,
    there: SocketAddr,
}

impl Who {
    /// Refuses who may not run the command that these words are on the Redis side.
    pub(crate) fn check(&self, words: &[&[u8]]) -> Result<(), Problem> {
        let command = commands::resolve(words).expect("routes name commands that there are");
        self.user.may(command, words).map_err(|denied| {
            let object = Object::of(&denied);
            self.server.users.denials.add(object, &self.user.name, false, client(self.there));
            let told = denied.reply();
            Problem::new(&FORBIDDEN, told.strip_prefix("NOPERM ").unwrap_or(&told))
        })
    }

    /// Whether the user has not been deleted since. What has become of their rights holds from now on.
    pub(crate) fn is_still_there(&mut self) -> bool {
        let successor = self.server.users.successor(&self.user);
        successor.is_some_and(|user| {
            self.user = user;
            true
        })
    }

    /// Whether the user may read this key; what they may not read, they do not see among others.
    pub(crate) fn may_read(&self, key: &[u8]) -> bool {
        let words = [b"get", key];
        commands::resolve(&words).is_ok_and(|command| self.user.may(command, &words).is_ok())
    }
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Who, Infallible> {
        Ok(parts.extensions.get::<Who>().expect("the guard has seen who it is").clone())
    }
}

/// Lets a request through to its route, or answers it.
pub(super) async fn guard(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let in_chunks = request.headers().contains_key(TRANSFER_ENCODING);
    let mut response = match admit(&server, &request) {
        Ok(who) => {
            while who.is_some() && server.pause.held() == Some(Held::All) {
                server.pause.over().await;
            }
            who.map(|who| request.extensions_mut().insert(who));
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    server.counters.http_request(&method, response.status(), began.elapsed());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if in_chunks {
        // If it had a `Content-Length` too, a proxy may have believed that: then what follows is not its client's.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Who asks; nobody where nobody need be known.
fn admit(server: &Arc<Server>, request: &Request) -> Result<Option<Who>, Problem> {
    let headers = request.headers();
    let host = host(headers)?;
    let ends = *request.extensions().get::<Ends>().expect("a request comes over a connection");
    for name in
        [Some(host), request.uri().authority().map(|authority| authority.as_str())].into_iter().flatten()
    {
        if !is_ours(name, ends.here.ip(), &server.settings().http.hosts) {
            let detail = format!("{name} is not a name of this server; --http-host makes it one");
            return Err(Problem::new(&FORBIDDEN_HOST, detail));
        }
    }
    check_origin(headers, host)?;
    if OPEN.contains(&request.uri().path()) {
        return Ok(None);
    }
    let users = &server.users;
    let user = match credentials(headers)? {
        None => users.of_new_connection(),
        Some((name, password)) => {
            let user = users.authenticate(&name, &password);
            if user.is_none() {
                users.denials.add(Object::Entry("http"), &name, false, client(ends.there));
            }
            user
        }
    };
    let user = user.ok_or_else(unauthorized)?;
    Ok(Some(Who { user, server: server.clone(), there: ends.there }))
}

/// How `ACL LOG` tells of a client that has no line in `CLIENT LIST`.
fn client(there: SocketAddr) -> String {
    format!("addr={there} protocol=http")
}

/// The one `Host` there must be.
fn host(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next().map(|host| host.to_str()), hosts.next()) {
        (Some(Ok(host)), None) => Ok(host),
        _ => Err(Problem::new(&BAD_HEADER, "there must be one Host").member("header", "host")),
    }
}

/// Whether a host, with a port or without, is this server: on this machine, at the address that was connected to, or
/// one of the names it was given.
fn is_ours(host: &str, here: IpAddr, names: &[String]) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    match name.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address == here,
        Err(_) => {
            name.eq_ignore_ascii_case("localhost")
                || names.iter().any(|known| known.eq_ignore_ascii_case(name))
        }
    }
}

/// Refuses what a page of another origin has a browser ask.
fn check_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let refused = |what: &str| Err(Problem::new(&FORBIDDEN_ORIGIN, format!("{what} is another origin")));
    let is_same = |origin: &HeaderValue| {
        let origin = origin.to_str().unwrap_or_default();
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    if let Some(origin) = headers.get_all(ORIGIN).iter().find(|origin| !is_same(origin)) {
        return refused(&format!("Origin: {}", origin.as_bytes().escape_ascii()));
    }
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    match sites.find(|site| !matches!(site.as_bytes(), b"same-origin" | b"none")) {
        Some(site) => refused(&format!("Sec-Fetch-Site: {}", site.as_bytes().escape_ascii())),
        None => Ok(()),
    }
}

/// A user's name and a password.
type Credentials = (Vec<u8>, Vec<u8>);

/// What a request shows, if it shows any. A bearer's token is a password, or a user and one with a colon between.
fn credentials(headers: &HeaderMap) -> Result<Option<Credentials>, Problem> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    value.to_str().ok().and_then(user_and_password).map(Some).ok_or_else(unauthorized)
}

fn user_and_password(value: &str) -> Option<Credentials> {
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    let (user, password) = if scheme.eq_ignore_ascii_case("basic") {
        let decoded = STANDARD.decode(rest).ok()?;
        let colon = decoded.iter().position(|&byte| byte == b':')?;
        (decoded[..colon].to_vec(), decoded[colon + 1..].to_vec())
    } else if scheme.eq_ignore_ascii_case("bearer") {
        let (user, password) = rest.split_once(':').unwrap_or(("", rest));
        (user.into(), password.into())
    } else {
        return None;
    };
    Some((if user.is_empty() { DEFAULT.to_vec() } else { user }, password))
}

fn unauthorized() -> Problem {
    Problem::new(&UNAUTHORIZED, "this needs a user's password, as Authorization: Bearer or Basic")
        .header(WWW_AUTHENTICATE, "Basic realm=\"cairn\", charset=\"UTF-8\"")
        .header(WWW_AUTHENTICATE, "Bearer realm=\"cairn\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_this_machine_or_was_named() {
        let here = IpAddr::from([192, 168, 1, 7]);
        let names = ["Cairn.example".to_string()];
        for ours in [
            "localhost",
            "LOCALHOST:8379",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]:8379",
            "192.168.1.7:8379",
            "cairn.example",
        ] {
            assert!(is_ours(ours, here, &names), "{ours}");
        }
        for foreign in [
            "evil.example",
            "localhost.evil.example",
            "192.168.1.8",
            "127.0.0.1.evil.example",
            "",
            "[::2]",
            "0",
        ] {
            assert!(!is_ours(foreign, here, &names), "{foreign}");
        }
    }

    #[test]
    fn credentials_are_read_in_all_their_forms() {
        let shown = |value: &str| {
            user_and_password(value)
                .map(|(user, password)| (String::from_utf8(user), String::from_utf8(password)))
        };
        let pair = |user: &str, password: &str| Some((Ok(user.to_string()), Ok(password.to_string())));
        assert_eq!(shown("Bearer secret"), pair("default", "secret"));
        assert_eq!(shown("bearer ann:se:cret"), pair("ann", "se:cret"));
        assert_eq!(shown("Basic YW5uOnNlOmNyZXQ="), pair("ann", "se:cret"));
        assert_eq!(shown("Basic OnNlY3JldA=="), pair("default", "secret"));
        for wrong in ["Basic %%%", "Basic YQ==", "Digest x", "secret", ""] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }
}
