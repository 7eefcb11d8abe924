//! Chance. In tests it can be had by seed, so that what happened once can happen again.

#[cfg(not(test))]
pub(crate) use rand::rng as dice;

#[cfg(test)]
pub(crate) use self::seeded::{dice, seed};

#[cfg(test)]
mod seeded {
    use std::cell::RefCell;

    use rand::{RngCore, SeedableRng, rngs::StdRng};

    thread_local! {
        static SEEDED: RefCell<Option<StdRng>> = const { RefCell::new(None) };
    }

    /// From now on this thread draws by seed.
    pub(crate) fn seed(seed: u64) {
        SEEDED.set(Some(StdRng::seed_from_u64(seed)));
    }

    /// The dice of this thread.
    pub(crate) fn dice() -> Dice {
        Dice
    }

    pub(crate) struct Dice;

    fn with<T>(draw: impl FnOnce(&mut dyn RngCore) -> T) -> T {
        SEEDED.with_borrow_mut(|seeded| match seeded {
            Some(seeded) => draw(seeded),
            None => draw(&mut rand::rng()),
        })
    }

    impl RngCore for Dice {
        fn next_u32(&mut self) -> u32 {
            with(|dice| dice.next_u32())
        }

        fn next_u64(&mut self) -> u64 {
            with(|dice| dice.next_u64())
        }

        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            with(|dice| dice.fill_bytes(bytes));
        }
    }
}
