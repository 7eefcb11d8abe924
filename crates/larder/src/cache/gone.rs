//! Why keys left: a memory of bounded size, with a near tier or without one.

use std::{
    hash::{BuildHasher, Hash},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use foldhash::fast::RandomState;

use crate::cache::MissReason;

const REMEMBERED: usize = 4096;

/// The last few thousand keys that left, and why. A slot holds 56 bits of a key's hash and the reason; a newer key
/// takes the slot. A wrong or lost answer here only mislabels a miss.
#[derive(Debug)]
pub(crate) struct Gone {
    hasher: RandomState,
    slots: Box<[AtomicU64]>,
}

impl Default for Gone {
    fn default() -> Self {
        Self { hasher: RandomState::default(), slots: (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Gone {
    fn slot<Q: Hash + ?Sized>(&self, key: &Q) -> (&AtomicU64, u64) {
        let hash = self.hasher.hash_one(key);
        (&self.slots[hash as usize % REMEMBERED], hash & !0xff)
    }

    pub(crate) fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// Remembers why a key will be missed next time.
    pub(crate) fn remember<Q: Hash + ?Sized>(&self, key: &Q, reason: MissReason) {
        let (slot, hash) = self.slot(key);
        slot.store(hash | (reason as u64 + 1), Relaxed);
    }

    /// The key is back.
    pub(crate) fn forget<Q: Hash + ?Sized>(&self, key: &Q) {
        let (slot, hash) = self.slot(key);
        let found = slot.load(Relaxed);
        if found & !0xff == hash {
            // Only if it is still that one: a newer key may have the slot.
            let _ = slot.compare_exchange(found, 0, Relaxed, Relaxed);
        }
    }

    /// Why this key is not here, as far as that is known.
    pub(crate) fn why_absent<Q: Hash + ?Sized>(&self, key: &Q) -> MissReason {
        self.recall(key).unwrap_or(MissReason::Cold)
    }

    /// Why this key left, if that is still known.
    pub(crate) fn recall<Q: Hash + ?Sized>(&self, key: &Q) -> Option<MissReason> {
        let (slot, hash) = self.slot(key);
        let found = slot.load(Relaxed);
        if found & !0xff != hash {
            return None;
        }
        MissReason::ALL.get((found as usize & 0xff).checked_sub(1)?).copied()
    }
}
