//! Counting round trips to Redis.

use std::{collections::BTreeSet, time::Duration};

use larder::redis::Redis;
use larder_testkit::eventually;

/// How many round trips it took, and what came of it.
pub(crate) async fn trips<T>(redis: &Redis, asking: impl Future<Output = T>) -> (u64, T) {
    let before = redis.stats().round_trips;
    let answer = asking.await;
    (redis.stats().round_trips - before, answer)
}

/// Waits until a node that was built a moment ago asks Redis for nothing by itself: it looks at each shard after its
/// subscription, and those looks come when the server finds the time. `ask` costs the same each time.
pub(crate) async fn quiet(redis: &Redis, ask: impl AsyncFn()) {
    eventually("nothing but what is asked goes to Redis", Duration::from_secs(10), || async {
        let mut costs = BTreeSet::new();
        for _ in 0..5 {
            costs.insert(trips(redis, ask()).await.0);
        }
        costs.len() == 1
    })
    .await;
}
