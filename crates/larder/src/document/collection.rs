//! A cached collection: documents by id through the cache, queries and writes straight to the database, and every write
//! followed by the invalidation of what it touched.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use bson::{Bson, Document, RawBsonRef, RawDocumentBuf, oid::ObjectId};
use bytes::Bytes;
use futures_util::future::join_all;

use super::{
    Database, Expect, Filter, Find, Id, IdType, MergePatch, Page, Schema, StoredDocument, Written,
    ingest::excerpt,
    partial::{Partial, declared},
    store::Store,
    write::with_id,
};
use crate::{
    Cache, Clock, Error, ErrorKind, Policy, Result, SystemClock,
    cache::{CacheStats, Codec, Consistency, Explain, FAILOVER_WINDOW, Read, ReadOptions, Token},
    redis::Redis,
    source::Source,
};

/// The most ids one call may name.
pub const MAX_IDS: usize = 1_000;

/// The most documents a named pipeline may answer.
pub const MAX_AGGREGATED: u32 = 10_000;

/// What a near copy weighs beside its BSON: the JSON made from it, its tag, and the bookkeeping.
const NEAR_OVERHEAD_BYTES: usize = 256;
const TYPICAL_DOCUMENT_BYTES: u64 = 2 << 10;

/// Puts a [`Collection`] together; made by [`Database::collection`].
#[must_use]
pub struct CollectionBuilder {
    database: Database,
    schema: Schema,
    redis: Option<Redis>,
    policy: Policy,
    near_bytes: u64,
    version: u32,
    consistency: Consistency,
    failover_window: Duration,
    clock: Arc<dyn Clock>,
    partials: Vec<(String, Vec<String>)>,
}

impl fmt::Debug for CollectionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectionBuilder").field("schema", &self.schema.name()).finish_non_exhaustive()
    }
}

impl CollectionBuilder {
    pub(crate) fn new(database: Database, schema: Schema) -> Self {
        Self {
            database,
            schema,
            redis: None,
            policy: Policy::default(),
            near_bytes: 64 << 20,
            version: 1,
            consistency: Consistency::default(),
            failover_window: FAILOVER_WINDOW,
            clock: Arc::new(SystemClock),
            partials: Vec::new(),
        }
    }

    /// Shares cached documents with other nodes through this Redis. Without one they live in this process alone.
    pub fn redis(mut self, redis: &Redis) -> Self {
        self.redis = Some(redis.clone());
        self
    }

    /// The rules for cached documents. Default: [`Policy::default`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// About how much memory this process's own copies may take. Zero turns them off. Default: 64 MiB.
    pub fn near_bytes(mut self, bytes: u64) -> Self {
        self.near_bytes = bytes;
        self
    }

    /// The version in the keys; see [`CacheBuilder::version`](crate::cache::CacheBuilder::version). Default: 1.
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// How far the copies of different nodes may drift apart; all nodes must agree. Default: [`Consistency::default`].
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// For how long acknowledged invalidations are remembered against a failover; see
    /// [`CacheBuilder::failover_window`](crate::cache::CacheBuilder::failover_window). Default: 30 s.
    pub fn failover_window(mut self, window: Duration) -> Self {
        self.failover_window = window;
        self
    }

    /// Where time is read. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Declares a part of the documents that is worth caching by itself: [`Collection::read_partial`] answers it from a whole
    /// document that is cached, and else loads and keeps these fields, and `_id`, alone. At most
    /// [`MAX_PARTIALS`](crate::document::MAX_PARTIALS); they share [`near_bytes`](Self::near_bytes) with the whole documents
    /// in equal parts.
    ///
    /// An invalidation of a document takes its parts along, in the same script. All nodes must declare the same parts: a
    /// node that does not know of one leaves it in Redis until it expires. Raise the [`version`](Self::version) with them.
    pub fn partial(mut self, name: impl Into<String>, fields: &[&str]) -> Self {
        self.partials.push((name.into(), fields.iter().map(|field| (*field).to_owned()).collect()));
        self
    }

    /// Builds the collection. Does no I/O.
    ///
    /// # Errors
    /// `ErrorKind::Config` naming the setting or the part of the schema that cannot work.
    pub fn build(self) -> Result<Collection> {
        let name = self.schema.name().to_owned();
        let store = self.database.store(Arc::new(self.schema))?;
        let declared = declared(self.partials)?;
        let near_bytes = self.near_bytes / (declared.len() as u64 + 1);
        let mut cache = Cache::builder(name)
            .policy(self.policy)
            .source(Documents(store.clone()))
            .codec(BsonDocument)
            .parts(declared.iter().map(|partial| partial.kind.clone()).collect())
            .near_bytes(near_bytes, TYPICAL_DOCUMENT_BYTES, near_weight)
            .version(self.version)
            .consistency(self.consistency)
            .failover_window(self.failover_window)
            .shared_clock(self.clock);
        if let Some(redis) = &self.redis {
            cache = cache.redis(redis);
        }
        let cache = cache.build_with_codec()?;
        let partial = |declared| Partial::new(declared, &cache, &store, near_bytes);
        let partials = declared.into_iter().map(partial).collect();
        Ok(Collection { cache, store, partials })
    }
}

pub(super) fn near_weight(document: &StoredDocument) -> u32 {
    let bytes = document.raw().as_bytes().len() * 2 + NEAR_OVERHEAD_BYTES;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The cache's source: the collection's own database.
struct Documents(Store);

impl Source<Id, StoredDocument> for Documents {
    async fn load(&self, id: &Id) -> Result<Option<StoredDocument>> {
        self.0.get(id).await?.map(StoredDocument::new).transpose()
    }

    async fn load_many(&self, ids: &[Id]) -> Result<Vec<Option<StoredDocument>>> {
        let found = self.0.get_many(ids).await?;
        found.into_iter().map(|raw| raw.map(StoredDocument::new).transpose()).collect()
    }
}

/// Documents as raw BSON: exactly the bytes of the database.
struct BsonDocument;

impl Codec<StoredDocument> for BsonDocument {
    fn id(&self) -> u8 {
        4
    }
    fn encode(&self, document: &StoredDocument) -> Result<Bytes> {
        Ok(Bytes::copy_from_slice(document.raw().as_bytes()))
    }
    fn decode(&self, bytes: &Bytes) -> Result<StoredDocument> {
        read_bson(bytes)
    }
}

pub(super) fn read_bson(bytes: &Bytes) -> Result<StoredDocument> {
    StoredDocument::from_bytes(bytes.clone()).map_err(|error| error.context("the stored value"))
}

/// A document that was inserted.
#[derive(Clone, Debug)]
pub struct Inserted {
    /// Its id, made by us if it had none.
    pub id: Id,
    /// The document as it was stored.
    pub document: Arc<StoredDocument>,
}

/// What a put did.
#[derive(Clone, Debug)]
pub struct Put {
    /// The document as it is now.
    pub document: Arc<StoredDocument>,
    /// Whether there was none before.
    pub created: bool,
}

/// A collection in MongoDB or SQLite with its documents cached by id. Cheap to clone.
///
/// Reads by id go through the cache. Finds, counts and aggregations go to the database. A write goes to the database and
/// then invalidates what it touched, also when its outcome is unknown; when it returns, no later read of this node sees
/// the document as it was. If Redis could not be told, the write stands, and the invalidation is kept and sent again;
/// [`stats`](Collection::stats) counts what is owed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder::Result<()> {
/// use bson::doc;
/// use larder::document::{Database, Field, FieldType, Id, IdType, Schema};
///
/// let schema = Schema::new("products", IdType::Int).field(Field::new("name", FieldType::String));
/// let products = Database::sqlite_in_memory().await?.collection(schema).build()?;
/// products.insert(doc! { "_id": 7_i64, "name": "Teapot" }).await?;
/// let teapot = products.get(&Id::Int(7)).await?.expect("it was just inserted");
/// assert_eq!(teapot.json(), r#"{"_id":7,"name":"Teapot"}"#.as_bytes());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Collection {
    cache: Cache<Id, StoredDocument>,
    store: Store,
    pub(super) partials: Arc<[Partial]>,
}

impl Collection {
    /// What was declared.
    pub fn schema(&self) -> &Schema {
        self.store.schema()
    }

    /// One document, from the nearest place that has it.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming `_id` for an id of another kind than the collection's; `ErrorKind::Unavailable` or
    /// `ErrorKind::Timeout` if the database must be asked and does not answer.
    pub async fn get(&self, id: &Id) -> Result<Option<Arc<StoredDocument>>> {
        self.check_id(id)?;
        self.cache.get(id).await
    }

    /// [`get`](Self::get) with options, and with the answer's origin, age and freshness.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn read(&self, id: &Id, options: &ReadOptions) -> Result<Read<StoredDocument>> {
        self.check_id(id)?;
        self.cache.read(id, options).await
    }

    /// Several documents in the order of their ids; what is not cached comes with one query.
    ///
    /// # Errors
    /// As [`get`](Self::get); `ErrorKind::TooLarge` for more than [`MAX_IDS`] ids.
    pub async fn get_many(&self, ids: &[Id]) -> Result<Vec<Option<Arc<StoredDocument>>>> {
        if ids.len() > MAX_IDS {
            return Err(Error::new(ErrorKind::TooLarge, format!("at most {MAX_IDS} ids in one call")));
        }
        ids.iter().try_for_each(|id| self.check_id(id))?;
        self.cache.get_many(ids).await
    }

    /// One page of the documents that match, from the database.
    ///
    /// # Errors
    /// `ErrorKind::Unavailable` or `ErrorKind::Timeout` if the database does not answer in time.
    pub async fn find(&self, find: &Find) -> Result<Page> {
        self.store.find(find).await
    }

    /// How many documents match, exactly.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn count(&self, filter: &Filter) -> Result<u64> {
        self.store.count(filter).await
    }

    /// How many documents there are, without a look at each; may lag behind.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn estimated_count(&self) -> Result<u64> {
        self.store.estimated_count().await
    }

    /// Runs the declared pipeline of this name with these values for its variables.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming a variable that is missing, unknown or of another type, or the pipeline if there is none
    /// of this name, and if an expression cannot be computed, such as a division by zero; `ErrorKind::TooLarge` for more
    /// than [`MAX_AGGREGATED`] documents, or if the database would have to hold too much; else as [`find`](Self::find).
    pub async fn aggregate(
        &self,
        name: &str,
        values: &BTreeMap<String, Bson>,
    ) -> Result<Vec<RawDocumentBuf>> {
        let pipeline = self.schema().pipelines().iter().find(|pipeline| pipeline.name() == name);
        let pipeline =
            pipeline.ok_or_else(|| Error::invalid(excerpt(name), "is not a query of this collection"))?;
        let documents = self.store.aggregate(&pipeline.bind(values)?, MAX_AGGREGATED + 1).await?;
        if documents.len() > MAX_AGGREGATED as usize {
            let message = format!("the answer has more than {MAX_AGGREGATED} documents; match or limit more");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(documents)
    }

    /// Inserts a document. Without an `_id` it gets a new ObjectId, if that is the collection's kind.
    ///
    /// # Errors
    /// `ErrorKind::Conflict` if the id is taken; `ErrorKind::Invalid` naming `_id` if it is missing or of another kind, and, if
    /// the schema declares fields, naming what does not keep to it, see [`Schema::check`].
    pub async fn insert(&self, document: Document) -> Result<Inserted> {
        if !self.schema().fields().is_empty() {
            self.schema().check(&document)?;
        }
        let (id, raw) = self.identified(&document)?;
        let written = self.store.insert_many(vec![(id.clone(), raw.clone())]).await;
        self.forget(&[&id], touched(&written)).await;
        written?.pop().unwrap_or(Ok(()))?;
        Ok(Inserted { id, document: Arc::new(StoredDocument::new(raw)?) })
    }

    /// Inserts several documents and says for each, in their order, what became of it. One that fails leaves the others
    /// alone.
    ///
    /// # Errors
    /// Only for trouble with the database as a whole; some documents may have been inserted then.
    pub async fn insert_many(&self, documents: &[Document]) -> Result<Vec<Result<Id>>> {
        self.insert_identified(documents.iter().map(|document| self.identified(document))).await
    }

    /// [`insert_many`](Self::insert_many) for documents that are BSON already, as [`Schema::read_raw`] makes them.
    ///
    /// Cost: nothing is decoded, as long as `_id` comes first and has the collection's kind.
    ///
    /// # Errors
    /// As [`insert_many`](Self::insert_many).
    pub async fn insert_many_raw(&self, documents: Vec<RawDocumentBuf>) -> Result<Vec<Result<Id>>> {
        self.insert_identified(documents.into_iter().map(|document| self.identified_raw(document))).await
    }

    /// Inserts several documents, or puts each in the place of the one that has its id; says for each, in their order,
    /// what became of it. One that fails leaves the others alone. Of two with the same id the last one stays.
    ///
    /// Like every write here it is guarded: nothing older can be cached in between.
    ///
    /// Cost: with SQLite one transaction. With MongoDB one command for those that are new, then one for each that is there,
    /// several at a time. With Redis, a block before and an invalidation after, each one round trip for each shard.
    ///
    /// # Errors
    /// As [`insert_many`](Self::insert_many).
    /// # Cancel safety
    /// Dropping the future leaves some of the documents written, and all of them invalidated.
    pub async fn put_many_raw(&self, documents: Vec<RawDocumentBuf>) -> Result<Vec<Result<Id>>> {
        let (ids, sound) = apart(documents.into_iter().map(|document| self.identified_raw(document)));
        let known: Vec<Id> = sound.iter().map(|(id, _)| id.clone()).collect();
        let known: Vec<&Id> = known.iter().collect();
        let written = self.guarded(&known, self.store.put_many(sound)).await?;
        Ok(together(ids, written))
    }

    async fn insert_identified(
        &self,
        documents: impl ExactSizeIterator<Item = Result<(Id, RawDocumentBuf)>>,
    ) -> Result<Vec<Result<Id>>> {
        let (ids, sound) = apart(documents);
        let known: Vec<Id> = sound.iter().map(|(id, _)| id.clone()).collect();
        let written = self.store.insert_many(sound).await;
        self.forget(&known.iter().collect::<Vec<_>>(), touched(&written)).await;
        Ok(together(ids, written?))
    }

    /// Replaces the document `id`.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` if the document has another `_id`; as [`find`](Self::find) for the database.
    pub async fn replace(&self, id: &Id, document: Document, expect: &Expect) -> Result<Written> {
        self.check_id(id)?;
        let replaced = self.guarded(&[id], self.store.replace(id, document, expect, false)).await;
        Ok(replaced?.written)
    }

    /// Replaces the document `id`, or makes it.
    ///
    /// # Errors
    /// As [`replace`](Self::replace).
    pub async fn put(&self, id: &Id, document: Document) -> Result<Put> {
        self.check_id(id)?;
        let replaced = self.guarded(&[id], self.store.replace(id, document, &Expect::Any, true)).await;
        let replaced = replaced?;
        match replaced.written {
            Written::Done(document) => Ok(Put { document, created: replaced.inserted }),
            Written::Missing | Written::Changed => Err(Error::new(
                ErrorKind::Conflict,
                "the document was removed and made again meanwhile; try again",
            )),
        }
    }

    /// Merges a patch into the document `id`.
    ///
    /// # Errors
    /// As [`replace`](Self::replace); `ErrorKind::Invalid` naming a required field that the patched document would lack, unless it
    /// lacked one before.
    pub async fn patch(&self, id: &Id, patch: &MergePatch, expect: &Expect) -> Result<Written> {
        self.check_id(id)?;
        self.guarded(&[id], self.store.patch(id, patch, expect)).await
    }

    /// Deletes the document `id` and returns it as it was.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn delete(&self, id: &Id, expect: &Expect) -> Result<Written> {
        self.check_id(id)?;
        self.guarded(&[id], self.store.delete(id, expect)).await
    }

    /// Makes every tier forget the document `id`, after a write that did not go through this collection.
    ///
    /// # Errors
    /// As [`Cache::invalidate`].
    pub async fn invalidate(&self, id: &Id) -> Result<Option<Token>> {
        self.check_id(id)?;
        self.cache.invalidate(id).await
    }

    /// A token for reading, on any node, what this node has written to this document last, or anything later.
    pub fn token(&self, id: &Id) -> Option<Token> {
        self.cache.token(id)
    }

    /// Makes the indexes that the declared filters and sorts need. Safe to repeat.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn ensure_indexes(&self) -> Result<()> {
        self.store.ensure_indexes().await
    }

    /// What each tier has of a document.
    pub async fn explain(&self, id: &Id) -> Explain {
        self.cache.explain(id).await
    }

    /// What its cache has counted.
    pub fn stats(&self) -> CacheStats {
        self.cache.stats()
    }

    /// Waits until the loads under way are done. For an orderly shutdown.
    pub async fn close(&self) {
        self.cache.close().await;
        join_all(self.partials.iter().map(Partial::close)).await;
    }

    pub(super) fn cache(&self) -> &Cache<Id, StoredDocument> {
        &self.cache
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn check_id(&self, id: &Id) -> Result<()> {
        let wanted = self.schema().id_type();
        if id.id_type() == wanted {
            return Ok(());
        }
        Err(Error::invalid("_id", format!("must be of type {}", wanted.name())))
    }

    fn identified(&self, document: &Document) -> Result<(Id, RawDocumentBuf)> {
        let id = match (document.get("_id"), self.schema().id_type()) {
            (Some(value), id_type) => id_type.read(value)?,
            (None, IdType::ObjectId) => Id::ObjectId(ObjectId::new()),
            (None, id_type) => {
                return Err(Error::invalid(
                    "_id",
                    format!("is required: ids of type {} are yours to choose", id_type.name()),
                ));
            }
        };
        let mut rest = document.clone();
        rest.insert("_id", Bson::from(&id));
        let raw = with_id(&id, &rest)?;
        Ok((id, raw))
    }

    fn identified_raw(&self, raw: RawDocumentBuf) -> Result<(Id, RawDocumentBuf)> {
        let first =
            raw.iter().next().transpose().map_err(|_| Error::new(ErrorKind::Invalid, "is not BSON"))?;
        let id = match (first, self.schema().id_type()) {
            (Some((key, RawBsonRef::ObjectId(id))), IdType::ObjectId) if key == "_id" => Id::ObjectId(id),
            (Some((key, RawBsonRef::Int64(number))), IdType::Int) if key == "_id" => Id::Int(number),
            (Some((key, RawBsonRef::String(text))), IdType::String) if key == "_id" => Id::string(text)?,
            // Missing, elsewhere, or of a type that is read as the collection's kind.
            _ => {
                let document =
                    Document::try_from(raw).map_err(|_| Error::new(ErrorKind::Invalid, "is not BSON"))?;
                return self.identified(&document);
            }
        };
        Ok((id, raw))
    }

    /// Writes while nothing can fill the documents, and invalidates them. That Redis could not be told is no failure of the
    /// write: the cache keeps what it owes, and counts it.
    async fn guarded<T>(&self, ids: &[&Id], write: impl Future<Output = Result<T>>) -> Result<T> {
        let (written, invalidated) = self.cache.guarded_write(ids, write).await?;
        if let Err(error) = invalidated {
            tracing::warn!(collection = self.cache.name(), %error, "A write is done, but Redis could not be told.");
        }
        Ok(written)
    }

    /// Invalidates after a write. That Redis could not be told is no failure of the write: the cache keeps what it owes,
    /// and counts it.
    async fn forget(&self, ids: &[&Id], touched: bool) {
        if touched && let Err(error) = self.cache.invalidate_many(ids).await {
            tracing::warn!(collection = self.cache.name(), %error, "A write is done, but Redis could not be told.");
        }
    }
}

/// Documents that are to be written, with their ids.
type Identified = Vec<(Id, RawDocumentBuf)>;

/// For each document its id, or why it cannot be written; and those that can.
fn apart(
    documents: impl ExactSizeIterator<Item = Result<(Id, RawDocumentBuf)>>,
) -> (Vec<Result<Id>>, Identified) {
    let mut sound = Vec::with_capacity(documents.len());
    let ids = documents.map(|document| {
        document.map(|(id, raw)| {
            sound.push((id.clone(), raw));
            id
        })
    });
    (ids.collect(), sound)
}

/// What became of all documents, from what became of those that were written.
fn together(ids: Vec<Result<Id>>, written: Vec<Result<()>>) -> Vec<Result<Id>> {
    let mut written = written.into_iter();
    let outcome = |id: Result<Id>| id.and_then(|id| written.next().unwrap_or(Ok(())).map(|()| id));
    ids.into_iter().map(outcome).collect()
}

/// Whether a write may have changed something: it did, or nobody knows.
fn touched<T>(written: &Result<T>) -> bool {
    match written {
        Ok(_) => true,
        Err(error) => matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable),
    }
}
