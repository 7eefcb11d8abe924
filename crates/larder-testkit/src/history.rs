//! Judging reads: did one that began after an acknowledged invalidation return something older?
//!
//! Each key holds a number that only grows. A writer makes it grow in the database, invalidates, and reports the
//! acknowledgement. A reader asks for the floor before it begins and hands in what it got. Whatever is below the floor is
//! stale: exact, since the floor is taken before the read, and an acknowledgement is reported only after it came.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::report;

/// What happened to a few keys on a few nodes.
#[derive(Debug)]
pub struct History {
    keys: Box<[Mutex<Vec<Acknowledged>>]>,
    reads: AtomicU64,
    writes: AtomicU64,
    stale_here: AtomicU64,
    stale_elsewhere: AtomicU64,
    worst: Mutex<Worst>,
}

#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    version: u64,
    node: usize,
    /// Whether the other nodes are to know of it as well.
    everywhere: bool,
    at: Instant,
}

/// The longest that a read lay behind an acknowledgement, from the node itself and from another.
#[derive(Clone, Copy, Debug, Default)]
struct Worst {
    here: Duration,
    elsewhere: Duration,
}

/// What a read that begins now must not fall below.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    key: usize,
    node: usize,
    begun: Instant,
}

/// What the reads came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Reads that returned a value.
    pub reads: u64,
    /// Invalidations that were acknowledged.
    pub writes: u64,
    /// Reads that were older than what their own node had acknowledged before they began.
    pub stale_here: u64,
    /// Reads that were older than what only other nodes had acknowledged.
    pub stale_elsewhere: u64,
    /// The longest time from an acknowledgement to the beginning of a read on the same node that did not see it.
    pub oldest_here: Duration,
    /// The same on other nodes.
    pub oldest_elsewhere: Duration,
}

impl Verdict {
    /// Stale reads in a million.
    pub fn stale_per_million(&self) -> f64 {
        (self.stale_here + self.stale_elsewhere) as f64 * 1e6 / self.reads.max(1) as f64
    }

    /// Says what the reads of `what` came to, now and at the end of `cargo xtask test`.
    pub fn say(&self, what: &str) {
        let Self { reads, writes, stale_here, .. } = self;
        report::say(&format!(
            "Stale reads in a million, {what}: {:.0} ({reads} reads, {writes} acknowledged writes; on the node that wrote {stale_here}, \
             on others up to {} ms after the acknowledgement)",
            self.stale_per_million(),
            self.oldest_elsewhere.as_millis(),
        ));
    }
}

impl History {
    /// A history of keys `0..keys`.
    pub fn new(keys: usize) -> Self {
        Self {
            keys: (0..keys).map(|_| Mutex::default()).collect(),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            stale_here: AtomicU64::new(0),
            stale_elsewhere: AtomicU64::new(0),
            worst: Mutex::default(),
        }
    }

    /// The key has reached `version` in the database, and `node` was told that its invalidation is done.
    pub fn acknowledged(&self, key: usize, version: u64, node: usize) {
        self.writes.fetch_add(1, Relaxed);
        self.keys[key].lock().push(Acknowledged { version, node, everywhere: true, at: Instant::now() });
    }

    /// The key has reached `version` in the database, and `node` has heard of it; whether others have is not known.
    pub fn heard(&self, key: usize, version: u64, node: usize) {
        self.keys[key].lock().push(Acknowledged { version, node, everywhere: false, at: Instant::now() });
    }

    /// To be called before a read of `key` on `node` begins.
    pub fn floor(&self, key: usize, node: usize) -> Floor {
        Floor { key, node, begun: Instant::now() }
    }

    /// The read that began at `floor` returned `version`. Returns whether that was fresh.
    pub fn has_read(&self, floor: Floor, version: u64) -> bool {
        self.reads.fetch_add(1, Relaxed);
        let (here, elsewhere) = (self.missed(floor, version, true), self.missed(floor, version, false));
        if let Some(age) = here {
            self.stale_here.fetch_add(1, Relaxed);
            let mut worst = self.worst.lock();
            worst.here = worst.here.max(age);
        } else if let Some(age) = elsewhere {
            self.stale_elsewhere.fetch_add(1, Relaxed);
            let mut worst = self.worst.lock();
            worst.elsewhere = worst.elsewhere.max(age);
        }
        here.is_none() && elsewhere.is_none()
    }

    /// How long before the read that began at `floor` and returned `version` the first acknowledgement came that it lay behind.
    /// Counts nothing.
    pub fn behind(&self, floor: Floor, version: u64) -> Option<Duration> {
        self.missed(floor, version, true).max(self.missed(floor, version, false))
    }

    fn missed(&self, floor: Floor, version: u64, of_this_node: bool) -> Option<Duration> {
        let acknowledged = self.keys[floor.key].lock();
        let missed = acknowledged.iter().filter(|ack| {
            let concerns =
                if of_this_node { ack.node == floor.node } else { ack.node != floor.node && ack.everywhere };
            concerns && ack.version > version && ack.at <= floor.begun
        });
        missed.map(|ack| floor.begun - ack.at).max()
    }

    /// What the reads came to so far.
    pub fn verdict(&self) -> Verdict {
        let worst = *self.worst.lock();
        Verdict {
            reads: self.reads.load(Relaxed),
            writes: self.writes.load(Relaxed),
            stale_here: self.stale_here.load(Relaxed),
            stale_elsewhere: self.stale_elsewhere.load(Relaxed),
            oldest_here: worst.here,
            oldest_elsewhere: worst.elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_stale_only_if_it_began_after_the_acknowledgement() {
        let history = History::new(1);
        let before = history.floor(0, 0);
        history.acknowledged(0, 2, 0);
        let after = history.floor(0, 0);
        assert!(history.has_read(before, 1), "it overlapped the write");
        assert_eq!(history.behind(before, 1), None);
        assert!(history.has_read(after, 2));
        assert!(history.has_read(after, 3), "a later write may be seen early");
        assert!(!history.has_read(after, 1));
        assert!(history.behind(after, 1).is_some() && history.behind(after, 2).is_none());
        let verdict = history.verdict();
        assert_eq!((verdict.reads, verdict.stale_here, verdict.stale_elsewhere), (4, 1, 0));
    }

    #[test]
    fn what_another_node_acknowledged_is_counted_apart() {
        let history = History::new(2);
        history.acknowledged(0, 2, 1);
        assert!(!history.has_read(history.floor(0, 0), 1));
        assert!(history.has_read(history.floor(1, 0), 1), "another key");
        let verdict = history.verdict();
        assert_eq!((verdict.stale_here, verdict.stale_elsewhere), (0, 1));
        assert_eq!(verdict.stale_per_million(), 500_000.0);
    }

    #[test]
    fn what_one_node_has_heard_binds_nobody_else() {
        let history = History::new(1);
        history.heard(0, 2, 1);
        assert!(history.has_read(history.floor(0, 0), 1), "another node");
        assert!(!history.has_read(history.floor(0, 1), 1));
        let verdict = history.verdict();
        assert_eq!((verdict.writes, verdict.stale_here, verdict.stale_elsewhere), (0, 1, 0));
    }
}
