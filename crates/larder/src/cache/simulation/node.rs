//! A node of the simulation: a real cache, its readers and its writers.

use std::{fmt, num::NonZeroU16, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{KEYS, check::Checker};
use crate::{
    Cache, Clock, Policy,
    cache::{Consistency, ReadOptions},
    redis::{Redis, simulated::World},
};

const LONG: Duration = Duration::from_secs(600);
const REDIS_DEADLINE: Duration = Duration::from_millis(60);

/// Tells the time of the simulation.
struct SimulatedClock(World);

impl fmt::Debug for SimulatedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimulatedClock").finish_non_exhaustive()
    }
}

impl Clock for SimulatedClock {
    fn monotonic_ms(&self) -> u64 {
        self.0.now_ms()
    }

    fn unix_ms(&self) -> u64 {
        1_735_689_600_000 + self.0.now_ms()
    }
}

pub(super) fn node_of(world: &World, node: usize, consistency: Consistency) -> Cache<String, u64> {
    let redis = Redis::simulated(world, node, REDIS_DEADLINE);
    let policy = Policy::ttl(LONG).near_ttl(LONG).jitter(0.0);
    let builder = Cache::builder("simulated").redis(&redis).policy(policy).consistency(consistency);
    let builder = builder.clock(SimulatedClock(world.clone())).shards(NonZeroU16::new(2).expect("not zero"));
    builder.tags(|key: &String, _| vec![tag_of(key)]).build().expect("the settings are sound")
}

/// Even keys and odd ones.
fn tag_of(key: &str) -> String {
    let even = key.bytes().next_back().is_some_and(|last| last % 2 == 0);
    if even { "even" } else { "odd" }.to_owned()
}

fn name(key: usize) -> String {
    format!("k{key}")
}

pub(super) async fn read_on_and_on(
    world: World,
    checker: Arc<Checker>,
    cache: Cache<String, u64>,
    node: usize,
) {
    loop {
        sleep(world.pause(Duration::from_millis(12))).await;
        let key = world.pick(KEYS);
        // Now and then the database is slow.
        let slow = world.pick(12) == 0;
        let pause = world.pause(Duration::from_millis(if slow { 1_200 } else { 8 }));
        let begun_ms = world.now_ms();
        let database = checker.clone();
        let load = move || async move {
            let number = database.number(key);
            sleep(pause).await;
            Ok(Some(number))
        };
        if let Ok(read) = cache.read_with(&*name(key), &ReadOptions::default(), load).await
            && let Some(number) = &read.value
        {
            checker.has_read(key, node, begun_ms, **number, &format!("{:?}", read.served));
        }
    }
}

pub(super) async fn write_on_and_on(
    world: World,
    checker: Arc<Checker>,
    cache: Cache<String, u64>,
    node: usize,
) {
    loop {
        sleep(world.pause(Duration::from_millis(120))).await;
        let key = world.pick(KEYS);
        let grow = |keys: &[usize]| keys.iter().map(|key| (*key, checker.grow(*key))).collect::<Vec<_>>();
        let (written, told) = match world.pick(10) {
            0 => {
                let tag = tag_of(&name(key));
                let keys: Vec<usize> = (0..KEYS).filter(|it| tag_of(&name(*it)) == tag).collect();
                (grow(&keys), cache.invalidate_tag(&tag).await.is_ok())
            }
            1 => {
                let keys: Vec<usize> = (0..KEYS).collect();
                (grow(&keys), cache.clear().await.is_ok())
            }
            2..5 => {
                let pause = world.pause(Duration::from_millis(20));
                let write = async {
                    sleep(pause).await;
                    let written = grow(&[key]);
                    sleep(pause).await;
                    Ok(written)
                };
                match cache.guarded_write(&[&*name(key)], write).await {
                    Ok((written, told)) => (written, told.is_ok()),
                    Err(_) => continue,
                }
            }
            _ => (grow(&[key]), cache.invalidate(&*name(key)).await.is_ok()),
        };
        checker.returned(&written, node, told);
    }
}
