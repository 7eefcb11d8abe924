//! What is known about one key right now, for a person who asks why.

use std::{fmt, hash::Hash, time::Duration};

use crate::{
    ErrorKind, Result,
    cache::{
        MissReason,
        entry::{Envelope, Slot},
        inner::Inner,
        shared::Shared,
        tag::tag_hash,
    },
};

/// The state of one key, tier by tier. Made by [`Cache::explain`](crate::cache::Cache::explain).
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Explain {
    /// The key in text form.
    pub key: String,
    /// This process's copy.
    pub near: TierState,
    /// Redis, if there is one.
    pub shared: Option<TierState>,
    /// The key's slot in Redis.
    pub slot_key: Option<String>,
    /// Why the last read that is remembered missed, if this node remembers one.
    pub last_seen: Option<MissReason>,
    /// Whether this node owes Redis an invalidation of this key.
    pub invalidation_owed: bool,
    /// The tags of the value in Redis, as far as the value itself tells them: not those that one call gave.
    pub tags: Vec<String>,
    /// What made the value in Redis worthless, if it is [`TierState::Purged`].
    pub purged_by: Option<PurgedBy>,
    /// A node loads the key anew while readers have what is there: when its lease runs out unless it is renewed.
    pub refreshing_for: Option<Duration>,
}

/// A purge that a value in Redis belonged to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurgedBy {
    /// One of everything in the cache, or nobody knows any more what was purged.
    Clear,
    /// One of a tag; without a name if the value does not tell its tags.
    Tag(Option<String>),
}

/// What one tier has of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TierState {
    /// The tier is turned off.
    Off,
    /// Nothing.
    Empty,
    /// A value, or the knowledge that there is none.
    Holds {
        /// Whether there is a value.
        present: bool,
        /// Time since it was loaded.
        age: Duration,
        /// Time until its soft expiry; zero when past.
        fresh_for: Duration,
        /// Time until its hard expiry.
        kept_for: Duration,
        /// Bytes of the encoded payload, or the weight in the near tier.
        size: usize,
    },
    /// Somebody is loading it.
    Leased {
        /// When the lease runs out unless it is renewed.
        runs_out_in: Duration,
    },
    /// A value in Redis that a purge of its tag, or of the whole cache, has made worthless: it stands there until it is replaced or
    /// expires, and nobody is served it. A purge by pattern removes what it finds, and a near copy that is worthless counts as
    /// nothing.
    Purged,
    /// Somebody is writing what it caches; nothing is stored meanwhile.
    Blocked {
        /// When that ends by itself.
        runs_out_in: Duration,
    },
    /// Something that Larder did not write, or that is damaged. The next read replaces it.
    Corrupt(String),
    /// The tier could not be asked.
    Unreachable(String),
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Adds what Redis has of the key. Two round trips, the second one of two commands at the same time; one more if this node has not
    /// heard of one of the value's tags before, and one if it is out of step.
    pub(crate) async fn explain_shared(&self, shared: &Shared, key: &K, explain: &mut Explain) {
        let slot = shared.peek(&explain.key).await;
        let (left, refreshing_for) =
            tokio::join!(shared.remaining(&explain.key), shared.remaining_lease(&explain.key));
        explain.refreshing_for = refreshing_for.ok().flatten();
        let left = left.ok().flatten().unwrap_or_default();
        explain.shared = Some(self.explain_slot(shared, key, slot, left, explain).await);
    }

    async fn explain_slot(
        &self,
        shared: &Shared,
        key: &K,
        slot: Result<Option<Slot>>,
        left: Duration,
        explain: &mut Explain,
    ) -> TierState {
        let envelope = match slot {
            Ok(None) => return TierState::Empty,
            Ok(Some(Slot::Lease(_))) => return TierState::Leased { runs_out_in: left },
            Ok(Some(Slot::Blocked)) => return TierState::Blocked { runs_out_in: left },
            Ok(Some(Slot::Value(envelope))) => envelope,
            Err(error) if error.kind() == ErrorKind::Corrupt => return TierState::Corrupt(error.to_string()),
            Err(error) => return TierState::Unreachable(error.to_string()),
        };
        let value = self.decoded(&envelope).flatten();
        explain.tags = match (&self.tags_of, &value) {
            (Some(tags_of), Some(value)) => tags_of(key, value),
            _ => Vec::new(),
        };
        explain.purged_by = match self.purged_by(shared, explain, &envelope).await {
            Ok(purged_by) => purged_by,
            Err(error) => return TierState::Unreachable(error.to_string()),
        };
        if explain.purged_by.is_some() {
            return TierState::Purged;
        }
        let age_ms = envelope.age_ms(self.clock.unix_ms());
        TierState::Holds {
            present: envelope.payload.is_some(),
            age: Duration::from_millis(age_ms),
            fresh_for: Duration::from_millis(u64::from(envelope.life.fresh_ms).saturating_sub(age_ms)),
            kept_for: left,
            size: envelope.payload.map_or(0, |payload| payload.len()),
        }
    }

    /// Whether the value was loaded before the last clear, or the last purge of one of its tags.
    async fn purged_by(
        &self,
        shared: &Shared,
        Explain { key: text, tags: names, .. }: &Explain,
        envelope: &Envelope,
    ) -> Result<Option<PurgedBy>> {
        if envelope.is_pending() {
            return Ok(None);
        }
        if let Some(follower) = &self.follower {
            follower.ensure_synced(shared.shard_of(text)).await?;
        }
        if !self.coherence.is_after_clear(shared.shard_of(text), envelope.at) {
            return Ok(Some(PurgedBy::Clear));
        }
        self.learn_tags_of(shared.shard_of(text), std::iter::once(envelope)).await?;
        let basis = self.coherence.basis(text);
        let stamps = self.stamps_of(envelope, basis);
        let purged = envelope.tags.iter().zip(&stamps).find(|(_, stamp)| !stamp.is_current());
        let name_of = |hash: u64| names.iter().find(|name| tag_hash(name) == hash).cloned();
        Ok(purged.map(|(tag, _)| PurgedBy::Tag(name_of(tag.hash))))
    }
}
