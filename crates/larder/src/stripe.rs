//! Which stripe of a counter a thread counts in, so that counting never makes two cores fight over a line of memory: one of
//! its own while there are enough, and then counting takes no locked instruction; else the one that is shared.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

/// The shared one, and one for each bit of [`TAKEN`].
pub(crate) const STRIPES: usize = 1 + u64::BITS as usize;
/// The stripe that any thread may count in, and any number of them at once.
pub(crate) const SHARED: usize = 0;
const UNKNOWN: usize = usize::MAX;

/// The stripes that threads have to themselves, a bit each.
static TAKEN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static OWN: Cell<usize> = const { Cell::new(UNKNOWN) };
    static HELD: Held = take();
}

/// A thread's stripe, until the thread ends.
struct Held(usize);

impl Drop for Held {
    fn drop(&mut self) {
        // What the thread still counts while it ends goes to the shared stripe.
        OWN.set(SHARED);
        if self.0 != SHARED {
            // Whoever takes the stripe next sees what was counted in it.
            TAKEN.fetch_and(!(1 << (self.0 - 1)), Ordering::Release);
        }
    }
}

/// This thread's stripe. Only [`SHARED`] may be anybody else's as well.
#[inline]
pub(crate) fn own() -> usize {
    match OWN.get() {
        UNKNOWN => find(),
        own => own,
    }
}

#[cold]
fn find() -> usize {
    let own = HELD.try_with(|held| held.0).unwrap_or(SHARED);
    OWN.set(own);
    own
}

fn take() -> Held {
    let free = |taken: u64| (taken != u64::MAX).then(|| taken | (taken + 1));
    let taken = TAKEN.fetch_update(Ordering::Acquire, Ordering::Relaxed, free);
    Held(taken.map_or(SHARED, |taken| 1 + taken.trailing_ones() as usize))
}

/// A counter that many threads count up, in a few stripes: reading it costs more, and one that is small costs less memory.
#[derive(Debug, Default)]
pub(crate) struct Tally([Lone<AtomicU64>; FEW]);

/// How many stripes there are of what is counted in few: threads may share one.
pub(crate) const FEW: usize = 8;

/// Alone in its line of memory, and in the next, which the processor fetches along.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Lone<T>(pub(crate) T);

/// This thread's stripe of a few.
#[inline]
pub(crate) fn own_of_few() -> usize {
    own() % FEW
}

impl Tally {
    #[inline]
    pub(crate) fn add_one(&self) {
        self.0[own_of_few()].0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Barrier, thread};

    use super::*;

    #[test]
    fn a_tally_has_what_all_threads_counted() {
        let tally = Tally::default();
        thread::scope(|scope| {
            for _ in 0..2 * FEW {
                scope.spawn(|| (0..1_000).for_each(|_| tally.add_one()));
            }
        });
        assert_eq!(tally.sum(), 2_000 * FEW as u64);
    }

    #[test]
    fn no_two_threads_have_one_stripe_and_those_that_end_leave_theirs_to_others() {
        const THREADS: usize = 100;
        for _ in 0..2 {
            let all_have_one = Barrier::new(THREADS);
            let own = || {
                let own = own();
                all_have_one.wait();
                own
            };
            let found: Vec<usize> = thread::scope(|scope| {
                let running: Vec<_> = (0..THREADS).map(|_| scope.spawn(own)).collect();
                running.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let exclusive: Vec<usize> = found.into_iter().filter(|own| *own != SHARED).collect();
            assert_eq!(exclusive.iter().collect::<HashSet<_>>().len(), exclusive.len());
            assert!(exclusive.iter().all(|own| *own < STRIPES));
            // Other tests run beside this one and have theirs.
            assert!(exclusive.len() > STRIPES / 2, "{} threads found a stripe of their own", exclusive.len());
        }
    }
}
