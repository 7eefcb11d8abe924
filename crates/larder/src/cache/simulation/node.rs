//! A node of the simulation: a real cache.

use std::{fmt, num::NonZeroU16, time::Duration};

use crate::{
    Cache, Clock, Policy,
    cache::{CacheBuilder, Consistency},
    redis::{Redis, simulated::World},
};

const LONG: Duration = Duration::from_secs(600);
pub(super) const REDIS_DEADLINE: Duration = Duration::from_millis(60);
/// For how long what was made stale is served while it is loaded anew.
const STALE: Duration = Duration::from_millis(150);
/// And for how long when that takes longer than [`PATIENCE`], or fails.
pub(super) const STALE_AT_ALL: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_millis(15);

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

fn lasting() -> Policy {
    Policy::ttl(LONG).near_ttl(LONG).jitter(0.0)
}

/// A node whose copies last for ever unless it hears of something.
pub(super) fn builder_of(world: &World, node: usize, consistency: Consistency) -> CacheBuilder<String, u64> {
    let redis = Redis::simulated(world, node, REDIS_DEADLINE);
    let builder = Cache::builder("simulated").redis(&redis).policy(lasting()).consistency(consistency);
    let builder = builder.clock(SimulatedClock(world.clone())).shards(NonZeroU16::new(2).expect("not zero"));
    builder.tags(|key: &String, _| vec![tag_of(key)])
}

/// One that serves what was made stale for a while.
pub(super) fn node_of(
    world: &World,
    node: usize,
    consistency: Consistency,
    keeps_copies: bool,
) -> Cache<String, u64> {
    let policy = lasting().stale_while_revalidate(STALE).stale_if_error(STALE_AT_ALL).soft_deadline(PATIENCE);
    let builder = builder_of(world, node, consistency).policy(policy);
    let builder = if keeps_copies { builder } else { builder.near_capacity(0) };
    builder.build().expect("the settings are sound")
}

/// Even keys and odd ones.
pub(super) fn tag_of(key: &str) -> String {
    let even = key.bytes().next_back().is_some_and(|last| last % 2 == 0);
    if even { "even" } else { "odd" }.to_owned()
}

pub(super) fn name(key: usize) -> String {
    format!("k{key}")
}

pub(super) fn number_of(name: &str) -> usize {
    name[1..].parse().expect("a name has a number")
}
