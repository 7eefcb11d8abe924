//! How far a worker has read in a stream in which operations wait: values and decisions, no I/O.
//!
//! What the sink does not take stays in the stream. The worker reads past it, remembers whose operations it has left behind, and
//! begins again at the oldest when one of them is due.

use std::collections::HashSet;

use tokio::time::Instant;

/// Where the next batch begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The version to read from; 0 is the oldest.
    pub(crate) from: u64,
    /// How many steps the shard's owners had taken: batches they were given, and operations they struck off. Redis lets a worker read
    /// on only if it counts as many. A server that took over may have lost some, and have operations before the place again.
    pub(crate) steps: u64,
}

/// One way through the operations of a shard, from the oldest on.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    place: Place,
    /// Keys with operations before the place. Their later ones wait for those, or an older write would follow a newer one.
    left: HashSet<String>,
    first_due: Option<Instant>,
    /// How many operations are still to be looked at before it may begin again: all that were there when it began, so that what waits
    /// in front cannot keep the others from their turn.
    ahead: u64,
}

impl Sweep {
    /// One that begins with the oldest of `all` operations.
    pub(crate) fn begin(all: u64, steps: u64) -> Self {
        Self { place: Place { from: 0, steps }, ahead: all, ..Self::default() }
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// When the first key is due that was left behind; `None` if none was.
    pub(crate) fn first_due(&self) -> Option<Instant> {
        self.first_due
    }

    /// Whether it is time to begin again with the oldest.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.ahead == 0 && self.first_due.is_some_and(|due| due <= now)
    }

    /// Whether an operation of this key is waiting before the place.
    pub(crate) fn has_left(&self, key: &str) -> bool {
        self.left.contains(key)
    }

    /// The sink did not take this key's operations.
    pub(crate) fn leave(&mut self, key: String, due: Instant) {
        self.first_due = Some(self.first_due.map_or(due, |first| first.min(due)));
        self.left.insert(key);
    }

    /// Operations were struck off.
    pub(crate) fn strike(&mut self) {
        self.place.steps += 1;
    }

    /// A batch was given from the place on.
    pub(crate) fn given(&mut self, steps: u64) {
        self.place.steps = steps;
    }

    /// A batch was looked at: so many operations up to this version, and whether there may be more.
    pub(crate) fn go_on(&mut self, operations: usize, last: Option<u64>, is_full: bool) {
        self.ahead = if is_full { self.ahead.saturating_sub(operations as u64) } else { 0 };
        if let Some(last) = last {
            self.place.from = last + 1;
        }
        if self.left.is_empty() {
            // Nothing waits before the place: the oldest is the next one.
            self.place.from = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_looks_at_all_that_was_there_before_it_begins_again() {
        let now = Instant::now();
        let mut sweep = Sweep::begin(5, 0);
        sweep.leave("a".into(), now);
        sweep.go_on(2, Some(20), true);
        assert!(!sweep.is_over(now), "three are ahead");
        sweep.go_on(2, Some(40), true);
        assert!(!sweep.is_over(now), "one is ahead");
        sweep.go_on(2, Some(60), true);
        assert!(sweep.is_over(now), "what came meanwhile has its turn later");
    }

    #[test]
    fn at_the_end_of_the_stream_it_stays_until_a_key_is_due() {
        let (now, later) = (Instant::now(), Duration::from_secs(1));
        let mut sweep = Sweep::begin(9, 0);
        sweep.leave("a".into(), now + 2 * later);
        sweep.leave("b".into(), now + later);
        sweep.go_on(1, Some(10), false);
        assert!(!sweep.is_over(now));
        assert_eq!((sweep.first_due(), sweep.place().from), (Some(now + later), 11));
        assert!(sweep.is_over(now + later));
    }

    #[test]
    fn a_key_that_was_left_behind_stays_so_though_it_is_due() {
        let mut sweep = Sweep::begin(4, 0);
        sweep.leave("a".into(), Instant::now());
        sweep.go_on(2, Some(20), true);
        assert!(sweep.has_left("a") && !sweep.has_left("b"));
    }

    #[test]
    fn with_nothing_left_behind_the_oldest_is_the_next() {
        let mut sweep = Sweep::begin(4, 7);
        sweep.strike();
        sweep.go_on(2, Some(20), true);
        assert_eq!(sweep.place(), Place { from: 0, steps: 8 });
    }
}
