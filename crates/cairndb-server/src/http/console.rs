//! Console: the page at `/`, which shows what the server does, and its keys.
//!
//! One page, whole in itself: what it runs and how it looks is allowed by hash, and nothing else is, from wherever it may
//! come. It holds nothing of the data: it asks the other routes for that, with the password that its user gives it.

use std::sync::LazyLock;

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("console.html");

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

pub(super) async fn page() -> Response {
    static POLICY: LazyLock<String> = LazyLock::new(policy);
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (REFERRER_POLICY, "no-referrer"),
        (OPENER_POLICY, "same-origin"),
    ];
    (headers, PAGE).into_response()
}

/// What a browser may do for the page.
fn policy() -> String {
    let (style, script) = (hash_of("style"), hash_of("script"));
    format!(
        "default-src 'none'; style-src {style}; script-src {script}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    )
}

/// The hash of what stands within the page's one element of this name.
fn hash_of(element: &str) -> String {
    let within = PAGE
        .split_once(&format!("<{element}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{element}>")));
    let (within, _) = within.expect("the page has one");
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(within)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_in_itself() {
        assert_eq!(PAGE.matches("<script").count(), 1);
        assert_eq!(PAGE.matches("<style").count(), 1);
        // A browser would do neither: what is in line is not among what the policy allows.
        assert!(!PAGE.contains(" style=\"") && !PAGE.contains(" onclick"));
        let others =
            PAGE.match_indices("://").map(|(at, _)| &PAGE[at.saturating_sub(5)..(at + 20).min(PAGE.len())]);
        let others: Vec<_> = others.filter(|place| !place.contains("www.w3.org")).collect();
        assert!(others.is_empty(), "it names other places: {others:?}");
        assert!(policy().contains("script-src 'sha256-") && !policy().contains("unsafe"));
    }
}
