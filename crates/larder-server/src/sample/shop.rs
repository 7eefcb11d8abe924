//! The shop as a whole: how many of each there are, and which product has which reviews.

use super::dice::{Dice, Stream};

/// How many documents the shop has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) products: u32,
    pub(crate) users: u32,
    pub(crate) reviews: u32,
}

impl Sizes {
    /// What the embedded demo loads.
    pub(crate) const FULL: Self = Self { products: 20_000, users: 5_000, reviews: 60_000 };
}

/// A deterministic shop: the same seed and sizes give the same bytes, document by document and in any order.
///
/// It holds one number per product, whatever the documents weigh.
pub(crate) struct Shop {
    pub(super) seed: u64,
    pub(super) sizes: Sizes,
    /// The reviews of product `n` are those from `first_review[n - 1]` up to `first_review[n]`.
    first_review: Vec<u32>,
}

impl Shop {
    /// A shop from this seed. There must be at least as many reviews as products: each product has one or more.
    pub(crate) fn new(seed: u64, sizes: Sizes) -> Self {
        Self { seed, sizes, first_review: share_out(seed, sizes) }
    }

    /// The numbers (from 0) of the reviews of one product.
    pub(super) fn reviews_of(&self, product: u32) -> std::ops::Range<u32> {
        self.first_review[product as usize - 1]..self.first_review[product as usize]
    }

    /// The product that a review is about.
    pub(super) fn product_of(&self, review: u32) -> u32 {
        self.first_review.partition_point(|first| *first <= review) as u32
    }
}

/// One review for every product, the others by popularity: a few products have hundreds, most have one or two.
fn share_out(seed: u64, sizes: Sizes) -> Vec<u32> {
    let mut dice = Dice::new(seed, Stream::Plan, 0);
    let mut counts = vec![1_u32; sizes.products as usize];
    // Weight 1 / (rank + 20): like Zipf, without a winner that takes it all, and without floating point.
    let mut total = 0_u32;
    let cumulative: Vec<u32> = (0..sizes.products)
        .map(|rank| {
            total += 1_000_000 / (rank + 20);
            total
        })
        .collect();
    for _ in sizes.products..sizes.reviews {
        let point = dice.below(total);
        let rank = cumulative.partition_point(|end| *end <= point) as u64;
        // 7919 is prime and no factor of the sizes in use, so the popular products lie scattered over the ids.
        counts[((rank * 7919) % u64::from(sizes.products)) as usize] += 1;
    }
    let mut next = 0;
    let mut first_review = vec![0];
    first_review.extend(counts.into_iter().map(|count| {
        next += count;
        next
    }));
    first_review
}
