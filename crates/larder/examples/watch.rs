//! Writes that go past Larder are seen by cached reads: one node of all follows the database's change stream.
//!
//! Needs a MongoDB with a replica set, and Redis if there are several nodes:
//! `cargo run -p larder --example watch mongodb://localhost/shop redis://localhost`, and then, in `mongosh shop`:
//! `db.products.updateOne({ _id: 1 }, { $set: { name: "Pot" } }, { upsert: true })`.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, time::Duration};

use larder::{
    Result,
    document::{Database, Field, FieldType, Id, IdType, Schema, Watch},
    redis::Redis,
};
use tokio::time::{interval, timeout};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let database = arguments.next().unwrap_or_else(|| "mongodb://localhost/shop".to_owned());
    let schema = Schema::new("products", IdType::Int).field(Field::new("name", FieldType::String));
    let mut products = Database::mongo(database).await?.collection(schema);
    if let Some(url) = arguments.next() {
        products = products.redis(&Redis::connect(url).await?);
    }
    let products = products.build()?;
    let watch = Watch::builder([&products]).start()?;

    let print = async {
        let (mut before, mut ticks) = (None, interval(Duration::from_millis(100)));
        loop {
            ticks.tick().await;
            // A near hit, until somebody changes the document.
            let product = products.get(&Id::Int(1)).await?;
            let now = product.map(|product| String::from_utf8_lossy(product.json()).into_owned());
            if now != before {
                println!("product 1 is {}", now.as_deref().unwrap_or("missing"));
                before = now;
            }
        }
    };
    let _: std::result::Result<Result<()>, _> = timeout(Duration::from_secs(60), print).await;
    for stats in watch.stats() {
        println!("{}: {}, at most {:?} behind", stats.collection, stats.role.name(), stats.longest_lag);
    }
    watch.stop().await;
    Ok(())
}
