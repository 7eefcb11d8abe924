//! Reading slots, unread: whole, to give their values another header, or their heads.

use ::redis::{Cmd, Value};
use bytes::Bytes;

use crate::{
    Result,
    cache::shared::{Shared, is_wrong_type},
};

impl Shared {
    /// What stands in the slots of these keys of one shard, each key with all its kinds of slots, unread: empty for an empty
    /// slot.
    pub(crate) async fn raw_slots(&self, shard: u16, keys: &[String]) -> Result<Vec<Bytes>> {
        self.read_slots(shard, keys, |slot| {
            let mut get = ::redis::cmd("GET");
            get.arg(slot);
            get
        })
        .await
    }

    /// The same, of the first so many bytes of each.
    pub(crate) async fn slot_heads(&self, shard: u16, keys: &[String], bytes: usize) -> Result<Vec<Bytes>> {
        self.read_slots(shard, keys, |slot| {
            let mut head = ::redis::cmd("GETRANGE");
            head.arg(slot).arg(0).arg(bytes - 1);
            head
        })
        .await
    }

    /// One command for each slot, all in one round trip. What has a foreign type reads as empty.
    async fn read_slots(
        &self,
        shard: u16,
        keys: &[String],
        command: impl Fn(&[u8]) -> Cmd,
    ) -> Result<Vec<Bytes>> {
        let slots = keys.iter().flat_map(|key| self.kinds().iter().map(move |kind| (kind, key)));
        let slots = slots
            .map(|(kind, key)| self.space().slot(shard, kind, key.as_bytes()))
            .collect::<Result<Vec<_>>>()?;
        let Some(first) = slots.first() else { return Ok(Vec::new()) };
        let commands = slots.iter().map(|slot| command(slot)).collect();
        let replies = self.redis().pipeline(first, commands).await?;
        let bytes_of = |reply| match reply {
            Ok(Value::BulkString(bytes)) => Ok(Bytes::from(bytes)),
            Err(error) if !is_wrong_type(&error) => Err(error),
            _ => Ok(Bytes::new()),
        };
        replies.into_iter().map(bytes_of).collect()
    }
}
