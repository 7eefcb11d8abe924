//! Going through the keys in Redis that match a pattern, shard by shard, wherever the shards are at the moment.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::future::join_all;

use crate::{
    Result,
    cache::{
        entry::{TAGS_END, tags_of},
        shared::{Shared, text_of},
    },
    redis::{Kind, Walk},
};

/// How many keys one step of a scan looks at.
const SCAN_STEP: usize = 500;

/// Some shards that are all on one server, as far as this node knows.
pub(super) struct Ground {
    walk: Walk,
    pub(super) shards: Vec<u16>,
    /// A key of each that is never there.
    absent: Vec<Vec<u8>>,
}

/// One step over it.
pub(super) struct Found {
    /// The texts of keys that match.
    pub(super) texts: BTreeSet<String>,
    pub(super) is_last: bool,
    /// Shards of which the server may have had a part only, or nothing.
    pub(super) missed: Vec<u16>,
}

impl Shared {
    /// These shards, by the servers that have them.
    ///
    /// # Errors
    /// `Unavailable` if one has no primary.
    pub(super) fn grounds(&self, shards: &BTreeSet<u16>) -> Result<Vec<Ground>> {
        let shards: Vec<u16> = shards.iter().copied().collect();
        // The name of a channel, which is nobody's key.
        let absent: Vec<Vec<u8>> = shards.iter().map(|shard| self.channel(*shard)).collect();
        let ground = |(walk, places): (Walk, Vec<usize>)| Ground {
            walk,
            shards: places.iter().map(|place| shards[*place]).collect(),
            absent: places.iter().map(|place| absent[*place].clone()).collect(),
        };
        Ok(self.redis().walks(&absent)?.into_iter().map(ground).collect())
    }

    /// Leaves those texts whose slots in their shard hold a value with one of these tags. Reads the head of each slot, all shards at
    /// the same time.
    pub(super) async fn retain_tagged(
        &self,
        by_shard: &mut BTreeMap<u16, Vec<String>>,
        tags: &[u64],
    ) -> Result<()> {
        let retained =
            by_shard.iter_mut().map(|(shard, texts)| self.retain_tagged_of_shard(*shard, texts, tags));
        join_all(retained).await.into_iter().collect::<Result<()>>()?;
        by_shard.retain(|_, texts| !texts.is_empty());
        Ok(())
    }

    async fn retain_tagged_of_shard(&self, shard: u16, texts: &mut Vec<String>, tags: &[u64]) -> Result<()> {
        let heads = self.slot_heads(shard, texts, TAGS_END).await?;
        let is_tagged = |head: &Bytes| tags_of(head).iter().any(|tag| tags.contains(&tag.hash));
        let mut tagged = heads.chunks(self.kinds().len()).map(|kinds| kinds.iter().any(is_tagged));
        texts.retain(|_| tagged.next().unwrap_or(false));
        Ok(())
    }

    /// One bounded step through the keys of a server. `None` if it is not the server any more that the ground was on.
    pub(super) async fn scan(
        &self,
        ground: &mut Ground,
        kind: &Kind,
        pattern: &str,
    ) -> Result<Option<Found>> {
        let pattern = self.space().slots_matching(kind, pattern);
        let Some(step) = ground.walk.step(&pattern, SCAN_STEP, &ground.absent).await? else {
            return Ok(None);
        };
        let texts = step.keys.iter().filter_map(text_of);
        let texts = texts.filter_map(|key| self.space().text_of_slot(kind, key)).collect();
        let missed = ground.shards.iter().zip(&step.is_whole).filter(|(_, is_whole)| !**is_whole);
        let missed = missed.map(|(shard, _)| *shard).collect();
        Ok(Some(Found { texts, is_last: step.is_last, missed }))
    }
}
