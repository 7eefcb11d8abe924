//! What a write expects to find, and what it did.

use std::sync::Arc;

use bson::{Bson, Document, RawDocument, RawDocumentBuf};

use crate::{
    Error, ErrorKind, Result,
    document::{Etag, Filter, Id, StoredDocument},
};

/// The most bytes a document may have as BSON: MongoDB's 16 MiB, less room for what travels with a write.
pub const MAX_DOCUMENT_BYTES: usize = 16 * 1024 * 1024 - 16 * 1024;

/// A condition that the database checks together with the write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is there.
    #[default]
    Any,
    /// A document exists (`If-Match: *`).
    Present,
    /// The document is still in the state that has this tag (`If-Match: "…"`).
    Etag(Etag),
}

/// What a replace, patch or delete did. "Missing" and "changed" are answers, not errors.
#[derive(Clone, Debug)]
pub enum Written {
    /// Done; the document as it is now, or as it was for a delete.
    Done(Arc<StoredDocument>),
    /// There was no such document.
    Missing,
    /// The document is no longer in the expected state; nothing was written.
    Changed,
    /// It would have left a document that its writer may not touch, see [`Collection::within`](super::Collection::within);
    /// nothing was written.
    Outside,
}

/// What a write asks of the document that is there, and of the one that it leaves.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    pub(crate) expect: Expect,
    /// A document that does not match is as good as absent, and none may be left.
    pub(crate) rows: Filter,
}

impl Demand {
    /// Whether the writer may touch this document.
    pub(crate) fn covers(&self, document: &RawDocument) -> Result<bool> {
        self.rows.matches(document)
    }
}

impl From<&Expect> for Demand {
    fn from(expect: &Expect) -> Self {
        Self { expect: expect.clone(), rows: Filter::All }
    }
}

/// That an id is taken, by whatever document.
pub(crate) fn taken() -> Error {
    Error::new(ErrorKind::Conflict, "the id is taken").with_field("_id")
}

pub(crate) fn check_size(bytes: usize) -> Result<()> {
    if bytes > MAX_DOCUMENT_BYTES {
        let message = format!("the document has {bytes} bytes, more than {MAX_DOCUMENT_BYTES}");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(())
}

pub(crate) fn to_raw(document: &Document) -> Result<RawDocumentBuf> {
    RawDocumentBuf::try_from(document).map_err(|error| {
        Error::new(ErrorKind::Invalid, "the document cannot be written as BSON").with_source(error)
    })
}

/// The raw form of `document` with `id` as its first field.
///
/// # Errors
/// `ErrorKind::Invalid` naming `_id` if the document has another one: ids never change.
pub(crate) fn with_id(id: &Id, document: &Document) -> Result<RawDocumentBuf> {
    let own = Bson::from(id);
    if document.iter().next().is_some_and(|(name, value)| name == "_id" && *value == own) {
        return to_raw(document);
    }
    let mut whole = Document::new();
    whole.insert("_id", own);
    for (name, value) in document {
        if name != "_id" {
            whole.insert(name, value.clone());
        } else if id.id_type().read(value)? != *id {
            return Err(Error::invalid("_id", "cannot be changed"));
        }
    }
    to_raw(&whole)
}
