//! The log of a shard's invalidations, which every node follows.

mod follow;
mod shared;

pub(crate) use self::follow::Follower;
#[cfg(any(test, fuzzing))]
pub(crate) use self::shared::log_entry;
