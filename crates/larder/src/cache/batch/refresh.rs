//! Behind the readers of a batch: what it found past its soft expiry is loaded anew, together.

use std::{fmt, hash::Hash, sync::Arc};

use crate::cache::{
    MissReason,
    batch::{Next, Passenger, Trip, land::Landing},
    inner::Inner,
    refresh::left_to_another_node,
    route::Route,
};

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// [`refresh`](Self::refresh) of several keys with one call of the source: the same lease beside each slot among all nodes,
    /// and the same pause after what came to nothing.
    pub(super) async fn refresh_many(self: Arc<Self>, passengers: Vec<Passenger<K, V>>, trip: Trip<K, V>) {
        let (mut to_load, mut left_to_others) = (Vec::new(), Vec::new());
        for next in self.look_many(passengers, &trip).await {
            match next {
                // Another node was faster.
                Next::Landed(_) => {}
                Next::Load(passenger) if !passenger.blocked => to_load.push(passenger),
                Next::Load(passenger) | Next::Wait(passenger) => {
                    let answer = Err(left_to_another_node());
                    left_to_others.push(Landing { leader: passenger.leader, answer, keep: None });
                }
            }
        }
        let loading = async {
            if !to_load.is_empty() {
                self.load_many(to_load, &trip).await;
            }
        };
        tokio::join!(loading, self.land_all(left_to_others));
    }

    /// Begins the refresh of a key, before the batch that found it stale has its answer: so whoever reads the same keys after
    /// that begins no other. `None` if there is nothing to begin.
    pub(crate) fn refreshed_with_others(&self, key: &K) -> Option<Passenger<K, V>> {
        let text = key.to_string();
        let basis = self.basis(Route::Home, &text);
        let leader = self.begin_refresh(key, basis, None)?;
        Some(Passenger::new(leader, text, basis, MissReason::Expired, None))
    }
}
