//! Several keys at once: one near pass, one look for each shard, one call of the source, one write of all fills for each
//! shard.

mod board;
mod fly;
mod land;
mod look;
mod refresh;
mod shared;
mod wait;

use std::{fmt, future::Future, hash::Hash, sync::Arc};

use crate::{
    Result,
    cache::{
        Cache, MissReason, Policy,
        coherence::Basis,
        entry::Lease,
        flight::{Leader, Spare},
        loader::LoadFuture,
    },
};

/// A loader of several keys, in their order. Called once for those that are missing, once for those that are stale, and again
/// only for keys that another node was loading and gave up.
pub(crate) type BatchLoader<K, V> = Arc<dyn Fn(Vec<K>) -> LoadFuture<Vec<Option<V>>> + Send + Sync>;

/// One key of a batch that this node leads.
pub(crate) struct Passenger<K: Hash + Eq, V> {
    pub(crate) leader: Leader<K, V>,
    pub(crate) text: String,
    pub(crate) basis: Basis,
    pub(crate) reason: MissReason,
    pub(crate) spare: Option<Spare<V>>,
    /// Whether Redis granted the lease for this key.
    leased: bool,
    /// Whether a write is under way, so that nothing may be kept.
    blocked: bool,
    /// Whether another node is at it, and is to tell when it is done.
    waits: bool,
}

impl<K: Hash + Eq + fmt::Display, V> Passenger<K, V> {
    pub(crate) fn new(
        leader: Leader<K, V>,
        text: String,
        basis: Basis,
        reason: MissReason,
        spare: Option<Spare<V>>,
    ) -> Self {
        Self { leader, text, basis, reason, spare, leased: false, blocked: false, waits: false }
    }

    /// Shows the flight's readers what stale value there is, if they have a soft deadline.
    pub(crate) fn offer_spare(&self, policy: &Policy) {
        if let (Some(_), Some(spare)) = (policy.soft_deadline, &self.spare) {
            self.leader.offer(spare);
        }
    }
}

/// What all passengers of a batch have in common.
struct Trip<K, V> {
    policy: Policy,
    load: BatchLoader<K, V>,
    lease: Lease,
}

/// What one look at Redis made of a passenger.
enum Next<K: Hash + Eq, V> {
    /// With its refresh, if it landed with something past its soft expiry.
    Landed(Option<Passenger<K, V>>),
    Load(Passenger<K, V>),
    Wait(Passenger<K, V>),
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Returns the values of several keys, in their order, loading all that are missing with one call of the source.
    ///
    /// A key that somebody else is loading is not loaded again. Cost: one round trip to Redis for each shard the keys
    /// fall into, and one more for each shard of which something had to be loaded: all its fills leave together, each under
    /// its own lease, with the leases of what cannot be stored (one more for each further MiB of values). One more if values
    /// that Redis has are past their time, and one if their tags are new to this node. All shards are asked at the same time.
    ///
    /// Values past their soft expiry are returned at once, inside the policy's stale window, and loaded anew behind the call:
    /// all of them with one more call of the source ([`Source::load_many`](crate::source::Source::load_many)), each key once at
    /// a time on this node and, while Redis is up, among all.
    ///
    /// # Errors
    /// The first error of any key; the keys that could be loaded are cached all the same.
    ///
    /// # Cancel safety
    /// As [`get_with`](Self::get_with).
    pub async fn get_many(&self, keys: &[K]) -> Result<Vec<Option<Arc<V>>>> {
        let source = self.inner.source()?.clone();
        let load: BatchLoader<K, V> = Arc::new(move |keys| {
            let source = source.clone();
            Box::pin(async move { source.load_many(&keys).await })
        });
        self.inner.read_many(keys, load).await
    }

    /// [`get_many`](Self::get_many) with a loader for the keys that are missing. It gets them in an order of its own
    /// and must give exactly as many values, in that order. It is called once for what is missing, once for what is stale, and
    /// again only for keys that another node was loading and gave up.
    ///
    /// # Errors
    /// As [`get_many`](Self::get_many).
    pub async fn get_many_with<F, Fut>(&self, keys: &[K], load: F) -> Result<Vec<Option<Arc<V>>>>
    where
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Option<V>>>> + Send + 'static,
    {
        self.inner.read_many(keys, Arc::new(move |keys| Box::pin(load(keys)))).await
    }
}
