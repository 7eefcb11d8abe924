//! Counting round trips to Redis.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use larder::redis::Redis;
use larder_testkit::eventually;

/// How many round trips it took, and what came of it.
pub(crate) async fn trips<T>(redis: &Redis, asking: impl Future<Output = T>) -> (u64, T) {
    let before = redis.stats().round_trips;
    let answer = asking.await;
    (redis.stats().round_trips - before, answer)
}

/// Far longer than the subscription of a node takes.
const QUIET: Duration = Duration::from_secs(1);

/// Waits until a node that was built a moment ago asks Redis for nothing by itself: it looks at each shard after its
/// subscription, and those looks come when the server finds the time. `ask` costs the same each time, so for a while
/// nothing may come on top of that, neither during a call nor between two.
pub(crate) async fn quiet(redis: &Redis, ask: impl AsyncFn()) {
    let last = Cell::new((redis.stats().round_trips, 0, Instant::now()));
    eventually("nothing but what is asked goes to Redis", Duration::from_secs(20), || async {
        ask().await;
        let (before, usual, since) = last.get();
        let now = redis.stats().round_trips;
        let cost = now - before;
        let since = if cost == usual { since } else { Instant::now() };
        last.set((now, cost, since));
        cost > 0 && since.elapsed() >= QUIET
    })
    .await;
}
