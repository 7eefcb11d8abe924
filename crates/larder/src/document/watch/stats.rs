//! What a watch has seen and where it stands.

use std::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;

use super::change::{Batch, ChangeKind};
use crate::{Clock, SystemClock};

/// How long the lag of a change is shown: longer than figures are usually collected apart.
const LAG_SHOWN_MS: u64 = 15_000;

/// What a node does for a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WatchRole {
    /// It has not got so far yet.
    Starting,
    /// It follows the change stream on behalf of all nodes.
    Leading,
    /// It polls on behalf of all nodes.
    Polling,
    /// Another node does.
    Standby,
    /// Nobody can: the database has no change streams, and the collection names no field to poll.
    Unsupported,
    /// It was stopped.
    Stopped,
}

impl WatchRole {
    const ALL: [Self; 6] =
        [Self::Starting, Self::Leading, Self::Polling, Self::Standby, Self::Unsupported, Self::Stopped];

    /// A stable name, used in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Leading => "leading",
            Self::Polling => "polling",
            Self::Standby => "standby",
            Self::Unsupported => "unsupported",
            Self::Stopped => "stopped",
        }
    }

    /// Whether this node is the one that applies changes.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Leading | Self::Polling)
    }
}

/// What this node's watch of one collection has done since it started.
#[derive(Clone, Debug)]
pub struct WatchStats {
    /// The collection's name in the database.
    pub collection: String,
    /// What this node does for it now.
    pub role: WatchRole,
    /// Changes that were applied, by kind, in the order of [`ChangeKind::ALL`].
    pub changes: [u64; ChangeKind::ALL.len()],
    /// Documents that were invalidated for them.
    pub invalidated: u64,
    /// Changes of documents whose id is not of the declared kind.
    pub foreign: u64,
    /// How often everything was forgotten, for whatever reason.
    pub clears: u64,
    /// How often the database had lost the history.
    pub history_lost: u64,
    /// How often changes were applied again because Redis had lost something.
    pub rewinds: u64,
    /// How often another node had taken over in the meantime.
    pub replaced: u64,
    /// Failures of the database or of Redis that were tried again.
    pub failures: u64,
    /// From the last change in the database to its having been applied, by the two wall clocks; zero when there was none for
    /// a quarter of a minute. `None` on a node that applies nothing.
    pub lag: Option<Duration>,
    /// The longest such time.
    pub longest_lag: Duration,
    /// Since the database was last heard of, changes or not. `None` on a node that applies nothing. More than a few seconds
    /// mean that changes are not seen.
    pub silent_for: Option<Duration>,
    /// What went wrong last, until it goes well again.
    pub trouble: Option<String>,
}

impl WatchStats {
    /// How many changes of this kind were applied.
    pub fn changes_of(&self, kind: ChangeKind) -> u64 {
        self.changes[kind as usize]
    }
}

/// The counters behind [`WatchStats`].
#[derive(Debug, Default)]
pub(super) struct Figures {
    role: AtomicU8,
    changes: [AtomicU64; ChangeKind::ALL.len()],
    invalidated: AtomicU64,
    foreign: AtomicU64,
    pub(super) clears: AtomicU64,
    pub(super) history_lost: AtomicU64,
    pub(super) rewinds: AtomicU64,
    pub(super) replaced: AtomicU64,
    failures: AtomicU64,
    lag_ms: AtomicU64,
    longest_lag_ms: AtomicU64,
    lagged_ms: AtomicU64,
    heard_ms: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Figures {
    pub(super) fn become_(&self, role: WatchRole) {
        self.role.store(role as u8, Relaxed);
    }

    /// The database spoke, and what it said is applied.
    pub(super) fn applied(&self, batch: &Batch, ids: usize) {
        for (sum, count) in self.changes.iter().zip(batch.kinds) {
            sum.fetch_add(count, Relaxed);
        }
        self.invalidated.fetch_add(ids as u64, Relaxed);
        self.foreign.fetch_add(batch.foreign, Relaxed);
        self.clears.fetch_add(batch.clears.into(), Relaxed);
        if let Some(at_ms) = batch.newest_unix_ms {
            let lag_ms = SystemClock.unix_ms().saturating_sub(at_ms);
            self.lag_ms.store(lag_ms, Relaxed);
            self.longest_lag_ms.fetch_max(lag_ms, Relaxed);
            self.lagged_ms.store(SystemClock.monotonic_ms(), Relaxed);
        }
        self.heard();
    }

    pub(super) fn heard(&self) {
        self.heard_ms.store(SystemClock.monotonic_ms(), Relaxed);
    }

    /// All that was heard is applied, and acknowledged.
    pub(super) fn went_well(&self) {
        *self.trouble.lock() = None;
    }

    /// Notes a failure. Returns whether it is the first since things went well.
    pub(super) fn failed(&self, what: &str) -> bool {
        self.failures.fetch_add(1, Relaxed);
        self.trouble.lock().replace(what.to_owned()).is_none()
    }

    pub(super) fn snapshot(&self, collection: &str) -> WatchStats {
        let role = WatchRole::ALL.get(usize::from(self.role.load(Relaxed))).copied();
        let role = role.unwrap_or(WatchRole::Starting);
        let ms = |counter: &AtomicU64| Duration::from_millis(counter.load(Relaxed));
        let since_ms = |moment: &AtomicU64| SystemClock.monotonic_ms().saturating_sub(moment.load(Relaxed));
        let lag = if since_ms(&self.lagged_ms) < LAG_SHOWN_MS { ms(&self.lag_ms) } else { Duration::ZERO };
        WatchStats {
            collection: collection.to_owned(),
            role,
            changes: std::array::from_fn(|kind| self.changes[kind].load(Relaxed)),
            invalidated: self.invalidated.load(Relaxed),
            foreign: self.foreign.load(Relaxed),
            clears: self.clears.load(Relaxed),
            history_lost: self.history_lost.load(Relaxed),
            rewinds: self.rewinds.load(Relaxed),
            replaced: self.replaced.load(Relaxed),
            failures: self.failures.load(Relaxed),
            lag: role.is_active().then_some(lag),
            longest_lag: ms(&self.longest_lag_ms),
            silent_for: role.is_active().then(|| Duration::from_millis(since_ms(&self.heard_ms))),
            trouble: self.trouble.lock().clone(),
        }
    }
}
