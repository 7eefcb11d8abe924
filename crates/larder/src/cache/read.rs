//! What a read may ask for, and what it tells besides the value.

use std::{sync::Arc, time::Duration};

use crate::cache::{Policy, Token, tag::tag_hash};

/// How one read treats the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// Serve from the nearest tier that has it. The default.
    #[default]
    Cached,
    /// Load from the source and replace what is cached.
    Refresh,
    /// Load from the source and leave the cache alone. Such reads share no flight.
    Bypass,
}

/// Options of one call; every field has a default.
///
/// ```
/// use larder::cache::{ReadMode, ReadOptions};
/// use std::time::Duration;
/// let options = ReadOptions { mode: ReadMode::Refresh, deadline: Some(Duration::from_secs(1)), ..Default::default() };
/// ```
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// How this read treats the cache.
    pub mode: ReadMode,
    /// The most time this caller waits. A load that it started goes on for the others. Default: the flight's own bounds.
    pub deadline: Option<Duration>,
    /// Rules for what this call stores, instead of the cache's own.
    pub policy: Option<Policy>,
    /// Tags of what this call stores, beside those that the cache finds by itself. At most 64 in all.
    pub tags: Vec<String>,
    /// Read at least what this token stands for: everything invalidated or purged up to it, by whatever node. Costs one round trip
    /// more on a node that has not heard of it yet; if Redis cannot say, the source is asked.
    pub at_least: Option<Token>,
}

impl ReadOptions {
    /// Whether this node's own copy will do without a further look.
    #[inline]
    pub(crate) fn may_be_near(&self) -> bool {
        self.mode == ReadMode::Cached && self.at_least.is_none()
    }

    pub(crate) fn tag_hashes(&self) -> Vec<u64> {
        self.tags.iter().map(|tag| tag_hash(tag)).collect()
    }
}

/// The defaults, outside of the future of every plain read, which would grow by their size.
pub(crate) static PLAIN: ReadOptions =
    ReadOptions { mode: ReadMode::Cached, deadline: None, policy: None, tags: Vec::new(), at_least: None };

/// Who answered a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Served {
    /// This process's own copy.
    Near,
    /// Redis.
    Shared,
    /// The source.
    Source,
}

/// Why a read was not answered from a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MissReason {
    /// Nothing was known of the key.
    Cold,
    /// It was there, and its time had passed.
    Expired,
    /// It was invalidated not long ago.
    Invalidated,
    /// It belonged to a tag, a pattern or a cache that was purged.
    Purged,
    /// The near tier needed the room, and no shared tier had it.
    Evicted,
    /// Redis could not be asked.
    Error,
    /// What stood in Redis was foreign or damaged.
    Corrupt,
    /// It is larger than what the policy caches.
    TooLarge,
    /// The caller asked for the source.
    Asked,
}

impl MissReason {
    /// Every reason, for tables.
    pub const ALL: [Self; 9] = [
        Self::Cold,
        Self::Expired,
        Self::Invalidated,
        Self::Purged,
        Self::Evicted,
        Self::Error,
        Self::Corrupt,
        Self::TooLarge,
        Self::Asked,
    ];

    /// A stable lower-case name, used in metrics and headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::Purged => "purged",
            Self::Evicted => "evicted",
            Self::Error => "error",
            Self::Corrupt => "corrupt",
            Self::TooLarge => "too-large",
            Self::Asked => "asked",
        }
    }
}

/// The answer of a read: the value, and where it came from.
#[derive(Debug)]
pub struct Read<V> {
    /// The value; `None` when there is no such thing.
    pub value: Option<Arc<V>>,
    /// Who answered.
    pub served: Served,
    /// Why no cache answered, when the source did.
    pub reason: Option<MissReason>,
    /// Time since the value was loaded.
    pub age: Duration,
    /// Time until its soft expiry; zero once stale.
    pub ttl: Duration,
    /// Whether it is past its soft expiry.
    pub stale: bool,
}

impl<V> Read<V> {
    /// The answer of the source, with its lifetime where a cache keeps it.
    pub(crate) fn loaded(value: Option<Arc<V>>, ttl: Duration, reason: Option<MissReason>) -> Self {
        Self { value, served: Served::Source, reason, age: Duration::ZERO, ttl, stale: false }
    }

    /// The same answer with a value made from this one's.
    pub(crate) fn with_value<W>(&self, value: Option<Arc<W>>) -> Read<W> {
        let Self { served, reason, age, ttl, stale, .. } = *self;
        Read { value, served, reason, age, ttl, stale }
    }
}

impl<V> Clone for Read<V> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), ..*self }
    }
}
