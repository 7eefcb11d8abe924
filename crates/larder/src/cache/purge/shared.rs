//! Going through the keys in Redis that match a pattern, shard by shard, wherever the shards are at the moment.

use std::collections::{BTreeMap, BTreeSet};

use ::redis::Value;

use crate::{
    Result,
    cache::{
        entry::{TAGS_END, tags_of},
        shared::{Shared, is_wrong_type, text_of},
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

    /// Leaves those texts whose slots in their shard hold a value with one of these tags. Reads the head of each slot: one
    /// round trip for each shard.
    pub(super) async fn retain_tagged(
        &self,
        by_shard: &mut BTreeMap<u16, Vec<String>>,
        tags: &[u64],
    ) -> Result<()> {
        for (shard, texts) in by_shard.iter_mut() {
            let slots = texts.iter().flat_map(|text| self.kinds().iter().map(move |kind| (kind, text)));
            let slots = slots
                .map(|(kind, text)| self.space().slot(*shard, kind, text.as_bytes()))
                .collect::<Result<Vec<_>>>()?;
            let Some(first) = slots.first() else { continue };
            let head = |slot: &Vec<u8>| {
                let mut head = ::redis::cmd("GETRANGE");
                head.arg(slot).arg(0).arg(TAGS_END - 1);
                head
            };
            let heads = self.redis().pipeline(first, slots.iter().map(head).collect()).await?;
            let is_tagged = |head: Result<Value>| match head {
                Ok(head) => {
                    Ok(tags_of(text_of(&head).unwrap_or_default()).iter().any(|tag| tags.contains(tag)))
                }
                Err(error) if is_wrong_type(&error) => Ok(false),
                Err(error) => Err(error),
            };
            let tagged = heads.into_iter().map(is_tagged).collect::<Result<Vec<_>>>()?;
            let mut tagged = tagged.chunks(self.kinds().len()).map(|kinds| kinds.contains(&true));
            texts.retain(|_| tagged.next().unwrap_or(false));
        }
        by_shard.retain(|_, texts| !texts.is_empty());
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
