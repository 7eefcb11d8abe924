//! Reads: each is one query of the primary.

use std::collections::HashMap;

use bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::{Cursor, options::FindOptions};

use super::{MongoCollection, collection::by_id, filter::to_query, keyset};
use crate::{
    Result,
    document::{
        Filter, Find, Id, Page,
        aggregate::Held,
        find::{Filling, order_of},
        path::is_within,
    },
};

impl MongoCollection {
    pub(crate) async fn get(&self, id: &Id) -> Result<Option<RawDocumentBuf>> {
        let find = self.driver().find_one(by_id(id)).max_time(self.server_limit());
        let found: Option<RawDocumentBuf> = self.call(async { find.await }).await?;
        // With a collation another id may be as good for the server. Its document is not the one that is cached by this.
        match found {
            Some(document) if self.schema().id_type().read_raw(&document)? != *id => Ok(None),
            found => Ok(found),
        }
    }

    /// The documents in the order of `ids`, in one query.
    pub(crate) async fn get_many(&self, ids: &[Id]) -> Result<Vec<Option<RawDocumentBuf>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<Bson> = ids.iter().map(Bson::from).collect();
        let options = FindOptions::builder()
            .max_time(self.server_limit())
            .batch_size(u32::try_from(ids.len()).ok())
            .build();
        let documents = self.find_all(doc! { "_id": { "$in": wanted } }, options).await?;
        let mut found = HashMap::with_capacity(documents.len());
        for document in documents {
            found.insert(self.schema().id_type().read_raw(&document)?, document);
        }
        // An id may be asked for twice.
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    pub(crate) async fn find(&self, find: &Find) -> Result<Page> {
        let keys = order_of(&find.sort);
        let behind = find.after.as_ref().map(|position| keyset::behind(&keys, position)).transpose()?;
        // One more than asked for tells whether there is a next page.
        let limit = i64::from(find.limit) + 1;
        let options = FindOptions::builder()
            .max_time(self.server_limit())
            .allow_disk_use(false)
            .sort(keyset::to_sort(&keys))
            .skip(find.offset)
            .limit(limit)
            .batch_size(u32::try_from(limit).unwrap_or(u32::MAX))
            .projection(find.fields.as_ref().map(|fields| {
                let sort = keys.iter().map(|key| key.path.as_str());
                to_projection(fields.iter().map(String::as_str).chain(sort))
            }))
            .build();
        let ask = |query| {
            let asked = self.driver().find(both(query, behind.as_ref())).with_options(options.clone());
            async move {
                let (mut cursor, mut page) = (asked.await?, Filling::new(find));
                while cursor.advance().await? && page.take(cursor.current().to_owned()) {}
                Ok(page)
            }
        };
        // The server sent the sort keys as well, which the position needs and the caller did not ask for.
        self.search(&find.filter, ask).await?.finish()
    }

    async fn find_all(&self, query: Document, options: FindOptions) -> Result<Vec<RawDocumentBuf>> {
        self.call(async { collect(self.driver().find(query).with_options(options).await?).await }).await
    }

    pub(crate) async fn count(&self, filter: &Filter) -> Result<u64> {
        let limit = self.server_limit();
        let ask = |query| self.driver().count_documents(query).max_time(limit).into_future();
        self.search(filter, ask).await
    }

    /// From the collection's metadata; can be off after a crash, and on a sharded cluster by documents in migration.
    pub(crate) async fn estimated_count(&self) -> Result<u64> {
        let count = self.driver().estimated_document_count().max_time(self.server_limit());
        self.call(async { count.await }).await
    }

    /// Runs a pipeline over the documents that match, within memory, and returns at most `limit` documents, and no more bytes
    /// than SQLite's may hold.
    pub(crate) async fn aggregate(
        &self,
        rows: &Filter,
        stages: &[Document],
        limit: u32,
    ) -> Result<Vec<RawDocumentBuf>> {
        let first = (*rows != Filter::All).then(|| doc! { "$match": to_query(rows) });
        let stages: Vec<Document> = first.into_iter().chain(stages.iter().cloned()).collect();
        self.aggregate_beside(&stages, limit, Held::default()).await
    }

    /// The same for a pipeline that holds something already.
    pub(super) async fn aggregate_beside(
        &self,
        stages: &[Document],
        limit: u32,
        mut held: Held,
    ) -> Result<Vec<RawDocumentBuf>> {
        let bounded = stages.iter().cloned().chain([doc! { "$limit": i64::from(limit) }]);
        let aggregate = self
            .driver()
            .aggregate(bounded)
            .max_time(self.server_limit())
            .allow_disk_use(false)
            .batch_size(limit)
            .with_type::<RawDocumentBuf>();
        let mut documents = Vec::new();
        self.call(async {
            let mut cursor = aggregate.await?;
            while cursor.advance().await? {
                let document = cursor.current();
                if let Err(too_large) = held.add(document.as_bytes().len()) {
                    return Ok(Err(too_large));
                }
                documents.push(document.to_owned());
            }
            Ok(Ok(()))
        })
        .await??;
        Ok(documents)
    }
}

/// What meets a query and, if there is a second, that too.
fn both(query: Document, other: Option<&Document>) -> Document {
    match other {
        None => query,
        Some(other) if query.is_empty() => other.clone(),
        Some(other) => doc! { "$and": [query, other.clone()] },
    }
}

async fn collect(mut cursor: Cursor<RawDocumentBuf>) -> mongodb::error::Result<Vec<RawDocumentBuf>> {
    let mut documents = Vec::new();
    while cursor.advance().await? {
        documents.push(cursor.current().to_owned());
    }
    Ok(documents)
}

/// An include-only projection. Where one path leads through another, the wider one is enough, and MongoDB refuses both.
fn to_projection<'a>(paths: impl Iterator<Item = &'a str>) -> Document {
    let paths: Vec<&str> = paths.collect();
    let is_covered = |path: &str| paths.iter().any(|wider| *wider != path && is_within(path, wider));
    paths.iter().filter(|path| !is_covered(path)).map(|path| ((*path).to_owned(), Bson::Int32(1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wider_path_stands_for_the_narrower_ones() {
        let projection = to_projection(["a.b", "c", "a", "ab", "_id"].into_iter());
        assert_eq!(projection, doc! { "c": 1, "a": 1, "ab": 1, "_id": 1 });
    }
}
