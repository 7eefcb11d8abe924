//! Invalidations that Redis has not acknowledged: kept, replayed, and respected by this node's own reads until then.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;

/// The most keys that are kept. Past that, this node leaves the shared tier alone until everything that could be stale
/// has expired.
const MAX_KEPT: usize = 100_000;

/// The invalidations that this node still owes to Redis.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    /// Read on every shared lookup, so that the lock is only taken while something is owed.
    owing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: HashSet<String>,
    /// By the monotonic clock; set when more keys were owed than are kept.
    distrust_until_ms: u64,
    replaying: bool,
}

impl Unsent {
    /// Whether what Redis says about `key` may be believed.
    pub(crate) fn trusts(&self, key: &str, now_ms: u64) -> bool {
        if !self.owing.load(Ordering::Acquire) {
            return true;
        }
        let state = self.state.lock();
        now_ms >= state.distrust_until_ms && !state.keys.contains(key)
    }

    /// Remembers keys that could not be sent. Returns whether the caller must start the replay.
    pub(crate) fn keep(&self, keys: &[String], now_ms: u64, longest_life_ms: u64) -> bool {
        let mut state = self.state.lock();
        for key in keys {
            if state.keys.len() >= MAX_KEPT && !state.keys.contains(key) {
                state.distrust_until_ms = now_ms + longest_life_ms;
                break;
            }
            state.keys.insert(key.clone());
        }
        self.owing.store(true, Ordering::Release);
        !std::mem::replace(&mut state.replaying, true)
    }

    /// Up to `most` keys to send again.
    pub(crate) fn next(&self, most: usize) -> Vec<String> {
        self.state.lock().keys.iter().take(most).cloned().collect()
    }

    /// Strikes keys off that Redis has acknowledged. Returns whether nothing is owed any more; the replay ends then.
    pub(crate) fn acknowledged(&self, keys: &[String], now_ms: u64) -> bool {
        let mut state = self.state.lock();
        for key in keys {
            state.keys.remove(key);
        }
        let done = state.keys.is_empty();
        if done {
            state.replaying = false;
            self.owing.store(now_ms < state.distrust_until_ms, Ordering::Release);
        }
        done
    }

    /// How many keys are owed.
    pub(crate) fn len(&self) -> usize {
        if self.owing.load(Ordering::Acquire) { self.state.lock().keys.len() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owed_key_is_not_trusted_until_it_is_acknowledged() {
        let unsent = Unsent::default();
        assert!(unsent.trusts("a", 0));
        assert!(unsent.keep(&["a".into()], 0, 1_000), "the first one starts the replay");
        assert!(!unsent.keep(&["b".into()], 0, 1_000), "the second one finds it running");
        assert!(!unsent.trusts("a", 0));
        assert!(unsent.trusts("c", 0));
        assert!(!unsent.acknowledged(&["a".into()], 0));
        assert!(unsent.trusts("a", 0));
        assert!(unsent.acknowledged(&["b".into()], 0));
        assert_eq!(unsent.len(), 0);
    }

    #[test]
    fn too_many_owed_keys_mean_that_nothing_is_trusted_for_a_lifetime() {
        let unsent = Unsent::default();
        let keys: Vec<String> = (0..=MAX_KEPT).map(|n| n.to_string()).collect();
        unsent.keep(&keys, 0, 5_000);
        assert!(!unsent.trusts("something else", 4_999));
        assert!(unsent.trusts("something else", 5_000));
    }
}
