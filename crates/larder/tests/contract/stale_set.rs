//! The race that caches get wrong: a load that began before an invalidation must not leave its older value behind, in
//! whatever order the two meet.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::poll;
use larder::Policy;
use tokio::task::JoinHandle;

use crate::setup::{Backend, Origin, Setup, lasting};

const KEY: &str = "k";

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_loses_against_an_invalidation_that_came_while_it_loaded() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(lasting()).await;
        let origin = Origin::held(1);
        let reader = tokio::spawn({
            let (cache, load) = (cache.clone(), origin.loader());
            async move { cache.get_with(KEY, load).await }
        });
        origin.until_reading(1).await;
        origin.write(2);
        cache.invalidate(KEY).await.unwrap();
        origin.let_go(2);
        assert_eq!(reader.await.unwrap().unwrap().as_deref(), Some(&1), "it began before the invalidation");
        assert_eq!(cache.get_with(KEY, origin.loader()).await.unwrap().as_deref(), Some(&2), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_loses_against_an_invalidation_by_another_node() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let origin = Origin::held(1);
        let reader = tokio::spawn({
            let (a, load) = (a.clone(), origin.loader());
            async move { a.get_with(KEY, load).await }
        });
        origin.until_reading(1).await;
        origin.write(2);
        b.invalidate(KEY).await.unwrap();
        origin.let_go(2);
        assert_eq!(reader.await.unwrap().unwrap().as_deref(), Some(&1));
        for node in [&a, &b] {
            let value = node.get_with(KEY, origin.loader()).await.unwrap();
            assert_eq!(value.as_deref(), Some(&2), "{backend:?}: the refused value is kept nowhere");
        }
        assert_eq!(a.stats().fills_refused, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_after_an_invalidation_does_not_join_the_load_from_before_it() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(lasting()).await;
        let origin = Origin::held(1);
        let early = tokio::spawn({
            let (cache, load) = (cache.clone(), origin.loader());
            async move { cache.get_with(KEY, load).await }
        });
        origin.until_reading(1).await;
        origin.write(2);
        cache.invalidate(KEY).await.unwrap();
        let late = tokio::spawn({
            let (cache, load) = (cache.clone(), origin.loader());
            async move { cache.get_with(KEY, load).await }
        });
        origin.until_reading(2).await;
        origin.let_go(2);
        assert_eq!(late.await.unwrap().unwrap().as_deref(), Some(&2), "{backend:?}");
        assert_eq!(early.await.unwrap().unwrap().as_deref(), Some(&1));
        assert_eq!(cache.get_with(KEY, origin.loader()).await.unwrap().as_deref(), Some(&2), "{backend:?}");
    }
}

/// Which tags a load belongs to is known only at its end, so one from before a purge is not waited for, whatever its tags.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_after_a_purge_does_not_join_the_load_from_before_it() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let builder = setup.builder(lasting()).await;
        let cache = builder.tags(|_: &String, _: &u64| vec!["all".to_owned()]).build().unwrap();
        let origin = Origin::held(1);
        let early = tokio::spawn({
            let (cache, load) = (cache.clone(), origin.loader());
            async move { cache.get_with(KEY, load).await }
        });
        origin.until_reading(1).await;
        origin.write(2);
        cache.invalidate_tag("all").await.unwrap();
        let mut late = pin!(cache.get_with(KEY, origin.loader()));
        assert!(poll!(&mut late).is_pending(), "it has chosen what to wait for");
        origin.let_go(2);
        assert_eq!(late.await.unwrap().as_deref(), Some(&2), "{backend:?}");
        assert_eq!(early.await.unwrap().unwrap().as_deref(), Some(&1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_outlives_the_caller_that_began_it() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(lasting()).await;
        let origin = Origin::held(1);
        let leader = tokio::spawn({
            let (cache, load) = (cache.clone(), origin.loader());
            async move { cache.get_with(KEY, load).await }
        });
        origin.until_reading(1).await;
        leader.abort();
        assert!(leader.await.unwrap_err().is_cancelled());
        let waiter = tokio::spawn({
            let (cache, load) = (cache.clone(), origin.loader());
            async move { cache.get_with(KEY, load).await }
        });
        origin.let_go(1);
        assert_eq!(waiter.await.unwrap().unwrap().as_deref(), Some(&1));
        assert_eq!(
            origin.reads(),
            1,
            "{backend:?}: the waiter got the value of the load that was left behind"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_whose_lease_ran_out_stores_nothing() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let slow = Origin::held(1);
        let reader = tokio::spawn({
            let (a, load) = (a.clone(), slow.loader());
            async move { a.get_with(KEY, load).await }
        });
        slow.until_reading(1).await;
        // What expiry, eviction and a flush do to a lease: it is gone, and nobody says so.
        setup.expire(KEY).await;
        let fresh = Origin::open(2);
        assert_eq!(b.get_with(KEY, fresh.loader()).await.unwrap().as_deref(), Some(&2));
        slow.let_go(1);
        assert_eq!(reader.await.unwrap().unwrap().as_deref(), Some(&1));
        assert_eq!(a.stats().fills_refused, 1);
        assert_eq!(a.get_with(KEY, fresh.loader()).await.unwrap().as_deref(), Some(&2), "{backend:?}");
        assert_eq!(fresh.reads(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_behind_a_stale_value_loses_against_an_invalidation() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let policy =
            Policy::ttl(Duration::from_secs(10)).jitter(0.0).stale_while_revalidate(Duration::from_secs(100));
        let cache = setup.node(policy).await;
        let origin = Origin::held(1);
        origin.let_go(1);
        cache.get_with(KEY, origin.loader()).await.unwrap();
        setup.clock.advance(Duration::from_secs(20));
        let stale = cache.get_with(KEY, origin.loader()).await.unwrap();
        assert_eq!(stale.as_deref(), Some(&1), "{backend:?}: served while the refresh runs");
        origin.until_reading(2).await;
        origin.write(2);
        cache.invalidate(KEY).await.unwrap();
        origin.let_go(2);
        assert_eq!(cache.get_with(KEY, origin.loader()).await.unwrap().as_deref(), Some(&2), "{backend:?}");
        cache.close().await;
        assert_eq!(cache.get_with(KEY, origin.loader()).await.unwrap().as_deref(), Some(&2), "{backend:?}");
    }
}

/// Many readers and one writer, interleaved by the scheduler: no read that begins after an acknowledged invalidation
/// sees an older value on that node.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_read_is_older_than_the_last_acknowledged_invalidation() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(lasting()).await;
        let (origin, acknowledged) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let reads = Arc::new(AtomicU64::new(0));
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let (cache, origin, acknowledged) = (cache.clone(), origin.clone(), acknowledged.clone());
                let reads = reads.clone();
                tokio::spawn(async move {
                    while acknowledged.load(SeqCst) < 400 {
                        let at_least = acknowledged.load(SeqCst);
                        let origin = origin.clone();
                        let load = move || async move {
                            let value = origin.load(SeqCst);
                            tokio::task::yield_now().await;
                            Ok(Some(value))
                        };
                        let value = *cache.get_with(KEY, load).await.unwrap().unwrap();
                        assert!(
                            value >= at_least,
                            "{backend:?}: read {value} after {at_least} was acknowledged"
                        );
                        reads.fetch_add(1, SeqCst);
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for version in 1..=400 {
            origin.store(version, SeqCst);
            cache.invalidate(KEY).await.unwrap();
            acknowledged.store(version, SeqCst);
            // A few reads of every version, so that the two really interleave.
            let enough = reads.load(SeqCst) + 3;
            while version < 400 && reads.load(SeqCst) < enough && !readers.iter().any(JoinHandle::is_finished)
            {
                tokio::task::yield_now().await;
            }
        }
        for reader in readers {
            reader.await.unwrap();
        }
    }
}
