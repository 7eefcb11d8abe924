//! Purging by pattern: every key whose text matches a glob, found by bounded steps on each primary.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::Hash,
    sync::Arc,
};

use futures_util::future::join_all;

use crate::{
    Error, ErrorKind, Result,
    cache::{
        event::Change,
        inner::Inner,
        invalidate::keys_change,
        shared::{Action, Shared},
        stats::Counter,
    },
    redis::Kind,
};

/// The most bytes a pattern may have.
const MAX_PATTERN_BYTES: usize = 512;

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// First every fill that began before is refused, and every near copy forgotten; then the matching keys are destroyed.
    /// What is filled meanwhile comes from loads that began after.
    pub(crate) async fn invalidate_pattern(self: &Arc<Self>, pattern: &str) -> Result<u64> {
        if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES {
            return Err(Error::invalid("pattern", format!("must have 1 to {MAX_PATTERN_BYTES} bytes")));
        }
        let Some(shared) = &self.shared else {
            return Err(Error::new(
                ErrorKind::Config,
                "patterns are looked up in Redis, which this cache does not have; use a tag, or clear it",
            ));
        };
        let shards: Vec<u16> = (0..self.coherence.shards()).collect();
        let refused = shards.iter().map(|shard| self.act(shared, *shard, Action::RefuseFills, Change::Flush));
        join_all(refused).await.into_iter().collect::<Result<Vec<_>>>()?;
        let mut purged = 0;
        for shards in shared.shards_by_primary() {
            for kind in shared.kinds() {
                purged += self.purge_primary(shared, &shards, kind, pattern).await?;
            }
        }
        for shard in shards {
            self.coherence.forget_shard(shard);
        }
        self.stats.count_many(Counter::Invalidated, purged as usize);
        Ok(purged)
    }

    async fn purge_primary(
        &self,
        shared: &Shared,
        shards: &[u16],
        kind: &Kind,
        pattern: &str,
    ) -> Result<u64> {
        let Some(first) = shards.first() else { return Ok(0) };
        let (mut cursor, mut purged) = (0, 0);
        loop {
            let (next, texts) = shared.scan(*first, kind, cursor, pattern).await?;
            let mut by_shard: BTreeMap<u16, Vec<String>> = BTreeMap::new();
            // A key and its replica may be found in one step.
            let texts: BTreeSet<String> = texts.into_iter().collect();
            purged += texts.len() as u64;
            for text in texts {
                for shard in shared.shards_of(&text) {
                    by_shard.entry(shard).or_default().push(text.clone());
                }
            }
            for (shard, texts) in by_shard {
                self.act(shared, shard, Action::Unlink(&texts), keys_change(&texts)).await?;
            }
            if next == 0 {
                return Ok(purged);
            }
            cursor = next;
        }
    }
}
