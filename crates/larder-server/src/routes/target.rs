//! What a path means. Read by hand, straight from the path: the hit path allocates nothing here.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::{routes::Refusal, telemetry::Route};

/// The thing that a path names. Names are still percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// `/v1/{collection}/{id}`
    Item { collection: &'a str, id: &'a str },
    /// `/v1/{collection}`
    Collection(&'a str),
    /// `/v1/{collection}/bulk`, for POST only: with GET it is the document whose id is "bulk".
    Bulk(&'a str),
    /// `/v1/{collection}/_search`, for POST only, as with "bulk".
    Search(&'a str),
    /// `/v1/{collection}/_q/{name}`, or `/v1/_q/{name}` when one collection alone has a query of that name.
    Query { collection: Option<&'a str>, name: &'a str },
    /// `/v1/_explain/{collection}/{id}`
    Explain { collection: &'a str, id: &'a str },
    /// `/v1/_purge`
    Purge,
    /// A page of the server itself.
    Own(&'a str),
}

/// What a POST below a collection is for. With other methods they are documents' ids.
const BULK: &str = "bulk";
const SEARCH: &str = "_search";

impl<'a> Target<'a> {
    /// Reads a path.
    pub(crate) fn of(path: &'a str, is_post: bool) -> Self {
        let Some(rest) = path.strip_prefix("/v1/") else { return Self::Own(path) };
        let (first, below) = rest.split_once('/').unwrap_or((rest, ""));
        if first.starts_with('_') {
            return match (first, below.split_once('/')) {
                ("_q", None) if !below.is_empty() => Self::Query { collection: None, name: below },
                ("_purge", None) if rest == "_purge" => Self::Purge,
                ("_explain", Some((collection, id))) if !id.is_empty() => Self::Explain { collection, id },
                _ => Self::Own(path),
            };
        }
        match below.split_once('/') {
            _ if first.is_empty() => Self::Own(path),
            None if below.is_empty() && rest.len() > first.len() => Self::Own(path),
            None if below.is_empty() => Self::Collection(first),
            None if is_post && below == BULK => Self::Bulk(first),
            None if is_post && below == SEARCH => Self::Search(first),
            None => Self::Item { collection: first, id: below },
            Some(("_q", name)) if !name.is_empty() && !name.contains('/') => {
                Self::Query { collection: Some(first), name }
            }
            Some(_) => Self::Own(path),
        }
    }

    /// The methods that are served there.
    pub(crate) fn allow(self) -> &'static str {
        match self {
            Self::Item { id: BULK | SEARCH, .. } => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
            Self::Item { .. } => "GET, HEAD, PUT, PATCH, DELETE, OPTIONS",
            Self::Collection(_) => "GET, HEAD, POST, QUERY, OPTIONS",
            Self::Bulk(_) | Self::Search(_) | Self::Purge => "POST, OPTIONS",
            Self::Query { .. } | Self::Explain { .. } | Self::Own(_) => "GET, HEAD, OPTIONS",
        }
    }

    /// What it counts as.
    pub(crate) fn route(self, method: &hyper::Method) -> Route {
        match (self, method.as_str()) {
            (Self::Item { .. }, "PUT") => Route::Replace,
            (Self::Item { .. }, "PATCH") => Route::Patch,
            (Self::Item { .. }, "DELETE") => Route::Delete,
            (Self::Item { .. }, _) => Route::Read,
            (Self::Collection(_), "POST") => Route::Create,
            (Self::Collection(_) | Self::Search(_), _) => Route::List,
            (Self::Bulk(_), _) => Route::Bulk,
            (Self::Query { .. }, _) => Route::Query,
            (Self::Explain { .. } | Self::Purge | Self::Own(_), _) => Route::Own,
        }
    }
}

/// A path segment as text. Borrowed unless something was escaped.
///
/// # Errors
/// 400 if it is not UTF-8.
pub(crate) fn decode<'a>(field: &str, segment: &'a str) -> Result<Cow<'a, str>, Refusal> {
    percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| Refusal::invalid(field, "must be UTF-8, percent-encoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_mean_what_the_documentation_says() {
        let item = |collection, id| Target::Item { collection, id };
        for (path, expected) in [
            ("/v1/products", Target::Collection("products")),
            ("/v1/products/7", item("products", "7")),
            ("/v1/products/a%2Fb", item("products", "a%2Fb")),
            ("/v1/products/bulk", item("products", "bulk")),
            ("/v1/products/_search", item("products", "_search")),
            ("/v1/products/_q/top", Target::Query { collection: Some("products"), name: "top" }),
            ("/v1/_q/top", Target::Query { collection: None, name: "top" }),
            ("/v1/_explain/products/7", Target::Explain { collection: "products", id: "7" }),
            ("/v1/_purge", Target::Purge),
            ("/v1/_purge/", Target::Own("/v1/_purge/")),
            ("/v1/_stats", Target::Own("/v1/_stats")),
            ("/v1/", Target::Own("/v1/")),
            ("/v1/products/", Target::Own("/v1/products/")),
            ("/v1/products/7/8", Target::Own("/v1/products/7/8")),
            ("/v1//7", Target::Own("/v1//7")),
            ("/v1/_q/", Target::Own("/v1/_q/")),
            ("/", Target::Own("/")),
        ] {
            assert_eq!(Target::of(path, false), expected, "{path}");
        }
        assert_eq!(Target::of("/v1/products/bulk", true), Target::Bulk("products"));
        assert_eq!(Target::of("/v1/products/_search", true), Target::Search("products"));
    }
}
