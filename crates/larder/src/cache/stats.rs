//! What a cache counts. Counters are striped by thread, so that counting a hit never makes two cores fight over a line
//! (`stripe`).

use std::{
    fmt,
    hash::Hash,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::{
    cache::{Cache, MissReason, Served},
    stripe::{self, STRIPES},
};

/// One counter of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    NearHits,
    SharedHits,
    StaleServed,
    SourceReads,
    Loads,
    LoadErrors,
    NotModified,
    ReadErrors,
    Refreshes,
    FillsAccepted,
    FillsRefused,
    Invalidated,
    InvalidationsDeferred,
    SharedErrors,
    Corrupt,
    /// Microseconds that the source took.
    LoadMicros,
    ReloadsCompared,
    ReloadsUnchanged,
    /// The first of one counter for each [`MissReason`].
    FirstMiss,
}

const COUNTERS: usize = Counter::FirstMiss as usize + MissReason::ALL.len();

/// One stripe. What a near hit needs comes first, in one line of the processor's cache.
#[repr(C, align(128))]
struct Stripe {
    /// The near hit that is looked at, see [`count_near_hit`](Self::count_near_hit).
    sampled_at: AtomicU64,
    counts: [AtomicU64; COUNTERS],
}

/// The stripe that a thread counts in.
#[derive(Clone, Copy)]
pub(crate) struct Own<'a> {
    stripe: &'a Stripe,
    shared: bool,
}

impl Own<'_> {
    /// Counts a near hit, and says whether it is one that is looked at: the first one, and then the one that
    /// [`sample_after`](Stats::sample_after) named.
    #[inline]
    pub(crate) fn count_near_hit(self) -> bool {
        self.add(Counter::NearHits as usize, 1) >= self.stripe.sampled_at.load(Relaxed)
    }

    /// Returns what was counted before.
    #[inline]
    fn add(self, index: usize, by: u64) -> u64 {
        let count = &self.stripe.counts[index];
        if self.shared {
            return count.fetch_add(by, Relaxed);
        }
        // Nobody else writes here.
        let before = count.load(Relaxed);
        count.store(before.wrapping_add(by), Relaxed);
        before
    }
}

/// The counters of one cache.
pub(crate) struct Stats {
    stripes: Box<[Stripe; STRIPES]>,
}

impl Default for Stats {
    fn default() -> Self {
        let stripe =
            || Stripe { sampled_at: AtomicU64::new(0), counts: std::array::from_fn(|_| AtomicU64::new(0)) };
        Self { stripes: Box::new(std::array::from_fn(|_| stripe())) }
    }
}

impl Stats {
    pub(crate) fn count(&self, counter: Counter) {
        self.add(counter as usize, 1);
    }

    /// What this thread counts in.
    #[inline]
    pub(crate) fn own(&self) -> Own<'_> {
        let at = stripe::own();
        Own { stripe: &self.stripes[at], shared: at == stripe::SHARED }
    }

    /// Of this thread's stripe, the near hit that is so many on from the last one is the next to be looked at.
    pub(crate) fn sample_after(&self, hits: u64) {
        let stripe = self.own().stripe;
        let next = stripe.counts[Counter::NearHits as usize].load(Relaxed) + hits - 1;
        stripe.sampled_at.store(next, Relaxed);
    }

    pub(crate) fn count_many(&self, counter: Counter, by: usize) {
        self.add(counter as usize, by as u64);
    }

    pub(crate) fn count_miss(&self, reason: MissReason) {
        self.add(Counter::FirstMiss as usize + reason as usize, 1);
    }

    /// Counts the answer of one read.
    pub(crate) fn count_served(&self, served: Served, stale: bool, reason: Option<MissReason>) {
        self.count(match served {
            Served::Near => Counter::NearHits,
            Served::Shared => Counter::SharedHits,
            Served::Source => Counter::SourceReads,
        });
        if stale {
            self.count(Counter::StaleServed);
        }
        if let Some(reason) = reason {
            self.count_miss(reason);
        }
    }

    fn add(&self, index: usize, by: u64) {
        self.own().add(index, by);
    }

    fn sum(&self, index: usize) -> u64 {
        self.stripes.iter().map(|stripe| stripe.counts[index].load(Relaxed)).sum()
    }

    pub(crate) fn snapshot(&self) -> CacheStats {
        let of = |counter: Counter| self.sum(counter as usize);
        CacheStats {
            near_hits: of(Counter::NearHits),
            shared_hits: of(Counter::SharedHits),
            stale_served: of(Counter::StaleServed),
            source_reads: of(Counter::SourceReads),
            loads: of(Counter::Loads),
            load_errors: of(Counter::LoadErrors),
            not_modified: of(Counter::NotModified),
            read_errors: of(Counter::ReadErrors),
            refreshes: of(Counter::Refreshes),
            fills_accepted: of(Counter::FillsAccepted),
            fills_refused: of(Counter::FillsRefused),
            invalidated: of(Counter::Invalidated),
            invalidations_deferred: of(Counter::InvalidationsDeferred),
            invalidations_owed: 0,
            shared_errors: of(Counter::SharedErrors),
            log_gaps: 0,
            corrupt: of(Counter::Corrupt),
            misses: MissReason::ALL.map(|reason| self.sum(Counter::FirstMiss as usize + reason as usize)),
            load_time: Duration::from_micros(of(Counter::LoadMicros)),
            reloads_compared: of(Counter::ReloadsCompared),
            reloads_unchanged: of(Counter::ReloadsUnchanged),
            near_entries: 0,
            near_capacity: 0,
            near_weight: 0,
        }
    }
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// What has been counted since the cache was built.
    pub fn stats(&self) -> CacheStats {
        let mut stats = self.inner.stats.snapshot();
        if let Some(near) = &self.inner.near {
            (stats.near_entries, stats.near_weight) = (near.len() as u64, near.weight());
            stats.near_capacity = near.capacity();
        }
        if let Some(behind) = &self.inner.behind {
            stats.corrupt += behind.corrupt();
        }
        if let Some(shared) = &self.inner.shared {
            stats.invalidations_owed = shared.unsent.len() as u64;
            stats.log_gaps = self.inner.coherence.gaps.load(Relaxed);
        }
        stats
    }
}

/// What a cache has counted since it was built. Every read that returned a value or "absent" is one of
/// `near_hits + shared_hits + source_reads`; one that failed is one of `read_errors`.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Reads answered by this process's own copy.
    pub near_hits: u64,
    /// Reads answered by Redis.
    pub shared_hits: u64,
    /// Of the hits, those past their soft expiry.
    pub stale_served: u64,
    /// Reads answered by the source, those that joined another's load included.
    pub source_reads: u64,
    /// Calls of the source, each perhaps for several keys.
    pub loads: u64,
    /// Of these, the ones that failed.
    pub load_errors: u64,
    /// Of these, the ones that found the previous value to stand.
    pub not_modified: u64,
    /// Reads that returned an error.
    pub read_errors: u64,
    /// Refreshes begun behind a stale value, or ahead of an expiry.
    pub refreshes: u64,
    /// Values that Redis took.
    pub fills_accepted: u64,
    /// Values that Redis refused, because their lease was gone: an invalidation came in between.
    pub fills_refused: u64,
    /// Keys invalidated.
    pub invalidated: u64,
    /// Keys whose invalidation is kept until Redis can be reached.
    pub invalidations_deferred: u64,
    /// Keys whose invalidation Redis has still not acknowledged now.
    pub invalidations_owed: u64,
    /// How often this node had missed invalidations of others, and read them from the log.
    pub log_gaps: u64,
    /// Calls to Redis that failed.
    pub shared_errors: u64,
    /// Stored values that were foreign or damaged, and such entries among the writes that are to be carried out behind.
    pub corrupt: u64,
    /// Source reads by reason, in the order of [`MissReason::ALL`].
    pub misses: [u64; MissReason::ALL.len()],
    /// Entries in the near tier now.
    pub near_entries: u64,
    /// Their weight, in the weigher's unit.
    pub near_weight: u64,
    /// The most that may be; zero without a near tier.
    pub near_capacity: u64,
    /// The time that all calls of the source took, their turn among others included.
    pub load_time: Duration,
    /// Values that were loaded after an expiry and could be compared with the one that had expired.
    pub reloads_compared: u64,
    /// Of these, the ones that were the same: they could have lived longer.
    pub reloads_unchanged: u64,
}

impl CacheStats {
    /// All reads that had an answer.
    pub fn reads(&self) -> u64 {
        self.near_hits + self.shared_hits + self.source_reads
    }

    /// The reads that a cache was asked: all but those whose caller asked for the source.
    pub fn cache_reads(&self) -> u64 {
        self.reads().saturating_sub(self.misses_of(MissReason::Asked))
    }

    /// Source reads for this reason.
    pub fn misses_of(&self, reason: MissReason) -> u64 {
        self.misses[reason as usize]
    }

    /// The part of [`cache_reads`](Self::cache_reads) that a cache answered, 0 to 1; 1 when there were none.
    pub fn hit_rate(&self) -> f64 {
        match self.cache_reads() {
            0 => 1.0,
            reads => (self.near_hits + self.shared_hits) as f64 / reads as f64,
        }
    }
}
