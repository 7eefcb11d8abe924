//! Invalidation: near, shared, near again; and the replay of what Redis did not acknowledge.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    fmt,
    hash::Hash,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{runtime::Handle, time::sleep};

use crate::{
    Result,
    cache::{inner::Inner, shared::Shared, stats::Counter},
};

/// How many keys one replayed command carries.
const REPLAY_BATCH: usize = 500;
/// The first and the longest pause between two tries of the replay.
const REPLAY_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// The near copies go twice. First, so that this node stops serving them at once. Again after Redis has
    /// acknowledged, because a reader in between may have fetched the old value from Redis.
    pub(crate) async fn invalidate<Q>(self: &Arc<Self>, keys: &[&Q]) -> Result<()>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + fmt::Display + ?Sized,
    {
        self.forget_near(keys);
        self.stats.count_many(Counter::Invalidated, keys.len());
        let Some(shared) = &self.shared else { return Ok(()) };
        let mut owed = Owed { inner: self, keys: keys.iter().map(ToString::to_string).collect() };
        let sent = send(shared, &owed.keys).await;
        if sent.is_ok() {
            owed.keys.clear();
        }
        drop(owed);
        self.forget_near(keys);
        sent.map_err(|error| error.context("invalidate: kept, and sent again until Redis acknowledges it"))
    }

    fn forget_near<Q>(&self, keys: &[&Q])
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        for key in keys {
            self.flights.ground(*key, || {
                if let Some(near) = &self.near {
                    near.invalidate(*key);
                }
            });
        }
    }

    /// Keeps invalidations that were not acknowledged, and sees to it that they are sent.
    fn owe(self: &Arc<Self>, keys: &[String]) {
        let Some(shared) = &self.shared else { return };
        self.stats.count_many(Counter::InvalidationsDeferred, keys.len());
        let longest_life_ms = self.longest_life_ms.load(Ordering::Relaxed);
        let first = shared.unsent.keep(keys, self.clock.monotonic_ms(), longest_life_ms);
        if first && let Ok(runtime) = Handle::try_current() {
            self.tasks.spawn_on(replay(Arc::downgrade(self)), &runtime);
        }
    }
}

/// Invalidations on their way. Whatever is still listed when this is dropped is kept and replayed.
struct Owed<'a, K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    inner: &'a Arc<Inner<K, V>>,
    keys: Vec<String>,
}

impl<K, V> Drop for Owed<'_, K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn drop(&mut self) {
        if !self.keys.is_empty() {
            self.inner.owe(&self.keys);
        }
    }
}

/// One command for each shard, all at the same time.
async fn send(shared: &Shared, keys: &[String]) -> Result<()> {
    if let [_] = keys {
        return shared.invalidate(keys).await;
    }
    let mut shards: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for key in keys {
        shards.entry(shared.shard_of(key)).or_default().push(key.clone());
    }
    join_all(shards.values().map(|keys| shared.invalidate(keys))).await.into_iter().collect()
}

/// Sends what is owed until nothing is. Holds the cache only while it works, so a cache that is dropped ends it.
async fn replay<K, V>(inner: Weak<Inner<K, V>>)
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    let mut pause = REPLAY_PAUSE.0;
    loop {
        {
            let Some(inner) = inner.upgrade() else { return };
            let Some(shared) = &inner.shared else { return };
            let keys = shared.unsent.next(REPLAY_BATCH);
            let sent = send(shared, &keys).await;
            if sent.is_ok() {
                pause = REPLAY_PAUSE.0;
                if shared.unsent.acknowledged(&keys, inner.clock.monotonic_ms()) {
                    tracing::info!(cache = %inner.name, "All invalidations that Redis had missed are acknowledged.");
                    return;
                }
                continue;
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(REPLAY_PAUSE.1);
    }
}
