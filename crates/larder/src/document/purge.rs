//! Forgetting documents that were changed past the collection, for whoever does so by hand. Each of these forgets the lists of
//! the collection as well, if it caches any.

use crate::{
    Result,
    cache::{Manner, Token},
    document::{Collection, Id},
};

impl Collection {
    /// [`invalidate`](Self::invalidate) of several documents: one round trip for each shard they fall into.
    ///
    /// # Errors
    /// As [`invalidate`](Self::invalidate); `ErrorKind::TooLarge` for more than [`MAX_IDS`](crate::document::MAX_IDS) ids.
    pub async fn invalidate_many(&self, ids: &[&Id]) -> Result<Vec<Token>> {
        self.check_ids(ids)?;
        self.purging(self.cache().invalidate_many(ids)).await
    }

    /// Makes what is cached of these documents stale instead of destroying it; see [`Cache::expire`](crate::Cache::expire).
    ///
    /// # Errors
    /// As [`Cache::expire`](crate::Cache::expire); `ErrorKind::TooLarge` for more than [`MAX_IDS`](crate::document::MAX_IDS) ids.
    pub async fn expire(&self, ids: &[&Id]) -> Result<Vec<Token>> {
        self.check_ids(ids)?;
        self.purging(self.cache().expire(ids)).await
    }

    /// Makes every cached document with this tag worthless. Documents have the tags that their fields give
    /// ([`CollectionBuilder::tags`](crate::document::CollectionBuilder::tags)), and those that reads of them gave
    /// ([`ReadOptions::tags`](crate::cache::ReadOptions::tags)). Cost: one round trip for each shard.
    ///
    /// # Errors
    /// As [`Cache::invalidate_tag`](crate::Cache::invalidate_tag).
    pub async fn invalidate_tag(&self, tag: &str) -> Result<Vec<Token>> {
        self.purging(self.cache().invalidate_tag(tag)).await
    }

    /// Destroys every cached document whose id, as text, matches a glob, and returns how many that were.
    ///
    /// # Errors
    /// As [`Cache::invalidate_pattern`](crate::Cache::invalidate_pattern).
    pub async fn invalidate_pattern(&self, pattern: &str) -> Result<u64> {
        self.forget_parts(pattern, Manner::Hard)?;
        self.counting(self.cache().invalidate_pattern(pattern)).await
    }

    /// Makes every cached document whose id, as text, matches a glob stale instead, and returns how many that were: each once,
    /// whatever parts of it are cached, and none that was stale by an earlier purge. `"*"` makes all of them stale.
    ///
    /// # Errors
    /// As [`Cache::expire_pattern`](crate::Cache::expire_pattern).
    pub async fn expire_pattern(&self, pattern: &str) -> Result<u64> {
        self.forget_parts(pattern, Manner::Soft)?;
        self.counting(self.cache().expire_pattern(pattern)).await
    }

    /// Makes every cached document with one of these tags stale instead, and returns how many that were. Looks through all of
    /// them, unlike [`invalidate_tag`](Self::invalidate_tag).
    ///
    /// # Errors
    /// As [`Cache::expire_tags`](crate::Cache::expire_tags).
    pub async fn expire_tags(&self, tags: &[&str]) -> Result<u64> {
        if !tags.is_empty() {
            self.forget_parts("*", Manner::Soft)?;
        }
        self.counting(self.cache().expire_tags(tags)).await
    }

    /// Makes every tier forget every document of the collection, on all nodes.
    ///
    /// # Errors
    /// As [`Cache::clear`](crate::Cache::clear).
    pub async fn clear(&self) -> Result<Vec<Token>> {
        self.purging(self.cache().clear()).await
    }

    /// Whether a read of this document would look at the token; of several tokens, this finds the one to read with.
    pub fn concerns(&self, id: &Id, token: &Token) -> bool {
        self.cache().concerns(id, token)
    }

    /// Purges documents, and the lists that may show them.
    async fn purging(&self, purge: impl Future<Output = Result<Vec<Token>>>) -> Result<Vec<Token>> {
        let (mut tokens, lists) = self.then_clear_lists(Box::pin(purge)).await?;
        tokens.extend(lists?);
        Ok(tokens)
    }

    /// The same for a purge that counts.
    async fn counting(&self, purge: impl Future<Output = Result<u64>>) -> Result<u64> {
        let (count, lists) = self.then_clear_lists(Box::pin(purge)).await?;
        lists.map(|_| count)
    }

    /// Forgets this process's copies of the parts of documents, unless the purge that it is done for would be refused.
    fn forget_parts(&self, pattern: &str, manner: Manner) -> Result<()> {
        self.cache().check_purge(pattern, manner)?;
        self.partials.iter().for_each(|partial| partial.forget_matching(pattern));
        Ok(())
    }
}
