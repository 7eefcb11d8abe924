//! Ten thousand callers of one cold key on two nodes: how often the source is asked, and how long the callers wait.
//!
//! usage: `stampede quick|full REDIS_URL …`; prints `part,name,value,unit` lines.

use std::{
    env,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use larder::{Cache, redis::Redis};
use larder_bench::report::median;
use tokio::{sync::Barrier, task::JoinSet};

const CALLERS: usize = 10_000;
const LOAD: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let rounds = if arguments.first().is_some_and(|mode| mode == "full") { 9 } else { 3 };
    let url = arguments.get(1).ok_or("a Redis URL is missing")?.as_str();
    // Two nodes: nothing is shared between them but the server.
    let nodes = [node(url).await?, node(url).await?];
    let (mut most_loads, mut worst, mut waits) = (0, 0.0, Vec::new());
    for round in 0..rounds {
        let (loads, p99_ms) = one_round(&nodes, &format!("cold-{round}")).await?;
        most_loads = most_loads.max(loads);
        worst = f64::max(worst, p99_ms);
        waits.push(p99_ms);
    }
    let load_ms = LOAD.as_millis() as f64;
    println!(
        "stampede,loads of the source for {CALLERS} callers: the most of {rounds} rounds (target 1),{most_loads},"
    );
    println!("stampede,duration of the load,{load_ms},ms");
    println!("stampede,p99 of the waiters: median of {rounds} rounds,{},ms", median(waits.clone()));
    println!("stampede,p99 of the waiters: worst round,{worst},ms");
    println!("stampede,p99 ÷ load (target ≤ 1.5),{},times", median(waits) / load_ms);
    Ok(())
}

async fn node(url: &str) -> Result<Cache<String, String>, larder::Error> {
    let redis = Redis::connect(url).await?;
    Cache::builder("stampede").redis(&redis).build()
}

/// How often the source was asked, and the 99th percentile of the callers' waits in milliseconds.
async fn one_round(nodes: &[Cache<String, String>; 2], key: &str) -> Result<(u32, f64), Box<dyn Error>> {
    let loads = Arc::new(AtomicU32::new(0));
    let start = Arc::new(Barrier::new(CALLERS));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (cache, key) = (nodes[caller % 2].clone(), key.to_owned());
        let (loads, start) = (loads.clone(), start.clone());
        callers.spawn(async move {
            start.wait().await;
            let began = Instant::now();
            let load = async move || {
                loads.fetch_add(1, Relaxed);
                tokio::time::sleep(LOAD).await;
                Ok(Some("x".repeat(1_024)))
            };
            let value = cache.get_with(&key, load).await?;
            assert_eq!(value.map(|text| text.len()), Some(1_024));
            Ok::<_, larder::Error>(began.elapsed())
        });
    }
    let mut waits = Vec::with_capacity(CALLERS);
    while let Some(caller) = callers.join_next().await {
        waits.push(caller??.as_secs_f64() * 1e3);
    }
    waits.sort_by(f64::total_cmp);
    Ok((loads.load(Relaxed), waits[CALLERS * 99 / 100]))
}
