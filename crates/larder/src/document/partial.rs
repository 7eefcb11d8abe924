//! Declared parts of documents: answered from a cached whole document, or cached by themselves.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bson::{Bson, RawDocumentBuf};
use bytes::Bytes;

use super::{
    Collection, CompareOp, Filter, Find, Id, StoredDocument,
    collection::{document_tags, near_weight, read_bson, unless_tagged},
    ingest::excerpt as quoted,
    path::is_within,
    project::Projection,
    raw,
    store::Store,
    tag::TagTemplate,
};
use crate::{
    Cache, Error, ErrorKind, Result,
    cache::{CacheStats, Codec, Part, Read, ReadMode, ReadOptions, Route},
    redis::Kind,
    source::Source,
};

/// The most parts that one collection may declare: each makes an invalidation longer.
pub const MAX_PARTIALS: usize = 8;

const TYPICAL_BYTES: u64 = 512;

/// What a declaration says.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) fields: Vec<String>,
    pub(crate) kind: Kind,
}

impl Declared {
    /// # Errors
    /// `ErrorKind::Config` naming what cannot work.
    pub(crate) fn new(name: String, fields: Vec<String>) -> Result<Self> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Config, message).with_field("partial"));
        if fields.is_empty() || fields.iter().any(String::is_empty) {
            return wrong(format!("\"{name}\" needs at least one field, and no empty one"));
        }
        let kind = match Kind::part(&name) {
            Ok(kind) => kind,
            Err(error) => return wrong(error.message().to_owned()),
        };
        Ok(Self { name, fields, kind })
    }
}

/// Checks the declarations of one collection.
pub(super) fn declared(partials: Vec<(String, Vec<String>)>, tags: &[TagTemplate]) -> Result<Vec<Declared>> {
    let wrong = |message| Err(Error::new(ErrorKind::Config, message).with_field("partial"));
    if partials.len() > MAX_PARTIALS {
        return wrong(format!("at most {MAX_PARTIALS} parts"));
    }
    let names: BTreeSet<&String> = partials.iter().map(|(name, _)| name).collect();
    if names.len() < partials.len() {
        return wrong("two parts have one name".to_owned());
    }
    for (name, fields) in &partials {
        let has = |path: &str| fields.iter().any(|field| is_within(path, field));
        if let Some(path) = tags.iter().flat_map(TagTemplate::fields).find(|path| !has(path)) {
            return wrong(format!("\"{name}\" needs the field \"{path}\" too: documents are tagged by it"));
        }
    }
    partials.into_iter().map(|(name, fields)| Declared::new(name, fields)).collect()
}

/// One declared part of a collection's documents.
#[derive(Debug)]
pub(crate) struct Partial {
    pub(crate) name: String,
    fields: Vec<String>,
    projection: Arc<Projection>,
    cache: Cache<Id, Excerpt>,
}

impl Partial {
    pub(crate) fn new(
        declared: Declared,
        whole: &Cache<Id, StoredDocument>,
        store: &Store,
        near_bytes: u64,
        tags: Arc<[TagTemplate]>,
    ) -> Self {
        let projection = Arc::new(Projection::new(&declared.fields));
        let source = |route| {
            Arc::new(Excerpts {
                whole: whole.clone(),
                route,
                store: store.clone(),
                fields: declared.fields.clone(),
                projection: projection.clone(),
            })
        };
        let kept = tags.clone();
        let cache = whole.part(Part {
            kind: declared.kind,
            source: source(Route::Home),
            replica_source: source(Route::Replica),
            codec: Arc::new(BsonExcerpt),
            ttl_of: Arc::new(move |excerpt: &Excerpt| {
                unless_tagged(&kept, &excerpt.document).or(excerpt.ttl)
            }),
            tags_of: (!tags.is_empty()).then(|| {
                Arc::new(move |_: &Id, excerpt: &Excerpt| document_tags(&tags, &excerpt.document)) as _
            }),
            near_bytes,
            typical_bytes: TYPICAL_BYTES,
            weigher: Arc::new(|excerpt: &Excerpt| near_weight(&excerpt.document)),
        });
        Self { name: declared.name, fields: declared.fields, projection, cache }
    }

    /// Whether every one of these paths is in it.
    pub(crate) fn covers(&self, paths: &[String]) -> bool {
        let covered = |path: &String| path == "_id" || self.fields.iter().any(|field| is_within(path, field));
        paths.iter().all(covered)
    }

    pub(crate) fn width(&self) -> usize {
        self.fields.len()
    }

    /// A near whole document answers first, then the part's own entry, then whatever the source of the part finds. What is to
    /// come from the database whatever the cache has is asked for whole.
    pub(crate) async fn read(
        &self,
        whole: &Cache<Id, StoredDocument>,
        id: &Id,
        options: &ReadOptions,
    ) -> Result<Read<StoredDocument>> {
        if options.mode != ReadMode::Cached {
            return self.cut(&whole.read(id, options).await?);
        }
        if options.may_be_near()
            && let Some(read) = whole.near(id)
        {
            return self.cut(&read);
        }
        let read = self.cache.read(id, options).await?;
        let value = read.value.as_ref().map(|excerpt| excerpt.document.clone());
        Ok(read.with_value(value))
    }

    fn cut(&self, read: &Read<StoredDocument>) -> Result<Read<StoredDocument>> {
        let document = read.value.as_deref().map(|document| cut(document, &self.projection)).transpose()?;
        Ok(read.with_value(document.map(Arc::new)))
    }

    pub(crate) fn stats(&self) -> CacheStats {
        self.cache.stats()
    }

    /// Forgets this process's copies of documents whose ids match, where nobody else has any.
    pub(crate) fn forget_matching(&self, pattern: &str) {
        self.cache.forget_matching(pattern);
    }

    pub(crate) async fn close(&self) {
        self.cache.close().await;
    }
}

impl Collection {
    /// A declared part of one document: from the whole document if that is cached, else from the part's own entry, else from
    /// the database, which sends the part alone. It is forgotten with the document, and never fresher than what it was cut
    /// from. [`ReadMode::Refresh`](crate::cache::ReadMode) and `Bypass` read the whole document.
    ///
    /// Cost: nothing beyond the cut if the whole is near, one round trip to Redis if the part is there, three if only the
    /// whole is, or if the database is asked.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder::Result<()> {
    /// use bson::doc;
    /// use larder::{cache::ReadOptions, document::{Database, Id, IdType, Schema}};
    ///
    /// let products = Database::sqlite_in_memory()
    ///     .await?
    ///     .collection(Schema::new("products", IdType::Int).strict(false))
    ///     .partial("card", &["name"])
    ///     .build()?;
    /// products.insert(doc! { "_id": 7_i64, "name": "Teapot", "story": "a long one" }).await?;
    /// let card = products.read_partial("card", &Id::Int(7), &ReadOptions::default()).await?;
    /// assert_eq!(card.value.expect("it was just inserted").json(), r#"{"_id":7,"name":"Teapot"}"#.as_bytes());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming the part if it was not declared; else as [`get`](Self::get).
    pub async fn read_partial(
        &self,
        partial: &str,
        id: &Id,
        options: &ReadOptions,
    ) -> Result<Read<StoredDocument>> {
        self.check_id(id)?;
        let declared = self.partials.iter().find(|declared| declared.name == partial);
        let declared =
            declared.ok_or_else(|| Error::invalid(quoted(partial), "is not a part of this collection"))?;
        declared.read(self.cache(), id, options).await
    }

    /// The smallest declared part that has all of these fields.
    pub fn partial_with(&self, fields: &[String]) -> Option<&str> {
        let covering = self.partials.iter().filter(|partial| partial.covers(fields));
        covering.min_by_key(|partial| partial.width()).map(|partial| partial.name.as_str())
    }

    /// What the caches of the declared parts have counted, beside [`stats`](Self::stats).
    pub fn partial_stats(&self) -> Vec<(&str, CacheStats)> {
        self.partials.iter().map(|partial| (partial.name.as_str(), partial.stats())).collect()
    }
}

fn cut(document: &StoredDocument, projection: &Projection) -> Result<StoredDocument> {
    let malformed = |raw::Malformed| Error::new(ErrorKind::Corrupt, "the cached document is not BSON");
    StoredDocument::new(projection.apply(document.raw()).map_err(malformed)?)
}

/// A part of a document, and how long it may be kept if it was cut from a whole one.
struct Excerpt {
    document: Arc<StoredDocument>,
    ttl: Option<Duration>,
}

/// The source of a part: the whole document if it is cached, else the database, which sends the part alone.
struct Excerpts {
    whole: Cache<Id, StoredDocument>,
    /// Where the part is to stand.
    route: Route,
    store: Store,
    fields: Vec<String>,
    projection: Arc<Projection>,
}

impl Source<Id, Excerpt> for Excerpts {
    async fn load(&self, id: &Id) -> Result<Option<Excerpt>> {
        // The lease of the part was granted before this look, so an invalidation after it refuses the fill. One before it took
        // the whole as well, but only from the same shard: others, and the near tier, may not have heard of it yet.
        if let Ok(Some(read)) = self.whole.peek_to_share(id, self.route).await
            && let Some(whole) = &read.value
        {
            // It is no fresher than what it was cut from.
            let document = Arc::new(cut(whole, &self.projection)?);
            return Ok(Some(Excerpt { document, ttl: Some(read.ttl) }));
        }
        let filter = Filter::Compare { path: "_id".to_owned(), op: CompareOp::Eq, value: Bson::from(id) };
        let find = Find { fields: Some(self.fields.clone()), ..Find::new(filter, 1) };
        let found = self.store.find(&find).await?.items.pop();
        found.map(|raw| excerpt(raw, None)).transpose()
    }
}

fn excerpt(raw: RawDocumentBuf, ttl: Option<Duration>) -> Result<Excerpt> {
    Ok(Excerpt { document: Arc::new(StoredDocument::new(raw)?), ttl })
}

/// As whole documents are stored.
struct BsonExcerpt;

impl Codec<Excerpt> for BsonExcerpt {
    fn id(&self) -> u8 {
        4
    }
    fn encode(&self, excerpt: &Excerpt) -> Result<Bytes> {
        Ok(Bytes::copy_from_slice(excerpt.document.raw().as_bytes()))
    }
    fn decode(&self, bytes: &Bytes) -> Result<Excerpt> {
        Ok(Excerpt { document: Arc::new(read_bson(bytes)?), ttl: None })
    }
}
