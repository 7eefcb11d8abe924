//! What a user supplies: where values come from ([`Source`]) and where they go ([`Sink`]).

#[cfg(any(feature = "mongo", feature = "sqlite"))]
mod document;
#[cfg(feature = "mongo")]
mod versioned;

use std::{future::Future, pin::Pin, sync::Arc};

#[cfg(any(feature = "mongo", feature = "sqlite"))]
pub use self::document::DocumentSource;
#[cfg(feature = "mongo")]
pub use self::versioned::MongoSink;
use crate::{Result, cache::Loaded};

/// Where the truth lives: loads values by key.
///
/// A cache with a source is read-through. Return `Ok(None)` for "there is no such thing": that is cached too, for the
/// policy's negative lifetime. An error is never cached. The call is cut off at the policy's load deadline.
///
/// A [`load_many`](Source::load_many) that asks its database once is what makes
/// [`Cache::get_many`](crate::Cache::get_many) cheap; the default asks for one key after another.
pub trait Source<K, V>: Send + Sync + 'static {
    /// Loads one value; `None` when there is none.
    fn load(&self, key: &K) -> impl Future<Output = Result<Option<V>>> + Send;

    /// Loads a value again whose time has passed, if it changed: a source that can tell answers
    /// [`Loaded::NotModified`] where the previous value still stands, and only its freshness is renewed. The default loads.
    fn reload(&self, key: &K, previous: &Arc<V>) -> impl Future<Output = Result<Loaded<V>>> + Send
    where
        K: Sync,
        V: Send + Sync,
    {
        let _ = previous;
        async move { self.load(key).await.map(Loaded::from) }
    }

    /// Loads several values, in the order of `keys` and exactly as many.
    fn load_many(&self, keys: &[K]) -> impl Future<Output = Result<Vec<Option<V>>>> + Send
    where
        K: Sync,
        V: Send,
    {
        async move {
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                values.push(self.load(key).await?);
            }
            Ok(values)
        }
    }
}

/// One write that a cache hands on behind its callers.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write<K, V> {
    /// What it is about.
    pub key: K,
    /// What is to stand there; `None` removes.
    pub value: Option<V>,
    /// Grows with every write to the key, whichever node made it: microseconds since 1970 by the clock of Redis, and always
    /// more than the last one. Fits a signed 64-bit integer.
    pub version: u64,
}

/// Where writes go: puts and removes values in the system that must keep them.
///
/// An `Ok` means that the write is durable as the system behind it promises. Both calls must be safe to repeat: after a
/// time-out the outcome is unknown and the caller may try again. An error of the kinds `Invalid`, `Conflict`, `Config`,
/// `TooLarge` or `Full` says that nothing was written; after any other the write counts as one that may have been done.
pub trait Sink<K, V>: Send + Sync + 'static {
    /// Stores `value` under `key`, replacing what was there.
    fn put(&self, key: &K, value: &V) -> impl Future<Output = Result<()>> + Send;

    /// Removes `key`; removing what is absent is fine.
    fn remove(&self, key: &K) -> impl Future<Output = Result<()>> + Send;

    /// Carries out a batch of writes for [write-behind](crate::cache::WriteBehind), at most one for each key, and says of
    /// each, in their order, what became of it. The default calls [`put`](Sink::put) and [`remove`](Sink::remove) one after
    /// another; a sink that writes many at once makes write-behind as cheap as it can be.
    ///
    /// A write may come **more than once**, after a crash or a time-out, but only until a later one of its key is carried out,
    /// with two exceptions: a process that is frozen in the middle of this call for longer than its lease, and then goes on,
    /// sends a write that may be older than one that another node has carried out meanwhile; and a Redis that has lost what it
    /// acknowledged last, because its machine died or a replica took over that was behind, may bring writes again that are older than
    /// what it lost. A sink that stores the [version](Write::version) beside the value, and leaves alone what has a later one, is safe
    /// from that too; after a removal it must keep the version for as long as a process can be frozen.
    ///
    /// Errors of the kinds `Unavailable`, `Timeout` and `Full` say that the sink is away: the write is tried until it
    /// succeeds. After a few of any other kind it becomes a dead letter.
    fn apply(&self, writes: &[Write<K, V>]) -> impl Future<Output = Vec<Result<()>>> + Send
    where
        K: Sync,
        V: Sync,
    {
        async move {
            let mut outcomes = Vec::with_capacity(writes.len());
            for write in writes {
                outcomes.push(match &write.value {
                    Some(value) => self.put(&write.key, value).await,
                    None => self.remove(&write.key).await,
                });
            }
            outcomes
        }
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The erased twin of [`Source`], so that handles carry no type parameter for it.
pub(crate) trait ErasedSource<K, V>: Send + Sync {
    fn load<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<V>>>;
    fn reload<'a>(&'a self, key: &'a K, previous: &'a Arc<V>) -> BoxFuture<'a, Result<Loaded<V>>>;
    fn load_many<'a>(&'a self, keys: &'a [K]) -> BoxFuture<'a, Result<Vec<Option<V>>>>;
}

impl<K: Sync + 'static, V: Send + Sync + 'static, S: Source<K, V>> ErasedSource<K, V> for S {
    fn load<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<V>>> {
        Box::pin(Source::load(self, key))
    }
    fn reload<'a>(&'a self, key: &'a K, previous: &'a Arc<V>) -> BoxFuture<'a, Result<Loaded<V>>> {
        Box::pin(Source::reload(self, key, previous))
    }
    fn load_many<'a>(&'a self, keys: &'a [K]) -> BoxFuture<'a, Result<Vec<Option<V>>>> {
        Box::pin(Source::load_many(self, keys))
    }
}

/// The erased twin of [`Sink`].
pub(crate) trait ErasedSink<K, V>: Send + Sync {
    fn put<'a>(&'a self, key: &'a K, value: &'a V) -> BoxFuture<'a, Result<()>>;
    fn remove<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<()>>;
    fn apply<'a>(&'a self, writes: &'a [Write<K, V>]) -> BoxFuture<'a, Vec<Result<()>>>;
}

impl<K: Sync + 'static, V: Sync + 'static, S: Sink<K, V>> ErasedSink<K, V> for S {
    fn put<'a>(&'a self, key: &'a K, value: &'a V) -> BoxFuture<'a, Result<()>> {
        Box::pin(Sink::put(self, key, value))
    }
    fn remove<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<()>> {
        Box::pin(Sink::remove(self, key))
    }
    fn apply<'a>(&'a self, writes: &'a [Write<K, V>]) -> BoxFuture<'a, Vec<Result<()>>> {
        Box::pin(Sink::apply(self, writes))
    }
}

pub(crate) type SharedSource<K, V> = Arc<dyn ErasedSource<K, V>>;
pub(crate) type SharedSink<K, V> = Arc<dyn ErasedSink<K, V>>;
