//! The near tier: this process's own copies, bounded in weight. Freshness stands in our own entries against our own
//! clock; the map below only bounds memory.

use std::{borrow::Borrow, fmt, hash::Hash, sync::Arc, time::Duration};

use foldhash::fast::RandomState;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter, sync::Cache as Map};

use crate::{
    cache::{
        MissReason, Read, Served, TierState,
        coherence::{Coherence, Stamp},
        entry::{Freshness, Lifetime},
        gone::Gone,
        tag::{TagCell, TagStamp},
    },
    sync::step,
};

/// One near copy. Cloned on every hit: a pointer, and [`Terms`] that are copied as one.
pub(crate) struct NearEntry<V> {
    pub(crate) value: Option<Arc<V>>,
    pub(crate) terms: Terms,
    /// `None` for most: nothing to compare, nothing to count up on a hit.
    pub(crate) tags: Option<Arc<[TagStamp]>>,
}

/// Until when a near copy may be served, and on what it stands. A struct of its own, so that a hit copies it in wide moves: what
/// was written field by field cannot be read back in wide ones without a wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// By the monotonic clock.
    pub(crate) created_ms: u64,
    /// Since its creation: until when this node may serve it without asking Redis.
    pub(crate) near_until_ms: u32,
    /// Since its creation: until when a hit has nothing to think about. Not past `near_until_ms` and the soft expiry, and
    /// earlier if hits refresh ahead.
    pub(crate) plain_until_ms: u32,
    pub(crate) life: Lifetime,
    pub(crate) weight: u32,
    pub(crate) stamp: Stamp,
}

impl<V> Clone for NearEntry<V> {
    #[inline]
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), terms: self.terms, tags: self.tags.clone() }
    }
}

impl<V> NearEntry<V> {
    pub(crate) fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.terms.created_ms)
    }

    /// Whether no invalidation that this node knows of speaks against this copy.
    #[inline]
    pub(crate) fn is_current(&self, coherence: &Coherence) -> bool {
        coherence.is_current(&self.terms.stamp) && self.are_tags_current()
    }

    #[inline]
    fn are_tags_current(&self) -> bool {
        self.tags.as_deref().is_none_or(|tags| tags.iter().all(TagStamp::is_current))
    }

    /// Whether it belongs to one of these tags.
    pub(crate) fn has_tag(&self, cells: &[Arc<TagCell>]) -> bool {
        let is_one = |tag: &TagStamp| cells.iter().any(|cell| tag.is_of(cell));
        self.tags.as_deref().is_some_and(|tags| tags.iter().any(is_one))
    }

    /// Why it is not current any more: its key was invalidated, or something that it belongs to was purged.
    pub(crate) fn why_gone(&self, coherence: &Coherence) -> MissReason {
        match coherence.is_key_current(&self.terms.stamp) {
            true => MissReason::Purged,
            false => MissReason::Invalidated,
        }
    }

    /// Whether a hit may serve it with nothing to think about: in its plain time, current, and the node in step.
    #[inline]
    pub(crate) fn is_plain(&self, coherence: &Coherence, now_ms: u64) -> bool {
        self.age_ms(now_ms) < u64::from(self.terms.plain_until_ms)
            && coherence.is_current_and_synced(&self.terms.stamp, now_ms)
            && self.are_tags_current()
    }

    /// Shortens the time for which this node may serve it without asking Redis.
    pub(crate) fn bound_near(&mut self, until_ms: u32) {
        self.terms.near_until_ms = self.terms.near_until_ms.min(until_ms);
        self.terms.plain_until_ms = self.terms.plain_until_ms.min(until_ms);
    }

    /// Lengthens that time, if it was `near_ttl_ms` and no less: until `hot_ttl_ms` after this copy was made.
    pub(crate) fn hold_near(&mut self, near_ttl_ms: u64, hot_ttl_ms: u64, calm_until_ms: u32) {
        let near_until_ms = u64::from(self.terms.near_until_ms);
        if near_until_ms >= near_ttl_ms {
            let until_ms = near_until_ms.saturating_add(hot_ttl_ms.saturating_sub(near_ttl_ms));
            self.terms.near_until_ms = until_ms.min(u64::from(u32::MAX)) as u32;
            self.terms.plain_until_ms = self.terms.near_until_ms.min(calm_until_ms);
        }
    }

    /// Makes it stale, see [`Lifetime::expired_at`], and good by what is known from now on.
    pub(crate) fn expire(&mut self, now_ms: u64, stamp: Stamp) {
        self.terms.life = self.terms.life.expired_at(self.age_ms(now_ms));
        self.terms.plain_until_ms = 0;
        self.terms.stamp = stamp;
    }

    /// Whether [`expire`](Self::expire) made it stale.
    pub(crate) fn was_expired(&self) -> bool {
        self.terms.life.fresh_ms == 0
    }

    /// What may be done with this copy now. Past its near bound it is only a fallback: another node may know better.
    pub(crate) fn freshness(&self, now_ms: u64) -> Freshness {
        let age_ms = self.age_ms(now_ms);
        match self.terms.life.at_age(age_ms) {
            Freshness::Fresh | Freshness::Stale if age_ms >= u64::from(self.terms.near_until_ms) => {
                Freshness::Fallback
            }
            freshness => freshness,
        }
    }

    /// This copy for `explain`.
    pub(crate) fn state(&self, now_ms: u64) -> TierState {
        let age_ms = self.age_ms(now_ms);
        let until = |ms: u64| Duration::from_millis(ms.saturating_sub(age_ms));
        TierState::Holds {
            present: self.value.is_some(),
            age: Duration::from_millis(age_ms),
            fresh_for: until(u64::from(self.terms.near_until_ms.min(self.terms.life.fresh_ms))),
            kept_for: until(self.terms.life.keep_ms()),
            size: self.terms.weight as usize,
        }
    }

    /// This copy as the answer of a read.
    pub(crate) fn read(&self, served: Served, now_ms: u64) -> Read<V> {
        let age_ms = self.age_ms(now_ms);
        let fresh_ms = u64::from(self.terms.life.fresh_ms);
        Read {
            value: self.value.clone(),
            served,
            reason: None,
            age: Duration::from_millis(age_ms),
            ttl: Duration::from_millis(fresh_ms.saturating_sub(age_ms)),
            stale: age_ms >= fresh_ms,
        }
    }
}

#[derive(Clone)]
struct ByOwnWeight;

impl<K, V> Weighter<K, NearEntry<V>> for ByOwnWeight {
    fn weight(&self, _key: &K, entry: &NearEntry<V>) -> u64 {
        u64::from(entry.terms.weight)
    }
}

/// The bounded map of near copies.
pub(crate) struct Near<K, V> {
    map: Map<K, NearEntry<V>, ByOwnWeight, RandomState, RememberEvicted>,
}

impl<K: Hash + Eq + Clone, V> Near<K, V> {
    /// `capacity` in the unit of the entries' weights; `gone` is told what has to leave for the room.
    pub(crate) fn new(capacity: u64, expected_entries: usize, gone: Arc<Gone>) -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(expected_entries.max(16))
            .weight_capacity(capacity)
            .build()
            .expect("both required options are set");
        let hasher = gone.hasher().clone();
        Self { map: Map::with_options(options, ByOwnWeight, hasher, RememberEvicted(gone)) }
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<NearEntry<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        step();
        self.map.get(key)
    }

    pub(crate) fn insert(&self, key: K, entry: NearEntry<V>) {
        step();
        self.map.insert(key, entry);
    }

    /// Puts another copy in the place of the one that is there; if there is none any more, nothing.
    pub(crate) fn replace<Q>(&self, key: &Q, entry: NearEntry<V>)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        step();
        if let Some((key, _)) = self.map.remove(key) {
            step();
            self.map.insert(key, entry);
        }
    }

    /// Removes a copy because its key was invalidated. Returns whether there was one.
    pub(crate) fn invalidate<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        step();
        self.map.remove(key).is_some()
    }

    /// All copies that are here now and stay, and their keys. Clones each of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (K, NearEntry<V>)> + '_ {
        step();
        self.map.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn weight(&self) -> u64 {
        self.map.weight()
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.map.capacity()
    }
}

impl<K, V> fmt::Debug for Near<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Near").finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct RememberEvicted(Arc<Gone>);

impl<K: Hash, V> Lifecycle<K, NearEntry<V>> for RememberEvicted {
    type RequestState = ();
    fn begin_request(&self) {}
    // Not `on_evict`, which is also told of copies that another one of the same key replaces.
    fn before_evict(&self, _state: &mut (), key: &K, _entry: &mut NearEntry<V>) {
        self.0.remember(key, MissReason::Evicted);
    }
}
