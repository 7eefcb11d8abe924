//! The promises of the breaker, in fixed and in random orders of events.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use super::{
    Breaker, BreakerState,
    circuit::{Circuit, Outcome, Permit},
};
use crate::FakeClock;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn circuit(policy: Breaker) -> (Circuit, FakeClock) {
    let clock = FakeClock::default();
    (Circuit::new(policy, Arc::new(clock.clone())), clock)
}

fn call(circuit: &Circuit, outcome: Outcome) {
    circuit.admit().expect("the breaker lets the call through").finish(outcome);
}

fn opened() -> (Circuit, FakeClock) {
    let (circuit, clock) = circuit(Breaker::default());
    for _ in 0..10 {
        call(&circuit, Outcome::Failed);
    }
    assert_eq!(circuit.state(), BreakerState::Open);
    (circuit, clock)
}

#[test]
fn a_rate_means_nothing_below_the_minimum_of_calls() {
    let (circuit, _clock) = circuit(Breaker::default().failures_in_a_row(u32::MAX));
    for _ in 0..19 {
        call(&circuit, Outcome::Failed);
    }
    assert_eq!(circuit.state(), BreakerState::Closed);
    call(&circuit, Outcome::Failed);
    assert_eq!(circuit.state(), BreakerState::Open);
}

#[test]
fn half_of_the_calls_failing_opens_it() {
    let (circuit, _clock) = circuit(Breaker::default());
    for _ in 0..10 {
        call(&circuit, Outcome::Answered);
    }
    for failed in 1..=9 {
        call(&circuit, Outcome::Failed);
        assert_eq!(circuit.state(), BreakerState::Closed, "after {failed} failures");
    }
    call(&circuit, Outcome::Failed);
    assert_eq!(circuit.state(), BreakerState::Open);
}

#[test]
fn slow_answers_open_it_as_well() {
    let (circuit, clock) = circuit(Breaker::default().window(ms(10_000)));
    for _ in 0..20 {
        assert_eq!(circuit.state(), BreakerState::Closed);
        let permit = circuit.admit().unwrap();
        clock.advance(ms(100));
        permit.finish(Outcome::Answered);
    }
    assert_eq!(circuit.state(), BreakerState::Open);
}

#[test]
fn failures_that_have_left_the_window_do_not_count() {
    let (circuit, clock) = circuit(Breaker::default().failures_in_a_row(u32::MAX));
    for _ in 0..19 {
        call(&circuit, Outcome::Failed);
    }
    clock.advance(ms(1_000));
    call(&circuit, Outcome::Failed);
    assert_eq!(circuit.state(), BreakerState::Closed);
}

#[test]
fn a_server_that_freezes_in_full_flight_is_seen_before_its_successes_leave_the_window() {
    let (circuit, _clock) = circuit(Breaker::default());
    for _ in 0..100_000 {
        call(&circuit, Outcome::Answered);
    }
    for _ in 0..10 {
        call(&circuit, Outcome::Failed);
    }
    assert_eq!(circuit.state(), BreakerState::Open);
}

#[test]
fn while_open_calls_are_told_how_long_to_stay_away() {
    let (circuit, clock) = opened();
    assert_eq!(circuit.admit().unwrap_err(), ms(200));
    clock.advance(ms(150));
    assert_eq!(circuit.admit().unwrap_err(), ms(50));
}

#[test]
fn half_open_lets_a_single_probe_through_and_its_success_closes() {
    let (circuit, clock) = opened();
    clock.advance(ms(200));
    let probe = circuit.admit().unwrap();
    assert_eq!(circuit.state(), BreakerState::HalfOpen);
    assert!(circuit.admit().is_err());
    probe.finish(Outcome::Answered);
    assert_eq!(circuit.state(), BreakerState::Closed);
    call(&circuit, Outcome::Failed);
    assert_eq!(circuit.state(), BreakerState::Closed, "the old failures are forgotten");
}

#[test]
fn each_failed_probe_doubles_the_pause_up_to_the_longest() {
    let (circuit, clock) = opened();
    for pause in [200, 400, 800, 1_000, 1_000] {
        assert_eq!(circuit.admit().unwrap_err(), ms(pause));
        clock.advance(ms(pause));
        call(&circuit, Outcome::Failed);
    }
}

#[test]
fn a_cancelled_probe_leaves_the_place_to_the_next_and_one_that_waited_long_opens_again() {
    let (circuit, clock) = opened();
    clock.advance(ms(200));
    drop(circuit.admit().unwrap());
    let second = circuit.admit().unwrap();
    clock.advance(ms(100));
    drop(second);
    assert_eq!(circuit.state(), BreakerState::Open);
}

#[test]
fn callers_with_shorter_deadlines_do_not_hide_a_silent_server() {
    let (circuit, clock) = circuit(Breaker::default());
    for _ in 0..10 {
        let permit = circuit.admit().unwrap();
        clock.advance(ms(100));
        drop(permit);
    }
    assert_eq!(circuit.state(), BreakerState::Open);
}

#[test]
fn a_new_connection_may_be_probed_at_once() {
    let (circuit, _clock) = opened();
    circuit.probe_soon();
    call(&circuit, Outcome::Answered);
    assert_eq!(circuit.state(), BreakerState::Closed);
}

#[test]
fn calls_from_before_it_opened_change_nothing() {
    let (circuit, _clock) = circuit(Breaker::default());
    let early: Vec<_> = (0..5).map(|_| circuit.admit().unwrap()).collect();
    for _ in 0..10 {
        call(&circuit, Outcome::Failed);
    }
    for permit in early {
        permit.finish(Outcome::Answered);
    }
    assert_eq!(circuit.state(), BreakerState::Open);
}

#[derive(Clone, Debug)]
enum Step {
    Admit,
    Finish(usize, Outcome),
    Cancel(usize),
    Advance(u64),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Admit),
        3 => (0_usize..8, prop_oneof![Just(Outcome::Answered), Just(Outcome::Failed)])
            .prop_map(|(index, outcome)| Step::Finish(index, outcome)),
        1 => (0_usize..8).prop_map(Step::Cancel),
        2 => (1_u64..400).prop_map(Step::Advance),
        1 => Just(Step::Reconnect),
    ]
}

proptest! {
    /// Whatever happens: while open nothing passes before the pause is over, never are two probes under way, and
    /// once the server answers, the breaker closes within the longest pause.
    #[test]
    fn its_promises_hold_in_every_order_of_events(steps in proptest::collection::vec(step(), 1..120)) {
        let (circuit, clock) = circuit(Breaker::default().failures_in_a_row(3).minimum_calls(4));
        let mut permits: Vec<Permit<'_>> = Vec::new();
        for step in steps {
            let state = circuit.state();
            match step {
                Step::Admit => match circuit.admit() {
                    Ok(permit) => {
                        prop_assert_eq!(permit.is_probe(), state != BreakerState::Closed);
                        permits.push(permit);
                    }
                    Err(wait) => {
                        prop_assert!(state != BreakerState::Closed);
                        prop_assert!(wait > Duration::ZERO && wait <= ms(1_000));
                    }
                },
                Step::Finish(index, outcome) if index < permits.len() => permits.swap_remove(index).finish(outcome),
                Step::Cancel(index) if index < permits.len() => drop(permits.swap_remove(index)),
                Step::Finish(..) | Step::Cancel(_) => {}
                Step::Advance(by_ms) => clock.advance(ms(by_ms)),
                Step::Reconnect => circuit.probe_soon(),
            }
            prop_assert!(permits.iter().filter(|permit| permit.is_probe()).count() <= 1);
        }
        permits.clear();
        clock.advance(ms(1_000));
        if circuit.state() != BreakerState::Closed {
            call(&circuit, Outcome::Answered);
        }
        prop_assert_eq!(circuit.state(), BreakerState::Closed);
    }
}
