//! Refresh-ahead: a hit that refreshes what has not expired yet, so that a key in demand never expires under its readers.
//!
//! Each hit draws, and the chance grows towards the expiry and with the time that the load took, so that one of many
//! readers is early enough: XFetch, from Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede
//! Prevention", PVLDB 8(8), 2015. There every process decides for itself; here, besides, one refresh of a key runs at a
//! time on a node, and one among all nodes.

use std::{fmt, hash::Hash, sync::Arc};

use crate::cache::{entry::Lifetime, inner::Inner, near::NearEntry};

/// Past this many load times before the expiry a draw succeeds once in 485 million times: not worth drawing.
const REACH: f64 = 20.0;
/// Two looks at one stored entry may find creations this far apart, since the clocks tick in steps.
const SAME_MS: u64 = 20;

/// Numbers from 0 to 1.
pub(crate) type Draws = Arc<dyn Fn() -> f64 + Send + Sync>;

/// How a cache refreshes ahead.
pub(crate) struct Ahead {
    pub(crate) beta: f64,
    pub(crate) draws: Draws,
}

impl Ahead {
    /// The same for another cache.
    pub(crate) fn share(&self) -> Self {
        Self { beta: self.beta, draws: self.draws.clone() }
    }

    /// The age from which on a hit draws.
    pub(crate) fn begins_ms(&self, life: &Lifetime) -> u32 {
        let reach_ms = f64::from(life.load_us) * self.beta * REACH / 1_000.0;
        // A float that is too large for the type becomes its largest value.
        life.fresh_ms.saturating_sub(reach_ms.ceil() as u32)
    }
}

/// Whether a hit on an entry that is fresh for `remaining_ms` more refreshes it, given a number from 0 to 1.
///
/// The chance is `exp(-remaining / (load * beta))`. What took no measurable time to load is never refreshed early.
pub(crate) fn is_due(load_us: u32, beta: f64, remaining_ms: u64, drawn: f64) -> bool {
    let early_us = f64::from(load_us) * beta * -drawn.ln();
    load_us > 0 && early_us >= remaining_ms as f64 * 1_000.0
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Draws for one hit: the entry's creation if it is to be refreshed behind this reader.
    pub(crate) fn drawn_ahead(&self, entry: &NearEntry<V>) -> Option<u64> {
        let ahead = self.ahead.as_ref()?;
        let age_ms = entry.age_ms(self.clock.monotonic_ms());
        if age_ms < u64::from(ahead.begins_ms(&entry.terms.life)) {
            return None;
        }
        let remaining_ms = u64::from(entry.terms.life.fresh_ms).saturating_sub(age_ms);
        is_due(entry.terms.life.load_us, ahead.beta, remaining_ms, (ahead.draws)())
            .then_some(entry.terms.created_ms)
    }
}

/// Whether an entry is another one than that which is to be refreshed: somebody was faster.
pub(crate) fn is_newer(created_ms: u64, than: Option<u64>) -> bool {
    than.is_none_or(|than| created_ms > than + SAME_MS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_draw_that_refreshes_also_does_so_nearer_to_the_expiry(
            load_us: u32, beta in 0.01_f64..100.0, remaining: u32, nearer: u32, drawn in 0.0_f64..=1.0,
        ) {
            let (far, near) = (u64::from(remaining.max(nearer)), u64::from(remaining.min(nearer)));
            prop_assert!(!is_due(load_us, beta, far, drawn) || is_due(load_us, beta, near, drawn));
        }

        #[test]
        fn a_draw_that_refreshes_also_does_so_for_a_longer_load_and_a_greater_beta(
            loads: [u32; 2], betas in [0.01_f64..100.0, 0.01_f64..100.0], remaining_ms: u32, drawn in 0.0_f64..=1.0,
        ) {
            let remaining_ms = u64::from(remaining_ms);
            let (short, long) = (loads[0].min(loads[1]), loads[0].max(loads[1]));
            let (low, high) = (betas[0].min(betas[1]), betas[0].max(betas[1]));
            prop_assert!(!is_due(short, low, remaining_ms, drawn) || is_due(long, high, remaining_ms, drawn));
        }

        #[test]
        fn before_the_age_from_which_it_draws_hardly_any_draw_would_refresh(
            load_us: u32, beta in 0.01_f64..100.0, fresh_ms: u32, earlier in 1_u32..1_000,
        ) {
            let life = Lifetime { fresh_ms, stale_ms: 0, error_ms: 0, load_us };
            let begins_ms = Ahead { beta, draws: Arc::new(|| 1.0) }.begins_ms(&life);
            prop_assume!(begins_ms >= earlier);
            let remaining_ms = u64::from(fresh_ms - (begins_ms - earlier));
            prop_assert!(!is_due(load_us, beta, remaining_ms, (-REACH).exp()));
        }
    }

    /// Of evenly spread draws the part that refreshes is the chance that the formula gives.
    #[test]
    fn the_chance_is_what_the_paper_says() {
        let draws = 100_000;
        for (load_us, beta, remaining_ms) in
            [(50_000, 1.0, 50), (50_000, 2.0, 50), (50_000, 1.0, 200), (1_000, 1.0, 3)]
        {
            let due = (1..=draws)
                .filter(|draw| is_due(load_us, beta, remaining_ms, f64::from(*draw) / f64::from(draws)))
                .count();
            let chance = (-(remaining_ms as f64) * 1_000.0 / (f64::from(load_us) * beta)).exp();
            let part = due as f64 / f64::from(draws);
            assert!((part - chance).abs() < 1e-4, "{part} of the draws, expected {chance}");
        }
    }

    #[test]
    fn what_took_no_time_is_never_refreshed_early() {
        for drawn in [0.0, 0.5, 1.0] {
            assert!(!is_due(0, 100.0, 0, drawn));
        }
        assert!(is_due(1, 1.0, 1_000_000, 0.0), "a draw of zero always refreshes");
    }
}
