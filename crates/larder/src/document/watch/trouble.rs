//! Why a feed stopped, by what its reader does about it.

use crate::Error;

/// Why a feed, or its reader, cannot go on as it was.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The database has forgotten the point to go on from, or will never get past it.
    HistoryLost(Error),
    /// The database has no change feed.
    Unsupported(Error),
    /// The database refused for a reason of its own. If it does so again and again, its history is lost to us.
    Refused(Error),
    /// Another node leads.
    Replaced,
    /// What was applied since the last point is to be applied again: Redis has another history than the term stands on, or some of
    /// it was owed for a while.
    Repeat,
    /// Try again.
    Failed(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
