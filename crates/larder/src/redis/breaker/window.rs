//! Counts of calls over the last moments, without a lock.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use crate::stripe::{FEW, Lone, own_of_few};

const BUCKETS: usize = 10;

/// A ring of buckets, each a tenth of the window long; of rings a few, so that calls on different cores write to different ones.
///
/// Two threads that enter a new bucket of one ring at the same moment may lose a count or two of each other; rates do not mind.
#[derive(Debug)]
pub(super) struct Window {
    bucket_ms: u64,
    rings: [Lone<[Bucket; BUCKETS]>; FEW],
}

#[derive(Debug, Default)]
struct Bucket {
    /// Which stretch of time the counts are from, plus one; zero for never.
    turn: AtomicU64,
    calls: AtomicU32,
    failed: AtomicU32,
    slow: AtomicU32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) calls: u32,
    pub(super) failed: u32,
    pub(super) slow: u32,
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        let bucket_ms = (length.as_millis() as u64 / BUCKETS as u64).max(1);
        Self { bucket_ms, rings: Default::default() }
    }

    pub(super) fn record(&self, now_ms: u64, failed: bool, slow: bool) {
        let turn = self.turn(now_ms);
        let bucket = &self.rings[own_of_few()].0[turn as usize % BUCKETS];
        let found = bucket.turn.load(Ordering::Relaxed);
        if found != turn
            && bucket.turn.compare_exchange(found, turn, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            bucket.empty();
        }
        bucket.calls.fetch_add(1, Ordering::Relaxed);
        if failed {
            bucket.failed.fetch_add(1, Ordering::Relaxed);
        }
        if slow {
            bucket.slow.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn counts(&self, now_ms: u64) -> Counts {
        let now = self.turn(now_ms);
        let mut sum = Counts::default();
        for bucket in self.buckets() {
            let turn = bucket.turn.load(Ordering::Relaxed);
            if turn <= now && turn + BUCKETS as u64 > now {
                sum.calls += bucket.calls.load(Ordering::Relaxed);
                sum.failed += bucket.failed.load(Ordering::Relaxed);
                sum.slow += bucket.slow.load(Ordering::Relaxed);
            }
        }
        sum
    }

    pub(super) fn clear(&self) {
        for bucket in self.buckets() {
            bucket.turn.store(0, Ordering::Relaxed);
            bucket.empty();
        }
    }

    fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.rings.iter().flat_map(|ring| &ring.0)
    }

    fn turn(&self, now_ms: u64) -> u64 {
        now_ms / self.bucket_ms + 1
    }
}

impl Bucket {
    fn empty(&self) {
        self.calls.store(0, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
        self.slow.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The ring against a plain list of everything that happened.
        #[test]
        fn the_ring_counts_what_the_last_buckets_hold(
            events in proptest::collection::vec((0_u64..60, any::<bool>(), any::<bool>()), 1..300),
        ) {
            let window = Window::new(Duration::from_millis(200));
            let mut all = Vec::new();
            let mut now_ms = 5;
            for (step_ms, failed, slow) in events {
                now_ms += step_ms;
                window.record(now_ms, failed, slow);
                all.push((now_ms, failed, slow));
                let recent: Vec<_> =
                    all.iter().filter(|(at, ..)| at / 20 + BUCKETS as u64 > now_ms / 20).collect();
                prop_assert_eq!(window.counts(now_ms), Counts {
                    calls: recent.len() as u32,
                    failed: recent.iter().filter(|(_, failed, _)| *failed).count() as u32,
                    slow: recent.iter().filter(|(.., slow)| *slow).count() as u32,
                });
            }
        }
    }

    #[test]
    fn nothing_is_left_after_clear() {
        let window = Window::new(Duration::from_secs(1));
        window.record(50, true, true);
        window.clear();
        assert_eq!(window.counts(50), Counts::default());
    }
}
