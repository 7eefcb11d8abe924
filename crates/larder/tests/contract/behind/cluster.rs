//! Write-behind over a cluster whose slots move and whose primaries are replaced.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use larder::{Cache, ErrorKind, cache::WriteBehind, redis::Redis};
use larder_testkit::{eventually, lasting, redis::Cluster};
use tokio::task::{JoinSet, block_in_place};

use super::{over, quick, table::Table};

const SOON: Duration = Duration::from_secs(30);
const WRITERS: usize = 6;
/// So often a key is written, and then never again: no later write hides that one was lost.
const WRITES_OF_A_KEY: u64 = 3;

async fn node(cluster: &Cluster, table: &Table, settings: WriteBehind) -> Cache<String, u64> {
    let redis = Redis::connect(&*cluster.url()).await.expect("the cluster is up");
    over(&redis, table, settings).await
}

async fn flushed(cache: &Cache<String, u64>) {
    eventually("everything is flushed", SOON, || async { cache.behind().unwrap().flush().await.is_ok() })
        .await;
}

/// The part of the cluster, and the slot, that a key belongs to.
async fn place(cluster: &Cluster, cache: &Cache<String, u64>, key: &str) -> (usize, u16) {
    let slot = cache.explain(&key.to_owned()).await.slot_key.expect("there is a Redis");
    block_in_place(|| cluster.place_of(&slot))
}

/// For each key the value that was acknowledged last, and those that may have been since, or no value.
type Possible = BTreeMap<String, Vec<Option<u64>>>;

/// Alone at its keys: puts and removals, each after the last one.
async fn write_on_and_on(
    cache: Cache<String, u64>,
    writer: usize,
    is_over: Arc<AtomicBool>,
) -> (Possible, u64) {
    let (mut possible, mut acknowledged) = (Possible::new(), 0);
    for n in 0_u64.. {
        if is_over.load(Relaxed) {
            break;
        }
        let key = format!("{writer}-{}", n / WRITES_OF_A_KEY);
        let value = (n % 7 != 6).then_some(n);
        let written = match value {
            Some(value) => cache.put(&key, &value).await,
            None => cache.remove(&key).await,
        };
        let possible = possible.entry(key).or_insert_with(|| vec![None]);
        if written.is_ok() {
            acknowledged += 1;
            possible.clear();
        }
        possible.push(value);
        lasting(Duration::from_millis(1)).await;
    }
    (possible, acknowledged)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_while_slots_move_and_replicas_take_over_in_good_order() {
    let cluster = Cluster::start(3, true);
    let table = Table::new();
    let settings = || quick().max_delay(Duration::from_millis(20)).lease(Duration::from_secs(2));
    let nodes = [node(&cluster, &table, settings()).await, node(&cluster, &table, settings()).await];
    let mut places = BTreeMap::new();
    for key in 0..100 {
        let (place, slot) = place(&cluster, &nodes[0], &key.to_string()).await;
        places.insert(slot, place);
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write_on_and_on(nodes[writer % 2].clone(), writer, is_over.clone()));
    }
    lasting(Duration::from_millis(300)).await;
    for (&slot, &from) in places.iter().step_by(3) {
        // What is acknowledged while the database is away goes with the slot.
        table.set_away(true);
        let moving = block_in_place(|| cluster.begin_move(slot, from, (from + 1) % 3));
        while block_in_place(|| moving.step()) {
            lasting(Duration::from_millis(10)).await;
        }
        block_in_place(|| moving.finish());
        table.set_away(false);
    }
    for place in 0..2 {
        table.set_away(true);
        lasting(Duration::from_millis(300)).await;
        block_in_place(|| cluster.pair(place).change_places());
        table.set_away(false);
    }
    lasting(Duration::from_millis(500)).await;
    is_over.store(true, Relaxed);

    let (mut possible, mut acknowledged) = (Possible::new(), 0);
    while let Some(written) = writers.join_next().await {
        let (of_writer, count) = written.unwrap();
        possible.extend(of_writer);
        acknowledged += count;
    }
    assert!(acknowledged > 500, "{acknowledged} are too few to mean anything");
    for node in &nodes {
        flushed(node).await;
    }
    for (key, possible) in possible {
        let row = table.row(&key);
        assert!(possible.contains(&row), "{key} is {row:?} and may be one of {possible:?}");
    }
}

/// Replication is asynchronous: what a primary acknowledged and had not handed on is gone with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_takes_over_has_lost_what_it_had_not_received_and_nothing_else() {
    let cluster = Cluster::start(3, true);
    let table = Table::new();
    // No owner has read what is pending when the primary goes.
    table.set_away(true);
    let settings = || quick().max_delay(Duration::from_secs(10));
    let nodes = [node(&cluster, &table, settings()).await, node(&cluster, &table, settings()).await];
    let keys: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    let mut of_the_lost = Vec::new();
    for key in &keys {
        nodes[0].put(key, &1).await.unwrap();
        of_the_lost.push(place(&cluster, &nodes[0], key).await.0 == 0);
    }
    assert!(of_the_lost.contains(&true) && of_the_lost.contains(&false));
    block_in_place(|| {
        cluster.pair(0).in_step();
        cluster.pair(0).keep_the_replica_behind();
    });
    for key in &keys {
        nodes[0].put(key, &2).await.unwrap();
    }
    block_in_place(|| cluster.pair(0).seize());
    table.set_away(false);

    for node in &nodes {
        flushed(node).await;
    }
    for (key, is_of_the_lost) in keys.iter().zip(of_the_lost) {
        let expected = if is_of_the_lost { 1 } else { 2 };
        assert_eq!(table.row(key), Some(expected), "{key}");
        for node in &nodes {
            eventually("nodes read what is left", SOON, || async {
                node.get(key).await.is_ok_and(|value| value.as_deref() == Some(&expected))
            })
            .await;
        }
    }
}

/// The setting makes a refusal of what would be lost, as soon as a primary knows that no replica follows it.
#[tokio::test(flavor = "multi_thread")]
async fn with_min_replicas_to_write_what_no_replica_would_have_is_refused_and_all_else_survives() {
    let cluster = Cluster::start(3, true);
    let table = Table::new();
    // No owner has read what is pending when the primary goes.
    table.set_away(true);
    let cache = node(&cluster, &table, quick().max_delay(Duration::from_secs(10))).await;
    let keys: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    let mut of_the_lost = Vec::new();
    for key in &keys {
        cache.put(key, &1).await.unwrap();
        of_the_lost.push(place(&cluster, &cache, key).await.0 == 0);
    }
    block_in_place(|| {
        cluster.pair(0).in_step();
        for primary in cluster.primaries() {
            primary.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
        }
        cluster.pair(0).keep_the_replica_behind();
    });
    let at = of_the_lost.iter().position(|is_lost| *is_lost).expect("one of sixty is");
    eventually("the primary knows that it is alone", SOON, || async {
        cache.put(&keys[at], &1).await.is_err_and(|error| error.kind() == ErrorKind::Unavailable)
    })
    .await;
    for (key, is_of_the_lost) in keys.iter().zip(&of_the_lost) {
        let written = cache.put(key, &2).await;
        assert_eq!(written.is_err(), *is_of_the_lost, "{key}: {written:?}");
    }
    block_in_place(|| cluster.pair(0).seize());
    table.set_away(false);

    flushed(&cache).await;
    for (key, is_of_the_lost) in keys.iter().zip(of_the_lost) {
        assert_eq!(table.row(key), Some(if is_of_the_lost { 1 } else { 2 }), "{key}: as was acknowledged");
    }
}
