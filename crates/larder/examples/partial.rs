//! Partial documents: a list of cards needs three fields of documents that are long.
//!
//! Runs in process; set `REDIS_URL` to share the cache:
//! `REDIS_URL=redis://127.0.0.1 cargo run -p larder --example partial`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use bson::doc;
use larder::{
    Result,
    cache::ReadOptions,
    document::{Database, Expect, Id, IdType, Schema},
    redis::Redis,
};

#[tokio::main]
async fn main() -> Result<()> {
    let schema = Schema::new("products", IdType::Int).strict(false);
    let mut builder =
        Database::sqlite_in_memory().await?.collection(schema).partial("card", &["name", "price"]);
    if let Ok(url) = std::env::var("REDIS_URL") {
        builder = builder.redis(&Redis::connect(url).await?);
    }
    let products = builder.build()?;
    let story = "a very long story ".repeat(1_000);
    products.put(&Id::Int(7), doc! { "name": "Teapot", "price": 12, "story": story }).await?;

    let card = |what: &'static str| {
        let products = &products;
        async move {
            let read = products.read_partial("card", &Id::Int(7), &ReadOptions::default()).await?;
            let json = read.value.map(|card| String::from_utf8_lossy(card.json()).into_owned());
            println!("{what}: {} from {:?}", json.unwrap_or_default(), read.served);
            Ok::<_, larder::Error>(())
        }
    };
    card("cold").await?;
    card("again").await?;
    let patch = products.schema().read_patch(br#"{"price":14}"#)?;
    products.patch(&Id::Int(7), &patch, &Expect::Any).await?;
    card("after a write").await?;
    // Whoever needs all of it has it in the cache from then on, and a card is cut from that.
    products.patch(&Id::Int(7), &products.schema().read_patch(br#"{"price":15}"#)?, &Expect::Any).await?;
    products.get(&Id::Int(7)).await?;
    card("beside the whole document").await?;
    Ok(())
}
