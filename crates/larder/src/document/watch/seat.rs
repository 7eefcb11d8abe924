//! Who watches a collection, and from where: one node of all that share a Redis, or each for itself without one.

use parking_lot::Mutex;

use super::{
    shared::{Claim, Fence, Lease},
    start::{Found, Kept, ResumeToken},
};
use crate::Result;

/// What a watcher needs to lead.
#[derive(Debug)]
pub(super) enum Seat {
    /// This process alone; the newest token is in its memory.
    Own(Mutex<Option<ResumeToken>>),
    /// One node at a time, by a lease in Redis.
    Shared(Lease),
}

/// A time of leading.
#[derive(Debug)]
pub(super) struct Term {
    /// None in a process alone.
    fence: Option<Fence>,
    pub(super) found: Found,
    /// What stood for the histories of all shards when it began; `None` if one of them could not be asked. Such a term stores
    /// nothing, and ends when all of them can be.
    pub(super) histories: Option<u64>,
}

/// The answer to a node that wants to lead.
#[derive(Debug)]
pub(super) enum Asked {
    /// Another node leads, for so long unless it goes on.
    Held(std::time::Duration),
    Leads(Term),
}

impl Seat {
    pub(super) async fn claim(&self, histories: Option<u64>) -> Result<Asked> {
        match self {
            Self::Own(token) => {
                let tokens =
                    token.lock().iter().map(|token| Kept { at_ms: 0, token: token.clone() }).collect();
                let found = Found { tokens, is_same_history: true, seen_ms: 0 };
                Ok(Asked::Leads(Term { fence: None, found, histories }))
            }
            Self::Shared(lease) => Ok(match lease.claim(histories).await? {
                Claim::Held(left) => Asked::Held(left),
                Claim::Leads(fence, found) => Asked::Leads(Term { fence: Some(fence), found, histories }),
            }),
        }
    }

    /// Prolongs the term; false if another node leads. `histories` if those of all shards were seen just now.
    pub(super) async fn keep(&self, term: &Term, histories: Option<u64>) -> Result<bool> {
        match (self, &term.fence) {
            (Self::Shared(lease), Some(fence)) => lease.keep(fence, histories).await,
            _ => Ok(true),
        }
    }

    /// Lets another node lead at once.
    pub(super) async fn give_up(&self, term: &Term) -> Result<()> {
        match (self, &term.fence) {
            (Self::Shared(lease), Some(fence)) => lease.give_up(fence).await,
            _ => Ok(()),
        }
    }

    /// Remembers a token whose changes are applied; false if another node leads.
    pub(super) async fn store(&self, term: &Term, token: &ResumeToken) -> Result<bool> {
        match (self, &term.fence) {
            (Self::Shared(lease), Some(fence)) => lease.store(fence, token).await,
            _ => Ok(self.keep_own(Some(token))),
        }
    }

    /// Makes an older token the newest; false if another node leads.
    pub(super) async fn rewind(&self, term: &Term, place: usize) -> Result<bool> {
        match (self, &term.fence) {
            (Self::Shared(lease), Some(fence)) => lease.rewind(fence, place, term.histories).await,
            _ => Ok(true),
        }
    }

    /// Forgets all tokens and begins with this one; false if another node leads.
    pub(super) async fn begin(&self, term: &Term, token: Option<&ResumeToken>) -> Result<bool> {
        match (self, &term.fence) {
            (Self::Shared(lease), Some(fence)) => lease.begin(fence, token, term.histories).await,
            _ => Ok(self.keep_own(token)),
        }
    }

    fn keep_own(&self, token: Option<&ResumeToken>) -> bool {
        if let Self::Own(own) = self {
            *own.lock() = token.cloned();
        }
        true
    }
}
