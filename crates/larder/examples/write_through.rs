//! Write-through: the value that is written stays in the cache, so that its next readers, on whatever node, need not load it.
//!
//! Runs in process; set `REDIS_URL` to share the cache:
//! `REDIS_URL=redis://127.0.0.1 cargo run -p larder --example write_through`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use larder::{
    Cache, Result,
    document::{Database, IdType, Schema},
    redis::Redis,
    source::DocumentSource,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Settings {
    theme: String,
    revision: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    // In production: Database::mongo("mongodb://localhost/shop").await?
    let database = Database::sqlite_in_memory().await?;
    let table = DocumentSource::<i64, Settings>::new(&database, Schema::new("settings", IdType::Int))?;
    let mut builder =
        Cache::<i64, Settings>::builder("settings").source(table.clone()).sink(table).write_through();
    if let Ok(url) = std::env::var("REDIS_URL") {
        builder = builder.redis(&Redis::connect(url.as_str()).await?);
    }
    let settings = builder.build()?;

    // In the database when it returns, and in the cache.
    settings.put(&7, &Settings { theme: "dark".into(), revision: 1 }).await?;
    println!("{:?}, {} loads", settings.get(&7).await?, settings.stats().loads);

    // Where the database has the last word: what it answers is what is left in the cache.
    let update = async { Ok(Some(Settings { theme: "light".into(), revision: 2 })) };
    settings.put_with(&7, update).await?;
    println!("{:?}, {} loads", settings.get(&7).await?, settings.stats().loads);

    // Of two writers at once neither leaves its value: only the database knows whose came last.
    let (first, second) =
        (Settings { theme: "a".into(), revision: 3 }, Settings { theme: "b".into(), revision: 3 });
    tokio::try_join!(settings.put(&7, &first), settings.put(&7, &second))?;
    println!("{:?}, {} loads", settings.get(&7).await?, settings.stats().loads);
    assert!(settings.stats().loads <= 1);
    Ok(())
}
