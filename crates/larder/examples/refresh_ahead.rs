//! Refresh-ahead: a key in demand is refreshed before it expires, so that its readers never wait for the database.
//!
//! Runs in process; set `REDIS_URL` to share the cache:
//! `REDIS_URL=redis://127.0.0.1 cargo run -p larder --example refresh_ahead`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::{Duration, Instant};

use larder::{Cache, Policy, Result, cache::ReadOptions, redis::Redis};
use tokio::time::sleep;

/// A report that takes the database a while.
async fn report() -> Result<Option<String>> {
    sleep(Duration::from_millis(50)).await;
    Ok(Some("the numbers".to_owned()))
}

#[tokio::main]
async fn main() -> Result<()> {
    // Beta 1: a hit refreshes with the chance exp(-remaining lifetime / load time).
    let policy = Policy::ttl(Duration::from_secs(1)).jitter(0.0).refresh_ahead(1.0);
    let mut builder = Cache::<String, String>::builder("reports").policy(policy);
    if let Ok(url) = std::env::var("REDIS_URL") {
        builder = builder.redis(&Redis::connect(url).await?);
    }
    let reports = builder.build()?;
    reports.get_with("monthly", report).await?;

    let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < Duration::from_secs(4) {
        let asked = Instant::now();
        reports.read_with("monthly", &ReadOptions::default(), report).await?;
        slowest = slowest.max(asked.elapsed());
        sleep(Duration::from_millis(1)).await;
    }
    let stats = reports.stats();
    println!("{} reads in four lifetimes, {} refreshes behind them", stats.reads(), stats.refreshes);
    println!("the slowest read took {slowest:?}; a load takes 50 ms");
    assert!(stats.refreshes > 0);
    Ok(())
}
