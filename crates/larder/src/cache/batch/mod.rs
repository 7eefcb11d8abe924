//! Several keys at once: one near pass, one look for each shard, one call of the source, one write of all fills for each
//! shard.

mod land;
mod refresh;
mod shared;
mod wait;

use std::{collections::BTreeMap, fmt, hash::Hash, sync::Arc};

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::{
    Result,
    cache::{
        MissReason, Policy, Served,
        coherence::Basis,
        entry::{Envelope, Freshness, Lease},
        flight::{Leader, Spare},
        inner::Inner,
        loader::LoadFuture,
        near::NearEntry,
        route::Route,
        shared::{Lookup, Shared},
        stats::Counter,
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

/// What one answer of Redis made of a passenger.
enum Settled<K: Hash + Eq, V> {
    Next(Next<K, V>),
    /// What is in the slot is no good: the right to replace it has to be asked for.
    Replace(Passenger<K, V>),
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Flies all passengers home: those that Redis has, those that must be loaded, together, and in further rounds those
    /// that another node is loading. What Redis has is refreshed behind them if it is stale, along with `stale`, the refreshes
    /// of what the near tier had.
    pub(crate) async fn fly_many(
        self: Arc<Self>,
        passengers: Vec<Passenger<K, V>>,
        stale: Vec<Passenger<K, V>>,
        policy: Policy,
        load: BatchLoader<K, V>,
    ) {
        let give_up = Instant::now() + policy.load_deadline;
        let trip = Trip { policy, load, lease: Lease::random() };
        let waiting = self.go_round(passengers, stale, &trip, false).await;
        // Without a Redis nobody waits for another node.
        if let Some(shared) = &self.shared
            && !waiting.is_empty()
        {
            // Boxed: few batches find another node at it, and every one has room for this.
            Box::pin(self.wait_for_other_nodes(shared, waiting, &trip, give_up)).await;
        }
    }

    /// Looks once and loads what is missing. Returns whom other nodes are loading; in the last round nobody waits for them.
    async fn go_round(
        self: &Arc<Self>,
        passengers: Vec<Passenger<K, V>>,
        mut stale: Vec<Passenger<K, V>>,
        Trip { policy, load, lease }: &Trip<K, V>,
        is_last: bool,
    ) -> Vec<Passenger<K, V>> {
        let (mut to_load, mut waiting) = (Vec::new(), Vec::new());
        for next in self.look_many(passengers, lease).await {
            match next {
                Next::Landed(refresh) => stale.extend(refresh),
                Next::Load(passenger) => to_load.push(passenger),
                Next::Wait(passenger) if is_last => to_load.push(passenger),
                Next::Wait(passenger) => waiting.push(passenger),
            }
        }
        if !stale.is_empty() {
            // A task of its own: nobody who waits for what is missing waits for this.
            self.tasks.spawn(self.clone().refresh_many(stale, policy.clone(), load.clone()));
        }
        if !to_load.is_empty() {
            self.load_many(to_load, lease, policy, load).await;
        }
        waiting
    }

    /// Looks all passengers up, shard by shard, all shards at the same time.
    async fn look_many(&self, passengers: Vec<Passenger<K, V>>, lease: &Lease) -> Vec<Next<K, V>> {
        let Some(shared) = &self.shared else { return passengers.into_iter().map(Next::Load).collect() };
        let mut shards: BTreeMap<u16, Vec<Passenger<K, V>>> = BTreeMap::new();
        let mut nexts = Vec::with_capacity(passengers.len());
        for mut passenger in passengers {
            if shared.trusts(&passenger.text) {
                shards.entry(shared.shard_of(&passenger.text)).or_default().push(passenger);
                continue;
            }
            match self.still_pending(shared, &passenger.text, passenger.basis).await {
                Ok(Some(entry)) => {
                    nexts.push(self.land_shared(passenger, entry));
                    continue;
                }
                Ok(None) => passenger.reason = MissReason::Invalidated,
                Err(_) => {
                    self.stats.count(Counter::SharedErrors);
                    passenger.reason = MissReason::Error;
                }
            }
            nexts.push(Next::Load(passenger));
        }
        let looks = shards.into_iter().map(|(shard, aboard)| self.look_shard(shared, shard, aboard, lease));
        nexts.extend(join_all(looks).await.into_iter().flatten());
        nexts
    }

    async fn look_shard(
        &self,
        shared: &Shared,
        shard: u16,
        mut passengers: Vec<Passenger<K, V>>,
        lease: &Lease,
    ) -> Vec<Next<K, V>> {
        let found = match self.look_at_many(shared, &mut passengers, lease).await {
            Ok(found) => found,
            Err(error) => passengers.iter().map(|_| Err(error.clone())).collect(),
        };
        self.learn_found(shard, &found).await;
        let (mut nexts, mut stale) = (Vec::with_capacity(passengers.len()), Vec::new());
        for (passenger, found) in passengers.into_iter().zip(found) {
            match self.settle(shared, passenger, found) {
                Settled::Next(next) => nexts.push(next),
                Settled::Replace(passenger) => stale.push(passenger),
            }
        }
        nexts.extend(self.replace_many(shared, stale, lease).await);
        nexts
    }

    /// Asks for the last purges of all tags in what was found that this node does not know yet: one round trip if there is
    /// any. If that fails, the values with such tags are not believed.
    async fn learn_found(&self, shard: u16, found: &[Result<Lookup>]) {
        let tags = |found| match found {
            &Ok(Lookup::Value(Envelope { ref tags, .. })) => tags.as_slice(),
            _ => &[],
        };
        let tags: Vec<u64> = found.iter().flat_map(tags).copied().collect();
        if self.learn_tags(shard, &tags).await.is_err() {
            self.stats.count(Counter::SharedErrors);
        }
    }

    /// [`look`](Self::look) for several keys of one shard.
    async fn look_at_many(
        &self,
        shared: &Shared,
        passengers: &mut [Passenger<K, V>],
        lease: &Lease,
    ) -> Result<Vec<Result<Lookup>>> {
        for passenger in &mut *passengers {
            // One round trip for the first of them if this node has fallen behind, none for the others.
            passenger.basis = self.stand(Route::Home, &passenger.text).await?;
        }
        let texts: Vec<&str> = passengers.iter().map(|passenger| passenger.text.as_str()).collect();
        let waiting: Vec<&str> =
            passengers.iter().filter(|passenger| passenger.waits).map(|passenger| &*passenger.text).collect();
        let found = shared.lookup_many(&texts, &waiting, lease).await?;
        if let Some(first) = texts.first() {
            self.recheck(Route::Home, first).await?;
        }
        Ok(found)
    }

    /// What one answer of Redis means for its key. Asks nobody.
    fn settle(
        &self,
        shared: &Shared,
        mut passenger: Passenger<K, V>,
        found: Result<Lookup>,
    ) -> Settled<K, V> {
        let entry = match found {
            Ok(Lookup::Busy) => return Settled::Next(Next::Wait(passenger)),
            Ok(Lookup::Leased) => {
                passenger.leased = true;
                return Settled::Next(Next::Load(passenger));
            }
            Err(_) => {
                self.stats.count(Counter::SharedErrors);
                passenger.reason = MissReason::Error;
                return Settled::Next(Next::Load(passenger));
            }
            Ok(Lookup::Corrupt) => None,
            Ok(Lookup::Blocked) => {
                passenger.blocked = true;
                passenger.reason = MissReason::Invalidated;
                return Settled::Next(Next::Load(passenger));
            }
            Ok(Lookup::Value(envelope)) => {
                let shard = shared.shard_of(&passenger.text);
                let after_clear = self.coherence.is_after_clear(shard, envelope.at);
                let known = envelope.tags.iter().all(|tag| self.coherence.tag(shard, *tag).is_some());
                match self.entry_at_hand(&envelope, passenger.basis) {
                    // Whatever was heard meanwhile: the source has nothing newer.
                    Some(entry) if envelope.is_pending() => {
                        return Settled::Next(self.land_shared(passenger, entry));
                    }
                    Some(entry) if after_clear && entry.is_current(&self.coherence) => Some(entry),
                    None if known => None,
                    _ => {
                        passenger.reason = MissReason::Purged;
                        return Settled::Replace(passenger);
                    }
                }
            }
        };
        self.settle_by_age(passenger, entry)
    }

    /// What the age of a value that is believed means for its key. `None` is one that cannot be read.
    fn settle_by_age(&self, mut passenger: Passenger<K, V>, entry: Option<NearEntry<V>>) -> Settled<K, V> {
        let now_ms = self.clock.monotonic_ms();
        let freshness = entry.as_ref().map(|entry| entry.terms.life.at_age(entry.age_ms(now_ms)));
        match (entry, freshness) {
            (Some(entry), Some(Freshness::Fresh)) => {
                return Settled::Next(self.land_shared(passenger, entry));
            }
            // A refresh is there to replace it.
            (Some(entry), Some(Freshness::Stale)) if !passenger.leader.is_refresh() => {
                return Settled::Next(self.land_shared(passenger, entry));
            }
            (Some(entry), _) => {
                passenger.reason = MissReason::Expired;
                passenger.spare = Some((entry, Served::Shared));
                passenger.offer_spare(&self.policy);
            }
            (None, _) => {
                self.stats.count(Counter::Corrupt);
                passenger.reason = MissReason::Corrupt;
            }
        }
        Settled::Replace(passenger)
    }

    fn land_shared(&self, passenger: Passenger<K, V>, entry: NearEntry<V>) -> Next<K, V> {
        let read = entry.read(Served::Shared, self.clock.monotonic_ms());
        let refresh = if read.stale { self.refreshed_with_others(passenger.leader.key()) } else { None };
        passenger.leader.land(Ok(read), |key| self.keep_near(key, Some(entry)));
        Next::Landed(refresh)
    }

    /// Takes the leases beside the slots of one shard whose values are no good. One round trip if there are any.
    async fn replace_many(
        &self,
        shared: &Shared,
        passengers: Vec<Passenger<K, V>>,
        lease: &Lease,
    ) -> Vec<Next<K, V>> {
        let texts: Vec<&str> = passengers.iter().map(|passenger| &*passenger.text).collect();
        let granted = match shared.lease_refresh_many(&texts, lease).await {
            Ok(granted) => granted,
            Err(error) => texts.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut nexts = Vec::with_capacity(passengers.len());
        for (mut passenger, granted) in passengers.into_iter().zip(granted) {
            nexts.push(match granted {
                Ok(false) => Next::Wait(passenger),
                Ok(true) => {
                    passenger.leased = true;
                    Next::Load(passenger)
                }
                Err(_) => {
                    self.stats.count(Counter::SharedErrors);
                    Next::Load(passenger)
                }
            });
        }
        nexts
    }
}
