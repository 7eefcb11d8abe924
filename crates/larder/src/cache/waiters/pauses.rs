//! How long somebody who waits for another node goes without a look of its own.

use std::time::Duration;

use rand::Rng;
use tokio::time::timeout;

use crate::dice::dice;

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(100);

/// The pauses between two looks at another node's lease: each longer than the last, should nobody tell that it is done.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Pauses {
    /// Ends when somebody tells, or when it is time to look all the same.
    pub(crate) async fn until(&mut self, told: impl Future) {
        let jitter = dice().random_range(0.5..1.0);
        let _ = timeout(self.next.mul_f64(jitter), told).await;
        self.next = (self.next * 3 / 2).min(LONGEST);
    }
}
