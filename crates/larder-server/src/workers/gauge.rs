//! How busy the threads are, and the machine.

use std::{
    mem,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use super::idle::IdleCores;

/// How busy the threads were between two looks.
#[derive(Debug)]
pub(crate) struct Gauge {
    runtimes: Vec<Handle>,
    counts: Vec<Counts>,
    looked: Instant,
    idle: IdleCores,
}

/// What a thread's runtime has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    busy: Duration,
    /// Grows when the thread goes to sleep, and when it wakes.
    turns: u64,
}

impl Gauge {
    pub(crate) fn new(runtimes: Vec<Handle>) -> Self {
        let counts = runtimes.iter().map(Counts::of).collect();
        Self { runtimes, counts, looked: Instant::now(), idle: IdleCores::default() }
    }

    /// Of each thread the share of its time since the last look, and how to find out how many cores were idle.
    pub(crate) fn look(&mut self) -> (Vec<f64>, Idle<'_>) {
        let now = self.runtimes.iter().map(Counts::of).collect();
        let since = self.looked.elapsed();
        self.looked += since;
        let before = mem::replace(&mut self.counts, now);
        let shares = self.counts.iter().zip(&before).map(|(now, before)| now.share(before, since)).collect();
        (shares, Idle { cores: &mut self.idle, since, is_asked: false })
    }
}

impl Counts {
    fn of(runtime: &Handle) -> Self {
        let metrics = runtime.metrics();
        Self { busy: metrics.worker_total_busy_duration(0), turns: metrics.worker_park_unpark_count(0) }
    }

    fn share(&self, before: &Self, since: Duration) -> f64 {
        if self == before && self.is_awake() {
            // Its time is counted when what it does is done: one task has all of it.
            return 1.0;
        }
        let busy = self.busy.saturating_sub(before.busy);
        // What took several looks is counted in the last of them.
        (busy.as_secs_f64() / since.as_secs_f64().max(f64::EPSILON)).min(1.0)
    }

    fn is_awake(&self) -> bool {
        self.turns.is_multiple_of(2)
    }
}

/// Asks for the idle cores once, or forgets what it knew of them: the next answer must be of the time since the last look.
pub(crate) struct Idle<'a> {
    cores: &'a mut IdleCores,
    since: Duration,
    is_asked: bool,
}

impl Idle<'_> {
    pub(crate) fn cores(&mut self) -> f64 {
        self.is_asked = true;
        self.cores.look(self.since)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        if !self.is_asked {
            self.cores.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{Receiver, Sender, channel},
        thread,
    };

    use super::*;
    use crate::workers::Workers;

    /// Has the thread do one thing until the test lets it go.
    fn hold_up(runtime: &Handle) -> Sender<()> {
        let (began, is_begun) = channel();
        let (let_go, is_let_go): (_, Receiver<()>) = channel();
        runtime.spawn(async move {
            began.send(()).unwrap();
            let _ = is_let_go.recv();
        });
        is_begun.recv().unwrap();
        let_go
    }

    #[test]
    fn a_thread_that_is_held_up_is_busy_and_one_that_sleeps_is_not() {
        let workers = Workers::start(Some(2)).unwrap();
        let mut gauge = Gauge::new(workers.runtimes());
        let held_up = hold_up(&workers.runtimes()[0]);
        gauge.look();
        // Until the other one has gone to sleep.
        while gauge.look().0[1] > 0.0 {
            thread::yield_now();
        }
        assert_eq!(gauge.look().0, [1.0, 0.0]);
        drop(held_up);
        while gauge.look().0[0] > 0.0 {
            thread::yield_now();
        }
        assert_eq!(gauge.look().0, [0.0, 0.0]);
    }
}
