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

    /// Asks to lead. `histories` stands for the histories of all shards; without it those that stand there are not judged.
    pub(super) async fn claim(&self, histories: Option<u64>) -> Result<Claim> {
        let (length, histories) = (ms(self.length), text_of_histories(histories));
        claim_of(self.eval(&CLAIM, &[self.node.as_bytes(), length.as_bytes(), histories.as_bytes()]).await?)
    }

    /// Prolongs the leadership; false if it is lost. `histories` if they were seen just now.
    pub(super) async fn keep(&self, fence: &Fence, histories: Option<u64>) -> Result<bool> {
        self.prolong(fence, self.length, histories).await
    }

    /// Lets another node lead at once.
    pub(super) async fn give_up(&self, fence: &Fence) -> Result<()> {
        self.prolong(fence, Duration::ZERO, None).await.map(drop)
    }

    async fn prolong(&self, fence: &Fence, length: Duration, histories: Option<u64>) -> Result<bool> {
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
    pub(super) async fn rewind(&self, fence: &Fence, place: usize, histories: Option<u64>) -> Result<bool> {
        self.restart(fence, &place.to_string(), b"", histories).await
    }

    /// Strikes off all tokens and begins with this one; false if another node leads.
    pub(super) async fn begin(
        &self,
        fence: &Fence,
        token: Option<&ResumeToken>,
        histories: Option<u64>,
    ) -> Result<bool> {
        self.restart(fence, "-1", token.map_or(&[], |token| &token.0[..]), histories).await
    }

    async fn restart(
        &self,
        fence: &Fence,
        strike: &str,
        token: &[u8],
        histories: Option<u64>,
    ) -> Result<bool> {
        let histories = text_of_histories(histories);
        let args = [&fence.0, strike.as_bytes(), token, histories.as_bytes()];
        Ok(self.eval(&RESTART, &args).await? == Value::Int(1))
    }
}

fn ms(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn text_of_histories(histories: Option<u64>) -> String {
    histories.map_or_else(String::new, |histories| format!("{histories:016x}"))
}

/// `[1, fence, whether the history is the same, when it was last seen, tokens]`, or `[0, how long another one leads]`
pub(super) fn claim_of(reply: Value) -> Result<Claim> {
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

/// `<ms>:<bytes>`
pub(super) fn kept_of(value: &Value) -> Result<Kept> {
    let Value::BulkString(bytes) = value else { return Err(unexpected()) };
    let colon = bytes.iter().position(|byte| *byte == b':').ok_or_else(unexpected)?;
    let at_ms = std::str::from_utf8(&bytes[..colon]).ok().and_then(|text| text.parse().ok());
    Ok(Kept { at_ms: at_ms.ok_or_else(unexpected)?, token: ResumeToken(bytes[colon + 1..].to_vec()) })
}

pub(super) fn number_of(value: &Value) -> Result<u64> {
    let Value::BulkString(bytes) = value else { return Err(unexpected()) };
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).ok_or_else(unexpected)
}

fn unexpected() -> Error {
    Error::new(ErrorKind::Corrupt, "redis answered something else than this script returns")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use larder_testkit::eventually;

    use super::*;
    use crate::redis::{DEFAULT_SHARDS, Redis, Space};

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    struct Desk(Arc<Shared>);

    impl Desk {
        async fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("seat{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
            let redis = Redis::connect(&*larder_testkit::redis::single()).await.unwrap();
            let space = Space::new("larder", &name, DEFAULT_SHARDS, 1).unwrap();
            Self(Arc::new(Shared::new(redis, space, 1 << 20, 1_000, false, Vec::new())))
        }

        fn node(&self, node: u64, length: Duration) -> Lease {
            Lease::new(self.0.clone(), node, length)
        }

        async fn lose(&self, name: &str) {
            let key = self.0.space().of_shard(0, name);
            let mut del = ::redis::cmd("DEL");
            del.arg(&key);
            assert_eq!(self.0.redis().command(&key, &del).await.unwrap(), Value::Int(1));
        }
    }

    async fn lead(lease: &Lease, histories: u64) -> (Fence, Found) {
        match lease.claim(Some(histories)).await.unwrap() {
            Claim::Leads(fence, found) => (fence, found),
            Claim::Held(left) => panic!("another node leads for {left:?}"),
        }
    }

    /// A leader with a point to begin at.
    async fn begun() -> (Lease, Fence) {
        let a = Desk::new().await.node(1, LONG);
        let (fence, _) = lead(&a, 1).await;
        assert!(a.begin(&fence, Some(&token("start")), Some(1)).await.unwrap());
        (a, fence)
    }

    async fn lead_in_time(lease: &Lease) -> (Fence, Found) {
        let free = || async { matches!(lease.claim(Some(1)).await.unwrap(), Claim::Leads(..)) };
        eventually("the lease runs out", Duration::from_secs(10), free).await;
        lead(lease, 1).await
    }

    fn token(text: &str) -> ResumeToken {
        ResumeToken(text.as_bytes().to_vec())
    }

    fn texts(found: &Found) -> Vec<&str> {
        found.tokens.iter().map(|kept| std::str::from_utf8(&kept.token.0).unwrap()).collect()
    }

    #[tokio::test]
    async fn one_node_leads_until_it_gives_up_or_its_lease_runs_out() {
        let desk = Desk::new().await;
        let (a, b) = (desk.node(1, LONG), desk.node(2, SHORT));
        let (first, found) = lead(&a, 1).await;
        assert!(found.tokens.is_empty());
        assert_eq!(lead(&a, 1).await.0, first, "the leader stays it, under the same fence");
        let Claim::Held(left) = b.claim(Some(1)).await.unwrap() else { panic!("two leaders") };
        assert!(left <= LONG && left > LONG / 2, "{left:?}");
        a.give_up(&first).await.unwrap();
        lead(&b, 1).await;
        lead_in_time(&a).await;
    }

    #[tokio::test]
    async fn who_led_before_can_store_strike_off_and_prolong_nothing() {
        let desk = Desk::new().await;
        let (a, b) = (desk.node(1, SHORT), desk.node(2, LONG));
        let (old, _) = lead(&a, 1).await;
        assert!(a.begin(&old, Some(&token("start")), Some(1)).await.unwrap());
        let (new, found) = lead_in_time(&b).await;
        assert_eq!(texts(&found), ["start"]);
        assert!(b.store(&new, &token("new")).await.unwrap());

        assert!(!a.store(&old, &token("old")).await.unwrap());
        assert!(!a.rewind(&old, 1, Some(1)).await.unwrap());
        assert!(!a.begin(&old, None, Some(1)).await.unwrap());
        assert!(!a.keep(&old, Some(1)).await.unwrap());
        assert!(matches!(a.claim(Some(1)).await.unwrap(), Claim::Held(_)));
        assert_eq!(texts(&lead(&b, 1).await.1), ["new", "start"]);
    }

    #[tokio::test]
    async fn a_fence_never_comes_again_even_if_the_last_one_is_lost() {
        let desk = Desk::new().await;
        let (a, b) = (desk.node(1, LONG), desk.node(2, LONG));
        let (old, _) = lead(&a, 1).await;
        assert!(a.begin(&old, Some(&token("kept")), Some(1)).await.unwrap());
        desk.lose("cs").await;
        let number = |fence: &Fence| std::str::from_utf8(&fence.0).unwrap().parse::<u64>().unwrap();
        eventually("the server's clock moves on", LONG, || async {
            let (new, _) = lead(&b, 1).await;
            b.give_up(&new).await.unwrap();
            desk.lose("cs").await;
            number(&new) > number(&old)
        })
        .await;
        let (_, found) = lead(&b, 1).await;
        assert!(!found.is_same_history && found.seen_ms == 0, "nobody knows what the tokens stand on");
        assert!(!a.store(&old, &token("old")).await.unwrap());
    }

    #[tokio::test]
    async fn the_newest_point_is_replaced_and_older_ones_are_steps_apart() {
        let (a, fence) = begun().await;
        for text in ["1", "2", "3"] {
            assert!(a.store(&fence, &token(text)).await.unwrap());
        }
        assert_eq!(texts(&lead(&a, 1).await.1), ["3", "start"]);
    }

    #[tokio::test]
    async fn another_history_is_told_until_the_leader_has_begun_anew() {
        let (a, fence) = begun().await;
        assert!(a.store(&fence, &token("new")).await.unwrap());
        assert!(lead(&a, 1).await.1.is_same_history);
        for _ in 0..2 {
            let found = lead(&a, 2).await.1;
            assert!(!found.is_same_history && found.seen_ms > 0, "a crash in between changes nothing");
        }
        assert!(a.rewind(&fence, 1, Some(2)).await.unwrap());
        let found = lead(&a, 2).await.1;
        assert_eq!((texts(&found), found.is_same_history), (vec!["start"], true));
        assert!(a.store(&fence, &token("again")).await.unwrap());
        assert_eq!(texts(&lead(&a, 2).await.1), ["again", "start"], "the older one stays");
    }

    #[tokio::test]
    async fn while_a_shard_is_not_known_nothing_is_judged_and_what_was_seen_stays() {
        let (a, fence) = begun().await;
        assert!(a.store(&fence, &token("new")).await.unwrap());
        let seen_ms = lead(&a, 1).await.1.seen_ms;
        eventually("the server's clock moves on", LONG, || async {
            a.keep(&fence, Some(2)).await.unwrap();
            a.keep(&fence, None).await.unwrap();
            a.give_up(&fence).await.unwrap();
            let Claim::Leads(again, found) = a.claim(None).await.unwrap() else {
                panic!("nobody else is there")
            };
            assert_eq!((&again, texts(&found)), (&fence, vec!["new", "start"]));
            assert_eq!((found.is_same_history, found.seen_ms), (true, seen_ms));
            assert!(!lead(&a, 2).await.1.is_same_history, "it is judged later");
            // A token has the server's time.
            assert!(a.store(&fence, &token("new")).await.unwrap());
            lead(&a, 1).await.1.tokens[0].at_ms > seen_ms
        })
        .await;
        assert!(a.keep(&fence, Some(1)).await.unwrap());
        assert!(lead(&a, 1).await.1.seen_ms > seen_ms);
    }
}
