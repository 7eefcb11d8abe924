//! Randomness for the sample shop: seeded, and the same bytes on every machine and with every version of `rand`.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// Which documents a stream of dice belongs to. A stream per document makes each document a function of the seed and
/// its own number alone, so any one of them can be made without the others.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    Plan = 0,
    Product = 1,
    User = 2,
    Review = 3,
}

/// Dice for one document. Whole numbers only, no `ln` or `pow`: those differ in the last bit between platforms.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The dice of document `number` in `stream`.
    pub(super) fn new(seed: u64, stream: Stream, number: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream((stream as u64) << 32 | u64::from(number));
        Self(rng)
    }

    /// A number below `bound`, which must not be zero.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        // Multiply and shift: for bounds this small the bias is under one in a hundred thousand.
        ((u64::from(self.0.next_u32()) * u64::from(bound)) >> 32) as u32
    }

    /// A number from `low` up to and including `high`.
    pub(super) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    /// True in `percent` of a hundred throws.
    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// A number from `low` to `high`, small ones far more often: the cube of an even draw.
    pub(super) fn skewed(&mut self, low: u32, high: u32) -> u32 {
        let even = u64::from(self.0.next_u32() >> 16);
        let cube = (even * even * even) >> 32;
        low + ((u64::from(high - low) * cube) >> 16) as u32
    }

    /// One of `choices`, each equally likely.
    pub(super) fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len() as u32) as usize]
    }

    /// `count` different ones of `choices`, in their order there; all of them if there are no more.
    pub(super) fn pick_several<'a>(&mut self, choices: &[&'a str], count: usize) -> Vec<&'a str> {
        let mut wanted = count.min(choices.len());
        let mut picked = Vec::with_capacity(wanted);
        for (index, choice) in choices.iter().enumerate() {
            let left = choices.len() - index;
            if (self.below(left as u32) as usize) < wanted {
                picked.push(*choice);
                wanted -= 1;
            }
        }
        picked
    }

    /// The index of one of `weights`, each as likely as its weight.
    pub(super) fn weighted(&mut self, weights: impl Iterator<Item = u32> + Clone) -> usize {
        let mut point = self.below(weights.clone().sum());
        for (index, weight) in weights.enumerate() {
            if point < weight {
                return index;
            }
            point -= weight;
        }
        0
    }
}
