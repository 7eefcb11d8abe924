//! What went over the wire, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use super::breaker::BreakerState;
use crate::stripe::Tally;

/// Counters since the handle was made, over all its clones and all primaries.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisStats {
    /// Requests sent; a pipeline is one.
    pub round_trips: u64,
    /// Requests whose deadline passed.
    pub timeouts: u64,
    /// Requests that failed because the connection broke under them.
    pub lost: u64,
    /// Error replies of the server.
    pub refused: u64,
    /// Requests refused at once, because there was no connection or the breaker was open.
    pub unavailable: u64,
    /// Connections made, the first included.
    pub connects: u64,
    /// Scripts sent again with their source, because the server had forgotten them.
    pub scripts_healed: u64,
}

/// How one primary does.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimaryStatus {
    /// `host:port`, if it was ever connected.
    pub address: Option<String>,
    /// Whether it is connected now.
    pub connected: bool,
    /// What its breaker lets through.
    pub breaker: BreakerState,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Every call counts up this one.
    pub(super) round_trips: Tally,
    pub(super) timeouts: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) unavailable: AtomicU64,
    pub(super) connects: AtomicU64,
    /// How often a cluster got another primary.
    pub(super) takeovers: AtomicU64,
    pub(super) scripts_healed: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> RedisStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RedisStats {
            round_trips: self.round_trips.sum(),
            timeouts: read(&self.timeouts),
            lost: read(&self.lost),
            refused: read(&self.refused),
            unavailable: read(&self.unavailable),
            connects: read(&self.connects),
            scripts_healed: read(&self.scripts_healed),
        }
    }
}
