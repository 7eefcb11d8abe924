//! Judging reads in simulated time, as `larder_testkit::history` does in real time.

use parking_lot::Mutex;

use super::{KEYS, NODES, journal::Journal, node::STALE_AT_ALL};
use crate::{
    Result,
    cache::{Consistency, Read, Served},
    redis::simulated::World,
};

/// The database of numbers that only grow, and what was acknowledged of them.
pub(super) struct Checker {
    world: World,
    consistency: Consistency,
    /// Whether it refuses some loads.
    may_fail: bool,
    pub(super) journal: Journal,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    numbers: [u64; KEYS],
    acknowledged: Vec<Acknowledged>,
    near: u64,
    shared: u64,
    marked: u64,
    stale: Option<String>,
}

/// What becomes of what was there before a number grew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// It is gone.
    Gone,
    /// It is stale: served by nobody who does not say so, and soon by nobody at all.
    Stale,
}

/// Which nodes are held to a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// All of them, once Redis has acknowledged it.
    Everywhere,
    /// The one that gave it: it is owed, or not all the others have heard of it.
    Here,
    Nowhere,
}

/// What has grown to which numbers, and what was promised then.
pub(super) struct Written {
    pub(super) numbers: Vec<(usize, u64)>,
    pub(super) promise: Promise,
    pub(super) holds: Holds,
}

struct Acknowledged {
    key: usize,
    number: u64,
    node: usize,
    at_ms: u64,
    promise: Promise,
    is_everywhere: bool,
}

/// When and where a read began.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    pub(super) node: usize,
    pub(super) at_ms: u64,
}

impl Checker {
    pub(super) fn new(world: World, consistency: Consistency, may_fail: bool) -> Self {
        let journal = Journal::new(world.clone());
        Self { world, consistency, may_fail, journal, state: Mutex::default() }
    }

    pub(super) fn may_fail(&self) -> bool {
        self.may_fail
    }

    pub(super) fn number(&self, key: usize) -> u64 {
        self.state.lock().numbers[key]
    }

    pub(super) fn grow(&self, key: usize) -> u64 {
        let mut state = self.state.lock();
        state.numbers[key] += 1;
        state.numbers[key]
    }

    /// What made these numbers known has returned on `node`.
    pub(super) fn returned(&self, written: &Written, node: usize) {
        let Written { numbers, promise, holds } = written;
        let at_ms = self.world.now_ms();
        for &(key, number) in numbers {
            self.journal
                .note(&format!("node {node} knows that {key} is {number}, before it {promise:?} {holds:?}"));
            if *holds != Holds::Nowhere {
                let (promise, is_everywhere) = (*promise, *holds == Holds::Everywhere);
                self.state.lock().acknowledged.push(Acknowledged {
                    key,
                    number,
                    node,
                    at_ms,
                    promise,
                    is_everywhere,
                });
            }
        }
    }

    /// A read of `key` that began like this came to its end.
    pub(super) fn has_read(&self, key: usize, begun: Begun, read: &Read<u64>) {
        debug_assert!(begun.node < NODES);
        let number = **read.value.as_ref().expect("every key has a number");
        let mut state = self.state.lock();
        state.near += u64::from(read.served == Served::Near);
        state.shared += u64::from(read.served == Served::Shared);
        state.marked += u64::from(read.stale);
        // Two events of one millisecond have no order.
        let misses = |ack: &&Acknowledged| {
            let binds = self.binds_from_ms(ack, begun.node, read.stale);
            ack.key == key && ack.number > number && binds.is_some_and(|from_ms| from_ms < begun.at_ms)
        };
        if let Some(ack) = state.acknowledged.iter().find(misses)
            && state.stale.is_none()
        {
            let said = format!(
                "{:?}: node {} read {number} of {key} from {:?}, marked: {}, beginning at {} ms; node {} knew of {} at {} ms, \
                 and before it {:?}; before:\n{}",
                self.consistency,
                begun.node,
                read.served,
                read.stale,
                begun.at_ms,
                ack.node,
                ack.number,
                ack.at_ms,
                ack.promise,
                self.journal,
            );
            state.stale = Some(said);
        }
    }

    /// From when on a read that begins on `node` must not miss this, `marked` as stale or not; `None` if nobody promised that.
    fn binds_from_ms(&self, ack: &Acknowledged, node: usize, marked: bool) -> Option<u64> {
        let is_own = ack.node == node;
        let bound_ms = match self.consistency {
            _ if is_own => 0,
            Consistency::Bounded(bound) => bound.as_millis() as u64,
            Consistency::Strict(_) => 0,
            Consistency::Local => u64::MAX,
        };
        // Where the database fails, a node may serve what it does not know to be gone.
        let may_not_know = !is_own && marked && self.may_fail;
        if may_not_know || !(is_own || ack.is_everywhere) {
            return None;
        }
        let may_be_ms = match ack.promise {
            Promise::Stale if marked => bound_ms.max(STALE_AT_ALL.as_millis() as u64),
            Promise::Gone | Promise::Stale => bound_ms,
        };
        Some(ack.at_ms.saturating_add(may_be_ms))
    }

    pub(super) fn is_well(&self) -> bool {
        self.state.lock().stale.is_none()
    }

    /// How many reads each tier has answered, the lesser of the two, or twice as many as were marked as stale if that is less; or the
    /// first one that missed something. What the source answers shows nothing.
    pub(super) fn verdict(&self) -> Result<u64, String> {
        let mut state = self.state.lock();
        state.stale.take().map_or(Ok(state.near.min(state.shared).min(2 * state.marked)), Err)
    }
}
