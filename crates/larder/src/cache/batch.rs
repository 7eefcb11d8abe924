//! Several keys at once: one near pass, one round trip per shard, one call of the source.

use std::{collections::BTreeMap, fmt, hash::Hash, sync::Arc};

use futures_util::future::join_all;
use rand::Rng;
use tokio::time::{Instant, sleep};

use crate::{
    Error, ErrorKind, Result,
    cache::{
        MissReason, Policy, Served,
        entry::{Freshness, Lease},
        fetch::{LoadFuture, loaded, while_renewing},
        flight::Leader,
        inner::Inner,
        near::NearEntry,
        shared::{Lookup, Shared},
        stats::Counter,
    },
};

/// A loader of several keys, in their order. Called again only for keys that another node was loading and gave up.
pub(crate) type BatchLoader<K, V> = Arc<dyn Fn(Vec<K>) -> LoadFuture<Vec<Option<V>>> + Send + Sync>;

/// One key of a batch that this node leads.
pub(crate) struct Passenger<K: Hash + Eq, V> {
    pub(crate) leader: Leader<K, V>,
    pub(crate) text: String,
    pub(crate) reason: MissReason,
    pub(crate) spare: Option<(NearEntry<V>, Served)>,
    /// Whether Redis granted the lease for this key.
    leased: bool,
}

impl<K: Hash + Eq + fmt::Display, V> Passenger<K, V> {
    pub(crate) fn new(
        leader: Leader<K, V>,
        reason: MissReason,
        spare: Option<(NearEntry<V>, Served)>,
    ) -> Self {
        let text = leader.key().to_string();
        Self { leader, text, reason, spare, leased: false }
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
            let pause_ms = rand::rng().random_range(3..12);
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
        passengers: Vec<Passenger<K, V>>,
        lease: &Lease,
    ) -> Vec<Next<K, V>> {
        let texts: Vec<&str> = passengers.iter().map(|passenger| passenger.text.as_str()).collect();
        let found = match shared.lookup_many(&texts, lease).await {
            Ok(found) => found,
            Err(error) => passengers.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut nexts = Vec::with_capacity(passengers.len());
        for (passenger, found) in passengers.into_iter().zip(found) {
            nexts.push(self.settle(shared, passenger, found, lease).await);
        }
        nexts
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
            Ok(Lookup::Value(envelope)) => self.entry_from(&envelope),
        };
        let now_ms = self.clock.monotonic_ms();
        match entry {
            Some(entry)
                if matches!(entry.life.at_age(entry.age_ms(now_ms)), Freshness::Fresh | Freshness::Stale) =>
            {
                let key = passenger.leader.key().clone();
                let read = entry.read(Served::Shared, now_ms);
                passenger.leader.land(Ok(read), || self.keep_near(&key, Some(entry)));
                return Next::Landed;
            }
            Some(entry) => {
                passenger.reason = MissReason::Expired;
                passenger.spare = Some((entry, Served::Shared));
            }
            None => {
                self.stats.count(Counter::Corrupt);
                passenger.reason = MissReason::Corrupt;
            }
        }
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
        let (load, wanted) = (load.clone(), keys.len());
        let loading = self.load(policy, Box::new(move || load(keys)));
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
                let stores = passengers
                    .into_iter()
                    .zip(values)
                    .map(|(passenger, value)| self.bring_home(passenger, value, lease, policy));
                join_all(stores).await;
            }
            Err(error) => {
                join_all(passengers.into_iter().map(|passenger| self.turn_back(passenger, &error, lease)))
                    .await;
            }
        }
    }

    async fn bring_home(&self, passenger: Passenger<K, V>, value: Option<V>, lease: &Lease, policy: &Policy) {
        let value = value.map(Arc::new);
        let key = passenger.leader.key().clone();
        let life = policy.lifetime(value.is_some());
        let answer = Ok(loaded(value.clone(), life, passenger.reason));
        let keep = match life {
            None => None,
            Some(life) => self.fill_one(&passenger, value, life, lease, policy).await,
        };
        if keep.is_none() && passenger.leased {
            self.give_back(&passenger.text, lease).await;
        }
        passenger.leader.land(answer, || self.keep_near(&key, keep));
    }

    async fn fill_one(
        &self,
        passenger: &Passenger<K, V>,
        value: Option<Arc<V>>,
        life: crate::cache::entry::Lifetime,
        lease: &Lease,
        policy: &Policy,
    ) -> Option<NearEntry<V>> {
        let entry = self.entry_of(value, life, 0);
        let (Some(shared), true) = (&self.shared, passenger.leased) else { return Some(entry) };
        match self.envelope_of(entry.value.as_deref(), life, policy) {
            Ok(bytes) => {
                let filled = shared.fill(&passenger.text, lease, &bytes, life.keep_ms()).await;
                self.count_fill(&filled).then_some(entry)
            }
            Err(error) => {
                if error.kind() == ErrorKind::TooLarge {
                    self.remember(passenger.leader.key(), MissReason::TooLarge);
                }
                None
            }
        }
    }

    async fn turn_back(&self, passenger: Passenger<K, V>, error: &Error, lease: &Lease) {
        if passenger.leased {
            self.give_back(&passenger.text, lease).await;
        }
        let now_ms = self.clock.monotonic_ms();
        let answer = match &passenger.spare {
            Some((spare, served)) if spare.life.at_age(spare.age_ms(now_ms)) != Freshness::Expired => {
                Ok(spare.read(*served, now_ms))
            }
            _ => Err(error.clone()),
        };
        passenger.leader.land(answer, || {});
    }
}
