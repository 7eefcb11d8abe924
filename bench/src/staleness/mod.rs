//! What the benchmark of stale reads is made of.
//!
//! Three scenes, in each of which every contender has the same load on three nodes: [calm](scenes::calm), with
//! [faults](scenes::faults) on the way to Redis, and with writes [past the cache](scenes::past).

pub mod cacheable;
pub mod database;
pub mod dice;
pub mod faults;
pub mod load;
pub mod node;
pub mod outcome;
pub mod past;
pub mod scenes;

use std::time::Duration;

/// How many programs share a Redis, each with a connection of its own.
pub const NODES: usize = 3;
/// How many keys are read and written.
pub const KEYS: usize = 50;
/// How many of each node's tasks read.
pub const READERS: usize = 4;
/// Larder's bound, and for how long `cacheable` keeps copies in memory. A read behind something older is counted apart.
pub const BOUND: Duration = Duration::from_secs(1);
/// The lifetime of what is cached where whoever writes invalidates.
pub const TTL: Duration = Duration::from_secs(60);
/// The same where nobody does.
pub const TTL_PAST: Duration = Duration::from_secs(5);

/// What an error ends the benchmark with.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
