//! Cached lists: pages, counts and the answers of named queries. Every write to the collection forgets all of them.
//!
//! They stand in a cache of their own with one shard, so that one number tells whether anything was written since a list was
//! loaded: forgetting all of them is one short script, however many there are.

use std::{collections::BTreeMap, num::NonZeroU16, pin::Pin, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bson::{Bson, Document, RawDocumentBuf, doc};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    Collection, Filter, Find, Page, Position, Within,
    find::{write_order, write_part},
    raw,
};
use crate::{
    Cache, Error, ErrorKind, Result,
    cache::{CacheBuilder, CacheStats, Codec, Read, ReadOptions, Token},
};

/// What a near copy weighs beside its documents.
const NEAR_OVERHEAD_BYTES: usize = 256;
const TYPICAL_BYTES: u64 = 16 << 10;

/// What a list came to. Which fields are filled is a matter of what was asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// The documents, in order: of a page, or of a named query.
    pub items: Vec<RawDocumentBuf>,
    /// Where the next page begins; `None` on the last page.
    pub next: Option<Position>,
    /// How many documents match, of a count.
    pub count: Option<u64>,
}

impl From<Page> for Listing {
    fn from(Page { items, next }: Page) -> Self {
        Self { items, next, count: None }
    }
}

/// The cache of a collection's lists.
#[derive(Clone, Debug)]
pub(super) struct Lists(Cache<String, Listing>);

impl Lists {
    /// Of a builder that knows already what lists share with documents.
    pub(super) fn new(builder: CacheBuilder<String, Listing>, near_bytes: u64) -> Result<Self> {
        builder
            .codec(Listings)
            .shards(NonZeroU16::MIN)
            .near_bytes(near_bytes, TYPICAL_BYTES, near_weight)
            .build_with_codec()
            .map(Self)
    }

    /// The name of their cache, beside that of the documents.
    pub(super) fn name(collection: &str) -> String {
        format!("{collection}:lists")
    }

    pub(super) fn owes(&self) -> bool {
        self.0.shared().is_some_and(|shared| shared.owes())
    }

    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

impl Collection {
    /// Whether lists are cached: [`CollectionBuilder::cache_lists`](super::CollectionBuilder::cache_lists).
    pub fn caches_lists(&self) -> bool {
        self.lists.is_some()
    }

    /// As [`find`](Self::find), from the nearest place that has the page, if [lists are cached](super::CollectionBuilder::cache_lists).
    /// The value is always there. Without a reason it came from the database because lists are not cached.
    ///
    /// Cost: as a read of one document; what is loaded is one find.
    ///
    /// # Errors
    /// As [`find`](Self::find); `ErrorKind::Timeout` if the options' deadline passed first.
    pub async fn read_page(&self, find: &Find, options: &ReadOptions) -> Result<Read<Listing>> {
        let load = || {
            let (store, find) = (self.store().clone(), find.clone());
            async move { Ok(store.find(&find).await?.into()) }
        };
        self.read_list(|| page_key(find), options, load).await
    }

    /// As [`count`](Self::count), from the nearest place that has the number, if [lists are
    /// cached](super::CollectionBuilder::cache_lists). The value is always there, and has a [`count`](Listing::count).
    ///
    /// # Errors
    /// As [`read_page`](Self::read_page).
    pub async fn read_count(&self, filter: &Filter, options: &ReadOptions) -> Result<Read<Listing>> {
        let load = || {
            let (store, filter) = (self.store().clone(), filter.clone());
            async move { Ok(Listing { count: Some(store.count(&filter).await?), ..Listing::default() }) }
        };
        self.read_list(|| count_key(filter), options, load).await
    }

    pub(super) async fn read_list<L>(
        &self,
        key: impl FnOnce() -> Result<String>,
        options: &ReadOptions,
        load: impl Fn() -> L,
    ) -> Result<Read<Listing>>
    where
        L: Future<Output = Result<Listing>> + Send + 'static,
    {
        let Some(Lists(cache)) = &self.lists else { return Ok(uncached(load().await?)) };
        let key = key()?;
        if options.may_be_near()
            && let Some(read) = cache.near(&key)
        {
            return Ok(read);
        }
        let loading = load();
        let read = cache.read_with(&key, options, move || async move { loading.await.map(Some) }).await?;
        // Lists are never stored as absent. What says that is no list of ours.
        if read.value.is_some() { Ok(read) } else { Ok(uncached(load().await?)) }
    }

    /// Makes every tier forget every list of the collection, on all nodes; documents stay. What is written through this
    /// collection does that by itself. Cost: one round trip; nothing if lists are not cached.
    ///
    /// # Errors
    /// As [`Cache::clear`](crate::Cache::clear).
    pub async fn clear_lists(&self) -> Result<Vec<Token>> {
        match &self.lists {
            Some(Lists(cache)) => cache.clear().await,
            None => Ok(Vec::new()),
        }
    }

    /// A token for reading, on any node, lists as they are after what this node has written last, or later.
    pub fn lists_token(&self) -> Option<Token> {
        // They are all in one shard.
        self.lists.as_ref()?.0.token(&String::new())
    }

    /// Whether a read of a list would look at the token.
    pub fn concerns_lists(&self, token: &Token) -> bool {
        self.lists.as_ref().is_some_and(|Lists(cache)| cache.concerns(&String::new(), token))
    }

    /// What the cache of the lists has counted, beside [`stats`](Self::stats).
    pub fn list_stats(&self) -> Option<CacheStats> {
        self.lists.as_ref().map(|Lists(cache)| cache.stats())
    }

    /// Whether there is something, a document or the lists, of which Redis has not acknowledged yet that it is forgotten.
    pub(super) fn owes(&self) -> bool {
        let documents = self.cache().shared().is_some_and(|shared| shared.owes());
        documents || self.lists.as_ref().is_some_and(Lists::owes)
    }

    /// Of a write that goes on without its caller.
    pub(super) fn leave_lists_to_its_end(&self) {
        if let Some(Lists(cache)) = &self.lists {
            cache.leave_all_to_its_end();
        }
    }

    /// Carries a write or a purge out, and then forgets the lists, unless the database refused it; also if its caller goes
    /// away. Returns what came of it, and of forgetting.
    ///
    /// In a box from where it is made: each layer around it would else have room for all of it, more than once.
    pub(super) async fn then_clear_lists<T>(
        &self,
        work: Pin<Box<impl Future<Output = Result<T>>>>,
    ) -> Result<(T, Result<Vec<Token>>)> {
        match &self.lists {
            Some(Lists(cache)) => Box::pin(cache.clear_around(work)).await,
            None => Ok((work.await?, Ok(Vec::new()))),
        }
    }
}

impl Within<'_> {
    /// As [`aggregate`](Self::aggregate), from the nearest place that has the answer, if [lists are
    /// cached](super::CollectionBuilder::cache_lists). The value is always there.
    ///
    /// # Errors
    /// As [`aggregate`](Self::aggregate); `ErrorKind::Timeout` if the options' deadline passed first.
    pub async fn read_aggregate(
        &self,
        name: &str,
        values: &BTreeMap<String, Bson>,
        options: &ReadOptions,
    ) -> Result<Read<Listing>> {
        let stages = self.stages(name, values)?;
        let key = || query_key(self.rows, &stages);
        let load = || {
            let (collection, rows, stages) = (self.collection.clone(), self.rows.clone(), stages.clone());
            async move {
                let items = collection.within(&rows).run(&stages).await?;
                Ok(Listing { items, ..Listing::default() })
            }
        };
        self.collection.read_list(key, options, load).await
    }
}

/// What came straight from the database.
fn uncached(listing: Listing) -> Read<Listing> {
    Read::loaded(Some(Arc::new(listing)), Duration::ZERO, None)
}

fn page_key(find: &Find) -> Result<String> {
    let Find { filter, sort, after, offset, limit, fields } = find;
    let (mut conditions, mut order, mut shown) = (Vec::new(), Vec::new(), Vec::new());
    filter.write_canonical(&mut conditions)?;
    write_order(sort, &mut order);
    for path in fields.iter().flatten() {
        write_part(path.as_bytes(), &mut |bytes| shown.extend_from_slice(bytes));
    }
    let begins = [u8::from(after.is_some()), u8::from(fields.is_some())];
    let after = after.as_ref().map(Position::to_bytes).transpose()?.unwrap_or_default();
    let room = [offset.to_be_bytes(), u64::from(*limit).to_be_bytes()].concat();
    Ok(key_of(b"page", &[&conditions, &order, &begins, &after, &room, &shown]))
}

fn count_key(filter: &Filter) -> Result<String> {
    let mut conditions = Vec::new();
    filter.write_canonical(&mut conditions)?;
    Ok(key_of(b"count", &[&conditions]))
}

/// By what it does, not by its name: a deploy may declare another query of the same name.
fn query_key(rows: &Filter, stages: &[Document]) -> Result<String> {
    let mut conditions = Vec::new();
    rows.write_canonical(&mut conditions)?;
    let stages: Vec<Bson> = stages.iter().cloned().map(Bson::from).collect();
    let stages = bson::serialize_to_vec(&doc! { "s": stages }).map_err(|error| {
        Error::new(ErrorKind::Invalid, "a stage cannot be written as BSON").with_source(error)
    })?;
    Ok(key_of(b"query", &[&conditions, &stages]))
}

/// The key of a list: a digest of all that decides what it holds, whose documents the sender may touch among it. A digest that
/// nobody finds two lists for, or one sender could be shown another's.
fn key_of(kind: &[u8], parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in std::iter::once(&kind).chain(parts) {
        write_part(part, &mut |bytes| digest.update(bytes));
    }
    URL_SAFE_NO_PAD.encode(digest.finalize())
}

fn near_weight(listing: &Listing) -> u32 {
    let bytes = listing.items.iter().map(|item| item.as_bytes().len()).sum::<usize>() + NEAR_OVERHEAD_BYTES;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Lists in Redis: `has count 1 | count 8 | bytes of the position 4 | position | documents`, little-endian. The position is a
/// BSON document with the values under `p`, and no bytes on the last page; the documents are BSON, which says its own length.
struct Listings;

impl Codec<Listing> for Listings {
    fn id(&self) -> u8 {
        5
    }

    fn encode(&self, listing: &Listing) -> Result<Bytes> {
        write_listing(listing).map(Bytes::from)
    }

    fn decode(&self, bytes: &Bytes) -> Result<Listing> {
        read_listing(bytes).ok_or_else(|| Error::new(ErrorKind::Corrupt, "the stored list is damaged"))
    }
}

pub(super) fn write_listing(Listing { items, next, count }: &Listing) -> Result<Vec<u8>> {
    let mut bytes = vec![u8::from(count.is_some())];
    bytes.extend_from_slice(&count.unwrap_or_default().to_le_bytes());
    let position = next.as_ref().map(Position::to_bytes).transpose()?.unwrap_or_default();
    bytes.extend_from_slice(&(position.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&position);
    items.iter().for_each(|item| bytes.extend_from_slice(item.as_bytes()));
    Ok(bytes)
}

pub(super) fn read_listing(bytes: &[u8]) -> Option<Listing> {
    let (&[has_count], rest) = bytes.split_first_chunk()?;
    let (count, rest) = rest.split_first_chunk()?;
    let (position_bytes, rest) = rest.split_first_chunk()?;
    let (position, mut rest) = rest.split_at_checked(u32::from_le_bytes(*position_bytes) as usize)?;
    let next = match position {
        [] => None,
        position => {
            raw::validate(position).ok()?;
            Some(Position::from_bytes(position)?)
        }
    };
    let mut items = Vec::new();
    while let Some(length) = rest.first_chunk() {
        let (item, behind) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        raw::validate(item).ok()?;
        items.push(RawDocumentBuf::from_bytes(item.to_vec()).ok()?);
        rest = behind;
    }
    let count = match has_count {
        0 => None,
        1 => Some(u64::from_le_bytes(*count)),
        _ => return None,
    };
    rest.is_empty().then_some(Listing { items, next, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What nodes of different builds must agree on, as they share what is cached.
    #[test]
    fn the_layout_of_a_list_does_not_change() {
        let item = doc! { "_id": 7_i64 };
        let items = vec![RawDocumentBuf::try_from(&item).unwrap()];
        let listing = Listing { items, next: Some(Position(vec![7_i64.into()])), count: None };
        let position = bson::serialize_to_vec(&doc! { "p": [7_i64] }).unwrap();
        let mut expected = vec![0; 9];
        expected.extend_from_slice(&[position.len() as u8, 0, 0, 0]);
        expected.extend_from_slice(&position);
        expected.extend_from_slice(&bson::serialize_to_vec(&item).unwrap());
        assert_eq!(write_listing(&listing).unwrap(), expected);
        assert_eq!(read_listing(&expected), Some(listing));

        let count = Listing { count: Some(258), ..Listing::default() };
        let expected = [1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(write_listing(&count).unwrap(), expected);
        assert_eq!(read_listing(&expected), Some(count));
    }

    #[test]
    fn the_key_of_a_list_does_not_change() {
        let keys = [
            page_key(&Find::new(Filter::All, 20)),
            count_key(&Filter::All),
            query_key(&Filter::All, &[doc! { "$limit": 1 }]),
        ];
        let keys = keys.map(Result::unwrap);
        let expected = [
            "8OSQ4jKdBf4kXgOT7R7Yd1Ig-7B_NyUxIZFKydxp93I",
            "0LvJZJs5-Ts6a8s320nlIviNSG8S5ybWe1VuiMFbHNc",
            "9HV6T_n802ZJ7KBJ6dLT8qNtHYuYN8xXenOhUuDzdag",
        ];
        assert_eq!(keys, expected);
    }
}
