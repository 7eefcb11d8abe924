//! Pages of a collection that is written to now and then.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use bson::doc;
use larder::{
    Policy,
    cache::{ReadOptions, Served},
    document::{
        Collection, CompareOp, Database, Direction, Field, FieldType, Filter, Find, Id, IdType, Schema,
        SortKey,
    },
};

use super::Lab;
use crate::{
    rounds::Rounds,
    zipf::{Zipf, spread},
};

const DOCUMENTS: i64 = 20_000;
const CATEGORIES: i64 = 100;
const ON_A_PAGE: u32 = 20;
/// One write for so many reads.
const READS_PER_WRITE: u64 = 200;

/// Lists from the database each time, and cached ones.
///
/// # Errors
/// When Redis or the database cannot be asked.
pub async fn run(lab: &Lab, measured: &mut Rounds) -> Result<(), Box<dyn Error>> {
    let reads = if lab.full { 20_000 } else { 2_000 };
    for (mode, is_cached) in [("from the database", false), ("cached", true)] {
        let products = shop(lab, is_cached).await?;
        let zipf = Zipf::new(CATEGORIES as usize);
        let (mut reads_us, mut writes_us, mut asked) = (Vec::with_capacity(reads), Vec::new(), 0);
        for number in 0..reads as u64 {
            if number % READS_PER_WRITE == 0 {
                let began = Instant::now();
                let id = (spread(number) % DOCUMENTS as u64) as i64;
                products.put(&Id::Int(id), product(id, number as i64)).await?;
                writes_us.push(began.elapsed().as_secs_f64() * 1e6);
            }
            let find = dearest_of(zipf.rank(number) as i64);
            let began = Instant::now();
            let read = products.read_page(&find, &ReadOptions::default()).await?;
            reads_us.push(began.elapsed().as_secs_f64() * 1e6);
            assert!(
                read.value.is_some_and(|page| page.items.len() == ON_A_PAGE as usize),
                "every page is full"
            );
            asked += usize::from(read.served == Served::Source);
        }
        let what = format!("pages of 20 from 20 000 documents: {mode}");
        measured.note_percentiles(&format!("{what}: read"), &reads_us, "us");
        measured.note_percentiles(&format!("{what}: write"), &writes_us, "us");
        let share = asked as f64 * 100.0 / reads as f64;
        measured.note(format!("{what}: reads of the database"), share, "% of the reads");
    }
    Ok(())
}

async fn shop(lab: &Lab, is_cached: bool) -> Result<Collection, Box<dyn Error>> {
    let schema = Schema::new(format!("lists-{is_cached}-{}", lab.round), IdType::Int)
        .strict(false)
        .field(Field::new("category", FieldType::Int).filterable())
        .field(Field::new("price", FieldType::Int).sortable());
    let mut builder = Database::sqlite_in_memory().await?.collection(schema).redis(&lab.redis().await?);
    if is_cached {
        builder = builder.cache_lists(Policy::ttl(Duration::from_secs(600)));
    }
    let products = builder.build()?;
    let ids: Vec<i64> = (0..DOCUMENTS).collect();
    for ids in ids.chunks(1_000) {
        let documents: Vec<_> = ids.iter().map(|&id| product(id, 0)).collect();
        for inserted in products.insert_many(&documents).await? {
            inserted?;
        }
    }
    // The first find makes the indexes.
    products.find(&dearest_of(0)).await?;
    Ok(products)
}

fn product(id: i64, salt: i64) -> bson::Document {
    let price = (spread(id as u64) % 10_000) as i64 + salt;
    doc! { "_id": id, "category": id % CATEGORIES, "price": price, "name": format!("Teapot {id}"), "story": "x".repeat(512) }
}

fn dearest_of(category: i64) -> Find {
    let filter = Filter::Compare { path: "category".into(), op: CompareOp::Eq, value: category.into() };
    let sort = vec![SortKey { path: "price".into(), direction: Direction::Descending }];
    Find { sort, ..Find::new(filter, ON_A_PAGE) }
}
