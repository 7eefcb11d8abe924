//! What is known about one key right now, for a person who asks why.

use std::time::Duration;

use crate::{
    ErrorKind,
    cache::{MissReason, coherence::Coherence, entry::Slot, shared::Shared},
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
    /// A value that a purge of its tag, its pattern or the whole cache has made worthless.
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

impl Shared {
    /// What the slot holds, for `explain`. Two round trips.
    pub(crate) async fn state(&self, key: &str, coherence: &Coherence, now_unix_ms: u64) -> TierState {
        let (slot, remaining) = (self.peek(key).await, self.remaining(key).await);
        let left = remaining.ok().flatten().unwrap_or_default();
        match slot {
            Ok(None) => TierState::Empty,
            Ok(Some(Slot::Lease(_))) => TierState::Leased { runs_out_in: left },
            Ok(Some(Slot::Blocked)) => TierState::Blocked { runs_out_in: left },
            Ok(Some(Slot::Value(envelope))) => {
                if !coherence.is_after_clear(self.shard_of(key), envelope.at) {
                    return TierState::Purged;
                }
                let age_ms = envelope.age_ms(now_unix_ms);
                TierState::Holds {
                    present: envelope.payload.is_some(),
                    age: Duration::from_millis(age_ms),
                    fresh_for: Duration::from_millis(
                        u64::from(envelope.life.fresh_ms).saturating_sub(age_ms),
                    ),
                    kept_for: left,
                    size: envelope.payload.map_or(0, |payload| payload.len()),
                }
            }
            Err(error) if error.kind() == ErrorKind::Corrupt => TierState::Corrupt(error.to_string()),
            Err(error) => TierState::Unreachable(error.to_string()),
        }
    }
}
