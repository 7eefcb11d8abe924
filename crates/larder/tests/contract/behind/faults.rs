//! Owners that are cut off or frozen, replies that vanish, a Redis that restarts.

use std::{collections::BTreeMap, num::NonZeroU16, time::Duration};

use larder::{
    Cache, ErrorKind,
    cache::{Consistency, MissReason, ReadMode, ReadOptions},
    redis::{Breaker, Redis, RedisConfig},
};
use larder_testkit::{
    eventually,
    proxy::{Fault, Front},
    redis::{Deployment, Options, Reply},
};

use super::{SOON, over, quick, read, table::Table, until_read};
use crate::setup::{Backend, Setup, lasting};

/// A deadline that no call misses because the machine is busy, and that a call into a silent connection soon reaches.
const DEADLINE: Duration = Duration::from_secs(1);

/// A connection that is given up for what the proxy does to it and for nothing else: calls that are merely slow, as all are on
/// a busy machine, do not open its breaker.
pub(super) async fn connected(url: &str, deadline: Duration) -> Redis {
    let config =
        RedisConfig::new(url).deadline(deadline).breaker(Breaker::default().slow_call(10 * deadline));
    Redis::connect(config).await.expect("the URL is sound")
}

async fn through(proxy: &Front) -> Redis {
    connected(&proxy.url(), DEADLINE).await
}

async fn flushed(cache: &Cache<String, u64>) {
    eventually("everything is flushed", Duration::from_secs(30), || async {
        cache.behind().unwrap().flush().await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_restart_of_redis_with_an_append_only_file() {
    for deployment in Deployment::each(&Options { append_only: true, ..Options::default() }) {
        let redis = connected(&deployment.url(), DEADLINE).await;
        let table = Table::new();
        let cache = over(&redis, &table, quick()).await;
        table.hold();
        for n in 0..100_u64 {
            cache.put(&(n % 30).to_string(), &n).await.unwrap();
        }
        cache.remove(&"7".into()).await.unwrap();
        drop(cache);
        deployment.restart();
        table.release();
        let cache = over(&redis, &table, quick()).await;
        flushed(&cache).await;
        let mut expected: BTreeMap<String, u64> = (0..100).map(|n| ((n % 30).to_string(), n)).collect();
        expected.remove("7");
        assert_eq!(table.rows(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_cut_off_loses_the_shard_and_cannot_strike_off_what_it_did_not_see() {
    for deployment in Deployment::each(&Options::default()) {
        let proxy = Front::start(&deployment).await;
        let (slow, fast) = (Table::new(), Table::new());
        let a = over(&through(&proxy).await, &slow, quick()).await;
        slow.hold();
        for n in 0..30_u64 {
            a.put(&n.to_string(), &n).await.unwrap();
        }
        eventually("it has begun", SOON, || async { slow.begun() > 0 }).await;
        proxy.set(Fault::Silent);

        let redis = connected(&deployment.url(), DEADLINE).await;
        let b = over(&redis, &fast, quick()).await;
        b.put(&"1".into(), &100).await.unwrap();
        flushed(&b).await;
        let mut expected: BTreeMap<String, u64> = (0..30).map(|n| (n.to_string(), n)).collect();
        expected.insert("1".into(), 100);
        assert_eq!(fast.rows(), expected, "the new owner did all of it");

        proxy.set(Fault::Pass);
        b.put(&"2".into(), &200).await.unwrap();
        slow.release();
        flushed(&b).await;
        assert_eq!(slow.row("1"), None, "the old owner's call was given up with its lease");
        eventually("both read the last write", SOON, || async {
            a.get("2").await.is_ok_and(|value| value.as_deref() == Some(&200))
                && read(&b, "2").await == Some(200)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_replaced_strikes_nothing_off_and_buries_nothing() {
    for backend in Backend::SHARED {
        for refused in [false, true] {
            let (setup, table) = (Setup::new(backend), Table::new());
            // So long a lease that only striking off shows that it is lost.
            let settings = quick().lease(Duration::from_secs(60)).attempts(1);
            let builder = setup.builder(lasting()).await.source(table.clone()).sink(table.clone());
            let cache = builder.shards(NonZeroU16::MIN).write_behind(settings).build().unwrap();
            let behind = cache.behind().unwrap();
            table.hold();
            if refused {
                table.refuse("k");
            }
            cache.put(&"k".into(), &1).await.unwrap();
            eventually("it has begun", SOON, || async { table.begun() > 0 }).await;
            let owner = format!("{{larder.{}.00}}:v1:wb:own", setup.name);
            assert_eq!(setup.ask(&["EXISTS", &owner]), Reply::Int(1), "{backend:?}: this is the key");
            setup.ask(&[
                "HSET",
                &owner,
                "node",
                "another",
                "fence",
                "9999999999999",
                "until",
                "9999999999999",
            ]);
            table.release();
            eventually("it notices", SOON, || async { behind.stats().await.unwrap().fenced > 0 }).await;
            let stats = behind.stats().await.unwrap();
            assert_eq!((stats.backlog, stats.dead_letters, stats.taken), (1, 0, 0), "{backend:?}");
            table.accept("k");
            setup.ask(&["HSET", &owner, "until", "0"]);
            behind.flush().await.unwrap();
            assert_eq!((table.row("k"), table.begun()), (Some(1), 2), "{backend:?}: it comes again");
            let fence = setup.ask(&["HGET", &owner, "fence"]);
            assert_eq!(fence.text(), Some("10000000000000"), "{backend:?}: fences grow");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_was_lost_with_its_connection_is_not_said_to_be_unwritten() {
    for deployment in Deployment::each(&Options::default()) {
        let proxy = Front::start(&deployment).await;
        let table = Table::new();
        table.hold();
        // Not its deadline is to tell that the outcome is unknown.
        let cache = over(&connected(&proxy.url(), 3 * SOON).await, &table, quick()).await;
        let other = over(&connected(&deployment.url(), DEADLINE).await, &table, quick()).await;
        cache.put(&"k".into(), &1).await.unwrap();
        proxy.set(Fault::DropReplies);
        let put = tokio::spawn({
            let cache = cache.clone();
            async move { cache.put(&"k".into(), &2).await }
        });
        until_read(&other, "k", Some(2)).await;
        proxy.cut();
        let error = put.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{}: {error}", deployment.kind());
        proxy.set(Fault::Pass);
        table.release();
        flushed(&other).await;
        assert_eq!(table.row("k"), Some(2));
    }
}

/// A single command is refused: whoever looks for what is pending is told nothing, and all that follows is carried out.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_was_not_told_what_is_pending_says_that_redis_could_not_be_asked() {
    for deployment in Deployment::each(&Options::default()) {
        let table = Table::new();
        let cache = over(&connected(&deployment.url(), DEADLINE).await, &table, quick()).await;
        cache.put(&"k".into(), &1).await.unwrap();
        flushed(&cache).await;
        table.hold();
        cache.put(&"k".into(), &2).await.unwrap();
        deployment.ask_all(&["ACL", "SETUSER", "default", "-get"]);
        let refresh = ReadOptions { mode: ReadMode::Refresh, ..ReadOptions::default() };
        let one = cache.read("k", &refresh).await.unwrap();
        let among_others = cache.read_many(&["k".into(), "other".into()], &refresh).await.unwrap().remove(0);
        deployment.ask_all(&["ACL", "SETUSER", "default", "+get"]);
        for read in [one, among_others] {
            let told = (read.value.as_deref(), read.reason);
            assert_eq!(told, (Some(&1), Some(MissReason::Error)), "{}", deployment.kind());
        }
        assert_eq!(cache.read("k", &refresh).await.unwrap().value.as_deref(), Some(&2));
        table.release();
    }
}

/// The same of a batch that finds what is pending, and is not told when its tags were purged.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_not_told_of_the_tags_of_what_is_pending_says_that_redis_could_not_be_asked() {
    for deployment in Deployment::each(&Options::default()) {
        let table = Table::new();
        let node = async || {
            let redis = connected(&deployment.url(), DEADLINE).await;
            let builder = Cache::builder("behind").policy(lasting()).redis(&redis);
            let builder = builder.consistency(Consistency::Bounded(SOON)).source(table.clone());
            let builder = builder.sink(table.clone()).tags(|key: &String, _| vec![key.clone()]);
            builder.write_behind(quick()).build().unwrap()
        };
        let (a, b) = (node().await, node().await);
        a.put(&"k".into(), &1).await.unwrap();
        flushed(&a).await;
        table.hold();
        a.put(&"k".into(), &2).await.unwrap();
        // It is in step with the shard, and does not know the tag.
        b.get_many(&(0..100).map(|n| n.to_string()).collect::<Vec<_>>()).await.unwrap();
        deployment.ask_all(&["ACL", "SETUSER", "default", "-mget"]);
        let read = b.read_many(&["k".into()], &ReadOptions::default()).await.unwrap().remove(0);
        deployment.ask_all(&["ACL", "SETUSER", "default", "+mget"]);
        let told = (read.value.as_deref(), read.reason);
        assert_eq!(told, (Some(&1), Some(MissReason::Error)), "{}", deployment.kind());
        assert_eq!(b.get_many(&["k".into()]).await.unwrap()[0].as_deref(), Some(&2));
        table.release();
    }
}

/// At every place where the connection can break: between any two bytes of replies, more or less.
#[tokio::test(flavor = "multi_thread")]
async fn wherever_the_connection_breaks_the_database_ends_with_the_last_acknowledged_write() {
    for deployment in Deployment::each(&Options::default()) {
        let proxy = Front::start(&deployment).await;
        let table = Table::new();
        // Each of the many breaks costs a deadline.
        let redis = connected(&proxy.url(), Duration::from_millis(300)).await;
        let cache = over(&redis, &table, quick().max_delay(Duration::from_millis(1))).await;
        let mut written: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for round in 0..40_u64 {
            proxy.set(Fault::CutAfter(round * 13));
            for n in 0..6 {
                let (key, value) = (n.to_string(), round * 10 + n);
                let possible = written.entry(key.clone()).or_default();
                match cache.put(&key, &value).await {
                    Ok(()) => *possible = vec![value],
                    // It may have been acknowledged, and the word of it lost.
                    Err(_) => possible.push(value),
                }
            }
            proxy.set(Fault::Pass);
        }
        flushed(&cache).await;
        for (key, possible) in written {
            let row = table.row(&key);
            assert!(
                row.map_or(possible[0] < 10, |row| possible.contains(&row)),
                "{key} is {row:?} and may be one of {possible:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_delivered_twice_leaves_what_it_leaves_once() {
    for deployment in Deployment::each(&Options::default()) {
        let proxy = Front::start(&deployment).await;
        let table = Table::new();
        let cache = over(&through(&proxy).await, &table, quick()).await;
        cache.put(&"warm".into(), &0).await.unwrap();
        flushed(&cache).await;
        table.hold();
        let begun = table.begun();
        cache.put(&"k".into(), &1).await.unwrap();
        eventually("it has begun", SOON, || async { table.begun() > begun }).await;
        // It is carried out, and cannot be struck off.
        proxy.set(Fault::Silent);
        table.release();
        eventually("the database has it", SOON, || async { table.row("k") == Some(1) }).await;
        let writes = table.writes();
        drop(cache);
        let redis = connected(&deployment.url(), DEADLINE).await;
        let other = over(&redis, &table, quick()).await;
        flushed(&other).await;
        assert!(table.writes() > writes, "it came again");
        assert_eq!(table.row("k"), Some(1));
        assert_eq!(read(&other, "k").await, Some(1));
    }
}
