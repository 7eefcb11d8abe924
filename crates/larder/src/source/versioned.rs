//! A collection in MongoDB as the sink of a cache that writes behind.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Sink, Source, Write,
    document::{document_of, id_of, value_of},
};
use crate::{
    Error, ErrorKind, Result,
    document::{Database, Expect, Id, MongoCollection, REMOVED, Removals, Schema, Store, VersionedWrite},
};

/// Writes values of your own type to a collection in MongoDB, a whole batch with one command and each under its version: an older
/// write never overwrites a newer one, whoever was frozen when. For [write-behind](crate::cache::WriteBehind); reads the same
/// collection as well.
///
/// The key becomes the document's `_id`, the rest is `V` as serde writes it, and `_cv` is the [version](Write::version). A document
/// that somebody else wrote has none, and counts as older. A write is acknowledged when a majority has it, unless the
/// database's URL asks for another write concern.
///
/// A removal deletes the document. Then nothing remembers its version, and a write that a frozen process sends later could bring
/// the document back; [`keep_traces`](Self::keep_traces) prevents that as well.
///
/// `put` and `remove`, which write-through uses, carry no version: they replace whatever is there, and any versioned write goes
/// over them. Give a collection one of the two.
///
/// ```no_run
/// # async fn run() -> larder::Result<()> {
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Cart { items: Vec<u64> }
/// use larder::{Cache, cache::WriteBehind, document::{Database, IdType, Schema}, redis::Redis, source::MongoSink};
///
/// let redis = Redis::connect("redis://127.0.0.1").await?;
/// let database = Database::mongo("mongodb://localhost/shop").await?;
/// let carts = MongoSink::<String, Cart>::new(&database, Schema::new("carts", IdType::String))?;
/// let cache: Cache<String, Cart> = Cache::builder("carts")
///     .redis(&redis).source(carts.clone()).sink(carts).write_behind(WriteBehind::default()).build()?;
/// # Ok(()) }
/// ```
///
/// # When MongoDB is down
/// Calls fail with `ErrorKind::Unavailable` or `ErrorKind::Timeout` within the database's deadline; write-behind tries until they
/// succeed. A document that MongoDB refuses leaves the others of its batch alone.
pub struct MongoSink<K, V> {
    store: Store,
    collection: MongoCollection,
    removals: Removals,
    types: PhantomData<fn(K) -> V>,
}

impl<K, V> MongoSink<K, V> {
    /// The collection that `schema` declares. Does no I/O.
    ///
    /// # Errors
    /// `ErrorKind::Config` if the schema cannot work, or the database is not MongoDB.
    pub fn new(database: &Database, schema: Schema) -> Result<Self> {
        let store = database.store(Arc::new(schema))?;
        let collection = store.mongo().cloned().ok_or_else(|| {
            Error::new(ErrorKind::Config, "versions need MongoDB: use a DocumentSource over SQLite")
        })?;
        Ok(Self { store, collection, removals: Removals::LeaveNothing, types: PhantomData })
    }

    /// Has removals leave a trace, `{_id, _cv, _gone: date}`, for so long: longer than any process can be frozen and go on. Makes
    /// the index by which MongoDB sweeps the traces up, so it asks the server. Reads through this sink do not see traces;
    /// other programs that read the collection have to leave out what has a `_gone`.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming `keep_for` if it is under a second; `ErrorKind::Unavailable` or `ErrorKind::Timeout` if MongoDB
    /// does not answer; `ErrorKind::Conflict` or `ErrorKind::Source` if there is such an index with another time.
    pub async fn keep_traces(self, keep_for: Duration) -> Result<Self> {
        if keep_for < Duration::from_secs(1) {
            return Err(Error::invalid("keep_for", "must be at least a second"));
        }
        self.collection.ensure_sweeping(keep_for).await?;
        Ok(Self { removals: Removals::LeaveTraces, ..self })
    }
}

impl<K, V> Clone for MongoSink<K, V> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            collection: self.collection.clone(),
            removals: self.removals,
            types: PhantomData,
        }
    }
}

impl<K, V> fmt::Debug for MongoSink<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MongoSink").field(&self.store.schema().name()).finish()
    }
}

impl<K, V> Source<K, V> for MongoSink<K, V>
where
    K: Clone + TryInto<Id, Error: Into<Error>> + Send + Sync + 'static,
    V: DeserializeOwned + Send + Sync + 'static,
{
    async fn load(&self, key: &K) -> Result<Option<V>> {
        Ok(self.load_many(std::slice::from_ref(key)).await?.pop().flatten())
    }

    async fn load_many(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        let ids = keys.iter().map(id_of).collect::<Result<Vec<Id>>>()?;
        let found = self.store.get_many(&ids).await?;
        let is_there = |document: &&bson::RawDocumentBuf| !matches!(document.get(REMOVED), Ok(Some(_)));
        found.iter().map(|document| document.as_ref().filter(is_there).map(value_of).transpose()).collect()
    }
}

impl<K, V> Sink<K, V> for MongoSink<K, V>
where
    K: Clone + TryInto<Id, Error: Into<Error>> + Send + Sync + 'static,
    V: Serialize + Send + Sync + 'static,
{
    async fn put(&self, key: &K, value: &V) -> Result<()> {
        self.store.replace(&id_of(key)?, document_of(value)?, &Expect::Any, true).await.map(drop)
    }

    async fn remove(&self, key: &K) -> Result<()> {
        self.store.delete(&id_of(key)?, &Expect::Any).await.map(drop)
    }

    async fn apply(&self, writes: &[Write<K, V>]) -> Vec<Result<()>> {
        let mut outcomes: Vec<Result<()>> = Vec::with_capacity(writes.len());
        let mut sound = Vec::with_capacity(writes.len());
        for write in writes {
            outcomes.push(versioned(write).map(|write| sound.push(write)));
        }
        let accepted = outcomes.iter_mut().filter(|outcome| outcome.is_ok());
        for (outcome, applied) in accepted.zip(self.collection.apply(&sound, self.removals).await) {
            *outcome = applied;
        }
        outcomes
    }
}

fn versioned<K, V>(write: &Write<K, V>) -> Result<VersionedWrite>
where
    K: Clone + TryInto<Id, Error: Into<Error>>,
    V: Serialize,
{
    let version = i64::try_from(write.version)
        .map_err(|_| Error::new(ErrorKind::Invalid, "a version is larger than MongoDB's integers"))?;
    let document = write.value.as_ref().map(document_of).transpose()?;
    Ok(VersionedWrite { id: id_of(&write.key)?, document, version })
}
