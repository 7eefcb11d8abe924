//! How long a reader waits for a load when something stale is at hand (the soft deadline).

use std::{fmt, hash::Hash, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::{
    Error, ErrorKind, Result,
    cache::{
        Read,
        fetch::Plan,
        flight::{Flight, Landing, Leader},
        inner::Inner,
    },
};

/// The outcome of `work`, unless the call's deadline is over first.
///
/// # Errors
/// `ErrorKind::Timeout` then.
pub(crate) async fn in_time<T>(until: Option<Instant>, work: impl Future<Output = Result<T>>) -> Result<T> {
    match until {
        None => work.await,
        Some(until) => timeout_at(until, work).await.unwrap_or_else(|_| Err(too_late())),
    }
}

pub(crate) fn too_late() -> Error {
    Error::new(ErrorKind::Timeout, "no answer before the call's deadline")
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Waits for a flight. Past the soft deadline, counted from the flight's begin, a value that its window still allows is
    /// the answer; the flight goes on.
    pub(crate) async fn await_landing(
        &self,
        flight: &Flight<V>,
        soft_deadline: Option<Duration>,
    ) -> Result<Read<V>> {
        let Some(soft_deadline) = soft_deadline else { return flight.wait().await };
        let waited = Duration::from_millis(flight.age_ms(self.clock.monotonic_ms()));
        let until = Instant::now() + soft_deadline.saturating_sub(waited);
        match flight.wait_patiently(until).await {
            Landing::Answer(answer) => answer,
            Landing::Overdue((spare, served)) => {
                // A node that is out of step does not know what was invalidated; only a failed load excuses that.
                if let Some(follower) = &self.follower {
                    let _ = follower.ensure_synced(self.coherence.shard_of_stamp(&spare.terms.stamp)).await;
                }
                let synced = self.coherence.is_stamp_synced(&spare.terms.stamp, self.clock.monotonic_ms());
                match self.spare_read(spare, *served).filter(|_| synced) {
                    Some(read) => Ok(read),
                    None => flight.wait().await,
                }
            }
        }
    }

    /// Shows the flight's readers what stale value there is, if they have a soft deadline.
    pub(crate) fn offer_spare(&self, leader: &Leader<K, V>, plan: &Plan<V>) {
        if let (Some(_), Some(spare)) = (plan.policy.soft_deadline, &plan.spare) {
            leader.offer(spare);
        }
    }
}
