//! What was acknowledged, and whether it holds.

use std::{collections::BTreeSet, time::Duration};

use parking_lot::Mutex;

use super::KEYS;
use crate::{cache::simulation::journal::Journal, redis::simulated::World};

pub(super) struct Promises {
    world: World,
    bound_ms: u64,
    pub(super) journal: Journal,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: [Key; KEYS],
    reads: u64,
    broken: Option<String>,
}

#[derive(Default)]
struct Key {
    /// The number of the last write that was begun, and what it leaves.
    begun: (u64, Option<u64>),
    /// Whether that one has not been acknowledged.
    is_open: bool,
    /// Whether that one goes past the cache, which is told afterwards.
    is_past: bool,
    /// The last write that was.
    acknowledged: (u64, Option<u64>),
    /// The number of the last removal that was begun.
    removed: u64,
    /// The numbers of writes that were refused: nobody may ever read them.
    refused: BTreeSet<u64>,
    /// Of each acknowledgement the number, the node and the moment.
    told: Vec<(u64, usize, u64)>,
}

impl Promises {
    pub(super) fn new(world: World, bound: Duration) -> Self {
        let journal = Journal::new(world.clone());
        Self { world, bound_ms: bound.as_millis() as u64, journal, state: Mutex::default() }
    }

    /// The number of the next write to a key; `None` while it is unknown what became of the last.
    pub(super) fn begin(&self, at: usize, removes: bool) -> Option<u64> {
        let mut state = self.state.lock();
        let key = &mut state.keys[at];
        if key.is_open {
            return None;
        }
        let number = key.begun.0 + 1;
        key.begun = (number, (!removes).then_some(number));
        (key.is_open, key.is_past) = (true, false);
        if removes {
            key.removed = number;
        }
        drop(state);
        self.journal.note(&format!("write {number} of {at} begins, removes: {removes}"));
        Some(number)
    }

    /// The write that has begun goes past the cache.
    pub(super) fn goes_past(&self, at: usize) {
        self.state.lock().keys[at].is_past = true;
    }

    /// Whether the database may have what the cache was never told of.
    pub(super) fn is_untold(&self, at: usize) -> bool {
        let state = self.state.lock();
        state.keys[at].is_open && state.keys[at].is_past
    }

    /// What the last write left that was acknowledged.
    pub(super) fn left(&self, at: usize) -> Option<u64> {
        self.state.lock().keys[at].acknowledged.1
    }

    pub(super) fn acknowledged(&self, at: usize, node: usize) {
        let now_ms = self.world.now_ms();
        let mut state = self.state.lock();
        let key = &mut state.keys[at];
        key.is_open = false;
        key.acknowledged = key.begun;
        let number = key.begun.0;
        key.told.push((number, node, now_ms));
        drop(state);
        self.journal.note(&format!("node {node} knows that {at} is {number}"));
    }

    /// The last write of the key has failed in a way that says that nothing was written.
    pub(super) fn refused(&self, at: usize) {
        let mut state = self.state.lock();
        let key = &mut state.keys[at];
        key.is_open = false;
        let number = key.begun.0;
        key.refused.insert(number);
        drop(state);
        self.journal.note(&format!("write {number} of {at} is refused"));
    }

    /// A read of a key on `node` that began at `begun_ms` returned this.
    pub(super) fn has_read(&self, at: usize, node: usize, begun_ms: u64, read: Option<u64>, from: &str) {
        let mut state = self.state.lock();
        state.reads += 1;
        let key = &state.keys[at];
        if read.is_some_and(|number| key.refused.contains(&number)) && state.broken.is_none() {
            let said = format!(
                "node {node} read {read:?} of {at} from {from}, which was refused; before:\n{}",
                self.journal
            );
            state.broken = Some(said);
            return;
        }
        // One that finds nothing has seen the last removal, or the time before all writes.
        let number = read.unwrap_or(key.removed);
        let misses = |&&(told, by, at_ms): &&(u64, usize, u64)| {
            // Two events of one millisecond have no order.
            told > number && at_ms + if by == node { 0 } else { self.bound_ms } < begun_ms
        };
        if let Some((told, by, at_ms)) = key.told.iter().find(misses)
            && state.broken.is_none()
        {
            state.broken = Some(format!(
                "node {node} read {read:?} of {at} from {from}, beginning at {begun_ms} ms; node {by} knew of {told} at {at_ms} \
                 ms; before:\n{}",
                self.journal
            ));
        }
    }

    /// The database has this of a key when everything is carried out.
    pub(super) fn ended_as(&self, at: usize, found: Option<u64>) -> Result<(), String> {
        let state = self.state.lock();
        let key = &state.keys[at];
        if found == key.acknowledged.1 || (key.is_open && found == key.begun.1) {
            return Ok(());
        }
        Err(format!(
            "{at} ended as {found:?}; {:?} was acknowledged, {:?} was begun; the last events:\n{}",
            key.acknowledged, key.begun, self.journal
        ))
    }

    pub(super) fn are_kept(&self) -> bool {
        self.state.lock().broken.is_none()
    }

    pub(super) fn verdict(&self) -> Result<u64, String> {
        let mut state = self.state.lock();
        state.broken.take().map_or(Ok(state.reads), Err)
    }
}
