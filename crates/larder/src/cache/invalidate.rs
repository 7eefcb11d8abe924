//! Invalidation: near, shared, near again; and the replay of what Redis did not acknowledge.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::Hash,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::{join, join_all};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Error, ErrorKind, Result,
    cache::{
        Consistency, MissReason, Token,
        coherence::Position,
        event::{Change, Event, key_hash},
        inner::Inner,
        shared::{Action, Shared},
        stats::Counter,
        tag::Tag,
        unsent::{Debt, What},
    },
    redis::check_key,
};

/// How many debts of each shard one round of the replay pays.
const REPLAY_BATCH: usize = 500;
/// The first and the longest pause between two tries of the replay.
const REPLAY_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// The first and the longest pause between two looks at who has not applied an invalidation yet.
const ACK_PAUSE: (Duration, Duration) = (Duration::from_micros(300), Duration::from_millis(10));
/// How long a cache that is closed goes on to send what Redis has not acknowledged.
const LAST_MOMENT: Duration = Duration::from_secs(2);
/// Keys that one script destroys at most; its arguments live on a stack of bounded size.
const KEYS_PER_SCRIPT: usize = 1_000;

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// The near copies go twice. First, so that this node stops serving them at once. Again after Redis has
    /// acknowledged, because a reader in between may have fetched the old value from Redis.
    pub(crate) async fn invalidate<Q>(self: &Arc<Self>, keys: &[&Q]) -> Result<Vec<Token>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + fmt::Display + ?Sized,
    {
        self.forget_near(keys);
        let debts = self.debts_of(keys)?;
        self.stats.count_many(Counter::Invalidated, keys.len());
        let Some(shared) = &self.shared else { return Ok(Vec::new()) };
        let sent = self.send_owed(shared, debts).await;
        // Before the wait for other nodes: a caller who goes away in it leaves nothing behind that would do this.
        self.forget_near(keys);
        let tokens = self.acknowledged_by_all(shared, sent).await?;
        Ok(self.home_tokens(tokens, keys))
    }

    /// Purges a tag: one short script for each shard, however many entries have it.
    pub(crate) async fn invalidate_tag(self: &Arc<Self>, tag: u64) -> Result<Vec<Token>> {
        self.pay(self.everywhere(&What::Tag(tag))).await
    }

    /// Purges everything: one short script for each shard.
    pub(crate) async fn clear(self: &Arc<Self>) -> Result<Vec<Token>> {
        self.pay(self.debts_of_all()).await
    }

    /// What is owed of these keys until Redis has acknowledged that they are invalidated: to each shard where they may stand.
    ///
    /// # Errors
    /// `Invalid` at `key` if one of them has no slot, beside Redis. No script could name it: it would be owed for ever, and
    /// hold up what is sent together with it.
    pub(crate) fn debts_of<Q>(&self, keys: &[&Q]) -> Result<Vec<Debt>>
    where
        Q: fmt::Display + ?Sized,
    {
        let Some(shared) = &self.shared else { return Ok(Vec::new()) };
        let mut debts = Vec::with_capacity(keys.len());
        for key in keys {
            let text = key.to_string();
            check_key(text.as_bytes())?;
            debts.extend(shared.shards_of(&text).map(|shard| Debt::key(shard, &text)));
        }
        Ok(debts)
    }

    /// What is owed until every shard has acknowledged that all of it is purged.
    pub(crate) fn debts_of_all(&self) -> Vec<Debt> {
        self.everywhere(&What::Clear)
    }

    fn everywhere(&self, what: &What) -> Vec<Debt> {
        (0..self.coherence.shards()).map(|shard| Debt { shard, what: what.clone() }).collect()
    }

    pub(crate) fn forget_near<Q>(&self, keys: &[&Q])
    where
        K: Borrow<Q>,
        Q: Hash + Eq + fmt::Display + ?Sized,
    {
        for key in keys {
            self.coherence.forget(&key.to_string());
            // What Redis has of it is not known here.
            let mut was_there = self.shared.is_some();
            self.flights.ground(*key, || {
                if let Some(near) = &self.near {
                    was_there |= near.invalidate(*key);
                }
            });
            if was_there {
                self.gone.remember(*key, MissReason::Invalidated);
            }
        }
    }

    /// Carries debts out now. What is not acknowledged, also because the caller went away, is kept and paid later.
    pub(crate) async fn pay(self: &Arc<Self>, debts: Vec<Debt>) -> Result<Vec<Token>> {
        let Some(shared) = &self.shared else {
            self.pay_alone(&debts);
            return Ok(Vec::new());
        };
        let sent = self.send_owed(shared, debts).await;
        self.acknowledged_by_all(shared, sent).await
    }

    /// The same without a wait for other nodes.
    async fn send_owed(self: &Arc<Self>, shared: &Shared, debts: Vec<Debt>) -> Result<Vec<Token>> {
        let mut owed = Owed { inner: self, debts };
        let Sent { tokens, left } = self.send(shared, &owed.debts).await;
        owed.debts = left.into_iter().collect();
        tokens
    }

    /// The tokens of invalidations that Redis has acknowledged, with strict consistency once every node has.
    pub(crate) async fn acknowledged_by_all(
        &self,
        shared: &Shared,
        sent: Result<Vec<Token>>,
    ) -> Result<Vec<Token>> {
        let tokens = sent.map_err(|error| {
            error.context("invalidate: not acknowledged by Redis, and sent again while this process runs")
        })?;
        self.await_all_if_strict(shared, &tokens).await?;
        Ok(tokens)
    }

    /// With strict consistency: returns when every other node has applied these invalidations, or may not serve copies any more.
    pub(crate) async fn await_all_if_strict(&self, shared: &Shared, tokens: &[Token]) -> Result<()> {
        let Consistency::Strict(bound) = self.consistency else { return Ok(()) };
        let awaited = tokens.iter().map(|token| self.await_all_nodes(shared, token, bound));
        join_all(awaited).await.into_iter().collect()
    }

    fn pay_alone(&self, debts: &[Debt]) {
        for Debt { shard, what } in debts {
            match what {
                // The near copies are all there is, and they are gone.
                What::Key(_) | What::Write(..) => {}
                What::Tag(tag) => {
                    let at = self.coherence.next_alone();
                    self.coherence.watch_tag(*shard, *tag);
                    self.coherence.purge_tag(*shard, Tag::purged(*tag), at);
                }
                What::Clear => {
                    let at = self.coherence.next_alone();
                    self.coherence.clear(*shard, at);
                }
            }
        }
    }

    /// One script for each shard that is concerned, all at the same time: none waits for another's answer, and what one of them
    /// refuses is no reason to send to the others again.
    async fn send(&self, shared: &Shared, debts: &[Debt]) -> Sent {
        let mut keys: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        let mut writes: BTreeMap<u16, Vec<End<'_>>> = BTreeMap::new();
        let mut calls = Vec::new();
        for Debt { shard, what } in debts {
            match what {
                What::Key(text) => keys.entry(*shard).or_default().push(text.clone()),
                What::Write(text, token) => writes.entry(*shard).or_default().push((text, token)),
                What::Tag(tag) => {
                    let tag = Tag::purged(*tag);
                    calls.push((*shard, Action::Tag(tag), Change::Tag(tag)));
                }
                What::Clear => calls.push((*shard, Action::Clear, Change::Clear)),
            }
        }
        calls.extend(unlinks(shared, &keys));
        let calls = calls.into_iter().map(async |(shard, action, change)| {
            let acted = self.act(shared, shard, action, change).await;
            let left = if acted.is_ok() { Vec::new() } else { action.debts(shard) };
            (acted, left)
        });
        let ends = writes.iter().flat_map(|(shard, ends)| {
            ends.chunks(keys_per_script(shared)).map(move |ends| self.end_writes(shared, *shard, ends))
        });
        let (acted, ended) = join(join_all(calls), join_all(ends)).await;
        let (tokens, left): (Vec<_>, Vec<_>) = acted.into_iter().chain(ended).unzip();
        Sent { tokens: tokens.into_iter().collect(), left: left.into_iter().flatten().collect() }
    }

    /// Ends writes of one shard that have not ended in Redis. Returns what is left to do.
    async fn end_writes(&self, shared: &Shared, shard: u16, ends: &[End<'_>]) -> (Result<Token>, Vec<Debt>) {
        let texts: Vec<String> = ends.iter().map(|(text, _)| (*text).clone()).collect();
        let tokens: Vec<u8> = ends.iter().flat_map(|(_, token)| **token).collect();
        let ended = self.finish(shared, shard, &texts, &tokens, None).await;
        let debts = || ends.iter().map(|(text, token)| Debt::write(shard, text, **token)).collect();
        let left = if ended.is_ok() { Vec::new() } else { debts() };
        (ended.map(|(token, _)| token), left)
    }

    /// Destroys what these keys have in these shards, all shards at the same time. Nothing is kept if Redis does not answer.
    pub(crate) async fn unlink_shared(
        &self,
        shared: &Shared,
        shards: &BTreeMap<u16, Vec<String>>,
    ) -> Result<Vec<Token>> {
        let calls = unlinks(shared, shards);
        let calls = calls.map(|(shard, action, change)| self.act(shared, shard, action, change));
        join_all(calls).await.into_iter().collect()
    }

    /// Carries out one numbered invalidation, here and in Redis.
    pub(crate) async fn act(
        &self,
        shared: &Shared,
        shard: u16,
        mut action: Action<'_>,
        mut change: Change,
    ) -> Result<Token> {
        let event = |change: &Change| Event { node: self.node, change: change.clone() }.encode();
        let mut at = shared.invalidate(shard, action, &event(&change)).await?;
        if let Some(follower) = &self.follower
            && follower.recheck(shard).await?
        {
            // The number may be one that other nodes have seen before, on a server that has lost it since.
            if let Action::Tag(tag) = action {
                // What was stored with this token in between would be good again, though others may have purged it since.
                let other = Tag::purged(tag.hash);
                (action, change) = (Action::Tag(other), Change::Tag(other));
            }
            at = shared.invalidate(shard, action, &event(&change)).await?;
        }
        self.note_acknowledged(shard, at, action.debts(shard));
        match action {
            Action::Tag(tag) => self.coherence.purge_tag(shard, tag, at),
            Action::Clear => self.coherence.clear(shard, at),
            Action::Unlink(texts) | Action::Expire(texts, _) => self.forget_fetched(texts),
            Action::Block(..) => {}
            Action::RefuseFills => self.coherence.forget_shard(shard),
        }
        let in_step = self.has_taken(shard, at, &change).await;
        if let Some(follower) = &self.follower
            && !in_step
            && action.is_broad()
        {
            // What is loaded from now on is to be stored, so its load must not begin at a number from before the purge.
            let synced = follower.sync(shard).await;
            if self.coherence.position(shard).epoch != at.epoch {
                // This node would go on to believe what the shard had in the epoch before.
                synced?;
            }
        }
        Ok(Token::new(self.name_hash(), shard, at))
    }

    /// What was fetched of these keys before Redis acknowledged that they are invalidated. Their caller has forgotten them as well, but
    /// not what was read in between, nor what a part of a document has; and of what is sent again there is no caller.
    pub(crate) fn forget_fetched(&self, texts: &[String]) {
        texts.iter().for_each(|text| self.coherence.forget(text));
    }

    /// Redis has acknowledged these; should it turn out to have lost them, they are owed again.
    pub(crate) fn note_acknowledged(&self, shard: u16, at: Position, debts: Vec<Debt>) {
        if let Some(follower) = &self.follower {
            follower.note_acknowledged(shard, at, debts);
        }
    }

    /// An invalidation of this node, applied here, was given this number. Returns whether all before it is applied, too.
    pub(crate) async fn has_taken(&self, shard: u16, at: Position, change: &Change) -> bool {
        self.coherence.acknowledged(shard, at);
        match &self.follower {
            Some(follower) => follower.took_part(shard, at, change).await,
            None => true,
        }
    }

    /// Returns when every other node has applied the invalidation, or may not serve copies any more.
    async fn await_all_nodes(&self, shared: &Shared, token: &Token, bound: Duration) -> Result<()> {
        // A lease that is prolonged at the last moment runs for a whole bound more.
        let give_up = Instant::now() + bound * 2;
        let mut pause = ACK_PAUSE.0;
        while shared.unacknowledged(token.shard(), self.node, token.position(), bound).await? > 0 {
            if Instant::now() >= give_up {
                let message = "a node neither applied the invalidation nor fell silent";
                return Err(Error::new(ErrorKind::Timeout, message));
            }
            sleep(pause).await;
            pause = (pause * 2).min(ACK_PAUSE.1);
        }
        Ok(())
    }

    /// From now on what Redis has lost after it acknowledged it is owed like what it never acknowledged.
    pub(crate) fn owe_what_is_lost(self: &Arc<Self>) {
        let Some(follower) = &self.follower else { return };
        let inner = Arc::downgrade(self);
        follower.owes_by(move |lost| {
            let Some(inner) = inner.upgrade() else { return };
            tracing::info!(
                cache = %inner.name, count = lost.len(),
                "Redis has another history: what it acknowledged lately is sent again."
            );
            inner.owe_silently(lost);
        });
    }

    /// Keeps what was not acknowledged, and sees to it that it is sent. Where nobody else has any copies it is done at once.
    fn owe(self: &Arc<Self>, debts: &[Debt]) {
        if self.shared.is_none() {
            return self.pay_alone(debts);
        }
        self.stats.count_many(Counter::InvalidationsDeferred, debts.len());
        self.owe_silently(debts);
    }

    pub(crate) fn owe_silently(self: &Arc<Self>, debts: &[Debt]) {
        let Some(shared) = &self.shared else { return };
        let first = shared.unsent.keep(debts);
        // From here on Redis is not believed; what was fetched from it a moment ago must go too.
        for Debt { shard, what } in debts {
            match what {
                What::Key(text) | What::Write(text, _) => self.coherence.forget(text),
                What::Tag(_) | What::Clear => self.coherence.flush(*shard),
            }
        }
        if first && let Some(runtime) = &self.runtime {
            self.replays.spawn_on(replay(Arc::downgrade(self)), runtime);
        }
    }
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq,
{
    /// Gives what Redis has not acknowledged a last moment. What is owed after it is told to the log: it goes with this process.
    pub(crate) async fn settle_up(&self) {
        let owed = || self.shared.as_ref().map_or(0, |shared| shared.unsent.len());
        if owed() == 0 {
            return;
        }
        self.replays.close();
        let _ = timeout(LAST_MOMENT, self.replays.wait()).await;
        let count = owed();
        if count > 0 {
            tracing::warn!(
                cache = %self.name, count,
                "Invalidations that Redis has not acknowledged: what it has of these keys may be old until it expires."
            );
        }
    }
}

/// A key that a write was at, and the write's part in its block.
type End<'a> = (&'a String, &'a [u8; 16]);

fn keys_per_script(shared: &Shared) -> usize {
    KEYS_PER_SCRIPT / shared.kinds().len()
}

/// The scripts that destroy these keys of these shards.
fn unlinks<'a>(
    shared: &Shared,
    shards: &'a BTreeMap<u16, Vec<String>>,
) -> impl Iterator<Item = (u16, Action<'a>, Change)> {
    let most = keys_per_script(shared);
    shards.iter().flat_map(move |(shard, texts)| {
        let scripts = texts.chunks(most);
        scripts.map(|texts| (*shard, Action::Unlink(texts), keys_change(texts)))
    })
}

pub(crate) fn keys_change(texts: &[String]) -> Change {
    Change::Keys(texts.iter().map(|text| key_hash(text)).collect())
}

/// What came of carrying debts out.
struct Sent {
    /// The tokens of all of them, or what one of the shards said that did not acknowledge.
    tokens: Result<Vec<Token>>,
    /// What was not acknowledged.
    left: BTreeSet<Debt>,
}

/// Invalidations on their way. Whatever is still listed when this is dropped is kept and replayed.
pub(crate) struct Owed<'a, K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(crate) inner: &'a Arc<Inner<K, V>>,
    pub(crate) debts: Vec<Debt>,
}

impl<K, V> Drop for Owed<'_, K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn drop(&mut self) {
        if !self.debts.is_empty() {
            self.inner.owe(&self.debts);
        }
    }
}

/// Sends what is owed until nothing is. Holds the cache only while it works, so a cache that is dropped ends it.
async fn replay<K, V>(inner: Weak<Inner<K, V>>)
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    let mut pause = REPLAY_PAUSE.0;
    loop {
        {
            let Some(inner) = inner.upgrade() else { return };
            let Some(shared) = &inner.shared else { return };
            let (debts, moment) = shared.unsent.next(REPLAY_BATCH);
            let Sent { left, .. } = inner.send(shared, &debts).await;
            if shared.unsent.acknowledged(debts.iter().filter(|debt| !left.contains(debt)), moment) {
                tracing::info!(cache = %inner.name, "All invalidations that Redis had missed are acknowledged.");
                return;
            }
            if left.len() < debts.len() {
                pause = REPLAY_PAUSE.0;
                continue;
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(REPLAY_PAUSE.1);
    }
}
