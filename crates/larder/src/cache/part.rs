//! A second cache of the same keys, for a part of their values: one invalidation makes both forget.

use std::{fmt, hash::Hash, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{
    cache::{
        Cache,
        codec::SharedCodec,
        flight::Flights,
        gone::Gone,
        inner::{Inner, TagsOf, TtlOf},
        near::Near,
        prints::Prints,
        stats::Stats,
    },
    redis::Kind,
    source::SharedSource,
    sync::TaskTracker,
};

/// What the cache of a part does in its own way; all else it has from the cache of the whole.
pub(crate) struct Part<K, W> {
    /// Announced to the builder of the whole.
    pub(crate) kind: Kind,
    pub(crate) source: SharedSource<K, W>,
    /// For what is to stand in a replica.
    pub(crate) replica_source: SharedSource<K, W>,
    pub(crate) codec: SharedCodec<W>,
    pub(crate) ttl_of: TtlOf<W>,
    pub(crate) tags_of: Option<TagsOf<K, W>>,
    pub(crate) near_bytes: u64,
    pub(crate) typical_bytes: u64,
    pub(crate) weigher: Arc<dyn Fn(&W) -> u32 + Send + Sync>,
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// A cache for a part of this one's values. It has slots, near copies, flights and counters of its own, but the shards,
    /// the sequence and what this node knows of it are this cache's: whatever this cache forgets, by whatever node, the part
    /// has forgotten too. Invalidate through this cache, not through the part.
    pub(crate) fn part<W: Send + Sync + 'static>(&self, part: Part<K, W>) -> Cache<K, W> {
        let whole = &self.inner;
        let expected = (part.near_bytes / part.typical_bytes.max(1)).min(1 << 24) as usize;
        let gone = Arc::new(Gone::default());
        Cache::from_inner(Inner {
            name: whole.name.clone(),
            policy: whole.policy.clone(),
            near_ttl_ms: whole.near_ttl_ms,
            near: (part.near_bytes > 0 && whole.near.is_some())
                .then(|| Near::new(part.near_bytes, expected, gone.clone())),
            gone,
            missed: Gone::default(),
            shared: whole.shared.as_ref().map(|shared| Arc::new(shared.part(part.kind.clone()))),
            replica: whole.replica.as_ref().map(|replica| Arc::new(replica.part(part.kind))),
            codec: Some(part.codec),
            source: Some(part.source),
            replica_source: Some(part.replica_source),
            sink: None,
            writes_through: false,
            behind: None,
            workers: Mutex::default(),
            parse_key: None,
            coherence: whole.coherence.clone(),
            follower: whole.follower.clone(),
            _following: None,
            node: whole.node,
            consistency: whole.consistency,
            flights: Flights::default(),
            stats: Stats::default(),
            prints: Prints::default(),
            heat: whole.heat.clone(),
            hot_near_ttl_ms: whole.hot_near_ttl_ms,
            clock: whole.clock.clone(),
            tasks: TaskTracker::new(),
            replays: TaskTracker::new(),
            loads: Semaphore::new(whole.loads.available_permits().max(1)),
            weigher: part.weigher,
            tags_of: part.tags_of,
            tag_from_key: whole.tag_from_key.clone(),
            ttl_of: Some(part.ttl_of),
            ahead: whole.ahead.clone(),
            runtime: whole.runtime.clone(),
        })
    }

    /// Forgets this process's copies whose keys match, where nobody else has any: for the cache of a part, before that of the
    /// whole is purged. Beside Redis the purge of the whole reaches them.
    pub(crate) fn forget_matching(&self, pattern: &str) {
        if self.inner.shared.is_none() {
            self.inner.forget_matching(pattern);
        }
    }
}
