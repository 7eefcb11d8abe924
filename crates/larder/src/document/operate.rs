//! What whoever runs a collection wants to know of it.

use std::sync::Arc;

use crate::{
    Result,
    cache::{Advice, Audit, AuditRules, HotKey},
    document::{Collection, Id, StoredDocument},
};

impl Collection {
    /// The documents that this node is asked for most now, the hottest first, at most `limit`; see
    /// [`Cache::hot_keys`](crate::Cache::hot_keys). Reads of declared parts count for their documents.
    pub fn hot_keys(&self, limit: usize) -> Vec<HotKey<Id>> {
        self.cache().hot_keys(limit)
    }

    /// What other settings would change, by what this node has counted; see [`Cache::advise`](crate::Cache::advise). Of whole
    /// documents: declared parts are not looked at.
    pub fn advise(&self) -> Vec<Advice> {
        self.cache().advise()
    }

    /// Audits this node's copies of whole documents, byte for byte, until the handle is dropped; see
    /// [`Cache::audit`](crate::Cache::audit).
    ///
    /// # Errors
    /// As [`Cache::audit`](crate::Cache::audit).
    pub fn audit(&self, rules: &AuditRules) -> Result<Audit> {
        let same =
            |one: &StoredDocument, other: &StoredDocument| one.raw().as_bytes() == other.raw().as_bytes();
        self.cache().audit_by(rules, Arc::new(same))
    }
}
