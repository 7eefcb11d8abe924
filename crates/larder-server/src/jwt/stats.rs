//! What is counted of tokens and of the fetching of keys.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::reason::Reason;

/// Nothing here is written to for a token that is known already.
#[derive(Debug, Default)]
pub(crate) struct TokenStats {
    verified: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
    fetches: AtomicU64,
    failed_fetches: AtomicU64,
    is_failing: AtomicBool,
}

impl TokenStats {
    /// Tokens whose signature was verified: those that were not known.
    pub(crate) fn verified(&self) -> u64 {
        self.verified.load(Relaxed)
    }

    /// How many tokens were refused, by the name of the reason.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Reason::ALL.into_iter().map(|reason| (reason.name(), self.refused[reason as usize].load(Relaxed)))
    }

    /// How often keys were read or fetched.
    pub(crate) fn fetches(&self) -> u64 {
        self.fetches.load(Relaxed)
    }

    /// Of these, how often that failed.
    pub(crate) fn failed_fetches(&self) -> u64 {
        self.failed_fetches.load(Relaxed)
    }

    pub(super) fn note_verified(&self) {
        self.verified.fetch_add(1, Relaxed);
    }

    pub(super) fn note_refused(&self, reason: Reason) {
        self.refused[reason as usize].fetch_add(1, Relaxed);
    }

    /// Counts a fetch. Returns whether it went otherwise than the one before; the first is expected to go well.
    pub(super) fn note_fetch(&self, failed: bool) -> bool {
        self.fetches.fetch_add(1, Relaxed);
        self.failed_fetches.fetch_add(u64::from(failed), Relaxed);
        self.is_failing.swap(failed, Relaxed) != failed
    }
}
