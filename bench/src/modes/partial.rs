//! Two fields of long documents, from Redis.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use bson::doc;
use larder::{
    Policy,
    cache::ReadOptions,
    document::{Collection, Database, Id, IdType, Schema},
};

use super::Lab;
use crate::rounds::Rounds;

const DOCUMENTS: i64 = 200;
const BYTES: usize = 32 * 1_024;

/// Whole documents, and a declared part of them.
///
/// # Errors
/// When Redis or the database cannot be asked.
pub async fn run(lab: &Lab, measured: &mut Rounds) -> Result<(), Box<dyn Error>> {
    let reads = if lab.full { 10_000 } else { 1_000 };
    for (mode, is_part) in [("whole", false), ("a declared part", true)] {
        let redis = lab.redis().await?;
        let schema = Schema::new(format!("partial-{is_part}-{}", lab.round), IdType::Int).strict(false);
        let policy =
            Policy::ttl(Duration::from_secs(600)).near_ttl(Duration::ZERO).compress_above_bytes(None);
        let database = Database::sqlite_in_memory().await?;
        let builder = database.collection(schema).partial("card", &["name", "price"]);
        let products = builder.redis(&redis).policy(policy).build()?;
        for id in 0..DOCUMENTS {
            let document = doc! { "name": format!("Teapot {id}"), "price": id, "story": "x".repeat(BYTES) };
            products.put(&Id::Int(id), document).await?;
            read(&products, is_part, id).await?;
        }
        let [_, before] = lab.bytes().await?;
        let mut reads_us = Vec::with_capacity(reads);
        for number in 0..reads as i64 {
            let began = Instant::now();
            read(&products, is_part, number * 7 % DOCUMENTS).await?;
            reads_us.push(began.elapsed().as_secs_f64() * 1e6);
        }
        let [_, after] = lab.bytes().await?;
        let what = format!("documents of 32 KiB: {mode}");
        measured.note_percentiles(&format!("{what}: shared hit"), &reads_us, "us");
        let each = (after - before) / reads as f64 / 1_024.0;
        measured.note(format!("{what}: sent by Redis for each"), each, "KiB");
    }
    Ok(())
}

async fn read(products: &Collection, is_part: bool, id: i64) -> larder::Result<()> {
    let (id, options) = (Id::Int(id), ReadOptions::default());
    let found = match is_part {
        true => products.read_partial("card", &id, &options).await?.value.is_some(),
        false => products.read(&id, &options).await?.value.is_some(),
    };
    assert!(found, "every document is there");
    Ok(())
}
