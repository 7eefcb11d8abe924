//! Purging by pattern: every key whose text matches a glob, found by bounded steps on each primary.

mod shared;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::sleep;

use self::shared::Ground;
use crate::{
    Error, ErrorKind, Result,
    cache::{
        event::Change,
        inner::Inner,
        invalidate::keys_change,
        shared::{Action, Shared},
        stats::Counter,
    },
};

/// The most bytes a pattern may have.
const MAX_PATTERN_BYTES: usize = 512;
/// How often shards that were on the move are gone through, and the first and the longest pause before that is done again: some
/// four seconds in all.
const ROUNDS: usize = 20;
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// First every fill that began before is refused, and every near copy forgotten; then the matching keys are destroyed.
    /// What is filled meanwhile comes from loads that began after. In the end every near copy is forgotten again: one may
    /// have been made of a value that was evicted before it was found.
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
        self.refuse_fills(shared).await?;
        let purged = self.purge_shards(shared, pattern).await?;
        self.refuse_fills(shared).await?;
        self.stats.count_many(Counter::Invalidated, purged as usize);
        Ok(purged)
    }

    async fn refuse_fills(&self, shared: &Shared) -> Result<()> {
        let shards = 0..self.coherence.shards();
        let refused = shards.map(|shard| self.act(shared, shard, Action::RefuseFills, Change::Flush));
        join_all(refused).await.into_iter().try_for_each(|done| done.map(drop))
    }

    /// Goes through all shards, and again through those that were on the move meanwhile.
    async fn purge_shards(&self, shared: &Shared, pattern: &str) -> Result<u64> {
        let mut left: BTreeSet<u16> = (0..self.coherence.shards()).collect();
        let (mut purged, mut pause) = (0, PAUSE.0);
        for _ in 0..ROUNDS {
            for ground in shared.grounds(&left)? {
                let (found, seen) = self.purge_ground(shared, ground, &left, pattern).await?;
                purged += found;
                left.retain(|shard| !seen.contains(shard));
            }
            if left.is_empty() {
                return Ok(purged);
            }
            shared.redis().doubt_layout();
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
        let message = format!(
            "{} of {} shards were on the move for so long that keys may have been missed: purge again",
            left.len(),
            self.coherence.shards()
        );
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Goes through one server. Returns how many matching keys of the shards that are left it had, and of which shards it
    /// had every key all the while.
    async fn purge_ground(
        &self,
        shared: &Shared,
        mut ground: Ground,
        left: &BTreeSet<u16>,
        pattern: &str,
    ) -> Result<(u64, BTreeSet<u16>)> {
        let mut purged = 0;
        let mut seen: BTreeSet<u16> = ground.shards.iter().copied().collect();
        for kind in shared.kinds() {
            loop {
                let Some(found) = shared.scan(&mut ground, kind, pattern).await? else {
                    return Ok((purged, BTreeSet::new()));
                };
                found.missed.iter().for_each(|shard| {
                    seen.remove(shard);
                });
                purged += self.purge_found(shared, found.texts, left).await?;
                if found.is_last {
                    break;
                }
            }
        }
        Ok((purged, seen))
    }

    async fn purge_found(
        &self,
        shared: &Shared,
        texts: BTreeSet<String>,
        left: &BTreeSet<u16>,
    ) -> Result<u64> {
        let (mut by_shard, mut purged) = (BTreeMap::<u16, Vec<String>>::new(), 0);
        for text in texts {
            let shards: Vec<u16> = shared.shards_of(&text).collect();
            if !shards.iter().any(|shard| left.contains(shard)) {
                continue;
            }
            purged += 1;
            for shard in shards {
                by_shard.entry(shard).or_default().push(text.clone());
            }
        }
        for (shard, texts) in by_shard {
            self.act(shared, shard, Action::Unlink(&texts), keys_change(&texts)).await?;
        }
        Ok(purged)
    }
}
