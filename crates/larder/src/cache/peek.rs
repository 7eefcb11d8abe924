//! What the cache has of a key, without a load.

use std::{fmt, hash::Hash};

use crate::{
    ErrorKind, Result,
    cache::{
        Read, Served,
        coherence::Basis,
        entry::Slot,
        inner::{Inner, NearLook},
        near::NearEntry,
        route::Route,
        shared::Shared,
    },
};

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// A fresh value, near or in Redis. Takes no lease, joins no flight, counts nothing and keeps nothing.
    pub(crate) async fn peek(&self, key: &K) -> Result<Option<Read<V>>> {
        match self.look_near(key) {
            NearLook::Fresh(entry) => Ok(Some(entry.read(Served::Near, self.clock.monotonic_ms()))),
            _ => self.peek_shared(key, self.route_of(key, None)).await,
        }
    }

    /// The same for what is to be shared with others there. A near copy may be from before an invalidation that this node has not
    /// heard of, and another shard may not have heard of it either: beside Redis they are passed over.
    pub(crate) async fn peek_to_share(&self, key: &K, route: Route) -> Result<Option<Read<V>>> {
        if self.shared.is_some() { self.peek_shared(key, route).await } else { self.peek(key).await }
    }

    async fn peek_shared(&self, key: &K, route: Route) -> Result<Option<Read<V>>> {
        let Some(shared) = self.shared_by(route) else { return Ok(None) };
        let text = key.to_string();
        if !shared.trusts(&text) {
            return Ok(None);
        }
        let basis = self.stand(route, &text).await?;
        let Some(Slot::Value(envelope)) = shared.peek(&text).await? else { return Ok(None) };
        self.recheck(route, &text).await?;
        let entry = self.fresh_at_hand(&envelope, basis);
        Ok(entry.map(|entry| entry.read(Served::Shared, self.clock.monotonic_ms())))
    }

    /// The value in the slot, if it is to be written behind and the source does not have it yet.
    ///
    /// # Errors
    /// If Redis cannot say.
    pub(crate) async fn still_pending(
        &self,
        shared: &Shared,
        text: &str,
        basis: Basis,
    ) -> Result<Option<NearEntry<V>>> {
        if !shared.writes_behind() {
            return Ok(None);
        }
        match shared.peek(text).await {
            Ok(Some(Slot::Value(envelope))) if envelope.is_pending() => {
                self.recheck(basis.route, text).await?;
                self.entry_from(&envelope, basis).await
            }
            // What cannot be read does not wait to be written.
            Err(error) if error.kind() != ErrorKind::Corrupt => Err(error),
            _ => Ok(None),
        }
    }
}
