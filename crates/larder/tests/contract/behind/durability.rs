//! What an acknowledgement is worth by the settings of Redis, when its process is killed: the kernel keeps what that has handed it.
//! What a machine loses that dies is in `power.rs`.

use std::{collections::BTreeMap, time::Duration};

use larder::{Cache, cache::ReadOptions};
use larder_testkit::{
    eventually,
    redis::{Deployment, Fsync, Options, Reply},
};

use super::{SOON, faults::connected, over, quick, read, table::Table};

const KEYS: u64 = 30;
/// The longest that there is: no owner has read what is pending when Redis dies.
const LATE: Duration = Duration::from_secs(10);

/// One write of each key is in the database, which is away since then, and one is acknowledged and pending.
async fn pending(deployment: &Deployment, table: &Table) -> Cache<String, u64> {
    let redis = connected(&deployment.url(), Duration::from_secs(2)).await;
    let cache = over(&redis, table, quick().max_delay(LATE)).await;
    for round in [1_000, 2_000] {
        for n in 0..KEYS {
            cache.put(&n.to_string(), &(round + n)).await.unwrap();
        }
        if round == 1_000 {
            cache.behind().unwrap().flush().await.unwrap();
            table.set_away(true);
        }
    }
    assert_eq!(table.rows(), rows(1_000));
    cache
}

fn rows(round: u64) -> BTreeMap<String, u64> {
    (0..KEYS).map(|n| (n.to_string(), round + n)).collect()
}

async fn flushed(cache: &Cache<String, u64>) {
    eventually("everything is flushed", SOON, || async { cache.behind().unwrap().flush().await.is_ok() })
        .await;
}

/// Redis may hold a write back from its file while the file is being synced, for two seconds at most.
pub(super) async fn handed_to_the_kernel(deployment: &Deployment) {
    let has_it =
        |info: &Reply| info.text().is_some_and(|info| info.lines().any(|line| line == "aof_buffer_length:0"));
    eventually("the files have it", SOON, || async {
        deployment.ask_all(&["INFO", "persistence"]).iter().all(has_it)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_append_only_file_a_killed_redis_forgets_no_acknowledged_write() {
    for fsync in [Fsync::Always, Fsync::EverySecond] {
        for deployment in Deployment::each(&Options { append_only: true, fsync, ..Options::default() }) {
            for policy in deployment.ask_all(&["CONFIG", "GET", "appendfsync"]) {
                assert!(format!("{policy:?}").contains(fsync.as_setting()), "{policy:?}");
            }
            let table = Table::new();
            let cache = pending(&deployment, &table).await;
            if fsync == Fsync::EverySecond {
                handed_to_the_kernel(&deployment).await;
            }
            tokio::task::block_in_place(|| deployment.restart());
            table.set_away(false);
            flushed(&cache).await;
            assert_eq!(table.rows(), rows(2_000), "{fsync:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_a_killed_redis_forgets_what_is_pending_and_readers_see_what_the_database_has() {
    for deployment in Deployment::each(&Options::default()) {
        what_is_pending_is_lost(&deployment, || deployment.restart()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_lost_takes_what_is_pending_with_it_whatever_was_synced() {
    for deployment in
        Deployment::each(&Options { append_only: true, fsync: Fsync::Always, ..Options::default() })
    {
        let loses = || {
            deployment.lose_files();
            deployment.restart();
        };
        what_is_pending_is_lost(&deployment, loses).await;
    }
}

async fn what_is_pending_is_lost(deployment: &Deployment, loses: impl FnOnce()) {
    let table = Table::new();
    let cache = pending(deployment, &table).await;
    assert_eq!(read(&cache, "7").await, Some(2_007), "read as long as Redis lives");
    tokio::task::block_in_place(loses);
    table.set_away(false);

    let redis = connected(&deployment.url(), Duration::from_secs(2)).await;
    let other = over(&redis, &table, quick()).await;
    for node in [&cache, &other] {
        flushed(node).await;
        assert_eq!(table.rows(), rows(1_000), "nobody has what was pending any more");
        for n in 0..KEYS {
            let (key, expected) = (n.to_string(), Some(1_000 + n));
            eventually("the node reads what the database has", SOON, || async {
                let read = node.read(&key, &ReadOptions::default()).await;
                read.is_ok_and(|read| read.value.as_deref().copied() == expected)
            })
            .await;
        }
        assert_eq!(node.behind().unwrap().stats().await.unwrap().backlog, 0);
    }
    // And it goes on.
    other.put(&"7".into(), &3_007).await.unwrap();
    flushed(&other).await;
    assert_eq!(table.row("7"), Some(3_007));
}
