//! Problem: what a request that was not done is told, as RFC 9457 has it.
//!
//! Programs look at `code`, which stays what it is; people read `detail`. The codes are one list, which `docs/http.md`
//! tells and a test compares with it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

/// A kind of problem.
pub(crate) struct Code {
    pub(crate) name: &'static str,
    pub(crate) status: StatusCode,
    /// What it means, for the list in the documents.
    #[cfg_attr(not(test), expect(dead_code, reason = "the documents are compared with it"))]
    pub(crate) meaning: &'static str,
}

macro_rules! codes {
    ($($constant:ident $status:ident $name:literal $meaning:literal;)*) => {
        $(pub(crate) static $constant: Code =
            Code { name: $name, status: StatusCode::$status, meaning: $meaning };)*
        /// All of them, by status.
        #[cfg(test)]
        pub(crate) static ALL: &[&Code] = &[$(&$constant),*];
    };
}

codes! {
    BAD_KEY BAD_REQUEST "bad_key" "The key is empty, too long, or not percent-encoded right.";
    BAD_PARAMETER BAD_REQUEST "bad_parameter" "A parameter of the query is unknown, given twice, or not of its form.";
    BAD_HEADER BAD_REQUEST "bad_header" "A header is not of its form: an entity tag without quotes, no `Host`.";
    BAD_BODY BAD_REQUEST "bad_body" "The body broke off, or is not what the route reads; `detail` says where.";
    INVALID BAD_REQUEST "invalid" "The database cannot take this.";
    UNAUTHORIZED UNAUTHORIZED "unauthorized" "Who asks has not shown who it is.";
    FORBIDDEN FORBIDDEN "forbidden" "The user may not do this, or not with this key.";
    BACKUPS_OFF FORBIDDEN "backups_off" "There is no directory for backups: `--backup-dir`.";
    FORBIDDEN_HOST FORBIDDEN "forbidden_host" "The `Host` is none of this server's names; `--http-host` adds one.";
    FORBIDDEN_ORIGIN FORBIDDEN "forbidden_origin" "A page of another site has the browser ask.";
    KEY_NOT_FOUND NOT_FOUND "key_not_found" "The key has no value.";
    ROUTE_NOT_FOUND NOT_FOUND "route_not_found" "There is nothing under this path.";
    METHOD_NOT_ALLOWED METHOD_NOT_ALLOWED "method_not_allowed" "The path is not asked so; `Allow` says how.";
    TOO_SLOW REQUEST_TIMEOUT "too_slow" "The body did not come in time.";
    IN_PROGRESS CONFLICT "in_progress" "Upkeep of this kind is under way; one is done at a time.";
    GONE GONE "gone" "Changes that far back are not kept any more; `oldest` is the first that is.";
    LENGTH_REQUIRED LENGTH_REQUIRED "length_required" "A body is needed, with `Content-Length` or in chunks.";
    PRECONDITION_FAILED PRECONDITION_FAILED "precondition_failed" "A condition does not hold; nothing was written.";
    TOO_LARGE PAYLOAD_TOO_LARGE "too_large" "The body, or what it asks for, is more than can be taken at a time.";
    BROKEN INTERNAL_SERVER_ERROR "broken" "The disk fails, or holds what was not written there.";
    BUSY SERVICE_UNAVAILABLE "busy" "Not now; `Retry-After` says when.";
    STOPPED SERVICE_UNAVAILABLE "stopped" "Writing has stopped until the database is opened again; reads go on.";
    CLOSED SERVICE_UNAVAILABLE "closed" "The server is ending.";
    DISK_FULL INSUFFICIENT_STORAGE "disk_full" "The disk is full: nothing was written, reads and deletes go on.";
}

/// One request's problem.
pub(crate) struct Problem {
    code: &'static Code,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    members: Map<String, Value>,
}

impl Problem {
    pub(crate) fn new(code: &'static Code, detail: impl Into<String>) -> Problem {
        Problem { code, detail: detail.into(), headers: Vec::new(), members: Map::new() }
    }

    /// The same with a header of the reply.
    pub(crate) fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Problem {
        if let Ok(value) = value.try_into() {
            self.headers.push((name, value));
        }
        self
    }

    /// The same with a member of its own.
    pub(crate) fn member(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.members.insert(name.to_string(), value.into());
        self
    }
}

impl From<cairndb::Error> for Problem {
    fn from(error: cairndb::Error) -> Problem {
        use cairndb::Error;
        let told = error.to_string();
        match error {
            Error::DiskFull { .. } => Problem::new(&DISK_FULL, told),
            Error::Busy { .. } => Problem::new(&BUSY, told).header(RETRY_AFTER, "1"),
            Error::Stopped { .. } | Error::ReadOnly => Problem::new(&STOPPED, told),
            Error::Closed => Problem::new(&CLOSED, told),
            Error::Invalid { .. } => Problem::new(&INVALID, told),
            _ => Problem::new(&BROKEN, told),
        }
    }
}

impl From<Arc<cairndb::Error>> for Problem {
    fn from(error: Arc<cairndb::Error>) -> Problem {
        Problem::from((*error).clone())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem { code, detail, headers, mut members } = self;
        // Without a type of its own a problem's title is its status's phrase (RFC 9457, 4.2.1).
        members.insert("title".into(), code.status.canonical_reason().unwrap_or_default().into());
        members.insert("status".into(), code.status.as_u16().into());
        members.insert("code".into(), code.name.into());
        members.insert("detail".into(), detail.into());
        let mut response = Response::new(Body::from(Value::Object(members).to_string()));
        *response.status_mut() = code.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers_mut().extend(headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_list_every_code() {
        let page = include_str!("../../../../docs/http.md");
        let told =
            page.split("| status | code | meaning |\n|---|---|---|\n").nth(1).expect("the list is there");
        let told: Vec<&str> = told.lines().take_while(|line| line.starts_with('|')).collect();
        let ours: Vec<String> = ALL
            .iter()
            .map(|code| format!("| {} | `{}` | {} |", code.status.as_u16(), code.name, code.meaning))
            .collect();
        assert_eq!(told, ours, "docs/http.md, Problems; it should be:\n{}", ours.join("\n"));
    }
    #[test]
    fn errors_of_the_engine_have_codes() {
        use cairndb::Error;
        let what = String::from("why");
        let full = Error::DiskFull { what: what.clone() };
        let broken = Error::Corrupt { file: what.clone(), offset: 7, what: what.clone() };
        for (error, status, code) in [
            (full.clone(), 507, "disk_full"),
            (Error::Busy { what: what.clone() }, 503, "busy"),
            (Error::Stopped { cause: Arc::new(full) }, 503, "stopped"),
            (Error::Closed, 503, "closed"),
            (Error::Invalid { what }, 400, "invalid"),
            (broken, 500, "broken"),
        ] {
            let problem = Problem::from(error);
            assert_eq!((problem.code.status.as_u16(), problem.code.name), (status, code));
            let retry = problem.into_response().headers().contains_key(RETRY_AFTER);
            assert_eq!(retry, code == "busy");
        }
    }
}
