//! The state machine: closed, open, half open.
//!
//! Pure apart from the [`Clock`] it reads: no task, no timer. A call in the closed state costs a few relaxed atomics.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::{Breaker, BreakerState, window::Window};
use crate::Clock;

/// How a call went, as far as the server is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::redis) enum Outcome {
    Answered,
    Failed,
}

/// One primary's breaker at work.
#[derive(Debug)]
pub(in crate::redis) struct Circuit {
    policy: Breaker,
    clock: Arc<dyn Clock>,
    window: Window,
    failures_in_a_row: AtomicU32,
    /// A copy of `gate.state` that the closed path reads without the lock.
    state: AtomicU8,
    /// Locked only while something is wrong, and never across a wait.
    gate: Mutex<Gate>,
}

#[derive(Debug)]
struct Gate {
    state: BreakerState,
    probing: bool,
    open_until_ms: u64,
    next_pause: Duration,
}

impl Circuit {
    pub(in crate::redis) fn new(policy: Breaker, clock: Arc<dyn Clock>) -> Self {
        let gate = Gate {
            state: BreakerState::Closed,
            probing: false,
            open_until_ms: 0,
            next_pause: policy.first_pause,
        };
        Self {
            window: Window::new(policy.window),
            policy,
            clock,
            failures_in_a_row: AtomicU32::new(0),
            state: AtomicU8::new(BreakerState::Closed as u8),
            gate: Mutex::new(gate),
        }
    }

    pub(in crate::redis) fn state(&self) -> BreakerState {
        self.gate.lock().state
    }

    /// Lets one call through, or says how long to stay away.
    pub(in crate::redis) fn admit(&self) -> Result<Permit<'_>, Duration> {
        let now_ms = self.clock.monotonic_ms();
        let permit = |probe| Permit { circuit: self, started_ms: now_ms, probe, finished: false };
        if self.state.load(Ordering::Relaxed) == BreakerState::Closed as u8 {
            return Ok(permit(false));
        }
        let mut gate = self.gate.lock();
        match gate.state {
            BreakerState::Closed => return Ok(permit(false)),
            BreakerState::Open if now_ms < gate.open_until_ms => {
                return Err(Duration::from_millis(gate.open_until_ms - now_ms));
            }
            BreakerState::Open => self.enter(&mut gate, BreakerState::HalfOpen),
            BreakerState::HalfOpen if gate.probing => return Err(self.policy.first_pause),
            BreakerState::HalfOpen => {}
        }
        gate.probing = true;
        Ok(permit(true))
    }

    /// A new connection was made: if the breaker is open, the next call may probe without waiting for the pause.
    pub(in crate::redis) fn probe_soon(&self) {
        let mut gate = self.gate.lock();
        if gate.state == BreakerState::Open {
            self.enter(&mut gate, BreakerState::HalfOpen);
        }
    }

    fn enter(&self, gate: &mut Gate, state: BreakerState) {
        gate.state = state;
        gate.probing = false;
        self.state.store(state as u8, Ordering::Relaxed);
    }

    fn open(&self, gate: &mut Gate, now_ms: u64) {
        gate.open_until_ms = now_ms + gate.next_pause.as_millis() as u64;
        gate.next_pause = self.policy.longest_pause.min(gate.next_pause * 2);
        self.enter(gate, BreakerState::Open);
    }

    fn close(&self, gate: &mut Gate) {
        gate.next_pause = self.policy.first_pause;
        self.failures_in_a_row.store(0, Ordering::Relaxed);
        self.window.clear();
        self.enter(gate, BreakerState::Closed);
    }

    fn finish(&self, probe: bool, started_ms: u64, outcome: Outcome) {
        let now_ms = self.clock.monotonic_ms();
        let failed = outcome == Outcome::Failed;
        let slow = failed || now_ms.saturating_sub(started_ms) >= self.policy.slow_call.as_millis() as u64;
        if probe {
            let mut gate = self.gate.lock();
            if slow {
                self.open(&mut gate, now_ms)
            } else {
                self.close(&mut gate)
            }
            return;
        }
        // Calls from before the breaker opened say nothing new.
        if self.state.load(Ordering::Relaxed) != BreakerState::Closed as u8 {
            return;
        }
        self.window.record(now_ms, failed, slow);
        let in_a_row = if failed {
            self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1
        } else {
            // Read first: a store by every success would bounce the cache line between cores.
            if self.failures_in_a_row.load(Ordering::Relaxed) != 0 {
                self.failures_in_a_row.store(0, Ordering::Relaxed);
            }
            0
        };
        if slow && self.trips(now_ms, in_a_row) {
            let mut gate = self.gate.lock();
            if gate.state == BreakerState::Closed {
                self.open(&mut gate, now_ms);
            }
        }
    }

    fn trips(&self, now_ms: u64, failures_in_a_row: u32) -> bool {
        let counts = self.window.counts(now_ms);
        let over = |part: u32, rate: f64| f64::from(part) >= rate * f64::from(counts.calls);
        failures_in_a_row >= self.policy.failures_in_a_row
            || (counts.calls >= self.policy.minimum_calls
                && (over(counts.failed, self.policy.error_rate) || over(counts.slow, self.policy.slow_rate)))
    }
}

/// Leave to make one call. Dropped without [`finish`](Self::finish) it counts as cancelled: slow if it took long, so
/// that callers with deadlines of their own cannot hide a silent server, else not at all.
#[derive(Debug)]
pub(in crate::redis) struct Permit<'c> {
    circuit: &'c Circuit,
    started_ms: u64,
    probe: bool,
    finished: bool,
}

impl Permit<'_> {
    /// Whether the outcome of this call decides if the breaker closes.
    #[cfg(test)]
    pub(in crate::redis) fn is_probe(&self) -> bool {
        self.probe
    }

    pub(in crate::redis) fn finish(mut self, outcome: Outcome) {
        self.finished = true;
        self.circuit.finish(self.probe, self.started_ms, outcome);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let waited_ms = self.circuit.clock.monotonic_ms().saturating_sub(self.started_ms);
        if waited_ms >= self.circuit.policy.slow_call.as_millis() as u64 {
            self.circuit.finish(self.probe, self.started_ms, Outcome::Failed);
        } else if self.probe {
            self.circuit.gate.lock().probing = false;
        }
    }
}
