//! The issuer's keys as they are known here, and what becomes of a token whose key is not among them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use jsonwebtoken::Algorithm;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    key::{Key, KeySet, NotFound},
    reason::Reason,
    stats::TokenStats,
};

/// Tokens of strangers must not have the issuer asked more often.
const LEAST_PAUSE: Duration = Duration::from_secs(10);

/// The keys. Readers never wait for the one who replaces them.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    set: ArcSwapOption<KeySet>,
    demand: Mutex<Demand>,
    /// Has the keys fetched now.
    pub wanted: Notify,
    pub stats: TokenStats,
}

impl Keyring {
    /// Whether the keys were ever there.
    pub(super) fn is_ready(&self) -> bool {
        self.set.load().is_some()
    }

    /// The key of a token. One that is not known may be newer than the set, so that is fetched.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, Reason> {
        let set = self.set.load();
        let Some(set) = set.as_deref() else { return Err(Reason::Away) };
        match set.find(id, algorithm) {
            Ok(key) => Ok(Arc::clone(key)),
            Err(NotFound::Unnamed) => Err(Reason::Unnamed),
            Err(NotFound::Unknown) if set.is_final() => Err(Reason::UnknownKey),
            Err(NotFound::Unknown) => Err(self.demand(Instant::now())),
        }
    }

    fn demand(&self, now: Instant) -> Reason {
        let (reason, is_new) = self.demand.lock().ask(now);
        if is_new {
            self.wanted.notify_one();
        }
        reason
    }

    /// Takes what was read from the issuer; a failure leaves the keys as they are. Returns whether it was one.
    pub(super) fn take(&self, begun: Instant, read: Result<KeySet, String>) -> bool {
        let failed = read.is_err();
        let is_news = self.stats.note_fetch(failed);
        match read {
            Ok(set) => {
                if is_news {
                    tracing::info!("The keys of tokens can be fetched again.");
                }
                self.replace(set);
            }
            Err(reason) if is_news => {
                tracing::warn!(
                    reason,
                    keys = self.keys(),
                    "The keys of tokens cannot be fetched; known ones go on."
                );
            }
            Err(reason) => tracing::debug!(reason, "The keys of tokens still cannot be fetched."),
        }
        self.demand.lock().answered = Some(Answered { begun, failed });
        failed
    }

    /// How many keys there are.
    pub(super) fn keys(&self) -> usize {
        self.set.load().as_ref().map_or(0, |set| set.len())
    }

    fn replace(&self, set: KeySet) {
        let earlier = self.set.load_full();
        let set = Arc::new(match &earlier {
            Some(earlier) => set.keep(earlier),
            None => set,
        });
        self.set.store(Some(Arc::clone(&set)));
        if let Some(earlier) = &earlier {
            earlier.retire(&set);
        }
        let (keys, unusable) = (set.len(), set.unusable);
        if earlier.is_none_or(|earlier| (earlier.len(), earlier.unusable) != (keys, unusable)) {
            tracing::info!(keys, unusable, "These keys verify tokens.");
        }
    }
}

/// What tokens with keys that are not known have asked for.
#[derive(Debug, Default)]
struct Demand {
    asked: Option<Instant>,
    answered: Option<Answered>,
}

#[derive(Clone, Copy, Debug)]
struct Answered {
    begun: Instant,
    failed: bool,
}

impl Demand {
    /// What to tell the token, and whether the keys are to be fetched for it.
    fn ask(&mut self, now: Instant) -> (Reason, bool) {
        if let Some(asked) = self.asked {
            // What was begun before may not have seen the new key.
            let Some(answered) = self.answered.filter(|answered| answered.begun >= asked) else {
                return (Reason::Pending, false);
            };
            if now.duration_since(asked) < LEAST_PAUSE {
                return (if answered.failed { Reason::Away } else { Reason::UnknownKey }, false);
            }
        }
        self.asked = Some(now);
        (Reason::Pending, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_for_unknown_ones_at_once_and_not_again_for_a_while() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut demand = Demand { asked: None, answered: Some(Answered { begun: start, failed: false }) };
        assert_eq!(demand.ask(at(1)), (Reason::Pending, true));
        assert_eq!(demand.ask(at(2)), (Reason::Pending, false), "one fetch serves all");
        demand.answered = Some(Answered { begun: at(1), failed: false });
        assert_eq!(demand.ask(at(3)), (Reason::UnknownKey, false));
        assert_eq!(demand.ask(at(11)), (Reason::Pending, true));
        demand.answered = Some(Answered { begun: at(10), failed: false });
        assert_eq!(demand.ask(at(12)), (Reason::Pending, false), "that one began before it was asked for");
        demand.answered = Some(Answered { begun: at(12), failed: true });
        assert_eq!(demand.ask(at(13)), (Reason::Away, false));
    }
}
