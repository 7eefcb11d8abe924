//! Acknowledging a write: one script, and what this node must forget around it.

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use tokio::time::{Instant, sleep};

use crate::{
    Error, ErrorKind, Result,
    cache::{
        Token,
        behind::{Behind, LOOK, NOBODY, op::Letter, shared::Acked},
        coherence::Position,
        entry::{Envelope, Lifetime, PENDING},
        event::Event,
        inner::Inner,
        invalidate::keys_change,
        unsent::Debt,
    },
};

/// Of a value that the policy does not cache at all: it is served until the sink has it, and no longer.
const SHORTEST: Lifetime = Lifetime { fresh_ms: 1, stale_ms: 0, error_ms: 0, load_us: 0 };

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Acknowledges a write (`None` removes) that the sink will have later.
    pub(crate) async fn put_behind(
        self: &Arc<Self>,
        behind: &Behind,
        key: &K,
        value: Option<&V>,
    ) -> Result<()> {
        let text = key.to_string();
        if self.parse_key.as_ref().and_then(|parse| parse(&text)).as_ref() != Some(key) {
            let message = "its text form does not read back as the same key, which write-behind needs";
            return Err(Error::invalid("key", message));
        }
        let (payload, hashes) = (self.payload_of(value, &self.policy)?, self.tags_of(key, &[], value)?);
        // Not in this node's name: if the outcome stays unknown, its follower must apply it like any other's.
        let change = keys_change(std::slice::from_ref(&text));
        let event = Event { node: NOBODY, change: change.clone() }.encode();
        behind.ready().await?;
        self.look_first(self.coherence.shard_of(&text)).await;
        let envelope = Envelope {
            payload,
            codec: self.codec.as_ref().map_or(0, |codec| codec.id()),
            created_unix_ms: self.clock.unix_ms(),
            life: self.lifetime(&self.policy, value, 0).unwrap_or(SHORTEST),
            at: Position { epoch: 0, seq: PENDING },
            // From before it is acknowledged: of what is purged after that, the settled value is not a part.
            tags: self.tags_now(self.coherence.shard_of(&text), &hashes).await.map_err(unwritten)?,
        };
        let slot = envelope.encode(self.policy.compress_above_bytes);
        let owed_until = self.shared.as_ref().and_then(|shared| shared.unsent.moment());
        self.forget_near(&[key]);
        let acked = behind.core.ledger.put(&text, &slot, &event, behind.core.settings.backlog).await;
        // Again, also if the outcome is unknown: a reader in between may have fetched the old value.
        self.forget_near(&[key]);
        let Some(acked) =
            acked.map_err(|error| error.of_write("the connection was lost: the write may be pending"))?
        else {
            let message = "the backlog of writes is full: the sink has not kept up for long";
            return Err(Error::new(ErrorKind::Full, message));
        };
        behind.core.counts.acknowledged.fetch_add(1, Relaxed);
        let shard = self.coherence.shard_of(&text);
        behind.heard(shard);
        self.coherence.acknowledged(shard, acked.at);
        self.note_acknowledged(shard, acked.at, vec![Debt::key(shard, &text)]);
        if let Some(follower) = &self.follower {
            follower.took_part(shard, acked.at, &change).await;
        }
        if let (Some(shared), Some(owed_until)) = (&self.shared, owed_until) {
            // An invalidation that this node owed for the key before has been made good.
            shared.unsent.acknowledged(&[Debt::key(shard, &text)], owed_until);
        }
        self.await_others(behind, &text, acked).await.map_err(written)
    }

    /// The first look at a shard begins its epoch, and what was acknowledged before it would be dropped when it is settled. If Redis
    /// cannot say, the write is told so itself.
    async fn look_first(&self, shard: u16) {
        if let Some(follower) = &self.follower
            && self.coherence.position(shard).epoch == 0
        {
            let _ = follower.ensure_synced(shard).await;
        }
    }

    /// What an acknowledged write waits for: with strict consistency the other nodes, and over the backlog the sink.
    async fn await_others(&self, behind: &Behind, text: &str, acked: Acked) -> Result<()> {
        let shard = self.coherence.shard_of(text);
        if let Some(shared) = &self.shared {
            self.await_all_if_strict(shared, &[Token::new(self.name_hash(), shard, acked.at)]).await?;
        }
        if acked.waits {
            behind.core.counts.waited.fetch_add(1, Relaxed);
            behind.applied(shard, text, acked.version).await?;
        }
        Ok(())
    }
}

/// Of a write that was not begun.
fn unwritten(error: Error) -> Error {
    let message = "redis could not say what was purged of the value's tags: nothing was written";
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

/// Of a write that Redis has acknowledged: whatever Redis could not be asked for after that.
fn written(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unavailable => {
            Error::new(ErrorKind::Timeout, "the write is pending, and the wait for others was cut off")
                .with_source(error)
        }
        _ => error,
    }
}

impl Behind {
    /// Returns when an operation is carried out, or a later one of its key.
    async fn applied(&self, shard: u16, key: &str, version: u64) -> Result<()> {
        let give_up = Instant::now() + self.core.settings.apply_deadline;
        let mut pause = LOOK.0;
        while self.core.ledger.has(shard, version).await? {
            if Instant::now() >= give_up {
                let message = "the backlog of writes is full, and the sink did not take this one in time: it is \
                     pending, and every node reads it";
                return Err(Error::new(ErrorKind::Timeout, message));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK.1);
        }
        match self.core.ledger.letter(key).await? {
            None => Ok(()),
            Some(bytes) => {
                let letter = Letter::decode(&bytes)?;
                if letter.version < version {
                    return Ok(());
                }
                let message =
                    format!("the sink refused the write, it is a dead letter now: {}", letter.error);
                Err(Error::new(ErrorKind::Source, message))
            }
        }
    }
}
