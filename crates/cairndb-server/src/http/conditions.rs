//! Conditions: entity tags, and what a request makes them a condition of (RFC 9110, 13).
//!
//! A value's tag is the sequence number of the write that put it there: it never comes back, so a tag that still matches
//! says that nobody has written since.

use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use cairndb::SeqNo;

use super::problem::{BAD_HEADER, Problem};
use crate::store::Revision;

/// `If-Match` and `If-None-Match`.
pub(crate) struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

/// What a header lists.
enum Tags {
    /// `*`: any value there is.
    Any,
    /// The numbers of the tags that could be ours, and whether they were given as strong ones.
    These(Vec<(SeqNo, bool)>),
}

impl Conditions {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Conditions, Problem> {
        Ok(Conditions { if_match: tags(headers, &IF_MATCH)?, if_none_match: tags(headers, &IF_NONE_MATCH)? })
    }

    /// Whether a value with this revision, or none, is what `If-Match` asks for.
    pub(crate) fn matches(&self, current: Option<&Revision>) -> bool {
        self.if_match.as_ref().is_none_or(|tags| tags.have(current, true))
    }

    /// Whether `If-None-Match` rules it out.
    pub(crate) fn rules_out(&self, current: Option<&Revision>) -> bool {
        self.if_none_match.as_ref().is_some_and(|tags| tags.have(current, false))
    }

    /// Whether a write may replace it.
    pub(crate) fn allow(&self, current: Option<&Revision>) -> bool {
        self.matches(current) && !self.rules_out(current)
    }
}

impl Tags {
    fn have(&self, current: Option<&Revision>, strongly: bool) -> bool {
        match (self, current) {
            (_, None) => false,
            (Tags::Any, Some(_)) => true,
            // What has not settled has a number that nobody can have been told.
            (Tags::These(_), Some(Revision::Staged(..))) => false,
            (Tags::These(tags), Some(Revision::Written(seq))) => {
                tags.iter().any(|(tag, strong)| tag == seq && (*strong || !strongly))
            }
        }
    }
}

/// The tag of the value that the write with this number put there.
pub(crate) fn etag(seq: SeqNo) -> HeaderValue {
    HeaderValue::try_from(format!("\"{seq}\"")).expect("digits are a header's value")
}

/// The sequence number that a tag spells, if it is one of ours.
pub(crate) fn seq_of(opaque: &[u8]) -> Option<SeqNo> {
    let text = std::str::from_utf8(opaque).ok()?;
    text.parse().ok().filter(|seq: &SeqNo| seq.to_string() == text)
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    if !headers.contains_key(name) {
        return Ok(None);
    }
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let refused = || {
        let detail = format!("{name} must be * or a list of entity tags in quotes");
        Problem::new(&BAD_HEADER, detail).member("header", name.as_str())
    };
    tags_of(&lines.join(&b","[..])).map(Some).ok_or_else(refused)
}

fn tags_of(list: &[u8]) -> Option<Tags> {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return Some(Tags::Any);
    }
    let mut tags = Vec::new();
    let mut count = 0;
    loop {
        // Empty places in a list are passed over.
        while let [b',' | b' ' | b'\t', tail @ ..] = rest {
            rest = tail;
        }
        if rest.is_empty() {
            return (count > 0).then_some(Tags::These(tags));
        }
        let (strong, quoted) = match rest.strip_prefix(b"W/") {
            Some(quoted) => (false, quoted),
            None => (true, rest),
        };
        let opaque = quoted.strip_prefix(b"\"")?;
        let end = opaque.iter().position(|&byte| byte == b'"')?;
        tags.extend(seq_of(&opaque[..end]).map(|seq| (seq, strong)));
        count += 1;
        rest = opaque[end + 1..].trim_ascii_start();
        if !matches!(rest, [] | [b',', ..]) {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(pairs: &[(HeaderName, &'static str)]) -> Result<Conditions, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        Conditions::of(&headers)
    }

    fn allows(name: HeaderName, value: &'static str, current: Option<SeqNo>) -> bool {
        let conditions = conditions(&[(name, value)]).unwrap_or_else(|_| panic!("{value} is well formed"));
        conditions.allow(current.map(Revision::Written).as_ref())
    }

    #[test]
    fn tags_match_as_the_rfc_has_it() {
        for (value, current, allowed) in [
            ("\"7\"", Some(7), true),
            ("\"7\"", Some(8), false),
            ("\"7\"", None, false),
            ("*", Some(8), true),
            ("*", None, false),
            ("\"x,\" , \"7\"", Some(7), true),
            (",, \"6\",\"7\" ,", Some(7), true),
            ("W/\"7\"", Some(7), false),
            ("\"07\"", Some(7), false),
            ("\"+7\"", Some(7), false),
        ] {
            assert_eq!(allows(IF_MATCH, value, current), allowed, "If-Match: {value} of {current:?}");
        }
        for (value, current, allowed) in [
            ("*", None, true),
            ("*", Some(7), false),
            ("\"7\"", Some(7), false),
            ("W/\"7\"", Some(7), false),
            ("\"7\"", Some(8), true),
        ] {
            assert_eq!(
                allows(IF_NONE_MATCH, value, current),
                allowed,
                "If-None-Match: {value} of {current:?}"
            );
        }
    }

    #[test]
    fn what_has_not_settled_has_no_tag() {
        let staged = Revision::Staged(std::sync::Arc::default(), 7);
        let both = |name, value| conditions(&[(name, value)]).map(|c| c.allow(Some(&staged)));
        assert!(matches!(both(IF_MATCH, "\"7\""), Ok(false)));
        assert!(matches!(both(IF_MATCH, "*"), Ok(true)));
        assert!(matches!(both(IF_NONE_MATCH, "\"7\""), Ok(true)));
        assert!(matches!(both(IF_NONE_MATCH, "*"), Ok(false)));
    }

    #[test]
    fn a_list_may_stand_on_several_lines() {
        let conditions = conditions(&[(IF_MATCH, "\"1\""), (IF_MATCH, "\"2\"")]);
        let conditions = conditions.unwrap_or_else(|_| panic!("they are well formed"));
        assert!(
            conditions.allow(Some(&Revision::Written(1))) && conditions.allow(Some(&Revision::Written(2)))
        );
    }

    #[test]
    fn nonsense_is_no_condition() {
        for wrong in ["7", "\"7", "\"7\" \"8\"", "", " ", ",", "w/\"7\"", "*, \"7\"", "\"7\"x"] {
            assert!(conditions(&[(IF_MATCH, wrong)]).is_err(), "{wrong}");
        }
    }
}
