//! Write-around: what is written goes to the database, the cached value goes, and the next reader loads. For what is written more
//! often than it is read.
//!
//! Runs in process; set `REDIS_URL` to share the cache:
//! `REDIS_URL=redis://127.0.0.1 cargo run -p larder --example write_around`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use larder::{
    Cache, Result,
    document::{Database, IdType, Schema},
    redis::Redis,
    source::DocumentSource,
};

#[tokio::main]
async fn main() -> Result<()> {
    // In production: Database::mongo("mongodb://localhost/shop").await?
    let database = Database::sqlite_in_memory().await?;
    let table = DocumentSource::<i64, Profile>::new(&database, Schema::new("profiles", IdType::Int))?;
    let mut builder = Cache::<i64, Profile>::builder("profiles").source(table.clone()).sink(table);
    if let Ok(url) = std::env::var("REDIS_URL") {
        builder = builder.redis(&Redis::connect(url).await?);
    }
    let profiles = builder.build()?;

    for visits in 1..4 {
        profiles.put(&7, &Profile { visits }).await?;
    }
    assert_eq!(profiles.stats().loads, 0, "nobody has read it");
    println!("{:?}, {} load", profiles.get(&7).await?, profiles.stats().loads);

    profiles.put(&7, &Profile { visits: 4 }).await?;
    let found = profiles.get(&7).await?;
    println!("{found:?}, {} loads", profiles.stats().loads);
    assert_eq!((found.as_deref(), profiles.stats().loads), (Some(&Profile { visits: 4 }), 2));
    Ok(())
}

#[derive(serde::Serialize, serde::Deserialize, Clone, Debug, PartialEq)]
struct Profile {
    visits: u64,
}
