//! What threads share without waiting for long, exchangeable by a model checker.
//!
//! In a build these are parking_lot's locks, the standard library's atomics, and Tokio's bell and task tracker, and [`step`] is nothing.
//! In the crate's own unit tests they are the same inside, but inside a model (`cache::model`) every use of one is a
//! point at which Shuttle may let another thread go on. So the models run the very code that is shipped, in orders of events
//! that a machine shows once in years.

#[cfg(not(test))]
pub(crate) use {
    parking_lot::{Mutex, RwLock},
    std::sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64},
    },
    tokio::sync::Notify,
    tokio_util::task::TaskTracker,
};

#[cfg(test)]
mod modelled;
#[cfg(test)]
pub(crate) use self::modelled::{AtomicU32, AtomicU64, Mutex, Notify, OnceLock, RwLock, TaskTracker, step};

/// What comes next is one step that other threads see whole, though it uses none of the above: a call of a map with
/// locks of its own.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn step() {}
