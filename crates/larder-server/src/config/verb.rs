//! What a role may do with a collection.

/// One thing that a role may do with a collection. Named queries are granted one by one, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    /// Read one document by its id.
    Read,
    /// List documents with filters, sorts and pages; count them.
    List,
    /// Create documents, one or in bulk.
    Create,
    /// Put a whole document under an id, new or not.
    Replace,
    /// Change parts of a document.
    Patch,
    /// Delete a document.
    Delete,
    /// Make the cache forget documents.
    Purge,
}

impl Verb {
    /// Every verb, in the order of the documentation.
    pub(crate) const ALL: [Self; 7] =
        [Self::Read, Self::List, Self::Create, Self::Replace, Self::Patch, Self::Delete, Self::Purge];

    /// The name used in configuration and in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Purge => "purge",
        }
    }
}
