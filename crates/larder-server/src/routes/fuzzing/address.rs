//! Paths and query strings.

use hyper::header::HeaderValue;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::routes::{
    list, parameters,
    target::{self, Target},
};

/// What a query string says, it still says in the link to the next page.
pub fn query_string(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(pairs) = parameters::decode(text) else { return };
    let link = list::link_to("/v1/things", &pairs, "the+next&one");
    assert!(HeaderValue::try_from(&link).is_ok(), "{link}");
    let query = link.strip_prefix("</v1/things?").and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
    let query = query.unwrap_or_else(|| panic!("{link}"));
    let mut expected: Vec<_> =
        pairs.iter().filter(|(name, _)| name != "after" && name != "offset").cloned().collect();
    expected.push(("after".to_owned(), "the+next&one".to_owned()));
    if let Ok(again) = parameters::decode(query) {
        assert_eq!(again, expected);
    }
}

/// A path is put together again from what it means, and a name survives the way through a path.
pub fn target(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    for is_post in [false, true] {
        let again = match Target::of(path, is_post) {
            Target::Item { collection, id } => format!("/v1/{collection}/{id}"),
            Target::Collection(collection) => format!("/v1/{collection}"),
            Target::Bulk(collection) => format!("/v1/{collection}/bulk"),
            Target::Search(collection) => format!("/v1/{collection}/_search"),
            Target::Query { collection: Some(collection), name } => format!("/v1/{collection}/_q/{name}"),
            Target::Query { collection: None, name } => format!("/v1/_q/{name}"),
            Target::Explain { collection, id } => format!("/v1/_explain/{collection}/{id}"),
            Target::Purge => "/v1/_purge".to_owned(),
            Target::Own(path) => path.to_owned(),
        };
        assert_eq!(again, path);
    }
    let segment = utf8_percent_encode(path, NON_ALPHANUMERIC).to_string();
    assert_eq!(target::decode("name", &segment).ok().as_deref(), Some(path));
    let item = format!("/v1/things/{segment}");
    if !segment.is_empty() {
        assert_eq!(Target::of(&item, false), Target::Item { collection: "things", id: &segment });
    }
}
