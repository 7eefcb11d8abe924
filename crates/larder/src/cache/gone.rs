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
    /// The key as it is remembered, for who has it no longer when there is something to remember.
    pub(crate) fn print<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.hasher.hash_one(key)
    }

    fn slot<Q: Hash + ?Sized>(&self, key: &Q) -> (&AtomicU64, u64) {
        self.slot_of(self.print(key))
    }

    fn slot_of(&self, print: u64) -> (&AtomicU64, u64) {
        (&self.slots[print as usize % REMEMBERED], print & !0xff)
    }

    pub(crate) fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// Remembers why a key will be missed next time.
    pub(crate) fn remember<Q: Hash + ?Sized>(&self, key: &Q, reason: MissReason) {
        self.remember_print(self.print(key), reason);
    }

    /// The same by the key's [`print`](Self::print).
    pub(crate) fn remember_print(&self, print: u64, reason: MissReason) {
        let (slot, hash) = self.slot_of(print);
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

    /// What is remembered of this key.
    pub(crate) fn recall<Q: Hash + ?Sized>(&self, key: &Q) -> Option<MissReason> {
        let (slot, hash) = self.slot(key);
        let found = slot.load(Relaxed);
        if found & !0xff != hash {
            return None;
        }
        MissReason::ALL.get((found as usize & 0xff).checked_sub(1)?).copied()
    }
}
