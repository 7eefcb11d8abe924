//! How long a node waits for what another one has loaded, in simulated time.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    BOUND, in_simulated_time,
    node::{REDIS_DEADLINE, builder_of, node_of},
};
use crate::{
    Cache,
    cache::{Consistency, ReadOptions, Served},
    redis::{Redis, simulated::World},
};

const LOADS: u32 = 60;
/// Long enough for the looks of whoever waits to be as rare as they get.
const LOAD: Duration = Duration::from_secs(1);
/// Looks are 50 to 100 ms apart by then, so without being told the wait is half of that on average, and then a round trip. A message
/// and a round trip take 10 ms on average in this network.
const MOST_ON_AVERAGE_MS: u64 = 20;
/// Round trips of a batch that waits for half of a load: nine looks at most, further and further apart, and three for what it
/// loads itself.
const MOST_TRIPS_ON_AVERAGE: u64 = 13;

/// Reads a value that takes its time to load, and says when it was there and who had it.
async fn read(world: &World, cache: &Cache<String, u64>, key: &str) -> (u64, Served) {
    let load = || async {
        sleep(LOAD).await;
        Ok(Some(1))
    };
    let read = cache.read_with(key, &ReadOptions::default(), load).await.expect("nothing fails");
    (world.now_ms(), read.served)
}

/// [`read`], together with a key that nobody else reads.
async fn read_in_a_batch(world: &World, cache: &Cache<String, u64>, key: &str) -> (u64, Served) {
    let load = |keys: Vec<String>| async move { Ok(vec![Some(2); keys.len()]) };
    let keys = [key.to_owned(), format!("{key} besides")];
    let values = cache.get_many_with(&keys, load).await.expect("nothing fails");
    let is_own = values[0].as_deref() == Some(&2);
    (world.now_ms(), if is_own { Served::Source } else { Served::Shared })
}

/// Has one node load keys, one after another, and another one ask for each halfway. For how long it waited on average for what
/// was there.
async fn waited_ms(
    world: &World,
    first: &Cache<String, u64>,
    ask: impl AsyncFn(&str) -> (u64, Served),
) -> u64 {
    // Both have found the server and listen.
    sleep(LOAD).await;
    let (mut waited_ms, mut waits) = (0, 0);
    for number in 0..LOADS {
        let key = format!("key {number}");
        let asking = async {
            sleep(LOAD / 2).await;
            ask(&key).await
        };
        let ((loaded_ms, source), (told_ms, shared)) = tokio::join!(read(world, first, &key), asking);
        // Else the network was too slow for the deadline of a call, and the second one loaded for itself.
        if (source, shared) == (Served::Source, Served::Shared) {
            waited_ms += told_ms.saturating_sub(loaded_ms);
            waits += 1;
        }
    }
    assert!(waits > LOADS / 2, "{waits}");
    waited_ms / u64::from(waits)
}

#[test]
fn a_node_that_waits_for_another_one_is_told_when_it_is_done() {
    in_simulated_time(7, async {
        let world = World::new(7, 2);
        let [first, second] = [0, 1].map(|node| node_of(&world, node, Consistency::Bounded(BOUND), true));
        let average_ms = waited_ms(&world, &first, async |key| read(&world, &second, key).await).await;
        assert!(average_ms < MOST_ON_AVERAGE_MS, "{average_ms} ms");
    });
}

#[test]
fn a_batch_that_waits_for_another_node_is_told_when_it_is_done_and_looks_rarely() {
    in_simulated_time(7, async {
        let world = World::new(7, 2);
        // The looks at the sequences are too rare to count.
        let consistency = Consistency::Bounded(60 * LOAD);
        let first = node_of(&world, 0, consistency, true);
        let redis = Redis::simulated(&world, 1, REDIS_DEADLINE);
        let second =
            builder_of(&world, 1, consistency).redis(&redis).build().expect("the settings are sound");
        let average_ms =
            waited_ms(&world, &first, async |key| read_in_a_batch(&world, &second, key).await).await;
        assert!(average_ms < MOST_ON_AVERAGE_MS, "{average_ms} ms");
        let trips = redis.stats().round_trips / u64::from(LOADS);
        assert!(trips <= MOST_TRIPS_ON_AVERAGE, "{trips} round trips");
    });
}
