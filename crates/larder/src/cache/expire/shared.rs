//! Reading slots whole, to give their values another header.

use ::redis::Value;
use bytes::Bytes;

use crate::{
    Result,
    cache::shared::{Shared, is_wrong_type},
};

impl Shared {
    /// What stands in the slots of these keys of one shard, each key with all its kinds of slots, unread: empty for an empty
    /// slot.
    pub(crate) async fn raw_slots(&self, shard: u16, keys: &[String]) -> Result<Vec<Bytes>> {
        let slots = keys.iter().flat_map(|key| self.kinds().iter().map(move |kind| (kind, key)));
        let slots = slots
            .map(|(kind, key)| self.space().slot(shard, kind, key.as_bytes()))
            .collect::<Result<Vec<_>>>()?;
        let Some(first) = slots.first() else { return Ok(Vec::new()) };
        let get = |slot: &Vec<u8>| {
            let mut get = ::redis::cmd("GET");
            get.arg(slot);
            get
        };
        let replies = self.redis().pipeline(first, slots.iter().map(get).collect()).await?;
        let bytes_of = |reply| match reply {
            Ok(Value::BulkString(bytes)) => Ok(Bytes::from(bytes)),
            Err(error) if !is_wrong_type(&error) => Err(error),
            _ => Ok(Bytes::new()),
        };
        replies.into_iter().map(bytes_of).collect()
    }
}
