//! Several keys before their flight: what the near tier has of them, and which flights they join or begin.

use std::{collections::HashMap, fmt, hash::Hash, sync::Arc};

use tokio::time::Instant;

use crate::{
    Result,
    cache::{
        MissReason, Policy, Read, ReadMode, ReadOptions, Served,
        batch::{BatchLoader, Passenger, Trip, for_each_key},
        flight::{Boarding, Flight},
        inner::{Inner, NearLook},
        patience::in_time,
        store::loaded,
    },
};

/// The keys of a batch whose flights this node begins.
struct Party<K: Hash + Eq, V> {
    passengers: Vec<Passenger<K, V>>,
    /// Refreshes of what the near tier had.
    stale: Vec<Passenger<K, V>>,
    /// The flights that no other call may join: a key that is named twice is loaded once.
    begun: HashMap<K, Arc<Flight<V>>>,
}

impl<K: Hash + Eq, V> Party<K, V> {
    fn new() -> Self {
        Self { passengers: Vec::new(), stale: Vec::new(), begun: HashMap::new() }
    }
}

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
    /// The answers for all keys, in their order: each from near, or from its flight.
    pub(crate) async fn read_many(
        self: &Arc<Self>,
        keys: &[K],
        options: &ReadOptions,
        load: BatchLoader<K, V>,
    ) -> Result<Vec<Read<V>>> {
        let policy = self.policy_of(options)?;
        let until = options.deadline.and_then(|deadline| Instant::now().checked_add(deadline));
        if options.mode == ReadMode::Bypass {
            return self.bypass_many(keys, &policy, load, until, MissReason::Asked).await;
        }
        if in_time(until, self.catch_up(options)).await.is_err() {
            return self.bypass_many(keys, &policy, load, until, MissReason::Error).await;
        }
        let mut reads = Vec::with_capacity(keys.len());
        for (key, answer) in keys.iter().zip(self.board_many(keys, options, &policy, load)) {
            let answer = match answer {
                Answer::Here(read) => Ok(read),
                Answer::Coming(flight) => {
                    in_time(until, self.await_landing(&flight, policy.soft_deadline)).await
                }
            };
            self.count_answer(self.missed.print(key), &answer);
            reads.push(answer);
        }
        reads.into_iter().collect()
    }

    /// One call of the source for all keys, of which nothing is kept.
    async fn bypass_many(
        &self,
        keys: &[K],
        policy: &Policy,
        load: BatchLoader<K, V>,
        until: Option<Instant>,
        reason: MissReason,
    ) -> Result<Vec<Read<V>>> {
        let asked = keys.to_vec();
        let values = match keys {
            [] => Ok(Vec::new()),
            _ => in_time(until, self.load(policy, move || load(asked))).await,
        };
        let reads: Vec<_> = match values.and_then(|values| for_each_key(values, keys.len())) {
            Ok(values) => {
                let read = |value: Option<V>| Ok(loaded(value.map(Arc::new), None, reason));
                values.into_iter().map(read).collect()
            }
            Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
        };
        for (key, answer) in keys.iter().zip(&reads) {
            self.count_answer(self.missed.print(key), answer);
        }
        reads.into_iter().collect()
    }

    /// Begins or joins the flights of all keys that the near tier does not answer, and sends off those that were begun.
    fn board_many(
        self: &Arc<Self>,
        keys: &[K],
        options: &ReadOptions,
        policy: &Policy,
        load: BatchLoader<K, V>,
    ) -> Vec<Answer<V>> {
        let mut party = Party::new();
        let answers =
            keys.iter().map(|key| self.board_with_others(key, options, policy, &mut party)).collect();
        let Party { passengers, stale, .. } = party;
        if !(passengers.is_empty() && stale.is_empty()) {
            let trip = Trip::new(options, policy.clone(), load);
            self.tasks.spawn(self.clone().fly_many(passengers, stale, trip));
        }
        answers
    }

    fn board_with_others(
        &self,
        key: &K,
        options: &ReadOptions,
        policy: &Policy,
        party: &mut Party<K, V>,
    ) -> Answer<V> {
        self.note_read(key);
        let now_ms = self.clock.monotonic_ms();
        let reason = self.reason_to_ask(key, options);
        let joins = reason.is_none();
        let (reason, spare) = match (reason, party.begun.get(key)) {
            (Some(_), Some(flight)) => return Answer::Coming(flight.clone()),
            (Some(reason), None) => (reason, None),
            (None, _) => match self.look_near(key) {
                NearLook::Fresh(entry) => return Answer::Here(entry.read(Served::Near, now_ms)),
                NearLook::Stale(entry) => {
                    party.stale.extend(self.refreshed_with_others(key));
                    return Answer::Here(entry.read(Served::Near, now_ms));
                }
                NearLook::Miss(reason, spare) => (reason, spare),
            },
        };
        let text = key.to_string();
        let basis = self.coherence.basis(&text);
        let joinable = |flight: &Flight<V>| joins && self.may_join(flight, now_ms);
        let leader = match self.flights.board(key.clone(), basis, now_ms, joinable) {
            Boarding::Join(flight) => return Answer::Coming(flight),
            Boarding::Lead(leader) => leader,
        };
        let flight = leader.flight();
        // As in `board`.
        if joins && let NearLook::Fresh(entry) = self.look_near(key) {
            leader.land(Ok(entry.read(Served::Near, now_ms)), |_| {});
            return Answer::Coming(flight);
        }
        if !joins {
            party.begun.insert(key.clone(), flight.clone());
        }
        let passenger = Passenger::new(leader, text, basis, reason, spare);
        passenger.offer_spare(policy);
        party.passengers.push(passenger);
        Answer::Coming(flight)
    }
}
