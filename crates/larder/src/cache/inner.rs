//! What a cache is made of, and its read path up to the flight.

use std::{
    borrow::Borrow,
    fmt,
    future::ready,
    hash::Hash,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, time::timeout};
use tokio_util::task::TaskTracker;

use crate::{
    Error, ErrorKind, Result,
    cache::{
        Explain, MAX_NEAR_TTL_SHARED, MissReason, Policy, Read, ReadMode, ReadOptions, Served, TierState,
        batch::{BatchLoader, Passenger},
        codec::SharedCodec,
        depart::Parts,
        entry::{Freshness, Lease},
        fetch::{Loader, Plan, loaded},
        flight::{Boarding, Flight, Flights},
        near::{Near, NearEntry},
        shared::Shared,
        stats::{Counter, Stats},
    },
    clock::Time,
    source::{SharedSink, SharedSource},
};

pub(crate) struct Inner<K, V> {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    pub(crate) near_ttl_ms: u64,
    pub(crate) near: Option<Near<K, V>>,
    pub(crate) shared: Option<Arc<Shared>>,
    /// Always there beside Redis; the builder sees to it.
    pub(crate) codec: Option<SharedCodec<V>>,
    pub(crate) source: Option<SharedSource<K, V>>,
    pub(crate) sink: Option<SharedSink<K, V>>,
    pub(crate) flights: Arc<Flights<K, V>>,
    pub(crate) stats: Stats,
    pub(crate) clock: Time,
    /// Owns every flight; a flight ends by its own deadlines.
    pub(crate) tasks: TaskTracker,
    pub(crate) loads: Semaphore,
    pub(crate) weigher: Arc<dyn Fn(&V) -> u32 + Send + Sync>,
    /// The longest lifetime, stale windows included, that any call has asked for.
    pub(crate) longest_life_ms: AtomicU64,
}

/// A read that has to wait.
type SlowRead<'a, V> = Pin<Box<dyn Future<Output = Result<Read<V>>> + Send + 'a>>;

/// What the near tier says to a read.
pub(crate) enum NearLook<V> {
    Fresh(NearEntry<V>),
    Stale(NearEntry<V>),
    Miss(MissReason, Option<(NearEntry<V>, Served)>),
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// The hit path: one look at the near map, one read of the coarse clock, one counter. No lock of our own, no
    /// allocation. `answer` takes what it needs from the copy where it lies: moving the whole of it would cost as much
    /// as the look itself.
    #[inline]
    pub(crate) fn near_hit<Q, R>(
        &self,
        key: &Q,
        answer: impl FnOnce(&mut NearEntry<V>, u64) -> R,
    ) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut found = self.near.as_ref()?.get(key);
        let entry = found.as_mut()?;
        let now_ms = self.clock.monotonic_ms();
        if entry.freshness(now_ms) != Freshness::Fresh {
            return None;
        }
        self.stats.count(Counter::NearHits);
        Some(answer(entry, now_ms))
    }

    pub(crate) fn look_near(&self, key: &K) -> NearLook<V> {
        let Some(near) = &self.near else { return NearLook::Miss(MissReason::Cold, None) };
        let Some(entry) = near.get(key) else { return NearLook::Miss(near.why_absent(key), None) };
        match entry.freshness(self.clock.monotonic_ms()) {
            Freshness::Fresh => NearLook::Fresh(entry),
            Freshness::Stale => NearLook::Stale(entry),
            Freshness::Fallback => NearLook::Miss(MissReason::Expired, Some((entry, Served::Near))),
            Freshness::Expired => NearLook::Miss(MissReason::Expired, None),
        }
    }

    pub(crate) fn remember(&self, key: &K, reason: MissReason) {
        if let Some(near) = &self.near {
            near.remember(key, reason);
        }
    }

    pub(crate) fn source(&self) -> Result<&SharedSource<K, V>> {
        self.source.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Config, "the cache has no source: build it with one, or use get_with")
                .context(&self.name)
        })
    }

    pub(crate) fn sink(&self) -> Result<&SharedSink<K, V>> {
        self.sink.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Config, "the cache has no sink: build it with one").context(&self.name)
        })
    }

    pub(crate) fn read_through<'a>(self: &'a Arc<Self>, key: K, options: &'a ReadOptions) -> SlowRead<'a, V> {
        let (source, wanted) = match self.source() {
            Ok(source) => (source.clone(), key.clone()),
            Err(error) => return Box::pin(ready(Err(error))),
        };
        let load: Loader<Option<V>> = Box::new(move || Box::pin(async move { source.load(&wanted).await }));
        self.read_slow(key, options, load)
    }

    /// Everything but a fresh near hit. Boxed in here, so that the stack frame of a hit has no room for it.
    #[cold]
    #[inline(never)]
    pub(crate) fn read_slow<'a>(
        self: &'a Arc<Self>,
        key: K,
        options: &'a ReadOptions,
        load: Loader<Option<V>>,
    ) -> SlowRead<'a, V> {
        Box::pin(async move {
            let policy = self.policy_of(options)?;
            let answer = async {
                match options.mode {
                    ReadMode::Bypass => self.bypass(&policy, load).await,
                    ReadMode::Refresh => {
                        self.board(key, options.mode, (MissReason::Asked, None), policy, load).await
                    }
                    ReadMode::Cached => match self.look_near(&key) {
                        NearLook::Fresh(entry) => Ok(entry.read(Served::Near, self.clock.monotonic_ms())),
                        NearLook::Stale(entry) => {
                            self.tasks.spawn(self.clone().refresh(key, policy, load));
                            Ok(entry.read(Served::Near, self.clock.monotonic_ms()))
                        }
                        NearLook::Miss(reason, spare) => {
                            self.board(key, options.mode, (reason, spare), policy, load).await
                        }
                    },
                }
            };
            let answer = match options.deadline {
                None => answer.await,
                Some(deadline) => timeout(deadline, answer).await.unwrap_or_else(|_| {
                    Err(Error::new(ErrorKind::Timeout, "no answer before the call's deadline"))
                }),
            };
            self.count_answer(&answer);
            answer
        })
    }

    fn policy_of(&self, options: &ReadOptions) -> Result<Policy> {
        let Some(policy) = &options.policy else { return Ok(self.policy.clone()) };
        policy.check()?;
        self.longest_life_ms.fetch_max(policy.keep().as_millis() as u64, Relaxed);
        Ok(policy.clone())
    }

    fn count_answer(&self, answer: &Result<Read<V>>) {
        match answer {
            Ok(read) => self.stats.count_served(read.served, read.stale, read.reason),
            Err(_) => self.stats.count(Counter::ReadErrors),
        }
    }

    async fn bypass(&self, policy: &Policy, load: Loader<Option<V>>) -> Result<Read<V>> {
        let value = self.load(policy, load).await?.map(Arc::new);
        Ok(loaded(value, None, MissReason::Asked))
    }

    /// How old a flight may be and still be joined. Beside a shared Redis an older one may have begun before another
    /// node's invalidation.
    fn joinable(&self) -> Duration {
        if self.shared.is_some() { MAX_NEAR_TTL_SHARED } else { Duration::MAX }
    }

    /// Joins the key's flight or begins one.
    async fn board(
        self: &Arc<Self>,
        key: K,
        mode: ReadMode,
        (reason, spare): (MissReason, Option<(NearEntry<V>, Served)>),
        policy: Policy,
        load: Loader<Option<V>>,
    ) -> Result<Read<V>> {
        let now_ms = self.clock.monotonic_ms();
        let joinable = (mode != ReadMode::Refresh).then(|| self.joinable());
        match self.flights.board(&key, now_ms, joinable) {
            Boarding::Join(flight) => flight.wait().await,
            Boarding::Lead(leader) => {
                // Between the look at the near tier and here the key's last flight may have landed.
                if mode == ReadMode::Cached
                    && let NearLook::Fresh(entry) = self.look_near(&key)
                {
                    let read = entry.read(Served::Near, now_ms);
                    leader.land(Ok(read.clone()), || {});
                    return Ok(read);
                }
                let plan = Plan { policy, mode, reason, lease: Lease::random(), first: None, spare };
                self.depart(Parts { leader, plan, load }).await
            }
        }
    }

    pub(crate) async fn read_many(
        self: &Arc<Self>,
        keys: &[K],
        load: BatchLoader<K, V>,
    ) -> Result<Vec<Option<Arc<V>>>> {
        let now_ms = self.clock.monotonic_ms();
        let (mut answers, mut passengers) = (Vec::with_capacity(keys.len()), Vec::new());
        for key in keys {
            let (reason, spare) = match self.look_near(key) {
                NearLook::Fresh(entry) | NearLook::Stale(entry) => {
                    answers.push(Answer::Here(entry.read(Served::Near, now_ms)));
                    continue;
                }
                NearLook::Miss(reason, spare) => (reason, spare),
            };
            let flight = match self.flights.board(key, now_ms, Some(self.joinable())) {
                Boarding::Join(flight) => flight,
                Boarding::Lead(leader) => {
                    let flight = leader.flight();
                    // As in `board`.
                    match self.look_near(key) {
                        NearLook::Fresh(entry) => leader.land(Ok(entry.read(Served::Near, now_ms)), || {}),
                        _ => passengers.push(Passenger::new(leader, reason, spare)),
                    }
                    flight
                }
            };
            answers.push(Answer::Coming(flight));
        }
        if !passengers.is_empty() {
            self.tasks.spawn(self.clone().fly_many(passengers, self.policy.clone(), load));
        }
        let mut values = Vec::with_capacity(keys.len());
        for answer in answers {
            let answer = match answer {
                Answer::Here(read) => Ok(read),
                Answer::Coming(flight) => flight.wait().await,
            };
            self.count_answer(&answer);
            values.push(answer.map(|read| read.value));
        }
        values.into_iter().collect()
    }

    pub(crate) async fn explain(&self, key: &K) -> Explain {
        let text = key.to_string();
        let near = match &self.near {
            None => TierState::Off,
            Some(near) => {
                near.get(key).map_or(TierState::Empty, |entry| entry.state(self.clock.monotonic_ms()))
            }
        };
        let shared = match &self.shared {
            None => None,
            Some(shared) => Some(shared.state(&text, self.clock.unix_ms()).await),
        };
        Explain {
            near,
            shared,
            slot_key: self.shared.as_ref().and_then(|shared| shared.slot_key(&text).ok()),
            last_seen: self.near.as_ref().and_then(|near| near.recall(key)),
            invalidation_owed: self
                .shared
                .as_ref()
                .is_some_and(|shared| !shared.unsent.trusts(&text, self.clock.monotonic_ms())),
            key: text,
        }
    }
}

/// Where the answer for one key of a batch comes from.
enum Answer<V> {
    Here(Read<V>),
    Coming(Arc<Flight<V>>),
}
