//! What whoever runs a collection wants to know of it.

use crate::{
    cache::{Advice, HotKey},
    document::{Collection, Id},
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
}
