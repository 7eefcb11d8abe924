//! How long a node waits for what another one has loaded, in simulated time.

use std::time::Duration;

use tokio::time::sleep;

use super::{BOUND, in_simulated_time, node::node_of};
use crate::{
    Cache,
    cache::{Consistency, ReadOptions, Served},
    redis::simulated::World,
};

const LOADS: u32 = 60;
/// Long enough for the looks of whoever waits to be as rare as they get.
const LOAD: Duration = Duration::from_secs(1);
/// Looks are 50 to 100 ms apart by then, so without being told the wait is half of that on average, and then a round trip. A message
/// and a round trip take 10 ms on average in this network.
const MOST_ON_AVERAGE_MS: u64 = 20;

/// Reads a value that takes its time to load, and says when it was there and who had it.
async fn read(world: &World, cache: &Cache<String, u64>, key: &str) -> (u64, Served) {
    let load = || async {
        sleep(LOAD).await;
        Ok(Some(1))
    };
    let read = cache.read_with(key, &ReadOptions::default(), load).await.expect("nothing fails");
    (world.now_ms(), read.served)
}

#[test]
fn a_node_that_waits_for_another_one_is_told_when_it_is_done() {
    in_simulated_time(7, async {
        let world = World::new(7, 2);
        let [first, second] = [0, 1].map(|node| node_of(&world, node, Consistency::Bounded(BOUND), true));
        // Both have found the server and listen.
        sleep(LOAD).await;
        let (mut waited_ms, mut waits) = (0, 0);
        for number in 0..LOADS {
            let key = format!("key {number}");
            let reads = [(&first, Duration::ZERO), (&second, LOAD / 2)].map(async |(cache, pause)| {
                sleep(pause).await;
                read(&world, cache, &key).await
            });
            let [(loaded_ms, source), (told_ms, shared)] = futures_util::future::join_all(reads).await[..]
            else {
                panic!("two reads")
            };
            // Else the network was too slow for the deadline of a call, and the second one loaded for itself.
            if (source, shared) == (Served::Source, Served::Shared) {
                waited_ms += told_ms.saturating_sub(loaded_ms);
                waits += 1;
            }
        }
        assert!(waits > LOADS / 2, "{waits}");
        let average_ms = waited_ms / u64::from(waits);
        assert!(average_ms < MOST_ON_AVERAGE_MS, "{average_ms} ms");
    });
}
