//! What a shard's worker waits for.

use std::{
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// One worker's bell. Ringing it while the worker is busy is remembered.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    bell: Notify,
    hurried: Notify,
    closed: AtomicBool,
}

impl Wake {
    /// There is something to do.
    pub(crate) fn wake(&self) {
        self.bell.notify_one();
    }

    /// Somebody waits for it.
    pub(crate) fn hurry(&self) {
        self.hurried.notify_one();
        self.bell.notify_one();
    }

    /// There is nothing more to do, ever.
    pub(crate) fn close(&self) {
        self.closed.store(true, Release);
        self.hurry();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Acquire)
    }

    /// Returns when the bell rings, or after `most`.
    pub(crate) async fn rung_within(&self, most: Duration) {
        let _ = timeout(most, self.bell.notified()).await;
    }

    /// Returns after `delay`, or as soon as somebody waits.
    pub(crate) async fn unhurried(&self, delay: Duration) {
        let _ = timeout(delay, self.hurried.notified()).await;
    }
}
