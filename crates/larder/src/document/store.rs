//! One collection in one of the databases: the same calls with the same answers.

use std::sync::Arc;

use bson::{Document, RawDocumentBuf};

#[cfg(feature = "mongo")]
use super::mongo::MongoCollection;
#[cfg(feature = "sqlite")]
use super::sqlite::SqliteCollection;
use super::{
    CollectionOptions, Filter, Find, Id, IndexReport, IndexedFields, Page, Written, merge::MergePatch,
    schema::Schema, write::Demand,
};
use crate::Result;

/// A collection's database side, uncached. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteCollection),
    #[cfg(feature = "mongo")]
    Mongo(MongoCollection),
}

/// The same call on whichever collection there is.
macro_rules! on {
    ($store:expr, $collection:ident => $call:expr) => {
        match $store {
            #[cfg(feature = "sqlite")]
            Store::Sqlite($collection) => $call,
            #[cfg(feature = "mongo")]
            Store::Mongo($collection) => $call,
        }
    };
}

/// What a replace did.
#[derive(Clone, Debug)]
pub(crate) struct Replaced {
    pub(crate) written: Written,
    /// Whether the document was not there before; only an upsert can make it.
    pub(crate) inserted: bool,
}

impl Store {
    /// The collection, if it is in MongoDB.
    #[cfg(feature = "mongo")]
    pub(crate) fn mongo(&self) -> Option<&MongoCollection> {
        match self {
            Self::Mongo(collection) => Some(collection),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => None,
        }
    }

    pub(crate) fn schema(&self) -> &Arc<Schema> {
        on!(self, collection => collection.schema())
    }

    /// Makes what the schema's filters and sorts need. Safe to repeat.
    pub(crate) async fn ensure_indexes(&self) -> Result<()> {
        on!(self, collection => collection.ensure_indexes().await)
    }

    /// For each declared filter and sort, the index that serves it, or none.
    pub(crate) async fn index_report(&self) -> Result<Vec<IndexReport>> {
        on!(self, collection => collection.index_report().await)
    }

    /// The fields that its indexes begin with.
    pub(crate) async fn indexed_fields(&self) -> Result<IndexedFields> {
        on!(self, collection => collection.indexed_fields().await)
    }

    /// What the database has been told of the collection. SQLite takes no such options.
    pub(crate) async fn options(&self) -> Result<CollectionOptions> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Ok(CollectionOptions::default()),
            #[cfg(feature = "mongo")]
            Self::Mongo(collection) => collection.options().await,
        }
    }

    pub(crate) async fn get(&self, id: &Id) -> Result<Option<RawDocumentBuf>> {
        on!(self, collection => collection.get(id).await)
    }

    /// The documents in the order of `ids`, in one query.
    pub(crate) async fn get_many(&self, ids: &[Id]) -> Result<Vec<Option<RawDocumentBuf>>> {
        on!(self, collection => collection.get_many(ids).await)
    }

    pub(crate) async fn find(&self, find: &Find) -> Result<Page> {
        on!(self, collection => collection.find(find).await)
    }

    pub(crate) async fn count(&self, filter: &Filter) -> Result<u64> {
        on!(self, collection => collection.count(filter).await)
    }

    /// The number of documents, without a look at each; may lag behind.
    pub(crate) async fn estimated_count(&self) -> Result<u64> {
        on!(self, collection => collection.estimated_count().await)
    }

    /// Inserts the documents; each begins with its `_id`. The answers are in their order: a taken id is
    /// `ErrorKind::Conflict`, and leaves the others alone.
    pub(crate) async fn insert_many(&self, documents: Vec<(Id, RawDocumentBuf)>) -> Result<Vec<Result<()>>> {
        on!(self, collection => collection.insert_many(documents).await)
    }

    /// As [`insert_many`](Self::insert_many), but a document whose id is taken replaces the one that has it.
    pub(crate) async fn put_many(&self, documents: Vec<(Id, RawDocumentBuf)>) -> Result<Vec<Result<()>>> {
        on!(self, collection => collection.put_many(documents).await)
    }

    /// Replaces the document; with `upsert` and [`Expect::Any`](super::Expect) makes it if it is missing.
    pub(crate) async fn replace(
        &self,
        id: &Id,
        document: Document,
        demand: impl Into<Demand>,
        upsert: bool,
    ) -> Result<Replaced> {
        let demand = demand.into();
        on!(self, collection => collection.replace(id, document, &demand, upsert).await)
    }

    pub(crate) async fn patch(
        &self,
        id: &Id,
        patch: &MergePatch,
        demand: impl Into<Demand>,
    ) -> Result<Written> {
        let demand = demand.into();
        on!(self, collection => collection.patch(id, patch, &demand).await)
    }

    pub(crate) async fn delete(&self, id: &Id, demand: impl Into<Demand>) -> Result<Written> {
        let demand = demand.into();
        on!(self, collection => collection.delete(id, &demand).await)
    }

    /// Runs the stages of a bound pipeline over the documents that match, and answers at most `limit` documents.
    pub(crate) async fn aggregate(
        &self,
        rows: &Filter,
        stages: &[Document],
        limit: u32,
    ) -> Result<Vec<RawDocumentBuf>> {
        on!(self, collection => collection.aggregate(rows, stages, limit).await)
    }
}
