//! Conditional loads: a loader that is shown the previous value may answer that it still stands, and then only the entry's
//! freshness is renewed.

use std::{fmt, hash::Hash, sync::Arc};

use crate::{
    Error, ErrorKind,
    cache::{
        MissReason,
        entry::{Envelope, Lifetime},
        fetch::{After, Fetched, failed},
        inner::Inner,
        near::NearEntry,
        shared::Filled,
        stats::Counter,
        store::{Load, loaded},
    },
};

/// What a conditional load brings: see [`Cache::get_with_previous`](crate::Cache::get_with_previous).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded<V> {
    /// A value.
    Value(V),
    /// There is no such thing.
    Absent,
    /// The previous value still stands. Only for a loader that was given one.
    NotModified,
}

impl<V> From<Option<V>> for Loaded<V> {
    fn from(value: Option<V>) -> Self {
        value.map_or(Self::Absent, Self::Value)
    }
}

/// An entry past its time, and its bytes' worth if Redis has it.
pub(crate) struct Previous<V> {
    pub(crate) entry: NearEntry<V>,
    pub(crate) stored: Option<Envelope>,
}

impl<V> Previous<V> {
    /// One that only this node has.
    pub(crate) fn near(entry: NearEntry<V>) -> Self {
        Self { entry, stored: None }
    }
}

/// The loader confirms what it was not shown.
pub(crate) fn not_asked() -> Error {
    Error::new(
        ErrorKind::Source,
        "the loader says that nothing was modified, but it was given no previous value",
    )
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// The loader says that the previous value still stands.
    pub(crate) async fn confirm(&self, order: Load<'_, K>, previous: Option<Previous<V>>) -> Fetched<V> {
        let Some((Previous { entry, stored }, value)) =
            previous.and_then(|previous| previous.entry.value.clone().map(|value| (previous, value)))
        else {
            let after = order.lease.map_or(After::Nothing, After::Release);
            return Fetched { after, ..failed(not_asked()) };
        };
        self.stats.count(Counter::NotModified);
        // What a load of the value costs, this one does not say.
        let load_us = entry.terms.life.load_us;
        let order = Load { load_us, ..order };
        if let Some(stored) = stored
            && let Some(life) = self.lifetime(order.policy, Some(&value), load_us)
            && let Some(keep) = self.renew_stored(&order, value.clone(), &stored, life).await
        {
            if order.reason == MissReason::Expired {
                self.count_compared(true);
            }
            let answer = Ok(loaded(Some(value), Some(life), order.reason));
            return Fetched { answer, keep, after: After::Nothing };
        }
        self.store(order, Some(value)).await
    }

    /// Renews the value that Redis has without sending it there again: the same checks as a fill, in one round trip.
    /// `None` if Redis has another one by now, or none.
    async fn renew_stored(
        &self,
        order: &Load<'_, K>,
        value: Arc<V>,
        stored: &Envelope,
        life: Lifetime,
    ) -> Option<Option<NearEntry<V>>> {
        let (Some(shared), Some(lease)) = (self.shared_by(order.basis.route), order.lease) else {
            return None;
        };
        let life = Lifetime { load_us: stored.life.load_us, ..life };
        let renewed =
            Envelope { created_unix_ms: self.clock.unix_ms(), life, at: order.basis.at, ..stored.clone() };
        let compress_above = order.policy.compress_above_bytes;
        let filled = shared.renew_value(order.text, &lease, stored, &renewed, compress_above).await;
        if let Ok(Filled::Other) = filled {
            return None;
        }
        Some(self.settle_fill(order, filled, Some(value), life, &renewed.tags).await)
    }
}
