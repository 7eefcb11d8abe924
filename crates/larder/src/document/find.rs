//! What a find asks for besides its filter: order, page and projection.

use bson::{Bson, RawDocumentBuf};

use crate::document::Filter;

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
