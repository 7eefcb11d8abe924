//! What an audit has found.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The ages up to which stale copies are counted apart, see [`AuditStats::stale_ages`].
pub const STALE_AGE_BOUNDS: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(3_600),
    Duration::from_secs(86_400),
];

/// What one check came to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Finding {
    Same,
    Stale(Duration),
    CaughtUp,
    NotCached,
    Failed,
}

/// The counters of one audit.
#[derive(Debug, Default)]
pub(super) struct Report {
    same: AtomicU64,
    stale: AtomicU64,
    caught_up: AtomicU64,
    not_cached: AtomicU64,
    failed: AtomicU64,
    ages: [AtomicU64; STALE_AGE_BOUNDS.len()],
    age_sum_ms: AtomicU64,
    oldest_ms: AtomicU64,
}

impl Report {
    pub(super) fn count(&self, finding: Finding) {
        let counter = match finding {
            Finding::Same => &self.same,
            Finding::CaughtUp => &self.caught_up,
            Finding::NotCached => &self.not_cached,
            Finding::Failed => &self.failed,
            Finding::Stale(age) => {
                for (bound, counter) in STALE_AGE_BOUNDS.iter().zip(&self.ages) {
                    counter.fetch_add(u64::from(age <= *bound), Relaxed);
                }
                self.age_sum_ms.fetch_add(age.as_millis() as u64, Relaxed);
                self.oldest_ms.fetch_max(age.as_millis() as u64, Relaxed);
                &self.stale
            }
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn snapshot(&self) -> AuditStats {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        AuditStats {
            same: of(&self.same),
            stale: of(&self.stale),
            caught_up: of(&self.caught_up),
            not_cached: of(&self.not_cached),
            failed: of(&self.failed),
            stale_ages: std::array::from_fn(|at| of(&self.ages[at])),
            stale_age_sum: Duration::from_millis(of(&self.age_sum_ms)),
            oldest_stale: Duration::from_millis(of(&self.oldest_ms)),
        }
    }
}

/// What an audit has found since it began.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditStats {
    /// Copies that were what the source has.
    pub same: u64,
    /// Copies that were not, and were served as fresh all the same when the time to settle had passed.
    pub stale: u64,
    /// Differences that were gone by then: a change was on its way.
    pub caught_up: u64,
    /// Keys that were read, but of which nothing fresh was cached when their turn came.
    pub not_cached: u64,
    /// Checks that came to nothing because the source or Redis failed.
    pub failed: u64,
    /// The stale copies by the time since their load, up to each of [`STALE_AGE_BOUNDS`], each including those before it. A copy
    /// has been stale for no longer than that.
    pub stale_ages: [u64; STALE_AGE_BOUNDS.len()],
    /// All these times together.
    pub stale_age_sum: Duration,
    /// The longest of them.
    pub oldest_stale: Duration,
}

impl AuditStats {
    /// Copies that could be judged.
    #[must_use]
    pub fn checked(&self) -> u64 {
        self.same + self.stale + self.caught_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_counted_up_to_each_bound() {
        let report = Report::default();
        for seconds in [1, 5, 100_000] {
            report.count(Finding::Stale(Duration::from_secs(seconds)));
        }
        report.count(Finding::Same);
        let stats = report.snapshot();
        assert_eq!((stats.checked(), stats.stale, stats.stale_ages), (4, 3, [1, 2, 2, 2, 2, 2]));
        assert_eq!((stats.oldest_stale.as_secs(), stats.stale_age_sum.as_secs()), (100_000, 100_006));
    }
}
