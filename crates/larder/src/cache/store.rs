//! From a loaded value to what the tiers keep: its lifetime, its tags, its envelope, and the fill.

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use crate::{
    Error, ErrorKind, Result,
    cache::{
        MissReason, Policy, Read,
        coherence::Basis,
        entry::{Envelope, Lease, Lifetime, MAX_TAGS},
        fetch::Plan,
        inner::Inner,
        near::{NearEntry, Terms},
        route::Route,
        shared::{Filled, Lookup, Shared},
        stats::Counter,
        tag::{Tag, TagStamp, tag_hash},
    },
};

/// How long this node serves a copy that it could not store in Redis.
const UNSHARED_NEAR_MS: u32 = 1_000;

/// What one load is for.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a, K> {
    pub(crate) key: &'a K,
    pub(crate) text: &'a str,
    pub(crate) basis: Basis,
    /// The tags that the call gave.
    pub(crate) tags: &'a [u64],
    pub(crate) policy: &'a Policy,
    /// What it may fill under.
    pub(crate) lease: Option<Lease>,
    pub(crate) reason: MissReason,
    /// How long it took, its turn included, if hits are to refresh it ahead.
    pub(crate) load_us: u32,
}

/// Where a loaded value goes.
pub(crate) enum Stowage<V> {
    /// To Redis, under the lease.
    Shared(Envelope),
    /// To the near tier alone, or nowhere.
    Near(Option<NearEntry<V>>),
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// What this node knows before a look at Redis, brought up to date if it has fallen behind.
    pub(crate) async fn stand(&self, route: Route, text: &str) -> Result<Basis> {
        if let Some(follower) = &self.follower {
            follower.ensure_synced(self.shard_by(route, text)).await?;
        }
        Ok(self.basis(route, text))
    }

    /// To be called when Redis has said something of this key, before it is judged: see `Follower::recheck`.
    pub(crate) async fn recheck(&self, route: Route, text: &str) -> Result<()> {
        match &self.follower {
            Some(follower) => follower.recheck(self.shard_by(route, text)).await.map(drop),
            None => Ok(()),
        }
    }

    /// One look at the slot of a plan: this node knows where the shard stands before, and that it was the same server after.
    pub(crate) async fn look(&self, shared: &Shared, plan: &mut Plan<V>) -> Result<Lookup> {
        plan.basis = self.stand(plan.basis.route, &plan.text).await?;
        let found = match plan.waits {
            false => shared.lookup(&plan.text, &plan.lease).await?,
            // Boxed: few looks are of this kind, and all have room for it.
            true => Box::pin(shared.lookup_and_wait(&plan.text, &plan.lease)).await?,
        };
        self.recheck(plan.basis.route, &plan.text).await?;
        Ok(found)
    }

    /// How long a value lives whose load took so long, if hits are to refresh it ahead; `None` if it is not to be cached.
    pub(crate) fn lifetime(&self, policy: &Policy, value: Option<&V>, load_us: u32) -> Option<Lifetime> {
        let own = value.and_then(|value| self.ttl_of.as_ref()?(value));
        let life = policy.lifetime(value.is_some(), own)?;
        Some(Lifetime { load_us, ..life })
    }

    /// Fills Redis under the order's lease, if it has one. Returns what the near tier may keep, and the lease if it was not used.
    ///
    /// # Errors
    /// As [`stow`](Self::stow).
    pub(crate) async fn fill(
        &self,
        order: &Load<'_, K>,
        value: Option<Arc<V>>,
        life: Lifetime,
    ) -> Result<(Option<NearEntry<V>>, Option<Lease>)> {
        let hashes = self.tags_of(order.key, order.tags, value.as_deref())?;
        let tags = match order.reason {
            // Redis has just failed: it is not asked for new tags as well.
            MissReason::Error => self.tags_at_hand(order.basis, &hashes),
            _ => self.tags_before(order.basis, &hashes).await,
        };
        let envelope = match self.stow(order, value.clone(), life, tags)? {
            Stowage::Near(keep) => return Ok((keep, order.lease)),
            Stowage::Shared(envelope) => envelope,
        };
        let (Some(shared), Some(lease)) = (self.shared_by(order.basis.route), &order.lease) else {
            return Ok((None, order.lease));
        };
        let filled = shared.fill(order.text, lease, &envelope, order.policy.compress_above_bytes).await;
        Ok((self.settle_fill(order, filled, value, life, &envelope.tags).await, None))
    }

    /// Decides where a loaded value goes: with a lease to Redis, else to the near tier at most; nowhere if its tags are not known
    /// (`None`).
    ///
    /// # Errors
    /// `ErrorKind::TooLarge`, or what the codec says: the value must not be cached at all.
    pub(crate) fn stow(
        &self,
        order: &Load<'_, K>,
        value: Option<Arc<V>>,
        life: Lifetime,
        tags: Option<Vec<Tag>>,
    ) -> Result<Stowage<V>> {
        if self.shared.is_none() || order.lease.is_none() {
            if self.behind.is_some() {
                // Redis may have a write that the source does not.
                return Ok(Stowage::Near(None));
            }
            let payload = self.measured(value.as_deref(), order.policy)?;
            self.compare(order, value.as_deref(), payload.as_deref());
            let entry = tags.map(|tags| self.entry_of(value, life, 0, order.basis, &tags));
            return Ok(Stowage::Near(entry.map(|entry| self.unless_shared(entry))));
        }
        let payload = self.payload_of(value.as_deref(), order.policy)?;
        self.compare(order, value.as_deref(), payload.as_deref());
        let Some(tags) = tags else { return Ok(Stowage::Near(None)) };
        Ok(Stowage::Shared(Envelope {
            payload,
            codec: self.codec.as_ref().map_or(0, |codec| codec.id()),
            created_unix_ms: self.clock.unix_ms(),
            life,
            at: order.basis.at,
            tags,
        }))
    }

    /// What the near tier may keep once Redis has said what became of a fill.
    pub(crate) async fn settle_fill(
        &self,
        order: &Load<'_, K>,
        filled: Result<Filled>,
        value: Option<Arc<V>>,
        life: Lifetime,
        tags: &[Tag],
    ) -> Option<NearEntry<V>> {
        if let (Ok(Filled::Purged), Some(lease)) = (&filled, &order.lease) {
            self.find_out_purge(order.basis.route, &[order.text], lease, tags).await;
        }
        self.kept_after(&filled, order.basis, value, life, tags)
    }

    /// What the near tier may keep of a value whose load began with `basis` and whose fill had this outcome.
    pub(crate) fn kept_after(
        &self,
        filled: &Result<Filled>,
        basis: Basis,
        value: Option<Arc<V>>,
        life: Lifetime,
        tags: &[Tag],
    ) -> Option<NearEntry<V>> {
        self.stats.count(match filled {
            Ok(Filled::Stored) => Counter::FillsAccepted,
            Ok(Filled::LeaseLost | Filled::Purged | Filled::Other) => Counter::FillsRefused,
            Err(_) => Counter::SharedErrors,
        });
        match filled {
            Err(_) if self.behind.is_some() => None,
            // The near copy is checked against the same marks.
            Ok(Filled::Stored) => Some(self.entry_of(value, life, 0, basis, tags)),
            Err(_) => Some(self.unless_shared(self.entry_of(value, life, 0, basis, tags))),
            // An invalidation came while we loaded: what we have may be older than it.
            Ok(Filled::LeaseLost | Filled::Purged | Filled::Other) => None,
        }
    }

    /// Fills of these keys were refused because Redis knows of a purge that this node does not, or has lost the mark of a tag: gives
    /// their leases back, looks at the shard again, and asks for the marks. Three round trips, two where there are no tags.
    pub(crate) async fn find_out_purge(&self, route: Route, texts: &[&str], lease: &Lease, tags: &[Tag]) {
        let Some(first) = texts.first() else { return };
        let shard = self.shard_by(route, first);
        if let Some(shared) = self.shared_by(route)
            && shared.release_many(shard, texts, lease).await.is_err()
        {
            self.stats.count(Counter::SharedErrors);
        }
        if let Some(follower) = &self.follower {
            let _ = follower.sync(shard).await;
        }
        // Here and not before the next load: what is made anew then has a number that is too high for it, if the shard is busy.
        self.ask_again(shard, tags).await;
    }

    /// Beside Redis, a copy that Redis does not have is kept for a moment only, so that it is shared soon.
    fn unless_shared(&self, mut entry: NearEntry<V>) -> NearEntry<V> {
        if self.shared.is_some() {
            // Less than a shared one has in any case, so that the two can be told apart.
            let less_ms = self.near_ttl_ms.saturating_sub(1).min(u64::from(u32::MAX)) as u32;
            entry.bound_near(UNSHARED_NEAR_MS.min(less_ms));
        }
        entry
    }

    pub(crate) fn tags_of(&self, key: &K, given: &[u64], value: Option<&V>) -> Result<Vec<u64>> {
        let mut tags = given.to_vec();
        tags.extend(self.tag_from_key.as_ref().map(|tag| tag(key)));
        if let (Some(tags_of), Some(value)) = (&self.tags_of, value) {
            tags.extend(tags_of(key, value).iter().map(|tag| tag_hash(tag)));
        }
        tags.sort_unstable();
        tags.dedup();
        if tags.len() > MAX_TAGS {
            return Err(Error::new(ErrorKind::Invalid, format!("an entry has at most {MAX_TAGS} tags")));
        }
        Ok(tags)
    }

    pub(crate) fn payload_of(&self, value: Option<&V>, policy: &Policy) -> Result<Option<bytes::Bytes>> {
        let codec =
            self.codec.as_ref().ok_or_else(|| Error::new(ErrorKind::Config, "the cache has no codec"))?;
        let payload = value.map(|value| codec.encode(value)).transpose()?;
        within_limit(payload, policy)
    }

    /// The value as Redis would have it, for the sake of its size, where only this process keeps it. What has no such form is
    /// kept all the same: nobody else has to read it.
    ///
    /// # Errors
    /// `ErrorKind::TooLarge`.
    pub(crate) fn measured(&self, value: Option<&V>, policy: &Policy) -> Result<Option<bytes::Bytes>> {
        let encoded = self.codec.as_ref().zip(value).and_then(|(codec, value)| codec.encode(value).ok());
        within_limit(encoded, policy)
    }

    /// A near copy of a stored value; `None` if the codec does not understand it. One round trip if its tags are not known yet.
    ///
    /// # Errors
    /// If Redis cannot be asked for them.
    pub(crate) async fn entry_from(&self, envelope: &Envelope, basis: Basis) -> Result<Option<NearEntry<V>>> {
        let shard = self.coherence.shard_of_stamp(&basis.stamp);
        self.learn_tags_of(shard, std::iter::once(envelope)).await?;
        Ok(self.stored_copy(envelope, basis, self.stamps_of(envelope, basis)))
    }

    /// [`entry_from`](Self::entry_from) without asking anybody; `None` also if its tags are not known yet.
    pub(crate) fn entry_at_hand(&self, envelope: &Envelope, basis: Basis) -> Option<NearEntry<V>> {
        self.stored_copy(envelope, basis, self.stamps_at_hand(envelope, basis)?)
    }

    fn stored_copy(&self, envelope: &Envelope, basis: Basis, stamps: Vec<TagStamp>) -> Option<NearEntry<V>> {
        let age_ms = envelope.age_ms(self.clock.unix_ms());
        Some(self.near_copy(self.decoded(envelope)?, envelope.life, age_ms, basis, stamps))
    }

    pub(crate) fn decoded(&self, envelope: &Envelope) -> Option<Option<Arc<V>>> {
        let codec = self.codec.as_ref()?;
        if envelope.codec != codec.id() {
            return None;
        }
        match &envelope.payload {
            Some(payload) => Some(Some(Arc::new(codec.decode(payload).ok()?))),
            None => Some(None),
        }
    }

    /// A near copy of a value that was loaded on this basis, with the tags that it had then.
    pub(crate) fn entry_of(
        &self,
        value: Option<Arc<V>>,
        life: Lifetime,
        age_ms: u64,
        basis: Basis,
        tags: &[Tag],
    ) -> NearEntry<V> {
        self.near_copy(value, life, age_ms, basis, self.stamps(basis, tags))
    }

    /// A near copy of a value that was loaded `age_ms` ago and reached this node now.
    fn near_copy(
        &self,
        value: Option<Arc<V>>,
        life: Lifetime,
        age_ms: u64,
        basis: Basis,
        tags: Vec<TagStamp>,
    ) -> NearEntry<V> {
        let weight = value.as_deref().map_or(1, |value| (self.weigher)(value));
        let near_until_ms = age_ms.saturating_add(self.near_ttl_ms).min(u64::from(u32::MAX)) as u32;
        let calm_until_ms = self.ahead.begins_ms(&life);
        NearEntry {
            value,
            terms: Terms {
                created_ms: self.clock.monotonic_ms().saturating_sub(age_ms),
                near_until_ms,
                plain_until_ms: near_until_ms.min(calm_until_ms),
                life,
                weight,
                stamp: basis.stamp,
            },
            tags: (!tags.is_empty()).then(|| tags.into()),
        }
    }

    /// A near copy that is about to be kept, with more time if its key is hot. One that Redis does not have stays short.
    pub(crate) fn held_longer(&self, key: &K, mut entry: NearEntry<V>) -> NearEntry<V> {
        if let Some(hot_ttl_ms) = self.hot_near_ttl_ms
            && self.heat.is_hot(key, self.clock.monotonic_ms())
        {
            entry.hold_near(self.near_ttl_ms, hot_ttl_ms, self.ahead.begins_ms(&entry.terms.life));
        }
        entry
    }
}

fn within_limit(payload: Option<bytes::Bytes>, policy: &Policy) -> Result<Option<bytes::Bytes>> {
    if payload.as_ref().is_some_and(|payload| payload.len() > policy.max_entry_bytes) {
        return Err(Error::new(ErrorKind::TooLarge, "the value is larger than max_entry_bytes"));
    }
    Ok(payload)
}

/// The answer of a load.
pub(crate) fn loaded<V>(value: Option<Arc<V>>, life: Option<Lifetime>, reason: MissReason) -> Read<V> {
    let ttl = life.map_or(Duration::ZERO, |life| Duration::from_millis(life.fresh_ms.into()));
    Read::loaded(value, ttl, Some(reason))
}
