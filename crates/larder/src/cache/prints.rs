//! Whether a value that expired had changed by then: the hashes of the last few thousand values that were loaded.

use std::{
    fmt,
    hash::Hash,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use xxhash_rust::xxh3::xxh3_64;

use crate::cache::{MissReason, inner::Inner, stats::Counter, store::Load};

const REMEMBERED: usize = 4096;

/// A slot holds 32 bits of a key's hash and 32 of its value's; a newer key takes the slot. A lost one only means that
/// nothing is known.
pub(crate) struct Prints {
    slots: Box<[AtomicU64]>,
}

impl Default for Prints {
    fn default() -> Self {
        Self { slots: (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Prints {
    fn slot(&self, key: u64) -> &AtomicU64 {
        &self.slots[key as usize % REMEMBERED]
    }

    /// Remembers a key's value, and says whether it is the one that was remembered; `None` if none was.
    fn replace(&self, key: u64, value: u64) -> Option<bool> {
        let print = (key >> 32 << 32) | (value >> 32);
        let before = self.slot(key).swap(print, Relaxed);
        (before != 0 && before >> 32 == print >> 32).then_some(before == print)
    }
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Compares a value that was loaded with the last one of its key, and counts that if that one had expired. `payload` is
    /// `None` if it has no encoded form.
    pub(crate) fn compare(&self, order: &Load<'_, K>, value: Option<&V>, payload: Option<&[u8]>) {
        let key = xxh3_64(order.text.as_bytes());
        let hash = match (payload, value) {
            (Some(payload), _) => Some(xxh3_64(payload)),
            (None, None) => Some(0),
            (None, Some(_)) => None,
        };
        let Some(hash) = hash else {
            // What is remembered is not the last value any more.
            return self.prints.slot(key).store(0, Relaxed);
        };
        let same = self.prints.replace(key, hash);
        if order.reason == MissReason::Expired
            && let Some(same) = same
        {
            self.count_compared(same);
        }
    }

    pub(crate) fn count_compared(&self, same: bool) {
        self.stats.count(Counter::ReloadsCompared);
        if same {
            self.stats.count(Counter::ReloadsUnchanged);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_compared_with_the_last_one_of_its_key_alone() {
        let prints = Prints::default();
        let (a, b) = (7 << 32 | 5, 8 << 32 | 5);
        assert_eq!(prints.replace(a, 1 << 40), None);
        assert_eq!(prints.replace(a, 1 << 40), Some(true));
        assert_eq!(prints.replace(a, 2 << 40), Some(false));
        assert_eq!(prints.replace(b, 2 << 40), None, "another key of the same slot");
        assert_eq!(prints.replace(a, 2 << 40), None);
    }
}
