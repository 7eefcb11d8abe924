//! Several keys before their flight: what the near tier has of them, and which flights they join or begin.

use std::{fmt, hash::Hash, sync::Arc};

use crate::{
    Result,
    cache::{
        Read, Served,
        batch::{BatchLoader, Passenger},
        flight::{Boarding, Flight},
        inner::{Inner, NearLook},
    },
};

/// Where the answer for one key of a batch comes from.
enum Answer<V> {
    Here(Read<V>),
    Coming(Arc<Flight<V>>),
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(crate) async fn read_many(
        self: &Arc<Self>,
        keys: &[K],
        load: BatchLoader<K, V>,
    ) -> Result<Vec<Option<Arc<V>>>> {
        let now_ms = self.clock.monotonic_ms();
        let mut answers = Vec::with_capacity(keys.len());
        let (mut passengers, mut stale) = (Vec::new(), Vec::new());
        for key in keys {
            self.note_read(key);
            let (reason, spare) = match self.look_near(key) {
                NearLook::Fresh(entry) => {
                    answers.push(Answer::Here(entry.read(Served::Near, now_ms)));
                    continue;
                }
                NearLook::Stale(entry) => {
                    answers.push(Answer::Here(entry.read(Served::Near, now_ms)));
                    stale.extend(self.refreshed_with_others(key));
                    continue;
                }
                NearLook::Miss(reason, spare) => (reason, spare),
            };
            let text = key.to_string();
            let basis = self.coherence.basis(&text);
            let boarding =
                self.flights.board(key.clone(), basis, now_ms, |flight| self.may_join(flight, now_ms));
            let flight = match boarding {
                Boarding::Join(flight) => flight,
                Boarding::Lead(leader) => {
                    let flight = leader.flight();
                    // As in `board`.
                    match self.look_near(key) {
                        NearLook::Fresh(entry) => leader.land(Ok(entry.read(Served::Near, now_ms)), |_| {}),
                        _ => {
                            let passenger = Passenger::new(leader, text, basis, reason, spare);
                            passenger.offer_spare(&self.policy);
                            passengers.push(passenger);
                        }
                    }
                    flight
                }
            };
            answers.push(Answer::Coming(flight));
        }
        if !(passengers.is_empty() && stale.is_empty()) {
            self.tasks.spawn(self.clone().fly_many(passengers, stale, self.policy.clone(), load));
        }
        let mut values = Vec::with_capacity(keys.len());
        for answer in answers {
            let answer = match answer {
                Answer::Here(read) => Ok(read),
                Answer::Coming(flight) => self.await_landing(&flight, self.policy.soft_deadline).await,
            };
            self.count_answer(&answer);
            values.push(answer.map(|read| read.value));
        }
        values.into_iter().collect()
    }
}
