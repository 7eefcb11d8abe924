//! What a cache promises, on every backend.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::{
    Error, ErrorKind, Policy,
    cache::{Consistency, MissReason, ReadMode, ReadOptions, Served, TierState},
};

use crate::setup::{Backend, LoadOne, Origin, Setup, lasting};

const KEY: &str = "k";
const SECOND: Duration = Duration::from_secs(1);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn failing() -> LoadOne {
    Box::pin(async { Err(Error::new(ErrorKind::Source, "the database is on fire")) })
}

fn options() -> ReadOptions {
    ReadOptions::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_loads_once_and_hits_load_nothing() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(lasting()).await;
        let origin = Origin::open(7);
        let miss = cache.read_with(KEY, &options(), origin.loader()).await.unwrap();
        assert_eq!(
            (miss.value.as_deref(), miss.served, miss.reason),
            (Some(&7), Served::Source, Some(MissReason::Cold))
        );
        let hit = cache.read_with(KEY, &options(), origin.loader()).await.unwrap();
        assert_eq!(
            (hit.value.as_deref(), hit.served, hit.reason),
            (Some(&7), Served::Near, None),
            "{backend:?}"
        );
        assert_eq!(origin.reads(), 1);
        let stats = cache.stats();
        assert_eq!((stats.near_hits, stats.shared_hits, stats.source_reads, stats.loads), (1, 0, 1, 1));
        assert_eq!(stats.hit_rate(), 0.5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_is_served_from_redis() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let origin = Origin::open(7);
        a.get_with(KEY, origin.loader()).await.unwrap();
        setup.clock.advance(secs(3));
        let read = b.read_with(KEY, &options(), origin.loader()).await.unwrap();
        assert_eq!((read.value.as_deref(), read.served), (Some(&7), Served::Shared), "{backend:?}");
        assert_eq!((read.age, read.stale), (secs(3), false));
        assert_eq!(origin.reads(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_near_copy_beside_redis_is_asked_about_again_after_a_second() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let origin = Origin::open(1);
        a.get_with(KEY, origin.loader()).await.unwrap();
        b.get_with(KEY, origin.loader()).await.unwrap();
        origin.write(2);
        a.invalidate(KEY).await.unwrap();
        setup.clock.advance(SECOND);
        assert_eq!(b.get_with(KEY, origin.loader()).await.unwrap().as_deref(), Some(&2), "{backend:?}");
        assert_eq!(b.stats().near_hits, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_remembered_for_its_own_time() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(lasting().negative_ttl(secs(5))).await;
        let loads = Arc::new(AtomicUsize::new(0));
        let absent = || {
            let loads = loads.clone();
            move || async move {
                loads.fetch_add(1, SeqCst);
                Ok(None)
            }
        };
        for _ in 0..3 {
            assert_eq!(cache.get_with(KEY, absent()).await.unwrap(), None);
        }
        assert_eq!(loads.load(SeqCst), 1, "{backend:?}");
        setup.clock.advance(secs(6));
        cache.get_with(KEY, absent()).await.unwrap();
        assert_eq!(loads.load(SeqCst), 2, "{backend:?}");
        // Somebody creates it and says so.
        cache.invalidate(KEY).await.unwrap();
        let found = cache.get_with(KEY, Origin::open(1).loader()).await.unwrap();
        assert_eq!(found.as_deref(), Some(&1), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_absent_is_kept_when_the_negative_lifetime_is_zero() {
    for backend in Backend::ALL {
        let cache = Setup::new(backend).node(lasting().negative_ttl(Duration::ZERO)).await;
        for _ in 0..2 {
            cache.get_with(KEY, || async { Ok(None) }).await.unwrap();
        }
        assert_eq!(cache.stats().loads, 2, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_load_is_not_cached_and_holds_nobody_up() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let error = a.get_with(KEY, failing).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source);
        let origin = Origin::open(1);
        let read = tokio::time::timeout(secs(2), b.get_with(KEY, origin.loader())).await;
        assert_eq!(read.expect("the lease was given back").unwrap().as_deref(), Some(&1), "{backend:?}");
        assert_eq!((a.stats().load_errors, a.stats().read_errors), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_loader_is_an_error_for_its_waiters_and_nothing_more() {
    for backend in Backend::ALL {
        let cache = Setup::new(backend).node(lasting()).await;
        let error = cache.get_with(KEY, || -> LoadOne { panic!("a bug in the loader") }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source);
        // The panicked flight could not give its lease back; it runs out, or the reader's patience does.
        let origin = Origin::open(1);
        assert_eq!(cache.get_with(KEY, origin.loader()).await.unwrap().as_deref(), Some(&1), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_takes_too_long_is_cut_off() {
    for backend in Backend::ALL {
        let cache = Setup::new(backend).node(lasting().load_deadline(Duration::from_millis(50))).await;
        let error = cache.get_with(KEY, Origin::held(1).loader()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_can_wait_less_than_the_load_takes() {
    for backend in Backend::ALL {
        let cache = Setup::new(backend).node(lasting()).await;
        let origin = Origin::held(1);
        let hasty = ReadOptions { deadline: Some(Duration::from_millis(30)), ..options() };
        let error = cache.read_with(KEY, &hasty, origin.loader()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        origin.let_go(1);
        assert_eq!(
            cache.get_with(KEY, failing).await.unwrap().as_deref(),
            Some(&1),
            "{backend:?}: the load went on"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_value_is_served_at_once_and_refreshed_once_behind() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let policy = Policy::ttl(secs(10)).jitter(0.0).stale_while_revalidate(secs(60));
        let cache = setup.node(policy).await;
        let origin = Origin::open(1);
        cache.get_with(KEY, origin.loader()).await.unwrap();
        origin.write(2);
        setup.clock.advance(secs(15));
        for _ in 0..5 {
            let read = cache.read_with(KEY, &options(), origin.loader()).await.unwrap();
            assert!(read.value.is_some_and(|value| *value <= 2), "{backend:?}: nobody waits");
        }
        larder_testkit::eventually("the refresh has landed", secs(5), || async {
            let read = cache.read_with(KEY, &options(), origin.loader()).await.unwrap();
            read.value.as_deref() == Some(&2) && !read.stale
        })
        .await;
        assert_eq!(origin.reads(), 2, "{backend:?}: one load, one refresh");
        assert!(cache.stats().stale_served >= 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_source_is_covered_by_stale_values_inside_their_window_only() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let policy = Policy::ttl(secs(10)).jitter(0.0).stale_if_error(secs(60));
        let cache = setup.node(policy).await;
        cache.get_with(KEY, Origin::open(1).loader()).await.unwrap();
        setup.clock.advance(secs(30));
        let read = cache.read_with(KEY, &options(), failing).await.unwrap();
        assert_eq!((read.value.as_deref(), read.stale), (Some(&1), true), "{backend:?}");
        setup.clock.advance(secs(60));
        assert!(cache.read_with(KEY, &options(), failing).await.is_err(), "{backend:?}: past its window");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalidated_value_is_not_served_even_if_the_source_fails() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(lasting().stale_if_error(secs(60))).await;
        cache.get_with(KEY, Origin::open(1).loader()).await.unwrap();
        cache.invalidate(KEY).await.unwrap();
        let read = cache.read_with(KEY, &options(), failing).await;
        assert!(read.is_err(), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_was_asked_for_replaces_what_is_cached() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let origin = Origin::open(1);
        a.get_with(KEY, origin.loader()).await.unwrap();
        origin.write(2);
        let refresh = ReadOptions { mode: ReadMode::Refresh, ..options() };
        let read = a.read_with(KEY, &refresh, origin.loader()).await.unwrap();
        assert_eq!((read.value.as_deref(), read.reason), (Some(&2), Some(MissReason::Asked)));
        assert_eq!(a.get_with(KEY, failing).await.unwrap().as_deref(), Some(&2), "{backend:?}");
        if backend != Backend::Memory {
            assert_eq!(b.get_with(KEY, failing).await.unwrap().as_deref(), Some(&2), "{backend:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bypass_neither_reads_nor_fills() {
    for backend in Backend::ALL {
        let cache = Setup::new(backend).node(lasting()).await;
        let origin = Origin::open(1);
        let bypass = ReadOptions { mode: ReadMode::Bypass, ..options() };
        for _ in 0..2 {
            cache.read_with(KEY, &bypass, origin.loader()).await.unwrap();
        }
        assert_eq!(origin.reads(), 2);
        let explain = cache.explain(&KEY.to_owned()).await;
        assert_eq!(explain.near, TierState::Empty, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_can_have_rules_of_its_own() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(lasting()).await;
        let origin = Origin::open(1);
        let brief = ReadOptions { policy: Some(Policy::ttl(secs(1)).jitter(0.0)), ..options() };
        cache.read_with(KEY, &brief, origin.loader()).await.unwrap();
        setup.clock.advance(secs(2));
        let read = cache.read_with(KEY, &options(), origin.loader()).await.unwrap();
        assert_eq!(read.reason, Some(MissReason::Expired), "{backend:?}");
        let wrong = ReadOptions { policy: Some(Policy::ttl(Duration::ZERO)), ..options() };
        assert_eq!(
            cache.read_with("other", &wrong, origin.loader()).await.unwrap_err().kind(),
            ErrorKind::Config
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_over_the_limit_is_returned_and_not_kept() {
    for backend in Backend::ALL {
        let cache = Setup::new(backend).node(lasting().max_entry_bytes(3)).await;
        let origin = Origin::open(123_456);
        for expected in [MissReason::Cold, MissReason::TooLarge] {
            let read = cache.read_with(&KEY.to_owned(), &options(), origin.loader()).await.unwrap();
            assert_eq!((read.value.as_deref(), read.reason), (Some(&123_456), Some(expected)), "{backend:?}");
        }
        cache.put_with(&KEY.to_owned(), async { Ok(Some(654_321)) }).await.unwrap();
        assert_eq!(
            cache.get_with(KEY, origin.loader()).await.unwrap().as_deref(),
            Some(&123_456),
            "{backend:?}"
        );
        let keys = ["a".to_owned(), "b".to_owned()];
        let load = |_| async { Ok(vec![Some(1), Some(1_000)]) };
        cache.get_many_with(&keys, load).await.unwrap();
        let reasons = [None, Some(MissReason::TooLarge)];
        for (key, reason) in keys.iter().zip(reasons) {
            let read = cache.read_with(key, &options(), origin.loader()).await.unwrap();
            assert_eq!(read.reason, reason, "{backend:?}: {key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_another_version_are_not_seen() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let old = setup.node(lasting()).await;
        let new = setup.builder(lasting()).await.version(2).build().unwrap();
        old.get_with(KEY, Origin::open(1).loader()).await.unwrap();
        assert_eq!(
            new.get_with(KEY, Origin::open(2).loader()).await.unwrap().as_deref(),
            Some(&2),
            "{backend:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_refused_when_the_cache_is_built() {
    let setup = Setup::new(Backend::Redis);
    let refused = setup.builder(Policy::ttl(Duration::ZERO)).await.build().unwrap_err();
    assert_eq!((refused.kind(), refused.field()), (ErrorKind::Config, Some("ttl")));
    let loose = Consistency::Bounded(secs(3600));
    let refused = setup.builder(lasting()).await.consistency(loose).build().unwrap_err();
    assert_eq!(refused.field(), Some("consistency"));
    let cache = setup.node(lasting()).await;
    assert_eq!(cache.get(KEY).await.unwrap_err().kind(), ErrorKind::Config, "it has no source");
    assert_eq!(cache.put(&KEY.to_owned(), &1).await.unwrap_err().kind(), ErrorKind::Config, "it has no sink");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_redis_cannot_hold_is_an_error_and_not_a_panic() {
    let cache = Setup::new(Backend::Redis).node(lasting()).await;
    let long = "x".repeat(100_000);
    let read = cache.get_with(&*long, Origin::open(1).loader()).await;
    assert_eq!(read.unwrap().as_deref(), Some(&1), "it is served, and not cached in Redis");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_what_each_tier_has() {
    for backend in Backend::SHARED {
        let cache = Setup::new(backend).node(lasting()).await;
        let key = KEY.to_owned();
        assert_eq!(cache.explain(&key).await.shared, Some(TierState::Empty));
        cache.get_with(KEY, Origin::open(1).loader()).await.unwrap();
        let explain = cache.explain(&key).await;
        assert!(matches!(explain.near, TierState::Holds { present: true, .. }), "{explain:?}");
        assert!(
            matches!(explain.shared, Some(TierState::Holds { present: true, size: 1, .. })),
            "{explain:?}"
        );
        let held = Origin::held(1);
        let reader = tokio::spawn({
            let (cache, load) = (cache.clone(), held.loader());
            async move { cache.get_with("other", load).await }
        });
        held.until_reading(1).await;
        let explain = cache.explain(&"other".to_owned()).await;
        assert!(matches!(explain.shared, Some(TierState::Leased { .. })), "{explain:?}");
        held.let_go(1);
        reader.await.unwrap().unwrap();
    }
}
