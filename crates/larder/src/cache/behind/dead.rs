//! Dead letters: writes that the sink refused for good, kept until somebody decides.
//!
//! There is at most one for a key, its last operation. Readers go on seeing its value, because it was acknowledged. A later
//! write to the key is tried like any other; when the sink takes it, the letter is struck off, and it can never overwrite
//! that write.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    Error, Result,
    cache::{
        behind::{Behind, NOBODY, op::Letter, shared::Touched},
        entry::Slot,
        event::Event,
        invalidate::keys_change,
    },
};

/// A write that the sink refused for good.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The key's text form.
    pub key: String,
    /// The version that the sink was offered.
    pub version: u64,
    /// Whether it removes the key; else it puts a value.
    pub removes: bool,
    /// How often it was tried.
    pub attempts: u32,
    /// What the sink said last.
    pub error: String,
    /// How long ago it was given up, by this node's clock.
    pub age: Duration,
    /// Whether it cannot be read, because somebody else wrote over it. It can be discarded and not replayed; of what else is said
    /// here only the key is known.
    pub is_damaged: bool,
}

/// What became of a dead letter that was to be replayed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It is pending again, as the newest operation of its key.
    Pending,
    /// A later write to the key is pending; the letter was struck off.
    Superseded,
    /// There is no dead letter for this key (any more).
    Gone,
}

impl Behind {
    /// Up to `most` dead letters, in no particular order, those that are damaged among them.
    ///
    /// # Errors
    /// `ErrorKind::Unavailable` or `ErrorKind::Timeout` if Redis cannot say.
    pub async fn dead_letters(&self, most: usize) -> Result<Vec<DeadLetter>> {
        let mut found = Vec::new();
        for shard in 0..self.core.coherence.shards() {
            let mut cursor = 0;
            loop {
                let (next, letters) = self.core.ledger.letters(shard, cursor).await?;
                for (key, bytes) in letters {
                    if found.len() >= most {
                        return Ok(found);
                    }
                    if self.core.ledger.shared().shard_of(&key) == shard {
                        found.push(self.described(&key, &bytes));
                    } else {
                        tracing::error!(
                            key,
                            shard,
                            "What is no dead letter stands among them, and is left out."
                        );
                    }
                }
                if next == 0 {
                    break;
                }
                cursor = next;
            }
        }
        Ok(found)
    }

    fn described(&self, key: &str, bytes: &Bytes) -> DeadLetter {
        let letter = match Letter::decode(bytes) {
            Ok(letter) => letter,
            Err(error) => return damaged(key, &error),
        };
        let slot = Slot::decode(&letter.slot, self.core.ledger.shared().max_bytes());
        let age_ms = self.core.clock.unix_ms().saturating_sub(letter.died_unix_ms);
        DeadLetter {
            key: key.to_owned(),
            version: letter.version,
            removes: matches!(slot, Ok(Slot::Value(envelope)) if envelope.payload.is_none()),
            attempts: letter.attempts,
            error: letter.error,
            age: Duration::from_millis(age_ms),
            is_damaged: false,
        }
    }

    /// Hands the dead letter of `key` in again, with a new version. Safe to repeat.
    ///
    /// # Errors
    /// `ErrorKind::Corrupt` for a letter that is damaged; discard it.
    /// `ErrorKind::Unavailable` or `ErrorKind::Timeout` if Redis did not acknowledge it.
    pub async fn replay(&self, key: &str) -> Result<Replayed> {
        let Some(bytes) = self.core.ledger.letter(key).await? else { return Ok(Replayed::Gone) };
        let letter = Letter::decode(&bytes)?;
        let touched = self.core.ledger.replay(key, &bytes, &letter).await?;
        self.heard(self.core.ledger.shared().shard_of(key));
        Ok(match touched {
            Touched::Done => Replayed::Pending,
            Touched::Superseded => Replayed::Superseded,
            Touched::Gone => Replayed::Gone,
        })
    }

    /// Throws the dead letter of `key` away: the write is given up, and readers see what the source has. Returns whether
    /// there was one, damaged or not. Safe to repeat.
    ///
    /// # Errors
    /// `ErrorKind::Unavailable` or `ErrorKind::Timeout` if Redis did not acknowledge it.
    pub async fn discard(&self, key: &str) -> Result<bool> {
        let Some(bytes) = self.core.ledger.letter(key).await? else { return Ok(false) };
        let version = Letter::decode(&bytes).ok().map(|letter| letter.version);
        let event = Event { node: NOBODY, change: keys_change(&[key.to_owned()]) }.encode();
        let touched = self.core.ledger.discard(key, &bytes, version, &event).await?;
        self.core.coherence.forget(key);
        Ok(touched != Touched::Gone)
    }
}

fn damaged(key: &str, error: &Error) -> DeadLetter {
    DeadLetter {
        key: key.to_owned(),
        version: 0,
        removes: false,
        attempts: 0,
        error: error.to_string(),
        age: Duration::ZERO,
        is_damaged: true,
    }
}
