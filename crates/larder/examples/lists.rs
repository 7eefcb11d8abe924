//! Cached lists: a page, its count and a named query, remembered until anything in the collection is written.
//!
//! Runs in process; set `REDIS_URL` to share the cache:
//! `REDIS_URL=redis://127.0.0.1 cargo run -p larder --example lists`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{collections::BTreeMap, time::Duration};

use bson::doc;
use larder::{
    Policy, Result,
    cache::ReadOptions,
    document::{Collection, CompareOp, Database, Filter, Find, Id, IdType, Pipeline, Schema},
    redis::Redis,
};

#[tokio::main]
async fn main() -> Result<()> {
    let stock = doc! { "$group": { "_id": "$category", "products": { "$sum": 1 } } };
    let schema = Schema::new("products", IdType::Int).strict(false).pipeline(Pipeline::new(
        "by_category",
        vec![stock],
        vec![],
    )?);
    let mut builder = Database::sqlite_in_memory()
        .await?
        .collection(schema)
        .cache_lists(Policy::ttl(Duration::from_secs(30)));
    if let Ok(url) = std::env::var("REDIS_URL") {
        builder = builder.redis(&Redis::connect(url).await?);
    }
    let products = builder.build()?;
    for (id, category) in [(1, "tea"), (2, "tea"), (3, "coffee")] {
        products.put(&Id::Int(id), doc! { "category": category }).await?;
    }

    show("cold", &products).await?;
    show("again", &products).await?;
    products.put(&Id::Int(4), doc! { "category": "tea" }).await?;
    show("after a write", &products).await?;
    Ok(())
}

async fn show(what: &str, products: &Collection) -> Result<()> {
    let tea = Filter::Compare { path: "category".into(), op: CompareOp::Eq, value: "tea".into() };
    let options = ReadOptions::default();
    let page = products.read_page(&Find::new(tea.clone(), 20), &options).await?;
    let count = products.read_count(&tea, &options).await?;
    let query =
        products.within(&Filter::All).read_aggregate("by_category", &BTreeMap::new(), &options).await?;
    for (list, read) in [("a page", page), ("its count", count), ("a query", query)] {
        let listing = read.value.unwrap_or_default();
        let found = listing.count.unwrap_or(listing.items.len() as u64);
        println!("{what}: {list} of {found} from {:?}", read.served);
    }
    Ok(())
}
