//! Cached documents over a collection, here in SQLite in memory.
//!
//! Runs in process; set `REDIS_URL` to share the cache:
//! `REDIS_URL=redis://127.0.0.1 cargo run -p larder --example documents`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use bson::doc;
use larder::{
    Result,
    document::{
        CompareOp, Database, Direction, Expect, Field, FieldType, Filter, Find, Id, IdType, JsonForm,
        MergePatch, Schema, SortKey, to_json,
    },
    redis::Redis,
};

#[tokio::main]
async fn main() -> Result<()> {
    let database = Database::sqlite_in_memory().await?;
    let schema = Schema::new("products", IdType::Int)
        .field(Field::new("name", FieldType::String).required())
        .field(Field::new("price", FieldType::Double).filterable().sortable());
    let mut builder = database.collection(schema);
    if let Ok(url) = std::env::var("REDIS_URL") {
        builder = builder.redis(&Redis::connect(url).await?);
    }
    let products = builder.build()?;

    for (id, name, price) in [(1_i64, "Teapot", 24.5), (2, "Kettle", 39.0), (3, "Cup", 4.25)] {
        products.insert(doc! { "_id": id, "name": name, "price": price }).await?;
    }

    let cup = products.get(&Id::Int(3)).await?.expect("it was just inserted");
    println!("one: {} {}", String::from_utf8_lossy(cup.json()), cup.etag().as_str());

    let cheap = Filter::Compare { path: "price".into(), op: CompareOp::Lt, value: 30.0.into() };
    let sort = vec![SortKey { path: "price".into(), direction: Direction::Descending }];
    for product in products.find(&Find { sort, ..Find::new(cheap, 10) }).await?.items {
        println!("cheap: {}", String::from_utf8_lossy(&to_json(&product, JsonForm::Relaxed)?));
    }

    // Only if it is still what we read: a lost update is an answer, not an accident.
    let patch = MergePatch::new(doc! { "price": 3.75 })?;
    let first = products.patch(&Id::Int(3), &patch, &Expect::Etag(cup.etag().clone())).await?;
    let second = products.patch(&Id::Int(3), &patch, &Expect::Etag(cup.etag().clone())).await?;
    println!("first: {first:?}\nsecond: {second:?}");
    println!("{:?}", products.stats());
    Ok(())
}
