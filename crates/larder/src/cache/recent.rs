//! Invalidations that Redis has acknowledged a moment ago, in case that it loses them.
//!
//! A primary that is cut off may go on to acknowledge after its replica has taken over. What it acknowledges goes with it, and
//! what the new primary was given meanwhile stands. So each node remembers what it was acknowledged lately, and when a shard
//! begins another epoch, which is how it notices, it owes all of that again.

use std::{collections::BTreeSet, time::Duration};

use parking_lot::Mutex;

use crate::cache::{
    shared::Action,
    unsent::{Debt, What},
};

/// The most debts of one shard and one window. Past it they become one: to clear the shard.
const MOST_KEPT: usize = 1_000;
/// How many epochs a shard may begin while one invalidation of it is under way.
const EPOCHS: usize = 4;

/// What one node was acknowledged lately, by shards. Remembered for one window at least and two at most.
#[derive(Debug)]
pub(crate) struct Recent {
    /// Zero: nothing is remembered.
    window_ms: u64,
    shards: Box<[Mutex<Shard>]>,
}

/// A short section on the way of an invalidation, and never held while anything is awaited: hence a plain mutex.
#[derive(Debug, Default)]
struct Shard {
    young: BTreeSet<What>,
    /// Of the window before.
    old: BTreeSet<What>,
    turned_ms: u64,
    /// The last epochs that were left: what was acknowledged in one of them, and is noted late, is lost as well.
    left: [u64; EPOCHS],
}

impl Recent {
    pub(crate) fn new(shards: u16, window: Duration) -> Self {
        let shards = (0..shards).map(|_| Mutex::default()).collect();
        Self { window_ms: window.as_millis() as u64, shards }
    }

    /// Remembers what a shard has acknowledged in this epoch. Returns what is owed again at once, because the shard has another
    /// epoch by now.
    #[must_use]
    pub(crate) fn note(&self, shard: u16, epoch: u64, debts: Vec<Debt>, now_ms: u64) -> Vec<Debt> {
        if self.window_ms == 0 {
            return Vec::new();
        }
        let mut kept = self.shards[usize::from(shard)].lock();
        if kept.left.contains(&epoch) {
            return debts;
        }
        kept.turn(now_ms, self.window_ms);
        for Debt { what, .. } in debts {
            if kept.young.contains(&What::Clear) {
                break;
            }
            kept.young.insert(what);
            if kept.young.len() > MOST_KEPT {
                kept.young = BTreeSet::from([What::Clear]);
            }
        }
        Vec::new()
    }

    /// The shard leaves an epoch, and what was acknowledged in it may be lost: returns what is owed again.
    #[must_use]
    pub(crate) fn leave(&self, shard: u16, epoch: u64, now_ms: u64) -> Vec<Debt> {
        let mut kept = self.shards[usize::from(shard)].lock();
        kept.turn(now_ms, self.window_ms);
        kept.left.rotate_right(1);
        kept.left[0] = epoch;
        let (mut lost, mut young) = (std::mem::take(&mut kept.old), std::mem::take(&mut kept.young));
        lost.append(&mut young);
        if lost.contains(&What::Clear) {
            lost = BTreeSet::from([What::Clear]);
        }
        lost.into_iter().map(|what| Debt { shard, what }).collect()
    }
}

impl Shard {
    fn turn(&mut self, now_ms: u64, window_ms: u64) {
        let age_ms = now_ms.saturating_sub(self.turned_ms);
        if age_ms < window_ms {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        if age_ms >= window_ms * 2 {
            self.old.clear();
        }
        self.turned_ms = now_ms;
    }
}

impl Action<'_> {
    /// What is owed if the shard does not acknowledge this, or loses it afterwards. A block is not: the write ends with an
    /// invalidation.
    pub(crate) fn debts(&self, shard: u16) -> Vec<Debt> {
        let whats = match self {
            Self::Unlink(texts) | Self::Expire(texts, _) => texts.iter().cloned().map(What::Key).collect(),
            Self::Block(..) => Vec::new(),
            Self::Tag(tag) => vec![What::Tag(tag.hash)],
            // What a pattern matches now need not be what it matched then.
            Self::Clear | Self::RefuseFills => vec![What::Clear],
        };
        whats.into_iter().map(|what| Debt { shard, what }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(100);

    fn keys(range: std::ops::Range<usize>) -> Vec<Debt> {
        range.map(|n| Debt::key(0, &format!("{n:05}"))).collect()
    }

    fn noted(recent: &Recent, range: std::ops::Range<usize>, now_ms: u64) {
        assert!(recent.note(0, 1, keys(range), now_ms).is_empty());
    }

    #[test]
    fn what_was_acknowledged_within_the_window_is_owed_again_once() {
        let recent = Recent::new(2, WINDOW);
        noted(&recent, 0..1, 1_000);
        noted(&recent, 1..2, 1_099);
        noted(&recent, 1..3, 1_101);
        assert_eq!(recent.leave(1, 1, 1_150), [], "another shard");
        assert_eq!(recent.leave(0, 1, 1_150), keys(0..3));
        assert_eq!(recent.leave(0, 2, 1_150), []);
    }

    #[test]
    fn nothing_is_remembered_for_more_than_two_windows() {
        for (now_ms, expected) in [(1_199, 0..2), (1_200, 1..2), (1_299, 1..2), (1_400, 0..0)] {
            let recent = Recent::new(1, WINDOW);
            noted(&recent, 0..1, 1_000);
            noted(&recent, 1..2, 1_100);
            assert_eq!(recent.leave(0, 1, now_ms), keys(expected), "{now_ms}");
        }
        let recent = Recent::new(1, Duration::ZERO);
        noted(&recent, 0..1, 1_000);
        assert_eq!(recent.leave(0, 1, 1_000), []);
    }

    #[test]
    fn what_is_acknowledged_late_in_an_epoch_that_was_left_is_owed_at_once() {
        let recent = Recent::new(1, WINDOW);
        for epoch in 1..=3 {
            assert_eq!(recent.leave(0, epoch, 1_000), []);
        }
        assert_eq!(recent.note(0, 1, keys(0..1), 1_000), keys(0..1));
        noted_in(&recent, 4);
        assert_eq!(recent.leave(0, 4, 1_000), keys(0..1));
    }

    fn noted_in(recent: &Recent, epoch: u64) {
        assert!(recent.note(0, epoch, keys(0..1), 1_000).is_empty());
    }

    #[test]
    fn more_than_is_kept_becomes_one_clear_of_the_shard_for_as_long() {
        let recent = Recent::new(1, WINDOW);
        noted(&recent, 0..MOST_KEPT, 1_000);
        noted(&recent, 0..MOST_KEPT, 1_050);
        assert_eq!(recent.leave(0, 9, 1_100), keys(0..MOST_KEPT), "the same keys again are no more keys");
        noted(&recent, 0..MOST_KEPT + 1, 1_100);
        noted(&recent, 0..5, 1_199);
        noted(&recent, 5..6, 1_200);
        assert_eq!(recent.leave(0, 9, 1_299), [Debt { shard: 0, what: What::Clear }]);
        noted(&recent, 0..MOST_KEPT + 1, 1_300);
        noted(&recent, 7..8, 1_500);
        assert_eq!(recent.leave(0, 9, 1_500), keys(7..8));
    }
}
