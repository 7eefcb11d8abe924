//! Writes to a collection: to its database, and then to what the cache knows of it.

use std::sync::Arc;

use bson::{Bson, Document, RawBsonRef, RawDocumentBuf, Timestamp, oid::ObjectId};

use crate::{
    Cache, Error, ErrorKind, Result,
    document::{
        Collection, Expect, Filter, Id, IdType, Inserted, MergePatch, Put, StoredDocument, Written,
        raw::Malformed, write::with_id,
    },
};

impl Collection {
    /// Inserts a document. Without an `_id` it gets a new ObjectId, if that is the collection's kind.
    ///
    /// # Errors
    /// `ErrorKind::Conflict` if the id is taken; `ErrorKind::Invalid` naming `_id` if it is missing or of another kind, and, if
    /// the schema declares fields, naming what does not keep to it, see [`Schema::check`](crate::document::Schema::check).
    ///
    /// # Cancel safety
    /// Once polled, the write goes on to its end, also if the future is dropped. So does every write here.
    pub async fn insert(&self, document: Document) -> Result<Inserted> {
        let (id, raw) = self.checked(&document)?;
        let document = Arc::new(StoredDocument::new(raw.clone())?);
        let (store, alone) = (self.store().clone(), vec![(id.clone(), raw)]);
        let insert = async move {
            let mut outcomes = store.insert_many(alone).await?;
            outcomes.pop().unwrap_or(Ok(()))
        };
        if self.writes_through {
            let left = document.clone();
            self.through(&id, insert, move |()| left_by(&left)).await?;
        } else {
            self.around(vec![id.clone()], insert).await?;
        }
        Ok(Inserted { id, document })
    }

    /// Inserts several documents and says for each, in their order, what became of it: each by the rules of
    /// [`insert`](Self::insert). One that fails leaves the others alone.
    ///
    /// # Errors
    /// Only for trouble with the database as a whole; some documents may have been inserted then.
    ///
    /// # Cancel safety
    /// As [`insert`](Self::insert).
    pub async fn insert_many(&self, documents: &[Document]) -> Result<Vec<Result<Id>>> {
        self.insert_identified(documents.iter().map(|document| self.checked(document))).await
    }

    /// [`insert_many`](Self::insert_many) for documents that are BSON already, as
    /// [`Schema::read_raw`](crate::document::Schema::read_raw) makes them.
    ///
    /// Cost: what is sent to the database are the given bytes, as long as `_id` comes first and has the collection's kind. If
    /// the schema declares fields, each document is checked where it lies.
    ///
    /// # Errors
    /// As [`insert_many`](Self::insert_many).
    ///
    /// # Cancel safety
    /// As [`insert`](Self::insert).
    pub async fn insert_many_raw(&self, documents: Vec<RawDocumentBuf>) -> Result<Vec<Result<Id>>> {
        self.insert_identified(documents.into_iter().map(|document| self.checked_raw(document))).await
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
    ///
    /// # Cancel safety
    /// As [`insert`](Self::insert).
    pub async fn put_many_raw(&self, documents: Vec<RawDocumentBuf>) -> Result<Vec<Result<Id>>> {
        let (ids, sound) = apart(documents.into_iter().map(|document| self.checked_raw(document)));
        let (store, known) = (self.store().clone(), known(&sound));
        let written = self.guarded(known, async move { store.put_many(sound).await }).await?;
        Ok(together(ids, written))
    }

    async fn insert_identified(
        &self,
        documents: impl ExactSizeIterator<Item = Result<(Id, RawDocumentBuf)>>,
    ) -> Result<Vec<Result<Id>>> {
        let (ids, sound) = apart(documents);
        let (store, known) = (self.store().clone(), known(&sound));
        let written = self.around(known, async move { store.insert_many(sound).await }).await?;
        Ok(together(ids, written))
    }

    /// Replaces the document `id`.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` if the document has another `_id`, or naming what does not keep to the schema, as for
    /// [`insert`](Self::insert); as [`find`](Self::find) for the database.
    pub async fn replace(&self, id: &Id, document: Document, expect: &Expect) -> Result<Written> {
        self.within(&Filter::All).replace(id, document, expect).await
    }

    /// Replaces the document `id`, or makes it.
    ///
    /// # Errors
    /// As [`replace`](Self::replace).
    pub async fn put(&self, id: &Id, document: Document) -> Result<Put> {
        self.within(&Filter::All).put(id, document).await
    }

    /// Merges a patch into the document `id`.
    ///
    /// # Errors
    /// As [`replace`](Self::replace); `ErrorKind::Invalid` naming a required field that the patched document would lack, unless it
    /// lacked one before.
    pub async fn patch(&self, id: &Id, patch: &MergePatch, expect: &Expect) -> Result<Written> {
        self.within(&Filter::All).patch(id, patch, expect).await
    }

    /// Deletes the document `id` and returns it as it was.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn delete(&self, id: &Id, expect: &Expect) -> Result<Written> {
        self.within(&Filter::All).delete(id, expect).await
    }

    /// Whether the document keeps to the declared fields, if there are any.
    pub(super) fn check(&self, document: &Document) -> Result<()> {
        if self.schema().fields().is_empty() { Ok(()) } else { self.schema().check(document) }
    }

    fn checked(&self, document: &Document) -> Result<(Id, RawDocumentBuf)> {
        self.check(document)?;
        self.identified(document)
    }

    fn checked_raw(&self, raw: RawDocumentBuf) -> Result<(Id, RawDocumentBuf)> {
        if !self.schema().fields().is_empty() {
            self.schema().check_raw(&raw)?;
        }
        self.identified_raw(raw)
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
        let first = raw.iter().next().transpose().map_err(|_| Malformed.refused())?;
        let id = match (first, self.schema().id_type()) {
            (Some((key, RawBsonRef::ObjectId(id))), IdType::ObjectId) if key == "_id" => Id::ObjectId(id),
            (Some((key, RawBsonRef::Int64(number))), IdType::Int) if key == "_id" => Id::Int(number),
            (Some((key, RawBsonRef::String(text))), IdType::String) if key == "_id" => Id::string(text)?,
            // Missing, elsewhere, or of a type that is read as the collection's kind.
            _ => return self.identified(&decoded(&raw)?),
        };
        Ok((id, raw))
    }

    /// A write of one document by the collection's mode.
    pub(super) async fn written<T: Send + 'static>(
        &self,
        id: &Id,
        write: impl Future<Output = Result<T>> + Send + 'static,
        written: impl FnOnce(&T) -> &Written + Send + 'static,
    ) -> Result<T> {
        if !self.writes_through {
            return self.guarded(vec![id.clone()], write).await;
        }
        let left = move |done: &T| match written(done) {
            Written::Done(document) => left_by(document),
            Written::Missing | Written::Changed | Written::Outside => None,
        };
        self.through(id, write, left).await
    }

    /// Writes while nothing can fill the document, and leaves what `left` says. As in [`guarded`](Self::guarded), Redis has no
    /// say in whether the write is done.
    pub(super) async fn through<T: Send + 'static>(
        &self,
        id: &Id,
        write: impl Future<Output = Result<T>> + Send + 'static,
        left: impl FnOnce(&T) -> Option<Option<Arc<StoredDocument>>> + Send + 'static,
    ) -> Result<T> {
        let id = id.clone();
        self.to_its_end(vec![id.clone()], |cache, _| async move {
            let write = async {
                let done = write.await?;
                let left = left(&done);
                Ok((done, left))
            };
            let (done, told) = cache.write_through(&id, write).await?;
            Ok((done, told.map(drop)))
        })
        .await
    }

    /// Writes while nothing can fill the documents, and invalidates them. That Redis could not be told is no failure of the
    /// write: the cache keeps what it owes, and counts it.
    pub(super) async fn guarded<T: Send + 'static>(
        &self,
        ids: Vec<Id>,
        write: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.to_its_end(ids, |cache, ids| async move {
            let (done, told) = cache.guarded_write(&ids.iter().collect::<Vec<_>>(), write).await?;
            Ok((done, told.map(drop)))
        })
        .await
    }

    /// Writes, and invalidates the documents unless the database refused. As in [`guarded`](Self::guarded), Redis has no say in
    /// whether the write is done.
    async fn around<T: Send + 'static>(
        &self,
        ids: Vec<Id>,
        write: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.to_its_end(ids, |cache, ids| async move {
            let (done, told) = cache.write_around(&ids.iter().collect::<Vec<_>>(), write).await?;
            Ok((done, told.map(drop)))
        })
        .await
    }

    /// Runs a write through the cache, and then forgets the lists, also if its caller goes away meanwhile: the database goes on with
    /// what it was sent, so only who waits for it knows when what is cached has to go.
    async fn to_its_end<T: Send + 'static, W>(
        &self,
        ids: Vec<Id>,
        write: impl FnOnce(Cache<Id, StoredDocument>, Vec<Id>) -> W,
    ) -> Result<T>
    where
        W: Future<Output = Result<(T, Result<()>)>> + Send + 'static,
    {
        let (this, write) = (self.clone(), Box::pin(write(self.cache().clone(), ids.clone())));
        let mut leaving = Leaving { collection: self, ids };
        let answer = self.cache().run_to_its_end(async move {
            let ((done, told), forgotten) = this.then_clear_lists(write).await.map_err(Error::unmarked)?;
            this.noted(told);
            this.noted(forgotten.map(drop));
            Ok(done)
        });
        let answer = answer.await;
        leaving.ids.clear();
        let ended = "it ended without an answer: the write may be done";
        answer.unwrap_or_else(|| Err(Error::new(ErrorKind::Timeout, ended)))
    }

    /// Counted already. While Redis is away that is said once, where its connection is kept, and not for each write.
    fn noted(&self, told: Result<()>) {
        if let Err(error) = told {
            tracing::debug!(collection = self.cache().name(), %error, "A write is done, but Redis could not be told.");
        }
    }
}

/// The caller of a write, which may go away before its end.
struct Leaving<'a> {
    collection: &'a Collection,
    /// What it writes; none once it has ended.
    ids: Vec<Id>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if !self.ids.is_empty() {
            self.collection.cache().leave_to_its_end(&self.ids.iter().collect::<Vec<_>>());
            self.collection.leave_lists_to_its_end();
        }
    }
}

/// What a write that left this document in the database may leave in the cache. A zero timestamp at the top is filled in by
/// MongoDB, so nobody knows here what it became.
fn left_by(document: &Arc<StoredDocument>) -> Option<Option<Arc<StoredDocument>>> {
    const FILLED_IN: RawBsonRef<'_> = RawBsonRef::Timestamp(Timestamp { time: 0, increment: 0 });
    let is_known = document.raw().iter().all(|field| field.is_ok_and(|(_, value)| value != FILLED_IN));
    is_known.then(|| Some(document.clone()))
}

fn decoded(raw: &RawDocumentBuf) -> Result<Document> {
    Document::try_from(raw.as_ref()).map_err(|_| Malformed.refused())
}

/// Documents that are to be written, with their ids.
type Identified = Vec<(Id, RawDocumentBuf)>;

fn known(documents: &Identified) -> Vec<Id> {
    documents.iter().map(|(id, _)| id.clone()).collect()
}

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
