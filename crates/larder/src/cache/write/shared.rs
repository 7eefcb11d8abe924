//! The end of a guarded write in Redis: one round trip.

use ::redis::Value;

use crate::{
    Result,
    cache::{
        coherence::Position,
        entry::{Envelope, TOMBSTONE},
        event::epoch_text,
        shared::{Shared, new_epoch, number_of, position_of, unexpected},
        tag::token_text,
    },
    redis::Script,
};

/// An end that leaves no value needs no memory, so a full Redis must not refuse it; one that leaves a value is refused.
static FINISH: Script = Script::new("finish", concat!("#!lua flags=allow-oom\n", include_str!("finish.lua")));
static FINISH_AND_KEEP: Script = Script::new("finish", concat!("#!lua\n", include_str!("finish.lua")));

/// What a write leaves in the slot of its one key.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    /// Its position is the block's.
    pub(crate) envelope: &'a Envelope,
    pub(crate) compress_above: Option<usize>,
}

impl Shared {
    /// Takes the writers with these tokens out of the blocks of these keys of one shard, invalidates the keys, and leaves a value if
    /// the block was undisturbed, of one writer. Returns the number of the invalidation, and whether the value was left.
    pub(crate) async fn finish(
        &self,
        shard: u16,
        keys: &[String],
        tokens: &[u8],
        event: &[u8],
        kept: Option<&Kept<'_>>,
    ) -> Result<(Position, bool)> {
        let mut names: Vec<Vec<u8>> =
            ["q", "ep", "log", "ch", "g", "fe"].map(|name| self.space().of_shard(shard, name)).into();
        for (key, kind) in keys.iter().flat_map(|key| self.kinds().iter().map(move |kind| (key, kind))) {
            names.push(self.space().slot(shard, kind, key.as_bytes())?);
            names.push(self.space().slot_control(shard, kind, key.as_bytes())?);
        }
        let slots = (keys.len() * self.kinds().len()).to_string();
        let tags = kept.map_or(&[][..], |kept| &kept.envelope.tags);
        names.extend(tags.iter().map(|tag| self.tag_key(shard, tag.hash)));
        let bytes = kept.map(|kept| kept.envelope.encode(kept.compress_above)).unwrap_or_default();
        let keep_ms = kept.map_or(0, |kept| kept.envelope.life.keep_ms()).to_string();
        let at = kept.map(|kept| kept.envelope.at).unwrap_or_default();
        let (fresh_epoch, epoch, seq) = (new_epoch(), epoch_text(at.epoch), at.seq.to_string());
        let (spares, tag_ms) = (if self.writes_behind() { "1" } else { "0" }, self.tag_keep_ms().to_string());
        names.extend(self.notes(shard));
        let tag_tokens: Vec<String> = tags.iter().map(|tag| token_text(tag.token)).collect();
        let mut args: Vec<&[u8]> = vec![
            fresh_epoch.as_bytes(),
            event,
            &TOMBSTONE,
            tokens,
            spares.as_bytes(),
            slots.as_bytes(),
            &bytes,
            keep_ms.as_bytes(),
            epoch.as_bytes(),
            seq.as_bytes(),
            tag_ms.as_bytes(),
        ];
        args.extend(tag_tokens.iter().map(String::as_bytes));
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let script = if kept.is_some() { &FINISH_AND_KEEP } else { &FINISH };
        let Value::Array(parts) = self.redis().eval(script, &names, &args).await? else {
            return Err(unexpected());
        };
        let left = parts.get(2).and_then(number_of).ok_or_else(unexpected)?;
        Ok((position_of(parts.first(), parts.get(1))?, left == 1))
    }
}
