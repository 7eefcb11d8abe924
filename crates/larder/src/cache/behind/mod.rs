//! Write-behind: a write is acknowledged by Redis and reaches the sink a moment later.
//!
//! [`Cache::put`](crate::Cache::put) and [`Cache::remove`](crate::Cache::remove) run one script that sets the value in its
//! slot and appends the operation to the stream of its shard. From then on every node reads the new value, and it stays,
//! without expiry and whatever is invalidated, until the sink has it. One node at a time *owns* a shard's stream: it reads a
//! batch, keeps the last operation of each key, hands those to [`Sink::apply`](crate::source::Sink::apply), and strikes them
//! off. An owner that dies is replaced when its lease runs out, and the next one begins with what was not struck off.
//!
//! # What is promised
//! - Every acknowledged operation, or a later one of its key, is handed to the sink **at least once**, whoever is killed when.
//! - When nothing is pending any more, the sink has, for each key, the last acknowledged operation, provided that it does as
//!   [`Sink::apply`](crate::source::Sink::apply) asks.
//! - What Redis loses is lost: see the table in `docs/write-behind.md`. Redis must not evict keys; a put is refused with
//!   `ErrorKind::Config` if it would.
//!
//! # When Redis is down
//! Writes fail at once with `ErrorKind::Unavailable`. Reads go to the source, which may not have the last writes yet. What
//! was acknowledged is carried out when Redis is back.
//!
//! # When the sink is down
//! Writes are acknowledged until the backlog is full; then each waits until the sink has it, and fails with
//! `ErrorKind::Timeout` or, past twice the backlog, with `ErrorKind::Full`.

mod attach;
mod dead;
mod flush;
mod op;
mod put;
mod settings;
mod shared;
mod sweep;
mod wake;
mod worker;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use self::shared::Ledger;
pub use self::{
    attach::BehindPlace,
    dead::{DeadLetter, Replayed},
    settings::WriteBehind,
};
#[cfg(any(test, fuzzing))]
pub(crate) use self::{
    op::Letter,
    shared::{batch_of, letters_of},
};
pub(crate) use self::{
    wake::Wake,
    worker::{ParseKey, Worker},
};
use crate::{
    cache::{coherence::Coherence, shared::Shared},
    clock::Time,
};

/// Who writes an event that no node has applied yet.
const NOBODY: u64 = 0;
/// The pauses between two looks at whether something is done.
const LOOK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(25));

/// The operations of one cache that the sink does not have yet: what is pending, and what it refused. Cheap to clone.
///
/// Made by [`Cache::behind`](crate::Cache::behind).
#[derive(Clone)]
pub struct Behind {
    core: Arc<Core>,
}

struct Core {
    settings: WriteBehind,
    ledger: Ledger,
    coherence: Arc<Coherence>,
    wakes: Box<[Wake]>,
    clock: Time,
    /// The connection on which Redis last said that it does not evict.
    checked: AtomicU64,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    acknowledged: AtomicU64,
    taken: AtomicU64,
    applied: AtomicU64,
    retried: AtomicU64,
    buried: AtomicU64,
    waited: AtomicU64,
    fenced: AtomicU64,
    corrupt: AtomicU64,
}

/// How far behind the sink is.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BehindStats {
    /// Operations in Redis that are not struck off yet, of all nodes.
    pub backlog: u64,
    /// How long ago the oldest of them was acknowledged, by this node's clock.
    pub lag: Duration,
    /// Dead letters, of all nodes.
    pub dead_letters: u64,
    /// Operations that Redis has acknowledged to this node.
    pub acknowledged: u64,
    /// Operations that this node has struck off as their owner.
    pub taken: u64,
    /// Writes that this node's sink has carried out for them: fewer, since only the last operation of a key counts.
    pub applied: u64,
    /// Writes that the sink refused or did not answer, and that are tried again.
    pub retried: u64,
    /// Operations that this node has put among the dead letters.
    pub buried: u64,
    /// Writes that had to wait for the sink because the backlog was full.
    pub waited: u64,
    /// Batches whose outcome was thrown away because another node had become the owner.
    pub fenced: u64,
}

impl Behind {
    pub(crate) fn new(
        settings: WriteBehind,
        shared: Arc<Shared>,
        coherence: Arc<Coherence>,
        node: u64,
        clock: Time,
    ) -> Self {
        let wakes = (0..coherence.shards()).map(|_| Wake::default()).collect();
        let (ledger, checked) = (Ledger::new(shared, node), AtomicU64::new(0));
        let counts = Counts::default();
        Self { core: Arc::new(Core { settings, ledger, coherence, wakes, clock, checked, counts }) }
    }

    pub(crate) fn shards(&self) -> u16 {
        self.core.coherence.shards()
    }

    /// How many entries among the operations were foreign or damaged, and were struck off by this node.
    pub(crate) fn corrupt(&self) -> u64 {
        self.core.counts.corrupt.load(Relaxed)
    }

    /// Something was written to this shard, here or elsewhere.
    pub(crate) fn heard(&self, shard: u16) {
        self.core.wakes[usize::from(shard)].wake();
    }

    /// Tells the workers to give up their shards.
    pub(crate) fn close(&self) {
        self.core.wakes.iter().for_each(Wake::close);
    }
}

impl fmt::Debug for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behind").field("settings", &self.core.settings).finish_non_exhaustive()
    }
}
