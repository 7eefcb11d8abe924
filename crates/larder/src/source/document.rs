//! A collection of documents as the source and the sink of a cache of your own types.

use std::{fmt, marker::PhantomData, sync::Arc};

use bson::{Document, RawDocumentBuf};
use serde::{Serialize, de::DeserializeOwned};

use super::{Sink, Source};
use crate::{
    Error, ErrorKind, Result,
    document::{Database, Expect, Id, Schema, Store},
};

/// Reads and writes values of your own type as documents of one collection, in MongoDB or SQLite.
///
/// The key becomes the document's `_id`; the rest is `V` as serde writes it. Several keys are loaded with one query.
/// Fields of a document that `V` does not name are left alone by reads, and gone after a put, which replaces the whole
/// document.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder::Result<()> {
/// use larder::{
///     document::{Database, IdType, Schema},
///     source::{DocumentSource, Sink, Source},
/// };
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, PartialEq, Debug)]
/// struct User {
///     name: String,
/// }
///
/// // In production: Database::mongo("mongodb://localhost/shop").await?
/// let database = Database::sqlite_in_memory().await?;
/// let users = DocumentSource::<i64, User>::new(&database, Schema::new("users", IdType::Int))?;
/// users.put(&7, &User { name: "Ann".into() }).await?;
/// assert_eq!(users.load_many(&[7, 8]).await?, [Some(User { name: "Ann".into() }), None]);
/// # Ok(()) }
/// ```
///
/// # When the database is down
/// Calls fail with `ErrorKind::Unavailable` or `ErrorKind::Timeout` within the database's deadline, and work again by
/// themselves; what a cache does then is its policy's to say.
pub struct DocumentSource<K, V> {
    store: Store,
    types: PhantomData<fn(K) -> V>,
}

impl<K, V> DocumentSource<K, V> {
    /// The collection that `schema` declares. Does no I/O. Give a collection the same schema wherever it is used: SQLite
    /// keeps the indexes that the latest one declares.
    ///
    /// # Errors
    /// `ErrorKind::Config` if the schema cannot work in this database.
    pub fn new(database: &Database, schema: Schema) -> Result<Self> {
        Ok(Self { store: database.store(Arc::new(schema))?, types: PhantomData })
    }
}

impl<K, V> Clone for DocumentSource<K, V> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), types: PhantomData }
    }
}

impl<K, V> fmt::Debug for DocumentSource<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DocumentSource").field(&self.store.schema().name()).finish()
    }
}

impl<K, V> Source<K, V> for DocumentSource<K, V>
where
    K: Clone + TryInto<Id, Error: Into<Error>> + Send + Sync + 'static,
    V: DeserializeOwned + Send + Sync + 'static,
{
    async fn load(&self, key: &K) -> Result<Option<V>> {
        self.store.get(&id_of(key)?).await?.as_ref().map(value_of).transpose()
    }

    async fn load_many(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        let ids = keys.iter().map(id_of).collect::<Result<Vec<Id>>>()?;
        let found = self.store.get_many(&ids).await?;
        found.iter().map(|document| document.as_ref().map(value_of).transpose()).collect()
    }
}

impl<K, V> Sink<K, V> for DocumentSource<K, V>
where
    K: Clone + TryInto<Id, Error: Into<Error>> + Send + Sync + 'static,
    V: Serialize + Send + Sync + 'static,
{
    async fn put(&self, key: &K, value: &V) -> Result<()> {
        self.store.replace(&id_of(key)?, document_of(value)?, &Expect::Any, true).await.map(|_| ())
    }

    async fn remove(&self, key: &K) -> Result<()> {
        self.store.delete(&id_of(key)?, &Expect::Any).await.map(|_| ())
    }
}

pub(super) fn document_of<V: Serialize>(value: &V) -> Result<Document> {
    bson::serialize_to_document(value).map_err(|error| {
        Error::new(ErrorKind::Invalid, "the value cannot be written as a document").with_source(error)
    })
}

pub(super) fn id_of<K: Clone + TryInto<Id, Error: Into<Error>>>(key: &K) -> Result<Id> {
    key.clone().try_into().map_err(Into::into)
}

pub(super) fn value_of<V: DeserializeOwned>(document: &RawDocumentBuf) -> Result<V> {
    bson::deserialize_from_slice(document.as_bytes()).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "the document does not have the shape of its type").with_source(error)
    })
}
