//! Readers that come by schedule, whatever happened to the read before.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep_until};

/// What they saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// How long each read took, in µs.
    pub reads_us: Vec<f64>,
    /// How many got a value that was marked as stale.
    pub stale: usize,
    /// How many got an error.
    pub failed: usize,
}

impl Seen {
    /// So many of a hundred reads.
    pub fn percent(&self, reads: usize) -> f64 {
        reads as f64 * 100.0 / self.reads_us.len() as f64
    }
}

/// Reads once `every` so often for as long as it `lasts`; `read` says whether the value was marked as stale.
///
/// # Panics
/// If a read does.
pub async fn read_on<F>(every: Duration, lasts: Duration, read: impl Fn() -> F) -> Seen
where
    F: Future<Output = larder::Result<bool>> + Send + 'static,
{
    let begin = tokio::time::Instant::now();
    let mut reads = JoinSet::new();
    let mut due = begin;
    while due < begin + lasts {
        sleep_until(due).await;
        let read = read();
        reads.spawn(async move {
            let began = Instant::now();
            let outcome = read.await;
            (began.elapsed().as_secs_f64() * 1e6, outcome)
        });
        due += every;
    }
    let mut seen = Seen::default();
    for (took_us, outcome) in reads.join_all().await {
        seen.reads_us.push(took_us);
        seen.stale += usize::from(matches!(outcome, Ok(true)));
        seen.failed += usize::from(outcome.is_err());
    }
    seen
}
