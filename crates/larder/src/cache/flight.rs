//! Single flight: who loads a key now, and who waits for it.
//!
//! A flight is registered before its load begins and removed by an invalidation of its key. Removal does not stop it,
//! its waiters get their answer, but it may no longer leave a copy in the near tier, and a reader who starts later
//! begins a flight of its own. Registration, removal and the near insert of one key happen under one short lock, so
//! there is no moment between "still mine?" and the insert.

use std::{
    borrow::Borrow,
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use foldhash::fast::RandomState;
use tokio::time::{Instant, timeout_at};

use crate::{
    Error, ErrorKind, Result,
    cache::{Read, Served, coherence::Basis, near::NearEntry},
    sync::{Mutex, Notify, OnceLock},
};

const SHARDS: usize = 64;

/// One load under way, shared by everyone who waits for its key.
pub(crate) struct Flight<V> {
    begun_ms: u64,
    /// What was known of invalidations when it began.
    basis: Basis,
    answer: OnceLock<Result<Read<V>>>,
    /// Something stale, for those who do not wait for the answer. Boxed: few flights have one.
    spare: OnceLock<Box<Spare<V>>>,
    /// Told when either is there.
    landed: Notify,
}

/// Something past its time, and who has it.
pub(crate) type Spare<V> = (NearEntry<V>, Served);

/// What a reader with little patience got.
pub(crate) enum Landing<'a, V> {
    Answer(Result<Read<V>>),
    /// No answer yet, but something stale.
    Overdue(&'a Spare<V>),
}

impl<V> Flight<V> {
    fn new(basis: Basis, begun_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            begun_ms,
            basis,
            answer: OnceLock::new(),
            spare: OnceLock::new(),
            landed: Notify::new(),
        })
    }

    pub(crate) fn basis(&self) -> &Basis {
        &self.basis
    }

    pub(crate) fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.begun_ms)
    }

    /// Waits for the answer. Dropping the future leaves the flight alone.
    pub(crate) async fn wait(&self) -> Result<Read<V>> {
        loop {
            // Registered before the check: a landing in between wakes us.
            let landed = self.landed.notified();
            if let Some(answer) = self.answer.get() {
                return answer.clone();
            }
            landed.await;
        }
    }

    /// Waits for the answer until a moment, and from then on for the answer or something stale, whichever is there first.
    pub(crate) async fn wait_patiently(&self, until: Instant) -> Landing<'_, V> {
        if let Ok(answer) = timeout_at(until, self.wait()).await {
            return Landing::Answer(answer);
        }
        loop {
            let landed = self.landed.notified();
            if let Some(answer) = self.answer.get() {
                return Landing::Answer(answer.clone());
            }
            if let Some(spare) = self.spare.get() {
                return Landing::Overdue(spare);
            }
            landed.await;
        }
    }

    /// Gives those who do not wait for the answer something stale; only the first one counts.
    pub(crate) fn offer(&self, spare: &Spare<V>) {
        if self.spare.set(Box::new(spare.clone())).is_ok() {
            self.landed.notify_waiters();
        }
    }

    fn land(&self, answer: Result<Read<V>>) {
        if self.answer.set(answer).is_ok() {
            self.landed.notify_waiters();
        }
    }
}

/// What a reader got when it asked for the flight of a key.
pub(crate) enum Boarding<K: Hash + Eq, V> {
    /// Nobody was loading: the caller leads, and must land the flight.
    Lead(Leader<K, V>),
    /// Somebody is.
    Join(Arc<Flight<V>>),
}

/// All flights of one cache: loads that readers wait for, and refreshes that nobody waits for.
pub(crate) struct Flights<K, V> {
    shards: Box<[SharedShard<K, V>]>,
    hasher: RandomState,
}

/// Each counted apart: one count for all would be written to by every flight.
type SharedShard<K, V> = Arc<Mutex<Shard<K, V>>>;

struct Shard<K, V> {
    loads: HashMap<K, Arc<Flight<V>>, RandomState>,
    refreshes: HashMap<K, Arc<Flight<V>>, RandomState>,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        let shard = || Shard { loads: HashMap::default(), refreshes: HashMap::default() };
        Self {
            shards: (0..SHARDS).map(|_| Arc::new(Mutex::new(shard()))).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl<K: Hash + Eq + Clone, V> Flights<K, V> {
    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> &SharedShard<K, V> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    /// Joins the flight of `key` if it is one that this reader may join, or leads a new one.
    pub(crate) fn board(
        &self,
        key: K,
        basis: Basis,
        now_ms: u64,
        may_join: impl FnOnce(&Flight<V>) -> bool,
    ) -> Boarding<K, V> {
        let home = self.shard(&key);
        let mut shard = home.lock();
        if let Some(flight) = shard.loads.get(&key)
            && may_join(flight)
        {
            return Boarding::Join(flight.clone());
        }
        let flight = Flight::new(basis, now_ms);
        shard.loads.insert(key.clone(), flight.clone());
        Boarding::Lead(Leader { shard: home.clone(), key, flight, kind: Kind::Load })
    }

    /// Begins a refresh behind a stale value, unless one is under way.
    pub(crate) fn begin_refresh(&self, key: &K, basis: Basis, now_ms: u64) -> Option<Leader<K, V>> {
        let home = self.shard(key);
        let mut shard = home.lock();
        if shard.refreshes.contains_key(key) {
            return None;
        }
        let flight = Flight::new(basis, now_ms);
        shard.refreshes.insert(key.clone(), flight.clone());
        drop(shard);
        Some(Leader { shard: home.clone(), key: key.clone(), flight, kind: Kind::Refresh })
    }

    /// The refresh of `key`, if there is one whose answer is still to come.
    pub(crate) fn refresh_under_way<Q>(&self, key: &Q) -> Option<Arc<Flight<V>>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let shard = self.shard(key).lock();
        shard.refreshes.get(key).filter(|flight| flight.answer.get().is_none()).cloned()
    }

    /// Cuts the flights of `key` off from the near tier and runs `forget` under the same lock.
    pub(crate) fn ground<Q>(&self, key: &Q, forget: impl FnOnce())
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut shard = self.shard(key).lock();
        shard.loads.remove(key);
        shard.refreshes.remove(key);
        forget();
    }

    /// The keys of all flights that are under way.
    pub(crate) fn keys(&self) -> Vec<K> {
        let mut keys = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            keys.extend(shard.loads.keys().chain(shard.refreshes.keys()).cloned());
        }
        keys
    }

    #[cfg(test)]
    fn under_way(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock())
            .map(|shard| shard.loads.len() + shard.refreshes.len())
            .sum()
    }
}

impl<K, V> fmt::Debug for Flights<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Load,
    Refresh,
}

/// The duty to land a flight. If it is dropped without landing, because the load panicked or its runtime went away, the
/// waiters get an error instead of waiting for ever.
pub(crate) struct Leader<K: Hash + Eq, V> {
    shard: SharedShard<K, V>,
    key: K,
    flight: Arc<Flight<V>>,
    kind: Kind,
}

impl<K: Hash + Eq, V> Leader<K, V> {
    pub(crate) fn flight(&self) -> Arc<Flight<V>> {
        self.flight.clone()
    }

    pub(crate) fn key(&self) -> &K {
        &self.key
    }

    /// Whether nobody waits for it.
    pub(crate) fn is_refresh(&self) -> bool {
        matches!(self.kind, Kind::Refresh)
    }

    /// See [`Flight::offer`].
    pub(crate) fn offer(&self, spare: &Spare<V>) {
        self.flight.offer(spare);
    }

    /// Gives the answer to all waiters, while the flight stays registered.
    pub(crate) fn tell(&self, answer: Result<Read<V>>) {
        self.flight.land(answer);
    }

    /// Gives the answer to all waiters. `keep` runs only if no invalidation came since the flight began, and no
    /// invalidation can come while it runs.
    pub(crate) fn land(self, answer: Result<Read<V>>, keep: impl FnOnce(&K)) {
        self.leave(keep);
        self.flight.land(answer);
    }

    fn leave(&self, keep: impl FnOnce(&K)) {
        let mut shard = self.shard.lock();
        let map = match self.kind {
            Kind::Load => &mut shard.loads,
            Kind::Refresh => &mut shard.refreshes,
        };
        if map.get(&self.key).is_some_and(|current| Arc::ptr_eq(current, &self.flight)) {
            map.remove(&self.key);
            keep(&self.key);
        }
    }
}

impl<K: Hash + Eq, V> Drop for Leader<K, V> {
    fn drop(&mut self) {
        let is_answered = self.flight.answer.get().is_some();
        // One that was told its answer may still be registered.
        if !is_answered || self.is_refresh() {
            self.leave(|_| {});
        }
        if !is_answered {
            let message = "the load ended without an answer: it panicked";
            self.flight.land(Err(Error::new(ErrorKind::Source, message)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::cache::coherence::Coherence;

    fn basis() -> Basis {
        Coherence::alone().basis("1")
    }

    fn read(number: u32) -> Read<u32> {
        Read::loaded(Some(Arc::new(number)), Duration::ZERO, None)
    }

    fn lead(flights: &Arc<Flights<u8, u32>>) -> Leader<u8, u32> {
        match flights.board(1, basis(), 0, |_| true) {
            Boarding::Lead(leader) => leader,
            Boarding::Join(_) => panic!("somebody else leads"),
        }
    }

    #[tokio::test]
    async fn a_second_reader_joins_and_gets_the_same_answer() {
        let flights = Arc::new(Flights::default());
        let leader = lead(&flights);
        let Boarding::Join(flight) = flights.board(1, basis(), 0, |_| true) else { panic!("two leaders") };
        leader.land(Ok(read(7)), |_| {});
        assert_eq!(flight.wait().await.unwrap().value.as_deref(), Some(&7));
        assert_eq!(flights.under_way(), 0);
    }

    #[tokio::test]
    async fn an_invalidation_cuts_the_flight_off_and_later_readers_start_anew() {
        let flights = Arc::new(Flights::default());
        let old = lead(&flights);
        flights.ground(&1, || {});
        let new = lead(&flights);
        let (mut old_kept, mut new_kept) = (false, false);
        old.land(Ok(read(1)), |_| old_kept = true);
        new.land(Ok(read(2)), |_| new_kept = true);
        assert!(!old_kept, "a load from before the invalidation must not be kept");
        assert!(new_kept);
    }

    #[tokio::test]
    async fn waiters_get_an_error_when_the_leader_is_lost() {
        let flights = Arc::new(Flights::default());
        let leader = lead(&flights);
        let flight = leader.flight();
        drop(leader);
        assert_eq!(flight.wait().await.unwrap_err().kind(), ErrorKind::Source);
        assert_eq!(flights.under_way(), 0);
    }

    #[tokio::test]
    async fn one_refresh_at_a_time() {
        let flights: Arc<Flights<u8, u32>> = Arc::new(Flights::default());
        let first = flights.begin_refresh(&1, basis(), 0);
        assert!(first.is_some());
        assert!(flights.begin_refresh(&1, basis(), 0).is_none());
        drop(first);
        assert!(flights.begin_refresh(&1, basis(), 0).is_some());
    }
}
