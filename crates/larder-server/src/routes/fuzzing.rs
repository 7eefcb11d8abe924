//! What must hold of paths, query strings and headers.

use hyper::{
    HeaderMap,
    header::{HeaderValue, IF_MATCH, IF_NONE_MATCH},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    conditional::{self, Tags},
    list, parameters,
    purge::order,
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

/// Tags that are understood are understood again when they are written one behind the other, and each matches itself.
pub fn headers(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let one = |name, value: &HeaderValue| HeaderMap::from_iter([(name, value.clone())]);
    let _ = list::wanted_count(&one(list::PREFER.clone(), &value));
    let is_star = conditional::must_be_new(&one(IF_NONE_MATCH, &value));
    match conditional::if_match(&one(IF_MATCH, &value)) {
        Ok(Some(Tags::List(tags))) => {
            let joined = HeaderValue::try_from(tags.join(", ")).expect("tags came from a header");
            let again = conditional::if_match(&one(IF_MATCH, &joined));
            assert_eq!(again.ok().flatten(), Some(Tags::List(tags.clone())));
            for tag in &tags {
                assert!(Tags::List(tags.clone()).contains_strong(tag) || tag.starts_with("W/"));
                let opaque = tag.strip_prefix("W/").unwrap_or(tag);
                assert!(conditional::is_unchanged(&one(IF_NONE_MATCH, &value), opaque), "{tag} in {value:?}");
            }
            assert!(is_star.is_err());
        }
        Ok(Some(Tags::Any)) => {
            assert!(is_star.is_ok_and(|is_star| is_star));
            assert!(conditional::is_unchanged(&one(IF_NONE_MATCH, &value), "\"any\""));
        }
        Ok(None) => panic!("a header that is there was not seen"),
        Err(_) => assert!(is_star.is_err()),
    }
}

/// An order that is understood is understood as the same again when it is written anew, and names what it is about.
pub fn purge(data: &[u8]) {
    let Ok(order) = order::read(data) else { return };
    assert!(!order.collection.is_empty());
    assert!(
        order.all || order.pattern.is_some() || !order.keys.is_empty() || !order.tags.is_empty(),
        "{order:?}"
    );
    let mut members = serde_json::json!({
        "collection": order.collection,
        "keys": order.keys,
        "tags": order.tags,
        "all": order.all,
        "mode": if order.soft { "soft" } else { "hard" },
    });
    if let Some(pattern) = &order.pattern {
        members["pattern"] = pattern.as_str().into();
    }
    let again = order::read(members.to_string().as_bytes());
    assert_eq!(again.ok(), Some(order));
}

/// A path is put together again from what it means, and a name survives the way through a path.
pub fn target(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    for is_post in [false, true] {
        let again = match Target::of(path, is_post) {
            Target::Item { collection, id } => format!("/v1/{collection}/{id}"),
            Target::Collection(collection) => format!("/v1/{collection}"),
            Target::Bulk(collection) => format!("/v1/{collection}/bulk"),
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
