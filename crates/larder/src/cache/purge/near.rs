//! Purging by pattern where there is no Redis: what this process has is all there is.

use std::{fmt, hash::Hash};

use super::{Manner, glob};
use crate::cache::{inner::Inner, near::NearEntry};

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Purges every near copy whose key matches, and cuts off what is under way. Looks at the keys of all copies. Returns
    /// how many good copies there were.
    pub(super) fn purge_near(&self, pattern: &str, manner: Manner) -> u64 {
        let mut purged = 0;
        for key in self.matching(pattern) {
            let held = self.near.as_ref().and_then(|near| near.get(&key));
            let counts = |entry: NearEntry<V>| {
                entry.is_current(&self.coherence) && !(manner == Manner::Soft && entry.was_expired())
            };
            purged += u64::from(held.is_some_and(counts));
            match manner {
                Manner::Hard => self.forget_near(&[&key]),
                Manner::Soft => self.expire_near(&[&key]),
            }
        }
        purged
    }

    /// Makes every near copy with one of these tags stale. What tags a load under way will have nobody knows: all of them
    /// are cut off first, and what they bring is not kept.
    pub(super) fn expire_near_tagged(&self, tags: &[u64]) -> u64 {
        for key in self.flights.keys() {
            self.flights.ground(&key, || {});
        }
        let cells: Vec<_> = tags.iter().map(|tag| self.coherence.watch_tag(0, *tag)).collect();
        let is_one = |(_, entry): &(K, NearEntry<V>)| {
            entry.has_tag(&cells) && entry.is_current(&self.coherence) && !entry.was_expired()
        };
        let tagged: Vec<K> =
            self.near.iter().flat_map(|near| near.all()).filter(is_one).map(|(key, _)| key).collect();
        tagged.iter().for_each(|key| self.expire_near(&[key]));
        tagged.len() as u64
    }

    /// Forgets the copies of a part whose keys match. The whole, which shares what is known of the keys, is purged by itself.
    pub(crate) fn forget_matching(&self, pattern: &str) {
        for key in self.matching(pattern) {
            self.flights.ground(&key, || {
                if let Some(near) = &self.near {
                    near.invalidate(&key);
                }
            });
        }
    }

    /// What is under way first: once it has landed, the near tier has it.
    fn matching(&self, pattern: &str) -> Vec<K> {
        let is_match = |key: &K| glob::matches(pattern.as_bytes(), key.to_string().as_bytes());
        let mut keys: Vec<K> = self.flights.keys().into_iter().filter(is_match).collect();
        keys.extend(self.near.iter().flat_map(|near| near.all()).map(|(key, _)| key).filter(is_match));
        keys
    }
}
