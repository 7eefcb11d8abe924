//! A batch's flight: looks, one load, and further rounds for what other nodes are loading.

use std::{fmt, hash::Hash, sync::Arc};

use tokio::time::Instant;

use crate::cache::{
    batch::{Next, Passenger, Trip},
    inner::Inner,
};

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Flies all passengers home: those that Redis has, those that must be loaded, together, and in further rounds those
    /// that another node is loading. What Redis has is refreshed behind them if it is stale, along with `stale`, the refreshes
    /// of what the near tier had.
    pub(super) async fn fly_many(
        self: Arc<Self>,
        passengers: Vec<Passenger<K, V>>,
        stale: Vec<Passenger<K, V>>,
        trip: Trip<K, V>,
    ) {
        let give_up = Instant::now() + trip.policy.load_deadline;
        let waiting = self.go_round(passengers, stale, &trip, false).await;
        // Without a Redis nobody waits for another node.
        if let Some(shared) = &self.shared
            && !waiting.is_empty()
        {
            // Boxed: few batches find another node at it, and every one has room for this.
            Box::pin(self.wait_for_other_nodes(shared, waiting, &trip, give_up)).await;
        }
    }

    /// Looks once and loads what is missing. Returns whom other nodes are loading; in the last round nobody waits for them.
    pub(super) async fn go_round(
        self: &Arc<Self>,
        passengers: Vec<Passenger<K, V>>,
        mut stale: Vec<Passenger<K, V>>,
        trip: &Trip<K, V>,
        is_last: bool,
    ) -> Vec<Passenger<K, V>> {
        let (mut to_load, mut waiting) = (Vec::new(), Vec::new());
        for next in self.look_many(passengers, trip).await {
            match next {
                Next::Landed(refresh) => stale.extend(refresh),
                Next::Load(passenger) => to_load.push(passenger),
                Next::Wait(passenger) if is_last => to_load.push(passenger),
                Next::Wait(passenger) => waiting.push(passenger),
            }
        }
        if !stale.is_empty() {
            // A task of its own: nobody who waits for what is missing waits for this.
            self.tasks.spawn(self.clone().refresh_many(stale, trip.behind()));
        }
        if !to_load.is_empty() {
            self.load_many(to_load, trip).await;
        }
        waiting
    }
}
