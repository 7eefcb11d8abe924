//! What a find asks for besides its filter: order, page and projection.

use bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};

use crate::{
    Error, ErrorKind, Result,
    document::{
        Filter,
        path::{Path, sort_value},
        project::Projection,
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

impl Position {
    /// As a BSON document, with the values under `p`.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` if a value is not one that BSON can hold.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        bson::serialize_to_vec(&doc! { "p": Bson::Array(self.0.clone()) }).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the position cannot be written as BSON").with_source(error)
        })
    }

    /// `None` if the bytes are something else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut document: Document = bson::deserialize_from_slice(bytes).ok()?;
        match document.remove("p") {
            Some(Bson::Array(values)) => Some(Self(values)),
            _ => None,
        }
    }
}

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
    /// At most this many documents, and about [`MAX_PAGE_BYTES`] of them.
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

/// A page ends once its documents have this many bytes, whatever its limit; the next page goes on behind it.
pub const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;

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

/// The full order of a find, so that two that are the same give the same bytes.
pub(crate) fn write_order(sort: &[SortKey], out: &mut Vec<u8>) {
    for key in order_of(sort) {
        out.push(u8::from(key.direction == Direction::Descending));
        out.extend_from_slice(key.path.as_bytes());
        out.push(0);
    }
}

/// With its length, so that no two queries run together into the same bytes.
pub(super) fn write_part(part: &[u8], out: &mut impl FnMut(&[u8])) {
    out(&(part.len() as u64).to_be_bytes());
    out(part);
}

/// Where `document` stands in the full order of `sort`: one value for each key of [`order_of`].
pub(crate) fn position_of(sort: &[SortKey], document: &RawDocument) -> Result<Position> {
    let value_of = |key: &SortKey| {
        let found = sort_value(document.as_bytes(), &Path::new(&key.path), key.direction)?;
        found.value.map_or(Ok(Bson::Null), |value| value.to_bson())
    };
    Ok(Position(order_of(sort).iter().map(value_of).collect::<Result<_, Malformed>>()?))
}

/// A page in the making, fed with documents in order, one more than fits to know whether there is a next page.
#[derive(Debug)]
pub(crate) struct Filling<'a> {
    find: &'a Find,
    items: Vec<RawDocumentBuf>,
    bytes: usize,
    more: bool,
}

impl<'a> Filling<'a> {
    pub(crate) fn new(find: &'a Find) -> Self {
        Self { find, items: Vec::new(), bytes: 0, more: false }
    }

    /// Takes the next document, if it still fits. Answers whether the page wants another.
    pub(crate) fn take(&mut self, document: RawDocumentBuf) -> bool {
        self.more = self.items.len() == self.find.limit as usize || self.bytes >= MAX_PAGE_BYTES;
        if !self.more {
            self.bytes += document.as_bytes().len();
            self.items.push(document);
        }
        !self.more
    }

    /// The page, with its position, and projected.
    pub(crate) fn finish(mut self) -> Result<Page> {
        let last = self.items.last().filter(|_| self.more);
        let next = last.map(|last| position_of(&self.find.sort, last)).transpose()?;
        if let Some(fields) = &self.find.fields {
            let projection = Projection::new(fields);
            for item in &mut self.items {
                *item = projection.apply(item)?;
            }
        }
        Ok(Page { items: self.items, next })
    }
}
