//! How a flight begins: its first look at Redis in the reader's own task, and the rest in a task of its own.

use std::{fmt, hash::Hash, sync::Arc};

use tokio::runtime::Handle;

use crate::{
    Result,
    cache::{
        Read, ReadMode, Served,
        coherence::Basis,
        entry::{Envelope, Freshness},
        fetch::Plan,
        flight::Leader,
        inner::Inner,
        loader::Loader,
        near::NearEntry,
        refresh::RefreshOrder,
        shared::Lookup,
    },
};

/// Everything a flight needs.
pub(crate) struct Parts<K: Hash + Eq, V> {
    pub(crate) leader: Leader<K, V>,
    pub(crate) plan: Plan<V>,
    pub(crate) load: Loader<V>,
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
        let soft_deadline = parts.plan.policy.soft_deadline;
        let mut departure = Departure { inner: self, parts: Some(parts) };
        let first = match &mut departure.parts {
            Some(parts) if parts.plan.mode == ReadMode::Cached => self.first_look(&mut parts.plan).await,
            _ => None,
        };
        if let (Some(Ok(Lookup::Value(envelope))), Some(parts)) = (&first, &departure.parts)
            && let Some(entry) = self.fresh_at_hand(envelope, parts.plan.basis)
            && let Some(Parts { leader, plan, load }) = departure.parts.take()
        {
            let read = entry.read(Served::Shared, self.clock.monotonic_ms());
            let ahead_of = self.due_ahead(&entry).map(|created_ms| (leader.key().clone(), created_ms));
            leader.land(Ok(read.clone()), |key| self.keep_near(key, Some(entry)));
            if let Some((key, created_ms)) = ahead_of {
                let order = RefreshOrder::ahead(plan.policy, plan.tags, created_ms);
                self.tasks.spawn(self.clone().refresh(key, order, load));
            }
            return Ok(read);
        }
        if let Some(parts) = &mut departure.parts {
            parts.plan.first = first;
        }
        drop(departure);
        self.await_landing(&flight, soft_deadline).await
    }

    async fn first_look(&self, plan: &mut Plan<V>) -> Option<Result<Lookup>> {
        let shared = self.shared_by(plan.basis.route)?;
        if !shared.trusts(&plan.text) {
            return None;
        }
        Some(self.look(shared, plan).await)
    }

    /// A copy of a value that was found, if it can be served as it is and without asking anybody anything more.
    pub(crate) fn fresh_at_hand(&self, envelope: &Envelope, basis: Basis) -> Option<NearEntry<V>> {
        if !self.coherence.is_after_clear(self.coherence.shard_of_stamp(&basis.stamp), envelope.at) {
            return None;
        }
        let entry = self.entry_at_hand(envelope, basis)?;
        let fresh = entry.terms.life.at_age(entry.age_ms(self.clock.monotonic_ms())) == Freshness::Fresh;
        let current = match envelope.is_pending() {
            // Whatever was purged: the source has nothing newer.
            true => self.coherence.is_current(&entry.terms.stamp),
            false => entry.is_current(&self.coherence),
        };
        (fresh && current).then_some(entry)
    }
}

/// A flight that is about to become a task. Dropping it, also because the caller went away, is what starts the task.
struct Departure<'a, K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    inner: &'a Arc<Inner<K, V>>,
    parts: Option<Parts<K, V>>,
}

impl<K, V> Drop for Departure<'_, K, V>
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
