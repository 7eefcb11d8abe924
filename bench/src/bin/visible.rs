//! From the acknowledgement of an invalidation until three nodes serve the new value, each from near copies before.
//!
//! usage: `visible quick|full REDIS_URL …`; prints `part,name,value,unit` lines.
//!
//! All three nodes hold a near copy when the first of them invalidates. From the acknowledgement on all are read in turn
//! until each has returned the new value once.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use larder::{Cache, Policy, redis::Redis};
use larder_bench::rounds::{Rounds, is_full, redis_url};

const NODES: usize = 3;
const KEYS: usize = 64;
/// Past this the node has missed the message, and its next look at the sequence has told it.
const GIVE_UP: Duration = Duration::from_secs(5);

type Node = Cache<String, u64>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (rounds, trials) = if is_full() { (5, 2_000) } else { (2, 200) };
    let url = redis_url()?;
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        let redis = Redis::connect(url.as_str()).await?;
        let policy = Policy::ttl(Duration::from_secs(600));
        nodes.push(Cache::builder("visible").redis(&redis).policy(policy).build()?);
    }
    let database = Arc::new(AtomicU64::new(0));
    let mut measured = Rounds::new("visible");
    for _ in 0..rounds {
        let (mut acknowledged_ms, mut all_ms, mut others_ms) = (Vec::new(), Vec::new(), Vec::new());
        for trial in 0..trials {
            let [acknowledged, others, all] = one_trial(&nodes, &database, trial % KEYS).await?;
            acknowledged_ms.push(acknowledged);
            others_ms.push(others);
            all_ms.push(all);
        }
        measured.note_percentiles("the invalidation itself", &acknowledged_ms, "ms");
        measured.note_percentiles("acknowledged to visible on the first other node", &others_ms, "ms");
        measured.note_percentiles(
            "acknowledged to visible on all three nodes (target p99 < 10)",
            &all_ms,
            "ms",
        );
    }
    measured.finish();
    Ok(())
}

/// How long the invalidation took, and from then until the first other node and all nodes show it, in ms.
async fn one_trial(
    nodes: &[Node],
    database: &Arc<AtomicU64>,
    key: usize,
) -> Result<[f64; 3], Box<dyn Error>> {
    let key = format!("row-{key}");
    for node in nodes {
        read(node, &key, database).await?;
        read(node, &key, database).await?;
    }
    let wanted = database.fetch_add(1, SeqCst) + 1;
    let began = Instant::now();
    nodes[0].invalidate(&key).await?;
    let acknowledged = Instant::now();
    let mut seen: [Option<f64>; NODES] = [None; NODES];
    while seen.iter().any(Option::is_none) {
        for (node, seen) in nodes.iter().zip(&mut seen) {
            if seen.is_none() && read(node, &key, database).await? >= wanted {
                *seen = Some(acknowledged.elapsed().as_secs_f64() * 1e3);
            }
        }
        if acknowledged.elapsed() > GIVE_UP {
            return Err("a node never saw the new value".into());
        }
        tokio::task::yield_now().await;
    }
    let others = seen[1..].iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let all = seen.iter().flatten().copied().fold(0.0, f64::max);
    Ok([(acknowledged - began).as_secs_f64() * 1e3, others, all])
}

async fn read(node: &Node, key: &str, database: &Arc<AtomicU64>) -> Result<u64, larder::Error> {
    let database = database.clone();
    let load = async move || Ok(Some(database.load(SeqCst)));
    Ok(node.get_with(key, load).await?.as_deref().copied().unwrap_or_default())
}
