//! Where a shard stands in Redis: its numbers, its log, and what each node has applied of it. Every method is one round trip.

use std::time::Duration;

use ::redis::Value;

use crate::{
    Result,
    cache::{
        coherence::Position,
        event::epoch_text,
        shared::{Shared, new_epoch, node_text, number_of, position_of, text_of, unexpected},
        tag::{Mark, random_token, token_text},
    },
    redis::Script,
};

static BEAT: Script = Script::new("beat", include_str!("beat.lua"));
static UNACKED: Script = Script::new("unacked", include_str!("unacked.lua"));
static SYNC: Script = Script::new("sync", include_str!("sync.lua"));

/// The largest number of a sequence that is believed: 15 digits, as `sync.lua` has it. None ever comes so far.
const MAX_SEQ: u64 = 999_999_999_999_999;

/// Where a shard stands, and its marks.
#[derive(Debug)]
pub(crate) struct Marks {
    pub(crate) at: Position,
    pub(crate) cleared: u64,
    /// Those of the tags that were asked for.
    pub(crate) tags: Vec<Mark>,
}

impl Shared {
    /// Where a shard stands, by one plain read; `None` if something is missing in Redis, or of no use.
    pub(crate) async fn glance(&self, shard: u16) -> Result<Option<Marks>> {
        let keys = ["ep", "q", "g", "fe"].map(|name| self.space().of_shard(shard, name));
        let mut get = ::redis::cmd("MGET");
        keys.iter().for_each(|key| {
            get.arg(key);
        });
        let Value::Array(found) = self.redis().command(&keys[0], &get).await? else {
            return Err(unexpected());
        };
        if found.contains(&Value::Nil) {
            return Ok(None);
        }
        // What cannot be read has to be made anew, as what is missing.
        let Ok(at) = position_of(found.first(), found.get(1)) else { return Ok(None) };
        if at.seq > MAX_SEQ {
            return Ok(None);
        }
        let Some(cleared) = found.get(2).and_then(number_of) else { return Ok(None) };
        // As in the script: one that is ahead of the sequence is of an earlier epoch.
        let cleared = if cleared > at.seq { 0 } else { cleared };
        Ok(Some(Marks { at, cleared, tags: Vec::new() }))
    }

    /// Where a shard stands, its last clear, and the marks of some tags. What is missing in Redis, or of no use, is
    /// made. With `compare_history` a failover since the last comparison begins a new epoch, and so does a log that is ahead.
    pub(crate) async fn marks(&self, shard: u16, tags: &[u64], compare_history: bool) -> Result<Marks> {
        let mut keys: Vec<Vec<u8>> =
            ["q", "ep", "log", "rid", "g", "fe"].map(|name| self.space().of_shard(shard, name)).into();
        keys.extend(tags.iter().map(|tag| self.tag_key(shard, *tag)));
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let (epoch, keep_ms) = (new_epoch(), self.tag_keep_ms().to_string());
        let compare: &[u8] = if compare_history { b"1" } else { b"0" };
        let token = token_text(random_token());
        let args = [epoch.as_bytes(), keep_ms.as_bytes(), compare, token.as_bytes()];
        let reply = self.redis().eval(&SYNC, &keys, &args).await?;
        let Value::Array(parts) = reply else { return Err(unexpected()) };
        let at = position_of(parts.first(), parts.get(1))?;
        let cleared = parts.get(2).and_then(number_of).ok_or_else(unexpected)?;
        // Behind it the number of the last purge by pattern, which only the scripts need.
        let mark = |at| parts.get(4 + at).and_then(text_of).and_then(Mark::parse).ok_or_else(unexpected);
        let tags = (0..tags.len()).map(mark).collect::<Result<_>>()?;
        Ok(Marks { at, cleared, tags })
    }

    /// Up to `most` entries of a shard's log, from a number on.
    pub(crate) async fn log_from(&self, shard: u16, seq: u64, most: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        let log = self.space().of_shard(shard, "log");
        let mut range = ::redis::cmd("XRANGE");
        range.arg(&log).arg(format!("{seq}-0")).arg("+").arg("COUNT").arg(most);
        let Value::Array(entries) = self.redis().command(&log, &range).await? else {
            return Err(unexpected());
        };
        entries.into_iter().map(log_entry).collect()
    }

    /// Says what this node has applied, and for how long it may serve its copies from now. Returns whether it may: no invalidation
    /// that was not waited for on its account can be missing from what it has applied.
    pub(crate) async fn beat(&self, shard: u16, node: u64, at: Position, serves: Duration) -> Result<bool> {
        let keys = ["n", "q", "ep"].map(|name| self.space().of_shard(shard, name));
        let keys = keys.each_ref().map(Vec::as_slice);
        let (node, epoch) = (node_text(node), epoch_text(at.epoch));
        let (seq, serves_ms) = (at.seq.to_string(), serves.as_millis().to_string());
        let args = [node.as_bytes(), epoch.as_bytes(), seq.as_bytes(), serves_ms.as_bytes()];
        match self.redis().eval(&BEAT, &keys, &args).await? {
            Value::Int(counts) => Ok(counts == 1),
            _ => Err(unexpected()),
        }
    }

    /// How many other nodes may still serve copies from before this position.
    pub(crate) async fn unacknowledged(
        &self,
        shard: u16,
        node: u64,
        at: Position,
        serves: Duration,
    ) -> Result<u64> {
        let nodes = self.space().of_shard(shard, "n");
        let (node, epoch, seq) = (node_text(node), epoch_text(at.epoch), at.seq.to_string());
        let serves_ms = serves.as_millis().to_string();
        let args = [node.as_bytes(), epoch.as_bytes(), seq.as_bytes(), serves_ms.as_bytes()];
        match self.redis().eval(&UNACKED, &[&nodes], &args).await? {
            Value::Int(behind) => Ok(behind.max(0) as u64),
            _ => Err(unexpected()),
        }
    }
}

/// `["<seq>-0", ["e", event]]`
pub(crate) fn log_entry(entry: Value) -> Result<(u64, Vec<u8>)> {
    let Value::Array(mut parts) = entry else { return Err(unexpected()) };
    let (Some(Value::Array(mut fields)), Some(id)) = (parts.pop(), parts.pop()) else {
        return Err(unexpected());
    };
    let id = text_of(&id).and_then(|id| std::str::from_utf8(id).ok()).ok_or_else(unexpected)?;
    let seq = id.split('-').next().and_then(|seq| seq.parse().ok()).ok_or_else(unexpected)?;
    match fields.pop() {
        Some(Value::BulkString(event)) => Ok((seq, event)),
        _ => Err(unexpected()),
    }
}
