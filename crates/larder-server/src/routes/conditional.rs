//! `If-None-Match` and `If-Match` (RFC 9110, section 13).

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH},
};

use crate::routes::Refusal;

/// The tags of a conditional header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// `*`
    Any,
    /// Quoted tags; weak ones keep their `W/`.
    List(Vec<String>),
}

impl Tags {
    /// Whether a strong tag is among them, as `If-Match` compares: weak tags never match.
    pub(crate) fn contains_strong(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tags.iter().any(|candidate| candidate == tag),
        }
    }
}

/// Whether the client has this state of the document already (`If-None-Match`): the answer is 304 then.
/// Tags that cannot be read do not match, as if the header were not there.
pub(crate) fn is_unchanged(headers: &HeaderMap, tag: &str) -> bool {
    headers.get(IF_NONE_MATCH).is_some_and(|value| is_listed(value, tag))
}

/// The weak comparison that `If-None-Match` asks for, without allocating.
fn is_listed(value: &HeaderValue, tag: &str) -> bool {
    let value = value.as_bytes();
    let tag = tag.as_bytes();
    value == tag
        || value.trim_ascii() == b"*"
        || value.split(|byte| *byte == b',').any(|item| {
            let item = item.trim_ascii();
            item.strip_prefix(b"W/").unwrap_or(item) == tag
        })
}

/// The tags of `If-Match`; `None` when the header is not there.
///
/// # Errors
/// 400 when there is a header that cannot be read: guessing could overwrite somebody's change.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<Tags>, Refusal> {
    read(headers, &IF_MATCH, "If-Match")
}

/// Whether the request is for a new document only (`If-None-Match: *` on a PUT).
///
/// # Errors
/// 400 for any other value, which would mean nothing there.
pub(crate) fn must_be_new(headers: &HeaderMap) -> Result<bool, Refusal> {
    match read(headers, &IF_NONE_MATCH, "If-None-Match")? {
        None => Ok(false),
        Some(Tags::Any) => Ok(true),
        Some(Tags::List(_)) => {
            Err(Refusal::invalid("If-None-Match", "a write can only be made conditional on \"*\""))
        }
    }
}

fn read(headers: &HeaderMap, name: &HeaderName, shown: &str) -> Result<Option<Tags>, Refusal> {
    let wrong = || Refusal::invalid(shown, "must be \"*\" or quoted entity tags joined by commas");
    let mut tags = Vec::new();
    let mut stars = 0;
    for value in headers.get_all(name) {
        for item in value.to_str().map_err(|_| wrong())?.split(',') {
            let item = item.trim();
            let opaque = item.strip_prefix("W/").unwrap_or(item);
            match item {
                "*" => stars += 1,
                _ if opaque.len() >= 2 && opaque.starts_with('"') && opaque.ends_with('"') => {
                    tags.push(item.to_owned())
                }
                _ => return Err(wrong()),
            }
        }
    }
    match (stars, tags.is_empty()) {
        (0, true) => Ok(None),
        (1, true) => Ok(Some(Tags::Any)),
        (0, false) => Ok(Some(Tags::List(tags))),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn if_none_match_compares_weakly() {
        for value in ["\"a\"", "W/\"a\"", "\"b\" , \"a\"", "*"] {
            assert!(is_unchanged(&headers(IF_NONE_MATCH, value), "\"a\""), "{value}");
        }
        for value in ["\"b\"", "a", ""] {
            assert!(!is_unchanged(&headers(IF_NONE_MATCH, value), "\"a\""), "{value}");
        }
        assert!(!is_unchanged(&HeaderMap::new(), "\"a\""));
    }

    #[test]
    fn if_match_compares_strongly_and_refuses_what_it_cannot_read() {
        let tags = if_match(&headers(IF_MATCH, "W/\"a\", \"b\"")).unwrap().unwrap();
        assert!(!tags.contains_strong("\"a\""));
        assert!(tags.contains_strong("\"b\""));
        assert_eq!(if_match(&headers(IF_MATCH, "*")).unwrap(), Some(Tags::Any));
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
        for wrong in ["a", "\"a", "\"a\", *", "\"", "*, *"] {
            assert!(if_match(&headers(IF_MATCH, wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_a_star_makes_a_put_conditional_on_absence() {
        assert!(must_be_new(&headers(IF_NONE_MATCH, "*")).unwrap());
        assert!(must_be_new(&headers(IF_NONE_MATCH, "\"a\"")).is_err());
        assert!(!must_be_new(&HeaderMap::new()).unwrap());
    }
}
