//! Hot keys in a cluster: a node that reads a key much may read it in another shard than the key's own.
//!
//! A *replica* of a key is an entry of the same name in another shard. It has everything there that an entry has: its own lease, fill,
//! tags, sequence and log. So nothing that holds for a key in its home shard needs another argument for a replica, as long as
//! every invalidation reaches all shards that may have one. Near copies are bound to the shard that they were read in: the home's
//! log may be ahead of it.

use std::{fmt, hash::Hash, sync::Arc};

use crate::{
    Error, ErrorKind, Result,
    cache::{Token, coherence::Basis, inner::Inner, read::ReadOptions, shared::Shared},
    source::SharedSource,
};

/// In which of its shards a key is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Its own.
    Home,
    /// The one of this node's replicas.
    Replica,
}

impl Shared {
    /// The shards that a key may stand in, its own first.
    pub(crate) fn shards_of(&self, key: &str) -> impl Iterator<Item = u16> + use<> {
        let (home, shards, stride) = (self.home_of(key), self.space().shards(), self.stride());
        (0..self.replicas()).map(move |replica| shard_after(home, replica * stride, shards))
    }

    /// As far apart as they can be: neighbours are as likely to share a server as any other two.
    fn stride(&self) -> u16 {
        self.space().shards() / self.replicas()
    }

    /// The slots of hot keys as this node sees them; `None` if that is at home.
    pub(crate) fn replica_for(&self, node: u64) -> Option<Self> {
        let replica = (node % u64::from(self.replicas())) as u16;
        (replica > 0).then(|| self.shifted(replica * self.stride()))
    }
}

/// The shard so many places after this one.
pub(crate) fn shard_after(shard: u16, places: u16, shards: u16) -> u16 {
    ((u32::from(shard) + u32::from(places)) % u32::from(shards)) as u16
}

/// Whether a cache of so many shards can have so many replicas.
pub(crate) fn check(replicas: u16, shards: u16, writes_behind: bool) -> Result<()> {
    let wrong = |what: &'static str| Err(Error::new(ErrorKind::Config, what).with_field("hot_replicas"));
    if replicas == 0 || replicas > shards {
        return wrong("must be at least 1, and not more than there are shards");
    }
    if replicas > 1 && writes_behind {
        return wrong(
            "cannot be had together with write_behind, whose values stand in the shard of their key alone",
        );
    }
    Ok(())
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Where a read looks that begins now. One with a token goes home: the token is one of the home shard.
    pub(crate) fn route_of(&self, key: &K, options: Option<&ReadOptions>) -> Route {
        if self.replica.is_some()
            && options.is_none_or(|options| options.at_least.is_none())
            && self.heat.is_hot(key, self.clock.monotonic_ms())
        {
            Route::Replica
        } else {
            Route::Home
        }
    }

    pub(crate) fn shared_by(&self, route: Route) -> Option<&Arc<Shared>> {
        match route {
            Route::Home => self.shared.as_ref(),
            Route::Replica => self.replica.as_ref(),
        }
    }

    /// Where what is to stand there is loaded from.
    pub(crate) fn source_by(&self, route: Route) -> Result<&SharedSource<K, V>> {
        match (route, &self.replica_source) {
            (Route::Replica, Some(source)) => Ok(source),
            _ => self.source(),
        }
    }

    /// The shard in which a key is looked up.
    pub(crate) fn shard_by(&self, route: Route, text: &str) -> u16 {
        match self.shared_by(route) {
            Some(shared) => shared.shard_of(text),
            None => self.coherence.shard_of(text),
        }
    }

    /// What a load of this key that begins now stands on.
    pub(crate) fn basis(&self, route: Route, text: &str) -> Basis {
        self.coherence.basis_in(self.shard_by(route, text), route, text)
    }

    /// Of the tokens of a write, those that readers of these keys look at.
    pub(crate) fn home_tokens<Q: fmt::Display + ?Sized>(
        &self,
        mut tokens: Vec<Token>,
        keys: &[&Q],
    ) -> Vec<Token> {
        if self.shared.as_ref().is_some_and(|shared| shared.replicas() > 1) {
            let homes: Vec<u16> = keys.iter().map(|key| self.coherence.shard_of(&key.to_string())).collect();
            tokens.retain(|token| homes.contains(&token.shard()));
        }
        tokens
    }
}
