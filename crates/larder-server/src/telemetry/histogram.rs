//! A latency histogram that many threads write at once: fixed buckets, a stripe of them per few threads.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::stripe::{STRIPES, own_stripe};

/// Buckets within each power of two: the answer is within an eighth of the truth.
const STEPS: usize = 8;
/// 1 µs up to 2^26 µs, about a minute.
const POWERS: usize = 26;
const BUCKETS: usize = STEPS * POWERS;

/// Counts durations. One write is two relaxed additions to memory that few other threads touch.
#[derive(Debug)]
pub(crate) struct Histogram {
    stripes: Box<[Stripe]>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Stripe {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        let stripe = || Stripe { counts: [const { AtomicU64::new(0) }; BUCKETS], sum_us: AtomicU64::new(0) };
        Self { stripes: (0..STRIPES).map(|_| stripe()).collect() }
    }
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn record(&self, elapsed: Duration) {
        let us = elapsed.as_micros() as u64;
        let stripe = &self.stripes[own_stripe()];
        stripe.counts[bucket_of(us)].fetch_add(1, Ordering::Relaxed);
        stripe.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// What was counted so far. Writers go on meanwhile: the sum may be a few records ahead of the counts.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for stripe in &self.stripes {
            for (total, count) in snapshot.counts.iter_mut().zip(&stripe.counts) {
                *total += count.load(Ordering::Relaxed);
            }
            snapshot.sum_us += stripe.sum_us.load(Ordering::Relaxed);
        }
        snapshot
    }
}

fn bucket_of(us: u64) -> usize {
    if us < STEPS as u64 {
        return us as usize;
    }
    let power = us.ilog2() as usize;
    let step = (us >> (power - 3)) as usize & (STEPS - 1);
    ((power - 2) * STEPS + step).min(BUCKETS - 1)
}

/// The upper bound of a bucket, in microseconds.
fn bound_of(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64 + 1;
    }
    let (power, step) = (bucket / STEPS + 2, bucket % STEPS);
    (STEPS as u64 + step as u64 + 1) << (power - 3)
}

/// The counts at one moment, or between two.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    counts: [u64; BUCKETS],
    /// The sum of all durations.
    pub sum_us: u64,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum_us: 0 }
    }
}

impl Snapshot {
    /// How many durations were counted.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds what another histogram counted.
    pub(crate) fn add(&mut self, other: &Self) {
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count += other;
        }
        self.sum_us += other.sum_us;
    }

    /// What was counted since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        for (count, earlier) in counts.iter_mut().zip(&earlier.counts) {
            *count = count.saturating_sub(*earlier);
        }
        Self { counts, sum_us: self.sum_us.saturating_sub(earlier.sum_us) }
    }

    /// The duration below which this part (0 to 1) of the records lie, in microseconds; 0 when there are none.
    pub(crate) fn quantile_us(&self, part: f64) -> u64 {
        let rank = (self.count() as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return bound_of(bucket);
            }
        }
        0
    }

    /// How many records are at most this long, in whole buckets: what a Prometheus bucket holds.
    pub(crate) fn count_up_to(&self, us: u64) -> u64 {
        self.counts
            .iter()
            .enumerate()
            .take_while(|(bucket, _)| bound_of(*bucket) <= us)
            .map(|(_, count)| count)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_lies_under_the_bound_of_its_bucket_and_over_the_one_before() {
        for us in (0..100_000).chain([1 << 20, (1 << 25) + 1]) {
            let bucket = bucket_of(us);
            assert!(us < bound_of(bucket), "{us}");
            assert!(bucket == 0 || us >= bound_of(bucket - 1), "{us}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_within_an_eighth() {
        let histogram = Histogram::default();
        for us in 1..=1_000 {
            histogram.record(Duration::from_micros(us));
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count(), 1_000);
        assert_eq!(snapshot.sum_us, 500_500);
        for (part, expected) in [(0.5, 500.0), (0.99, 990.0)] {
            let found = snapshot.quantile_us(part) as f64;
            assert!((found / expected - 1.0).abs() < 0.125, "{part}: {found}");
        }
        assert_eq!(snapshot.since(&snapshot).count(), 0);
        assert_eq!(Snapshot::default().quantile_us(0.5), 0);
    }
}
