//! Waiting for a condition instead of sleeping.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Waits until `condition` holds, asking every few milliseconds.
///
/// # Panics
/// If it does not hold within `deadline`; the message is `what`.
pub async fn eventually<F: Future<Output = bool>>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> F,
) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Lets time pass where that is the load itself: the slowness of a database, the pace of a writer, the length of an outage.
/// To wait until something has happened there is [`eventually`].
pub async fn lasting(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The same as [`eventually`] for code that does not run in a runtime. Says whether the condition came to hold.
pub(crate) fn holds_within(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if started.elapsed() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
