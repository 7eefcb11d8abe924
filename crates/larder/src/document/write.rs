//! What a write expects to find, and what it did.

use std::sync::Arc;

use crate::document::{Etag, StoredDocument};

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
}
