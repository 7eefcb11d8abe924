//! How long an entry lives and what may be stored: the rules of one cache, pure values.

use std::time::Duration;

use rand::Rng;

use crate::{Error, ErrorKind, Result, cache::entry::Lifetime, dice::dice};

/// The longest lifetime a policy may declare, stale windows included.
pub const MAX_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// The rules of one cache: lifetimes, limits and deadlines.
///
/// An entry is *fresh* for [`ttl`](Policy::ttl), shortened at random by up to [`jitter`](Policy::jitter) so that entries
/// filled together do not expire together. Past that (the soft expiry) it may be served once more while it is refreshed
/// behind, for [`stale_while_revalidate`](Policy::stale_while_revalidate), or when the source fails, for
/// [`stale_if_error`](Policy::stale_if_error). After the longer of the two windows (the hard expiry) it is gone.
///
/// ```
/// use larder::cache::Policy;
/// use std::time::Duration;
/// let policy = Policy::ttl(Duration::from_secs(300))
///     .stale_while_revalidate(Duration::from_secs(30))
///     .stale_if_error(Duration::from_secs(3600));
/// assert!(policy.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub(crate) ttl: Duration,
    pub(crate) jitter: f64,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) negative_ttl: Duration,
    pub(crate) near_ttl: Option<Duration>,
    pub(crate) hot_near_ttl: Option<Duration>,
    pub(crate) max_entry_bytes: usize,
    pub(crate) compress_above_bytes: Option<usize>,
    pub(crate) load_deadline: Duration,
    pub(crate) soft_deadline: Option<Duration>,
    pub(crate) refresh_ahead: Option<f64>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(60),
            jitter: 0.1,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            negative_ttl: Duration::from_secs(5),
            near_ttl: None,
            hot_near_ttl: None,
            max_entry_bytes: 1 << 20,
            compress_above_bytes: Some(4 << 10),
            load_deadline: Duration::from_secs(5),
            soft_deadline: None,
            refresh_ahead: None,
        }
    }
}

impl Policy {
    /// The default policy with another lifetime. Default: 60 s.
    #[must_use]
    pub fn ttl(ttl: Duration) -> Self {
        Self { ttl, ..Self::default() }
    }

    /// The part of the lifetime, 0 to 0.5, by which it is shortened at random. Never lengthens. Default: 0.1.
    #[must_use]
    pub fn jitter(mut self, fraction: f64) -> Self {
        self.jitter = fraction;
        self
    }

    /// How long past the soft expiry a value is served at once while one refresh runs behind. Default: 0.
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.stale_while_revalidate = window;
        self
    }

    /// Has hits refresh a value behind them before it expires, so that readers of a key in demand never wait for its load
    /// (XFetch). Each hit draws: it refreshes with the chance `exp(-remaining / (load time * beta))`, where the load time is
    /// that of the entry's own load. A beta of 1 is the optimum where loads always take the same; a greater one refreshes
    /// earlier. One refresh of a key runs at a time, among all nodes. A rule of the whole cache: a call's own policy does
    /// not change it, and [`get_many`](crate::Cache::get_many) does not draw. Costs nothing until the expiry is about 20
    /// load times away. Default: only keys that are [hot](crate::cache::HotKey::is_hot) when they are loaded are refreshed, by the first
    /// hit within two load times and 100 ms of the expiry, in the last quarter of their lifetime at most.
    ///
    /// ```
    /// use larder::cache::Policy;
    /// use std::time::Duration;
    /// assert!(Policy::ttl(Duration::from_secs(60)).refresh_ahead(1.0).check().is_ok());
    /// ```
    #[must_use]
    pub fn refresh_ahead(mut self, beta: f64) -> Self {
        self.refresh_ahead = Some(beta);
        self
    }

    /// How long past the soft expiry a value is served when the source fails. Default: 0.
    #[must_use]
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.stale_if_error = window;
        self
    }

    /// How long "there is no such thing" is remembered; zero turns that off. Default: 5 s.
    #[must_use]
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = ttl;
        self
    }

    /// How long a node may serve its own copy without asking Redis. Zero turns the near tier off. Default: the whole
    /// lifetime; how soon other nodes' invalidations are seen is the [`Consistency`](crate::cache::Consistency)'s business.
    #[must_use]
    pub fn near_ttl(mut self, ttl: Duration) -> Self {
        self.near_ttl = Some(ttl);
        self
    }

    /// How long a node may serve its own copy of a [hot](crate::cache::HotKey::is_hot) key without asking Redis, where
    /// [`near_ttl`](Policy::near_ttl) is shorter: the keys that Redis is asked for most are asked for least. Invalidations
    /// reach such a copy like any other, so [`Consistency::Bounded`](crate::cache::Consistency) and `Strict` bound how stale it
    /// can be all the same; beside Redis, `Local` is refused. Never past the value's own lifetime. A rule of the whole cache.
    /// Default: as all keys.
    ///
    /// ```
    /// use larder::cache::Policy;
    /// use std::time::Duration;
    /// let policy = Policy::ttl(Duration::from_secs(300))
    ///     .near_ttl(Duration::from_secs(1))
    ///     .hot_near_ttl(Duration::from_secs(60));
    /// assert!(policy.check().is_ok());
    /// ```
    #[must_use]
    pub fn hot_near_ttl(mut self, ttl: Duration) -> Self {
        self.hot_near_ttl = Some(ttl);
        self
    }

    /// The largest encoded value that is cached; larger ones are returned but not kept, in Redis as in the near tier. A cache
    /// without a codec, which only one in a single process can be, does not know its values' sizes. Default: 1 MiB.
    #[must_use]
    pub fn max_entry_bytes(mut self, bytes: usize) -> Self {
        self.max_entry_bytes = bytes;
        self
    }

    /// Compress values in Redis from this size on (LZ4); `None` never does. Default: 4 KiB.
    #[must_use]
    pub fn compress_above_bytes(mut self, bytes: Option<usize>) -> Self {
        self.compress_above_bytes = bytes;
        self
    }

    /// The most time one load may take, waiting for its turn included (the hard deadline). Then it is dropped where it
    /// stands, its lease is given back, and its readers get something stale inside
    /// [`stale_if_error`](Policy::stale_if_error) or `ErrorKind::Timeout`. Default: 5 s.
    #[must_use]
    pub fn load_deadline(mut self, deadline: Duration) -> Self {
        self.load_deadline = deadline;
        self
    }

    /// How long a reader waits for a load when there is something stale inside [`stale_if_error`](Policy::stale_if_error):
    /// then it gets that, marked as stale, and the load goes on for the readers after it. Counted from the load's begin,
    /// so who joins a slow load late does not wait at all. Never serves what was invalidated as far as the node knows, nor
    /// from a node that is out of step. Default: readers wait for the load.
    ///
    /// ```
    /// use larder::cache::Policy;
    /// use std::time::Duration;
    /// let policy = Policy::ttl(Duration::from_secs(60))
    ///     .stale_if_error(Duration::from_secs(3600))
    ///     .soft_deadline(Duration::from_millis(100))
    ///     .load_deadline(Duration::from_secs(2));
    /// assert!(policy.check().is_ok());
    /// ```
    #[must_use]
    pub fn soft_deadline(mut self, deadline: Duration) -> Self {
        self.soft_deadline = Some(deadline);
        self
    }

    /// Checks that the rules can work together.
    ///
    /// # Errors
    /// `ErrorKind::Config` naming the rule and its bounds.
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, message: &'static str| {
            Err(Error::new(ErrorKind::Config, message).with_field(field.to_owned()))
        };
        if self.ttl.is_zero() {
            return wrong("ttl", "must be longer than zero");
        }
        if self.keep() > MAX_LIFETIME {
            return wrong("ttl", "with its stale windows must be at most 30 days");
        }
        if !(0.0..=0.5).contains(&self.jitter) {
            return wrong("jitter", "must be between 0 and 0.5");
        }
        if self.negative_ttl > MAX_LIFETIME {
            return wrong("negative_ttl", "must be at most 30 days");
        }
        if self.max_entry_bytes == 0 || self.max_entry_bytes > 256 << 20 {
            return wrong("max_entry_bytes", "must be between 1 byte and 256 MiB");
        }
        if self.load_deadline.is_zero() || self.load_deadline > Duration::from_secs(3600) {
            return wrong("load_deadline", "must be longer than zero and at most an hour");
        }
        if self.refresh_ahead.is_some_and(|beta| !(0.01..=100.0).contains(&beta)) {
            return wrong("refresh_ahead", "must be between 0.01 and 100");
        }
        if let Some(hot) = self.hot_near_ttl
            && self.near_ttl.is_none_or(|near| near.is_zero() || hot < near)
        {
            return wrong("hot_near_ttl", "needs a near_ttl that is shorter, and not zero");
        }
        if let Some(soft) = self.soft_deadline {
            if soft.is_zero() || soft >= self.load_deadline {
                return wrong("soft_deadline", "must be longer than zero and shorter than load_deadline");
            }
            if self.stale_if_error.is_zero() {
                return wrong(
                    "soft_deadline",
                    "needs stale_if_error, which says how stale a value may be served",
                );
            }
        }
        Ok(())
    }

    /// Lifetime plus the longer stale window.
    pub(crate) fn keep(&self) -> Duration {
        self.ttl + self.stale_while_revalidate.max(self.stale_if_error)
    }

    /// The lifetime of one new entry, with a lifetime of its own if the value asks for one; `None` if it is not to be
    /// cached at all. A value cannot ask for longer than the policy keeps anything.
    pub(crate) fn lifetime(&self, present: bool, own: Option<Duration>) -> Option<Lifetime> {
        if !present {
            let fresh_ms = self.shortened(self.negative_ttl);
            return (fresh_ms > 0).then_some(Lifetime { fresh_ms, stale_ms: 0, error_ms: 0, load_us: 0 });
        }
        if own.is_some_and(|own| own.is_zero()) {
            return None;
        }
        let window_ms = |window: Duration| window.as_millis() as u32;
        Some(Lifetime {
            fresh_ms: self.shortened(own.unwrap_or(self.ttl).min(self.ttl)).max(1),
            stale_ms: window_ms(self.stale_while_revalidate),
            error_ms: window_ms(self.stale_if_error),
            load_us: 0,
        })
    }

    fn shortened(&self, ttl: Duration) -> u32 {
        let cut = if self.jitter > 0.0 { dice().random_range(0.0..=self.jitter) } else { 0.0 };
        (ttl.as_millis() as f64 * (1.0 - cut)) as u32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_jitter_and_no_wish_of_a_value_prolongs_a_life(
            ttl_ms in 1_u64..100_000,
            jitter in 0.0..0.5,
            windows_ms: [u16; 2],
            own_ms in proptest::option::of(1_u64..200_000),
        ) {
            let ms = |ms: u16| Duration::from_millis(ms.into());
            let policy = Policy::ttl(Duration::from_millis(ttl_ms))
                .jitter(jitter)
                .stale_while_revalidate(ms(windows_ms[0]))
                .stale_if_error(ms(windows_ms[1]));
            let life = policy.lifetime(true, own_ms.map(Duration::from_millis)).expect("it is to be cached");
            let wanted_ms = own_ms.unwrap_or(ttl_ms).min(ttl_ms);
            prop_assert!(u64::from(life.fresh_ms) <= wanted_ms, "soft expiry");
            prop_assert!(f64::from(life.fresh_ms) >= (wanted_ms as f64 * (1.0 - jitter)).floor());
            prop_assert!(u64::from(life.fresh_ms) <= life.keep_ms(), "soft before hard");
            prop_assert!(life.keep_ms() <= policy.keep().as_millis() as u64, "hard expiry");
        }
    }
}
