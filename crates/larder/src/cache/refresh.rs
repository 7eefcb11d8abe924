//! Refreshes: a value is loaded anew behind its readers, who have the old one meanwhile.

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use crate::{
    Error, ErrorKind,
    cache::{
        MissReason, Policy,
        ahead::is_newer,
        coherence::Basis,
        confirm::Previous,
        entry::{Freshness, Lease, Slot},
        fetch::{Right, failed},
        flight::Leader,
        inner::{Inner, NearLook},
        loader::Loader,
        stats::Counter,
        store::Load,
    },
};

/// The pause before a refresh that failed, or that another node is doing, is tried again.
pub(crate) const REFRESH_PAUSE: Duration = Duration::from_secs(1);

/// What a refresh behind a reader is to do.
pub(crate) struct RefreshOrder {
    pub(crate) policy: Policy,
    /// The tags that the call gave, by their hashes.
    pub(crate) tags: Vec<u64>,
    /// The creation of the entry that is to be refreshed before it expires; `None` if it has expired.
    pub(crate) ahead_of: Option<u64>,
}

impl RefreshOrder {
    /// Of an entry past its soft expiry.
    pub(crate) fn late(policy: Policy, tags: Vec<u64>) -> Self {
        Self { policy, tags, ahead_of: None }
    }

    /// Of one that is still fresh.
    pub(crate) fn ahead(policy: Policy, tags: Vec<u64>, created_ms: u64) -> Self {
        Self { policy, tags, ahead_of: Some(created_ms) }
    }
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Refreshes a value behind its readers, one refresh of a key at a time on this node, and one among all
    /// nodes by the lease beside the slot. One that comes to nothing stays registered for a moment, so that a failing
    /// source is not asked again by every reader.
    pub(crate) async fn refresh(
        self: Arc<Self>,
        key: K,
        RefreshOrder { policy, tags, ahead_of }: RefreshOrder,
        load: Loader<V>,
    ) {
        let text = key.to_string();
        let basis = self.basis(self.route_of(&key, None), &text);
        let Some(leader) = self.begin_refresh(&key, basis, ahead_of) else { return };
        let lease = Lease::random();
        let near = match self.look_near(&key) {
            NearLook::Fresh(entry) | NearLook::Stale(entry) | NearLook::Miss(_, Some((entry, _))) => {
                Some(entry)
            }
            NearLook::Miss(_, None) => None,
        };
        let near = near.map(Previous::near);
        let right = self.right_to_refresh(&text, &lease, basis, ahead_of).await;
        let order = |lease, reason| Load {
            key: &key,
            text: &text,
            basis,
            tags: &tags,
            policy: &policy,
            lease,
            reason,
            load_us: 0,
        };
        let fetched = match right {
            Some(Right::Found(entry)) => self.found(entry, None),
            Some(Right::Leased(reason, previous)) => {
                self.load_and_fill(order(Some(lease), reason), previous.or(near), load).await
            }
            Some(Right::Unleased(reason)) => self.load_and_fill(order(None, reason), near, load).await,
            Some(Right::Failed(error)) => failed(error),
            Some(Right::Blocked) | None => failed(left_to_another_node()),
        };
        if fetched.keep.is_some() {
            return leader.land(fetched.answer, |key| self.keep_near(key, fetched.keep));
        }
        self.clean_up(basis.route, &text, fetched.after).await;
        leader.tell(fetched.answer);
        sleep(REFRESH_PAUSE).await;
    }

    /// What the refresh of this key comes to that this node has begun: whoever is to load the key waits for that instead. `None` if
    /// there is none, or if a look is to tell what came of it.
    pub(super) async fn own_refresh(&self, key: &K, policy: &Policy) -> Option<Right<V>> {
        let refresh = self.flights.refresh_under_way(key)?;
        match timeout(policy.load_deadline, refresh.wait()).await.ok()? {
            // With Redis, a look there tells also what was invalidated meanwhile.
            Ok(_) if self.shared.is_some() => None,
            Ok(_) => match self.look_near(key) {
                NearLook::Fresh(entry) => Some(Right::Found(entry)),
                NearLook::Stale(_) | NearLook::Miss(..) => None,
            },
            Err(error) if error.kind() == ErrorKind::Lost => None,
            Err(error) => Some(Right::Failed(error)),
        }
    }

    /// Registers the refresh of a key on this node. `None` if the key is being refreshed, or has been since the caller looked.
    pub(crate) fn begin_refresh(&self, key: &K, basis: Basis, ahead_of: Option<u64>) -> Option<Leader<K, V>> {
        let leader = self.flights.begin_refresh(key, basis, self.clock.monotonic_ms())?;
        // Between the caller's look and ours an earlier refresh may have landed.
        if let NearLook::Fresh(entry) = self.look_near(key)
            && is_newer(entry.terms.created_ms, ahead_of)
        {
            leader.land(Err(Error::new(ErrorKind::Lost, "refreshed meanwhile")), |_| {});
            return None;
        }
        self.stats.count(Counter::Refreshes);
        Some(leader)
    }

    /// `None` when another node is at it, or Redis cannot say.
    async fn right_to_refresh(
        &self,
        text: &str,
        lease: &Lease,
        basis: Basis,
        ahead_of: Option<u64>,
    ) -> Option<Right<V>> {
        let Some(shared) = self.shared_by(basis.route) else {
            return Some(Right::Unleased(MissReason::Expired));
        };
        let mut previous = None;
        if let Ok(Some(Slot::Value(envelope))) = shared.peek(text).await
            && self.recheck(basis.route, text).await.is_ok()
            && self.coherence.is_after_clear(shared.shard_of(text), envelope.at)
            && let Ok(Some(entry)) = self.entry_from(&envelope, basis).await
        {
            let freshness = self.near_freshness(&entry);
            // Another node may have been faster.
            let newer = freshness == Some(Freshness::Fresh) && is_newer(entry.terms.created_ms, ahead_of);
            if envelope.is_pending() || newer {
                return Some(Right::Found(entry));
            }
            if freshness.is_some() {
                previous = Some(Previous { entry, stored: Some(envelope) });
            }
        }
        match shared.lease_refresh(text, lease).await {
            Ok(true) => Some(Right::Leased(MissReason::Expired, previous)),
            Ok(false) => None,
            Err(_) => Some(self.unleased_by_error()),
        }
    }
}

/// What a refresh comes to whose lease another node has.
pub(crate) fn left_to_another_node() -> Error {
    Error::new(ErrorKind::Lost, "another node is at this key")
}
