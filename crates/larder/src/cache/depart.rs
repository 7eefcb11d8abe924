//! How a flight begins: its first look at Redis in the reader's own task, and the rest in a task of its own.

use std::{fmt, hash::Hash, sync::Arc};

use tokio::runtime::Handle;

use crate::{
    Result,
    cache::{
        Read, ReadMode, Served,
        entry::Freshness,
        fetch::{Loader, Plan},
        flight::Leader,
        inner::Inner,
        shared::Lookup,
    },
};

/// Everything a flight needs.
pub(crate) struct Parts<K: Hash + Eq, V> {
    pub(crate) leader: Leader<K, V>,
    pub(crate) plan: Plan<V>,
    pub(crate) load: Loader<Option<V>>,
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Begins a flight with its first look at Redis in the caller's own task: a shared hit needs no other. Whatever
    /// takes longer becomes a task, which the caller's end does not touch.
    pub(crate) async fn depart(self: &Arc<Self>, parts: Parts<K, V>) -> Result<Read<V>> {
        let flight = parts.leader.flight();
        let mut departure = Departure { inner: self.clone(), parts: Some(parts) };
        let first = match &departure.parts {
            Some(Parts { leader, plan, .. }) if plan.mode == ReadMode::Cached => {
                self.first_look(&leader.key().to_string(), plan).await
            }
            _ => None,
        };
        if let Some(Ok(Lookup::Value(envelope))) = &first
            && let Some(entry) = self.entry_from(envelope)
        {
            let now_ms = self.clock.monotonic_ms();
            if entry.life.at_age(entry.age_ms(now_ms)) == Freshness::Fresh
                && let Some(Parts { leader, .. }) = departure.parts.take()
            {
                let read = entry.read(Served::Shared, now_ms);
                let key = leader.key().clone();
                leader.land(Ok(read.clone()), || self.keep_near(&key, Some(entry)));
                return Ok(read);
            }
        }
        if let Some(parts) = &mut departure.parts {
            parts.plan.first = first;
        }
        drop(departure);
        flight.wait().await
    }

    async fn first_look(&self, text: &str, plan: &Plan<V>) -> Option<Result<Lookup>> {
        let shared = self.shared.as_ref()?;
        if !shared.unsent.trusts(text, self.clock.monotonic_ms()) {
            return None;
        }
        Some(shared.lookup(text, &plan.lease).await)
    }
}

/// A flight that is about to become a task. Dropping it, also because the caller went away, is what starts the task.
struct Departure<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    inner: Arc<Inner<K, V>>,
    parts: Option<Parts<K, V>>,
}

impl<K, V> Drop for Departure<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn drop(&mut self) {
        // Without a runtime there is nobody left to fly, and nobody to wait: the leader's own drop lands it.
        if let (Some(Parts { leader, plan, load }), Ok(runtime)) = (self.parts.take(), Handle::try_current())
        {
            self.inner.tasks.spawn_on(self.inner.clone().fly(leader, plan, load), &runtime);
        }
    }
}
