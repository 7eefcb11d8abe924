//! Read your writes on another node: what an invalidation returns, and a later read brings along.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{Error, Result, cache::coherence::Position};

/// A point in the invalidations of one cache. Made by [`Cache::invalidate`](crate::cache::Cache::invalidate); given to
/// [`ReadOptions::at_least`](crate::cache::ReadOptions::at_least) on any node, it makes that node look past its own copies
/// unless it has applied everything up to that point.
///
/// Its text form fits a header or a cookie. A token says nothing about values; a made-up one can only cost a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    name_hash: u32,
    shard: u16,
    at: Position,
}

const BYTES: usize = 22;

impl Token {
    pub(crate) fn new(name_hash: u32, shard: u16, at: Position) -> Self {
        Self { name_hash, shard, at }
    }

    /// Whether a read that sees at least this also sees what `other` stands for.
    ///
    /// ```
    /// # async fn run(users: larder::Cache<String, u32>) -> larder::Result<()> {
    /// let (Some(first), Some(second)) = (users.invalidate("1").await?, users.invalidate("1").await?) else { return Ok(()) };
    /// assert!(second.covers(&first) && !first.covers(&second));
    /// # Ok(()) }
    /// ```
    pub fn covers(&self, other: &Self) -> bool {
        (self.name_hash, self.shard, self.at.epoch) == (other.name_hash, other.shard, other.at.epoch)
            && self.at.seq >= other.at.seq
    }

    pub(crate) fn name_hash(&self) -> u32 {
        self.name_hash
    }

    pub(crate) fn shard(&self) -> u16 {
        self.shard
    }

    pub(crate) fn position(&self) -> Position {
        self.at
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(&self.name_hash.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.shard.to_le_bytes());
        bytes[6..14].copy_from_slice(&self.at.epoch.to_le_bytes());
        bytes[14..].copy_from_slice(&self.at.seq.to_le_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("token", "is not one that a write has returned");
        let mut bytes = [0; BYTES];
        let decoded = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).map_err(|_| wrong())?;
        if decoded != BYTES {
            return Err(wrong());
        }
        let (name_hash, rest) = bytes.split_first_chunk().ok_or_else(wrong)?;
        let (shard, rest) = rest.split_first_chunk().ok_or_else(wrong)?;
        let (epoch, rest) = rest.split_first_chunk().ok_or_else(wrong)?;
        let (seq, _) = rest.split_first_chunk().ok_or_else(wrong)?;
        let at = Position { epoch: u64::from_le_bytes(*epoch), seq: u64::from_le_bytes(*seq) };
        Ok(Self { name_hash: u32::from_le_bytes(*name_hash), shard: u16::from_le_bytes(*shard), at })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_is_read_back(name_hash: u32, shard: u16, epoch: u64, seq: u64) {
            let token = Token::new(name_hash, shard, Position { epoch, seq });
            prop_assert_eq!(token.to_string().parse::<Token>().unwrap(), token);
        }

        #[test]
        fn other_text_is_refused_and_never_a_panic(text in ".{0,60}") {
            let _ = text.parse::<Token>();
        }
    }
}
