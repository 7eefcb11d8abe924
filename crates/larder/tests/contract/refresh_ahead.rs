//! Hits that refresh what is about to expire.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::{
    Cache, Error, ErrorKind, Policy,
    cache::{Read, ReadMode, ReadOptions, Served},
};
use larder_testkit::{eventually, lasting};

use crate::setup::{Backend, LoadOne, Origin, Setup};

const KEY: &str = "k";
/// How long the first load takes, by the test's clock.
const LOAD: Duration = Duration::from_secs(3);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ahead() -> Policy {
    Policy::ttl(secs(60)).jitter(0.0).load_deadline(secs(3600)).refresh_ahead(1.0)
}

/// What the next draws give.
#[derive(Clone)]
struct Draw(Arc<AtomicU64>);

impl Draw {
    fn of(draw: f64) -> Self {
        Self(Arc::new(draw.to_bits().into()))
    }

    fn set(&self, draw: f64) {
        self.0.store(draw.to_bits(), SeqCst);
    }

    async fn node(&self, setup: &Setup, policy: Policy) -> Cache<String, u64> {
        let draw = self.0.clone();
        setup.builder(policy).await.draws(move || f64::from_bits(draw.load(SeqCst))).build().unwrap()
    }
}

/// Loads the key in [`LOAD`].
async fn load_slowly(setup: &Setup, cache: &Cache<String, u64>, number: u64) {
    load_this_slowly(setup, cache, KEY, number).await;
}

async fn load_this_slowly(setup: &Setup, cache: &Cache<String, u64>, key: &'static str, number: u64) {
    let origin = Origin::held(number);
    let reader = tokio::spawn({
        let (cache, load) = (cache.clone(), origin.loader());
        async move { cache.get_with(key, load).await }
    });
    origin.until_reading(1).await;
    setup.clock.advance(LOAD);
    origin.let_go(1);
    reader.await.unwrap().unwrap();
}

async fn read(cache: &Cache<String, u64>, origin: &Origin) -> Read<u64> {
    cache.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_refreshes_behind_it_when_the_draw_says_so_and_nobody_waits() {
    for backend in Backend::ALL {
        for near in [true, false] {
            if !near && backend == Backend::Memory {
                continue;
            }
            let (setup, draw) = (Setup::new(backend), Draw::of(0.5));
            let policy = if near { ahead() } else { ahead().near_ttl(Duration::ZERO) };
            let cache = draw.node(&setup, policy).await;
            load_slowly(&setup, &cache, 1).await;
            let next = Origin::open(2);
            // Ten seconds before the expiry and with loads of three, the chance is 0.0357.
            setup.clock.advance(secs(50));
            for drawn in [0.5, 0.04] {
                draw.set(drawn);
                let hit = read(&cache, &next).await;
                assert_eq!((hit.value.as_deref(), hit.stale), (Some(&1), false), "{backend:?}");
            }
            assert_eq!(cache.stats().refreshes, 0, "{backend:?}");
            draw.set(0.03);
            let hit = read(&cache, &next).await;
            assert_eq!((hit.value.as_deref(), hit.stale), (Some(&1), false), "{backend:?}: nobody waits");
            draw.set(1.0);
            eventually("the refresh has landed", secs(10), || async {
                read(&cache, &next).await.value.as_deref() == Some(&2)
            })
            .await;
            assert_eq!((next.reads(), cache.stats().refreshes), (1, 1), "{backend:?}");
            setup.clock.advance(secs(15));
            let hit = read(&cache, &next).await;
            assert_eq!((hit.age, hit.stale), (secs(15), false), "{backend:?}: its lifetime began anew");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_hot_when_it_was_loaded_is_refreshed_ahead_though_the_policy_does_not_ask_for_it() {
    for backend in Backend::ALL {
        for near in [true, false] {
            if !near && backend == Backend::Memory {
                continue;
            }
            let setup = Setup::new(backend);
            let policy = Policy::ttl(secs(10)).jitter(0.0).load_deadline(secs(3600));
            let cache = setup.node(if near { policy } else { policy.near_ttl(Duration::ZERO) }).await;
            load_slowly(&setup, &cache, 1).await;
            let next = Origin::open(3);
            for _ in 0..500 {
                read(&cache, &next).await;
            }
            setup.clock.advance(secs(8));
            read(&cache, &next).await;
            assert_eq!(cache.stats().refreshes, 0, "{backend:?}: nobody knew then that it would be hot");

            setup.clock.advance(secs(2));
            load_slowly(&setup, &cache, 2).await;
            load_this_slowly(&setup, &cache, "seldom", 2).await;
            setup.clock.advance(secs(4));
            read(&cache, &next).await;
            assert_eq!(cache.stats().refreshes, 0, "{backend:?}: not before its last quarter");
            setup.clock.advance(secs(1));
            let hit = read(&cache, &next).await;
            assert_eq!((hit.value.as_deref(), hit.stale), (Some(&2), false), "{backend:?}: nobody waits");
            eventually("the refresh has landed", secs(10), || async {
                read(&cache, &next).await.value.as_deref() == Some(&3)
            })
            .await;
            setup.clock.advance(secs(4));
            let seldom = cache.read_with("seldom", &ReadOptions::default(), next.loader()).await.unwrap();
            assert_eq!((seldom.value.as_deref(), seldom.age), (Some(&2), secs(9)), "{backend:?}");
            cache.close().await;
            assert_eq!((next.reads(), cache.stats().refreshes), (1, 1), "{backend:?}: and of that key alone");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_took_no_time_to_load_is_not_refreshed_early() {
    for backend in Backend::ALL {
        let (setup, draw) = (Setup::new(backend), Draw::of(0.0));
        let cache = draw.node(&setup, ahead()).await;
        // By the test's clock this one takes no time.
        let next = Origin::open(2);
        cache.get_with("quick", next.loader()).await.unwrap();
        setup.clock.advance(secs(59));
        cache.get_with("quick", next.loader()).await.unwrap();
        assert_eq!(cache.stats().refreshes, 0, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_nodes_know_how_long_the_load_took_and_one_of_them_refreshes() {
    for backend in Backend::SHARED {
        let (setup, draw) = (Setup::new(backend), Draw::of(1.0));
        let (a, b) = (draw.node(&setup, ahead()).await, draw.node(&setup, ahead()).await);
        load_slowly(&setup, &a, 1).await;
        setup.clock.advance(secs(50));
        draw.set(0.0);
        let slow = Origin::held(2);
        assert_eq!(read(&b, &slow).await.served, Served::Shared);
        slow.until_reading(1).await;
        assert_eq!(read(&a, &slow).await.value.as_deref(), Some(&1));
        draw.set(1.0);
        // It finds the other's lease, and leaves it at that.
        a.close().await;
        assert_eq!((a.stats().refreshes, slow.reads()), (1, 1), "{backend:?}");
        assert_eq!(read(&b, &slow).await.value.as_deref(), Some(&1), "{backend:?}");
        slow.let_go(1);
        eventually("the refresh has landed", secs(10), || async {
            read(&b, &slow).await.value.as_deref() == Some(&2)
        })
        .await;
        assert_eq!((slow.reads(), a.stats().loads, b.stats().loads), (1, 1, 1), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_ahead_finds_what_another_node_has_refreshed_already() {
    for backend in Backend::SHARED {
        let (setup, draw) = (Setup::new(backend), Draw::of(1.0));
        let (a, b) = (draw.node(&setup, ahead()).await, draw.node(&setup, ahead()).await);
        load_slowly(&setup, &a, 1).await;
        read(&b, &Origin::open(9)).await;
        setup.clock.advance(secs(50));
        draw.set(0.0);
        let next = Origin::open(2);
        read(&a, &next).await;
        eventually("the first node has refreshed", secs(10), || async { a.stats().fills_accepted == 2 })
            .await;
        read(&b, &next).await;
        draw.set(1.0);
        eventually("the second node has its value", secs(10), || async {
            read(&b, &next).await.value.as_deref() == Some(&2)
        })
        .await;
        assert_eq!((next.reads(), b.stats().loads), (1, 0), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_ahead_loses_against_an_invalidation() {
    for backend in Backend::ALL {
        let (setup, draw) = (Setup::new(backend), Draw::of(0.0));
        let cache = draw.node(&setup, ahead()).await;
        load_slowly(&setup, &cache, 1).await;
        setup.clock.advance(secs(50));
        let slow = Origin::held(2);
        read(&cache, &slow).await;
        slow.until_reading(1).await;
        cache.invalidate(KEY).await.unwrap();
        assert_eq!(read(&cache, &Origin::open(3)).await.value.as_deref(), Some(&3));
        slow.let_go(1);
        cache.close().await;
        assert_eq!(read(&cache, &Origin::open(4)).await.value.as_deref(), Some(&3), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_ahead_that_fails_leaves_what_is_fresh_and_is_not_tried_by_every_hit() {
    for backend in Backend::ALL {
        let (setup, draw) = (Setup::new(backend), Draw::of(0.0));
        let cache = draw.node(&setup, ahead()).await;
        load_slowly(&setup, &cache, 1).await;
        setup.clock.advance(secs(50));
        let failing = || -> LoadOne { Box::pin(async { Err(Error::new(ErrorKind::Source, "on fire")) }) };
        for _ in 0..20 {
            let hit = cache.read_with(KEY, &ReadOptions::default(), failing).await.unwrap();
            assert_eq!((hit.value.as_deref(), hit.stale), (Some(&1), false), "{backend:?}");
        }
        eventually("the refresh has failed", secs(10), || async { cache.stats().load_errors == 1 }).await;
        assert_eq!(cache.stats().read_errors, 0, "{backend:?}");
    }
}

/// The expiry comes while the source hangs: whoever comes then has waited long enough when the refresh gives up, and is not to
/// wait for a load of its own as well. Only who asks for a load gets one.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_at_the_expiry_waits_for_the_refresh_that_its_node_has_begun() {
    let cases = [
        (true, ReadMode::Cached, (Some(1), true, 0)),
        (false, ReadMode::Cached, (Some(2), false, 0)),
        (true, ReadMode::Refresh, (Some(3), false, 1)),
    ];
    for backend in Backend::ALL {
        for (fails, mode, expected) in cases {
            let (setup, draw) = (Setup::new(backend), Draw::of(0.0));
            let cache = draw.node(&setup, ahead().stale_if_error(secs(3600))).await;
            load_slowly(&setup, &cache, 1).await;
            setup.clock.advance(secs(50));
            let refresh = move || -> LoadOne {
                Box::pin(async move {
                    // Time for a reader to come.
                    lasting(Duration::from_millis(500)).await;
                    if fails { Err(Error::new(ErrorKind::Source, "on fire")) } else { Ok(Some(2)) }
                })
            };
            cache.read_with(KEY, &ReadOptions::default(), refresh).await.unwrap();
            eventually("the refresh loads", secs(10), || async { cache.stats().loads == 2 }).await;
            draw.set(1.0);
            setup.clock.advance(secs(20));
            let own = Origin::open(3);
            let options = ReadOptions { mode, ..ReadOptions::default() };
            let found = cache.read_with(KEY, &options, own.loader()).await.unwrap();
            let seen = (found.value.as_deref().copied(), found.stale, own.reads());
            assert_eq!(seen, expected, "{backend:?}, {mode:?}");
        }
    }
}

#[test]
fn a_beta_that_cannot_work_is_refused() {
    for beta in [0.0, -1.0, f64::NAN, f64::INFINITY, 101.0] {
        let error = Policy::default().refresh_ahead(beta).check().unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Config, Some("refresh_ahead")));
    }
}
