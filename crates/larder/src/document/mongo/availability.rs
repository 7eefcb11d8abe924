//! Whether there is a server that can be asked, so that an outage does not cost each call a wait of its own.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What the driver's monitors found. Locked for a comparison at a time.
#[derive(Debug, Default)]
pub(super) struct Availability(Mutex<State>);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// No monitor has spoken yet.
    #[default]
    Unknown,
    Found,
    LostSince(Instant),
}

impl Availability {
    /// A server that takes writes is known.
    pub(super) fn found(&self) {
        *self.0.lock() = State::Found;
    }

    /// No such server is known. The first of several calls counts.
    pub(super) fn lost(&self, now: Instant) {
        let mut state = self.0.lock();
        if !matches!(*state, State::LostSince(_)) {
            *state = State::LostSince(now);
        }
    }

    /// Some server does not answer. That says nothing when another was found.
    pub(super) fn unanswered(&self, now: Instant) {
        let mut state = self.0.lock();
        if matches!(*state, State::Unknown) {
            *state = State::LostSince(now);
        }
    }

    /// Whether there has been none for so long that waiting for one is pointless: the driver's monitors say when it is
    /// back. Before that a call does wait, because an election is a matter of a second.
    pub(super) fn is_gone(&self, patience: Duration, now: Instant) -> bool {
        matches!(*self.0.lock(), State::LostSince(since) if now.duration_since(since) >= patience)
    }

    /// Whether no server is known at this moment.
    pub(super) fn is_lost(&self) -> bool {
        matches!(*self.0.lock(), State::LostSince(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_counts_as_gone_after_patience_and_is_back_at_once() {
        let availability = Availability::default();
        let start = Instant::now();
        let patience = Duration::from_secs(1);
        assert!(!availability.is_gone(patience, start), "nothing is known at the start");
        availability.lost(start);
        assert!(!availability.is_gone(patience, start + Duration::from_millis(999)));
        availability.lost(start + patience);
        assert!(availability.is_gone(patience, start + patience), "the first loss counts");
        availability.found();
        assert!(!availability.is_gone(patience, start + 2 * patience));
    }

    #[test]
    fn a_silent_member_matters_only_while_no_other_was_found() {
        let availability = Availability::default();
        let now = Instant::now();
        availability.unanswered(now);
        assert!(availability.is_lost());
        availability.found();
        availability.unanswered(now);
        assert!(!availability.is_lost());
    }
}
