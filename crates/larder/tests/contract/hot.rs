//! The keys that are read most, and how long they are held.

use std::time::Duration;

use larder::{
    Cache, ErrorKind, Policy,
    cache::{Consistency, ReadMode, ReadOptions, Served, TierState},
    document::{Database, Id, IdType, Schema},
};
use larder_testkit::eventually;

use crate::setup::{Backend, Origin, Setup, lasting};

const SOON: Duration = Duration::from_secs(10);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn read(cache: &Cache<String, u64>, key: &str, times: usize, origin: &Origin) -> Served {
    let mut served = Served::Near;
    for _ in 0..times {
        served = cache.read_with(key, &ReadOptions::default(), origin.loader()).await.unwrap().served;
    }
    served
}

/// For how long the node may serve its own copy without asking Redis.
async fn held_for(node: &Cache<String, u64>, key: &str) -> Duration {
    match node.explain(&key.to_owned()).await.near {
        TierState::Holds { fresh_for, .. } => fresh_for,
        other => panic!("{key}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_that_are_read_most_are_told_whoever_answers() {
    for backend in Backend::ALL {
        for near_ttl in [secs(60), Duration::ZERO] {
            let setup = Setup::new(backend);
            let cache = setup.node(lasting().near_ttl(near_ttl)).await;
            let origin = Origin::open(1);
            read(&cache, "often", 60, &origin).await;
            read(&cache, "at times", 30, &origin).await;
            cache
                .get_many_with(&["together".to_owned()], |keys| async move { Ok(vec![Some(1); keys.len()]) })
                .await
                .unwrap();
            let past = ReadOptions { mode: ReadMode::Bypass, ..ReadOptions::default() };
            for _ in 0..50 {
                cache.read_with("past the cache", &past, origin.loader()).await.unwrap();
            }
            setup.clock.advance(secs(1));
            let hottest = cache.hot_keys(10);
            let keys: Vec<&str> = hottest.iter().map(|hot| hot.key.as_str()).collect();
            assert_eq!(keys, ["often", "at times", "together"], "{backend:?}, {near_ttl:?}");
            assert!((hottest[0].share - 60.0 / 91.0).abs() < 1e-9, "{hottest:?}");
            assert!((hottest[0].reads_per_second - 60.0).abs() < 3.0, "{hottest:?}");
            assert_eq!(hottest.iter().map(|hot| hot.is_hot()).collect::<Vec<_>>(), [true, true, false]);
            assert_eq!(cache.hot_keys(1).len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_threads_lose_no_key_that_stands_out() {
    let cache = Setup::new(Backend::Memory).node(lasting()).await;
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move {
                for turn in 0..20_000_u64 {
                    let key = if turn % 2 == 0 { "often".to_owned() } else { (turn % 4_999).to_string() };
                    cache.get_with(&key, || async { Ok(Some(1)) }).await.unwrap();
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    let hottest = cache.hot_keys(10);
    assert_eq!(hottest[0].key, "often", "{hottest:?}");
    assert!((0.35..0.65).contains(&hottest[0].share), "{hottest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_key_is_asked_of_redis_less_often_and_still_hears_of_changes() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let policy = lasting().near_ttl(secs(2)).hot_near_ttl(secs(60));
        let (node, other) = (setup.node(policy.clone()).await, setup.node(policy).await);
        let origin = Origin::open(1);
        read(&node, "hot", 40, &origin).await;
        read(&node, "not hot", 1, &origin).await;
        // No copy was known to be hot when it was made; those that are made now are.
        setup.clock.advance(secs(2));
        for key in ["hot", "not hot"] {
            assert_eq!(read(&node, key, 1, &origin).await, Served::Shared, "{backend:?}: {key}");
        }
        assert_eq!(held_for(&node, "not hot").await, secs(2), "{backend:?}");
        assert_eq!(held_for(&node, "hot").await, secs(60), "{backend:?}");
        setup.clock.advance(secs(30));
        assert_eq!(held_for(&node, "not hot").await, Duration::ZERO, "{backend:?}");
        assert_eq!(held_for(&node, "hot").await, secs(30), "{backend:?}");

        origin.write(2);
        other.invalidate("hot").await.unwrap();
        eventually("the copy that is held longer goes as any other", SOON, || async {
            node.get_with("hot", origin.loader()).await.unwrap().as_deref() == Some(&2)
        })
        .await;
        setup.clock.advance(secs(120));
        assert_ne!(read(&node, "hot", 1, &origin).await, Served::Near, "{backend:?}: longer is not for ever");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_hold_that_cannot_work_is_refused() {
    for policy in [
        lasting().hot_near_ttl(secs(5)),
        lasting().near_ttl(secs(6)).hot_near_ttl(secs(5)),
        lasting().near_ttl(Duration::ZERO).hot_near_ttl(secs(5)),
    ] {
        assert_eq!(policy.check().unwrap_err().field(), Some("hot_near_ttl"), "{policy:?}");
    }
    let builder =
        Setup::new(Backend::Redis).builder(Policy::default().near_ttl(secs(1)).hot_near_ttl(secs(5))).await;
    let error = builder.consistency(Consistency::Local).build().unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::Config, Some("hot_near_ttl")));
}

#[tokio::test]
async fn a_document_is_as_hot_as_all_that_is_read_of_it() {
    let products = Database::sqlite_in_memory()
        .await
        .unwrap()
        .collection(Schema::new("products", IdType::Int).strict(false))
        .partial("card", &["name"])
        .build()
        .unwrap();
    for _ in 0..3 {
        products.read_partial("card", &Id::Int(7), &ReadOptions::default()).await.unwrap();
    }
    products.get(&Id::Int(8)).await.unwrap();
    let hottest: Vec<_> =
        products.hot_keys(10).into_iter().map(|hot| (hot.key, (hot.share * 100.0).round())).collect();
    assert_eq!(hottest, [(Id::Int(7), 75.0), (Id::Int(8), 25.0)]);
}
