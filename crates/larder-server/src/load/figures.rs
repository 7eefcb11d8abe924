//! What a run measured.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use super::plan::Kind;

/// The longest time that is told apart; longer ones count as this.
const MAX_US: u64 = 60_000_000;

/// Counts and latencies of one run, or of one connection's part of it.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    /// Latency in microseconds, by kind, of answers with a status below 400.
    latencies: [Histogram<u64>; 3],
    /// What went wrong, and how often.
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) elapsed: Duration,
    /// Counted by the server; `None` if it does not tell.
    pub(super) source_reads: Option<u64>,
}

impl Figures {
    pub(super) fn new() -> Self {
        let empty = || Histogram::new_with_bounds(1, MAX_US, 3).expect("these bounds are valid");
        Self {
            latencies: [empty(), empty(), empty()],
            errors: BTreeMap::new(),
            elapsed: Duration::ZERO,
            source_reads: None,
        }
    }

    /// Counts an answer.
    pub(super) fn count(&mut self, kind: Kind, elapsed: Duration, status: u16) {
        if status >= 400 {
            *self.errors.entry(format!("status {status} to a {}", kind.name())).or_default() += 1;
        } else {
            self.latencies[kind as usize].saturating_record(elapsed.as_micros() as u64);
        }
    }

    /// Counts a request without an answer.
    pub(super) fn fail(&mut self, error: &larder::Error) {
        *self.errors.entry(error.message().to_owned()).or_default() += 1;
    }

    /// Adds another connection's part.
    pub(super) fn add(&mut self, other: &Self) {
        for (own, other) in self.latencies.iter_mut().zip(&other.latencies) {
            own.add(other).expect("all histograms have the same bounds");
        }
        for (reason, count) in &other.errors {
            *self.errors.entry(reason.clone()).or_default() += count;
        }
    }

    /// The latencies of one kind of request.
    pub(super) fn of(&self, kind: Kind) -> &Histogram<u64> {
        &self.latencies[kind as usize]
    }

    /// The latencies of all requests.
    pub(super) fn all(&self) -> Histogram<u64> {
        let mut all = self.latencies[0].clone();
        for other in &self.latencies[1..] {
            all.add(other).expect("all histograms have the same bounds");
        }
        all
    }

    /// Requests that were answered.
    pub(super) fn requests(&self) -> u64 {
        self.latencies.iter().map(Histogram::len).sum()
    }

    /// Requests that were refused or not answered.
    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Answered requests per second.
    pub(super) fn per_second(&self) -> f64 {
        self.requests() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}
