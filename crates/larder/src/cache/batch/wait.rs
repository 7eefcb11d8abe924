//! Keys of a batch that other nodes are loading: wait to be told that one of them is there, and look again.

use std::{collections::BTreeMap, fmt, hash::Hash, sync::Arc};

use futures_util::future::select_all;
use tokio::time::Instant;

use crate::cache::{
    batch::{Passenger, Trip},
    event::key_hash,
    inner::Inner,
    shared::Shared,
    waiters::{Pauses, Waiting},
};

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// As a single key does (`wait_for_another_node`), but whichever is done first wakes all: what is there by then comes
    /// home with it. At `give_up` what is still missing is loaded here.
    pub(super) async fn wait_for_other_nodes(
        self: &Arc<Self>,
        shared: &Shared,
        mut passengers: Vec<Passenger<K, V>>,
        trip: &Trip<K, V>,
        give_up: Instant,
    ) {
        passengers.iter_mut().for_each(|passenger| passenger.waits = true);
        let mut pauses = Pauses::default();
        loop {
            let hashes = passengers.iter().map(|passenger| key_hash(&passenger.text));
            let waiting: BTreeMap<u64, Waiting> = hashes.map(|key| (key, shared.waiters.join(key))).collect();
            // Before the look: what is done after it is told.
            let mut told: BTreeMap<_, _> =
                waiting.iter().map(|(key, waiting)| (*key, Box::pin(waiting.told()))).collect();
            let is_last = Instant::now() >= give_up;
            passengers = self.go_round(passengers, Vec::new(), trip, is_last).await;
            let told: Vec<_> =
                passengers.iter().filter_map(|passenger| told.remove(&key_hash(&passenger.text))).collect();
            if told.is_empty() {
                return;
            }
            pauses.until(select_all(told)).await;
        }
    }
}
