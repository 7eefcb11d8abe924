//! The figures of one pattern.

use std::time::Duration;

use super::{database::Database, traffic::Seen};
use crate::report::{median, percentile};

/// What one round of one pattern came to, as values and their units.
#[derive(Debug)]
pub struct Outcome(Vec<(&'static str, f64, &'static str)>);

impl Outcome {
    /// Sums one round up.
    pub fn of(seen: &Seen, database: &Database, took: Duration) -> Self {
        let [reads, write_calls, rows_written] = database.counts().map(|count| count as f64);
        let count = seen.reads_us.len() as f64;
        let per_million = |stale: &[f64]| stale.len() as f64 / count * 1e6;
        Self(vec![
            ("reads asked", count, ""),
            ("reads of the database", reads, ""),
            ("read p50", percentile(&seen.reads_us, 50.0), "us"),
            ("read p99", percentile(&seen.reads_us, 99.0), "us"),
            ("write p50", percentile(&seen.writes_us, 50.0), "us"),
            ("write p99", percentile(&seen.writes_us, 99.0), "us"),
            ("calls that wrote to the database", write_calls, ""),
            ("rows they wrote", rows_written, ""),
            ("stale reads after an announced write", per_million(&seen.stale_ms), "of a million"),
            ("their age p99", percentile(&seen.stale_ms, 99.0), "ms"),
            ("stale reads after a write past the cache", per_million(&seen.stale_past_ms), "of a million"),
            ("their age p99 (past)", percentile(&seen.stale_past_ms, 99.0), "ms"),
            ("the latest start of an operation", seen.late_ms, "ms"),
            ("the round took", took.as_secs_f64(), "s"),
        ])
    }
}

/// Prints the medians of the rounds.
pub fn print(pattern: &str, outcomes: &[Outcome]) {
    let Some(first) = outcomes.first() else { return };
    for (row, (what, _, unit)) in first.0.iter().enumerate() {
        let value = median(outcomes.iter().map(|outcome| outcome.0[row].1));
        println!("patterns,{pattern}: {what},{value},{unit}");
    }
}
