//! Writes that go past Larder are seen by cached reads: one node of all follows the database's change stream.
//!
//! Needs a MongoDB with a replica set, and Redis if there are several nodes:
//! `cargo run -p larder --example watch mongodb://localhost/shop redis://localhost`.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, time::Duration};

use bson::doc;
use larder::{
    Error, ErrorKind, Result,
    document::{Database, Field, FieldType, Id, IdType, Schema, Watch},
    redis::Redis,
};
use tokio::time::sleep;

/// What a program does that knows nothing of Larder.
async fn write_past_larder(url: &str, name: &str) -> mongodb::error::Result<()> {
    let client = mongodb::Client::with_uri_str(url).await?;
    let shop = client.default_database().expect("the URL names a database");
    let change = doc! { "$set": { "name": name } };
    shop.collection::<bson::Document>("products").update_one(doc! { "_id": 1 }, change).upsert(true).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "mongodb://localhost/shop".to_owned());
    let schema = Schema::new("products", IdType::Int).field(Field::new("name", FieldType::String));
    let mut products = Database::mongo(&*url).await?.collection(schema);
    if let Some(url) = arguments.next() {
        products = products.redis(&Redis::connect(url).await?);
    }
    let products = products.build()?;
    let watch = Watch::builder([&products]).start()?;

    for name in ["Pot", "Teapot", "Samovar"] {
        let write = write_past_larder(&url, name).await;
        write.map_err(|error| Error::new(ErrorKind::Unavailable, "the write").with_source(error))?;
        loop {
            // A near hit, until the change is told.
            let product = products.get(&Id::Int(1)).await?;
            if product.is_some_and(|product| product.raw().get_str("name").is_ok_and(|it| it == name)) {
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
        println!("a cached read sees the {name}");
    }
    for stats in watch.stats() {
        println!("{}: {}, at most {:?} behind", stats.collection, stats.role.name(), stats.longest_lag);
    }
    watch.stop().await;
    Ok(())
}
