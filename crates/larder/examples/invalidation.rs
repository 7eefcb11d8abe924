//! Making a cache forget: around a write, by tags, by a pattern, softly, and what a reader on another node gets to see.
//!
//! Runs in process; set `REDIS_URL` to share the cache:
//! `REDIS_URL=redis://127.0.0.1 cargo run -p larder --example invalidation`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use larder::{
    Cache, Policy, Result,
    cache::{Read, ReadOptions},
    redis::Redis,
};

/// What stands in for the database: the version of everything in it.
static VERSION: AtomicU64 = AtomicU64::new(1);

#[tokio::main]
async fn main() -> Result<()> {
    let policy = Policy::ttl(Duration::from_secs(300)).stale_while_revalidate(Duration::from_secs(60));
    let mut builder = Cache::<String, u64>::builder("prices")
        .policy(policy)
        // "shop:7:tea" has the tag "tea".
        .tags(|key, _| key.rsplit(':').take(1).map(str::to_owned).collect());
    if let Ok(url) = std::env::var("REDIS_URL") {
        builder = builder.redis(&Redis::connect(url).await?);
    }
    let prices = builder.build()?;
    for key in ["shop:7:tea", "shop:7:cups", "shop:8:tea"] {
        read(&prices, key).await?;
    }

    // What is loaded while the write is under way is kept nowhere, and a crash after it leaves nothing old behind.
    let write = async { Ok::<_, larder::Error>(VERSION.fetch_add(1, SeqCst) + 1) };
    let (written, tokens) = prices.guarded_write(&["shop:7:tea"], write).await?;
    println!("after the write of version {written}: {}", told(&read(&prices, "shop:7:tea").await?));
    // Travels to whoever must see the write, in a header for instance. In one process there is nobody else.
    if let Some(token) = tokens?.pop() {
        let at_least = ReadOptions { at_least: Some(token), ..ReadOptions::default() };
        println!("with its token: {}", told(&prices.read_with("shop:7:tea", &at_least, load).await?));
    }

    VERSION.fetch_add(1, SeqCst);
    prices.invalidate_tag("tea").await?;
    println!("a tag of theirs: {}", told(&read(&prices, "shop:8:tea").await?));
    println!("not of this one: {}", told(&read(&prices, "shop:7:cups").await?));

    let forgotten = prices.invalidate_pattern("shop:7:*").await?;
    println!("a pattern ({forgotten} found): {}", told(&read(&prices, "shop:7:cups").await?));

    VERSION.fetch_add(1, SeqCst);
    prices.expire(&["shop:8:tea"]).await?;
    println!("softly: {}", told(&read(&prices, "shop:8:tea").await?));
    Ok(())
}

async fn load() -> Result<Option<u64>> {
    Ok(Some(VERSION.load(SeqCst)))
}

async fn read(prices: &Cache<String, u64>, key: &str) -> Result<Read<u64>> {
    prices.read_with(key, &ReadOptions::default(), load).await
}

fn told(read: &Read<u64>) -> String {
    let stale = if read.stale { ", stale, and on its way to be loaded anew" } else { "" };
    format!("version {} from {:?}{stale}", read.value.as_deref().unwrap_or(&0), read.served)
}
