//! One collection in MongoDB.

use std::{sync::Arc, time::Duration};

use bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::Collection;

use super::{MongoDatabase, client::server_limit, search::Seen};
use crate::{
    Result,
    document::{Id, Schema},
};

/// One collection in MongoDB. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct MongoCollection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: MongoDatabase,
    driver: Collection<RawDocumentBuf>,
    schema: Arc<Schema>,
    deadline: Duration,
    seen_words: Seen,
}

impl MongoCollection {
    pub(super) fn new(database: MongoDatabase, schema: Arc<Schema>, deadline: Duration) -> Self {
        let driver = database.driver().collection(schema.name());
        Self(Arc::new(Inner { database, driver, schema, deadline, seen_words: Seen::default() }))
    }

    pub(crate) fn schema(&self) -> &Arc<Schema> {
        &self.0.schema
    }

    pub(super) fn database(&self) -> &mongodb::Database {
        self.0.database.driver()
    }

    /// The time a call may take.
    pub(in crate::document) fn deadline(&self) -> Duration {
        self.0.deadline
    }

    pub(in crate::document) fn driver(&self) -> &Collection<RawDocumentBuf> {
        &self.0.driver
    }

    pub(super) fn seen_words(&self) -> &Seen {
        &self.0.seen_words
    }

    /// What the server is given of the deadline.
    pub(super) fn server_limit(&self) -> Duration {
        server_limit(self.0.deadline)
    }

    pub(super) async fn call<T>(&self, work: impl Future<Output = mongodb::error::Result<T>>) -> Result<T> {
        self.0.database.call(self.0.deadline, work).await
    }

    /// A call that carries many documents: it has the deadline once for each hundred of them.
    pub(super) async fn call_for<T>(
        &self,
        documents: usize,
        work: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T> {
        self.0.database.call(self.deadline_for(documents), work).await
    }

    /// A call that writes. Its error is marked if nothing was sent; and if the connection broke, nobody knows what became of the
    /// write.
    pub(super) async fn write<T>(
        &self,
        documents: usize,
        work: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T> {
        let written = self.0.database.reach(self.deadline_for(documents), work).await;
        written.map_err(|error| error.of_write("the connection to MongoDB was lost: the write may be done"))
    }

    fn deadline_for(&self, documents: usize) -> Duration {
        let hundreds = u32::try_from(documents.div_ceil(100)).unwrap_or(u32::MAX);
        self.0.deadline.saturating_mul(hundreds)
    }
}

/// The query for one id.
pub(super) fn by_id(id: &Id) -> Document {
    doc! { "_id": Bson::from(id) }
}
