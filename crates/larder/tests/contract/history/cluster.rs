//! The same on a Redis Cluster whose slots move, and whose primaries are replaced, while nodes read and write.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed, time::Duration};

use larder_testkit::{lasting, redis::Cluster};
use tokio::task::block_in_place;

use super::{
    BOUND, KEYS, NODES, World,
    sides::{Side, hot_sides_over, judge_both, sides_over},
};

/// Slots with whatever is in them, the sequence, the log and the leases included, go from one primary to the next and on.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_behind_an_acknowledged_invalidation_while_slots_move() {
    let cluster = Cluster::start(3, false);
    let sides = sides_over(&vec![cluster.url(); NODES], World::new).await;
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
    let sides = sides_over(&vec![cluster.url(); NODES], World::new).await;
    judge_takeovers(&cluster, &sides, 21, "replicas that take over").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_behind_an_acknowledged_invalidation_of_a_hot_key_while_replicas_take_over() {
    let cluster = Cluster::start(3, true);
    let sides = hot_sides_over(&cluster.url()).await;
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
