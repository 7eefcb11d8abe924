//! Readers and writers on all nodes, and what they see.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use larder_testkit::history::History;
use tokio::{task::JoinSet, time::sleep};

use super::{
    BOUND, Failure, KEYS, NODES, READERS, database::Database, dice::Dice, node::Node, outcome::Outcome,
};

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// One on each node, which invalidates what it wrote.
    OnNodes,
    /// One other program, which knows of no cache.
    Past,
}

struct World {
    database: Arc<Database>,
    history: History,
    failed: AtomicU64,
    late: AtomicU64,
    is_over: AtomicBool,
}

/// Runs the load until `meanwhile` ends, which is first polled when the load begins.
///
/// # Errors
/// When the database fails.
pub async fn judge(
    nodes: &[Node],
    database: &Arc<Database>,
    writers: Writers,
    meanwhile: impl Future<Output = ()>,
) -> Result<Outcome, Failure> {
    if writers == Writers::OnNodes {
        warm_up(nodes, database).await?;
    }
    let world = Arc::new(World {
        database: database.clone(),
        history: History::new(KEYS),
        failed: AtomicU64::new(0),
        late: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    });
    let mut tasks = JoinSet::new();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut dice = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Dice(seed | 1)
    };
    for (index, node) in nodes.iter().enumerate() {
        for _ in 0..READERS {
            tasks.spawn(read_on_and_on(world.clone(), node.clone(), index, dice()));
        }
        if writers == Writers::OnNodes {
            tasks.spawn(write_on_and_on(world.clone(), node.clone(), index, dice()));
        }
    }
    if writers == Writers::Past {
        tasks.spawn(write_past(world.clone(), dice()));
    }
    meanwhile.await;
    world.is_over.store(true, Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let [failed, late] = [&world.failed, &world.late].map(|count| count.load(Relaxed));
    Ok(Outcome::new(world.history.verdict(), failed, late))
}

/// Some connect at their first call. And in an empty Redis the first strict writes wait for nodes that it may have forgotten.
async fn warm_up(nodes: &[Node], database: &Arc<Database>) -> Result<(), Failure> {
    let mut tasks = JoinSet::new();
    for node in nodes {
        for key in 0..KEYS {
            let (mut node, database) = (node.clone(), database.clone());
            tasks.spawn(async move {
                node.read(&database, key, Duration::ZERO).await;
                node.invalidate(key).await
            });
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    Ok(())
}

async fn read_on_and_on(
    world: Arc<World>,
    mut node: Node,
    index: usize,
    mut dice: Dice,
) -> Result<(), Failure> {
    while !world.is_over.load(Relaxed) {
        let (key, takes) = (dice.below(KEYS as u64) as usize, Duration::from_micros(dice.below(3_000)));
        let floor = world.history.floor(key, index);
        match node.read(&world.database, key, takes).await {
            Some(number) => {
                let is_fresh = world.history.has_read(floor, number);
                if !is_fresh && world.history.behind(floor, number).is_some_and(|age| age > BOUND) {
                    world.late.fetch_add(1, Relaxed);
                }
            }
            None => drop(world.failed.fetch_add(1, Relaxed)),
        }
        // A pace, so that a contender with faster hits does not get a larger share of them into the count.
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

async fn write_on_and_on(
    world: Arc<World>,
    mut node: Node,
    index: usize,
    mut dice: Dice,
) -> Result<(), Failure> {
    while !world.is_over.load(SeqCst) {
        let key = dice.below(KEYS as u64) as usize;
        let number = world.database.grow(key).await?;
        if node.invalidate(key).await {
            world.history.acknowledged(key, number, index);
        }
        sleep(Duration::from_micros(2_000 + dice.below(6_000))).await;
    }
    Ok(())
}

/// Seldom: in its lifetime of five seconds a copy sees one write.
async fn write_past(world: Arc<World>, mut dice: Dice) -> Result<(), Failure> {
    while !world.is_over.load(Relaxed) {
        let key = dice.below(KEYS as u64) as usize;
        let number = world.database.grow(key).await?;
        // In the history it has a place beside the nodes: what it writes is written elsewhere.
        world.history.acknowledged(key, number, NODES);
        sleep(Duration::from_millis(50 + dice.below(100))).await;
    }
    Ok(())
}
