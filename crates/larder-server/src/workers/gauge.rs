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
    busy: Vec<Duration>,
    looked: Instant,
    idle: IdleCores,
}

impl Gauge {
    pub(crate) fn new(runtimes: Vec<Handle>) -> Self {
        let busy = runtimes.iter().map(busy).collect();
        Self { runtimes, busy, looked: Instant::now(), idle: IdleCores::default() }
    }

    /// Of each thread the share of its time since the last look, and how to find out how many cores were idle.
    pub(crate) fn look(&mut self) -> (Vec<f64>, Idle<'_>) {
        let now: Vec<Duration> = self.runtimes.iter().map(busy).collect();
        let since = self.looked.elapsed();
        self.looked += since;
        let before = mem::replace(&mut self.busy, now);
        let spent = self.busy.iter().zip(before).map(|(now, before)| now.saturating_sub(before));
        let shares = spent.map(|spent| spent.as_secs_f64() / since.as_secs_f64().max(f64::EPSILON)).collect();
        (shares, Idle { cores: &mut self.idle, since, is_asked: false })
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

/// The time that a thread had something to do.
fn busy(runtime: &Handle) -> Duration {
    runtime.metrics().worker_total_busy_duration(0)
}
