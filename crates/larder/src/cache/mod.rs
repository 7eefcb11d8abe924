//! Cache-aside and read-through over a source, in process or shared through Redis.
//!
//! A read goes near (this process's own copy), shared (Redis), source. Concurrent readers of one key share one load on
//! this node, and while Redis is up one among all nodes. A load fills the cache only under a *lease* that it was granted
//! before it began; an invalidation destroys value and lease together, so a slow load can never put an older value back.
//!
//! | call | round trips to Redis |
//! |---|---|
//! | a near hit | 0 |
//! | a shared hit | 1 (`SET … NX GET`, which writes nothing on a hit) |
//! | a miss | 2: the same command, which takes the lease, and the fill |
//! | either, of a value with a tag that is new to this node, or not asked about for long | 1 more |
//! | `invalidate` | 1 for each shard its keys fall into |
//! | `get_many`, `read_many` | 1 for each shard, and 1 more for the fills of each shard that misses something; all shards at the same time |
//!
//! ```
//! # async fn run() -> larder::Result<()> {
//! use larder::cache::{Cache, Policy};
//! use std::time::Duration;
//!
//! let users: Cache<String, String> =
//!     Cache::builder("users").policy(Policy::ttl(Duration::from_secs(60))).build()?;
//! let name = users.get_with("42", || async { Ok(Some("Ada".to_owned())) }).await?;
//! assert_eq!(name.as_deref().map(String::as_str), Some("Ada"));
//! users.invalidate("42").await?;
//! # Ok(()) }
//! # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
//! ```
//!
//! # When Redis is down
//! Reads are answered by the near tier within its bound and then by the source, at most
//! [`max_concurrent_loads`](CacheBuilder::max_concurrent_loads) at once. Invalidations are kept and sent when Redis is
//! back; until then this node does not believe Redis about those keys.
//!
//! # Beside other nodes
//! Every invalidation takes the next number of its shard's sequence, and every node applies them in order; see
//! [`Consistency`]. A node that is cut off stops serving its own copies by itself.

mod advise;
mod ahead;
mod audit;
mod batch;
mod behind;
mod builder;
mod codec;
mod coherence;
mod confirm;
mod consistency;
mod depart;
mod entry;
mod event;
mod expire;
mod explain;
mod fetch;
mod flight;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gone;
mod hit_rate;
mod hot;
mod inner;
mod invalidate;
mod learn;
mod loader;
mod log;
#[cfg(test)]
mod model;
mod near;
mod part;
mod patience;
mod peek;
mod policy;
mod prints;
mod purge;
mod read;
mod recent;
mod refresh;
mod route;
mod shared;
#[cfg(test)]
mod simulation;
mod stats;
mod store;
mod tag;
mod tenant;
mod token;
mod unsent;
mod waiters;
mod write;

use std::{borrow::Borrow, fmt, future::Future, hash::Hash, sync::Arc};

use futures_util::future::join_all;
use tokio::sync::oneshot;

#[cfg(test)]
pub(crate) use self::purge::matches;
pub(crate) use self::shared::Shared;
pub use self::{
    advise::{Advice, LEAST_READS, Setting},
    audit::{Audit, AuditRules, AuditStats, STALE_AGE_BOUNDS},
    behind::{Behind, BehindPlace, BehindStats, DeadLetter, Replayed, WriteBehind},
    builder::CacheBuilder,
    codec::{Codec, Json, MessagePack, Raw},
    confirm::Loaded,
    consistency::Consistency,
    explain::{Explain, PurgedBy, TierState},
    hit_rate::{HitLevel, HitRate, HitRateAlarm, HitRateRules},
    hot::HotKey,
    policy::{MAX_LIFETIME, Policy},
    purge::MAX_PATTERN_BYTES,
    read::{MissReason, Read, ReadMode, ReadOptions, Served},
    stats::CacheStats,
    tenant::{MAX_TENANT_BYTES, Tenant, TenantKey},
    token::Token,
};
pub(crate) use self::{builder::FAILOVER_WINDOW, part::Part, purge::Manner, route::Route};
use self::{inner::Inner, loader::Loader, tag::tag_hash};
use crate::{Error, ErrorKind, Result};

/// A cache of values `V` by keys `K`. Cheap to clone; all clones are one cache.
///
/// A key's text form (its `Display`) is what stands in Redis, so two different keys must not have the same text.
pub struct Cache<K, V> {
    inner: Arc<Inner<K, V>>,
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Begins a cache. The name is part of every key in Redis.
    pub fn builder(name: impl Into<String>) -> CacheBuilder<K, V> {
        CacheBuilder::new(name)
    }

    /// Returns the value of `key`, loaded once from the cache's source if it is not cached (read-through). `None` means
    /// that there is no such thing, and may be cached as well.
    ///
    /// Behaves as [`get_with`](Self::get_with).
    ///
    /// # Errors
    /// As [`get_with`](Self::get_with); `ErrorKind::Config` if the cache was built without a source.
    pub async fn get<Q>(&self, key: &Q) -> Result<Option<Arc<V>>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(value) = self.inner.near_hit(key, |entry, _| entry.value.take()) {
            return Ok(value);
        }
        Ok(self.inner.read_through(key.to_owned(), &read::PLAIN).await?.value)
    }

    /// [`get`](Self::get) with options, and with the answer's origin, age and freshness.
    ///
    /// # Errors
    /// As [`get`](Self::get); `ErrorKind::Timeout` if the options' deadline passed first.
    pub async fn read<Q>(&self, key: &Q, options: &ReadOptions) -> Result<Read<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if options.may_be_near()
            && let Some(read) = self.inner.near_hit(key, |entry, now_ms| entry.read(Served::Near, now_ms))
        {
            return Ok(read);
        }
        self.inner.read_through(key.to_owned(), options).await
    }

    /// Returns the value of `key`, calling `load` once if it is not cached (cache-aside). `None` from the loader means
    /// that there is no such thing, and is cached for the policy's negative lifetime.
    ///
    /// Concurrent calls for one key share a single load; only one of their loaders runs. A value past its soft expiry
    /// is returned at once and refreshed behind, inside the policy's stale window; past it the call waits. If Redis is
    /// away the source is asked directly. If the load fails and something stale is inside the error window, that is
    /// returned. Cost: a near hit allocates nothing; a shared hit is one round trip, a miss two.
    ///
    /// # Errors
    /// What the loader returned; `ErrorKind::Timeout` if it took longer than the policy's load deadline.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop a load: others may wait for it, and its value is kept.
    pub async fn get_with<Q, F, Fut>(&self, key: &Q, load: F) -> Result<Option<Arc<V>>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<V>>> + Send + 'static,
    {
        if let Some(value) = self.inner.near_hit(key, |entry, _| entry.value.take()) {
            return Ok(value);
        }
        let load = Loader::unconditional(load);
        Ok(self.inner.read_slow(key.to_owned(), &read::PLAIN, load).await?.value)
    }

    /// [`get_with`](Self::get_with) with options, and with the answer's origin, age and freshness.
    ///
    /// # Errors
    /// As [`get_with`](Self::get_with); `ErrorKind::Timeout` if the options' deadline passed first.
    pub async fn read_with<Q, F, Fut>(&self, key: &Q, options: &ReadOptions, load: F) -> Result<Read<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<V>>> + Send + 'static,
    {
        if options.may_be_near()
            && let Some(read) = self.inner.near_hit(key, |entry, now_ms| entry.read(Served::Near, now_ms))
        {
            return Ok(read);
        }
        let load = Loader::unconditional(load);
        self.inner.read_slow(key.to_owned(), options, load).await
    }

    /// [`get_with`](Self::get_with) for a source that can tell whether anything changed: a loader that is shown the previous
    /// value, if there is one past its time, may answer [`Loaded::NotModified`].
    ///
    /// Then the previous value is fresh again. In Redis only its times are written anew, under the same lease and the same
    /// checks as any fill: one round trip, and the value does not travel to Redis. There is a previous value in a refresh
    /// behind a reader, and in a load past the soft expiry while the value is kept for
    /// [`stale_while_revalidate`](Policy::stale_while_revalidate) or [`stale_if_error`](Policy::stale_if_error); never one that
    /// was invalidated.
    ///
    /// ```
    /// # async fn run() -> larder::Result<()> {
    /// use larder::cache::{Cache, Loaded};
    /// # use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Page { etag: String, text: String }
    /// # async fn fetch(etag: Option<String>) -> larder::Result<Option<Page>> {
    /// #     Ok(Some(Page { etag: "1".into(), text: "hello".into() }))
    /// # }
    ///
    /// let pages: Cache<String, Page> = Cache::builder("pages").build()?;
    /// let page = pages
    ///     .get_with_previous("/", |previous| async move {
    ///         // Asks with If-None-Match: nothing comes back if the page is as it was.
    ///         let etag = previous.as_ref().map(|page| page.etag.clone());
    ///         let conditional = etag.is_some();
    ///         Ok(match fetch(etag).await? {
    ///             Some(page) => Loaded::Value(page),
    ///             None if conditional => Loaded::NotModified,
    ///             None => Loaded::Absent,
    ///         })
    ///     })
    ///     .await?;
    /// # assert_eq!(page.unwrap().text, "hello");
    /// # Ok(()) }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`get_with`](Self::get_with); `ErrorKind::Source` for `NotModified` where there was no previous value.
    ///
    /// # Cancel safety
    /// As [`get_with`](Self::get_with).
    pub async fn get_with_previous<Q, F, Fut>(&self, key: &Q, load: F) -> Result<Option<Arc<V>>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(Option<Arc<V>>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Loaded<V>>> + Send + 'static,
    {
        Ok(self.read_with_previous(key, &read::PLAIN, load).await?.value)
    }

    /// [`get_with_previous`](Self::get_with_previous) with options, and with the answer's origin, age and freshness.
    ///
    /// # Errors
    /// As [`get_with_previous`](Self::get_with_previous); `ErrorKind::Timeout` if the options' deadline passed first.
    pub async fn read_with_previous<Q, F, Fut>(
        &self,
        key: &Q,
        options: &ReadOptions,
        load: F,
    ) -> Result<Read<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(Option<Arc<V>>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Loaded<V>>> + Send + 'static,
    {
        if options.may_be_near()
            && let Some(read) = self.inner.near_hit(key, |entry, now_ms| entry.read(Served::Near, now_ms))
        {
            return Ok(read);
        }
        let load = Loader::Given(Box::new(move |previous| Box::pin(load(previous))));
        self.inner.read_slow(key.to_owned(), options, load).await
    }

    /// Writes `value` to the cache's sink and then invalidates `key` (write-around): the next read loads it.
    ///
    /// With [write-through](CacheBuilder::write_through) the value that was written is left in the cache, as by
    /// [`put_with`](Self::put_with): two round trips. With [write-behind](WriteBehind) Redis acknowledges the write, every
    /// node reads it from then on, and the sink gets it a moment later. Cost: one round trip; one more if the value has a tag that is
    /// new to this node.
    ///
    /// # Errors
    /// What the sink returned. The key was invalidated all the same, since the write may have been done, unless the sink
    /// refused it: `Invalid`, `Conflict`, `Config`, `TooLarge` and `Full` say that nothing was written. Or as
    /// [`invalidate`](Self::invalidate), and then the write was done, unless it is the key that is `Invalid`.
    /// `ErrorKind::Config` if the cache was built without a sink.
    ///
    /// With write-behind: `ErrorKind::Unavailable`, and nothing was written; `ErrorKind::Timeout` if that is not known, or if
    /// the backlog is full and the sink does not take it in time; `ErrorKind::Full` if the backlog is twice its size;
    /// `ErrorKind::Config` if Redis may evict what it has acknowledged; `ErrorKind::TooLarge` for a value past
    /// `max_entry_bytes`.
    ///
    /// # Cancel safety
    /// If the future is dropped, the sink's call is dropped where it stands, and the key is invalidated behind: the write may
    /// have been done. With write-behind the write may be carried out.
    pub async fn put(&self, key: &K, value: &V) -> Result<()> {
        if let Some(behind) = &self.inner.behind {
            return self.inner.put_behind(behind, key, Some(value)).await;
        }
        if self.inner.writes_through {
            return self.inner.put_through(key, Some(value)).await;
        }
        let sink = self.inner.sink()?;
        self.write_around(&[key], sink.put(key, value)).await?.1.map(drop)
    }

    /// Removes `key` from the cache's sink and then invalidates it.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// # Cancel safety
    /// As [`put`](Self::put).
    pub async fn remove(&self, key: &K) -> Result<()> {
        if let Some(behind) = &self.inner.behind {
            return self.inner.put_behind(behind, key, None).await;
        }
        if self.inner.writes_through {
            return self.inner.put_through(key, None).await;
        }
        let sink = self.inner.sink()?;
        self.write_around(&[key], sink.remove(key)).await?.1.map(drop)
    }

    /// Makes every tier forget `key`. Call it after the write it is for has been committed.
    ///
    /// Once this returns `Ok`, no read of this node that begins later sees an older value, a load that is under way
    /// included; other nodes follow as the cache's [`Consistency`] says. The token makes a read on another node see at
    /// least this, see [`ReadOptions::at_least`]. Cost: one round trip.
    ///
    /// # Errors
    /// `ErrorKind::Unavailable` or `ErrorKind::Timeout` if Redis did not acknowledge it. This node has forgotten the key
    /// all the same, does not believe Redis about it, and sends the invalidation again until it is acknowledged. Beside Redis
    /// `ErrorKind::Invalid` at `key` for one that is empty or longer than [`MAX_KEY_BYTES`](crate::redis::MAX_KEY_BYTES): Redis
    /// never has it, and is told nothing.
    ///
    /// # Cancel safety
    /// Once polled, the invalidation happens: a dropped future leaves it to be sent behind.
    pub async fn invalidate<Q>(&self, key: &Q) -> Result<Option<Token>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + fmt::Display + ?Sized,
    {
        Ok(self.inner.invalidate(&[key]).await?.pop())
    }

    /// [`invalidate`](Self::invalidate) of several keys: one round trip for each shard they fall into.
    ///
    /// # Errors
    /// As [`invalidate`](Self::invalidate). If one of them is `Invalid`, Redis is told of none.
    pub async fn invalidate_many<Q>(&self, keys: &[&Q]) -> Result<Vec<Token>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + fmt::Display + ?Sized,
    {
        self.inner.invalidate(keys).await
    }

    /// Soft invalidation: makes what is cached of these keys stale instead of destroying it. Readers get the stale value,
    /// marked as such, while one of them has it loaded anew ([`stale_while_revalidate`](Policy::stale_while_revalidate)), or
    /// when the source fails ([`stale_if_error`](Policy::stale_if_error)), for as long as those windows say from now on; past
    /// them, and where an entry has none, it is gone as after [`invalidate`](Self::invalidate).
    ///
    /// For changes whose readers can bear the old value a moment longer. No value is fresh again before a load that begins
    /// after this call: loads under way fill nothing. Other nodes forget their copies as after an invalidation, and find the
    /// stale value in Redis. Cost: two round trips for each shard the keys fall into; the values are read for it.
    ///
    /// ```
    /// # async fn run() -> larder::Result<()> {
    /// use larder::cache::{Cache, Policy};
    /// use std::time::Duration;
    ///
    /// let policy = Policy::ttl(Duration::from_secs(60)).stale_while_revalidate(Duration::from_secs(30));
    /// let pages: Cache<String, u32> = Cache::builder("pages").policy(policy).build()?;
    /// pages.get_with("home", || async { Ok(Some(1)) }).await?;
    /// pages.expire(&["home"]).await?;
    /// let page = pages.read_with("home", &Default::default(), || async { Ok(Some(2)) }).await?;
    /// assert_eq!((page.value.as_deref(), page.stale), (Some(&1), true));
    /// # Ok(()) }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
    /// ```
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming `policy` if the cache's own policy has no such window; else as
    /// [`invalidate`](Self::invalidate), and then the keys are owed as by that.
    ///
    /// # Cancel safety
    /// As [`invalidate`](Self::invalidate).
    pub async fn expire<Q>(&self, keys: &[&Q]) -> Result<Vec<Token>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + fmt::Display + ?Sized,
    {
        self.inner.expire(keys).await
    }

    /// Makes every entry with this tag worthless, and every load under way that will have it. Costs one round trip for
    /// each shard, at the same time, however many entries there are.
    ///
    /// # Errors
    /// As [`invalidate`](Self::invalidate).
    pub async fn invalidate_tag(&self, tag: &str) -> Result<Vec<Token>> {
        self.inner.invalidate_tag(tag_hash(tag)).await
    }

    /// Makes everything in this cache worthless, on all nodes. Costs as [`invalidate_tag`](Self::invalidate_tag).
    ///
    /// # Errors
    /// As [`invalidate`](Self::invalidate).
    pub async fn clear(&self) -> Result<Vec<Token>> {
        self.inner.clear().await
    }

    /// Runs a write to the database while nothing can fill the keys that it touches, and invalidates them after it.
    ///
    /// First the cached values go and fills are blocked, then `write` runs, then the keys are invalidated, also if it
    /// failed, since it may have been done. If this process dies in between, nothing stale is left: the values are gone
    /// already, and loads from before the write cannot fill. Readers meanwhile are answered by the source. If Redis is
    /// away the write runs all the same. Cost: two round trips.
    ///
    /// Returns what `write` returned, and what the invalidation after it did.
    ///
    /// # Errors
    /// What `write` returned; `ErrorKind::Invalid` at `key` as [`invalidate`](Self::invalidate), and then `write` did not run.
    ///
    /// # Cancel safety
    /// If the future is dropped, `write` is dropped where it stands, and the keys are invalidated behind.
    pub async fn guarded_write<Q, T>(
        &self,
        keys: &[&Q],
        write: impl Future<Output = Result<T>>,
    ) -> Result<(T, Result<Vec<Token>>)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + fmt::Display + ?Sized,
    {
        self.inner.guarded_write(keys, write).await
    }

    /// A token for reading, on any node, everything that this node knows to be invalidated in the shard of `key`, its own
    /// writes included unless they are [owed](Self::is_owed). `None` without Redis, or before it was first heard of.
    pub fn token(&self, key: &K) -> Option<Token> {
        self.inner.token(&key.to_string())
    }

    /// Whether Redis has not acknowledged an invalidation of `key` by this node yet, or a purge that may be about it. Until it has,
    /// other nodes may serve what was there before, whatever token they are asked with. Asks nobody.
    pub fn is_owed(&self, key: &K) -> bool {
        self.inner.is_owed(&key.to_string())
    }

    /// What a cache has of `key` that is fresh, near or in Redis; `None` if a read would have to load. Loads nothing, waits
    /// for no load, and is not counted. Cost: one round trip unless it is near.
    ///
    /// ```
    /// # async fn run() -> larder::Result<()> {
    /// let users: larder::Cache<String, String> = larder::Cache::builder("users").build()?;
    /// assert!(users.peek(&"42".to_owned()).await?.is_none());
    /// users.get_with("42", || async { Ok(Some("Ada".to_owned())) }).await?;
    /// assert!(users.peek(&"42".to_owned()).await?.is_some());
    /// # Ok(()) }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
    /// ```
    ///
    /// # Errors
    /// `ErrorKind::Unavailable` or `ErrorKind::Timeout` if Redis cannot be asked.
    pub async fn peek(&self, key: &K) -> Result<Option<Read<V>>> {
        self.inner.peek(key).await
    }

    /// [`peek`](Self::peek) for what is to be shared with others there: beside Redis it passes this node's own copy over, and what
    /// other shards have.
    pub(crate) async fn peek_to_share(&self, key: &K, route: Route) -> Result<Option<Read<V>>> {
        self.inner.peek_to_share(key, route).await
    }

    /// A fresh copy of this node's own, counted as a hit.
    pub(crate) fn near(&self, key: &K) -> Option<Read<V>> {
        self.inner.near_hit(key, |entry, now_ms| entry.read(Served::Near, now_ms))
    }

    /// Whether a read of `key` with [`at_least`](ReadOptions::at_least) would look at this token: it is of this cache, and of
    /// the key's shard. Invalidations of several keys return several tokens, of which a read needs this one.
    pub fn concerns(&self, key: &K, token: &Token) -> bool {
        self.inner.concerns(key, token)
    }

    /// What each tier has of `key`, without changing or counting anything. Cost: two round trips; one more if this node has
    /// not heard of one of the value's tags before, and one if it is out of step.
    pub async fn explain(&self, key: &K) -> Explain {
        self.inner.explain(key).await
    }

    /// Runs something in a task that ends before [`close`](Self::close) does, and not with its caller. `None` if it ended without
    /// an answer: it panicked, or its runtime ended.
    pub(crate) async fn run_to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (teller, told) = oneshot::channel();
        self.inner.tasks.spawn(async move {
            let _ = teller.send(work.await);
        });
        told.await.ok()
    }

    pub(crate) fn shared(&self) -> Option<&Arc<Shared>> {
        self.inner.shared.as_ref()
    }

    /// Stands for the histories of all shards: another number after Redis lost something. No round trip while this node is in
    /// step.
    ///
    /// # Errors
    /// If a shard cannot be asked.
    pub(crate) async fn histories(&self) -> Result<u64> {
        self.inner.histories().await
    }

    /// The same if this node is in step, and all that was invalidated through it is acknowledged. No round trip.
    pub(crate) fn settled_histories(&self) -> Option<u64> {
        self.inner.settled_histories()
    }

    /// The name it was built with.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What is pending behind, to flush it and to decide about what the sink refused.
    ///
    /// # Errors
    /// `ErrorKind::Config` if the cache was built without [`write_behind`](CacheBuilder::write_behind).
    pub fn behind(&self) -> Result<&Behind> {
        self.inner.behind.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Config, "the cache does not write behind").context(&self.inner.name)
        })
    }

    /// Waits until the flights under way have landed and, with write-behind, until the sink has everything, at most for its
    /// [drain deadline](WriteBehind::drain_deadline). For an orderly shutdown; afterwards nothing is carried out behind here.
    ///
    /// Invalidations that Redis has not acknowledged get two more seconds. Those that are owed even then are counted in the log:
    /// what Redis has of their keys may be old until it expires.
    pub async fn close(&self) {
        if let Some(behind) = &self.inner.behind {
            behind.drain().await;
            behind.close();
            let workers = std::mem::take(&mut *self.inner.workers.lock());
            join_all(workers).await;
        }
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.settle_up().await;
    }

    fn from_inner(inner: Inner<K, V>) -> Self {
        Self { inner: Arc::new(inner) }
    }
}
