//! Who waits here for what another node loads.
//!
//! A waiting node notes beside the key's slot that it waits; whoever fills the slot, or gives its lease back, and finds the note
//! there says so on the shard's channel. Where nobody waits a fill publishes nothing. Messages may be lost: whoever waits looks
//! from time to time all the same.

mod pauses;
mod shared;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};

pub(crate) use self::pauses::Pauses;

/// The keys that somebody waits for, by the hashes of their texts.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// So that an invalidation that nobody waits for takes no lock.
    count: AtomicUsize,
    keys: Mutex<HashMap<u64, Arc<Notify>>>,
}

/// One who waits for a key, until it is dropped.
pub(crate) struct Waiting {
    waiters: Arc<Waiters>,
    key: u64,
    told: Arc<Notify>,
}

impl Waiters {
    /// Waits for a key from now on.
    pub(crate) fn join(self: &Arc<Self>, key: u64) -> Waiting {
        let mut keys = self.keys.lock();
        self.count.fetch_add(1, SeqCst);
        let told = keys.entry(key).or_default().clone();
        Waiting { waiters: self.clone(), key, told }
    }

    /// Something has become of the key.
    pub(crate) fn tell(&self, key: u64) {
        if self.count.load(SeqCst) > 0
            && let Some(told) = self.keys.lock().get(&key)
        {
            told.notify_waiters();
        }
    }
}

impl Waiting {
    /// Ends when somebody tells after this was called, though it may be polled later.
    pub(crate) fn told(&self) -> Notified<'_> {
        self.told.notified()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut keys = self.waiters.keys.lock();
        self.waiters.count.fetch_sub(1, SeqCst);
        // The map's, and this one.
        if keys.get(&self.key).is_some_and(|told| Arc::strong_count(told) <= 2) {
            keys.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn all_who_wait_for_a_key_are_told_and_nobody_else() {
        let waiters = Arc::new(Waiters::default());
        let (one, two, other) = (waiters.join(1), waiters.join(1), waiters.join(2));
        let (first, second, third) = (one.told(), two.told(), other.told());
        waiters.tell(1);
        assert!(first.now_or_never().is_some() && second.now_or_never().is_some());
        assert!(third.now_or_never().is_none());
        assert!(one.told().now_or_never().is_none(), "each telling counts for what was called before it");
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let waiters = Arc::new(Waiters::default());
        let (one, two) = (waiters.join(1), waiters.join(1));
        drop(one);
        let told = two.told();
        waiters.tell(1);
        assert!(told.now_or_never().is_some());
        drop(two);
        assert!(waiters.keys.lock().is_empty());
        waiters.tell(1);
    }
}
