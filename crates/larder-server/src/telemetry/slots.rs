//! The bound on requests at work.

use std::sync::atomic::{AtomicU32, Ordering};

/// Counts requests at work and refuses more than a fixed number. Nobody waits: a client that is told to come back can
/// go to another node, one in a queue cannot.
#[derive(Debug)]
pub(crate) struct Slots {
    taken: AtomicU32,
    max: u32,
}

/// One request's place; gives it back when dropped, also when the client goes away in the middle.
#[derive(Debug)]
#[must_use]
pub(crate) struct Slot<'a>(&'a Slots);

impl Slots {
    pub(crate) fn new(max: u32) -> Self {
        Self { taken: AtomicU32::new(0), max }
    }

    /// Takes a place; `None` when all are taken.
    pub(crate) fn try_take(&self) -> Option<Slot<'_>> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        let slot = Slot(self);
        (before < self.max).then_some(slot)
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
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
        assert!(slots.try_take().is_some());
    }
}
