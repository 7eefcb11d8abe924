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
    headers.get_all(IF_NONE_MATCH).iter().any(|value| is_listed(value, tag))
}

/// The weak comparison that `If-None-Match` asks for, without allocating.
fn is_listed(value: &HeaderValue, tag: &str) -> bool {
    let (value, tag) = (value.as_bytes(), tag.as_bytes());
    if value == tag {
        return true;
    }
    let (mut stars, mut tags, mut found) = (0, 0, false);
    for item in Items(value) {
        match item {
            Ok(b"*") => stars += 1,
            Ok(item) => {
                tags += 1;
                found |= item.strip_prefix(b"W/").unwrap_or(item) == tag;
            }
            Err(Unreadable) => return false,
        }
    }
    found && stars == 0 || stars == 1 && tags == 0
}

/// The elements of a list of entity tags (RFC 9110, sections 5.6.1 and 8.8.3): `*`, or a quoted tag with or without `W/`. A
/// comma may stand inside of the quotes. Empty elements are left out. Ends with the first element that is no tag.
struct Items<'a>(&'a [u8]);

/// It is no entity tag.
#[derive(Debug)]
struct Unreadable;

impl<'a> Iterator for Items<'a> {
    type Item = Result<&'a [u8], Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        let begin = self.0.iter().position(|byte| !matches!(byte, b',' | b' ' | b'\t'))?;
        let text = &self.0[begin..];
        let Some((item, rest)) = item_length(text).map(|length| text.split_at(length)) else {
            self.0 = &[];
            return Some(Err(Unreadable));
        };
        self.0 = rest.trim_ascii_start();
        if !self.0.is_empty() && self.0[0] != b',' {
            self.0 = &[];
            return Some(Err(Unreadable));
        }
        Some(Ok(item))
    }
}

/// How long the tag is with which this text begins.
fn item_length(text: &[u8]) -> Option<usize> {
    if text.starts_with(b"*") {
        return Some(1);
    }
    let inner = text.strip_prefix(b"W/").unwrap_or(text).strip_prefix(b"\"")?;
    let end = inner.iter().position(|byte| *byte == b'"')?;
    let is_tag = inner[..end].iter().all(|byte| matches!(byte, 0x21..=0x7e | 0x80..));
    is_tag.then_some(text.len() - inner.len() + end + 1)
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
    if !headers.contains_key(name) {
        return Ok(None);
    }
    let (mut tags, mut stars) = (Vec::new(), 0);
    for item in headers.get_all(name).iter().flat_map(|value| Items(value.as_bytes())) {
        match item.map_err(|Unreadable| wrong())? {
            b"*" => stars += 1,
            // One that is no UTF-8 is none of ours.
            item => tags.push(String::from_utf8_lossy(item).into_owned()),
        }
    }
    match (stars, tags.is_empty()) {
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
        for value in ["\"a\"", "W/\"a\"", "\"b\" , \"a\"", "*", "\"b,c\",\"a\"", ", ,\"a\",,", " * "] {
            assert!(is_unchanged(&headers(IF_NONE_MATCH, value), "\"a\""), "{value}");
        }
        for value in ["\"b\"", "a", "", "\"b,\"a\"", "\"b\" \"a\"", "\"a\", b", "\"b\", *", "\"b\"x, \"a\""] {
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
        for wrong in
            ["a", "\"a", "\"a\", *", "\"", "*, *", "", ",", "\"a\"b\"", "\"a\" \"b\"", "\"a b\"", "w/\"a\""]
        {
            assert!(if_match(&headers(IF_MATCH, wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_comma_inside_of_a_tag_separates_nothing() {
        let listed = |value: &str| match if_match(&headers(IF_MATCH, value)).unwrap().unwrap() {
            Tags::List(tags) => tags,
            Tags::Any => panic!("{value} is no star"),
        };
        assert_eq!(listed("\"a,b\""), ["\"a,b\""]);
        assert_eq!(listed(" ,\"a,b\", W/\",\" ,, \"c\\\","), ["\"a,b\"", "W/\",\"", "\"c\\\""]);
        assert_eq!(listed("\"\""), ["\"\""], "an empty tag is one");
        assert!(is_unchanged(&headers(IF_NONE_MATCH, "\"x\", W/\"a,b\""), "\"a,b\""));
        assert!(!is_unchanged(&headers(IF_NONE_MATCH, "\"x,\"a\",y\""), "\"a\""));
        let mut lines = headers(IF_NONE_MATCH, "\"x\"");
        lines.append(IF_NONE_MATCH, HeaderValue::from_static("\"a\""));
        assert!(is_unchanged(&lines, "\"a\""), "several lines are one list");
    }

    #[test]
    fn only_a_star_makes_a_put_conditional_on_absence() {
        assert!(must_be_new(&headers(IF_NONE_MATCH, "*")).unwrap());
        assert!(must_be_new(&headers(IF_NONE_MATCH, "\"a\"")).is_err());
        assert!(!must_be_new(&HeaderMap::new()).unwrap());
    }
}
