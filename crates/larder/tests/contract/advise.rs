//! Advice by what was counted.

use std::time::Duration;

use larder::{
    Cache, Error, ErrorKind, Policy,
    cache::{Loaded, Setting},
};

use crate::setup::{Backend, Origin, Setup};

const KEYS: u64 = 20;

fn policy() -> Policy {
    Policy::ttl(Duration::from_secs(10)).jitter(0.0)
}

/// Reads each key as often as is needed for advice, in rounds with an expiry between them.
async fn rounds(setup: &Setup, cache: &Cache<String, u64>, mut write: impl FnMut(u64) -> u64) {
    for round in 0..20 {
        let origin = Origin::open(write(round));
        for _ in 0..4 {
            for key in 0..KEYS {
                cache.get_with(key.to_string().as_str(), origin.loader()).await.unwrap();
            }
        }
        setup.clock.advance(Duration::from_secs(11));
        if setup.backend != Backend::Memory {
            for key in 0..KEYS {
                setup.expire(&key.to_string()).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_expire_unchanged_are_told_apart_from_those_that_change() {
    for backend in Backend::ALL {
        for (changes, better) in [(false, "20s"), (true, "5s")] {
            let setup = Setup::new(backend);
            let cache = setup.node(policy()).await;
            assert_eq!(cache.advise(), [], "nothing was read");
            rounds(&setup, &cache, |round| if changes { round } else { 1 }).await;
            let stats = cache.stats();
            assert!(stats.reloads_compared >= 30, "{backend:?}: {stats:?}");
            assert_eq!(
                stats.reloads_unchanged,
                if changes { 0 } else { stats.reloads_compared },
                "{backend:?}"
            );
            let advice = cache.advise();
            assert_eq!(advice.len(), 1, "{advice:?}");
            assert_eq!(
                (advice[0].setting, &*advice[0].now, &*advice[0].better),
                (Setting::Ttl, "10s", better)
            );
        }
    }
}

#[tokio::test]
async fn what_was_invalidated_is_not_compared() {
    let setup = Setup::new(Backend::Memory);
    let cache = setup.node(policy()).await;
    for round in 0..5 {
        let origin = Origin::open(round);
        for key in 0..200 {
            cache.get_with(key.to_string().as_str(), origin.loader()).await.unwrap();
            cache.invalidate(key.to_string().as_str()).await.unwrap();
        }
    }
    assert_eq!(cache.stats().reloads_compared, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_its_loader_confirms_has_not_changed() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(policy().stale_if_error(Duration::from_secs(3600))).await;
        let load = |previous: Option<_>| async move {
            Ok(if previous.is_some() { Loaded::NotModified } else { Loaded::Value(1) })
        };
        cache.get_with_previous("k", load).await.unwrap();
        setup.clock.advance(Duration::from_secs(11));
        cache.get_with_previous("k", load).await.unwrap();
        let stats = cache.stats();
        assert_eq!((stats.reloads_compared, stats.reloads_unchanged), (1, 1));
    }
}

#[tokio::test]
async fn the_time_that_loads_take_is_counted_also_of_those_that_fail() {
    let setup = Setup::new(Backend::Memory);
    let cache = setup.node(policy()).await;
    for fails in [false, true] {
        let clock = setup.clock.clone();
        let _ = cache
            .get_with(if fails { "a" } else { "b" }, move || async move {
                clock.advance(Duration::from_secs(2));
                if fails { Err(Error::new(ErrorKind::Source, "no")) } else { Ok(Some(1)) }
            })
            .await;
    }
    assert_eq!((cache.stats().loads, cache.stats().load_time), (2, Duration::from_secs(4)));
}
