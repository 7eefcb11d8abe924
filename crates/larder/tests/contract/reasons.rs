//! Why a read missed, and what `explain` says of it, with a near tier and without.

use std::time::Duration;

use larder::{
    Cache, Policy,
    cache::{Explain, MissReason, PurgedBy, Read, ReadMode, ReadOptions, Served, TierState},
    redis::Redis,
};
use larder_testkit::redis::{Deployment, Options};

use crate::setup::{Backend, LONG, Origin, Setup, lasting};

const KEY: &str = "k";

/// The backends with a near tier, and those that can do without.
const TIERS: [(Backend, bool); 5] = [
    (Backend::Memory, true),
    (Backend::Redis, true),
    (Backend::Cluster, true),
    (Backend::Redis, false),
    (Backend::Cluster, false),
];

async fn node(setup: &Setup, policy: Policy, near: bool) -> Cache<String, u64> {
    let builder = setup.builder(policy).await.tags(|_, _| vec!["tag".to_owned()]);
    if near { builder.build() } else { builder.near_capacity(0).build() }.unwrap()
}

async fn read(cache: &Cache<String, u64>, key: &str) -> Read<u64> {
    cache.read_with(key, &ReadOptions::default(), Origin::open(1).loader()).await.unwrap()
}

/// Reads twice: why the first one missed, which `explain` goes on to say, and that the second one did not.
async fn reason(cache: &Cache<String, u64>) -> Option<MissReason> {
    let first = read(cache, KEY).await;
    assert_ne!(read(cache, KEY).await.served, Served::Source);
    assert_eq!(cache.explain(&KEY.to_owned()).await.last_seen, first.reason);
    first.reason
}

#[tokio::test(flavor = "multi_thread")]
async fn each_miss_says_why() {
    for (backend, near) in TIERS {
        let what = format!("{backend:?}, near tier: {near}");
        let setup = Setup::new(backend);
        let cache = node(&setup, lasting(), near).await;
        assert_eq!(reason(&cache).await, Some(MissReason::Cold), "{what}");
        cache.invalidate(KEY).await.unwrap();
        assert_eq!(reason(&cache).await, Some(MissReason::Invalidated), "{what}");
        cache.invalidate_tag("tag").await.unwrap();
        assert_eq!(reason(&cache).await, Some(MissReason::Purged), "{what}");
        cache.clear().await.unwrap();
        assert_eq!(reason(&cache).await, Some(MissReason::Purged), "{what}");
        setup.clock.advance(2 * LONG);
        assert_eq!(reason(&cache).await, Some(MissReason::Expired), "{what}");
        let asks = ReadOptions { mode: ReadMode::Refresh, ..ReadOptions::default() };
        let asked = cache.read_with(KEY, &asks, Origin::open(1).loader()).await.unwrap();
        assert_eq!(asked.reason, Some(MissReason::Asked), "{what}");
        assert_eq!(cache.stats().misses_of(MissReason::Purged), 2, "{what}");
    }
}

/// In this process alone: what Redis has of a key is not known beforehand.
#[tokio::test]
async fn a_key_that_was_never_there_is_cold_though_it_was_invalidated() {
    let cache = node(&Setup::new(Backend::Memory), lasting(), true).await;
    cache.invalidate(KEY).await.unwrap();
    assert_eq!(reason(&cache).await, Some(MissReason::Cold));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_remembered_without_a_near_tier() {
    for (backend, near) in TIERS {
        let cache = node(&Setup::new(backend), lasting().max_entry_bytes(3), near).await;
        for expected in [MissReason::Cold, MissReason::TooLarge, MissReason::TooLarge] {
            let load = Origin::open(123_456).loader();
            let read = cache.read_with(KEY, &ReadOptions::default(), load).await.unwrap();
            assert_eq!(read.reason, Some(expected), "{backend:?}, near tier: {near}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_is_forgotten_once_the_key_is_back() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let cache = node(&setup, lasting(), false).await;
        read(&cache, KEY).await;
        cache.invalidate(KEY).await.unwrap();
        assert_eq!(reason(&cache).await, Some(MissReason::Invalidated));
        setup.expire(KEY).await;
        assert_eq!(reason(&cache).await, Some(MissReason::Cold), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_near_tier_had_no_room_for_is_said_to_be_evicted() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.builder(lasting()).await.near_capacity(16).build().unwrap();
        let keys: Vec<String> = (0..100).map(|number| format!("k{number}")).collect();
        for key in &keys {
            assert_eq!(read(&cache, key).await.reason, Some(MissReason::Cold));
        }
        let mut evicted = 0;
        for key in &keys {
            if backend != Backend::Memory {
                let slot = cache.explain(key).await.slot_key.expect("there is a Redis");
                setup.ask(&["DEL", &slot]);
            }
            evicted += usize::from(read(&cache, key).await.reason == Some(MissReason::Evicted));
        }
        // Some of the reasons share a place.
        assert!(evicted >= 70, "{backend:?}: {evicted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_away_is_the_reason() {
    for near in [true, false] {
        for deployment in Deployment::each(&Options::default()) {
            let redis = Redis::connect(deployment.url().as_str()).await.unwrap();
            let builder = Cache::<String, u64>::builder("reasons").redis(&redis).policy(lasting());
            let cache = if near { builder.build() } else { builder.near_capacity(0).build() }.unwrap();
            read(&cache, KEY).await;
            deployment.kill();
            larder_testkit::eventually("it is away", Duration::from_secs(10), || async {
                !redis.is_available()
            })
            .await;
            assert_eq!(read(&cache, "other").await.reason, Some(MissReason::Error), "near tier: {near}");
            assert!(matches!(
                cache.explain(&"other".to_owned()).await.shared,
                Some(TierState::Unreachable(_))
            ));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_purge_of_its_tag_or_of_everything_made_worthless_is_not_said_to_be_there() {
    for (backend, near) in TIERS.into_iter().filter(|(backend, _)| *backend != Backend::Memory) {
        for by_tag in [true, false] {
            let what = format!("{backend:?}, near tier: {near}, by tag: {by_tag}");
            let setup = Setup::new(backend);
            let (a, b) = (node(&setup, lasting(), near).await, node(&setup, lasting(), near).await);
            read(&a, KEY).await;
            let key = KEY.to_owned();
            for node in [&a, &b] {
                let shared = node.explain(&key).await.shared;
                assert!(matches!(shared, Some(TierState::Holds { .. })), "{what}: {shared:?}");
            }
            match by_tag {
                true => a.invalidate_tag("tag").await.unwrap(),
                false => a.clear().await.unwrap(),
            };
            let explain = a.explain(&key).await;
            assert_eq!(explain.shared, Some(TierState::Purged), "{what}");
            let purge = if by_tag { PurgedBy::Tag(Some("tag".into())) } else { PurgedBy::Clear };
            assert_eq!((explain.purged_by, explain.tags), (Some(purge), vec!["tag".to_owned()]), "{what}");
            // One that has never heard of the tag, or of the shard.
            let new = node(&setup, lasting(), near).await;
            assert_eq!(new.explain(&key).await.shared, Some(TierState::Purged), "{what}");
            larder_testkit::eventually("the other node has heard", Duration::from_secs(10), || async {
                b.explain(&key).await.shared == Some(TierState::Purged)
            })
            .await;
            read(&b, KEY).await;
            let Explain { shared, purged_by, refreshing_for, .. } = a.explain(&key).await;
            assert!(matches!(shared, Some(TierState::Holds { .. })), "{what}: {shared:?}");
            assert_eq!((purged_by, refreshing_for), (None, None), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_value_is_being_loaded_anew_behind_its_readers_is_said() {
    for (backend, near) in TIERS.into_iter().filter(|(backend, _)| *backend != Backend::Memory) {
        let setup = Setup::new(backend);
        let policy = Policy::ttl(Duration::from_secs(10)).jitter(0.0).stale_while_revalidate(LONG);
        let cache = node(&setup, policy, near).await;
        read(&cache, KEY).await;
        setup.clock.advance(Duration::from_secs(20));
        let held = Origin::held(2);
        let stale = cache.read_with(KEY, &ReadOptions::default(), held.loader()).await.unwrap();
        assert!(stale.stale, "{backend:?}");
        held.until_reading(1).await;
        let explain = cache.explain(&KEY.to_owned()).await;
        assert!(explain.refreshing_for.is_some_and(|left| !left.is_zero()), "{backend:?}: {explain:?}");
        assert!(matches!(explain.shared, Some(TierState::Holds { .. })), "{backend:?}: {explain:?}");
        held.let_go(1);
    }
}
