//! What a cache is made of, and its read path up to the flight.

use std::{borrow::Borrow, fmt, future::ready, hash::Hash, ops::Range, pin::Pin, sync::Arc, time::Duration};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};
use tokio_util::task::AbortOnDropHandle;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Error, ErrorKind, Result,
    cache::{
        Consistency, Explain, MissReason, Policy, Read, ReadMode, ReadOptions, Served, TierState, Token,
        ahead::Ahead,
        behind::{Behind, ParseKey},
        codec::SharedCodec,
        coherence::Coherence,
        confirm::{Loaded, not_asked},
        depart::Parts,
        entry::{Freshness, Lease},
        fetch::Plan,
        flight::{Boarding, Flight, Flights},
        gone::Gone,
        hot::Heat,
        loader::Loader,
        log::Follower,
        near::{Near, NearEntry},
        patience::too_late,
        prints::Prints,
        refresh::RefreshOrder,
        route::Route,
        shared::Shared,
        stats::{Counter, Stats},
        store::loaded,
        tag::tag_hash,
    },
    clock::Time,
    source::{SharedSink, SharedSource},
    sync::TaskTracker,
};

/// The tags of a loaded value.
pub(crate) type TagsOf<K, V> = Arc<dyn Fn(&K, &V) -> Vec<String> + Send + Sync>;
/// The hash of the tag that a key alone decides on.
pub(crate) type TagFromKey<K> = Arc<dyn Fn(&K) -> u64 + Send + Sync>;
/// The lifetime that a loaded value asks for.
pub(crate) type TtlOf<V> = Arc<dyn Fn(&V) -> Option<Duration> + Send + Sync>;

pub(crate) struct Inner<K, V> {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    pub(crate) near_ttl_ms: u64,
    pub(crate) near: Option<Near<K, V>>,
    /// Why keys are not here, with a near tier or without.
    pub(crate) gone: Arc<Gone>,
    /// Why reads of them missed last.
    pub(crate) missed: Gone,
    pub(crate) shared: Option<Arc<Shared>>,
    /// Where this node looks hot keys up, if not at home.
    pub(crate) replica: Option<Arc<Shared>>,
    /// Always there beside Redis; the builder sees to it.
    pub(crate) codec: Option<SharedCodec<V>>,
    pub(crate) source: Option<SharedSource<K, V>>,
    /// Where it loads for replicas, if from elsewhere.
    pub(crate) replica_source: Option<SharedSource<K, V>>,
    pub(crate) sink: Option<SharedSink<K, V>>,
    /// Whether writes by the sink leave the value in the cache.
    pub(crate) writes_through: bool,
    /// Set if writes are carried out behind.
    pub(crate) behind: Option<Behind>,
    /// Own the workers that carry them out.
    pub(crate) workers: Mutex<Vec<AbortOnDropHandle<()>>>,
    pub(crate) parse_key: Option<ParseKey<K>>,
    /// What this node knows of the invalidations of all nodes.
    pub(crate) coherence: Arc<Coherence>,
    /// Keeps that in step beside Redis.
    pub(crate) follower: Option<Arc<Follower>>,
    /// Owns the follower's task.
    pub(crate) _following: Option<AbortOnDropHandle<()>>,
    pub(crate) node: u64,
    pub(crate) consistency: Consistency,
    pub(crate) flights: Flights<K, V>,
    pub(crate) stats: Stats,
    pub(crate) prints: Prints,
    /// Shared with the caches of parts: a key is as hot as all that is read of it.
    pub(crate) heat: Arc<Heat<K>>,
    /// How long a near copy of a hot key is served without asking Redis, if longer than others.
    pub(crate) hot_near_ttl_ms: Option<u64>,
    pub(crate) clock: Time,
    /// Owns every flight; a flight ends by its own deadlines.
    pub(crate) tasks: TaskTracker,
    /// Owns the replay of what Redis has not acknowledged, which ends when Redis does or the cache is dropped.
    pub(crate) replays: TaskTracker,
    pub(crate) loads: Semaphore,
    pub(crate) weigher: Arc<dyn Fn(&V) -> u32 + Send + Sync>,
    pub(crate) tags_of: Option<TagsOf<K, V>>,
    pub(crate) ttl_of: Option<TtlOf<V>>,
    /// Set if the keys are of tenants.
    pub(crate) tag_from_key: Option<TagFromKey<K>>,
    /// Which hits refresh what is about to expire.
    pub(crate) ahead: Ahead,
    /// Where this cache was built: what it owes to Redis is paid there, wherever it was noticed.
    pub(crate) runtime: Option<Handle>,
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
    /// allocation, but for the few hits that are a sample (`hot`). `answer` takes what it needs from the copy where it lies:
    /// moving the whole of it would cost as much as the look itself.
    #[inline]
    pub(crate) fn near_hit<Q, R>(
        &self,
        key: &Q,
        answer: impl FnOnce(&mut NearEntry<V>, u64) -> R,
    ) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let mut found = self.near.as_ref()?.get(key);
        let entry = found.as_mut()?;
        let now_ms = self.clock.monotonic_ms();
        if !entry.is_plain(&self.coherence, now_ms) {
            return None;
        }
        if self.stats.own().count_near_hit() {
            self.note_hit(key, now_ms);
        }
        Some(answer(entry, now_ms))
    }

    pub(crate) fn look_near(&self, key: &K) -> NearLook<V> {
        let Some(entry) = self.near.as_ref().and_then(|near| near.get(key)) else {
            return NearLook::Miss(self.gone.why_absent(key), None);
        };
        match self.near_freshness(&entry) {
            None => NearLook::Miss(entry.why_gone(&self.coherence), None),
            Some(Freshness::Fresh) => NearLook::Fresh(entry),
            Some(Freshness::Stale) => NearLook::Stale(entry),
            Some(Freshness::Fallback) => NearLook::Miss(MissReason::Expired, Some((entry, Served::Near))),
            Some(Freshness::Expired) => NearLook::Miss(MissReason::Expired, None),
        }
    }

    /// What may be done with a near copy; `None` if it was invalidated. A node that is out of step may use it as a
    /// fallback only.
    pub(crate) fn near_freshness(&self, entry: &NearEntry<V>) -> Option<Freshness> {
        if !entry.is_current(&self.coherence) {
            return None;
        }
        let now_ms = self.clock.monotonic_ms();
        Some(match entry.freshness(now_ms) {
            Freshness::Fresh | Freshness::Stale
                if !self.coherence.is_stamp_synced(&entry.terms.stamp, now_ms) =>
            {
                Freshness::Fallback
            }
            freshness => freshness,
        })
    }

    pub(crate) fn remember(&self, key: &K, reason: MissReason) {
        self.gone.remember(key, reason);
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
        match self.source() {
            Ok(_) => self.read_slow(key, options, Loader::Source),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    /// Everything but a fresh near hit. Boxed in here, so that the stack frame of a hit has no room for it.
    #[cold]
    #[inline(never)]
    pub(crate) fn read_slow<'a>(
        self: &'a Arc<Self>,
        key: K,
        options: &'a ReadOptions,
        load: Loader<V>,
    ) -> SlowRead<'a, V> {
        Box::pin(async move {
            if options.mode != ReadMode::Bypass {
                self.note_read(&key);
            }
            let print = self.missed.print(&key);
            let answer = match options.deadline {
                None => self.answer(key, options, load).await,
                // In a box of its own: else every read would carry the room for two answers.
                Some(deadline) => {
                    let answer = Box::pin(self.answer(key, options, load));
                    timeout(deadline, answer).await.unwrap_or_else(|_| Err(too_late()))
                }
            };
            self.count_answer(print, &answer);
            answer
        })
    }

    async fn answer(self: &Arc<Self>, key: K, options: &ReadOptions, load: Loader<V>) -> Result<Read<V>> {
        let policy = self.policy_of(options)?;
        if options.mode == ReadMode::Bypass {
            return Box::pin(self.bypass(&key, &policy, load, MissReason::Asked)).await;
        }
        if self.catch_up(options).await.is_err() {
            return Box::pin(self.bypass(&key, &policy, load, MissReason::Error)).await;
        }
        let miss = match self.reason_to_ask(&key, options) {
            Some(reason) => (reason, None),
            None => match self.look_near(&key) {
                NearLook::Fresh(entry) => {
                    if let Some(created_ms) = self.due_ahead(&entry) {
                        let order = RefreshOrder::ahead(policy, options.tag_hashes(), created_ms);
                        self.tasks.spawn(self.clone().refresh(key, order, load));
                    }
                    return Ok(entry.read(Served::Near, self.clock.monotonic_ms()));
                }
                NearLook::Stale(entry) => {
                    let order = RefreshOrder::late(policy, options.tag_hashes());
                    self.tasks.spawn(self.clone().refresh(key, order, load));
                    return Ok(entry.read(Served::Near, self.clock.monotonic_ms()));
                }
                NearLook::Miss(reason, spare) => (reason, spare),
            },
        };
        self.board(key, options, miss, policy, load).await
    }

    /// Why neither the near tier nor a load that is under way may answer a read; `None` if they may.
    pub(crate) fn reason_to_ask(&self, key: &K, options: &ReadOptions) -> Option<MissReason> {
        match options.mode {
            ReadMode::Cached if self.is_at(key, options) => None,
            ReadMode::Cached => Some(MissReason::Invalidated),
            ReadMode::Refresh | ReadMode::Bypass => Some(MissReason::Asked),
        }
    }

    pub(crate) fn policy_of(&self, options: &ReadOptions) -> Result<Policy> {
        let Some(policy) = &options.policy else { return Ok(self.policy.clone()) };
        policy.check()?;
        Ok(policy.clone())
    }

    /// Counts the answer of one read of the key with this print, and remembers why it missed for whoever asks later.
    pub(crate) fn count_answer(&self, print: u64, answer: &Result<Read<V>>) {
        match answer {
            Ok(read) => {
                self.stats.count_served(read.served, read.stale, read.reason);
                if let Some(reason) = read.reason {
                    self.missed.remember_print(print, reason);
                }
            }
            Err(_) => self.stats.count(Counter::ReadErrors),
        }
    }

    /// Brings this node up to what the token of a read stands for, if it has not heard of that: what a purge makes worthless stays
    /// in Redis, and is told by its number alone.
    ///
    /// # Errors
    /// If Redis cannot be asked. What it has must not be believed then.
    pub(crate) async fn catch_up(&self, options: &ReadOptions) -> Result<()> {
        let (Some(token), Some(follower)) = (&options.at_least, &self.follower) else { return Ok(()) };
        let is_ours = token.name_hash() == self.name_hash() && token.shard() < self.coherence.shards();
        if !is_ours
            || options.mode != ReadMode::Cached
            || self.coherence.has_applied(token.shard(), token.position())
        {
            return Ok(());
        }
        Box::pin(follower.sync(token.shard())).await
    }

    async fn bypass(&self, key: &K, policy: &Policy, load: Loader<V>, reason: MissReason) -> Result<Read<V>> {
        let value = match self.load(policy, || self.begin_load(load, key, Route::Home, None)).await? {
            Loaded::Value(value) => Some(Arc::new(value)),
            Loaded::Absent => None,
            Loaded::NotModified => return Err(not_asked()),
        };
        Ok(loaded(value, None, reason))
    }

    /// Whether this node has applied everything that the reader wants to see.
    fn is_at(&self, key: &K, options: &ReadOptions) -> bool {
        options.at_least.as_ref().is_none_or(|token| {
            // What this node has of a replica, its home's sequence does not tell.
            !self.concerns(key, token)
                || self.replica.is_none() && self.coherence.has_applied(token.shard(), token.position())
        })
    }

    pub(crate) fn concerns(&self, key: &K, token: &Token) -> bool {
        token.name_hash() == self.name_hash() && token.shard() == self.coherence.shard_of(&key.to_string())
    }

    /// One number for the epochs of all shards, each looked at if that was not done within the bound.
    pub(crate) async fn histories(&self) -> Result<u64> {
        if let Some(follower) = &self.follower {
            let known = join_all(self.shards().map(|shard| follower.ensure_known(shard))).await;
            known.into_iter().collect::<Result<()>>()?;
        }
        Ok(self.epochs())
    }

    /// The same without asking anybody; `None` if some shard was not looked at within the bound, or is owed something: then
    /// not all that was invalidated here is acknowledged.
    pub(crate) fn settled_histories(&self) -> Option<u64> {
        let owes = self.shared.as_ref().is_some_and(|shared| shared.owes());
        let knows = |shard| self.follower.as_ref().is_none_or(|follower| follower.knows(shard));
        (!owes && self.shards().all(knows)).then(|| self.epochs())
    }

    fn shards(&self) -> Range<u16> {
        0..self.coherence.shards()
    }

    fn epochs(&self) -> u64 {
        let epochs = self.shards().flat_map(|shard| self.coherence.position(shard).epoch.to_le_bytes());
        xxh3_64(&epochs.collect::<Vec<u8>>())
    }

    pub(crate) fn token(&self, text: &str) -> Option<Token> {
        self.shared.as_ref()?;
        let shard = self.coherence.shard_of(text);
        let at = self.coherence.known(shard);
        (at.epoch != 0).then(|| Token::new(self.name_hash(), shard, at))
    }

    pub(crate) fn is_owed(&self, text: &str) -> bool {
        self.shared.as_ref().is_some_and(|shared| !shared.trusts(text))
    }

    /// What a token of this cache carries instead of its name.
    pub(crate) fn name_hash(&self) -> u32 {
        tag_hash(&self.name) as u32
    }

    /// Whether a reader that comes now may wait for this flight: nothing that it would load has been invalidated since
    /// the flight began, as far as this node knows, and this node knows enough.
    pub(crate) fn may_join(&self, flight: &Flight<V>, now_ms: u64) -> bool {
        self.coherence.is_as_now(flight.basis())
            && (self.coherence.is_stamp_synced(&flight.basis().stamp, now_ms)
                || flight.age_ms(now_ms) < self.consistency.joinable_ms())
    }

    /// Joins the key's flight or begins one.
    async fn board(
        self: &Arc<Self>,
        key: K,
        options: &ReadOptions,
        (reason, spare): (MissReason, Option<(NearEntry<V>, Served)>),
        policy: Policy,
        load: Loader<V>,
    ) -> Result<Read<V>> {
        let now_ms = self.clock.monotonic_ms();
        let text = key.to_string();
        let basis = self.basis(self.route_of(&key, Some(options)), &text);
        let joins = self.reason_to_ask(&key, options).is_none();
        match self.flights.board(key, basis, now_ms, |flight| joins && self.may_join(flight, now_ms)) {
            Boarding::Join(flight) => self.await_landing(&flight, policy.soft_deadline).await,
            Boarding::Lead(leader) => {
                // Between the look at the near tier and here the key's last flight may have landed.
                if joins && let NearLook::Fresh(entry) = self.look_near(leader.key()) {
                    let read = entry.read(Served::Near, now_ms);
                    leader.land(Ok(read.clone()), |_| {});
                    return Ok(read);
                }
                let plan = Plan {
                    text,
                    basis,
                    policy,
                    tags: options.tag_hashes(),
                    mode: options.mode,
                    reason,
                    lease: Lease::random(),
                    first: None,
                    waits: false,
                    perhaps_leased: false,
                    spare,
                };
                self.depart(Parts { leader, plan, load }).await
            }
        }
    }

    pub(crate) async fn explain(&self, key: &K) -> Explain {
        let text = key.to_string();
        let near = match &self.near {
            None => TierState::Off,
            Some(near) => match near.get(key) {
                Some(entry) if entry.is_current(&self.coherence) => entry.state(self.clock.monotonic_ms()),
                _ => TierState::Empty,
            },
        };
        let looked_up = self.shared_by(self.route_of(key, None));
        let mut explain = Explain {
            near,
            shared: None,
            slot_key: looked_up.and_then(|shared| shared.slot_key(&text).ok()),
            last_seen: self.missed.recall(key),
            invalidation_owed: self.shared.as_ref().is_some_and(|shared| !shared.trusts(&text)),
            tags: Vec::new(),
            purged_by: None,
            refreshing_for: None,
            key: text,
        };
        if let Some(shared) = looked_up {
            self.explain_shared(shared, key, &mut explain).await;
        }
        explain
    }
}
