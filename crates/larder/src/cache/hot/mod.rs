//! Which keys are read most: counted from a sample of the reads, so that a hit pays nothing for it.
//!
//! A near hit compares its counter with the number of the next hit that is taken as a sample; all else happens for the
//! samples alone. There are about 256 a second of them, and never more than the reads: a quiet cache looks at every read,
//! a busy one at one in 1,024.

mod sampler;
mod sketch;

use std::{borrow::Borrow, fmt, hash::Hash};

pub(crate) use self::sampler::Heat;
use crate::cache::{Cache, inner::Inner};

/// From this part of a cache's reads on a key is hot.
const HOT_SHARE: f64 = 0.01;
/// And from so many reads a second on: in a quiet cache everything has its part.
const HOT_PER_SECOND: f64 = 10.0;

/// A key that this node reads often. Made by [`Cache::hot_keys`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct HotKey<K> {
    /// The key.
    pub key: K,
    /// At least how often it is read now.
    pub reads_per_second: f64,
    /// Its part of all reads of this cache on this node, 0 to 1.
    pub share: f64,
}

impl<K> HotKey<K> {
    /// Whether it is hot: at least one read in a hundred, and ten a second. What is loaded for such a key is refreshed behind its
    /// readers before it expires ([`Policy::refresh_ahead`](crate::Policy::refresh_ahead)), and held longer, if the policy says so
    /// ([`Policy::hot_near_ttl`](crate::Policy::hot_near_ttl)).
    #[must_use]
    pub fn is_hot(&self) -> bool {
        is_hot(self.reads_per_second, self.share)
    }
}

fn is_hot(reads_per_second: f64, share: f64) -> bool {
    reads_per_second >= HOT_PER_SECOND && share >= HOT_SHARE
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// The keys that this node reads most now, the hottest first, at most `limit`: each that has at least one in 256 of the
    /// reads. Of reads of all kinds, whoever answered them, those that went past the cache excepted.
    ///
    /// The figures come from a sample, and what was read 15 seconds ago counts half of what is read now. They are lower
    /// bounds; the order of keys that are read about equally often is a matter of luck. Another node has a list of its own.
    /// Does no I/O; takes a lock that no hit waits for.
    ///
    /// ```
    /// # async fn run() -> larder::Result<()> {
    /// let users: larder::Cache<String, String> = larder::Cache::builder("users").build()?;
    /// for _ in 0..10 {
    ///     users.get_with("42", || async { Ok(Some("Ada".to_owned())) }).await?;
    /// }
    /// let hottest = &users.hot_keys(1)[0];
    /// assert_eq!((hottest.key.as_str(), hottest.share), ("42", 1.0));
    /// # Ok(()) }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
    /// ```
    pub fn hot_keys(&self, limit: usize) -> Vec<HotKey<K>> {
        self.inner.heat.hottest(limit, self.inner.clock.monotonic_ms())
    }
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// A near hit is one of the sample: counts it, and says which hit is the next one.
    #[cold]
    #[inline(never)]
    pub(crate) fn note_hit<Q>(&self, key: &Q, now_ms: u64)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.stats.sample_after(self.heat.gap());
        self.heat.see(key, now_ms);
    }

    /// Counts a read that is no plain near hit, if it is one of the sample.
    pub(crate) fn note_read(&self, key: &K) {
        if self.heat.is_drawn() {
            self.heat.see(key, self.clock.monotonic_ms());
        }
    }
}
