//! The last seconds, for figures that people watch: a rate since the start says nothing about now.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::telemetry::Snapshot;

/// How many samples are kept, one a second.
const SAMPLES: usize = 10;

/// The running totals at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub at: Instant,
    pub latency: Snapshot,
    pub hits: u64,
    /// Reads that a cache was asked and had not.
    pub misses: u64,
    pub source_reads: u64,
}

/// What happened between two samples.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub length: Duration,
    pub latency: Snapshot,
    pub hits: u64,
    /// Reads that a cache was asked and had not.
    pub misses: u64,
    pub source_reads: u64,
}

impl Span {
    /// The part of the reads that a cache was asked and answered; `None` when it was not asked.
    pub(crate) fn hit_rate(&self) -> Option<f64> {
        let reads = self.hits + self.misses;
        (reads > 0).then(|| self.hits as f64 / reads as f64)
    }

    /// So many in this span, as a rate.
    pub(crate) fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.length.as_secs_f64().max(0.001)
    }
}

/// The latest samples, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Window(VecDeque<Sample>);

impl Window {
    /// Adds a sample and forgets the one that has become too old.
    pub(crate) fn push(&mut self, sample: Sample) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// What happened since the oldest sample.
    pub(crate) fn until(&self, now: &Sample) -> Span {
        let Some(oldest) = self.0.front() else {
            return Span {
                length: Duration::ZERO,
                latency: Snapshot::default(),
                hits: 0,
                misses: 0,
                source_reads: 0,
            };
        };
        Span {
            length: now.at - oldest.at,
            latency: now.latency.since(&oldest.latency),
            hits: now.hits.saturating_sub(oldest.hits),
            misses: now.misses.saturating_sub(oldest.misses),
            source_reads: now.source_reads.saturating_sub(oldest.source_reads),
        }
    }
}
