//! A watch over a cluster whose slots move and whose primaries are replaced.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use larder::{
    document::{Collection, Id},
    redis::Redis,
};
use larder_testkit::{lasting, redis::Cluster};
use tokio::{
    spawn,
    task::{block_in_place, yield_now},
};

use super::place::{Place, read, sees, until_led, watch};

const DOCUMENTS: i64 = 40;

async fn node(cluster: &Cluster, place: &Place) -> Collection {
    let redis = Redis::connect(&*cluster.url()).await.expect("the cluster is up");
    place.node(Some(&redis)).await
}

/// The slots of the documents and of the watch, and who has each.
async fn places(cluster: &Cluster, place: &Place, node: &Collection) -> BTreeMap<u16, usize> {
    let mut keys = vec![place.key("cs")];
    for id in 0..DOCUMENTS {
        keys.push(node.explain(&Id::Int(id)).await.slot_key.expect("there is a Redis"));
    }
    let place_of = |key: String| block_in_place(|| cluster.place_of(&key));
    keys.into_iter().map(place_of).map(|(place, slot)| (slot, place)).collect()
}

/// Every slot goes to another primary, and two primaries change places with their replicas.
async fn shuffle(cluster: &Cluster, places: &BTreeMap<u16, usize>) {
    lasting(Duration::from_millis(300)).await;
    for (&slot, &from) in places {
        let moving = block_in_place(|| cluster.begin_move(slot, from, (from + 1) % 3));
        while block_in_place(|| moving.step()) {
            lasting(Duration::from_millis(10)).await;
        }
        block_in_place(|| moving.finish());
    }
    for place in 0..2 {
        lasting(Duration::from_millis(300)).await;
        block_in_place(|| cluster.pair(place).change_places());
    }
    lasting(Duration::from_millis(300)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_is_missed_while_slots_move_and_replicas_take_over() {
    let cluster = Arc::new(Cluster::start(3, true));
    let place = Place::new().await;
    let nodes = [node(&cluster, &place).await, node(&cluster, &place).await];
    for id in 0..DOCUMENTS {
        place.put(id, 0).await;
    }
    let watches = nodes.each_ref().map(|node| watch(node).start().unwrap());
    until_led(&watches.each_ref()).await;
    let places = places(&cluster, &place, &nodes[0]).await;

    let is_over = Arc::new(AtomicBool::new(false));
    // On a task of its own: it holds up the thread that it runs on.
    let trouble = spawn({
        let (cluster, is_over) = (cluster.clone(), is_over.clone());
        async move {
            shuffle(&cluster, &places).await;
            is_over.store(true, Relaxed);
        }
    });
    let writing = async {
        let mut round = 0;
        while !is_over.load(Relaxed) {
            round += 1;
            for id in 0..DOCUMENTS {
                place.put(id, round).await;
            }
        }
        round
    };
    // So that there is something to forget all the time.
    let reading = async {
        while !is_over.load(Relaxed) {
            for id in 0..DOCUMENTS {
                for node in &nodes {
                    read(node, id).await.expect("the database is there");
                }
                // Near hits do not wait, and the writer is part of the same task.
                yield_now().await;
            }
        }
    };
    let (last, ()) = tokio::join!(writing, reading);
    trouble.await.expect("nothing stands in its way");
    let filled: u64 = nodes.iter().map(|node| node.stats().fills_accepted).sum();
    assert!(last > 3 && filled > 100, "{last} rounds with {filled} fills are too few to mean anything");

    for node in &nodes {
        for id in 0..DOCUMENTS {
            sees(node, id, Some(last)).await;
        }
    }
}
