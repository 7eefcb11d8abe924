//! More operations that the database does not take than a batch has room for: the other keys go on.

use std::{num::NonZeroU16, time::Duration};

use larder::{Cache, cache::WriteBehind};
use larder_testkit::eventually;

use super::{SOON, quick, table::Table};
use crate::setup::{Backend, Setup, lasting};

/// With one shard, so that all keys share a stream.
async fn one_shard(setup: &Setup, table: &Table, settings: WriteBehind) -> Cache<String, u64> {
    let builder = setup.builder(lasting()).await.source(table.clone()).sink(table.clone());
    builder.shards(NonZeroU16::MIN).write_behind(settings).build().expect("the settings are sound")
}

/// What is refused waits for longer than a test does.
fn patient() -> WriteBehind {
    quick().max_batch(4).retry_pause(Duration::from_secs(600), Duration::from_secs(600))
}

async fn until_pending(cache: &Cache<String, u64>, operations: u64) {
    eventually("so many are pending", SOON, || async {
        cache.behind().unwrap().stats().await.unwrap().backlog == operations
    })
    .await;
}

/// Puts to two keys that nothing is wrong with, one after the other.
async fn others_go_on(cache: &Cache<String, u64>, table: &Table, why: &str) {
    for key in ["good", "better"] {
        cache.put(&key.into(), &1).await.unwrap();
        eventually(why, SOON, || async { table.row(key) == Some(1) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_part_of_the_database_is_away_the_keys_of_the_others_go_on() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let cache = one_shard(&setup, &table, patient()).await;
        for n in 0..11_u64 {
            table.lose(&n.to_string());
            cache.put(&n.to_string(), &n).await.unwrap();
        }
        others_go_on(&cache, &table, "its part is there").await;
        until_pending(&cache, 11).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_no_room_for_dead_letters_refused_writes_stay_pending_and_hold_up_nobody() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let cache = one_shard(&setup, &table, patient().attempts(1).backlog(20)).await;
        for n in 0..20_u64 {
            table.refuse(&n.to_string());
            cache.put(&n.to_string(), &n).await.unwrap();
        }
        until_pending(&cache, 0).await;
        for n in 20..31_u64 {
            table.refuse(&n.to_string());
            cache.put(&n.to_string(), &n).await.unwrap();
        }
        others_go_on(&cache, &table, "it is not refused").await;
        until_pending(&cache, 11).await;
        assert_eq!(cache.behind().unwrap().stats().await.unwrap().dead_letters, 20, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_that_is_written_again_and_again_holds_up_nobody() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let cache = one_shard(&setup, &table, patient()).await;
        table.refuse("bad");
        for n in 0..11_u64 {
            cache.put(&"bad".into(), &n).await.unwrap();
        }
        others_go_on(&cache, &table, "it is not refused").await;
        until_pending(&cache, 11).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_is_carried_out_in_the_order_in_which_its_key_was_written() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let cache = one_shard(&setup, &table, quick().max_batch(2)).await;
        for round in 0..10_u64 {
            let keys: Vec<String> = (0..5).map(|key| key.to_string()).collect();
            keys.iter().for_each(|key| table.lose(key));
            for n in 1..4 {
                for key in &keys {
                    cache.put(key, &(10 * round + n)).await.unwrap();
                }
            }
            cache.put(&"good".into(), &round).await.unwrap();
            eventually("another key goes on", SOON, || async { table.row("good") == Some(round) }).await;
            keys.iter().for_each(|key| table.accept(key));
            cache.behind().unwrap().flush().await.unwrap();
            for key in keys {
                let written = table.written(&key);
                assert!(written.is_sorted(), "{backend:?}: {key} was written {written:?}");
                assert_eq!(table.row(&key), Some(10 * round + 3), "{backend:?}");
            }
        }
    }
}

/// As when a replica takes over that had not heard of the last strike.
#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_comes_back_behind_the_worker_is_not_left_there() {
    const COPY: &str = "for i = 1, #KEYS, 2 do redis.call('COPY', KEYS[i], KEYS[i + 1], 'REPLACE') end";
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let cache = one_shard(&setup, &table, patient().max_batch(2)).await;
        for key in ["a", "b"] {
            table.lose(key);
            cache.put(&key.into(), &1).await.unwrap();
        }
        others_go_on(&cache, &table, "the worker is past what waits").await;
        until_pending(&cache, 2).await;

        table.hold();
        let begun = table.begun();
        cache.put(&"k".into(), &1).await.unwrap();
        eventually("it has begun", SOON, || async { table.begun() > begun }).await;
        let keys = ["wb", "wb:p", "wb:own"].map(|name| format!("{{larder.{}.00}}:v1:{name}", setup.name));
        let copies = keys.clone().map(|key| format!("{key}:copy"));
        let pairs: Vec<_> = keys.iter().zip(&copies).flat_map(|(key, copy)| [&**key, &**copy]).collect();
        setup.ask(&[&["EVAL", COPY, "6"], &pairs[..]].concat());
        table.release();
        until_pending(&cache, 2).await;
        let back: Vec<_> = keys.iter().zip(&copies).flat_map(|(key, copy)| [&**copy, &**key]).collect();
        setup.ask(&[&["EVAL", COPY, "6"], &back[..]].concat());
        cache.put(&"k".into(), &2).await.unwrap();
        until_pending(&cache, 2).await;
        assert_eq!(table.row("k"), Some(2), "{backend:?}");
    }
}
