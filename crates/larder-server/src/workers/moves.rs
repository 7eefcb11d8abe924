//! Connections that should be another thread's.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How many connections of one thread are to move. Nothing can take a connection from one runtime to another between two of its
/// requests; but its client can: told that it ends with an answer (`Connection: close`), it makes a new one for what it asks next.
#[derive(Debug, Default)]
pub(crate) struct Moves(AtomicUsize);

impl Moves {
    /// So many from now on, whatever was ordered before.
    pub(crate) fn order(&self, connections: usize) {
        if self.0.load(Relaxed) != connections {
            self.0.store(connections, Relaxed);
        }
    }

    /// Whether the connection that asks is one of them: those that have something to do ask first. One look at memory that is
    /// seldom written to.
    pub(crate) fn take(&self) -> bool {
        self.0.load(Relaxed) > 0 && self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_taken_as_were_ordered_last() {
        let moves = Moves::default();
        assert!(!moves.take());
        moves.order(5);
        moves.order(2);
        assert_eq!([0; 3].map(|_| moves.take()), [true, true, false]);
        moves.order(2);
        moves.order(0);
        assert!(!moves.take());
    }
}
