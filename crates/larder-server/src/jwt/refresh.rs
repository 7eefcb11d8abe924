//! The task that fetches the issuer's keys anew.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::Rng;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{issuer::Source, keyring::Keyring};

/// The pause after a failure, and what it grows to while failures go on.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Fetches once in so much time, and when a token asks for it, until the handle is dropped.
pub(super) fn start(keys: &Arc<Keyring>, source: Source, every: Duration) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(run(Arc::clone(keys), source, every)))
}

async fn run(keys: Arc<Keyring>, source: Source, every: Duration) {
    let mut failures = u32::from(!keys.is_ready());
    loop {
        // Its end means that nobody asked, which is a reason to fetch as well.
        let _ = timeout(pause(every, failures), keys.wanted.notified()).await;
        let begun = Instant::now();
        let failed = keys.take(begun, source.read().await);
        failures = if failed { failures + 1 } else { 0 };
    }
}

/// Shortened at random, so that the nodes of a deployment do not ask all at once.
fn pause(every: Duration, failures: u32) -> Duration {
    let whole = match failures {
        0 => every,
        _ => (FIRST_PAUSE * 2_u32.pow((failures - 1).min(4))).min(LONGEST_PAUSE).min(every),
    };
    whole.mul_f64(rand::rng().random_range(0.9..=1.0))
}
