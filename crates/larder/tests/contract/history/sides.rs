//! Both modes of a cache side by side on the same servers, so that one trouble is enough for them.

use std::{sync::Arc, time::Duration};

use larder::{Cache, cache::Consistency};
use larder_testkit::eventually;
use tokio::sync::watch;

use super::{MODES, World, check, judge_in, named_cache_over, nodes_with_replicas};

/// Three nodes of a cache in one mode, and what they read and write.
pub(super) struct Side {
    pub(super) consistency: Consistency,
    pub(super) nodes: Vec<Cache<String, u64>>,
    pub(super) world: Arc<World>,
}

/// Both modes, each in a world of its own, on nodes that each have their way to Redis.
pub(super) async fn sides_over(ways: &[String], world: fn() -> Arc<World>) -> [Side; 2] {
    let side = async |name, consistency| {
        let mut nodes = Vec::new();
        for url in ways {
            nodes.push(named_cache_over(name, url, consistency).await);
        }
        Side { consistency, nodes, world: world() }
    };
    [side("bounded", MODES[0]).await, side("strict", MODES[1]).await]
}

/// Both modes with hot keys in several shards.
pub(super) async fn hot_sides_over(url: &str) -> [Side; 2] {
    let side = async |name, consistency| {
        let nodes = nodes_with_replicas(name, url, consistency).await;
        Side { consistency, nodes, world: World::new() }
    };
    [side("bounded", MODES[0]).await, side("strict", MODES[1]).await]
}

/// Runs both sides until `trouble` ends, judges what was read, and sees to it that no debt remains.
pub(super) async fn judge_both(sides: &[Side; 2], seed: u64, what: &str, trouble: impl Future<Output = ()>) {
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
