//! A database of numbers that only grow.

use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use mongodb::{
    Client, Collection, IndexModel,
    bson::{DateTime, Document, doc},
    error::Result,
    options::ReturnDocument,
};
use tokio::time::sleep;

use super::KEYS;

/// The collection in MongoDB.
pub const NAME: &str = "numbers";
/// The field of a document that grows.
pub const NUMBER: &str = "n";
/// The field that says when it last did.
pub const UPDATED_AT: &str = "updatedAt";

/// Where the numbers are. All begin at 1.
#[derive(Debug)]
pub enum Database {
    /// A table in this process, whose reads take a moment.
    Memory(Box<[AtomicU64]>),
    /// A collection that others write, too.
    Mongo(Collection<Document>),
}

impl Database {
    /// A table of [`KEYS`] numbers.
    pub fn memory() -> Self {
        Self::Memory((0..KEYS).map(|_| AtomicU64::new(1)).collect())
    }

    /// A new collection of so many numbers, in the database that the URL names.
    ///
    /// # Errors
    /// When MongoDB refuses it.
    pub async fn mongo(url: &str, keys: usize) -> Result<Self> {
        let client = Client::with_uri_str(url).await?;
        let database = client.default_database().expect("the test kit's URLs name a database");
        let collection = database.collection(NAME);
        let index = IndexModel::builder().keys(doc! { UPDATED_AT: 1 }).build();
        collection.create_index(index).await?;
        let first = |key| doc! { "_id": key as i64, NUMBER: 1_i64, UPDATED_AT: DateTime::now() };
        collection.insert_many((0..keys).map(first)).await?;
        Ok(Self::Mongo(collection))
    }

    /// Reads one number. From the table this takes so long, so that a write can come before the answer is there.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn read(&self, key: usize, takes: Duration) -> Result<u64> {
        match self {
            Self::Memory(numbers) => {
                let number = numbers[key].load(SeqCst);
                sleep(takes).await;
                Ok(number)
            }
            Self::Mongo(collection) => {
                number_of(collection.find_one(doc! { "_id": key as i64 }).await?.as_ref())
            }
        }
    }

    /// Makes a number grow by one, and returns it.
    ///
    /// # Errors
    /// When MongoDB does not answer.
    pub async fn grow(&self, key: usize) -> Result<u64> {
        match self {
            Self::Memory(numbers) => Ok(numbers[key].fetch_add(1, SeqCst) + 1),
            Self::Mongo(collection) => {
                let grown = doc! { "$inc": { NUMBER: 1_i64 }, "$set": { UPDATED_AT: DateTime::now() } };
                let update = collection.find_one_and_update(doc! { "_id": key as i64 }, grown);
                number_of(update.return_document(ReturnDocument::After).await?.as_ref())
            }
        }
    }
}

fn number_of(document: Option<&Document>) -> Result<u64> {
    let number = document.and_then(|document| document.get_i64(NUMBER).ok());
    Ok(number.expect("nothing is deleted") as u64)
}
