//! Several keys of one shard in one round trip: look-ups, leases, fills. What belongs together leaves in one write, and
//! each command still has its own outcome.

use std::{collections::BTreeMap, mem};

use ::redis::{Cmd, Value};
use futures_util::future::join_all;

use crate::{
    Error, ErrorKind, Result,
    cache::{
        entry::{Envelope, Lease},
        shared::{Filled, Lookup, Shared, filled, is_wrong_type, lease_command, lookup_command},
    },
};

/// How much of values one write carries, and the one that reaches it: other calls on the connection wait behind it.
const WRITE_BYTES: usize = 1 << 20;

impl Shared {
    /// [`lookup`](Shared::lookup) of several keys of one shard; of those in `waiting`, too, whoever fills them later, or gives
    /// their leases back, tells all nodes.
    pub(crate) async fn lookup_many(
        &self,
        keys: &[&str],
        waiting: &[&str],
        lease: &Lease,
    ) -> Result<Vec<Result<Lookup>>> {
        let slots = keys.iter().map(|key| self.slot(key)).collect::<Result<Vec<_>>>()?;
        let Some(first) = slots.first() else { return Ok(Vec::new()) };
        let mut commands = waiting.iter().map(|key| self.note_command(key)).collect::<Result<Vec<_>>>()?;
        commands.extend(slots.iter().map(|slot| lookup_command(slot, lease)));
        let replies = self.redis().pipeline(first, commands).await?;
        let mut found: Vec<_> = replies
            .into_iter()
            // Without its note this node finds out by looking again.
            .skip(waiting.len())
            .map(|reply| match reply {
                Ok(value) => self.found(value, lease),
                Err(error) if is_wrong_type(&error) => Ok(Lookup::Corrupt),
                Err(error) => Err(error),
            })
            .collect();
        self.look_without_leases(&slots, &mut found).await?;
        Ok(found)
    }

    /// A full Redis refuses every look that would take a lease; what is there can still be read. One round trip more then.
    async fn look_without_leases(&self, slots: &[Vec<u8>], found: &mut [Result<Lookup>]) -> Result<()> {
        let is_full = |found: &Result<Lookup>| matches!(found, Err(error) if error.kind() == ErrorKind::Full);
        let refused: Vec<usize> = (0..found.len()).filter(|place| is_full(&found[*place])).collect();
        let Some(first) = refused.first() else { return Ok(()) };
        let get = |place: &usize| ::redis::cmd("GET").arg(&slots[*place]).take();
        let replies = self.redis().pipeline(&slots[*first], refused.iter().map(get).collect()).await?;
        for (place, reply) in refused.into_iter().zip(replies) {
            match reply {
                Ok(Value::Nil) => {}
                Ok(value) => found[place] = self.found(value, &Lease::random()),
                Err(error) => found[place] = Err(error),
            }
        }
        Ok(())
    }

    /// [`lease_refresh`](Shared::lease_refresh) of several keys of one shard.
    pub(crate) async fn lease_refresh_many(&self, keys: &[&str], lease: &Lease) -> Result<Vec<Result<bool>>> {
        let controls = keys.iter().map(|key| self.control(key)).collect::<Result<Vec<_>>>()?;
        let Some(first) = controls.first() else { return Ok(Vec::new()) };
        let commands = controls.iter().map(|control| lease_command(control, lease)).collect();
        let replies = self.redis().pipeline(first, commands).await?;
        Ok(replies.into_iter().map(|reply| reply.map(|reply| reply != Value::Nil)).collect())
    }

    /// [`fill`](Shared::fill) for several keys of one shard, each by its own lease, and the leases of `unused` given back
    /// along with them. One round trip for each [`WRITE_BYTES`] of values. Returns what became of each fill; what an unused
    /// lease answers is of no interest, since it runs out by itself.
    pub(crate) async fn fill_many(
        &self,
        shard: u16,
        fills: &[(&str, &Envelope)],
        unused: &[&str],
        lease: &Lease,
        compress_above: Option<usize>,
    ) -> Vec<Result<Filled>> {
        let mut outcomes = Vec::with_capacity(fills.len());
        let mut calls: Vec<Result<Cmd>> = unused.iter().map(|key| self.release_call(key, lease)).collect();
        let (mut others, mut bytes) = (calls.len(), 0);
        for (place, (key, envelope)) in fills.iter().enumerate() {
            let value = envelope.encode(compress_above);
            bytes += value.len();
            calls.push(self.fill_call(key, lease, envelope, &value, None));
            if bytes >= WRITE_BYTES || place + 1 == fills.len() {
                let replies = self.send(shard, mem::take(&mut calls)).await;
                outcomes.extend(replies.into_iter().skip(others).map(|reply| Ok(filled(&reply?))));
                (others, bytes) = (0, 0);
            }
        }
        // There was nothing to fill.
        self.send(shard, calls).await;
        outcomes
    }

    /// [`release`](Shared::release) of several keys of one shard.
    pub(crate) async fn release_many(&self, shard: u16, keys: &[&str], lease: &Lease) -> Result<()> {
        let calls = keys.iter().map(|key| self.release_call(key, lease)).collect();
        self.send(shard, calls).await.into_iter().try_for_each(|reply| reply.map(drop))
    }

    /// Prolongs the leases of several keys, one round trip for each shard. A lost one is noticed by its fill.
    pub(crate) async fn renew_many(&self, keys: &[&str], lease: &Lease) {
        let mut shards: BTreeMap<u16, Vec<Result<Cmd>>> = BTreeMap::new();
        for key in keys {
            shards.entry(self.shard_of(key)).or_default().push(self.renew_call(key, lease));
        }
        join_all(shards.into_iter().map(|(shard, calls)| self.send(shard, calls))).await;
    }

    /// Calls of scripts over one shard's keys, in one write; an outcome for each. Without calls nothing is sent.
    async fn send(&self, shard: u16, calls: Vec<Result<Cmd>>) -> Vec<Result<Value>> {
        let wanted = calls.len();
        let sent = async {
            let calls = calls.into_iter().collect::<Result<Vec<Cmd>>>()?;
            self.redis().pipeline(&self.channel(shard), calls).await
        };
        sent.await.unwrap_or_else(|error: Error| vec![Err(error); wanted])
    }
}
