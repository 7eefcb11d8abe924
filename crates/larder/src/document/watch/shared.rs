//! The leadership of one collection's watch in Redis, with its resume tokens. Every method is one round trip.

use std::{sync::Arc, time::Duration};

use ::redis::Value;

use super::start::{Found, Kept, ResumeToken};
use crate::{Error, ErrorKind, Result, cache::Shared, redis::Script};

static CLAIM: Script = Script::new("watch claim", include_str!("claim.lua"));
static KEEP: Script = Script::new("watch keep", include_str!("keep.lua"));
static STORE: Script = Script::new("watch store", include_str!("store.lua"));
static RESTART: Script = Script::new("watch restart", include_str!("restart.lua"));

/// How far apart the remembered tokens are, and how many of them there are at most: two minutes.
const STEP: Duration = Duration::from_secs(5);
const MOST_TOKENS: usize = 25;

/// The right to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fence(Vec<u8>);

/// What a node was told that wants to lead.
#[derive(Debug)]
pub(super) enum Claim {
    /// Another node does, for so long unless it goes on.
    Held(Duration),
    Leads(Fence, Found),
}

/// Where the leadership stands in Redis, as one node sees it.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    shared: Arc<Shared>,
    node: String,
    length: Duration,
}

impl Lease {
    pub(super) fn new(shared: Arc<Shared>, node: u64, length: Duration) -> Self {
        Self { shared, node: format!("{node:016x}"), length }
    }

    fn keys(&self) -> [Vec<u8>; 2] {
        ["cs", "cs:t"].map(|name| self.shared.space().of_shard(0, name))
    }

    async fn eval(&self, script: &'static Script, args: &[&[u8]]) -> Result<Value> {
        let [state, tokens] = self.keys();
        self.shared.redis().eval(script, &[&state, &tokens], args).await
    }

    /// Asks to lead. `histories` stands for the histories of all shards.
    pub(super) async fn claim(&self, histories: u64) -> Result<Claim> {
        let (length, histories) = (ms(self.length), text_of_histories(histories));
        let reply =
            self.eval(&CLAIM, &[self.node.as_bytes(), length.as_bytes(), histories.as_bytes()]).await?;
        let Value::Array(parts) = reply else { return Err(unexpected()) };
        match <[Value; 5]>::try_from(parts) {
            Ok([Value::Int(1), Value::BulkString(fence), same, seen, Value::Array(tokens)]) => {
                let found = Found {
                    tokens: tokens.iter().map(kept_of).collect::<Result<_>>()?,
                    is_same_history: number_of(&same)? == 1,
                    seen_ms: number_of(&seen)?,
                };
                Ok(Claim::Leads(Fence(fence), found))
            }
            Err(parts) => match parts[..] {
                [Value::Int(0), Value::Int(left_ms)] => {
                    Ok(Claim::Held(Duration::from_millis(left_ms.max(0) as u64)))
                }
                _ => Err(unexpected()),
            },
            Ok(_) => Err(unexpected()),
        }
    }

    /// Prolongs the leadership; false if it is lost.
    pub(super) async fn keep(&self, fence: &Fence, histories: u64) -> Result<bool> {
        self.prolong(fence, self.length, histories).await
    }

    /// Lets another node lead at once.
    pub(super) async fn give_up(&self, fence: &Fence, histories: u64) -> Result<()> {
        self.prolong(fence, Duration::ZERO, histories).await.map(drop)
    }

    async fn prolong(&self, fence: &Fence, length: Duration, histories: u64) -> Result<bool> {
        let (length, histories) = (ms(length), text_of_histories(histories));
        Ok(self.eval(&KEEP, &[&fence.0, length.as_bytes(), histories.as_bytes()]).await? == Value::Int(1))
    }

    /// Remembers a token whose changes are applied; false if another node leads.
    pub(super) async fn store(&self, fence: &Fence, token: &ResumeToken) -> Result<bool> {
        let (step, most, length) = (ms(STEP), MOST_TOKENS.to_string(), ms(self.length));
        let args = [&fence.0, &token.0[..], step.as_bytes(), most.as_bytes(), length.as_bytes()];
        Ok(self.eval(&STORE, &args).await? == Value::Int(1))
    }

    /// Strikes off the newest tokens down to `place`; false if another node leads.
    pub(super) async fn rewind(&self, fence: &Fence, place: usize, histories: u64) -> Result<bool> {
        self.restart(fence, &place.to_string(), b"", histories).await
    }

    /// Strikes off all tokens and begins with this one; false if another node leads.
    pub(super) async fn begin(
        &self,
        fence: &Fence,
        token: Option<&ResumeToken>,
        histories: u64,
    ) -> Result<bool> {
        self.restart(fence, "-1", token.map_or(&[], |token| &token.0[..]), histories).await
    }

    async fn restart(&self, fence: &Fence, strike: &str, token: &[u8], histories: u64) -> Result<bool> {
        let histories = text_of_histories(histories);
        let args = [&fence.0, strike.as_bytes(), token, histories.as_bytes()];
        Ok(self.eval(&RESTART, &args).await? == Value::Int(1))
    }
}

fn ms(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn text_of_histories(histories: u64) -> String {
    format!("{histories:016x}")
}

/// `<ms>:<bytes>`
fn kept_of(value: &Value) -> Result<Kept> {
    let Value::BulkString(bytes) = value else { return Err(unexpected()) };
    let colon = bytes.iter().position(|byte| *byte == b':').ok_or_else(unexpected)?;
    let at_ms = std::str::from_utf8(&bytes[..colon]).ok().and_then(|text| text.parse().ok());
    Ok(Kept { at_ms: at_ms.ok_or_else(unexpected)?, token: ResumeToken(bytes[colon + 1..].to_vec()) })
}

fn number_of(value: &Value) -> Result<u64> {
    let Value::BulkString(bytes) = value else { return Err(unexpected()) };
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).ok_or_else(unexpected)
}

fn unexpected() -> Error {
    Error::new(ErrorKind::Corrupt, "redis answered something else than this script returns")
}
