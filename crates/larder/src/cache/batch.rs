//! Several keys at once: one near pass, one round trip per shard, one call of the source.

use std::{collections::BTreeMap, fmt, hash::Hash, sync::Arc};

use futures_util::future::join_all;
use rand::Rng;
use tokio::time::{Instant, sleep};

use crate::{
    Error, ErrorKind, Result,
    cache::{
        MissReason, Policy, Served,
        coherence::Basis,
        entry::{Freshness, Lease},
        fetch::{LoadFuture, while_renewing},
        flight::{Leader, Spare},
        inner::Inner,
        near::NearEntry,
        shared::{Lookup, Shared},
        stats::Counter,
        store::{Load, loaded},
    },
    dice::dice,
};

/// A loader of several keys, in their order. Called again only for keys that another node was loading and gave up.
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
}

impl<K: Hash + Eq + fmt::Display, V> Passenger<K, V> {
    pub(crate) fn new(
        leader: Leader<K, V>,
        text: String,
        basis: Basis,
        reason: MissReason,
        spare: Option<Spare<V>>,
    ) -> Self {
        Self { leader, text, basis, reason, spare, leased: false, blocked: false }
    }

    /// Shows the flight's readers what stale value there is, if they have a soft deadline.
    pub(crate) fn offer_spare(&self, policy: &Policy) {
        if let (Some(_), Some(spare)) = (policy.soft_deadline, &self.spare) {
            self.leader.offer(spare);
        }
    }
}

/// What one look at Redis made of a passenger.
enum Next<K: Hash + Eq, V> {
    Landed,
    Load(Passenger<K, V>),
    Wait(Passenger<K, V>),
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Flies all passengers home: those that Redis has, those that must be loaded, together, and in further rounds those
    /// that another node is loading.
    pub(crate) async fn fly_many(
        self: Arc<Self>,
        mut passengers: Vec<Passenger<K, V>>,
        policy: Policy,
        load: BatchLoader<K, V>,
    ) {
        let lease = Lease::random();
        let give_up = Instant::now() + policy.load_deadline;
        loop {
            let last = Instant::now() >= give_up;
            let (mut to_load, mut waiting) = (Vec::new(), Vec::new());
            for next in self.look_many(passengers, &lease).await {
                match next {
                    Next::Landed => {}
                    Next::Load(passenger) => to_load.push(passenger),
                    Next::Wait(passenger) if last => to_load.push(passenger),
                    Next::Wait(passenger) => waiting.push(passenger),
                }
            }
            if !to_load.is_empty() {
                self.load_many(to_load, &lease, &policy, &load).await;
            }
            if waiting.is_empty() {
                return;
            }
            passengers = waiting;
            let pause_ms = dice().random_range(3..12);
            sleep(std::time::Duration::from_millis(pause_ms)).await;
        }
    }

    /// Looks all passengers up, shard by shard, all shards at the same time.
    async fn look_many(&self, passengers: Vec<Passenger<K, V>>, lease: &Lease) -> Vec<Next<K, V>> {
        let Some(shared) = &self.shared else { return passengers.into_iter().map(Next::Load).collect() };
        let now_ms = self.clock.monotonic_ms();
        let mut shards: BTreeMap<u16, Vec<Passenger<K, V>>> = BTreeMap::new();
        let mut nexts = Vec::with_capacity(passengers.len());
        for mut passenger in passengers {
            if shared.unsent.trusts(&passenger.text, now_ms) {
                shards.entry(shared.shard_of(&passenger.text)).or_default().push(passenger);
            } else {
                passenger.reason = MissReason::Invalidated;
                nexts.push(Next::Load(passenger));
            }
        }
        let looks = shards.into_values().map(|shard| self.look_shard(shared, shard, lease));
        nexts.extend(join_all(looks).await.into_iter().flatten());
        nexts
    }

    async fn look_shard(
        &self,
        shared: &Shared,
        mut passengers: Vec<Passenger<K, V>>,
        lease: &Lease,
    ) -> Vec<Next<K, V>> {
        let found = match self.look_at_many(shared, &mut passengers, lease).await {
            Ok(found) => found,
            Err(error) => passengers.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut nexts = Vec::with_capacity(passengers.len());
        for (passenger, found) in passengers.into_iter().zip(found) {
            nexts.push(self.settle(shared, passenger, found, lease).await);
        }
        nexts
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
            passenger.basis = self.stand(&passenger.text).await?;
        }
        let texts: Vec<&str> = passengers.iter().map(|passenger| passenger.text.as_str()).collect();
        let found = shared.lookup_many(&texts, lease).await?;
        if let Some(first) = texts.first() {
            self.recheck(first).await?;
        }
        Ok(found)
    }

    async fn settle(
        &self,
        shared: &Shared,
        mut passenger: Passenger<K, V>,
        found: Result<Lookup>,
        lease: &Lease,
    ) -> Next<K, V> {
        let entry = match found {
            Ok(Lookup::Busy) => return Next::Wait(passenger),
            Ok(Lookup::Leased) => {
                passenger.leased = true;
                return Next::Load(passenger);
            }
            Err(_) => {
                self.stats.count(Counter::SharedErrors);
                passenger.reason = MissReason::Error;
                return Next::Load(passenger);
            }
            Ok(Lookup::Corrupt) => None,
            Ok(Lookup::Blocked) => {
                passenger.blocked = true;
                passenger.reason = MissReason::Invalidated;
                return Next::Load(passenger);
            }
            Ok(Lookup::Value(envelope)) => {
                let after_clear =
                    self.coherence.is_after_clear(shared.shard_of(&passenger.text), envelope.at);
                match self.entry_from(&envelope, passenger.basis).await {
                    // Whatever was heard meanwhile: the source has nothing newer.
                    Ok(Some(entry)) if envelope.is_pending() => return self.land_shared(passenger, entry),
                    Ok(Some(entry)) if after_clear && entry.is_current(&self.coherence) => Some(entry),
                    Ok(None) => None,
                    Ok(Some(_)) | Err(_) => {
                        passenger.reason = MissReason::Purged;
                        return self.replace_for(shared, passenger, lease).await;
                    }
                }
            }
        };
        let now_ms = self.clock.monotonic_ms();
        match entry {
            Some(entry)
                if matches!(entry.life.at_age(entry.age_ms(now_ms)), Freshness::Fresh | Freshness::Stale) =>
            {
                return self.land_shared(passenger, entry);
            }
            Some(entry) => {
                passenger.reason = MissReason::Expired;
                passenger.spare = Some((entry, Served::Shared));
                passenger.offer_spare(&self.policy);
            }
            None => {
                self.stats.count(Counter::Corrupt);
                passenger.reason = MissReason::Corrupt;
            }
        }
        self.replace_for(shared, passenger, lease).await
    }

    fn land_shared(&self, passenger: Passenger<K, V>, entry: NearEntry<V>) -> Next<K, V> {
        let key = passenger.leader.key().clone();
        let read = entry.read(Served::Shared, self.clock.monotonic_ms());
        passenger.leader.land(Ok(read), || self.keep_near(&key, Some(entry)));
        Next::Landed
    }

    async fn replace_for(
        &self,
        shared: &Shared,
        mut passenger: Passenger<K, V>,
        lease: &Lease,
    ) -> Next<K, V> {
        match shared.lease_refresh(&passenger.text, lease).await {
            Ok(false) => return Next::Wait(passenger),
            Ok(true) => passenger.leased = true,
            Err(_) => self.stats.count(Counter::SharedErrors),
        }
        Next::Load(passenger)
    }

    /// One call of the source for all passengers; fills run at the same time.
    async fn load_many(
        &self,
        passengers: Vec<Passenger<K, V>>,
        lease: &Lease,
        policy: &Policy,
        load: &BatchLoader<K, V>,
    ) {
        let keys: Vec<K> = passengers.iter().map(|passenger| passenger.leader.key().clone()).collect();
        let (load, wanted, begun_us) = (load.clone(), keys.len(), self.clock.stopwatch_us());
        let loading = self.load(policy, move || load(keys));
        let leased: Vec<&str> = passengers
            .iter()
            .filter(|passenger| passenger.leased)
            .map(|passenger| &*passenger.text)
            .collect();
        let values = match &self.shared {
            Some(shared) if !leased.is_empty() => while_renewing(shared, &leased, lease, loading).await,
            _ => loading.await,
        };
        let values = values.and_then(|values| match values.len() {
            given if given == wanted => Ok(values),
            given => Err(Error::new(
                ErrorKind::Source,
                format!("the source gave {given} values for {wanted} keys"),
            )),
        });
        match values {
            Ok(values) => {
                let load_us = self.clock.stopwatch_us().saturating_sub(begun_us);
                let stores = passengers
                    .into_iter()
                    .zip(values)
                    .map(|(passenger, value)| self.bring_home(passenger, value, lease, policy, load_us));
                join_all(stores).await;
            }
            Err(error) => {
                join_all(passengers.into_iter().map(|passenger| self.turn_back(passenger, &error, lease)))
                    .await;
            }
        }
    }

    async fn bring_home(
        &self,
        passenger: Passenger<K, V>,
        value: Option<V>,
        lease: &Lease,
        policy: &Policy,
        load_us: u64,
    ) {
        let value = value.map(Arc::new);
        let key = passenger.leader.key().clone();
        let life = self.lifetime(policy, value.as_deref(), load_us);
        let answer = Ok(loaded(value.clone(), life, passenger.reason));
        let order = Load {
            key: &key,
            text: &passenger.text,
            basis: passenger.basis,
            tags: &[],
            policy,
            lease: passenger.leased.then_some(*lease),
            reason: passenger.reason,
            load_us,
        };
        let keep = match life {
            Some(life) if !passenger.blocked => self.fill(&order, value, life).await,
            _ => Ok(None),
        };
        if let Err(error) = &keep
            && error.kind() == ErrorKind::TooLarge
        {
            self.remember(&key, MissReason::TooLarge);
        }
        let keep = keep.ok().flatten();
        if keep.is_none() && passenger.leased {
            self.give_back(&passenger.text, lease).await;
        }
        passenger.leader.land(answer, || self.keep_near(&key, keep));
    }

    async fn turn_back(&self, passenger: Passenger<K, V>, error: &Error, lease: &Lease) {
        if passenger.leased {
            self.give_back(&passenger.text, lease).await;
        }
        let spare = passenger.spare.as_ref().and_then(|(spare, served)| self.spare_read(spare, *served));
        let answer = spare.ok_or_else(|| error.clone());
        passenger.leader.land(answer, || {});
    }
}
