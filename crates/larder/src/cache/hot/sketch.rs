//! The heaviest keys of a stream in fixed memory, and how heavy they are now: no clock, no lock.
//!
//! Counting is Space-Saving: Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data
//! Streams", ICDT 2005. A key that is not counted takes the place of the lightest one, and its weight as an error. What is
//! older weighs less, by forward decay: Cormode, Shkapenyuk, Srivastava and Xu, "Forward Decay", ICDE 2009. There a new
//! sample weighs more instead, so that nothing has to be aged.

use std::f64::consts::LN_2;

/// Keys that are counted. Whatever has more than this part of the stream is among them.
const COUNTERS: usize = 512;
/// The part of the stream from which on a key is worth remembering, and is told.
const NOTABLE: f64 = 1.0 / 256.0;
/// Half of what is known is what was seen in so many milliseconds.
pub(super) const HALF_LIFE_MS: f64 = 15_000.0;
/// Half-lives after which weights are written anew, long before they grow past what a float can tell apart.
const MOST_HALF_LIVES: f64 = 64.0;
/// A rate over less time than this is a guess.
const LEAST_AGE_MS: u64 = 1_000;

/// What is known of one key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known<K> {
    pub(super) key: K,
    pub(super) per_second: f64,
    /// Of the whole stream, 0 to 1.
    pub(super) share: f64,
}

struct Counter<K> {
    weight: f64,
    /// The part of it that may be another key's.
    over: f64,
    /// Only of keys that are worth it: a stream of ever new keys copies none.
    key: Option<K>,
}

/// The counters. Weights are those of a moment in the past, `since_ms`: a sample of now weighs as much more as time has
/// passed, so that all compare.
pub(super) struct Sketch<K> {
    /// Of the counters, in their order: looked through for every sample.
    hashes: Vec<u64>,
    counters: Vec<Counter<K>>,
    total: f64,
    began_ms: u64,
    since_ms: u64,
}

impl<K> Sketch<K> {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { hashes: Vec::new(), counters: Vec::new(), total: 0.0, began_ms: now_ms, since_ms: now_ms }
    }

    /// Counts a key that stands for `reads` reads.
    pub(super) fn see(&mut self, hash: u64, reads: f64, now_ms: u64, key: impl FnOnce() -> K) {
        let grown = self.grown(now_ms);
        let weight = reads * grown;
        self.total += weight;
        let at = self.hashes.iter().position(|known| *known == hash).unwrap_or_else(|| self.admit(hash));
        let counter = &mut self.counters[at];
        counter.weight += weight;
        if counter.key.is_none() && counter.weight - counter.over >= self.total * NOTABLE {
            counter.key = Some(key());
        }
    }

    /// A counter for a key that has none.
    fn admit(&mut self, hash: u64) -> usize {
        if self.counters.len() < COUNTERS {
            self.hashes.push(hash);
            self.counters.push(Counter { weight: 0.0, over: 0.0, key: None });
            return self.counters.len() - 1;
        }
        let lightest =
            self.counters.iter().enumerate().min_by(|(_, a), (_, b)| a.weight.total_cmp(&b.weight));
        let at = lightest.map_or(0, |(at, _)| at);
        let weight = self.counters[at].weight;
        self.hashes[at] = hash;
        self.counters[at] = Counter { weight, over: weight, key: None };
        at
    }

    /// How much more a sample of now weighs than one of `since_ms`.
    fn grown(&mut self, now_ms: u64) -> f64 {
        let half_lives = now_ms.saturating_sub(self.since_ms) as f64 / HALF_LIFE_MS;
        if half_lives <= MOST_HALF_LIVES {
            return half_lives.exp2();
        }
        let shrink = (-half_lives).exp2();
        for counter in &mut self.counters {
            counter.weight *= shrink;
            counter.over *= shrink;
        }
        self.total *= shrink;
        self.since_ms = now_ms;
        1.0
    }

    /// The weight now of one read a second that has gone on since the beginning.
    fn one_per_second(&self, now_ms: u64) -> f64 {
        let age_ms = now_ms.saturating_sub(self.began_ms).max(LEAST_AGE_MS) as f64;
        let missing = (-age_ms / HALF_LIFE_MS).exp2();
        HALF_LIFE_MS / 1_000.0 / LN_2 * (1.0 - missing)
    }

    fn per_second(&self, weight: f64, now_ms: u64) -> f64 {
        let half_lives = now_ms.saturating_sub(self.since_ms) as f64 / HALF_LIFE_MS;
        weight * (-half_lives).exp2() / self.one_per_second(now_ms)
    }

    /// At least how often a key is read now, and its part of all reads.
    pub(super) fn of(&self, hash: u64, now_ms: u64) -> (f64, f64) {
        let Some(at) = self.hashes.iter().position(|known| *known == hash) else { return (0.0, 0.0) };
        let weight = self.counters[at].weight - self.counters[at].over;
        (self.per_second(weight, now_ms), weight / self.total)
    }
}

impl<K: Clone> Sketch<K> {
    /// The keys that stand out, the heaviest first, with what they have at least.
    pub(super) fn heaviest(&self, limit: usize, now_ms: u64) -> Vec<Known<K>> {
        let known = |counter: &Counter<K>| {
            let weight = counter.weight - counter.over;
            let key = counter.key.as_ref().filter(|_| weight >= self.total * NOTABLE)?;
            Some((weight, key.clone()))
        };
        let mut heaviest: Vec<_> = self.counters.iter().filter_map(known).collect();
        heaviest.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        heaviest.truncate(limit);
        let told = |(weight, key)| Known {
            key,
            per_second: self.per_second(weight, now_ms),
            share: weight / self.total,
        };
        heaviest.into_iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn see(sketch: &mut Sketch<u64>, key: u64, now_ms: u64) {
        sketch.see(key, 1.0, now_ms, || key);
    }

    proptest! {
        /// The published guarantees: nothing is told to be heavier than it is, and whatever has more than one part in
        /// [`COUNTERS`] of the stream is counted.
        #[test]
        fn what_is_told_is_never_too_much_and_nothing_heavy_is_missing(
            stream in proptest::collection::vec(prop_oneof![3 => 0_u64..8, 2 => 0_u64..5_000], 1..6_000),
        ) {
            let (mut sketch, mut counts) = (Sketch::new(0), HashMap::<u64, f64>::new());
            for key in &stream {
                see(&mut sketch, *key, 0);
                *counts.entry(*key).or_default() += 1.0;
            }
            let all = stream.len() as f64;
            for known in sketch.heaviest(usize::MAX, 0) {
                prop_assert!(known.share * all <= counts[&known.key] + 1e-6, "{known:?}");
            }
            for (key, count) in counts {
                prop_assert!(count <= all / COUNTERS as f64 || sketch.hashes.contains(&key), "{key}: {count} of {all}");
            }
        }
    }

    #[test]
    fn a_steady_rate_is_told_as_it_is_soon_and_late() {
        let mut sketch = Sketch::new(0);
        for ms in (0..4_000_000).step_by(20) {
            see(&mut sketch, ms / 20 % 5 / 4, ms);
            if [2_000, 60_000, 3_999_980].contains(&ms) {
                let told = sketch.heaviest(10, ms);
                assert!((told[0].per_second - 40.0).abs() < 2.0, "at {ms} ms: {told:?}");
                assert!((told[1].share - 0.2).abs() < 0.02, "at {ms} ms: {told:?}");
            }
        }
    }

    #[test]
    fn what_is_read_no_more_is_forgotten_by_halves() {
        let mut sketch = Sketch::new(0);
        (0..60_000).step_by(10).for_each(|ms| see(&mut sketch, 1, ms));
        let before = sketch.of(1, 60_000).0;
        let after = sketch.of(1, 60_000 + HALF_LIFE_MS as u64).0;
        // A little more than half: the rate is one since the beginning, which is further away now.
        assert!((0.44..0.51).contains(&(after / before)), "{before} then {after}");
        (0..20_000).step_by(10).for_each(|ms| see(&mut sketch, 2, 5_000_000 + ms));
        assert_eq!(sketch.heaviest(10, 5_020_000).len(), 1, "after many half-lives nothing is left of it");
    }

    #[test]
    fn a_stream_in_which_nothing_stands_out_tells_and_copies_nothing() {
        let (mut sketch, mut copied) = (Sketch::new(0), 0);
        for turn in 0..40_000_u64 {
            sketch.see(turn * 7_919 % 10_007, 1.0, turn / 100, || copied += 1);
        }
        assert!(copied < 300, "{copied} copies, most of them at the beginning");
        assert!(sketch.heaviest(10, 400).is_empty());
    }
}
