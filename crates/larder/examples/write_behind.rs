//! Write-behind: Redis acknowledges, every node reads the new value, and the database gets it in a coalesced batch.
//!
//! Needs a Redis: `REDIS_URL=redis://127.0.0.1:6379 cargo run -p larder --example write_behind`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use larder::{
    Cache, Result,
    cache::WriteBehind,
    redis::Redis,
    source::{Sink, Source, Write},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// Your database: it keeps the version beside the value, and leaves alone what has a later one.
#[derive(Clone, Default)]
struct Carts(Arc<Mutex<HashMap<u64, Row>>>);

/// A version, and the cart unless it was removed.
type Row = (u64, Option<String>);

impl Source<u64, String> for Carts {
    async fn load(&self, id: &u64) -> Result<Option<String>> {
        Ok(self.0.lock().expect("no holder panics").get(id).and_then(|(_, cart)| cart.clone()))
    }
}

impl Sink<u64, String> for Carts {
    // Called by caches without write-behind.
    async fn put(&self, id: &u64, cart: &String) -> Result<()> {
        self.0.lock().expect("no holder panics").insert(*id, (0, Some(cart.clone())));
        Ok(())
    }
    async fn remove(&self, id: &u64) -> Result<()> {
        self.0.lock().expect("no holder panics").remove(id);
        Ok(())
    }
    async fn apply(&self, writes: &[Write<u64, String>]) -> Vec<Result<()>> {
        println!("  the database gets {} write(s)", writes.len());
        let mut carts = self.0.lock().expect("no holder panics");
        for write in writes {
            let (version, cart) = carts.entry(write.key).or_default();
            if write.version > *version {
                (*version, *cart) = (write.version, write.value.clone());
            }
        }
        writes.iter().map(|_| Ok(())).collect()
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".into());
    let (redis, database) = (Redis::connect(url.as_str()).await?, Carts::default());
    let carts: Cache<u64, String> = Cache::builder("carts")
        .redis(&redis)
        .source(database.clone())
        .sink(database.clone())
        .write_behind(WriteBehind::default())
        .build()?;
    carts.behind()?.check().await?;

    for items in 1..=100 {
        carts.put(&42, &format!("{items} items")).await?;
    }
    println!("{:?}, and the database may know nothing of it", carts.get(&42).await?);
    carts.behind()?.flush().await?;
    println!("the database has {:?}", database.load(&42).await?);

    let stats = carts.behind()?.stats().await?;
    println!("{} writes acknowledged, {} carried out", stats.acknowledged, stats.applied);
    carts.close().await;
    Ok(())
}
