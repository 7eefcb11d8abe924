//! A batch's looks at Redis, shard by shard: what is there, and the leases for what is not.

use std::{collections::BTreeMap, fmt, hash::Hash};

use futures_util::future::join_all;

use crate::{
    Result,
    cache::{
        MissReason, Policy, ReadMode, Served,
        batch::{Leased, Next, Passenger, Trip},
        entry::{Freshness, Lease},
        inner::Inner,
        near::NearEntry,
        route::Route,
        shared::{Lookup, Shared},
        stats::Counter,
    },
};

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
    /// Looks all passengers up, shard by shard, all shards at the same time.
    pub(super) async fn look_many(
        &self,
        passengers: Vec<Passenger<K, V>>,
        trip: &Trip<K, V>,
    ) -> Vec<Next<K, V>> {
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
        let looks = shards.into_iter().map(async |(shard, aboard)| match trip.mode {
            ReadMode::Refresh => self.lease_shard(shared, aboard, trip).await,
            ReadMode::Cached | ReadMode::Bypass => self.look_shard(shared, shard, aboard, trip).await,
        });
        nexts.extend(join_all(looks).await.into_iter().flatten());
        nexts
    }

    async fn look_shard(
        &self,
        shared: &Shared,
        shard: u16,
        mut passengers: Vec<Passenger<K, V>>,
        trip: &Trip<K, V>,
    ) -> Vec<Next<K, V>> {
        let found = match self.look_at_many(shared, &mut passengers, &trip.lease).await {
            Ok(found) => found,
            Err(error) => passengers.iter().map(|_| Err(error.clone())).collect(),
        };
        self.learn_found(shard, &found).await;
        let (mut nexts, mut stale) = (Vec::with_capacity(passengers.len()), Vec::new());
        for (passenger, found) in passengers.into_iter().zip(found) {
            match self.settle(shared, passenger, found, &trip.policy) {
                Settled::Next(next) => nexts.push(next),
                Settled::Replace(passenger) => stale.push(passenger),
            }
        }
        nexts.extend(self.replace_many(shared, stale, &trip.lease).await);
        nexts
    }

    /// Takes the leases of keys of one shard that are loaded whatever is there. What another node is loading is loaded here all
    /// the same, and not stored.
    async fn lease_shard(
        &self,
        shared: &Shared,
        passengers: Vec<Passenger<K, V>>,
        trip: &Trip<K, V>,
    ) -> Vec<Next<K, V>> {
        let pending = passengers.iter().map(|one| self.still_pending(shared, &one.text, one.basis));
        let pending = join_all(pending).await;
        let (mut nexts, mut to_load) = (Vec::new(), Vec::new());
        for (mut passenger, pending) in passengers.into_iter().zip(pending) {
            match pending {
                // The source has nothing newer.
                Ok(Some(entry)) => nexts.push(self.land_shared(passenger, entry)),
                Ok(None) => to_load.push(passenger),
                Err(_) => {
                    self.stats.count(Counter::SharedErrors);
                    passenger.reason = MissReason::Error;
                    nexts.push(Next::Load(passenger));
                }
            }
        }
        if self.stand_all(&mut to_load).await.is_err() {
            self.stats.count(Counter::SharedErrors);
            nexts.extend(to_load.into_iter().map(Next::Load));
            return nexts;
        }
        let leased = self.replace_many(shared, to_load, &trip.lease).await.into_iter();
        nexts.extend(leased.map(|next| match next {
            Next::Wait(passenger) => Next::Load(passenger),
            next => next,
        }));
        nexts
    }

    /// Brings this node up to date before a look at these keys: one round trip for the first of them if it has fallen behind,
    /// none for the others.
    async fn stand_all(&self, passengers: &mut [Passenger<K, V>]) -> Result<()> {
        for passenger in passengers {
            passenger.basis = self.stand(Route::Home, &passenger.text).await?;
        }
        Ok(())
    }

    /// Asks for the marks of all tags in what was found that this node does not know yet: one round trip if there is
    /// any. If that fails, the values with such tags are not believed.
    async fn learn_found(&self, shard: u16, found: &[Result<Lookup>]) {
        let envelopes = found.iter().filter_map(|found| match found {
            Ok(Lookup::Value(envelope)) => Some(envelope),
            _ => None,
        });
        self.counted(&self.learn_tags_of(shard, envelopes).await);
    }

    /// [`look`](Self::look) for several keys of one shard.
    async fn look_at_many(
        &self,
        shared: &Shared,
        passengers: &mut [Passenger<K, V>],
        lease: &Lease,
    ) -> Result<Vec<Result<Lookup>>> {
        self.stand_all(passengers).await?;
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
        policy: &Policy,
    ) -> Settled<K, V> {
        let entry = match found {
            Ok(Lookup::Busy) => return Settled::Next(Next::Wait(passenger)),
            Ok(Lookup::Leased) => {
                passenger.leased = Leased::Yes;
                return Settled::Next(Next::Load(passenger));
            }
            Err(error) => {
                self.stats.count(Counter::SharedErrors);
                passenger.reason = MissReason::Error;
                passenger.not_answered(&error);
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
                let known = self.are_tags_known(shard, &envelope);
                match self.entry_at_hand(&envelope, passenger.basis) {
                    // Whatever was heard meanwhile: the source has nothing newer.
                    Some(entry) if envelope.is_pending() => {
                        return Settled::Next(self.land_shared(passenger, entry));
                    }
                    Some(entry) if after_clear && entry.is_current(&self.coherence) => Some(entry),
                    None if known => None,
                    // Nobody could say what was purged, and the source does not have it yet.
                    None if envelope.is_pending() => {
                        passenger.reason = MissReason::Error;
                        return Settled::Next(Next::Load(passenger));
                    }
                    _ => {
                        passenger.reason = MissReason::Purged;
                        return Settled::Replace(passenger);
                    }
                }
            }
        };
        self.settle_by_age(passenger, entry, policy)
    }

    /// What the age of a value that is believed means for its key. `None` is one that cannot be read.
    fn settle_by_age(
        &self,
        mut passenger: Passenger<K, V>,
        entry: Option<NearEntry<V>>,
        policy: &Policy,
    ) -> Settled<K, V> {
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
                passenger.offer_spare(policy);
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
                    passenger.leased = Leased::Yes;
                    Next::Load(passenger)
                }
                Err(error) => {
                    self.stats.count(Counter::SharedErrors);
                    passenger.not_answered(&error);
                    Next::Load(passenger)
                }
            });
        }
        nexts
    }
}
