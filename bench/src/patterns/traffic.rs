//! The same operations for every pattern: Zipf over the keys, by schedule.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep_until};

use crate::zipf::{Zipf, spread};

use super::{
    database::{Database, version_of},
    node::Node,
};

/// Rows that are asked for.
pub const KEYS: usize = 2_000;
/// Operations a second, on both nodes together.
pub const RATE: usize = 3_000;
/// Of a hundred operations, the writes; of a hundred writes, those past the cache.
pub const WRITES: u64 = 5;
/// See [`WRITES`].
pub const PAST: u64 = 10;

/// Enough that an operation is never late because another one waits.
const WORKERS: usize = 256;

/// A list of operations, made once.
#[derive(Debug)]
pub struct Traffic {
    operations: Vec<Operation>,
}

#[derive(Debug, Clone)]
struct Operation {
    key: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    WritePast,
}

impl Traffic {
    /// Operations for this long.
    pub fn new(lasts: Duration) -> Self {
        let zipf = Zipf::new(KEYS);
        let operation = |number: u64| {
            let rank = zipf.rank(number * 3);
            let kind = match (spread(number * 3 + 1) % 100 < WRITES, spread(number * 3 + 2) % 100 < PAST) {
                (false, _) => Kind::Read,
                (true, false) => Kind::Write,
                (true, true) => Kind::WritePast,
            };
            Operation { key: format!("row-{rank}"), kind }
        };
        Self { operations: (0..lasts.as_secs() * RATE as u64).map(operation).collect() }
    }
}

/// What the operations saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// How long each read took, in µs.
    pub reads_us: Vec<f64>,
    /// How long each write through the pattern took, in µs.
    pub writes_us: Vec<f64>,
    /// The ages of stale reads after a write that the cache was told of, in ms.
    pub stale_ms: Vec<f64>,
    /// And after one past the cache.
    pub stale_past_ms: Vec<f64>,
    /// How late operations began, at worst, in ms.
    pub late_ms: f64,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.reads_us.extend(other.reads_us);
        self.writes_us.extend(other.writes_us);
        self.stale_ms.extend(other.stale_ms);
        self.stale_past_ms.extend(other.stale_past_ms);
        self.late_ms = self.late_ms.max(other.late_ms);
    }
}

/// Runs all operations, each at its time, on the nodes in turn.
///
/// # Errors
/// What an operation failed with.
pub async fn run(
    traffic: &Arc<Traffic>,
    nodes: &[Arc<Node>],
    database: &Database,
) -> Result<Seen, Box<dyn Error>> {
    let (next, begin) = (Arc::new(AtomicUsize::new(0)), tokio::time::Instant::now());
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (traffic, nodes, database) = (traffic.clone(), nodes.to_vec(), database.clone());
        let next = next.clone();
        workers.spawn(async move {
            let mut seen = Seen::default();
            loop {
                let number = next.fetch_add(1, Relaxed);
                let Some(operation) = traffic.operations.get(number) else { return Ok(seen) };
                let due = begin + Duration::from_secs_f64(number as f64 / RATE as f64);
                sleep_until(due).await;
                seen.late_ms = seen.late_ms.max(due.elapsed().as_secs_f64() * 1e3);
                one(operation, &nodes[number % nodes.len()], &database, &mut seen).await?;
            }
        });
    }
    let mut all = Seen::default();
    while let Some(worker) = workers.join_next().await {
        let seen: larder::Result<Seen> = worker?;
        all.add(seen?);
    }
    Ok(all)
}

async fn one(operation: &Operation, node: &Node, database: &Database, seen: &mut Seen) -> larder::Result<()> {
    let (key, began) = (&operation.key, Instant::now());
    let took_us = || began.elapsed().as_secs_f64() * 1e6;
    match operation.kind {
        Kind::Read => {
            let value = node.read(key).await?;
            seen.reads_us.push(took_us());
            if let Some(missed) = database.first_missed(key, version_of(value.as_deref()), began) {
                let age_ms = (began - missed.at).as_secs_f64() * 1e3;
                if missed.announced { &mut seen.stale_ms } else { &mut seen.stale_past_ms }.push(age_ms);
            }
        }
        Kind::Write => {
            let version = database.next_version();
            node.write(key, version).await?;
            seen.writes_us.push(took_us());
            database.acknowledge(key, version, true);
        }
        Kind::WritePast => {
            let version = database.next_version();
            database.write(key, version).await;
            database.acknowledge(key, version, false);
        }
    }
    Ok(())
}
