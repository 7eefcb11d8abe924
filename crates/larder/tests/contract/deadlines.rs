//! How long a reader waits for a slow source: the soft deadline, when something stale is at hand, and the hard one.

use std::{future::pending, time::Duration};

use larder::{
    Cache, ErrorKind, Policy, Result,
    cache::{Read, ReadOptions, Served},
};
use tokio::{task::JoinHandle, time::timeout};

use crate::setup::{Backend, LoadOne, Origin, Setup, lasting};

const KEY: &str = "k";
const SOFT: Duration = Duration::from_millis(30);
const HOUR: Duration = Duration::from_secs(3600);

/// Fresh for ten seconds, a fallback for an hour after that.
fn softly(deadline: Duration) -> Policy {
    Policy::ttl(secs(10)).jitter(0.0).stale_if_error(HOUR).load_deadline(HOUR).soft_deadline(deadline)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn read(cache: &Cache<String, u64>, origin: &Origin) -> Result<Read<u64>> {
    let read = async { cache.read_with(KEY, &ReadOptions::default(), origin.loader()).await };
    timeout(secs(20), read).await.expect("no reader waits for ever")
}

fn spawn_read(cache: &Cache<String, u64>, origin: &Origin) -> JoinHandle<Result<Read<u64>>> {
    let (cache, origin) = (cache.clone(), origin.clone());
    tokio::spawn(async move { read(&cache, &origin).await })
}

fn never() -> LoadOne {
    Box::pin(pending())
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_soft_deadline_the_stale_value_is_served_and_the_load_goes_on() {
    for backend in Backend::ALL {
        for near in [true, false] {
            if !near && backend == Backend::Memory {
                continue;
            }
            let setup = Setup::new(backend);
            let policy = if near { softly(SOFT) } else { softly(SOFT).near_ttl(Duration::ZERO) };
            let cache = setup.node(policy).await;
            read(&cache, &Origin::open(1)).await.unwrap();
            setup.clock.advance(secs(15));
            let slow = Origin::held(2);
            let stale = read(&cache, &slow).await.unwrap();
            assert_eq!(
                (stale.value.as_deref(), stale.stale, stale.reason),
                (Some(&1), true, None),
                "{backend:?}"
            );
            assert_eq!(stale.served, if near { Served::Near } else { Served::Shared });
            slow.let_go(1);
            larder_testkit::eventually("the load has landed", secs(10), || async {
                let now = read(&cache, &slow).await.unwrap();
                now.value.as_deref() == Some(&2) && !now.stale
            })
            .await;
            assert_eq!(slow.reads(), 1, "{backend:?}: the load that nobody waited for was kept");
        }
    }
}

/// In memory, where a node that sits out half an hour is not out of step with anybody.
#[tokio::test(flavor = "multi_thread")]
async fn who_joins_a_slow_load_late_does_not_wait_again() {
    let setup = Setup::new(Backend::Memory);
    let cache = setup.node(softly(HOUR / 2)).await;
    read(&cache, &Origin::open(1)).await.unwrap();
    setup.clock.advance(secs(15));
    let slow = Origin::held(2);
    let first = spawn_read(&cache, &slow);
    slow.until_reading(1).await;
    setup.clock.advance(HOUR / 2);
    let late =
        timeout(secs(10), read(&cache, &slow)).await.expect("half an hour has passed already").unwrap();
    assert_eq!((late.value.as_deref(), late.stale), (Some(&1), true));
    assert_eq!(slow.reads(), 1, "it joined");
    slow.let_go(1);
    assert_eq!(first.await.unwrap().unwrap().value.as_deref(), Some(&2));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anything_stale_a_reader_waits_for_the_load() {
    for backend in Backend::ALL {
        let cache = Setup::new(backend).node(softly(SOFT)).await;
        let slow = Origin::held(1);
        let mut reader = spawn_read(&cache, &slow);
        slow.until_reading(1).await;
        assert!(timeout(SOFT * 3, &mut reader).await.is_err(), "{backend:?}: there is nothing to serve");
        slow.let_go(1);
        assert_eq!(reader.await.unwrap().unwrap().value.as_deref(), Some(&1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_soft_deadline_nothing_is_served_that_was_invalidated_meanwhile() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(softly(SOFT * 3)).await;
        read(&cache, &Origin::open(1)).await.unwrap();
        setup.clock.advance(secs(15));
        let slow = Origin::held(2);
        let mut reader = spawn_read(&cache, &slow);
        slow.until_reading(1).await;
        cache.invalidate(KEY).await.unwrap();
        assert!(timeout(SOFT * 9, &mut reader).await.is_err(), "{backend:?}");
        slow.let_go(1);
        assert_eq!(reader.await.unwrap().unwrap().value.as_deref(), Some(&2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_waits_for_another_nodes_load_has_its_soft_deadline_too() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let policy = softly(SOFT).near_ttl(Duration::ZERO);
        let (a, b) = (setup.node(policy.clone()).await, setup.node(policy).await);
        read(&a, &Origin::open(1)).await.unwrap();
        setup.clock.advance(secs(15));
        let (slow, idle) = (Origin::held(2), Origin::held(3));
        assert!(read(&a, &slow).await.unwrap().stale);
        let stale = read(&b, &idle).await.unwrap();
        assert_eq!((stale.value.as_deref(), stale.stale), (Some(&1), true), "{backend:?}");
        assert_eq!((slow.reads(), idle.reads()), (1, 0), "{backend:?}");
        slow.let_go(1);
        // On a busy machine one of them may have lost patience with Redis, and then this one loads by itself.
        idle.let_go(100);
        larder_testkit::eventually("a node's load is here", secs(10), || async {
            let now = read(&b, &idle).await.unwrap();
            !now.stale && now.value.as_deref() > Some(&1)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_does_not_wait_longer_than_the_soft_deadline_for_what_is_stale() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(softly(SOFT)).await;
        let keys = ["a".to_owned(), "b".to_owned()];
        cache.get_many_with(&keys, |_| async { Ok(vec![Some(1), Some(1)]) }).await.unwrap();
        setup.clock.advance(secs(15));
        let batch = cache.get_many_with(&keys, |_| pending());
        let values = timeout(secs(10), batch).await.expect("both are stale").unwrap();
        assert!(values.iter().all(|value| value.as_deref() == Some(&1)), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_hard_deadline_a_stale_value_is_served_or_the_error_says_so() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache =
            setup.node(Policy::ttl(secs(10)).jitter(0.0).stale_if_error(HOUR).load_deadline(SOFT)).await;
        let error = cache.get_with(KEY, never).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("load deadline"), "{error}");
        read(&cache, &Origin::open(1)).await.unwrap();
        setup.clock.advance(secs(15));
        let stale = cache.read_with(KEY, &ReadOptions::default(), never).await.unwrap();
        assert_eq!((stale.value.as_deref(), stale.stale), (Some(&1), true), "{backend:?}");
        assert_eq!(cache.stats().load_errors, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_was_cut_off_leaves_no_lease_behind() {
    for backend in Backend::SHARED {
        for stale in [false, true] {
            let setup = Setup::new(backend);
            let hasty = Policy::ttl(secs(10)).jitter(0.0).stale_if_error(HOUR).load_deadline(SOFT);
            let (a, b) = (setup.node(hasty).await, setup.node(lasting()).await);
            if stale {
                read(&a, &Origin::open(1)).await.unwrap();
                setup.clock.advance(secs(15));
            }
            let cut_off = a.get_with(KEY, never).await;
            assert_eq!(cut_off.is_ok(), stale);
            // A lease that was left would hold the other node up for seconds, and then its load could not fill.
            assert_eq!(read(&b, &Origin::open(2)).await.unwrap().value.as_deref(), Some(&2));
            assert_eq!(b.stats().fills_accepted, 1, "{backend:?}, stale: {stale}");
        }
    }
}

#[test]
fn a_soft_deadline_that_cannot_work_is_refused() {
    let sound = softly(SOFT);
    assert!(sound.check().is_ok());
    for wrong in [
        sound.clone().soft_deadline(Duration::ZERO),
        sound.clone().load_deadline(SOFT),
        sound.stale_if_error(Duration::ZERO),
    ] {
        let error = wrong.check().unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Config, Some("soft_deadline")));
    }
}
