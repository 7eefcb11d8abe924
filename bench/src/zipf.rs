//! Ranks that come as often as in real life, and the same in every run.

/// The law of Zipf over so many ranks, with exponent 1.
#[derive(Debug)]
pub struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    /// Over ranks `0..ranks`.
    pub fn new(ranks: usize) -> Self {
        let mut sum = 0.0;
        let sums = (1..=ranks).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self { sums: sums.collect() }
    }

    /// The rank of one draw, by its number.
    pub fn rank(&self, number: u64) -> usize {
        let drawn = spread(number) as f64 / u64::MAX as f64 * self.sums.last().copied().unwrap_or(0.0);
        self.sums.partition_point(|reached| *reached < drawn).min(self.sums.len().saturating_sub(1))
    }
}

/// splitmix64: numbers that look random and are the same in every run.
pub fn spread(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
