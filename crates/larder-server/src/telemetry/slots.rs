//! The bound on requests at work.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use parking_lot::Mutex;

use super::stripe::{STRIPES, own_stripe};

/// How many places a stripe takes at once from those that nobody has, and how many more than that it keeps.
const HANDFUL: u32 = 16;

/// Counts requests at work and refuses more than a fixed number. Nobody waits: a client that is told to come back can
/// go to another node, one in a queue cannot.
///
/// Each thread takes places out of its own stripe and gives them back to it. One count for all would be written twice by every
/// request, and its line of memory would travel between the cores each time.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Places that no stripe has. All places are here, in a stripe, or taken; locked while some are moved, so that nobody misses
    /// those on their way.
    free: Mutex<u32>,
    stripes: Box<[Places]>,
    max: u32,
}

/// One request's place; gives it back when dropped, also when the client goes away in the middle.
#[derive(Debug)]
#[must_use]
pub(crate) struct Slot<'a>(&'a Slots);

#[derive(Debug)]
#[repr(align(128))]
struct Places(AtomicU32);

impl Places {
    fn new(count: u32) -> Self {
        Self(AtomicU32::new(count))
    }

    /// Takes at most so many.
    fn take(&self, most: u32) -> u32 {
        let take = |there: u32| (there > 0).then(|| there.saturating_sub(most));
        self.0.fetch_update(Relaxed, Relaxed, take).map_or(0, |there| there.min(most))
    }

    fn give(&self, count: u32) -> u32 {
        self.0.fetch_add(count, Relaxed) + count
    }
}

impl Slots {
    pub(crate) fn new(max: u32) -> Self {
        Self { free: Mutex::new(max), stripes: (0..STRIPES).map(|_| Places::new(0)).collect(), max }
    }

    /// Takes a place; `None` when all are taken.
    pub(crate) fn try_take(&self) -> Option<Slot<'_>> {
        let own = &self.stripes[own_stripe()];
        (own.take(1) > 0 || self.find(own)).then(|| Slot(self))
    }

    /// A place from where all can take, with a handful for later, or from another stripe.
    #[cold]
    fn find(&self, own: &Places) -> bool {
        let mut free = self.free.lock();
        let found = HANDFUL.min(*free);
        if found > 0 {
            *free -= found;
            own.give(found - 1);
            return true;
        }
        self.stripes.iter().any(|stripe| stripe.take(1) > 0)
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> u32 {
        let free = self.free.lock();
        let untaken = *free + self.stripes.iter().map(|stripe| stripe.0.load(Relaxed)).sum::<u32>();
        // Read one after the other while they move.
        self.max.saturating_sub(untaken)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let own = &self.0.stripes[own_stripe()];
        if own.give(1) > 2 * HANDFUL {
            let mut free = self.0.free.lock();
            *free += own.take(HANDFUL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn a_full_house_refuses_and_a_leaver_makes_room() {
        let slots = Slots::new(2);
        let first = slots.try_take();
        let second = slots.try_take();
        assert!(first.is_some() && second.is_some());
        assert!(slots.try_take().is_none());
        assert_eq!(slots.taken(), 2);
        drop(first);
        assert_eq!(slots.taken(), 1);
        assert!(slots.try_take().is_some());
    }

    #[test]
    fn every_place_can_be_had_by_one_thread_wherever_the_others_left_them() {
        const MAX: u32 = 5 * HANDFUL;
        let slots = Slots::new(MAX);
        thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| {
                    let taken: Vec<Slot<'_>> = (0..3).filter_map(|_| slots.try_take()).collect();
                    drop(taken);
                });
            }
        });
        let all: Vec<Slot<'_>> = std::iter::from_fn(|| slots.try_take()).collect();
        assert_eq!((all.len() as u32, slots.taken()), (MAX, MAX));
        drop(all);
        assert_eq!(slots.taken(), 0);
    }

    #[test]
    fn nobody_is_refused_while_there_is_a_place() {
        let houses: Vec<Slots> = (0..20_000).map(|_| Slots::new(2)).collect();
        let arrived = AtomicU32::new(0);
        let refusals = || {
            let is_refused = |(slots, round): &(&Slots, u32)| {
                // Both at the same moment, as nearly as can be.
                arrived.fetch_add(1, Relaxed);
                while arrived.load(Relaxed) < 2 * round {
                    std::hint::spin_loop();
                }
                // Kept for good: what is given back would hide what is missed.
                slots.try_take().map(std::mem::forget).is_none()
            };
            houses.iter().zip(1..).filter(is_refused).count()
        };
        let refused = thread::scope(|scope| {
            [(); 2].map(|()| scope.spawn(refusals)).map(|thread| thread.join().unwrap())
        });
        assert_eq!(refused, [0; 2]);
    }

    #[test]
    fn no_more_are_at_work_than_there_are_places_whoever_takes_and_gives_back() {
        const MAX: u32 = 3;
        let (slots, at_work, begin) = (Slots::new(MAX), AtomicU32::new(0), Barrier::new(4));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    begin.wait();
                    for _ in 0..20_000 {
                        let slot = slots.try_take();
                        if slot.is_some() {
                            assert!(at_work.fetch_add(1, Relaxed) < MAX);
                            at_work.fetch_sub(1, Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(slots.taken(), 0);
    }
}
