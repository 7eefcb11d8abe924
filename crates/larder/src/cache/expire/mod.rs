//! Soft invalidation: a value is made stale where it lies, so that its readers have something while it is loaded anew.

mod shared;

use std::{borrow::Borrow, collections::BTreeMap, fmt, hash::Hash, sync::Arc};

use futures_util::future::join_all;

use crate::{
    Error, Result,
    cache::{
        Token,
        entry::Expired,
        inner::Inner,
        invalidate::{Owed, keys_change},
        shared::{Action, Shared},
        stats::Counter,
    },
};

/// Keys that one script makes stale at most: their values are read whole for it, since a checksum covers them.
const KEYS_PER_SCRIPT: usize = 64;

/// What came of making some keys of a shard stale.
pub(crate) struct Softened<'a> {
    token: Token,
    /// Those that had an entry there which was not made stale before.
    pub(crate) texts: Vec<&'a str>,
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// As [`invalidate`](Self::invalidate), but what Redis has stays as something stale. This node's copies go all the same:
    /// it finds the stale value in Redis.
    pub(crate) async fn expire<Q>(self: &Arc<Self>, keys: &[&Q]) -> Result<Vec<Token>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + fmt::Display + ?Sized,
    {
        self.require_stale_windows()?;
        self.stats.count_many(Counter::Invalidated, keys.len());
        let Some(shared) = &self.shared else {
            self.expire_near(keys);
            return Ok(Vec::new());
        };
        self.forget_near(keys);
        let debts = self.debts_of(keys)?;
        let mut shards: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        for key in keys {
            let text = key.to_string();
            for shard in shared.shards_of(&text) {
                shards.entry(shard).or_default().push(text.clone());
            }
        }
        // If Redis cannot be told, nobody knows what it has: then the keys are owed as any others.
        let mut owed = Owed { inner: self, debts };
        let sent = self.expire_shared(shared, &shards).await;
        let sent = sent.map(|some| some.into_iter().map(|softened| softened.token).collect());
        if sent.is_ok() {
            owed.debts.clear();
        }
        drop(owed);
        self.forget_near(keys);
        Ok(self.home_tokens(self.acknowledged_by_all(shared, sent).await?, keys))
    }

    /// # Errors
    /// `Invalid` at `policy` if nothing is ever served past its time.
    pub(crate) fn require_stale_windows(&self) -> Result<()> {
        if self.policy.stale_while_revalidate.max(self.policy.stale_if_error).is_zero() {
            let message =
                "keeps nothing past its time: stale_while_revalidate or stale_if_error says for how long";
            return Err(Error::invalid("policy", message));
        }
        Ok(())
    }

    /// Makes stale what these keys have in these shards, all at the same time.
    pub(crate) async fn expire_shared<'a>(
        &self,
        shared: &Shared,
        shards: &'a BTreeMap<u16, Vec<String>>,
    ) -> Result<Vec<Softened<'a>>> {
        let steps = shards.iter().flat_map(|(shard, texts)| {
            texts
                .chunks(KEYS_PER_SCRIPT / shared.kinds().len())
                .map(move |texts| self.expire_some(shared, *shard, texts))
        });
        join_all(steps).await.into_iter().collect()
    }

    async fn expire_some<'a>(
        &self,
        shared: &Shared,
        shard: u16,
        texts: &'a [String],
    ) -> Result<Softened<'a>> {
        let now_unix_ms = self.clock.unix_ms();
        let slots = shared.raw_slots(shard, texts).await?;
        let expired: Vec<Expired> =
            slots.iter().map(|slot| Expired::of(slot, shared.max_bytes(), now_unix_ms)).collect();
        let token = self.act(shared, shard, Action::Expire(texts, &expired), keys_change(texts)).await?;
        let kinds = expired.chunks(shared.kinds().len());
        let is_first = |(_, kinds): &(&String, &[Expired])| kinds.iter().any(|slot| slot.is_first);
        let texts = texts.iter().zip(kinds).filter(is_first).map(|(text, _)| text.as_str()).collect();
        Ok(Softened { token, texts })
    }

    pub(crate) fn expire_near<Q>(&self, keys: &[&Q])
    where
        K: Borrow<Q>,
        Q: Hash + Eq + fmt::Display + ?Sized,
    {
        let now_ms = self.clock.monotonic_ms();
        for key in keys {
            let text = key.to_string();
            self.flights.ground(*key, || {
                let held = self.near.as_ref().and_then(|near| Some((near, near.get(*key)?)));
                let held = held.filter(|(_, entry)| entry.is_current(&self.coherence));
                // Copies of parts of the value know of it by this.
                self.coherence.forget(&text);
                if let Some((near, mut entry)) = held {
                    entry.expire(now_ms, self.coherence.stamp(&text));
                    near.replace(*key, entry);
                }
            });
        }
    }
}
