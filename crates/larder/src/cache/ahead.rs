//! Refresh-ahead: a hit that refreshes what has not expired yet, so that a key in demand never expires under its readers.
//!
//! Each hit draws, and the chance grows towards the expiry and with the time that the load took, so that one of many
//! readers is early enough: XFetch, from Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede
//! Prevention", PVLDB 8(8), 2015. There every process decides for itself; here, besides, one refresh of a key runs at a
//! time on a node, and one among all nodes.
//!
//! Where the policy does not ask for that, keys that are hot when they are loaded are refreshed by the first hit that is near
//! enough to the expiry: a key that is read so often needs no luck, and with draws it would be loaded the more often the more
//! it is read. An entry that is to be refreshed carries the time that its load took.

use std::{fmt, hash::Hash, sync::Arc};

use crate::cache::{entry::Lifetime, inner::Inner, near::NearEntry};

/// Past this many load times before the expiry a draw succeeds once in 485 million times: not worth drawing.
const REACH: f64 = 20.0;
/// Two looks at one stored entry may find creations this far apart, since the clocks tick in steps.
const SAME_MS: u64 = 20;

/// Numbers from 0 to 1.
pub(crate) type Draws = Arc<dyn Fn() -> f64 + Send + Sync>;

/// A hot key is refreshed two of its load times before the expiry, in case the next load takes longer,
const HOT_LOADS: u32 = 2;
/// and by so much earlier: the pause between two reads of what is just about hot.
const HOT_PAUSE_MS: u32 = 100;
/// But in no more than this part of its lifetime, so that it is loaded a third more often at most.
const HOT_PART: u32 = 4;

/// Which hits refresh ahead.
#[derive(Clone)]
pub(crate) enum Ahead {
    /// Those that draw it.
    Drawn { beta: f64, draws: Draws },
    /// The first one near the expiry, of what was hot when it was loaded.
    Hot,
}

impl Ahead {
    /// The age from which on a hit has to think about it.
    pub(crate) fn begins_ms(&self, life: &Lifetime) -> u32 {
        if life.load_us == 0 {
            return life.fresh_ms;
        }
        let reach_ms = match self {
            // A float that is too large for the type becomes its largest value.
            Self::Drawn { beta, .. } => (f64::from(life.load_us) * beta * REACH / 1_000.0).ceil() as u32,
            Self::Hot => {
                let loads_ms = (life.load_us / 1_000).saturating_mul(HOT_LOADS);
                loads_ms.saturating_add(HOT_PAUSE_MS).min(life.fresh_ms / HOT_PART)
            }
        };
        life.fresh_ms.saturating_sub(reach_ms)
    }

    /// Whether a hit at this age refreshes. Draws, if that is to be drawn.
    fn is_due(&self, life: &Lifetime, age_ms: u64) -> bool {
        if age_ms < u64::from(self.begins_ms(life)) {
            return false;
        }
        match self {
            Self::Hot => life.load_us > 0,
            Self::Drawn { beta, draws } => {
                let remaining_ms = u64::from(life.fresh_ms).saturating_sub(age_ms);
                is_drawn(life.load_us, *beta, remaining_ms, draws())
            }
        }
    }
}

/// Whether a hit on an entry that is fresh for `remaining_ms` more refreshes it, given a number from 0 to 1.
///
/// The chance is `exp(-remaining / (load * beta))`. What took no measurable time to load is never refreshed early.
fn is_drawn(load_us: u32, beta: f64, remaining_ms: u64, drawn: f64) -> bool {
    let early_us = f64::from(load_us) * beta * -drawn.ln();
    load_us > 0 && early_us >= remaining_ms as f64 * 1_000.0
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// What an entry is to carry of the time that its load took: nothing if no hit is to refresh it ahead.
    pub(crate) fn load_time_to_keep(&self, key: &K, load_us: u64) -> u32 {
        match self.ahead {
            Ahead::Hot if !self.heat.is_hot(key, self.clock.monotonic_ms()) => 0,
            Ahead::Hot | Ahead::Drawn { .. } => load_us.min(u64::from(u32::MAX)) as u32,
        }
    }

    /// What a hit finds: the entry's creation if it is to be refreshed behind this reader.
    pub(crate) fn due_ahead(&self, entry: &NearEntry<V>) -> Option<u64> {
        let age_ms = entry.age_ms(self.clock.monotonic_ms());
        self.ahead.is_due(&entry.terms.life, age_ms).then_some(entry.terms.created_ms)
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
            prop_assert!(!is_drawn(load_us, beta, far, drawn) || is_drawn(load_us, beta, near, drawn));
        }

        #[test]
        fn a_draw_that_refreshes_also_does_so_for_a_longer_load_and_a_greater_beta(
            loads: [u32; 2], betas in [0.01_f64..100.0, 0.01_f64..100.0], remaining_ms: u32, drawn in 0.0_f64..=1.0,
        ) {
            let remaining_ms = u64::from(remaining_ms);
            let (short, long) = (loads[0].min(loads[1]), loads[0].max(loads[1]));
            let (low, high) = (betas[0].min(betas[1]), betas[0].max(betas[1]));
            prop_assert!(!is_drawn(short, low, remaining_ms, drawn) || is_drawn(long, high, remaining_ms, drawn));
        }

        #[test]
        fn before_the_age_from_which_it_draws_hardly_any_draw_would_refresh(
            load_us: u32, beta in 0.01_f64..100.0, fresh_ms: u32, earlier in 1_u32..1_000,
        ) {
            let life = Lifetime { fresh_ms, stale_ms: 0, error_ms: 0, load_us };
            let begins_ms = Ahead::Drawn { beta, draws: Arc::new(|| 1.0) }.begins_ms(&life);
            prop_assume!(begins_ms >= earlier);
            let remaining_ms = u64::from(fresh_ms - (begins_ms - earlier));
            prop_assert!(!is_drawn(load_us, beta, remaining_ms, (-REACH).exp()));
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
                .filter(|draw| is_drawn(load_us, beta, remaining_ms, f64::from(*draw) / f64::from(draws)))
                .count();
            let chance = (-(remaining_ms as f64) * 1_000.0 / (f64::from(load_us) * beta)).exp();
            let part = due as f64 / f64::from(draws);
            assert!((part - chance).abs() < 1e-4, "{part} of the draws, expected {chance}");
        }
    }

    #[test]
    fn what_is_hot_is_refreshed_two_loads_before_its_expiry_and_in_its_last_quarter_at_most() {
        let begins_ms = |fresh_ms, load_us| {
            Ahead::Hot.begins_ms(&Lifetime { fresh_ms, stale_ms: 0, error_ms: 0, load_us })
        };
        assert_eq!(begins_ms(10_000, 50_000), 9_800);
        assert_eq!(begins_ms(10_000, 3_000_000), 7_500);
        assert_eq!(begins_ms(10_000, u32::MAX), 7_500);
        assert_eq!(begins_ms(10_000, 0), 10_000, "its load time is not known");
        assert_eq!(begins_ms(0, 1), 0);
    }

    #[test]
    fn what_took_no_time_is_never_refreshed_early() {
        for drawn in [0.0, 0.5, 1.0] {
            assert!(!is_drawn(0, 100.0, 0, drawn));
        }
        assert!(is_drawn(1, 1.0, 1_000_000, 0.0), "a draw of zero always refreshes");
    }
}
