//! A cached collection: documents by id through the cache, queries and writes straight to the database, and every write
//! followed by the invalidation of what it touched.

use std::{borrow::Borrow, collections::BTreeMap, fmt, hash::Hash, sync::Arc, time::Duration};

use bson::{Bson, RawDocumentBuf};
use bytes::Bytes;
use futures_util::future::join_all;

use super::{
    CollectionOptions, Database, Filter, Find, Id, IndexedFields, Page, Schema, StoredDocument,
    lists::Lists,
    partial::{Partial, declared},
    store::Store,
    tag::{TagTemplate, tags},
};
use crate::{
    Cache, Clock, Error, ErrorKind, Policy, Result, SystemClock,
    cache::{
        CacheBuilder, CacheStats, Codec, Consistency, Explain, FAILOVER_WINDOW, Read, ReadOptions, Token,
    },
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
    hot_replicas: u16,
    clock: Arc<dyn Clock>,
    partials: Vec<(String, Vec<String>)>,
    tags: Vec<String>,
    writes_through: bool,
    lists: Option<Policy>,
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
            hot_replicas: 1,
            clock: Arc::new(SystemClock),
            partials: Vec::new(),
            tags: Vec::new(),
            writes_through: false,
            lists: None,
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

    /// Leaves in the cache what a write of one document made of it (write-through): a read that follows is a hit. Otherwise a
    /// write forgets the document, and the next read loads it (write-around).
    ///
    /// That is for [`insert`](Collection::insert), [`replace`](Collection::replace), [`put`](Collection::put) and
    /// [`patch`](Collection::patch); a [`delete`](Collection::delete) leaves that the document is gone, if the policy caches
    /// that. Writes of many documents go around the cache in either case. The rules are those of
    /// [`Cache::put_with`](crate::Cache::put_with): nothing is left if anybody else wrote or invalidated the document meanwhile, or if it is not
    /// known what the database has. Cost: two round trips to Redis; an `insert` around the cache needs one.
    ///
    /// Under a [watch](crate::document::Watch) the change comes back from the database a moment later and is forgotten like any
    /// other: what was left serves the reads until then. Writes cannot go behind for documents: what a write answers (whether
    /// the id is taken, whether the document is still as expected, what a patch made of it) only the database knows.
    pub fn write_through(mut self) -> Self {
        self.writes_through = true;
        self
    }

    /// Caches lists too: [pages](Collection::read_page), [counts](Collection::read_count) and the answers of [named
    /// queries](crate::document::Within::read_aggregate), each for what decides it, among that the documents that its sender may
    /// touch. Every write through this collection, every purge and every change that a [watch](crate::document::Watch) hears of
    /// forgets all of its lists, so they never show less than was acknowledged; by the rules of documents elsewhere, the
    /// [consistency](Self::consistency) among them. Default: lists are asked of the database each time.
    ///
    /// That suits collections that are read much more often than written. Cost: one more round trip for each write, three for
    /// a list that is loaded again, and one more connection to Redis, which hears of the writes of other nodes. The lists take a
    /// part of [`near_bytes`](Self::near_bytes) as large as that of the documents, and stand in one shard.
    ///
    /// What is written past Larder, with no watch to tell of it, shows when the policy's time is up. That is so too if a process
    /// ends between a write and what it would tell of it: unlike a document, lists are not blocked before a write. A poll of a field
    /// ([`updated_at`](crate::document::WatchBuilder::updated_at)) does not hear of deletions.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder::Result<()> {
    /// use std::time::Duration;
    /// use bson::doc;
    /// use larder::{Policy, cache::{ReadOptions, Served}, document::{Database, Filter, Find, IdType, Schema}};
    ///
    /// let products = Database::sqlite_in_memory()
    ///     .await?
    ///     .collection(Schema::new("products", IdType::Int).strict(false))
    ///     .cache_lists(Policy::ttl(Duration::from_secs(60)))
    ///     .build()?;
    /// let (find, options) = (Find::new(Filter::All, 20), ReadOptions::default());
    /// assert_eq!(products.read_page(&find, &options).await?.served, Served::Source);
    /// assert_eq!(products.read_page(&find, &options).await?.served, Served::Near);
    /// products.insert(doc! { "_id": 7_i64 }).await?;
    /// let page = products.read_page(&find, &options).await?;
    /// assert_eq!((page.served, page.value.expect("is always there").items.len()), (Served::Source, 1));
    /// # Ok(()) }
    /// ```
    pub fn cache_lists(mut self, policy: Policy) -> Self {
        self.lists = Some(policy);
        self
    }

    /// In how many shards a hot document may stand; see [`CacheBuilder::hot_replicas`](crate::cache::CacheBuilder::hot_replicas).
    /// Default: 1.
    pub fn hot_replicas(mut self, shards: u16) -> Self {
        self.hot_replicas = shards;
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

    /// Tags that documents get from their fields: `category:{category}`, `brand:{brand.name}`. One purge of a tag makes every
    /// tier forget all of its documents, and their [parts](Self::partial), see [`invalidate_tag`](Collection::invalidate_tag).
    ///
    /// In braces stand `_id` or declared fields of type string, int, bool or objectId, or arrays of them. An array gives a tag
    /// for each element, a field without a value none. A document is cached with at most
    /// [`MAX_DOCUMENT_TAGS`](crate::document::MAX_DOCUMENT_TAGS) of these; one with more is read from the database each time.
    /// The fields must be in every declared part, for parts are purged by what they hold.
    ///
    /// Take fields with few values. Beside Redis the first use of a tag in a shard costs this node one round trip, and it knows
    /// 10,000 tags of a shard at a time: one more, and its own copies of that shard are forgotten.
    ///
    /// What is cached already keeps the tags it has: raise the [`version`](Self::version), or clear the cache, when these
    /// change.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder::Result<()> {
    /// use bson::doc;
    /// use larder::{cache::{ReadOptions, Served}, document::{Database, Field, FieldType, Id, IdType, Schema}};
    ///
    /// let schema = Schema::new("products", IdType::Int).field(Field::new("category", FieldType::String));
    /// let products = Database::sqlite_in_memory().await?.collection(schema).tags(&["category:{category}"]).build()?;
    /// products.insert(doc! { "_id": 7_i64, "category": "tea" }).await?;
    /// products.get(&Id::Int(7)).await?;
    /// products.invalidate_tag("category:tea").await?;
    /// let read = products.read(&Id::Int(7), &ReadOptions::default()).await?;
    /// assert_eq!(read.served, Served::Source);
    /// # Ok(()) }
    /// ```
    pub fn tags(mut self, templates: &[&str]) -> Self {
        self.tags.extend(templates.iter().map(|&template| template.to_owned()));
        self
    }

    /// Builds the collection. Does no I/O.
    ///
    /// # Errors
    /// `ErrorKind::Config` naming the setting or the part of the schema that cannot work.
    pub fn build(mut self) -> Result<Collection> {
        let name = self.schema.name().to_owned();
        let templates = self
            .tags
            .iter()
            .map(|template| TagTemplate::new(template, &self.schema))
            .collect::<Result<_>>()?;
        let templates: Arc<[TagTemplate]> = templates;
        let declared = declared(std::mem::take(&mut self.partials), &templates)?;
        let near_bytes = self.near_bytes / (declared.len() as u64 + 1 + u64::from(self.lists.is_some()));
        let lists = self.lists.take().map(|policy| {
            let builder = self.shared_by_all(Cache::builder(Lists::name(&name)));
            Lists::new(builder.policy(policy), near_bytes).map_err(|error| error.context("lists"))
        });
        let mut cache = self.shared_by_all(Cache::builder(name));
        let store = self.database.store(Arc::new(self.schema))?;
        cache = cache
            .policy(self.policy)
            .source(Documents(store.clone()))
            .codec(BsonDocument)
            .parts(declared.iter().map(|partial| partial.kind.clone()).collect())
            .near_bytes(near_bytes, TYPICAL_DOCUMENT_BYTES, near_weight)
            .hot_replicas(self.hot_replicas);
        if !templates.is_empty() {
            let (tagged, kept) = (templates.clone(), templates.clone());
            cache = cache
                .tags(move |_, document| document_tags(&tagged, document))
                .ttl_from(move |document| unless_tagged(&kept, document));
        }
        let cache = cache.build_with_codec()?;
        let partial = |declared| Partial::new(declared, &cache, &store, near_bytes, templates.clone());
        let partials = declared.into_iter().map(partial).collect();
        let lists = lists.transpose()?;
        Ok(Collection { cache, store, partials, lists, writes_through: self.writes_through })
    }

    /// What holds for documents and lists alike.
    fn shared_by_all<K, V>(&self, cache: CacheBuilder<K, V>) -> CacheBuilder<K, V>
    where
        K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
        V: Send + Sync + 'static,
    {
        let cache = cache
            .version(self.version)
            .consistency(self.consistency)
            .failover_window(self.failover_window)
            .shared_clock(self.clock.clone());
        match &self.redis {
            Some(redis) => cache.redis(redis),
            None => cache,
        }
    }
}

pub(super) fn near_weight(document: &StoredDocument) -> u32 {
    let bytes = document.raw().as_bytes().len() * 2 + NEAR_OVERHEAD_BYTES;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What a document is tagged with. Nothing, if it cannot be: then it is not cached either.
pub(super) fn document_tags(templates: &[TagTemplate], document: &StoredDocument) -> Vec<String> {
    tags(templates, document.raw().as_bytes()).unwrap_or_default()
}

/// No lifetime at all for a document that cannot be tagged.
pub(super) fn unless_tagged(templates: &[TagTemplate], document: &StoredDocument) -> Option<Duration> {
    tags(templates, document.raw().as_bytes()).is_err().then_some(Duration::ZERO)
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
/// Reads by id go through the cache. Finds, counts and aggregations go to the database, unless [lists are
/// cached](CollectionBuilder::cache_lists) and they are asked for by `read_…`. A write goes to the database and
/// then invalidates what it touched (or leaves it, with [`write_through`](CollectionBuilder::write_through)), also when
/// its outcome is unknown; when it returns, no later read of this node sees the document as it was. If Redis could not
/// be told, the write stands, and the invalidation is kept and sent again; [`stats`](Collection::stats) counts what is
/// owed.
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
    pub(super) lists: Option<Lists>,
    pub(super) writes_through: bool,
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
        self.check_ids(ids)?;
        self.cache.get_many(ids).await
    }

    /// [`get_many`](Self::get_many) with options for all of them, and with each answer's origin, age and freshness.
    ///
    /// # Errors
    /// As [`get_many`](Self::get_many).
    pub async fn read_many(&self, ids: &[Id], options: &ReadOptions) -> Result<Vec<Read<StoredDocument>>> {
        self.check_ids(ids)?;
        self.cache.read_many(ids, options).await
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
        self.within(&Filter::All).aggregate(name, values).await
    }

    /// Makes every tier forget the document `id`, after a write that did not go through this collection.
    ///
    /// # Errors
    /// As [`Cache::invalidate`].
    pub async fn invalidate(&self, id: &Id) -> Result<Option<Token>> {
        self.check_id(id)?;
        let (token, lists) = self.then_clear_lists(Box::pin(self.cache.invalidate(id))).await?;
        lists.map(|_| token)
    }

    /// A token for reading, on any node, what this node has written to this document last, or anything later, unless
    /// that is [owed](Self::is_owed).
    pub fn token(&self, id: &Id) -> Option<Token> {
        self.cache.token(id)
    }

    /// Whether Redis has not been told yet of what this node has written to this document, or to any if lists are cached. Until it
    /// has, other nodes may serve what was there before, whatever token they are asked with. Asks nobody.
    pub fn is_owed(&self, id: &Id) -> bool {
        self.cache.is_owed(id) || self.lists.as_ref().is_some_and(Lists::owes)
    }

    /// Makes the indexes that the declared filters and sorts need. Safe to repeat.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn ensure_indexes(&self) -> Result<()> {
        self.store.ensure_indexes().await
    }

    /// The fields that the indexes of the collection begin with: one question to MongoDB, none to SQLite, where the first
    /// find makes the indexes of the declared fields. Says whether an index [carries](IndexedFields::lacks) a find. Only
    /// indexes that hold every document count: no sparse, partial or hidden ones, and none with a collation.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn indexed_fields(&self) -> Result<IndexedFields> {
        self.store.indexed_fields().await
    }

    /// What the database itself has been told of the collection. One question to MongoDB, none to SQLite, which takes no such
    /// options.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn options(&self) -> Result<CollectionOptions> {
        self.store.options().await
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
        if let Some(lists) = &self.lists {
            lists.close().await;
        }
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

    pub(super) fn check_ids<I: Borrow<Id>>(&self, ids: &[I]) -> Result<()> {
        if ids.len() > MAX_IDS {
            return Err(Error::new(ErrorKind::TooLarge, format!("at most {MAX_IDS} ids in one call")));
        }
        ids.iter().try_for_each(|id| self.check_id(id.borrow()))
    }
}
