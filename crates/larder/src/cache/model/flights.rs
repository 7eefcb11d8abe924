//! Flights alone: leaders that land, leaders that are lost, invalidations, and everyone who waits.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use shuttle::{
    future::block_on,
    rand::{Rng, thread_rng},
    thread,
};
use tokio::time::Instant;

use super::in_every_order;
use crate::{
    ErrorKind, Result,
    cache::{
        Read, Served,
        coherence::{Basis, Coherence},
        flight::{Boarding, Flight, Flights, Landing, Leader},
        near::{NearEntry, Terms},
        policy::Policy,
    },
    sync::AtomicU64,
};

type Numbers = Flights<u8, u32>;

const KEY: u8 = 1;

fn basis() -> Basis {
    Coherence::alone().basis("1")
}

fn answer(number: u32) -> Result<Read<u32>> {
    Ok(Read::loaded(Some(Arc::new(number)), Duration::ZERO, None))
}

fn board(flights: &Arc<Numbers>) -> Boarding<u8, u32> {
    flights.board(KEY, basis(), 0, |_| true)
}

/// Takes part in the flight of the key: leads it to an answer, or waits for the one of somebody else.
fn take_part(flights: &Arc<Numbers>) -> Result<Read<u32>> {
    match board(flights) {
        Boarding::Join(flight) => block_on(flight.wait()),
        Boarding::Lead(leader) => {
            let flight = leader.flight();
            leader.land(answer(1), |_| {});
            block_on(flight.wait())
        }
    }
}

fn lead(flights: &Arc<Numbers>) -> Leader<u8, u32> {
    match board(flights) {
        Boarding::Lead(leader) => leader,
        Boarding::Join(_) => panic!("nobody was there before"),
    }
}

/// If somebody waited for ever, Shuttle would call it a deadlock.
#[test]
fn whoever_waits_for_a_flight_gets_an_answer_also_if_its_leader_is_lost() {
    in_every_order(|| {
        let flights = Arc::new(Numbers::default());
        let leader = lead(&flights);
        let others: Vec<_> = (0..3)
            .map(|other| {
                let flights = flights.clone();
                thread::spawn(move || match other {
                    0 => flights.ground(&KEY, || {}),
                    _ => match take_part(&flights) {
                        Ok(read) => assert_eq!(read.value.as_deref(), Some(&1)),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Source),
                    },
                })
            })
            .collect();
        drop(leader);
        others.into_iter().for_each(|other| other.join().expect("a thread ends well"));
        assert!(matches!(board(&flights), Boarding::Lead(_)), "nothing is left of it");
    });
}

#[test]
fn a_reader_without_patience_gets_what_is_stale_or_the_answer_in_every_order() {
    in_every_order(|| {
        let flights = Arc::new(Numbers::default());
        let leader = lead(&flights);
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let flight = leader.flight();
                thread::spawn(move || wait_without_patience(&flight))
            })
            .collect();
        let patient = leader.flight();
        let patient = thread::spawn(move || block_on(patient.wait()).expect("the flight lands"));
        leader.offer(&(stale(7), Served::Near));
        let land = |leader: Leader<u8, u32>| {
            thread::spawn(move || leader.land(answer(8), |_| {})).join().expect("a thread ends well");
        };
        let (early, late) =
            if thread_rng().gen_bool(0.5) { (Some(leader), None) } else { (None, Some(leader)) };
        early.map(land);
        // If it has not landed, it is the offer that wakes them.
        waiting.into_iter().for_each(|reader| reader.join().expect("a thread ends well"));
        late.map(land);
        assert_eq!(patient.join().expect("a thread ends well").value.as_deref(), Some(&8));
    });
}

fn wait_without_patience(flight: &Flight<u32>) {
    // Its time was over before the runtime's began: timers stand still here.
    let past = Instant::now().checked_sub(Duration::from_secs(60)).expect("the machine runs for a minute");
    match block_on(flight.wait_patiently(past)) {
        Landing::Answer(read) => assert_eq!(read.expect("it landed").value.as_deref(), Some(&8)),
        Landing::Overdue((entry, _)) => assert_eq!(entry.value.as_deref(), Some(&7)),
    }
}

fn stale(number: u32) -> NearEntry<u32> {
    let life = Policy::ttl(Duration::from_secs(1)).lifetime(true, None).expect("it is cached");
    NearEntry {
        value: Some(Arc::new(number)),
        terms: Terms {
            created_ms: 0,
            near_until_ms: 0,
            plain_until_ms: 0,
            life,
            weight: 1,
            stamp: basis().stamp,
        },
        tags: None,
    }
}

/// A refresh behind, an invalidation, and a reader: what the refresh brings is kept before the invalidation or not at all.
#[test]
fn what_a_flight_keeps_is_kept_before_an_invalidation_or_not_at_all() {
    in_every_order(|| {
        let flights = Arc::new(Numbers::default());
        let near = Arc::new(Near::default());
        let old = flights.begin_refresh(&KEY, basis(), 0).expect("it is the first");
        let landing = {
            let near = near.clone();
            thread::spawn(move || old.land(answer(1), |_| near.set(1)))
        };
        let reader = {
            let (flights, near) = (flights.clone(), near.clone());
            thread::spawn(move || {
                if let Boarding::Lead(leader) = board(&flights) {
                    leader.land(answer(2), |_| near.set(2));
                }
            })
        };
        flights.ground(&KEY, || near.set(0));
        assert_ne!(near.get(), 1, "a copy from before the invalidation");
        landing.join().expect("a thread ends well");
        assert_ne!(near.get(), 1, "a copy from before the invalidation");
        reader.join().expect("a thread ends well");
    });
}

/// One copy, zero for none, whose lock does not know of the flights'.
#[derive(Default)]
struct Near(AtomicU64);

impl Near {
    fn set(&self, number: u64) {
        self.0.store(number, SeqCst);
    }

    fn get(&self) -> u64 {
        self.0.load(SeqCst)
    }
}
