//! Cache-aside: look in the cache, load on a miss, invalidate after a write.
//!
//! Runs in process; set `REDIS_URL` to share the cache:
//! `REDIS_URL=redis://127.0.0.1 cargo run -p larder --example cache_aside`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{sync::Arc, time::Duration};

use larder::{Cache, Policy, Result, redis::Redis};
use tokio::sync::Mutex;

type Prices = Arc<Mutex<f64>>;

async fn load(prices: Prices) -> Result<Option<f64>> {
    println!("  the database is asked");
    Ok(Some(*prices.lock().await))
}

#[tokio::main]
async fn main() -> Result<()> {
    let database: Prices = Arc::new(Mutex::new(9.5));
    let mut builder = Cache::<String, f64>::builder("prices").policy(Policy::ttl(Duration::from_secs(60)));
    if let Ok(url) = std::env::var("REDIS_URL") {
        builder = builder.redis(&Redis::connect(url).await?);
    }
    let prices = builder.build()?;

    for round in ["miss", "hit"] {
        let source = database.clone();
        let price = prices.get_with("teapot", move || load(source)).await?;
        println!("{round}: {price:?}");
    }

    *database.lock().await = 7.25;
    prices.invalidate("teapot").await?;
    let source = database.clone();
    let price = prices.get_with("teapot", move || load(source)).await?;
    println!("after the write: {price:?}");
    assert_eq!(price.as_deref(), Some(&7.25));
    println!("{} % of the reads were hits", (prices.stats().hit_rate() * 100.0).round());
    Ok(())
}
