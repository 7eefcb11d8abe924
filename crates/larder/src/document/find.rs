//! What a find asks for besides its filter: order, page and projection.

use bson::{Bson, RawDocument, RawDocumentBuf};

use crate::{
    Result,
    document::{
        Filter,
        path::{Path, sort_value},
        raw::Malformed,
    },
};

/// Sort direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// One sort key. `_id` ascending is always the last, so that every order is total.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SortKey {
    /// Dotted path.
    pub path: String,
    /// Direction.
    pub direction: Direction,
}

/// Where a page ended: the sort values of its last document, `_id` last. An absent sort field counts as null.
#[derive(Clone, Debug, PartialEq)]
pub struct Position(pub Vec<Bson>);

/// A bounded, ordered read of several documents.
#[derive(Clone, Debug, PartialEq)]
pub struct Find {
    /// Which documents.
    pub filter: Filter,
    /// In which order; empty means by `_id`.
    pub sort: Vec<SortKey>,
    /// Continue behind this position.
    pub after: Option<Position>,
    /// Skip this many documents; for small numbers only, a cursor is what scales.
    pub offset: u64,
    /// At most this many documents.
    pub limit: u32,
    /// Only these paths, and `_id`; `None` for whole documents.
    pub fields: Option<Vec<String>>,
}

impl Find {
    /// The first `limit` documents that match, by `_id`.
    pub fn new(filter: Filter, limit: u32) -> Self {
        Self { filter, sort: Vec::new(), after: None, offset: 0, limit, fields: None }
    }
}

/// One page of a find.
#[derive(Clone, Debug)]
pub struct Page {
    /// The documents, in order.
    pub items: Vec<RawDocumentBuf>,
    /// Where the next page begins; `None` on the last page.
    pub next: Option<Position>,
}

/// The full order of a find: its sort keys up to `_id`, which ends every order because it is unique. A path that comes
/// again decides nothing, and MongoDB could not be told of it.
pub(crate) fn order_of(sort: &[SortKey]) -> Vec<SortKey> {
    let mut keys: Vec<SortKey> = Vec::with_capacity(sort.len() + 1);
    for key in sort {
        if keys.iter().any(|earlier| earlier.path == key.path) {
            continue;
        }
        keys.push(key.clone());
        if key.path == "_id" {
            return keys;
        }
    }
    keys.push(SortKey { path: "_id".to_owned(), direction: Direction::Ascending });
    keys
}

/// Where `document` stands in the full order of `sort`: one value for each key of [`order_of`].
pub(crate) fn position_of(sort: &[SortKey], document: &RawDocument) -> Result<Position> {
    let value_of = |key: &SortKey| {
        let found = sort_value(document.as_bytes(), &Path::new(&key.path), key.direction)?;
        found.value.map_or(Ok(Bson::Null), |value| value.to_bson())
    };
    Ok(Position(order_of(sort).iter().map(value_of).collect::<Result<_, Malformed>>()?))
}
