//! MongoDB against the same plain model as SQLite, and what is its own: conditions, races, outages, indexes.

mod facts;
mod find;
mod outage;
mod probe;
mod source;
mod versioned;
mod write;

use std::sync::Arc;

use bson::Document;
use larder_testkit::mongo;

use crate::document::{Database, Id, Schema, sqlite::tests::raw, store::Store};

/// A database that no other test uses.
async fn database() -> Database {
    let url = mongo::shared().url(&mongo::database_name());
    Database::mongo(url).await.unwrap()
}

async fn collection(schema: Schema) -> Store {
    database().await.store(Arc::new(schema)).unwrap()
}

/// Inserts documents under the integer ids from 0 on.
async fn fill(collection: &Store, documents: &[Document]) {
    let items = documents.iter().enumerate().map(|(id, document)| (Id::Int(id as i64), raw(document)));
    assert!(collection.insert_many(items.collect()).await.unwrap().iter().all(Result::is_ok));
}
