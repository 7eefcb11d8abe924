//! A look at the pending operations of a cache from outside: without its keys' and values' types, its sink and its workers.

use std::{num::NonZeroU16, sync::Arc};

use crate::{
    Result,
    cache::{
        WriteBehind,
        behind::{Behind, NOBODY},
        coherence::Coherence,
        shared::Shared,
    },
    clock::Time,
    redis::{DEFAULT_SHARDS, Redis, Space},
};

/// The largest value that a cache can be told to keep.
const MAX_ENTRY_BYTES: usize = 256 << 20;

/// Where the pending operations of a cache are: its name, version and shards, as it was built with.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct BehindPlace {
    /// The cache's name.
    pub name: String,
    /// The version in its keys. Default: 1.
    pub version: u32,
    /// Into how many shards its keys are cut. Default: 16.
    pub shards: NonZeroU16,
}

impl BehindPlace {
    /// Of a cache with the default version and shards.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), version: 1, shards: DEFAULT_SHARDS }
    }
}

impl Behind {
    /// Attaches to the pending operations of a cache that other processes write to, for a tool: to count them, to
    /// [flush](Behind::flush), and to decide about its dead letters. It carries nothing out: what is replayed here is
    /// carried out by the cache's own nodes, within a second. Does no I/O; a name that no cache has is one without
    /// operations.
    ///
    /// ```
    /// # async fn run(redis: larder::redis::Redis) -> larder::Result<()> {
    /// use larder::cache::{Behind, BehindPlace};
    ///
    /// let orders = Behind::attach(&redis, &BehindPlace::new("orders"))?;
    /// for letter in orders.dead_letters(100).await? {
    ///     println!("{}: {}", letter.key, letter.error);
    ///     orders.replay(&letter.key).await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `ErrorKind::Config` for a name that no cache can have.
    pub fn attach(redis: &Redis, place: &BehindPlace) -> Result<Self> {
        let space = Space::new(redis.app(), &place.name, place.shards, place.version)?;
        let shared = Arc::new(Shared::new(redis.clone(), space, MAX_ENTRY_BYTES, 0, true, Vec::new()));
        let coherence = Arc::new(Coherence::of_shards(place.shards.get()));
        Ok(Self::new(WriteBehind::default(), shared, coherence, NOBODY, Time::System))
    }
}
