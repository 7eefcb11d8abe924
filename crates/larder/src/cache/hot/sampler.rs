//! How many reads are looked at, and the lock around what they come to.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use rand::Rng;

use crate::cache::hot::{HotKey, is_hot, sketch::Sketch};

/// Samples in a second above which fewer reads are looked at.
const MOST_PER_SECOND: u32 = 256;
/// And below which more are.
const LEAST_PER_SECOND: u32 = 64;
/// The fewest: one read in so many. More would take a cache whose load falls too long to notice.
const MOST_READS_PER_SAMPLE: u32 = 1_024;

/// What this node's reads of one cache tell of its keys.
pub(crate) struct Heat<K> {
    hasher: RandomState,
    /// One read in so many is a sample. A power of two.
    reads_per_sample: AtomicU32,
    samples: Mutex<Samples<K>>,
}

struct Samples<K> {
    sketch: Sketch<K>,
    second_began_ms: u64,
    in_second: u32,
    /// Set if somebody wants keys that are read.
    drawn: Option<Drawn<K>>,
}

/// One of the samples since it was last taken, each with the same chance: a reservoir of one (Vitter, "Random Sampling with a
/// Reservoir", 1985).
struct Drawn<K> {
    seen: u32,
    key: Option<K>,
}

impl<K> Heat<K> {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            hasher: RandomState::default(),
            reads_per_sample: AtomicU32::new(1),
            samples: Mutex::new(Samples {
                sketch: Sketch::new(now_ms),
                second_began_ms: now_ms,
                in_second: 0,
                drawn: None,
            }),
        }
    }

    /// How many reads on the next sample is: random, so that reads that come in turn are all seen.
    pub(crate) fn gap(&self) -> u64 {
        match self.reads_per_sample.load(Relaxed) {
            1 => 1,
            mean => u64::from(rand::rng().random_range(1..2 * mean)),
        }
    }

    /// Whether a read whose turn nobody counts is a sample.
    pub(crate) fn is_drawn(&self) -> bool {
        match self.reads_per_sample.load(Relaxed) {
            1 => true,
            mean => rand::rng().random_ratio(1, mean),
        }
    }

    /// Takes a sample. Nobody waits: one that comes while another is taken is dropped.
    pub(crate) fn see<Q>(&self, key: &Q, now_ms: u64)
    where
        K: Borrow<Q>,
        Q: Hash + ToOwned<Owned = K> + ?Sized,
    {
        let Some(mut samples) = self.samples.try_lock() else { return };
        let reads = self.reads_per_sample.load(Relaxed);
        samples.sketch.see(self.hasher.hash_one(key), f64::from(reads), now_ms, || key.to_owned());
        if let Some(drawn) = &mut samples.drawn {
            drawn.seen = drawn.seen.saturating_add(1);
            if rand::rng().random_ratio(1, drawn.seen) {
                drawn.key = Some(key.to_owned());
            }
        }
        samples.in_second += 1;
        let elapsed_ms = now_ms.saturating_sub(samples.second_began_ms);
        let next = match samples.in_second {
            count if count >= MOST_PER_SECOND && elapsed_ms < 1_000 => (reads * 2).min(MOST_READS_PER_SAMPLE),
            _ if elapsed_ms < 1_000 => return,
            count if u64::from(count) * 1_000 < u64::from(LEAST_PER_SECOND) * elapsed_ms => {
                (reads / 2).max(1)
            }
            _ => reads,
        };
        self.reads_per_sample.store(next, Relaxed);
        (samples.second_began_ms, samples.in_second) = (now_ms, 0);
    }

    /// From now on keys that are read can be [taken](Self::take_drawn).
    pub(crate) fn begin_drawing(&self) {
        self.samples.lock().drawn.get_or_insert(Drawn { seen: 0, key: None });
    }

    /// One of the keys that were read since this was last asked.
    pub(crate) fn take_drawn(&self) -> Option<K> {
        let mut samples = self.samples.lock();
        let drawn = samples.drawn.as_mut()?;
        drawn.seen = 0;
        drawn.key.take()
    }

    /// Whether a key is hot now.
    pub(crate) fn is_hot(&self, key: &K, now_ms: u64) -> bool
    where
        K: Hash,
    {
        let (per_second, share) = self.samples.lock().sketch.of(self.hasher.hash_one(key), now_ms);
        is_hot(per_second, share)
    }

    pub(crate) fn hottest(&self, limit: usize, now_ms: u64) -> Vec<HotKey<K>>
    where
        K: Clone,
    {
        let heaviest = self.samples.lock().sketch.heaviest(limit, now_ms);
        let told = |known: super::sketch::Known<K>| HotKey {
            key: known.key,
            reads_per_second: known.per_second,
            share: known.share,
        };
        heaviest.into_iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads of two keys, three of one for each of the other, in turn; returns the samples taken in the last second.
    fn read(heat: &Heat<u64>, seconds: u64, reads_per_second: u64) -> u64 {
        let (mut next, mut at, mut taken) = (1, 0, 0);
        for second in 0..seconds {
            taken = 0;
            for read in 0..reads_per_second {
                at += 1;
                if at >= next {
                    next = at + heat.gap();
                    heat.see(&(at % 4 / 3), second * 1_000 + read * 1_000 / reads_per_second);
                    taken += 1;
                }
            }
        }
        taken
    }

    #[test]
    fn a_quiet_cache_is_looked_at_whole_and_a_busy_one_now_and_then() {
        for (reads_per_second, fewest, most) in [(50, 50, 50), (10_000, 60, 400), (50_000, 100, 500)] {
            let taken = read(&Heat::new(0), 30, reads_per_second);
            assert!((fewest..=most).contains(&taken), "{taken} of {reads_per_second}");
        }
    }

    #[test]
    fn reads_that_come_in_turn_are_told_by_their_part_and_rate() {
        let heat = Heat::new(0);
        read(&heat, 40, 20_000);
        let hottest = heat.hottest(10, 40_000);
        assert_eq!(hottest.iter().map(|hot| hot.key).collect::<Vec<_>>(), [0, 1]);
        assert!((hottest[0].share - 0.75).abs() < 0.08, "{hottest:?}");
        assert!((hottest[0].reads_per_second / 15_000.0 - 1.0).abs() < 0.25, "{hottest:?}");
        assert!(heat.is_hot(&0, 40_000) && !heat.is_hot(&2, 40_000));
    }

    #[test]
    fn one_of_the_keys_that_were_read_is_drawn_each_with_the_same_chance() {
        let heat = Heat::new(0);
        heat.see(&0, 0);
        assert_eq!(heat.take_drawn(), None, "nobody wanted any");
        heat.begin_drawing();
        let mut drawn = [0; 4];
        for _ in 0..4_000 {
            (0..4).for_each(|key| heat.see(&key, 0));
            drawn[heat.take_drawn().expect("four were read")] += 1;
        }
        assert!(drawn.iter().all(|times| (850..1_150).contains(times)), "{drawn:?}");
        assert_eq!(heat.take_drawn(), None, "none was read since");
    }

    #[test]
    fn a_cache_that_calms_down_is_looked_at_closely_again() {
        let heat = Heat::new(0);
        read(&heat, 10, 50_000);
        assert!(heat.reads_per_sample.load(Relaxed) > 64);
        for ms in (10_000..300_000).step_by(50) {
            if heat.is_drawn() {
                heat.see(&7, ms);
            }
        }
        assert_eq!(heat.reads_per_sample.load(Relaxed), 1);
    }
}
