//! Judging reads in simulated time, as `larder_testkit::history` does in real time.

use parking_lot::Mutex;

use super::{KEYS, NODES, journal::Journal};
use crate::{
    cache::{Consistency, Served},
    redis::simulated::World,
};

/// The database of numbers that only grow, and what was acknowledged of them.
pub(super) struct Checker {
    world: World,
    consistency: Consistency,
    pub(super) journal: Journal,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    numbers: [u64; KEYS],
    acknowledged: Vec<Acknowledged>,
    near: u64,
    shared: u64,
    stale: Option<String>,
}

struct Acknowledged {
    key: usize,
    number: u64,
    node: usize,
    at_ms: u64,
    /// Whether other nodes may be held to it.
    by_redis: bool,
}

impl Checker {
    pub(super) fn new(world: World, consistency: Consistency) -> Self {
        let journal = Journal::new(world.clone());
        Self { world, consistency, journal, state: Mutex::default() }
    }

    pub(super) fn number(&self, key: usize) -> u64 {
        self.state.lock().numbers[key]
    }

    pub(super) fn grow(&self, key: usize) -> u64 {
        let mut state = self.state.lock();
        state.numbers[key] += 1;
        state.numbers[key]
    }

    /// An invalidation has returned on `node`; with an error unless `by_redis`, and then the node itself is held to it all
    /// the same.
    pub(super) fn returned(&self, written: &[(usize, u64)], node: usize, by_redis: bool) {
        let at_ms = self.world.now_ms();
        for &(key, number) in written {
            self.journal.note(&format!("node {node} knows that {key} is {number}, by Redis: {by_redis}"));
            self.state.lock().acknowledged.push(Acknowledged { key, number, node, at_ms, by_redis });
        }
    }

    /// A read of `key` on `node` that began at `begun_ms` returned `number`.
    pub(super) fn has_read(&self, key: usize, node: usize, begun_ms: u64, number: u64, from: Option<Served>) {
        debug_assert!(node < NODES);
        let mut state = self.state.lock();
        state.near += u64::from(from == Some(Served::Near));
        state.shared += u64::from(from == Some(Served::Shared));
        let bound_ms = match self.consistency {
            Consistency::Bounded(bound) => bound.as_millis() as u64,
            Consistency::Strict(_) => 0,
            Consistency::Local => u64::MAX,
        };
        // Two events of one millisecond have no order.
        let misses = |ack: &&Acknowledged| {
            let may_be_ms = if ack.node == node { 0 } else { bound_ms };
            let concerns = ack.node == node || ack.by_redis;
            concerns && ack.key == key && ack.number > number && ack.at_ms + may_be_ms < begun_ms
        };
        if let Some(ack) = state.acknowledged.iter().find(misses)
            && state.stale.is_none()
        {
            let said = format!(
                "{:?}: node {node} read {number} of {key} from {from:?}, beginning at {begun_ms} ms; node {} knew of {} at {} ms; before:\n{}",
                self.consistency, ack.node, ack.number, ack.at_ms, self.journal,
            );
            state.stale = Some(said);
        }
    }

    pub(super) fn is_well(&self) -> bool {
        self.state.lock().stale.is_none()
    }

    /// How many reads each tier has answered, the lesser of the two; or the first stale one. What the source answers shows nothing.
    pub(super) fn verdict(&self) -> Result<u64, String> {
        let mut state = self.state.lock();
        state.stale.take().map_or(Ok(state.near.min(state.shared)), Err)
    }
}
