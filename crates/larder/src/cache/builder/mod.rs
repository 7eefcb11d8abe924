//! How a cache is put together; everything is checked once, in `build`.

mod ties;

use std::{fmt, hash::Hash, num::NonZeroU16, str::FromStr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::Rng;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{runtime::Handle, sync::Semaphore};

use crate::{
    Clock, Error, ErrorKind, Result,
    cache::{
        Cache, Codec, Consistency, Json, Policy, WriteBehind,
        ahead::{Ahead, Draws},
        behind::ParseKey,
        codec::SharedCodec,
        flight::Flights,
        gone::Gone,
        hot::Heat,
        inner::{Inner, TagFromKey, TagsOf, TtlOf},
        near::Near,
        prints::Prints,
        route,
        stats::Stats,
    },
    clock::Time,
    dice::dice,
    redis::{DEFAULT_SHARDS, Kind, Redis},
    source::{SharedSink, SharedSource, Sink, Source},
    sync::TaskTracker,
};

/// The tightest and the loosest bound between nodes.
const MIN_BOUND: Duration = Duration::from_millis(20);
const MAX_BOUND: Duration = Duration::from_secs(60);
/// Twice what `cluster-node-timeout` is unless it is set.
pub(crate) const FAILOVER_WINDOW: Duration = Duration::from_secs(30);

type Weigher<V> = Arc<dyn Fn(&V) -> u32 + Send + Sync>;

/// Builds a [`Cache`].
#[must_use]
pub struct CacheBuilder<K, V> {
    name: String,
    redis: Option<Redis>,
    policy: Policy,
    source: Option<SharedSource<K, V>>,
    sink: Option<SharedSink<K, V>>,
    codec: Option<SharedCodec<V>>,
    clock: Time,
    capacity: u64,
    weigher: Option<Weigher<V>>,
    expected_weight: u64,
    version: u32,
    shards: NonZeroU16,
    max_concurrent_loads: usize,
    writes_through: bool,
    behind: Option<(WriteBehind, ParseKey<K>)>,
    consistency: Consistency,
    failover_window: Duration,
    hot_replicas: u16,
    tags_of: Option<TagsOf<K, V>>,
    ttl_of: Option<TtlOf<V>>,
    draws: Option<Draws>,
    parts: Vec<Kind>,
    tag_from_key: Option<TagFromKey<K>>,
}

impl<K, V> fmt::Debug for CacheBuilder<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("name", &self.name)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl<K, V> CacheBuilder<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            redis: None,
            policy: Policy::default(),
            source: None,
            sink: None,
            codec: None,
            clock: Time::System,
            capacity: 10_000,
            weigher: None,
            expected_weight: 1,
            version: 1,
            shards: DEFAULT_SHARDS,
            max_concurrent_loads: 256,
            writes_through: false,
            behind: None,
            consistency: Consistency::default(),
            failover_window: FAILOVER_WINDOW,
            hot_replicas: 1,
            tags_of: None,
            ttl_of: None,
            draws: None,
            parts: Vec::new(),
            tag_from_key: None,
        }
    }

    /// Shares entries with other nodes through this Redis. Without one, the cache lives in this process alone.
    pub fn redis(mut self, redis: &Redis) -> Self {
        self.redis = Some(redis.clone());
        self
    }

    /// Where [`Cache::get`] loads from.
    pub fn source(mut self, source: impl Source<K, V>) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Where [`Cache::put`] and [`Cache::remove`] write to.
    pub fn sink(mut self, sink: impl Sink<K, V>) -> Self {
        self.sink = Some(Arc::new(sink));
        self
    }

    /// Has [`Cache::put`] and [`Cache::remove`] leave the value that they wrote in the cache (write-through): as
    /// [`Cache::put_with`], with the cache's sink as the write. Needs a sink.
    pub fn write_through(mut self) -> Self {
        self.writes_through = true;
        self
    }

    /// Has [`Cache::put`] and [`Cache::remove`] acknowledged by Redis and carried out behind, in batches: see
    /// [`WriteBehind`]. Needs Redis and a sink. A key's text form must read back as the same key.
    pub fn write_behind(self, settings: WriteBehind) -> Self
    where
        K: FromStr,
    {
        self.write_behind_with_keys(settings, |text| text.parse().ok())
    }

    /// [`write_behind`](Self::write_behind) for keys that have a text form but cannot be parsed from it: `parse` does that.
    pub fn write_behind_with_keys(
        mut self,
        settings: WriteBehind,
        parse: impl Fn(&str) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        self.behind = Some((settings, Arc::new(parse)));
        self
    }

    /// The rules. Default: [`Policy::default`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How values become bytes in Redis. Default with [`build`](Self::build): [`Json`].
    pub fn codec(mut self, codec: impl Codec<V>) -> Self {
        self.codec = Some(Arc::new(codec));
        self
    }

    /// Where time is read. Default: [`SystemClock`](crate::SystemClock).
    pub fn clock(self, clock: impl Clock) -> Self {
        self.shared_clock(Arc::new(clock))
    }

    pub(crate) fn shared_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Time::Other(clock);
        self
    }

    /// The most entries of the near tier. Default: 10,000. Zero turns the tier off.
    pub fn near_capacity(mut self, entries: u64) -> Self {
        self.capacity = entries;
        self.weigher = None;
        self.expected_weight = 1;
        self
    }

    /// The most bytes of the near tier, by what `weigher` says of each value, and the weight of a typical one. Zero
    /// bytes turn the tier off.
    pub fn near_bytes(
        mut self,
        bytes: u64,
        typical_bytes: u64,
        weigher: impl Fn(&V) -> u32 + Send + Sync + 'static,
    ) -> Self {
        self.capacity = bytes;
        self.weigher = Some(Arc::new(weigher));
        self.expected_weight = typical_bytes.max(1);
        self
    }

    /// The version of the value's shape: part of every key, so that a deploy with another shape never reads, or writes
    /// over, what the old one still uses. Default: 1.
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// How far the copies of different nodes may drift apart; all nodes must agree. Default: [`Consistency::Bounded`] with
    /// one second. Means nothing without Redis.
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// For how long this node remembers the invalidations that Redis has acknowledged, to send them again when Redis comes back
    /// with another history: a primary that is cut off may acknowledge for a while after its replica has taken over, and all of
    /// that is lost with it. Longer than Redis lets such a primary do so (`cluster-node-timeout`). Memory: up to 2,000 keys for each
    /// shard; more become a clear of the shard. Zero remembers nothing. Default: 30 s.
    pub fn failover_window(mut self, window: Duration) -> Self {
        self.failover_window = window;
        self
    }

    /// In how many shards a hot key may stand, its own included; all nodes must agree, so raise the [`version`](Self::version)
    /// with it. In a cluster the shards are on different servers: reads of a key that is hot ([`HotKey::is_hot`](crate::cache::HotKey))
    /// are then spread over several of them, each node reading it from one. Batches read every key at home.
    ///
    /// Cost: an invalidation or a guarded write of any key goes to so many shards instead of one, all at the same time, since any node may hold
    /// it hot. A hot key is loaded once for each shard, and its entries expire each by its own time. On a node that reads hot keys
    /// elsewhere, a read with a token looks past the near tier. Default: 1, and a key stands at home alone. Means nothing without Redis.
    pub fn hot_replicas(mut self, shards: u16) -> Self {
        self.hot_replicas = shards;
        self
    }

    /// The tags of every loaded value, beside those that a call gives: `org:7`, `category:tea`. A purge of a tag that comes
    /// while the value is being loaded wins, whatever the value says.
    pub fn tags(mut self, tags: impl Fn(&K, &V) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.tags_of = Some(Arc::new(tags));
        self
    }

    /// A lifetime of its own for a loaded value (adaptive TTL), at most the policy's; zero means that it is not cached, and
    /// `None` that the policy decides.
    pub fn ttl_from(mut self, ttl: impl Fn(&V) -> Option<Duration> + Send + Sync + 'static) -> Self {
        self.ttl_of = Some(Arc::new(ttl));
        self
    }

    /// Where [`Policy::refresh_ahead`] takes its chances from: numbers from 0 to 1, evenly spread. For tests; it is called
    /// by hits, so it must not wait. Default: the thread's own generator.
    pub fn draws(mut self, draws: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        self.draws = Some(Arc::new(draws));
        self
    }

    /// A tag that every entry of a key has, whatever its value.
    pub(crate) fn tag_from_key(mut self, tag: impl Fn(&K) -> u64 + Send + Sync + 'static) -> Self {
        self.tag_from_key = Some(Arc::new(tag));
        self
    }

    /// Announces the parts of values that get caches of their own, see [`Cache::part`].
    pub(crate) fn parts(mut self, parts: Vec<Kind>) -> Self {
        self.parts = parts;
        self
    }

    /// Into how many shards the keys are cut; all nodes must agree. Default: 16.
    pub fn shards(mut self, shards: NonZeroU16) -> Self {
        self.shards = shards;
        self
    }

    /// How many loads may run at once, so that a cold or absent Redis does not flood the source. Default: 256.
    pub fn max_concurrent_loads(mut self, loads: usize) -> Self {
        self.max_concurrent_loads = loads;
        self
    }

    /// Builds the cache with the codec that was set, or none if it stays in this process.
    ///
    /// # Errors
    /// `ErrorKind::Config` naming the setting that cannot work.
    pub fn build_with_codec(self) -> Result<Cache<K, V>> {
        self.check()?;
        let ties = self.tie()?;
        let near_ttl = self.policy.near_ttl.unwrap_or(self.policy.keep());
        let gone = Arc::new(Gone::default());
        let near = self.near_tier(near_ttl, &gone);
        let ahead = self.policy.refresh_ahead.map_or(Ahead::Hot, |beta| Ahead::Drawn {
            beta,
            draws: self.draws.unwrap_or_else(|| Arc::new(|| dice().random::<f64>())),
        });
        let cache = Cache::from_inner(Inner {
            name: self.name,
            near_ttl_ms: near_ttl.as_millis() as u64,
            hot_near_ttl_ms: self.policy.hot_near_ttl.map(|ttl| ttl.as_millis() as u64),
            policy: self.policy,
            near,
            gone,
            missed: Gone::default(),
            shared: ties.shared,
            replica: ties.replica,
            codec: self.codec,
            source: self.source,
            replica_source: None,
            sink: self.sink,
            writes_through: self.writes_through,
            behind: ties.behind,
            workers: Mutex::new(ties.workers),
            parse_key: self.behind.map(|(_, parse)| parse),
            coherence: ties.coherence,
            follower: ties.follower,
            _following: ties.following,
            node: ties.node,
            consistency: self.consistency,
            tags_of: self.tags_of,
            ttl_of: self.ttl_of,
            tag_from_key: self.tag_from_key,
            ahead,
            flights: Flights::default(),
            stats: Stats::default(),
            prints: Prints::default(),
            heat: Arc::new(Heat::new(self.clock.monotonic_ms())),
            clock: self.clock,
            tasks: TaskTracker::new(),
            replays: TaskTracker::new(),
            loads: Semaphore::new(self.max_concurrent_loads),
            runtime: Handle::try_current().ok(),
            weigher: self.weigher.unwrap_or_else(|| Arc::new(|_| 1)),
        });
        cache.inner.owe_what_is_lost();
        Ok(cache)
    }

    /// Refuses settings that cannot work, by themselves or together, before anything is started. What they need of Redis is
    /// checked when the cache is tied to it.
    fn check(&self) -> Result<()> {
        let wrong = |field, message| Err(Error::new(ErrorKind::Config, message).with_field(field));
        self.policy.check()?;
        if self.max_concurrent_loads == 0 {
            return wrong("max_concurrent_loads", "must be at least 1");
        }
        if self.writes_through && (self.sink.is_none() || self.behind.is_some()) {
            let message = "needs a sink, and cannot be had together with write_behind";
            return wrong("write_through", message);
        }
        let is_local = self.consistency == Consistency::Local;
        if self.policy.hot_near_ttl.is_some() && is_local && self.redis.is_some() {
            let message = "needs bounded or strict consistency: else nothing notices that a copy is old";
            return wrong("hot_near_ttl", message);
        }
        route::check(self.hot_replicas, self.shards.get(), self.behind.is_some())?;
        let bound = self.consistency.bound();
        if bound < MIN_BOUND || bound > MAX_BOUND {
            return wrong("consistency", "must be between 20 ms and a minute");
        }
        Ok(())
    }

    fn near_tier(&self, ttl: Duration, gone: &Arc<Gone>) -> Option<Near<K, V>> {
        let expected = (self.capacity / self.expected_weight).min(1 << 24) as usize;
        (self.capacity > 0 && !ttl.is_zero()).then(|| Near::new(self.capacity, expected, gone.clone()))
    }
}

impl<K, V> CacheBuilder<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Builds the cache, with [`Json`] unless another codec was set.
    ///
    /// # Errors
    /// `ErrorKind::Config` naming the setting that cannot work.
    pub fn build(mut self) -> Result<Cache<K, V>> {
        self.codec.get_or_insert_with(|| Arc::new(Json));
        self.build_with_codec()
    }
}
