//! Changes that were applied, told to whoever in this process wants to know.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};

use super::Change;

/// How much stands ready for a listener before it misses something: four of the largest batches.
const MOST_WAITING: usize = 4_096;

/// What a listener is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// A change was applied: a read on this node that begins now sees it.
    Change {
        /// The collection's name in the database.
        collection: Arc<str>,
        /// What was changed.
        change: Change,
    },
    /// This process applies the changes of the collection from here on: it has started, or taken over, or the database or Redis was
    /// away. It goes on behind the last change of which it is known that it was applied, by whatever process, so some are told
    /// again and none is skipped. What another process was told before it died it may not have acted on.
    Resumed {
        /// The collection's name in the database.
        collection: Arc<str>,
    },
    /// This process applies the changes of the collection from here on, and what was changed before is not known to anybody: nobody
    /// has watched before, or the database or Redis has lost where the watch was. Everything cached was forgotten; whoever
    /// keeps something of his own must read all of it again.
    HistoryLost {
        /// The collection's name in the database.
        collection: Arc<str>,
    },
    /// This listener was slower than the changes, and missed so many of the things it should have been told, of whatever kind and
    /// collection. What is told next is later than they are. To be taken like a lost history of every collection.
    Missed(u64),
}

/// The changes that a [`Watch`](super::Watch) of this process applies; made by [`Watch::changes`](super::Watch::changes) and
/// [`WatchBuilder::start_listening`](super::WatchBuilder::start_listening).
///
/// Dropping it ends the listening.
pub struct Changes {
    receiver: Receiver<Told>,
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("waiting", &self.receiver.len()).finish()
    }
}

impl Changes {
    /// Returns what is told next, or `None` when the watch has ended and everything was told.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next call returns the same.
    pub async fn next(&mut self) -> Option<Told> {
        match self.receiver.recv().await {
            Ok(told) => Some(told),
            Err(RecvError::Lagged(missed)) => Some(Told::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

/// Everybody who listens. Telling them neither waits nor fails, and costs next to nothing while nobody does.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// Made for the first listener: its room is taken at once.
    sender: OnceLock<Sender<Told>>,
}

impl Listeners {
    pub(super) fn subscribe(&self) -> Changes {
        let sender = self.sender.get_or_init(|| channel(MOST_WAITING).0);
        Changes { receiver: sender.subscribe() }
    }

    pub(super) fn tell(&self, what: impl IntoIterator<Item = Told>) {
        let Some(sender) = self.sender.get().filter(|sender| sender.receiver_count() > 0) else { return };
        for told in what {
            // The last one may have gone meanwhile.
            let _ = sender.send(told);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(collection: usize) -> Told {
        Told::Resumed { collection: collection.to_string().into() }
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_how_much_it_missed_and_then_the_latest() {
        let listeners = Listeners::default();
        let (mut slow, mut quick) = (listeners.subscribe(), listeners.subscribe());
        for number in 0..MOST_WAITING + 5 {
            listeners.tell([about(number)]);
            assert_eq!(quick.next().await, Some(about(number)));
        }
        assert_eq!(slow.next().await, Some(Told::Missed(5)));
        assert_eq!(slow.next().await, Some(about(5)));
        drop(listeners);
        for number in 6..MOST_WAITING + 5 {
            assert_eq!(slow.next().await, Some(about(number)));
        }
        assert_eq!((slow.next().await, quick.next().await), (None, None));
    }
}
