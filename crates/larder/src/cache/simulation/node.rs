//! A node of the simulation: a real cache, its readers and its writers.

use std::{fmt, num::NonZeroU16, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::sleep;

use super::{KEYS, check::Checker};
use crate::{
    Cache, Clock, Policy,
    cache::{CacheBuilder, Consistency, ReadOptions},
    redis::{Redis, simulated::World},
};

const LONG: Duration = Duration::from_secs(600);
pub(super) const REDIS_DEADLINE: Duration = Duration::from_millis(60);

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

/// A node whose copies last for ever unless it hears of something.
pub(super) fn builder_of(world: &World, node: usize, consistency: Consistency) -> CacheBuilder<String, u64> {
    let redis = Redis::simulated(world, node, REDIS_DEADLINE);
    let policy = Policy::ttl(LONG).near_ttl(LONG).jitter(0.0);
    let builder = Cache::builder("simulated").redis(&redis).policy(policy).consistency(consistency);
    let builder = builder.clock(SimulatedClock(world.clone())).shards(NonZeroU16::new(2).expect("not zero"));
    builder.tags(|key: &String, _| vec![tag_of(key)])
}

pub(super) fn node_of(
    world: &World,
    node: usize,
    consistency: Consistency,
    keeps_copies: bool,
) -> Cache<String, u64> {
    let builder = builder_of(world, node, consistency);
    let builder = if keeps_copies { builder } else { builder.near_capacity(0) };
    builder.build().expect("the settings are sound")
}

/// Even keys and odd ones.
fn tag_of(key: &str) -> String {
    let even = key.bytes().next_back().is_some_and(|last| last % 2 == 0);
    if even { "even" } else { "odd" }.to_owned()
}

pub(super) fn name(key: usize) -> String {
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
        // Now and then the database is slow.
        let slow = world.pick(12) == 0;
        let pause = world.pause(Duration::from_millis(if slow { 1_200 } else { 8 }));
        let key = world.pick(KEYS);
        match world.pick(4) {
            0 => read_many(&world, &checker, &cache, node, (key, pause)).await,
            _ => read_one(&world, &checker, &cache, node, (key, pause)).await,
        }
    }
}

async fn read_one(
    world: &World,
    checker: &Arc<Checker>,
    cache: &Cache<String, u64>,
    node: usize,
    (key, pause): (usize, Duration),
) {
    let (begun_ms, database) = (world.now_ms(), checker.clone());
    let load = move || async move {
        let number = database.number(key);
        sleep(pause).await;
        Ok(Some(number))
    };
    if let Ok(read) = cache.read_with(&*name(key), &ReadOptions::default(), load).await
        && let Some(number) = &read.value
    {
        checker.has_read(key, node, begun_ms, **number, Some(read.served));
    }
}

/// Reads the key and the two after it at once.
async fn read_many(
    world: &World,
    checker: &Arc<Checker>,
    cache: &Cache<String, u64>,
    node: usize,
    (key, pause): (usize, Duration),
) {
    let (begun_ms, database) = (world.now_ms(), checker.clone());
    let load = move |names: Vec<String>| {
        let numbers: Vec<_> = names.iter().map(|name| Some(database.number(number_of(name)))).collect();
        async move {
            sleep(pause).await;
            Ok(numbers)
        }
    };
    let keys = [key, (key + 1) % KEYS, (key + 2) % KEYS];
    if let Ok(read) = cache.get_many_with(&keys.map(name), load).await {
        for (key, number) in keys.into_iter().zip(read) {
            let number = number.expect("every key has a number");
            checker.has_read(key, node, begun_ms, *number, None);
        }
    }
}

fn number_of(name: &str) -> usize {
    name[1..].parse().expect("a name has a number")
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
            kind @ 2..6 => {
                let pause = world.pause(Duration::from_millis(20));
                let written = Mutex::new(Vec::new());
                let write = async {
                    sleep(pause).await;
                    let grown = grow(&[key]);
                    let number = grown[0].1;
                    *written.lock() = grown;
                    sleep(pause).await;
                    Ok(Some(number))
                };
                let told = match kind {
                    2 | 3 => cache.put_with(&name(key), write).await.map(drop),
                    _ => {
                        cache.guarded_write(&[&*name(key)], write).await.and_then(|(_, told)| told.map(drop))
                    }
                };
                (written.into_inner(), told.is_ok())
            }
            _ => (grow(&[key]), cache.invalidate(&*name(key)).await.is_ok()),
        };
        checker.returned(&written, node, told);
    }
}
