//! Read-through: the cache knows its source, one value at a time or many with one call.
//!
//! Runs in process; set `REDIS_URL` to share the cache:
//! `REDIS_URL=redis://127.0.0.1 cargo run -p larder --example read_through`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::collections::HashMap;

use larder::{Cache, Result, redis::Redis, source::Source};

/// Your database. Anything that can load by key is a source.
struct Users(HashMap<u64, String>);

impl Source<u64, String> for Users {
    async fn load(&self, id: &u64) -> Result<Option<String>> {
        println!("  loads {id}");
        Ok(self.0.get(id).cloned())
    }
    async fn load_many(&self, ids: &[u64]) -> Result<Vec<Option<String>>> {
        println!("  loads {ids:?} with one query");
        Ok(ids.iter().map(|id| self.0.get(id).cloned()).collect())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let database = Users([(1, "Ada".to_owned()), (2, "Grace".to_owned())].into());
    let mut builder = Cache::<u64, String>::builder("users").source(database);
    if let Ok(url) = std::env::var("REDIS_URL") {
        builder = builder.redis(&Redis::connect(url).await?);
    }
    let users = builder.build()?;

    println!("{:?}", users.get(&1).await?);
    println!("{:?}", users.get_many(&[1, 2, 3]).await?);
    println!("{:?}, and nobody was asked again", users.get_many(&[1, 2, 3]).await?);
    println!("{} loads: one alone, and the others with one query", users.stats().loads);
    Ok(())
}
