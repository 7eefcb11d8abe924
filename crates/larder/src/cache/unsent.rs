//! Invalidations that Redis has not acknowledged: kept, replayed, and respected by this node's own reads until then.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;

/// The most keys that are kept. Past that, this node leaves the shared tier alone until everything that could be stale
/// has expired.
const MAX_KEPT: usize = 100_000;

/// One invalidation that is owed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Debt {
    /// A key, by its text form.
    Key(String),
    /// A tag, by its hash.
    Tag(u64),
    /// Everything.
    Clear,
    /// A tag in one shard.
    TagIn(u16, u64),
    /// Everything of one shard.
    ClearIn(u16),
}

/// The invalidations that this node still owes to Redis.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    /// Read on every shared lookup, so that the lock is only taken while something is owed.
    owing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In order, so that they are sent in the same one every time.
    debts: BTreeSet<Debt>,
    /// How many of them concern more than one key: while there are any, Redis is not believed about anything.
    broad: usize,
    /// By the monotonic clock; set when more keys were owed than are kept.
    distrust_until_ms: u64,
    replaying: bool,
}

impl Debt {
    fn is_broad(&self) -> bool {
        !matches!(self, Self::Key(_))
    }
}

impl Unsent {
    /// Whether what Redis says about `key` may be believed.
    pub(crate) fn trusts(&self, key: &str, now_ms: u64) -> bool {
        if !self.owing.load(Ordering::Acquire) {
            return true;
        }
        let state = self.state.lock();
        now_ms >= state.distrust_until_ms
            && state.broad == 0
            && !state.debts.contains(&Debt::Key(key.to_owned()))
    }

    /// Remembers what could not be sent. Returns whether the caller must start the replay.
    pub(crate) fn keep(&self, debts: &[Debt], now_ms: u64, longest_life_ms: u64) -> bool {
        let mut state = self.state.lock();
        for debt in debts {
            if state.debts.len() >= MAX_KEPT && !state.debts.contains(debt) {
                state.distrust_until_ms = now_ms + longest_life_ms;
                break;
            }
            if state.debts.insert(debt.clone()) && debt.is_broad() {
                state.broad += 1;
            }
        }
        self.owing.store(true, Ordering::Release);
        !std::mem::replace(&mut state.replaying, true)
    }

    /// Up to `most` debts to send again.
    pub(crate) fn next(&self, most: usize) -> Vec<Debt> {
        self.state.lock().debts.iter().take(most).cloned().collect()
    }

    /// Strikes off what Redis has acknowledged. Returns whether nothing is owed any more; the replay ends then.
    pub(crate) fn acknowledged(&self, debts: &[Debt], now_ms: u64) -> bool {
        let mut state = self.state.lock();
        for debt in debts {
            if state.debts.remove(debt) && debt.is_broad() {
                state.broad -= 1;
            }
        }
        let done = state.debts.is_empty();
        if done {
            state.replaying = false;
            self.owing.store(now_ms < state.distrust_until_ms, Ordering::Release);
        }
        done
    }

    /// How many invalidations are owed.
    pub(crate) fn len(&self) -> usize {
        if self.owing.load(Ordering::Acquire) { self.state.lock().debts.len() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Debt {
        Debt::Key(text.into())
    }

    #[test]
    fn an_owed_key_is_not_trusted_until_it_is_acknowledged() {
        let unsent = Unsent::default();
        assert!(unsent.trusts("a", 0));
        assert!(unsent.keep(&[key("a")], 0, 1_000), "the first one starts the replay");
        assert!(!unsent.keep(&[key("b")], 0, 1_000), "the second one finds it running");
        assert!(!unsent.trusts("a", 0));
        assert!(unsent.trusts("c", 0));
        assert!(!unsent.acknowledged(&[key("a")], 0));
        assert!(unsent.trusts("a", 0));
        assert!(unsent.acknowledged(&[key("b")], 0));
        assert_eq!(unsent.len(), 0);
    }

    #[test]
    fn too_many_owed_keys_mean_that_nothing_is_trusted_for_a_lifetime() {
        let unsent = Unsent::default();
        let keys: Vec<Debt> = (0..=MAX_KEPT).map(|n| Debt::Key(n.to_string())).collect();
        unsent.keep(&keys, 0, 5_000);
        assert!(!unsent.trusts("something else", 4_999));
        assert!(unsent.trusts("something else", 5_000));
    }

    #[test]
    fn while_a_tag_is_owed_nothing_is_trusted() {
        let unsent = Unsent::default();
        unsent.keep(&[Debt::Tag(1), key("a")], 0, 1_000);
        assert!(!unsent.trusts("b", 0));
        unsent.acknowledged(&[Debt::Tag(1)], 0);
        assert!(unsent.trusts("b", 0));
        assert!(!unsent.trusts("a", 0));
    }
}
