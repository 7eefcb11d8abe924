//! The way home of a batch: one load for all, then one write a shard of what was loaded and of the leases without use.

use std::{collections::BTreeMap, fmt, hash::Hash, sync::Arc};

use futures_util::future::join_all;
use tokio::time::sleep;

use crate::{
    Error, ErrorKind, Result,
    cache::{
        MissReason, Read,
        batch::{Leased, Passenger, Trip, for_each_key},
        entry::{Lease, Lifetime},
        fetch::while_renewing,
        flight::Leader,
        inner::Inner,
        near::NearEntry,
        refresh::REFRESH_PAUSE,
        route::Route,
        shared::{Filled, Shared},
        stats::Counter,
        store::{Load, Stowage, loaded},
    },
};

/// What a load brought for one key of a batch.
struct Luggage<V> {
    value: Option<Arc<V>>,
    /// Of its tags.
    hashes: Result<Vec<u64>>,
}

/// One key of a batch whose value is here.
struct Arrival<K: Hash + Eq, V> {
    passenger: Passenger<K, V>,
    value: Option<Arc<V>>,
    life: Option<Lifetime>,
    answer: Result<Read<V>>,
    stowage: Stowage<V>,
}

/// One flight of a batch at its end.
pub(super) struct Landing<K: Hash + Eq, V> {
    pub(super) leader: Leader<K, V>,
    pub(super) answer: Result<Read<V>>,
    /// What the near tier may keep, unless an invalidation came.
    pub(super) keep: Option<NearEntry<V>>,
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Lands these flights. A refresh that came to nothing stays registered for a moment, so that a failing source is not
    /// asked again by every reader.
    pub(super) async fn land_all(&self, landings: Vec<Landing<K, V>>) {
        let comes_to_nothing =
            |landing: &Landing<K, V>| landing.keep.is_none() && landing.leader.is_refresh();
        let (idle, landings): (Vec<_>, Vec<_>) = landings.into_iter().partition(comes_to_nothing);
        for Landing { leader, answer, keep } in landings {
            leader.land(answer, |key| self.keep_near(key, keep));
        }
        if !idle.is_empty() {
            sleep(REFRESH_PAUSE).await;
        }
        for Landing { leader, answer, .. } in idle {
            leader.land(answer, |_| {});
        }
    }

    /// One call of the source for all passengers; the shards are filled at the same time.
    pub(super) async fn load_many(&self, passengers: Vec<Passenger<K, V>>, trip: &Trip<K, V>) {
        let keys: Vec<K> = passengers.iter().map(|passenger| passenger.leader.key().clone()).collect();
        let (load, wanted, begun_us) = (trip.load.clone(), keys.len(), self.clock.stopwatch_us());
        let loading = self.load(&trip.policy, move || load(keys));
        let leased = keys_with(Leased::Yes, &passengers);
        let values = match &self.shared {
            Some(shared) if !leased.is_empty() => while_renewing(shared, &leased, &trip.lease, loading).await,
            _ => loading.await,
        };
        match values.and_then(|values| for_each_key(values, wanted)) {
            Ok(values) => {
                let load_us = self.clock.stopwatch_us().saturating_sub(begun_us);
                let shards = self.by_shard(passengers.into_iter().zip(values), |(passenger, _)| passenger);
                join_all(
                    shards.into_iter().map(|(shard, loaded)| self.bring_home(shard, loaded, trip, load_us)),
                )
                .await;
            }
            Err(error) => {
                let shards = self.by_shard(passengers, |passenger| passenger);
                join_all(
                    shards
                        .into_iter()
                        .map(|(shard, failed)| self.turn_back(shard, failed, &error, &trip.lease)),
                )
                .await;
            }
        }
    }

    fn by_shard<T>(
        &self,
        all: impl IntoIterator<Item = T>,
        passenger: impl Fn(&T) -> &Passenger<K, V>,
    ) -> BTreeMap<u16, Vec<T>> {
        let mut shards: BTreeMap<u16, Vec<T>> = BTreeMap::new();
        for one in all {
            let shard = self.coherence.shard_of(&passenger(&one).text);
            shards.entry(shard).or_default().push(one);
        }
        shards
    }

    /// Stores the values of one shard, and lands their flights.
    async fn bring_home(
        &self,
        shard: u16,
        loaded: Vec<(Passenger<K, V>, Option<V>)>,
        trip: &Trip<K, V>,
        load_us: u64,
    ) {
        let doubtful = doubtful(loaded.iter().map(|(passenger, _)| passenger));
        let loaded = self.tagged(shard, loaded, trip).await;
        let arrivals: Vec<_> =
            loaded.into_iter().map(|(passenger, load)| self.arrive(passenger, load, trip, load_us)).collect();
        let filled = match &self.shared {
            Some(shared) => self.fill_shard(shared, shard, &arrivals, trip).await,
            None => Vec::new(),
        };
        let mut filled = filled.into_iter();
        let mut landings = Vec::with_capacity(arrivals.len());
        let (mut purged, mut purged_tags) = (Vec::new(), Vec::new());
        for Arrival { passenger, value, life, answer, stowage } in arrivals {
            let keep = match (stowage, life) {
                (Stowage::Near(keep), _) => keep,
                (Stowage::Shared(envelope), Some(life)) => {
                    let filled = filled.next().unwrap_or(Ok(Filled::LeaseLost));
                    if matches!(filled, Ok(Filled::Purged)) {
                        purged.push(passenger.text.clone());
                        purged_tags.extend_from_slice(&envelope.tags);
                    }
                    self.kept_after(&filled, passenger.basis, value, life, &envelope.tags)
                }
                (Stowage::Shared(_), None) => None,
            };
            landings.push(Landing { leader: passenger.leader, answer, keep });
        }
        // Before the landing: who reads these keys next would wait for their leases.
        self.find_out_purge(Route::Home, &texts(&purged), &trip.lease, &purged_tags).await;
        self.land_all(landings).await;
        self.give_back_many(shard, &texts(&doubtful), &trip.lease).await;
    }

    /// Gives leases back that nobody uses. If that fails, they run out by themselves.
    async fn give_back_many(&self, shard: u16, keys: &[&str], lease: &Lease) {
        if let Some(shared) = &self.shared
            && shared.release_many(shard, keys, lease).await.is_err()
        {
            self.stats.count(Counter::SharedErrors);
        }
    }

    /// Adds the tags of what was loaded for one shard. What is new to this node is asked for at once; what it does not come to know
    /// here is not kept.
    async fn tagged(
        &self,
        shard: u16,
        loaded: Vec<(Passenger<K, V>, Option<V>)>,
        trip: &Trip<K, V>,
    ) -> Vec<(Passenger<K, V>, Luggage<V>)> {
        let tag = |(passenger, value): (Passenger<K, V>, Option<V>)| {
            let hashes = self.tags_of(passenger.leader.key(), &trip.tags, value.as_ref());
            (passenger, Luggage { value: value.map(Arc::new), hashes })
        };
        let loaded: Vec<_> = loaded.into_iter().map(tag).collect();
        // Where Redis has just failed, it is not asked for new tags as well.
        let asking = loaded.iter().filter(|(passenger, _)| passenger.reason != MissReason::Error);
        let hashes: Vec<u64> =
            asking.filter_map(|(_, load)| load.hashes.as_ref().ok()).flatten().copied().collect();
        self.counted(&self.learn_tags(shard, &hashes).await);
        loaded
    }

    /// What is to be stored of one value, and where.
    fn arrive(
        &self,
        passenger: Passenger<K, V>,
        Luggage { value, hashes }: Luggage<V>,
        trip: &Trip<K, V>,
        load_us: u64,
    ) -> Arrival<K, V> {
        let key = passenger.leader.key().clone();
        let load_us = self.load_time_to_keep(&key, load_us);
        let life = self.lifetime(&trip.policy, value.as_deref(), load_us);
        let answer = Ok(loaded(value.clone(), life, passenger.reason));
        let order = Load {
            key: &key,
            text: &passenger.text,
            basis: passenger.basis,
            tags: &trip.tags,
            policy: &trip.policy,
            lease: passenger.is_leased().then_some(trip.lease),
            reason: passenger.reason,
            load_us,
        };
        let stowage = match life {
            Some(life) if !passenger.blocked => hashes.and_then(|hashes| {
                let tags = self.tags_at_hand(passenger.basis, &hashes);
                self.stow(&order, value.clone(), life, tags)
            }),
            _ => Ok(Stowage::Near(None)),
        };
        if let Err(error) = &stowage
            && error.kind() == ErrorKind::TooLarge
        {
            self.remember(&key, MissReason::TooLarge);
        }
        let stowage = stowage.unwrap_or(Stowage::Near(None));
        Arrival { passenger, value, life, answer, stowage }
    }

    /// Sends the fills of one shard and the leases that came to nothing.
    async fn fill_shard(
        &self,
        shared: &Shared,
        shard: u16,
        arrivals: &[Arrival<K, V>],
        trip: &Trip<K, V>,
    ) -> Vec<Result<Filled>> {
        let (mut fills, mut unused) = (Vec::new(), Vec::new());
        for Arrival { passenger, stowage, .. } in arrivals {
            match stowage {
                Stowage::Shared(envelope) => fills.push((&*passenger.text, envelope)),
                Stowage::Near(_) if passenger.is_leased() => unused.push(&*passenger.text),
                Stowage::Near(_) => {}
            }
        }
        let compress_above_bytes = trip.policy.compress_above_bytes;
        shared.fill_many(shard, &fills, &unused, &trip.lease, compress_above_bytes).await
    }

    /// The load failed: gives the leases of one shard back, and lands the flights with that, or with something stale.
    async fn turn_back(&self, shard: u16, passengers: Vec<Passenger<K, V>>, error: &Error, lease: &Lease) {
        self.give_back_many(shard, &keys_with(Leased::Yes, &passengers), lease).await;
        let doubtful = doubtful(&passengers);
        let turned_back = passengers.into_iter().map(|passenger| {
            let spare = passenger.spare.as_ref().and_then(|(spare, served)| self.spare_read(spare, *served));
            let answer = spare.ok_or_else(|| error.clone());
            Landing { leader: passenger.leader, answer, keep: None }
        });
        self.land_all(turned_back.collect()).await;
        self.give_back_many(shard, &texts(&doubtful), lease).await;
    }
}

/// The keys of those whose leases stand so.
fn keys_with<'a, K: Hash + Eq + 'a, V: 'a>(
    leased: Leased,
    passengers: impl IntoIterator<Item = &'a Passenger<K, V>>,
) -> Vec<&'a str> {
    let with = passengers.into_iter().filter(|passenger| passenger.leased == leased);
    with.map(|passenger| &*passenger.text).collect()
}

/// Whose leases Redis may have granted after nobody waited for that any more. They are given back behind the landing: it may
/// still be as slow.
fn doubtful<'a, K: Hash + Eq + 'a, V: 'a>(
    passengers: impl IntoIterator<Item = &'a Passenger<K, V>>,
) -> Vec<String> {
    keys_with(Leased::Perhaps, passengers).into_iter().map(str::to_owned).collect()
}

fn texts(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}
