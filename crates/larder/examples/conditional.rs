//! Conditional refresh: a source that can tell whether anything changed is asked that first, and what did not change is not
//! sent again, neither by the source nor to Redis.
//!
//! Runs in process; set `REDIS_URL` to share the cache:
//! `REDIS_URL=redis://127.0.0.1 cargo run -p larder --example conditional`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{sync::Arc, time::Duration};

use larder::{
    Cache, FakeClock, Policy, Result,
    cache::{Loaded, ReadOptions},
    redis::Redis,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Catalogue {
    version: u32,
    items: Vec<String>,
}

/// A slow upstream that knows versions, as HTTP does with `If-None-Match`.
async fn fetch(known: Option<u32>) -> Result<Loaded<Catalogue>> {
    const VERSION: u32 = 3;
    if known == Some(VERSION) {
        println!("  upstream: 304, you have it");
        return Ok(Loaded::NotModified);
    }
    println!("  upstream: 200, here is all of it");
    let items = (0..1_000).map(|number| format!("item {number}")).collect();
    Ok(Loaded::Value(Catalogue { version: VERSION, items }))
}

#[tokio::main]
async fn main() -> Result<()> {
    let clock = FakeClock::default();
    let policy = Policy::ttl(Duration::from_secs(60)).jitter(0.0).stale_if_error(Duration::from_secs(3600));
    let mut builder = Cache::<String, Catalogue>::builder("catalogues").policy(policy).clock(clock.clone());
    if let Ok(url) = std::env::var("REDIS_URL") {
        builder = builder.redis(&Redis::connect(url).await?);
    }
    let catalogues = builder.build()?;
    let load = |previous: Option<Arc<Catalogue>>| fetch(previous.map(|catalogue| catalogue.version));
    for what in ["cold", "a minute later", "at once"] {
        println!("{what}:");
        let read = catalogues.read_with_previous("tea", &ReadOptions::default(), load).await?;
        println!("  {} items, fresh for {:?}", read.value.map_or(0, |tea| tea.items.len()), read.ttl);
        if what == "cold" {
            clock.advance(Duration::from_secs(61));
        }
    }
    assert_eq!(catalogues.stats().not_modified, 1);
    Ok(())
}
