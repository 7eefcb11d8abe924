//! Several nodes with one cache: who sees what, and when, after an invalidation.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use larder::{
    Cache, Error, ErrorKind,
    cache::{Consistency, MissReason, ReadOptions, Served, TierState},
    redis::Redis,
};
use larder_testkit::{
    eventually,
    proxy::{Fault, Front},
    redis::{Deployment, Options},
};

use crate::setup::{Backend, Origin, Setup, lasting};

const KEY: &str = "k";
const SOON: Duration = Duration::from_secs(5);

fn tagged(tags: &[&str]) -> ReadOptions {
    ReadOptions { tags: tags.iter().map(ToString::to_string).collect(), ..ReadOptions::default() }
}

async fn value(cache: &Cache<String, u64>, origin: &Origin) -> u64 {
    *cache.get_with(KEY, origin.loader()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn near_copies_of_other_nodes_go_within_moments() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let origin = Origin::open(0);
        for round in 1..20 {
            assert_eq!(value(&b, &origin).await, round - 1);
            origin.write(round);
            a.invalidate(KEY).await.unwrap();
            assert_eq!(value(&a, &origin).await, round, "{backend:?}: on the node itself at once");
            eventually("the other node has heard", SOON, || async { value(&b, &origin).await == round })
                .await;
        }
        assert!(b.stats().near_hits + b.stats().shared_hits > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_tag_takes_all_its_entries_and_no_others() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let origin = Origin::open(1);
        let nodes = if backend == Backend::Memory { vec![&a] } else { vec![&a, &b] };
        for node in &nodes {
            for key in ["1", "2", "3"] {
                let options = if key == "3" { tagged(&["blue"]) } else { tagged(&["red", "blue"]) };
                node.read_with(key, &options, origin.loader()).await.unwrap();
            }
        }
        origin.write(2);
        a.invalidate_tag("red").await.unwrap();
        for (key, expected) in [("1", 2), ("2", 2), ("3", 1)] {
            let read = a.read_with(key, &tagged(&["red", "blue"]), origin.loader()).await.unwrap();
            assert_eq!(read.value.as_deref(), Some(&expected), "{backend:?}: {key}");
        }
        if backend != Backend::Memory {
            eventually("the other node has heard", SOON, || async {
                let read = b.read_with("2", &tagged(&["red"]), origin.loader()).await.unwrap();
                read.value.as_deref() == Some(&2)
            })
            .await;
        }
        let loads = origin.reads();
        for key in ["1", "2", "3"] {
            a.get_with(key, origin.loader()).await.unwrap();
        }
        assert_eq!(origin.reads(), loads, "{backend:?}: what was loaded after the purge stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_wins_against_a_load_that_began_before_it_whatever_its_tags() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup
            .builder(lasting())
            .await
            // The tag is only known once the value is.
            .tags(|_, value| vec![format!("number:{value}")])
            .build()
            .unwrap();
        let origin = Origin::held(1);
        let reader = tokio::spawn({
            let (cache, load) = (cache.clone(), origin.loader());
            async move { cache.get_with(KEY, load).await }
        });
        origin.until_reading(1).await;
        cache.invalidate_tag("number:1").await.unwrap();
        origin.write(5);
        origin.let_go(10);
        assert_eq!(reader.await.unwrap().unwrap().as_deref(), Some(&1));
        assert_eq!(value(&cache, &origin).await, 5, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_any_mark_of_a_purge_revives_nothing() {
    // One purge at a time: two would stand in for each other.
    let purges = [
        (Purge::Tag, &["t:*", "q", "ep", "log"][..]),
        (Purge::Pattern, &["fe", "q", "ep", "log"]),
        (Purge::Clear, &["g", "q", "ep", "log"]),
    ];
    for deployment in Deployment::each(&Options::default()) {
        for (purge, marks) in purges {
            for lost in marks {
                a_purge_that_loses(&deployment, purge, lost).await;
            }
        }
    }
}

async fn a_purge_that_loses(deployment: &Deployment, purge: Purge, lost: &str) {
    let name = Setup::new(Backend::Redis).name;
    let node = async || {
        let redis = Redis::connect(&*deployment.url()).await.unwrap();
        Cache::<String, u64>::builder(&*name).redis(&redis).policy(lasting()).build().unwrap()
    };
    let a = node().await;
    let origin = Origin::open(1);
    a.read_with(KEY, &tagged(&["red"]), origin.loader()).await.unwrap();
    origin.write(2);
    match purge {
        Purge::Tag => drop(a.invalidate_tag("red").await.unwrap()),
        Purge::Pattern => assert_eq!(a.invalidate_pattern("*").await.unwrap(), 1),
        Purge::Clear => drop(a.clear().await.unwrap()),
    }
    // As an eviction would take them. Another node, which knows nothing, comes after.
    let pattern = format!("*{name}*:v1:{lost}");
    let keys = deployment.keys(&pattern);
    assert!(!keys.is_empty(), "{purge:?}: {pattern}");
    for key in keys {
        deployment.ask(&["DEL", &key]);
    }
    let read = node().await.read_with(KEY, &tagged(&["red"]), origin.loader()).await.unwrap();
    assert_eq!(read.value.as_deref(), Some(&2), "{}: {purge:?} without {lost}", deployment.kind());
}

#[derive(Clone, Copy, Debug)]
enum Purge {
    Tag,
    Pattern,
    Clear,
}

#[tokio::test(flavor = "multi_thread")]
async fn clearing_takes_everything_on_every_node() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let origin = Origin::open(1);
        for node in [&a, &b] {
            value(node, &origin).await;
        }
        origin.write(2);
        a.clear().await.unwrap();
        assert_eq!(value(&a, &origin).await, 2, "{backend:?}");
        if backend != Backend::Memory {
            eventually("the other node has heard", SOON, || async { value(&b, &origin).await == 2 }).await;
        }
        assert_eq!(value(&a, &origin).await, 2, "{backend:?}: and what was loaded after the clear is kept");
        assert_eq!(a.stats().near_hits, 1, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_loaded_after_an_acknowledged_clear_is_stored_however_busy_the_shard_is() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let node = setup.node(lasting()).await;
        let origin = Origin::open(1);
        let refused = || node.stats().fills_refused;
        for round in 0..100 {
            let others = (0..8).map(|key| {
                let node = node.clone();
                tokio::spawn(async move { node.invalidate(&*format!("other:{round}:{key}")).await })
            });
            let others: Vec<_> = others.collect();
            node.clear().await.unwrap();
            value(&node, &origin).await;
            for other in others {
                other.await.unwrap().unwrap();
            }
        }
        assert_eq!(refused(), 0, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_takes_what_it_matches_and_refuses_fills_from_before() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let origin = Origin::open(1);
        for tenant in [41, 42] {
            for user in 0..30 {
                a.get_with(&*format!("tenant:{tenant}:{user}"), origin.loader()).await.unwrap();
            }
        }
        b.get_with("tenant:42:7", origin.loader()).await.unwrap();
        let slow = Origin::held(1);
        let reader = tokio::spawn({
            let (b, load) = (b.clone(), slow.loader());
            async move { b.get_with("tenant:42:new", load).await }
        });
        slow.until_reading(1).await;
        assert_eq!(a.invalidate_pattern("tenant:42:*").await.unwrap(), 31, "thirty values and a lease");
        slow.let_go(1);
        reader.await.unwrap().unwrap();
        origin.write(2);
        for key in ["tenant:42:7", "tenant:42:new"] {
            eventually("the other node has heard", SOON, || async {
                b.get_with(key, origin.loader()).await.unwrap().as_deref() == Some(&2)
            })
            .await;
        }
        let other = a.get_with("tenant:41:7", origin.loader()).await.unwrap();
        assert_eq!(other.as_deref(), Some(&1), "{backend:?}: another tenant");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_filled_while_a_guarded_write_runs() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let origin = Origin::open(1);
        value(&b, &origin).await;
        let (written, invalidated) = a
            .guarded_write(&[KEY], async {
                eventually("the other node's copy is gone", SOON, || async {
                    let read = b.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap();
                    read.served == Served::Source
                })
                .await;
                let explain = b.explain(&KEY.to_owned()).await;
                assert!(matches!(explain.shared, Some(TierState::Blocked { .. })), "{explain:?}");
                assert_eq!(explain.near, TierState::Empty);
                origin.write(2);
                Ok("written")
            })
            .await
            .unwrap();
        assert_eq!(written, "written");
        invalidated.unwrap();
        for node in [&a, &b] {
            eventually("all see the write", SOON, || async { value(node, &origin).await == 2 }).await;
        }
        eventually("and it is cached again", SOON, || async {
            let read = b.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap();
            read.served != Served::Source
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_write_that_fails_or_is_dropped_leaves_no_block_behind() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(lasting()).await;
        let origin = Origin::open(1);
        let failed = cache
            .guarded_write(&[KEY], async {
                Err::<(), _>(Error::new(ErrorKind::Conflict, "somebody was faster"))
            })
            .await;
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Conflict);
        value(&cache, &origin).await;
        assert_eq!(value(&cache, &origin).await, 1);
        assert_eq!(origin.reads(), 1, "it was cached");
        let forever = std::future::pending::<larder::Result<()>>();
        let dropped =
            tokio::time::timeout(Duration::from_millis(50), cache.guarded_write(&[KEY], forever)).await;
        assert!(dropped.is_err());
        eventually("it is cached again", SOON, || async {
            let read = cache.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap();
            read.served != Served::Source
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gives_up_a_guarded_write_takes_off_no_block_but_its_own() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let origin = Origin::open(1);
        let during = async {
            let forever = std::future::pending::<larder::Result<()>>();
            let dropped =
                tokio::time::timeout(Duration::from_millis(50), b.guarded_write(&[KEY], forever)).await;
            assert!(dropped.is_err());
            eventually("it is told to Redis", SOON, || async { b.stats().invalidations_owed == 0 }).await;
            for node in [&a, &b] {
                let read = node.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap();
                assert_eq!(read.served, Served::Source, "{backend:?}");
            }
            let shared = b.explain(&KEY.to_owned()).await.shared;
            assert!(matches!(shared, Some(TierState::Blocked { .. })), "{backend:?}: {shared:?}");
            origin.write(2);
            Ok(())
        };
        a.guarded_write(&[KEY], during).await.unwrap().1.unwrap();
        for node in [&a, &b] {
            eventually("it is cached again", SOON, || async {
                let read = node.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap();
                assert_eq!(read.value.as_deref(), Some(&2), "{backend:?}");
                read.served != Served::Source
            })
            .await;
        }
    }
}

/// A node and the proxy through which it alone sees Redis.
async fn behind_a_proxy(deployment: &Deployment, consistency: Consistency) -> (Cache<String, u64>, Front) {
    let proxy = Front::start(deployment).await;
    let redis = Redis::connect(proxy.url()).await.unwrap();
    let cache =
        Cache::builder("cut-off").redis(&redis).policy(lasting()).consistency(consistency).build().unwrap();
    (cache, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_stops_serving_its_copies_by_itself() {
    for deployment in Deployment::each(&Options::default()) {
        let bound = Duration::from_millis(600);
        let (a, _pass) = behind_a_proxy(&deployment, Consistency::Bounded(bound)).await;
        let (b, proxy) = behind_a_proxy(&deployment, Consistency::Bounded(bound)).await;
        let origin = Origin::open(1);
        value(&b, &origin).await;
        proxy.set(Fault::Silent);
        origin.write(2);
        a.invalidate(KEY).await.unwrap();
        let acknowledged = Instant::now();
        while value(&b, &origin).await == 1 {
            // What the clock's steps, one look-up's deadline and a busy machine may add.
            assert!(acknowledged.elapsed() < bound + Duration::from_millis(900), "still served the old copy");
        }
        proxy.set(Fault::Pass);
        eventually("hits are back", SOON, || async {
            let read = b.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap();
            assert_eq!(read.value.as_deref(), Some(&2));
            read.served == Served::Near
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_invalidation_waits_for_a_node_that_is_cut_off_until_it_may_serve_nothing() {
    for deployment in Deployment::each(&Options::default()) {
        let bound = Duration::from_millis(800);
        let (a, _pass) = behind_a_proxy(&deployment, Consistency::Strict(bound)).await;
        let (b, proxy) = behind_a_proxy(&deployment, Consistency::Strict(bound)).await;
        let origin = Origin::open(1);
        value(&b, &origin).await;
        value(&a, &origin).await;
        proxy.set(Fault::Silent);
        origin.write(2);
        a.invalidate(KEY).await.unwrap();
        assert_eq!(value(&b, &origin).await, 2, "its time had run out before the invalidation returned");
    }
}

/// Who has copies is noted in Redis, and goes with its memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_strict_invalidation_waits_for_a_node_that_redis_has_forgotten() {
    for deployment in Deployment::each(&Options::default()) {
        let bound = Duration::from_millis(1_500);
        let (a, _pass) = behind_a_proxy(&deployment, Consistency::Strict(bound)).await;
        let (b, proxy) = behind_a_proxy(&deployment, Consistency::Strict(bound)).await;
        let origin = Origin::open(1);
        eventually("it has a copy of its own", SOON, || async {
            b.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap().served == Served::Near
        })
        .await;
        proxy.set(Fault::Silent);
        deployment.ask_all(&["FLUSHALL"]);
        origin.write(2);
        a.invalidate(KEY).await.unwrap();
        assert_eq!(value(&b, &origin).await, 2, "its time had run out before the invalidation returned");
    }
}

/// Whether a cache has this value for each key. A load does not count: without a Redis each read is one.
async fn all_are(cache: &Cache<String, u64>, keys: &[String], origin: &Origin, number: u64) -> bool {
    let mut there = 0;
    for key in keys {
        let read = cache.read_with(key, &ReadOptions::default(), origin.loader()).await.unwrap();
        there += usize::from(read.served != Served::Source && read.value.as_deref() == Some(&number));
    }
    there == keys.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_connection_has_every_copy_anew() {
    for deployment in Deployment::each(&Options::default()) {
        let (a, _pass) = behind_a_proxy(&deployment, Consistency::default()).await;
        let (b, proxy) = behind_a_proxy(&deployment, Consistency::default()).await;
        let origin = Origin::open(1);
        let keys: Vec<String> = (0..200).map(|number| number.to_string()).collect();
        for key in &keys {
            b.get_with(key, origin.loader()).await.unwrap();
        }
        // Everything cut: messages published now reach nobody on this side.
        proxy.set(Fault::Refuse);
        proxy.cut();
        origin.write(2);
        let all: Vec<&String> = keys.iter().collect();
        a.invalidate_many(&all).await.unwrap();
        proxy.set(Fault::Pass);
        eventually("the node is back, and every copy is new", SOON, || all_are(&b, &keys, &origin, 2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_missed_messages_catches_up_from_the_log() {
    for deployment in Deployment::each(&Options::default()) {
        let (a, _pass) = behind_a_proxy(&deployment, Consistency::default()).await;
        let (b, _pass_too) = behind_a_proxy(&deployment, Consistency::default()).await;
        let origin = Origin::open(0);
        let keys: Vec<String> = (0..50).map(|number| number.to_string()).collect();
        let all: Vec<&String> = keys.iter().collect();
        for round in 1..100 {
            for key in &keys {
                b.get_with(key, origin.loader()).await.unwrap();
            }
            origin.write(round);
            // What is published before they subscribe again reaches nobody. Their other connections live on.
            deployment.ask_all(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            a.invalidate_many(&all).await.unwrap();
            eventually("every copy is new", SOON, || all_are(&b, &keys, &origin, round)).await;
            if b.stats().log_gaps > 0 {
                break;
            }
        }
        assert!(b.stats().log_gaps > 0, "no message was missed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_missed_more_than_the_log_holds_forgets_the_shard() {
    for deployment in Deployment::each(&Options::default()) {
        let redis = Redis::connect(deployment.url()).await.unwrap();
        let cache: Cache<String, u64> =
            Cache::builder("trimmed").redis(&redis).policy(lasting()).build().unwrap();
        let origin = Origin::open(1);
        let keys: Vec<String> = (0..200).map(|number| number.to_string()).collect();
        for key in &keys {
            cache.get_with(key, origin.loader()).await.unwrap();
        }
        origin.write(2);
        // Invalidations whose messages got lost, and whose entries in the log had to make room before anybody looked.
        for slot in deployment.keys("*:e:*") {
            deployment.owner_of(&slot).ask(&["DEL", &slot]);
        }
        for sequence in deployment.keys("*:q") {
            deployment.owner_of(&sequence).ask(&["INCR", &sequence]);
        }
        eventually("every copy is new", SOON, || all_are(&cache, &keys, &origin, 2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_lost_its_memory_makes_every_node_forget() {
    for deployment in Deployment::each(&Options::default()) {
        let (a, _one) = behind_a_proxy(&deployment, Consistency::default()).await;
        let (b, _two) = behind_a_proxy(&deployment, Consistency::default()).await;
        let origin = Origin::open(1);
        value(&a, &origin).await;
        value(&b, &origin).await;
        deployment.ask_all(&["FLUSHALL"]);
        origin.write(2);
        a.invalidate(KEY).await.unwrap();
        for node in [&a, &b] {
            eventually("the new epoch is noticed", SOON, || async { value(node, &origin).await == 2 }).await;
        }
    }
}

/// Writers and readers on three nodes, while connections are cut at random: the same node is never behind, and another
/// never for longer than the bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn staleness_is_bounded_on_other_nodes_also_under_faults() {
    for deployment in Deployment::each(&Options::default()) {
        let bound = Duration::from_millis(400);
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(behind_a_proxy(&deployment, Consistency::Bounded(bound)).await);
        }
        let origin = Arc::new(AtomicU64::new(0));
        // When each version was acknowledged, and by which node.
        let history: Arc<std::sync::Mutex<Vec<Instant>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let mut readers = Vec::new();
        for (cache, _) in &nodes {
            for _ in 0..2 {
                let (cache, origin, history, stop) =
                    (cache.clone(), origin.clone(), history.clone(), stop.clone());
                readers.push(tokio::spawn(async move {
                    let mut reads = 0_u64;
                    while !stop.load(SeqCst) {
                        let begun = Instant::now();
                        let origin = origin.clone();
                        let load = move || async move { Ok(Some(origin.load(SeqCst))) };
                        let read = *cache.get_with(KEY, load).await.unwrap().unwrap();
                        reads += 1;
                        let history = history.lock().unwrap();
                        // The next version, had it been acknowledged longer ago than the bound, must have been seen. A load
                        // cut short by a fault may take two deadlines of Redis more.
                        if let Some(acknowledged) = history.get(read as usize) {
                            let behind = begun.saturating_duration_since(*acknowledged);
                            assert!(
                                behind < bound + Duration::from_millis(900),
                                "read {read} {behind:?} too late"
                            );
                        }
                    }
                    reads
                }));
            }
        }
        let deadline = Instant::now() + Duration::from_secs(6);
        let mut version = 0;
        while Instant::now() < deadline {
            version += 1;
            origin.store(version, SeqCst);
            let (cache, proxy) = &nodes[version as usize % 3];
            let acknowledged = cache.invalidate(KEY).await.is_ok();
            if !acknowledged {
                // Not acknowledged: nothing is promised until the next one is.
                eventually("it is paid later", SOON, || async { cache.stats().invalidations_owed == 0 })
                    .await;
            }
            history.lock().unwrap().push(Instant::now());
            if version % 16 == 0 {
                proxy.cut();
            }
            tokio::task::yield_now().await;
        }
        stop.store(true, SeqCst);
        for reader in readers {
            assert!(reader.await.unwrap() > 10);
        }
        assert!(version > 50, "{version} versions are too few to mean anything");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_can_choose_a_shorter_life() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let own = |value: &u64| match value {
            0 => Some(Duration::ZERO),
            1 => Some(Duration::from_secs(5)),
            _ => None,
        };
        let cache = setup.builder(lasting()).await.ttl_from(own).build().unwrap();
        for (key, number) in [("0", 0), ("1", 1), ("2", 2)] {
            cache.get_with(key, Origin::open(number).loader()).await.unwrap();
        }
        setup.clock.advance(Duration::from_secs(6));
        for (key, cached) in [("0", false), ("1", false), ("2", true)] {
            let read = cache.read_with(key, &ReadOptions::default(), Origin::open(9).loader()).await.unwrap();
            assert_eq!(read.value.as_deref() != Some(&9), cached, "{backend:?}: {key}");
            if key == "1" {
                assert_eq!(read.reason, Some(MissReason::Expired));
            }
        }
    }
}
