//! The same on a Redis Cluster whose slots move, and whose primaries are replaced, while nodes read and write.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use larder::{Cache, cache::Consistency};
use larder_testkit::{eventually, lasting, redis::Cluster};
use tokio::{sync::watch, task::block_in_place};

use super::{BOUND, KEYS, MODES, NODES, World, check, judge_in, named_cache_over, nodes_with_replicas};

/// Three nodes of a cache in one mode, and what they read and write.
struct Side {
    consistency: Consistency,
    nodes: Vec<Cache<String, u64>>,
    world: Arc<World>,
}

/// Both modes on one cluster.
async fn sides_over(cluster: &Cluster) -> [Side; 2] {
    let side = async |name, consistency| {
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(named_cache_over(name, &cluster.url(), consistency).await);
        }
        Side { consistency, nodes, world: World::new() }
    };
    [side("bounded", MODES[0]).await, side("strict", MODES[1]).await]
}

/// The same with hot keys in several shards.
async fn hot_sides_over(cluster: &Cluster) -> [Side; 2] {
    let side = async |name, consistency| {
        let nodes = nodes_with_replicas(name, &cluster.url(), consistency).await;
        Side { consistency, nodes, world: World::new() }
    };
    [side("bounded", MODES[0]).await, side("strict", MODES[1]).await]
}

/// Runs both sides until `trouble` ends, judges what was read, and sees to it that no debt remains.
async fn judge_both(sides: &[Side; 2], seed: u64, what: &str, trouble: impl Future<Output = ()>) {
    let (over, is_over) = watch::channel(false);
    let judged = |side: &Side, seed| {
        let (mut is_over, world, nodes) = (is_over.clone(), side.world.clone(), side.nodes.clone());
        async move {
            let ends = async { drop(is_over.wait_for(|over| *over).await) };
            judge_in(&world, &nodes, seed, ends).await
        }
    };
    let trouble = async {
        trouble.await;
        over.send_replace(true);
    };
    let [bounded, strict] = sides;
    let (of_bounded, of_strict, ()) = tokio::join!(judged(bounded, seed), judged(strict, seed + 1), trouble);
    check(of_bounded, bounded.consistency, what);
    check(of_strict, strict.consistency, what);
    for node in sides.iter().flat_map(|side| &side.nodes) {
        eventually("every invalidation is acknowledged in the end", Duration::from_secs(10), || async {
            node.stats().invalidations_owed == 0
        })
        .await;
    }
}

/// Slots with whatever is in them, the sequence, the log and the leases included, go from one primary to the next and on.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_behind_an_acknowledged_invalidation_while_slots_move() {
    let cluster = Cluster::start(3, false);
    let sides = sides_over(&cluster).await;
    let mut places = BTreeMap::new();
    for Side { nodes, .. } in &sides {
        for key in 0..KEYS {
            let slot = nodes[0].explain(&format!("k{key}")).await.slot_key.expect("there is a Redis");
            let (place, slot) = cluster.place_of(&slot);
            places.insert(slot, place);
        }
    }
    let trouble = async {
        lasting(Duration::from_millis(500)).await;
        for round in 0..2 {
            for (slot, place) in places.iter().step_by(5) {
                let from = (place + round) % 3;
                let moving = block_in_place(|| cluster.begin_move(*slot, from, (from + 1) % 3));
                while block_in_place(|| moving.step()) {
                    lasting(Duration::from_millis(10)).await;
                }
                block_in_place(|| moving.finish());
                lasting(Duration::from_millis(50)).await;
            }
        }
        lasting(BOUND).await;
    };
    judge_both(&sides, 11, "slots that move", trouble).await;
}

/// How a replica that is behind becomes the primary.
#[derive(Clone, Copy)]
enum Takeover {
    /// At once, while nodes are connected to the old one.
    Seized,
    /// The old primary dies, and the replica is elected.
    Elected,
}

/// Replicas take over in good order, and without having heard the last invalidations that their primary acknowledged. No
/// write comes then that could repair what was lost.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_behind_an_acknowledged_invalidation_while_replicas_take_over() {
    let cluster = Cluster::start(3, true);
    let sides = sides_over(&cluster).await;
    judge_takeovers(&cluster, &sides, 21, "replicas that take over").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_behind_an_acknowledged_invalidation_of_a_hot_key_while_replicas_take_over() {
    let cluster = Cluster::start(3, true);
    let sides = hot_sides_over(&cluster).await;
    judge_takeovers(&cluster, &sides, 31, "hot keys, and replicas that take over").await;
}

async fn judge_takeovers(cluster: &Cluster, sides: &[Side; 2], seed: u64, what: &str) {
    let hold = |held| sides.iter().for_each(|side| side.world.is_held.store(held, Relaxed));
    let trouble = async {
        lasting(Duration::from_millis(500)).await;
        block_in_place(|| cluster.pair(0).change_places());
        let rounds = [(1, Takeover::Seized), (2, Takeover::Elected), (0, Takeover::Seized)];
        for (place, takeover) in rounds {
            lasting(Duration::from_millis(300)).await;
            let pair = cluster.pair(place);
            block_in_place(|| pair.keep_the_replica_behind());
            lasting(Duration::from_millis(500)).await;
            hold(true);
            lasting(BOUND / 2).await;
            block_in_place(|| match takeover {
                Takeover::Seized => pair.seize(),
                Takeover::Elected => pair.lose_the_primary(),
            });
            lasting(BOUND + Duration::from_millis(200)).await;
            hold(false);
        }
        lasting(BOUND).await;
    };
    judge_both(sides, seed, what, trouble).await;
}
