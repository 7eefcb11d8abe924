//! A collection for someone who may touch only some of its documents.

use std::collections::BTreeMap;

use bson::{Bson, Document, RawDocumentBuf};

use super::{
    Collection, Expect, Filter, Id, MAX_AGGREGATED, MergePatch, Put, Written, ingest::excerpt,
    store::Replaced, write::Demand,
};
use crate::{Error, ErrorKind, Result};

/// A collection for someone who may touch only the documents that match a filter; made by [`Collection::within`].
///
/// The database checks the filter together with the write, so a document that another writer moves out of reach at the same
/// time is not written. A document that does not match is [`Written::Missing`]; a write that would leave one that does not match is
/// [`Written::Outside`].
///
/// Reads by id are shared by all who read a collection, so they do not come through here: ask [`Filter::matches`] of what was
/// read. To a find or a count [add](Filter::and) the filter, which its cursors are then bound to. What is inserted can be
/// asked before.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder::Result<()> {
/// use bson::doc;
/// use larder::document::{CompareOp, Database, Expect, Filter, Id, IdType, MergePatch, Schema, Written};
///
/// let orders = Database::sqlite_in_memory().await?.collection(Schema::new("orders", IdType::Int).strict(false)).build()?;
/// orders.insert(doc! { "_id": 7_i64, "tenant": "acme" }).await?;
/// let of = |tenant: &str| Filter::Compare { path: "tenant".into(), op: CompareOp::Eq, value: tenant.into() };
/// let paid = MergePatch::new(doc! { "paid": true })?;
/// let others = orders.within(&of("bolt")).patch(&Id::Int(7), &paid, &Expect::Any).await?;
/// assert!(matches!(others, Written::Missing));
/// let own = orders.within(&of("acme")).patch(&Id::Int(7), &paid, &Expect::Any).await?;
/// assert!(matches!(own, Written::Done(_)));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Within<'a> {
    pub(super) collection: &'a Collection,
    pub(super) rows: &'a Filter,
}

impl Collection {
    /// This collection for someone who may touch only the documents that match.
    pub fn within<'a>(&'a self, rows: &'a Filter) -> Within<'a> {
        Within { collection: self, rows }
    }
}

impl Within<'_> {
    /// As [`Collection::replace`].
    ///
    /// # Errors
    /// As [`Collection::replace`].
    pub async fn replace(&self, id: &Id, document: Document, expect: &Expect) -> Result<Written> {
        self.collection.check_id(id)?;
        self.collection.check(&document)?;
        let replace = self.replacement(id, document, expect, false);
        Ok(self.collection.written(id, replace, |it| &it.written).await?.written)
    }

    /// As [`Collection::put`].
    ///
    /// # Errors
    /// As [`Collection::put`]; `ErrorKind::Invalid` if the document does not match, `ErrorKind::Conflict` naming `_id` if the id is
    /// that of a document that does not.
    pub async fn put(&self, id: &Id, document: Document) -> Result<Put> {
        self.collection.check_id(id)?;
        self.collection.check(&document)?;
        let put = self.replacement(id, document, &Expect::Any, true);
        let replaced = self.collection.written(id, put, |it| &it.written).await?;
        match replaced.written {
            Written::Done(document) => Ok(Put { document, created: replaced.inserted }),
            Written::Outside => {
                Err(Error::new(ErrorKind::Invalid, "the document is not one that its writer may touch"))
            }
            Written::Missing | Written::Changed => Err(Error::new(
                ErrorKind::Conflict,
                "the document was removed and made again meanwhile; try again",
            )),
        }
    }

    /// As [`Collection::patch`].
    ///
    /// Cost: with MongoDB a patch of a field that the filter compares, or of an object above one, reads the document first.
    ///
    /// # Errors
    /// As [`Collection::patch`].
    pub async fn patch(&self, id: &Id, patch: &MergePatch, expect: &Expect) -> Result<Written> {
        self.collection.check_id(id)?;
        let (store, demand) = (self.collection.store().clone(), self.demand(expect));
        let patched = (id.clone(), patch.clone());
        let patch = async move { store.patch(&patched.0, &patched.1, demand).await };
        self.collection.written(id, patch, |written| written).await
    }

    /// As [`Collection::delete`].
    ///
    /// # Errors
    /// As [`Collection::delete`].
    pub async fn delete(&self, id: &Id, expect: &Expect) -> Result<Written> {
        self.collection.check_id(id)?;
        let (store, deleted, demand) = (self.collection.store().clone(), id.clone(), self.demand(expect));
        let delete = async move { store.delete(&deleted, demand).await };
        if !self.collection.writes_through {
            return self.collection.guarded(vec![id.clone()], delete).await;
        }
        let left = |written: &Written| matches!(written, Written::Done(_)).then_some(None);
        self.collection.through(id, delete, left).await
    }

    /// As [`Collection::aggregate`], over the documents that match.
    ///
    /// # Errors
    /// As [`Collection::aggregate`].
    pub async fn aggregate(
        &self,
        name: &str,
        values: &BTreeMap<String, Bson>,
    ) -> Result<Vec<RawDocumentBuf>> {
        self.run(&self.stages(name, values)?).await
    }

    /// The stages of a declared pipeline, with these values for its variables.
    pub(super) fn stages(&self, name: &str, values: &BTreeMap<String, Bson>) -> Result<Vec<Document>> {
        let mut pipelines = self.collection.schema().pipelines().iter();
        let pipeline = pipelines
            .find(|pipeline| pipeline.name() == name)
            .ok_or_else(|| Error::invalid(excerpt(name), "is not a query of this collection"))?;
        pipeline.bind(values)
    }

    pub(super) async fn run(&self, stages: &[Document]) -> Result<Vec<RawDocumentBuf>> {
        let documents = self.collection.store().aggregate(self.rows, stages, MAX_AGGREGATED + 1).await?;
        if documents.len() > MAX_AGGREGATED as usize {
            let message = format!("the answer has more than {MAX_AGGREGATED} documents; match or limit more");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(documents)
    }

    fn replacement(
        &self,
        id: &Id,
        document: Document,
        expect: &Expect,
        upsert: bool,
    ) -> impl Future<Output = Result<Replaced>> + Send + 'static {
        let (store, id, demand) = (self.collection.store().clone(), id.clone(), self.demand(expect));
        async move { store.replace(&id, document, demand, upsert).await }
    }

    fn demand(&self, expect: &Expect) -> Demand {
        Demand { expect: expect.clone(), rows: self.rows.clone() }
    }
}
