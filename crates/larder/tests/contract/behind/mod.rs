//! Write-behind: what an acknowledgement means, and what becomes of it.

mod clock;
mod cluster;
mod crash;
mod dead;
mod durability;
mod faults;
mod foreign;
mod limits;
mod mongo;
mod power;
mod spared;
mod steps;
mod table;
pub(crate) mod versioned;
mod waiting;

use std::{num::NonZeroU16, time::Duration};

use larder::{
    Cache, ErrorKind, Policy,
    cache::{ReadMode, ReadOptions, TierState, WriteBehind},
    redis::Redis,
};
use larder_testkit::{
    eventually,
    redis::{Deployment, Options},
};

pub(crate) use self::table::Table;
use crate::setup::{Backend, Setup, lasting};

const SOON: Duration = Duration::from_secs(10);

pub(crate) fn quick() -> WriteBehind {
    WriteBehind::default()
        .max_delay(Duration::from_millis(5))
        .retry_pause(Duration::from_millis(2), Duration::from_millis(20))
        .lease(Duration::from_millis(600))
}

async fn node(setup: &Setup, table: &Table, settings: WriteBehind) -> Cache<String, u64> {
    let builder = setup.builder(lasting()).await.source(table.clone()).sink(table.clone());
    builder.write_behind(settings).build().expect("the settings are sound")
}

async fn over(redis: &Redis, table: &Table, settings: WriteBehind) -> Cache<String, u64> {
    let builder = Cache::builder("behind").policy(lasting()).redis(redis);
    builder.source(table.clone()).sink(table.clone()).write_behind(settings).build().unwrap()
}

async fn read(cache: &Cache<String, u64>, key: &str) -> Option<u64> {
    cache.get(key).await.unwrap().as_deref().copied()
}

/// A worker counts when it has heard that its work is struck off, which a flush may have seen before it.
async fn until_taken(cache: &Cache<String, u64>, operations: u64) {
    let behind = cache.behind().unwrap();
    eventually("the worker counts what it has done", SOON, || async {
        behind.stats().await.unwrap().taken == operations
    })
    .await;
}

async fn until_read(cache: &Cache<String, u64>, key: &str, value: Option<u64>) {
    eventually("the node reads the write", SOON, || async { read(cache, key).await == value }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_write_is_read_on_every_node_before_the_database_has_it() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let (a, b) = (node(&setup, &table, quick()).await, node(&setup, &table, quick()).await);
        table.hold();
        a.put(&"k".into(), &1).await.unwrap();
        assert_eq!(read(&a, "k").await, Some(1), "{backend:?}: where it was written");
        assert_eq!(read(&b, "k").await, Some(1), "{backend:?}: where nothing was known of it");
        b.put(&"k".into(), &2).await.unwrap();
        assert_eq!(read(&b, "k").await, Some(2), "{backend:?}");
        until_read(&a, "k", Some(2)).await;
        a.remove(&"k".into()).await.unwrap();
        assert_eq!(read(&a, "k").await, None, "{backend:?}");
        until_read(&b, "k", None).await;
        a.put(&"k".into(), &3).await.unwrap();
        assert_eq!(table.rows(), [].into(), "{backend:?}: the database has nothing yet");
        table.release();
        b.behind().unwrap().flush().await.unwrap();
        assert_eq!(table.row("k"), Some(3), "{backend:?}");
        until_read(&b, "k", Some(3)).await;
        assert_eq!(b.behind().unwrap().stats().await.unwrap().backlog, 0, "{backend:?}");
    }
}

/// Readers on both nodes, one key and many at a time, while the announcements of the writes come in whenever they do.
#[tokio::test(flavor = "multi_thread")]
async fn no_read_that_begins_after_an_acknowledgement_misses_it_whatever_is_heard_when() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let builder = setup.builder(lasting()).await.source(table.clone()).sink(table.clone());
        // Without near copies there is no time that the announcement may take.
        let b = builder.near_capacity(0).write_behind(quick()).build().unwrap();
        let a = node(&setup, &table, quick()).await;
        let keys = ["k".to_owned(), "other".to_owned()];
        for n in 1..400_u64 {
            a.put(&keys[0], &n).await.unwrap();
            let there = async {
                let (one, many) = tokio::join!(b.get("k"), b.get_many(&keys));
                [one.unwrap().as_deref().copied(), many.unwrap()[0].as_deref().copied()]
            };
            let (here, there) = tokio::join!(read(&a, "k"), there);
            assert_eq!((here, there), (Some(n), [Some(n); 2]), "{backend:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_writes_to_a_few_keys_become_a_few_writes_to_the_database() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let cache = node(&setup, &table, quick().max_delay(Duration::from_secs(5))).await;
        for n in 0..200_u64 {
            cache.put(&(n % 4).to_string(), &n).await.unwrap();
        }
        cache.behind().unwrap().flush().await.unwrap();
        assert_eq!(table.rows(), (196..200).map(|n| ((n % 4).to_string(), n)).collect(), "{backend:?}");
        until_taken(&cache, 200).await;
        let stats = cache.behind().unwrap().stats().await.unwrap();
        assert_eq!(stats.acknowledged, 200, "{backend:?}");
        assert!(table.writes() * 10 <= stats.acknowledged, "{backend:?}: {} writes", table.writes());
        assert_eq!(stats.applied, table.writes(), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_and_a_removal_in_one_batch_leave_nothing_and_the_other_way_round_the_value() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let cache = node(&setup, &table, quick().max_delay(Duration::from_secs(5))).await;
        let (gone, kept) = ("gone".to_owned(), "kept".to_owned());
        cache.put(&gone, &1).await.unwrap();
        cache.remove(&kept).await.unwrap();
        cache.remove(&gone).await.unwrap();
        cache.put(&kept, &2).await.unwrap();
        cache.behind().unwrap().flush().await.unwrap();
        assert_eq!(table.rows(), [(kept, 2)].into(), "{backend:?}");
        assert_eq!(read(&cache, "gone").await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_several_nodes_to_the_same_keys_end_as_they_were_acknowledged() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let settings = quick().max_delay(Duration::from_millis(1)).max_batch(7);
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(node(&setup, &table, settings.clone()).await);
        }
        let mut last = std::collections::BTreeMap::new();
        for n in 0..300_u64 {
            let (cache, key) = (&nodes[n as usize % 3], (n % 7).to_string());
            if n % 5 == 3 {
                cache.remove(&key).await.unwrap();
                last.remove(&key);
            } else {
                cache.put(&key, &n).await.unwrap();
                last.insert(key, n);
            }
        }
        nodes[0].behind().unwrap().flush().await.unwrap();
        assert_eq!(table.rows(), last, "{backend:?}");
        for (key, value) in last {
            until_read(&nodes[1], &key, Some(value)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_invalidated_meanwhile_brings_the_older_value_back() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let builder = setup.builder(lasting()).await.source(table.clone()).sink(table.clone());
        let cache = builder.tags(|_, _| vec!["red".into()]).write_behind(quick()).build().unwrap();
        let key = "k".to_owned();
        cache.put(&key, &1).await.unwrap();
        cache.behind().unwrap().flush().await.unwrap();
        table.hold();
        cache.put(&key, &2).await.unwrap();
        cache.invalidate("k").await.unwrap();
        assert_eq!(read(&cache, "k").await, Some(2), "{backend:?}: after an invalidation");
        cache.invalidate_tag("red").await.unwrap();
        assert_eq!(read(&cache, "k").await, Some(2), "{backend:?}: after a purge of its tag");
        cache.invalidate_pattern("*").await.unwrap();
        assert_eq!(read(&cache, "k").await, Some(2), "{backend:?}: after a purge by pattern");
        cache.clear().await.unwrap();
        assert_eq!(read(&cache, "k").await, Some(2), "{backend:?}: after a clear");
        let refresh = ReadOptions { mode: ReadMode::Refresh, ..ReadOptions::default() };
        let refreshed = cache.read("k", &refresh).await.unwrap();
        assert_eq!(refreshed.value.as_deref(), Some(&2), "{backend:?}: asked to be loaded anew");
        assert_eq!(read(&cache, "k").await, Some(2), "{backend:?}: and after that");
        let many = cache.get_many(&[key.clone(), "other".into()]).await.unwrap();
        assert_eq!(many[0].as_deref(), Some(&2), "{backend:?}: among others");
        let bypass = ReadOptions { mode: ReadMode::Bypass, ..ReadOptions::default() };
        let bypassed = cache.read("k", &bypass).await.unwrap();
        assert_eq!(bypassed.value.as_deref(), Some(&1), "{backend:?}: what the database has");
        table.release();
        cache.behind().unwrap().flush().await.unwrap();
        assert_eq!((table.row("k"), read(&cache, "k").await), (Some(2), Some(2)), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_what_was_pending_goes_with_a_purge_like_any_other_once_the_database_has_it() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let builder = setup.builder(lasting()).await.source(table.clone()).sink(table.clone());
        let cache = builder.tags(|_, _| vec!["red".into()]).write_behind(quick()).build().unwrap();
        // One at a time, and several at once.
        let keys = ["k".to_owned(), "other".to_owned()];
        table.hold();
        for key in &keys {
            cache.put(key, &1).await.unwrap();
        }
        assert_eq!(read(&cache, "k").await, Some(1), "{backend:?}");
        assert_eq!(cache.get_many(&keys).await.unwrap()[1].as_deref(), Some(&1), "{backend:?}");
        table.release();
        cache.behind().unwrap().flush().await.unwrap();
        for key in &keys {
            table.write_past(key, 2);
        }
        cache.invalidate_tag("red").await.unwrap();
        for key in &keys {
            assert_eq!(read(&cache, key).await, Some(2), "{backend:?}: {key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_expires_as_usual_once_the_database_has_it_and_not_before() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let policy = Policy::ttl(Duration::from_secs(60)).jitter(0.0);
        let builder = setup.builder(policy).await.source(table.clone()).sink(table.clone());
        let cache = builder.near_capacity(0).write_behind(quick()).build().unwrap();
        let kept_for = async || match cache.explain(&"k".to_owned()).await.shared {
            Some(TierState::Holds { kept_for, .. }) => kept_for,
            other => panic!("{other:?}"),
        };
        table.hold();
        cache.put(&"k".into(), &1).await.unwrap();
        setup.clock.advance(Duration::from_secs(3_600));
        assert_eq!(read(&cache, "k").await, Some(1), "{backend:?}: however long it takes");
        assert_eq!(kept_for().await, Duration::ZERO, "{backend:?}: no expiry");
        table.release();
        cache.behind().unwrap().flush().await.unwrap();
        let kept_for = kept_for().await;
        assert!(kept_for > Duration::from_secs(50) && kept_for <= Duration::from_secs(60), "{kept_for:?}");
        setup.clock.advance(Duration::from_secs(30));
        assert_eq!(read(&cache, "k").await, Some(1), "{backend:?}: counted from then on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_grow_even_if_the_clock_of_redis_is_set_back() {
    // Far ahead of the clock, as after an hour that was taken back; the owner's name for it is a version.
    const AHEAD: u64 = 9_000_000_000_000_000;
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let builder = setup.builder(lasting()).await.source(table.clone()).sink(table.clone());
        let settings = quick().attempts(1);
        let cache = builder.shards(NonZeroU16::MIN).write_behind(settings).build().unwrap();
        let behind = cache.behind().unwrap();
        let stream = format!("{{larder.{}.00}}:v1:wb", setup.name);
        let id = format!("{AHEAD}-0");
        assert_eq!(setup.ask(&["XADD", &stream, &id, "k", "gone", "e", ""]).text(), Some(&*id));
        setup.ask(&["XDEL", &stream, &id]);
        table.refuse("k");
        for (value, version) in [(1, AHEAD + 1), (2, AHEAD + 2)] {
            cache.put(&"k".into(), &value).await.unwrap();
            eventually("the database refuses it", SOON, || async {
                let letters = behind.dead_letters(1).await.unwrap();
                letters.first().is_some_and(|letter| letter.version == version)
            })
            .await;
        }
        table.accept("k");
        behind.replay("k").await.unwrap();
        behind.flush().await.unwrap();
        assert_eq!(table.row("k"), Some(2), "{backend:?}");
        let newest = setup.ask(&["XINFO", "STREAM", &stream]);
        assert!(format!("{newest:?}").contains(&format!("{}-0", AHEAD + 3)), "{backend:?}: {newest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_backlog_a_write_waits_for_the_database_and_past_twice_of_it_is_refused() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let settings = quick().backlog(2).apply_deadline(Duration::from_millis(300));
        let builder = setup.builder(lasting()).await.source(table.clone()).sink(table.clone());
        let builder = builder.shards(NonZeroU16::MIN).write_behind(settings);
        let cache = builder.build().unwrap();
        table.hold();
        for n in 0..2_u64 {
            cache.put(&n.to_string(), &n).await.unwrap();
        }
        for n in 2..4_u64 {
            let error = cache.put(&n.to_string(), &n).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{backend:?}: {error}");
            assert_eq!(read(&cache, &n.to_string()).await, Some(n), "{backend:?}: it is pending");
        }
        let error = cache.put(&"4".into(), &4).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full, "{backend:?}: {error}");
        assert_eq!(read(&cache, "4").await, None, "{backend:?}: it has no effect");
        table.release();
        cache.behind().unwrap().flush().await.unwrap();
        assert_eq!(table.rows(), (0..4).map(|n| (n.to_string(), n)).collect(), "{backend:?}");
        assert_eq!(cache.behind().unwrap().stats().await.unwrap().waited, 2);
        cache.put(&"5".into(), &5).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_backlog_a_put_returns_when_the_database_has_it() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let builder = setup.builder(lasting()).await.source(table.clone()).sink(table.clone());
        let cache = builder.shards(NonZeroU16::MIN).write_behind(quick().backlog(1)).build().unwrap();
        table.hold();
        cache.put(&"a".into(), &1).await.unwrap();
        let put = tokio::spawn({
            let cache = cache.clone();
            async move { cache.put(&"b".into(), &2).await }
        });
        eventually("it waits", SOON, || async { cache.behind().unwrap().stats().await.unwrap().waited == 1 })
            .await;
        assert!(!put.is_finished());
        table.release();
        put.await.unwrap().unwrap();
        assert_eq!(table.row("b"), Some(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_leaves_nothing_behind_and_frees_the_shards_for_others() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let settings = quick().max_delay(Duration::from_secs(5)).lease(Duration::from_secs(600));
        let a = node(&setup, &table, settings.clone()).await;
        for n in 0..40_u64 {
            a.put(&n.to_string(), &n).await.unwrap();
        }
        a.close().await;
        assert_eq!(table.rows().len(), 40, "{backend:?}");
        let b = node(&setup, &table, settings).await;
        b.put(&"1".into(), &100).await.unwrap();
        b.behind().unwrap().flush().await.unwrap();
        assert_eq!(table.row("1"), Some(100), "{backend:?}: although the lease was long");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_evicts_is_refused_before_anything_is_acknowledged() {
    for deployment in Deployment::each(&Options::default().with(&[
        "--maxmemory",
        "50mb",
        "--maxmemory-policy",
        "allkeys-lru",
    ])) {
        let redis = Redis::connect(deployment.url().as_str()).await.unwrap();
        let table = Table::new();
        let cache = over(&redis, &table, quick()).await;
        let error = cache.put(&"k".into(), &1).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Config, Some("maxmemory-policy")), "{error}");
        assert!(error.to_string().contains("noeviction"), "the message names the fix: {error}");
        assert_eq!(read(&cache, "k").await, None);
        deployment.ask_all(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
        cache.put(&"k".into(), &1).await.unwrap();
        cache.behind().unwrap().flush().await.unwrap();
        assert_eq!(table.row("k"), Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_refused_when_it_is_built() {
    let table = Table::new();
    let redis = Backend::Redis.connect().await.unwrap();
    let builder = || Cache::<String, u64>::builder("refused");
    let refused = |built: larder::Result<Cache<String, u64>>, field: &str| {
        let error = built.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Config, Some(field)), "{error}");
    };
    let default = WriteBehind::default;
    refused(builder().sink(table.clone()).write_behind(default()).build(), "write_behind");
    refused(builder().redis(&redis).write_behind(default()).build(), "write_behind");
    let with = |settings| builder().redis(&redis).sink(table.clone()).write_behind(settings).build();
    refused(with(default().max_batch(0)), "max_batch");
    refused(with(default().max_batch(1_001)), "max_batch");
    refused(with(default().max_delay(Duration::from_secs(11))), "max_delay");
    refused(with(default().backlog(0)), "backlog");
    refused(with(default().attempts(0)), "attempts");
    refused(with(default().retry_pause(Duration::ZERO, SOON)), "retry_pause");
    refused(with(default().apply_deadline(Duration::ZERO)), "apply_deadline");
    refused(with(default().lease(Duration::from_millis(99))), "lease");
    let around = builder().sink(table.clone()).build().unwrap();
    assert_eq!(around.behind().unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_text_does_not_read_back_is_refused() {
    let (setup, table) = (Setup::new(Backend::Redis), Table::new());
    let builder = setup.builder(lasting()).await.sink(table.clone());
    let parse = |text: &str| (!text.starts_with('x')).then(|| text.to_owned());
    let cache = builder.write_behind_with_keys(quick(), parse).build().unwrap();
    let error = cache.put(&"x1".into(), &1).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("key")), "{error}");
    cache.put(&"y1".into(), &1).await.unwrap();
}
