//! Where the room or the time for pending operations ends.

use std::{num::NonZeroU16, time::Duration};

use larder::{ErrorKind, redis::Redis};
use larder_testkit::{
    eventually,
    redis::{Deployment, Options},
};
use tokio::time::Instant;

use super::{SOON, node, over, quick, read, table::Table};
use crate::setup::{Backend, Setup, lasting};

#[tokio::test(flavor = "multi_thread")]
async fn there_are_as_many_dead_letters_as_the_backlog_and_what_is_refused_past_them_is_tried_on() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let builder = setup.builder(lasting()).await.source(table.clone()).sink(table.clone());
        let settings = quick().backlog(3).attempts(1);
        let cache = builder.shards(NonZeroU16::MIN).write_behind(settings).build().unwrap();
        let behind = cache.behind().unwrap();
        for n in 0..3_u64 {
            table.refuse(&n.to_string());
            cache.put(&n.to_string(), &n).await.unwrap();
            behind.flush().await.unwrap();
        }
        table.refuse("past");
        cache.put(&"past".into(), &1).await.unwrap();
        let tried = table.begun();
        eventually("it is tried again and again", SOON, || async { table.begun() >= tried + 5 }).await;
        let stats = behind.stats().await.unwrap();
        assert_eq!((stats.dead_letters, stats.backlog), (3, 1), "{backend:?}");
        assert_eq!(read(&cache, "past").await, Some(1), "{backend:?}: it was acknowledged");

        // Where a letter goes, the next one has room.
        assert!(behind.discard("0").await.unwrap(), "{backend:?}");
        behind.flush().await.unwrap();
        let letters = behind.dead_letters(10).await.unwrap();
        assert!(letters.iter().any(|letter| letter.key == "past"), "{backend:?}: {letters:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_waits_for_the_database_until_the_drain_deadline_and_leaves_the_rest_to_others() {
    const DRAIN: Duration = Duration::from_millis(300);
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let settings = quick().apply_deadline(DRAIN / 3).drain_deadline(DRAIN);
        let cache = node(&setup, &table, settings).await;
        table.hold();
        cache.put(&"k".into(), &1).await.unwrap();
        let begun = Instant::now();
        let closed = tokio::time::timeout(SOON, cache.close()).await;
        assert!(closed.is_ok(), "{backend:?}: it does not wait for ever");
        assert!(begun.elapsed() >= DRAIN, "{backend:?}: it waits as long as it may");
        assert_eq!(table.row("k"), None, "{backend:?}");

        table.release();
        let other = node(&setup, &table, quick()).await;
        other.behind().unwrap().flush().await.unwrap();
        assert_eq!(table.row("k"), Some(1), "{backend:?}: it was safe in Redis");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_refuses_the_write_and_what_is_pending_is_carried_out() {
    for deployment in Deployment::each(&Options::default().with(&["--maxmemory-policy", "noeviction"])) {
        let redis = Redis::connect(deployment.url().as_str()).await.unwrap();
        let table = Table::new();
        let cache = over(&redis, &table, quick()).await;
        table.hold();
        for n in 0..20_u64 {
            cache.put(&n.to_string(), &n).await.unwrap();
        }
        deployment.ask_all(&["CONFIG", "SET", "maxmemory", "1"]);
        let error = cache.put(&"1".into(), &100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full, "{error}");
        table.release();
        cache.behind().unwrap().flush().await.unwrap();
        assert_eq!(table.rows(), (0..20).map(|n| (n.to_string(), n)).collect());

        deployment.ask_all(&["CONFIG", "SET", "maxmemory", "0"]);
        cache.put(&"1".into(), &100).await.unwrap();
        cache.behind().unwrap().flush().await.unwrap();
        assert_eq!(table.row("1"), Some(100));
    }
}
