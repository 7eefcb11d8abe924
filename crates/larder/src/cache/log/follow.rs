//! Following the log: this node applies the invalidations of all nodes in their order, and knows when it has not.
//!
//! Messages bring them as they happen. They may be lost, late or repeated, so nothing is believed of them but the next
//! number of the sequence. Every interval the sequence itself is read: what is missing is read from the log, and what the
//! log no longer has makes this node forget its copies of the shard. Each such look extends, from the moment it began, the
//! time for which copies may be served. A node that cannot look stops serving them by itself.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    sync::Mutex,
    time::{MissedTickBehavior, interval},
};

use crate::{
    Error, ErrorKind, Result,
    cache::{
        Consistency,
        behind::Behind,
        coherence::{Coherence, Position},
        event::{Change, Event, Message, decode_message},
        recent::Recent,
        shared::Shared,
        unsent::Debt,
    },
    clock::Time,
    redis::{Channel, PushEvent},
};

/// How many entries of the log one read brings.
const PAGE: usize = 500;

/// Keeps what is owed, withdraws trust in Redis about it, and sends it until Redis acknowledges it.
type Owe = Box<dyn Fn(&[Debt]) + Send + Sync>;

/// Keeps one node's view of one cache in step.
pub(crate) struct Follower {
    coherence: Arc<Coherence>,
    shared: Arc<Shared>,
    clock: Time,
    node: u64,
    interval: Duration,
    shards: Box<[Shard]>,
    consistency: Consistency,
    /// Whose workers want to know that something was written.
    behind: Option<Behind>,
    recent: Recent,
    /// Set when the cache is built that this follows for.
    owe: OnceLock<Owe>,
}

/// What the follower remembers of a shard.
#[derive(Debug, Default)]
struct Shard {
    one_at_a_time: Mutex<()>,
    /// The connection that was looked through last; another one may be to a server that has lost something.
    connection: AtomicU64,
    /// By the clock: for how long the last look counts, whatever copies may be served without one.
    known_until_ms: AtomicU64,
}

impl Follower {
    pub(crate) fn new(
        coherence: Arc<Coherence>,
        shared: Arc<Shared>,
        clock: Time,
        node: u64,
        consistency: Consistency,
        behind: Option<Behind>,
        failover_window: Duration,
    ) -> Self {
        let shards = (0..coherence.shards()).map(|_| Shard::default()).collect();
        let interval = consistency.bound() / 2;
        let recent = Recent::new(coherence.shards(), failover_window);
        let owe = OnceLock::new();
        Self { coherence, shared, clock, node, interval, shards, consistency, behind, recent, owe }
    }

    /// What is owed again after a failover is owed in this way.
    pub(crate) fn owes_by(&self, owe: impl Fn(&[Debt]) + Send + Sync + 'static) {
        let _ = self.owe.set(Box::new(owe));
    }

    /// Redis has acknowledged these with this position; should the shard have left that epoch, or leave it soon, they are owed again.
    pub(crate) fn note_acknowledged(&self, shard: u16, at: Position, debts: Vec<Debt>) {
        let lost = self.recent.note(shard, at.epoch, debts, self.clock.monotonic_ms());
        self.owe_again(&lost);
    }

    fn owe_again(&self, lost: &[Debt]) {
        if !lost.is_empty()
            && let Some(owe) = self.owe.get()
        {
            owe(lost);
        }
    }

    /// Follows until it is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let channels: Vec<Channel> =
            (0..self.coherence.shards()).map(|shard| self.shared.channel(shard).into()).collect();
        let mut messages = self.shared.redis().subscribe(channels.iter().cloned());
        let shard_of =
            |channel: &Channel| channels.iter().position(|known| known == channel).map(|at| at as u16);
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // The look first: it is due seldom, and messages are at hand often.
            tokio::select! {
                biased;
                _ = ticks.tick() => {
                    // A shard that cannot be looked at is not served for longer than it was; no more needs to be done.
                    let _ = join_all((0..self.coherence.shards()).map(|shard| self.sync(shard))).await;
                }
                event = messages.next() => match event {
                    None => return,
                    Some(PushEvent::Message { channel, payload }) => {
                        if let Some(shard) = shard_of(&channel) {
                            self.hear(shard, &payload).await;
                        }
                    }
                    // Messages may have been missed: look at once.
                    Some(PushEvent::Subscribed(channel)) => {
                        if let Some(shard) = shard_of(&channel) {
                            let _ = self.sync(shard).await;
                        }
                    }
                    // The copies stay good until their time runs out.
                    Some(_) => {}
                },
            }
        }
    }

    /// Brings the shard up to date, if it is not. For readers who find it out of step.
    ///
    /// # Errors
    /// If Redis cannot be asked.
    pub(crate) async fn ensure_synced(&self, shard: u16) -> Result<()> {
        if self.coherence.is_synced(shard, self.clock.monotonic_ms()) {
            return Ok(());
        }
        // Boxed, because every look at Redis has room for this call, and few make it.
        Box::pin(self.sync(shard)).await
    }

    /// Whether the shard was looked at within the bound.
    pub(crate) fn knows(&self, shard: u16) -> bool {
        self.clock.monotonic_ms() < self.shards[usize::from(shard)].known_until_ms.load(Ordering::Acquire)
    }

    /// Looks at the shard, if that was not done within the bound.
    ///
    /// # Errors
    /// If Redis cannot be asked.
    pub(crate) async fn ensure_known(&self, shard: u16) -> Result<()> {
        if self.knows(shard) { Ok(()) } else { self.sync(shard).await }
    }

    /// To be called after Redis has said something, before it is believed. On a new connection may be a server that has
    /// lost what the last one had acknowledged: one restarted with an old snapshot, or a replica that was behind. Then the
    /// shard is looked at again, which begins a new epoch. Returns whether that was needed.
    ///
    /// # Errors
    /// If Redis cannot be asked.
    pub(crate) async fn recheck(&self, shard: u16) -> Result<bool> {
        let connection = self.shards[usize::from(shard)].connection.load(Ordering::Acquire);
        if connection == self.shared.redis().generation() {
            return Ok(false);
        }
        Box::pin(self.sync(shard)).await.map(|()| true)
    }

    /// Reads where the shard stands and applies what is missing. One round trip, and one for each page of the log; with strict
    /// consistency one more, and the same again for a node that had fallen silent.
    pub(crate) async fn sync(&self, shard: u16) -> Result<()> {
        let _one_at_a_time = self.shards[usize::from(shard)].one_at_a_time.lock().await;
        // After a silence nobody has waited for this node. The first word makes them wait; what they had done before it, the second
        // look brings.
        for _ in 0..2 {
            let begun_ms = self.clock.monotonic_ms();
            self.look(shard, begun_ms).await?;
            if self.beat(shard).await? {
                let known_until_ms = begun_ms + self.consistency.bound().as_millis() as u64;
                self.shards[usize::from(shard)].known_until_ms.store(known_until_ms, Ordering::Release);
                let is_local = self.consistency == Consistency::Local;
                self.coherence.sync_until(shard, if is_local { u64::MAX } else { known_until_ms });
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Timeout, "a look took longer than this node may serve without a word"))
    }

    /// Under the shard's lock.
    async fn look(&self, shard: u16, begun_ms: u64) -> Result<()> {
        let seen = &self.shards[usize::from(shard)];
        let connection = self.shared.redis().generation();
        let reconnected = connection != seen.connection.load(Ordering::Acquire);
        let glance = if reconnected { None } else { self.shared.glance(shard).await? };
        let at = self.coherence.position(shard);
        // A sequence that went back within its epoch is another server's, even if no connection told so.
        let went_back =
            glance.as_ref().is_some_and(|marks| marks.at.epoch == at.epoch && marks.at.seq < at.seq);
        let marks = match glance {
            Some(marks) if !went_back => marks,
            _ => self.shared.marks(shard, &[], reconnected || went_back).await?,
        };
        let at = self.coherence.position(shard);
        if reconnected || marks.at.epoch != at.epoch || marks.at.seq < at.seq {
            if marks.at.epoch != at.epoch {
                // Before anything is believed that the shard says in the new one.
                self.owe_again(&self.recent.leave(shard, at.epoch, begun_ms));
            }
            self.coherence.begin(shard, marks.at, marks.cleared);
        } else if marks.at.seq > at.seq {
            self.catch_up(shard, marks.at, marks.cleared).await?;
        }
        seen.connection.store(connection, Ordering::Release);
        Ok(())
    }

    /// This node made the invalidation with this number and has applied it. If it is the next one, there is no need to
    /// hear of it. Returns false if something before it is not known here yet: the message, or the next look, will put
    /// things in order. Waits while another thing is being applied.
    ///
    /// What is broad is applied once more: a look that was under way meanwhile may have set the shard back to before it.
    pub(crate) async fn took_part(&self, shard: u16, at: Position, change: &Change) -> bool {
        let _one_at_a_time = self.shards[usize::from(shard)].one_at_a_time.lock().await;
        let seen = self.coherence.position(shard);
        if at.epoch == seen.epoch && at.seq == seen.seq + 1 {
            self.take_broad(shard, at.seq, change);
            self.coherence.advance(shard, at.seq);
        }
        self.coherence.has_applied(shard, at)
    }

    /// Says what this node has applied. Returns whether it may serve on the strength of it.
    async fn beat(&self, shard: u16) -> Result<bool> {
        let Consistency::Strict(bound) = self.consistency else { return Ok(true) };
        self.shared.beat(shard, self.node, self.coherence.position(shard), bound).await
    }

    /// Applies the log up to `target`, or forgets the shard if the log does not reach back far enough.
    async fn catch_up(&self, shard: u16, target: Position, cleared: u64) -> Result<()> {
        self.coherence.gaps.fetch_add(1, Ordering::Relaxed);
        loop {
            let next = self.coherence.position(shard).seq + 1;
            if next > target.seq {
                return Ok(());
            }
            let page = self.shared.log_from(shard, next, PAGE).await?;
            if page.first().is_none_or(|(seq, _)| *seq != next) {
                self.coherence.begin(shard, target, cleared);
                return Ok(());
            }
            for (seq, event) in page {
                if self.apply(shard, seq, &event).is_err() {
                    self.coherence.begin(shard, target, cleared);
                    return Ok(());
                }
            }
        }
    }

    /// A message: applied if it is the next one, ignored if it is an old one, else a reason to look.
    async fn hear(&self, shard: u16, payload: &[u8]) {
        let (at, event) = match decode_message(payload) {
            Ok(Message::Event(at, event)) => (at, event),
            Ok(Message::Filled(hash)) => return self.shared.waiters.tell(hash),
            Err(_) => {
                let _ = self.sync(shard).await;
                return;
            }
        };
        {
            let _one_at_a_time = self.shards[usize::from(shard)].one_at_a_time.lock().await;
            let seen = self.coherence.position(shard);
            if at.epoch == seen.epoch && at.seq <= seen.seq {
                return;
            }
            if at.epoch == seen.epoch && at.seq == seen.seq + 1 {
                self.take(shard, at.seq, &event);
                // Whoever waits for this node is told; if that fails, the next look tells it, or its time runs out.
                let _ = self.beat(shard).await;
                return;
            }
        }
        let _ = self.sync(shard).await;
    }

    fn apply(&self, shard: u16, seq: u64, event: &[u8]) -> Result<()> {
        if seq != self.coherence.position(shard).seq + 1 {
            return Err(Error::new(ErrorKind::Corrupt, "the log has a gap"));
        }
        self.take(shard, seq, &Event::decode(event)?);
        Ok(())
    }

    fn take(&self, shard: u16, seq: u64, event: &Event) {
        if let Some(behind) = &self.behind {
            behind.heard(shard);
        }
        match &event.change {
            Change::Keys(hashes) => {
                // Applied before and after it was sent; once more would only cost the copies made since.
                if event.node != self.node {
                    hashes.iter().for_each(|hash| self.coherence.forget_hash(*hash));
                }
                // The leases that they waited for are gone.
                hashes.iter().for_each(|hash| self.shared.waiters.tell(*hash));
            }
            broad => self.take_broad(shard, seq, broad),
        }
        self.coherence.advance(shard, seq);
    }

    /// What concerns more than the keys it names. Under the shard's lock, so that the epoch stands.
    fn take_broad(&self, shard: u16, seq: u64, change: &Change) {
        let at = Position { seq, ..self.coherence.position(shard) };
        match change {
            Change::Keys(_) => {}
            Change::Tag(tag) => self.coherence.purge_tag(shard, *tag, at),
            Change::Clear => self.coherence.clear(shard, at),
            Change::Flush => self.coherence.forget_shard(shard),
        }
    }
}
