//! What ties a cache to those of other nodes: what they share in Redis, and the tasks that keep this node in step.

use std::{fmt, hash::Hash, sync::Arc};

use rand::Rng;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    Error, ErrorKind, Result,
    cache::{
        CacheBuilder, MAX_LIFETIME,
        behind::{Behind, Worker},
        coherence::Coherence,
        log::Follower,
        shared::Shared,
    },
    dice::dice,
    redis::Space,
};

/// The ties of one cache, its tasks started. Without Redis there are none.
pub(super) struct Ties {
    /// What the others know this node by.
    pub(super) node: u64,
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) replica: Option<Arc<Shared>>,
    pub(super) coherence: Arc<Coherence>,
    pub(super) behind: Option<Behind>,
    pub(super) workers: Vec<AbortOnDropHandle<()>>,
    pub(super) follower: Option<Arc<Follower>>,
    pub(super) following: Option<AbortOnDropHandle<()>>,
}

impl<K, V> CacheBuilder<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// # Errors
    /// `ErrorKind::Config` naming what is missing beside Redis, or outside of a Tokio runtime.
    pub(super) fn tie(&self) -> Result<Ties> {
        let node = dice().random();
        let shared = self.shared_tier()?;
        let replica = shared.as_ref().and_then(|shared| shared.replica_for(node)).map(Arc::new);
        let coherence = Arc::new(match &shared {
            None => Coherence::alone(),
            Some(_) => Coherence::of_shards(self.shards.get()),
        });
        let worker = self.behind_over(shared.as_ref(), &coherence, node)?;
        let behind = worker.as_ref().map(|worker| worker.behind.clone());
        let follower = shared.as_ref().map(|shared| {
            let (coherence, shared, behind) = (coherence.clone(), shared.clone(), behind.clone());
            let (clock, window) = (self.clock.clone(), self.failover_window);
            Arc::new(Follower::new(coherence, shared, clock, node, self.consistency, behind, window))
        });
        let workers = worker.as_ref().map(start_workers).transpose()?.unwrap_or_default();
        let following = follower.as_ref().map(follow).transpose()?;
        Ok(Ties { node, shared, replica, coherence, behind, workers, follower, following })
    }

    fn behind_over(
        &self,
        shared: Option<&Arc<Shared>>,
        coherence: &Arc<Coherence>,
        node: u64,
    ) -> Result<Option<Arc<Worker<K, V>>>> {
        let Some((settings, parse_key)) = &self.behind else { return Ok(None) };
        settings.check()?;
        let missing =
            |what: &str| Error::new(ErrorKind::Config, format!("needs {what}")).with_field("write_behind");
        let shared = shared.ok_or_else(|| missing("a redis, which keeps what is pending"))?;
        let behind =
            Behind::new(settings.clone(), shared.clone(), coherence.clone(), node, self.clock.clone());
        Ok(Some(Arc::new(Worker {
            behind,
            sink: self.sink.clone().ok_or_else(|| missing("a sink, which gets the writes in the end"))?,
            codec: self.codec.clone().ok_or_else(|| missing("a codec"))?,
            parse_key: parse_key.clone(),
        })))
    }

    fn shared_tier(&self) -> Result<Option<Arc<Shared>>> {
        let Some(redis) = &self.redis else { return Ok(None) };
        if self.codec.is_none() {
            return Err(
                Error::new(ErrorKind::Config, "beside Redis a cache needs a codec").with_field("codec")
            );
        }
        let space = Space::new(redis.app(), &self.name, self.shards, self.version)?;
        // A tag's mark must outlive every entry that has the tag.
        let keep_ms = MAX_LIFETIME.min(self.policy.keep() * 2).as_millis() as u64;
        let shared = Shared::new(
            redis.clone(),
            space,
            self.policy.max_entry_bytes,
            keep_ms,
            self.behind.is_some(),
            self.parts.clone(),
        );
        Ok(Some(Arc::new(shared.with_replicas(self.hot_replicas))))
    }
}

/// One task for each shard.
fn start_workers<K, V>(worker: &Arc<Worker<K, V>>) -> Result<Vec<AbortOnDropHandle<()>>>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    let start = |shard| Ok(AbortOnDropHandle::new(runtime()?.spawn(worker.clone().run(shard))));
    (0..worker.behind.shards()).map(start).collect()
}

/// Starts the task that keeps this node in step.
fn follow(follower: &Arc<Follower>) -> Result<AbortOnDropHandle<()>> {
    Ok(AbortOnDropHandle::new(runtime()?.spawn(follower.clone().run())))
}

fn runtime() -> Result<Handle> {
    Handle::try_current().map_err(|_| {
        Error::new(ErrorKind::Config, "a cache beside Redis must be built inside a Tokio runtime")
    })
}
