//! How far the copies of different nodes may drift apart.

use std::time::Duration;

/// What a node may serve of its own copies while others write. On the node that invalidates there is no difference: no
/// read that begins after the acknowledgement sees an older value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Other nodes are told, and nobody checks that they hear it: a node that is cut off serves its copies for their whole
    /// lifetime.
    Local,
    /// A node that has not heard of the others for this long serves none of its copies. Usually it hears within
    /// milliseconds; this bounds the worst case. The default, with one second.
    Bounded(Duration),
    /// An invalidation returns when every node has applied it, or can serve no copies any more because it has not been
    /// heard of for the time given. Costs a round trip more, and up to that time when a node has just died.
    Strict(Duration),
}

impl Default for Consistency {
    fn default() -> Self {
        Self::Bounded(Duration::from_secs(1))
    }
}

/// How old a load may be at most and still be joined by readers of a node that does not hear of invalidations.
const LONGEST_JOINABLE: Duration = Duration::from_secs(1);

impl Consistency {
    /// How old a load may be and still be joined by readers of a node that does not hear of invalidations. With
    /// [`Strict`](Self::Strict) none may: one may have been acknowledged since the load began.
    pub(crate) fn joinable_ms(self) -> u64 {
        match self {
            Self::Local => LONGEST_JOINABLE.as_millis() as u64,
            Self::Bounded(bound) => LONGEST_JOINABLE.min(bound).as_millis() as u64,
            Self::Strict(_) => 0,
        }
    }

    pub(crate) fn bound(self) -> Duration {
        match self {
            Self::Local => Duration::from_secs(1),
            Self::Bounded(bound) | Self::Strict(bound) => bound,
        }
    }
}
