//! Carrying out the operations of one shard: claim, coalesce, apply, strike off.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::FutureExt;
use rand::Rng;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{
    Error, ErrorKind, Result,
    cache::{
        behind::{
            Behind, NOBODY,
            op::{Letter, Op, Work, coalesce},
            shared::{Batch, Buried, Claim, Fence, Settled},
            sweep::Sweep,
        },
        codec::SharedCodec,
        entry::{Envelope, Slot, settled_header},
        event::Event,
        invalidate::keys_change,
    },
    dice::dice,
    source::{SharedSink, Write},
};

/// How often a worker looks although nobody rang.
const IDLE: Duration = Duration::from_secs(1);

/// From a key's text form back to the key.
pub(crate) type ParseKey<K> = Arc<dyn Fn(&str) -> Option<K> + Send + Sync>;

/// What the workers of all shards share.
pub(crate) struct Worker<K, V> {
    pub(crate) behind: Behind,
    pub(crate) sink: SharedSink<K, V>,
    pub(crate) codec: SharedCodec<V>,
    pub(crate) parse_key: ParseKey<K>,
}

/// What a round of work came to.
enum Round {
    /// Everything that was there is done.
    Done,
    /// There may be more.
    More,
    /// Look again after this time, or when something was written.
    Retry(Duration),
    /// Look again after this time, and not before.
    Later(Duration),
}

/// A key whose last operation the sink did not take.
#[derive(Debug)]
struct Trouble {
    /// Refusals that count.
    refusals: u32,
    tries: u32,
    not_before: Instant,
}

/// What one worker remembers between rounds.
#[derive(Default)]
struct Desk {
    troubles: HashMap<String, Trouble>,
    sweep: Sweep,
    fence: Option<Fence>,
    /// By how many halvings the next batch is smaller than it may be: large values take their time.
    halvings: u32,
}

impl Desk {
    fn take(&mut self, batch: &Batch) {
        self.halvings = self.halvings.saturating_sub(1);
        if self.fence.as_ref() != Some(&batch.fence) {
            self.troubles.clear();
            self.fence = Some(batch.fence.clone());
        }
        match batch.all {
            Some(all) => self.sweep = Sweep::begin(all, batch.steps),
            None => self.sweep.given(batch.steps),
        }
    }

    /// What is to be carried out now; the rest is left behind.
    fn due_of(&mut self, mut works: Vec<Work>) -> Vec<Work> {
        let now = Instant::now();
        works.retain(|Work { last, .. }| match self.troubles.get(&last.key) {
            _ if self.sweep.has_left(&last.key) => false,
            Some(trouble) if trouble.not_before > now => {
                self.sweep.leave(last.key.clone(), trouble.not_before);
                false
            }
            _ => true,
        });
        works
    }

    /// Leaves those of the keys behind that the sink did not take.
    fn leave_refused(&mut self, keys: Vec<String>) {
        for key in keys {
            if let Some(trouble) = self.troubles.get(&key) {
                self.sweep.leave(key, trouble.not_before);
            }
        }
    }
}

impl<K, V> Worker<K, V>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Works until it is told to close, or dropped.
    pub(crate) async fn run(self: Arc<Self>, shard: u16) {
        let wake = &self.behind.core.wakes[usize::from(shard)];
        let mut desk = Desk::default();
        while !wake.is_closed() {
            match self.round(shard, &mut desk).await {
                Round::More => {}
                Round::Later(pause) => sleep(pause.min(IDLE)).await,
                Round::Retry(pause) => wake.rung_within(pause.min(IDLE)).await,
                Round::Done => {
                    wake.rung_within(IDLE).await;
                    wake.unhurried(self.behind.core.settings.max_delay).await;
                }
            }
        }
        if let Some(fence) = &desk.fence {
            // If it fails the lease runs out by itself.
            let _ = self.behind.core.ledger.keep(shard, fence, Duration::ZERO).await;
        }
    }

    async fn round(&self, shard: u16, desk: &mut Desk) -> Round {
        let settings = &self.behind.core.settings;
        let most = (settings.max_batch >> desk.halvings).max(1);
        let claimed = Instant::now();
        if desk.sweep.is_over(claimed) {
            desk.sweep = Sweep::default();
        }
        let place = desk.sweep.place();
        let batch = match self.behind.core.ledger.claim(shard, settings.lease, most, place).await {
            Ok(Claim::Owned(batch)) => batch,
            Ok(Claim::Nothing) => {
                desk.troubles.clear();
                desk.sweep = Sweep::default();
                return Round::Done;
            }
            Ok(Claim::Held(left)) => return Round::Later(left),
            Err(error) if error.kind() == ErrorKind::Timeout => {
                desk.halvings = (desk.halvings + 1).min(10);
                return Round::Later(settings.retry_pause.0);
            }
            Err(_) => return Round::Later(IDLE),
        };
        desk.take(&batch);
        let Batch { fence, ops, foreign, .. } = batch;
        let (entries, last) = (ops.len() + foreign.len(), ops.last().map(|op| op.version));
        let is_full = entries == most;
        let due = desk.due_of(coalesce(ops));
        if !due.is_empty() || !foreign.is_empty() {
            let keys: Vec<String> = due.iter().map(|work| work.last.key.clone()).collect();
            let until = claimed + settings.lease;
            let carried_out = tokio::select! {
                // The lease first: a process that was frozen must notice before it goes on.
                biased;
                () = self.until_lost(shard, &fence, until) => None,
                done = self.carry_out(shard, &fence, due, &foreign, desk) => Some(done),
            };
            match carried_out {
                Some(Ok(true)) => desk.leave_refused(keys),
                Some(Err(error)) => {
                    tracing::debug!(shard, %error, "Operations that were carried out could not be struck off.");
                    return Round::Later(settings.retry_pause.0);
                }
                Some(Ok(false)) | None => {
                    self.behind.core.counts.fenced.fetch_add(1, Relaxed);
                    tracing::warn!(shard, "Another node has become the owner of the writes of this shard.");
                    *desk = Desk { halvings: desk.halvings, ..Desk::default() };
                    return Round::Later(settings.retry_pause.0);
                }
            }
        }
        desk.sweep.go_on(entries, last, is_full);
        match desk.sweep.first_due() {
            _ if is_full => Round::More,
            None => Round::Done,
            // Other keys go on meanwhile.
            Some(due) => Round::Retry(due.saturating_duration_since(Instant::now())),
        }
    }

    /// Returns when the shard is lost, or may be.
    async fn until_lost(&self, shard: u16, fence: &Fence, mut until: Instant) {
        let lease = self.behind.core.settings.lease;
        loop {
            let asked = tokio::select! {
                biased;
                () = sleep_until(until) => return,
                asked = async {
                    sleep(lease / 3).await;
                    let asked = Instant::now();
                    (asked, self.behind.core.ledger.keep(shard, fence, lease).await)
                } => asked,
            };
            match asked {
                (asked, Ok(true)) => until = asked + lease,
                (_, Ok(false)) => return,
                // Redis does not answer: the lease stands until its time runs out.
                (_, Err(_)) => {}
            }
        }
    }

    /// Applies the work and strikes off what is done, and what is no operation; false if another node has become the owner.
    async fn carry_out(
        &self,
        shard: u16,
        fence: &Fence,
        works: Vec<Work>,
        foreign: &[Vec<u8>],
        desk: &mut Desk,
    ) -> Result<bool> {
        if !self.throw_out(shard, fence, foreign, desk).await? {
            return Ok(false);
        }
        let mut outcomes = Vec::with_capacity(works.len());
        let (mut bulk, mut writes) = (Vec::new(), Vec::new());
        for work in works {
            match self.write_of(&work) {
                Err(error) => outcomes.push((work, Err(error))),
                // One that was refused before goes alone, so that it cannot spoil the others.
                Ok(write) if desk.troubles.get(&work.last.key).is_some_and(|it| it.refusals > 0) => {
                    let outcome = self.apply(&[write]).await.pop().unwrap_or_else(|| Err(miscounted()));
                    outcomes.push((work, outcome));
                }
                Ok(write) => {
                    bulk.push(work);
                    writes.push(write);
                }
            }
        }
        if !writes.is_empty() {
            outcomes.extend(bulk.into_iter().zip(self.apply(&writes).await));
        }
        let mut done = Vec::with_capacity(outcomes.len());
        for (work, outcome) in outcomes {
            match outcome {
                Ok(()) => {
                    desk.troubles.remove(&work.last.key);
                    done.push(work);
                }
                Err(error) => {
                    if !self.trouble(shard, fence, work, error, desk).await? {
                        return Ok(false);
                    }
                }
            }
        }
        if done.is_empty() {
            return Ok(true);
        }
        let settled = self.settle(shard, fence, &done).await?;
        if settled {
            desk.sweep.strike();
        }
        Ok(settled)
    }

    /// Strikes off entries that nobody can carry out; false if another node has become the owner.
    async fn throw_out(
        &self,
        shard: u16,
        fence: &Fence,
        foreign: &[Vec<u8>],
        desk: &mut Desk,
    ) -> Result<bool> {
        let core = &self.behind.core;
        let Some(first) = foreign.first() else { return Ok(true) };
        if !core.ledger.settle(shard, fence, &[], foreign, &[]).await? {
            return Ok(false);
        }
        desk.sweep.strike();
        core.counts.corrupt.fetch_add(foreign.len() as u64, Relaxed);
        let (count, first) = (foreign.len(), String::from_utf8_lossy(first));
        tracing::error!(shard, count, %first, "Entries among the writes were foreign or damaged: they are struck off.");
        Ok(true)
    }

    fn write_of(&self, work: &Work) -> Result<Write<K, V>> {
        let unreadable = |what: &'static str| Error::new(ErrorKind::Corrupt, what);
        let key =
            (self.parse_key)(&work.last.key).ok_or_else(|| unreadable("the key cannot be read back"))?;
        let max_bytes = self.behind.core.ledger.shared().max_bytes();
        let Slot::Value(Envelope { payload, codec, .. }) = Slot::decode(&work.last.slot, max_bytes)? else {
            return Err(unreadable("the operation has no value"));
        };
        if codec != self.codec.id() {
            return Err(unreadable("the value was written with another codec"));
        }
        let value = payload.map(|payload| self.codec.decode(&payload)).transpose()?;
        Ok(Write { key, value, version: work.last.version })
    }

    /// One call of the sink, under its deadline; as many outcomes as writes.
    async fn apply(&self, writes: &[Write<K, V>]) -> Vec<Result<()>> {
        let applying = AssertUnwindSafe(self.sink.apply(writes)).catch_unwind();
        let all = |error: &Error| writes.iter().map(|_| Err(error.clone())).collect();
        match timeout(self.behind.core.settings.apply_deadline, applying).await {
            Ok(Ok(outcomes)) if outcomes.len() == writes.len() => {
                let applied = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
                self.behind.core.counts.applied.fetch_add(applied as u64, Relaxed);
                outcomes
            }
            Ok(Ok(_)) => all(&miscounted()),
            Ok(Err(_)) => all(&Error::new(ErrorKind::Source, "the sink panicked")),
            Err(_) => all(&Error::new(ErrorKind::Timeout, "the sink did not answer before its deadline")),
        }
    }

    /// The sink did not take a key's last operation: it is tried again later, or becomes a dead letter. False if another node
    /// has become the owner.
    async fn trouble(
        &self,
        shard: u16,
        fence: &Fence,
        work: Work,
        error: Error,
        desk: &mut Desk,
    ) -> Result<bool> {
        let core = &self.behind.core;
        let key = work.last.key;
        let trouble = desk.troubles.entry(key.clone()).or_insert_with(|| Trouble {
            refusals: 0,
            tries: 0,
            not_before: Instant::now(),
        });
        trouble.tries += 1;
        let is_away = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Full);
        if !is_away {
            trouble.refusals += 1;
        }
        if trouble.refusals >= core.settings.attempts {
            let letter = Letter {
                version: work.last.version,
                died_unix_ms: core.clock.unix_ms(),
                attempts: trouble.refusals,
                error: error.to_string(),
                slot: work.last.slot,
            };
            let buried =
                core.ledger.bury(shard, fence, &key, &letter, &work.versions, core.settings.backlog).await?;
            if buried == Buried::Done {
                desk.sweep.strike();
                tracing::error!(key, version = letter.version, %error, "A write that was acknowledged is a dead letter now.");
                desk.troubles.remove(&key);
                core.counts.buried.fetch_add(1, Relaxed);
                return Ok(true);
            }
            if buried == Buried::Fenced {
                return Ok(false);
            }
        }
        core.counts.retried.fetch_add(1, Relaxed);
        trouble.not_before = Instant::now() + backoff(core.settings.retry_pause, trouble.tries);
        Ok(true)
    }

    /// Strikes off what the sink has taken; false if another node has become the owner.
    async fn settle(&self, shard: u16, fence: &Fence, done: &[Work]) -> Result<bool> {
        let core = &self.behind.core;
        let mut keys = Vec::with_capacity(done.len());
        let mut texts = Vec::with_capacity(done.len());
        for work in done {
            let slot = Slot::decode(&work.last.slot, core.ledger.shared().max_bytes())?;
            let (Slot::Value(envelope), Some(header)) =
                (slot, settled_header(&work.last.slot, core.clock.unix_ms(), work.last.acked))
            else {
                return Err(Error::new(ErrorKind::Corrupt, "an operation has no value"));
            };
            let (key, keep_ms) = (work.last.key.as_str(), envelope.life.keep_ms().max(1));
            let (version, acked) = (work.last.version, work.last.acked);
            keys.push(Settled { key, version, acked, header, keep_ms });
            texts.push(work.last.key.clone());
        }
        let ids: Vec<_> =
            done.iter().flat_map(|work| &work.versions).map(|version| Op::id(*version)).collect();
        let event = Event { node: NOBODY, change: keys_change(&texts) }.encode();
        let settled = core.ledger.settle(shard, fence, &keys, &ids, &event).await?;
        if settled {
            core.counts.taken.fetch_add(ids.len() as u64, Relaxed);
        }
        Ok(settled)
    }
}

fn miscounted() -> Error {
    Error::new(ErrorKind::Source, "the sink gave another number of outcomes than there were writes")
}

/// Doubles with every try, and is shortened at random by up to half.
fn backoff((first, longest): (Duration, Duration), tries: u32) -> Duration {
    let pause = first.saturating_mul(1 << tries.saturating_sub(1).min(20)).min(longest);
    pause.mul_f64(dice().random_range(0.5..=1.0))
}
