//! The indexes that declared filters and sorts need: which are there, and making those that are not.

use std::time::Duration;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::{IndexModel, options::IndexOptions};

use super::{MongoCollection, REMOVED, search::Words};
use crate::{
    Result,
    document::{Field, IndexReport, IndexUse, IndexedFields},
};

impl MongoCollection {
    /// Makes the indexes that the schema's filters and sorts need and that no index of the collection serves already.
    /// Without a deadline: an index over existing documents takes as long as it takes, and MongoDB builds it beside reads
    /// and writes. Safe to repeat, and from several nodes at once.
    pub(crate) async fn ensure_indexes(&self) -> Result<()> {
        let present = self.complete_indexes().await?;
        let missing = missing(self.report(&present), present.iter().any(is_text));
        if !missing.is_empty() {
            let created = self.driver().create_indexes(missing).await;
            created.map_err(|error| super::error::from_driver(&error))?;
        }
        Ok(())
    }

    /// Makes the index by which MongoDB removes the traces of removals after some time.
    pub(crate) async fn ensure_sweeping(&self, keep_for: Duration) -> Result<()> {
        let options = IndexOptions::builder().expire_after(keep_for).build();
        let index = IndexModel::builder().keys(doc! { REMOVED: 1 }).options(options).build();
        self.call(async { self.driver().create_index(index).await }).await.map(drop)
    }

    /// For each declared filter and sort, the index that serves it, or none.
    pub(crate) async fn index_report(&self) -> Result<Vec<IndexReport>> {
        Ok(self.report(&self.complete_indexes().await?))
    }

    fn report(&self, present: &[IndexModel]) -> Vec<IndexReport> {
        IndexReport::wanted(self.schema()).into_iter().map(|report| serve(report, present)).collect()
    }

    /// The fields that its indexes begin with.
    pub(crate) async fn indexed_fields(&self) -> Result<IndexedFields> {
        let present = self.complete_indexes().await?;
        let words = Words::of(&present);
        let searched = self.schema().fields().iter().map(Field::path).filter(|path| words.hold(path));
        Ok(IndexedFields::new(present.iter().filter_map(|model| led_by(&model.keys)))
            .searched(searched.map(str::to_owned)))
    }

    /// The indexes that hold every document.
    pub(super) async fn complete_indexes(&self) -> Result<Vec<IndexModel>> {
        let mut listed: Vec<IndexModel> = self
            .call(async {
                let listed = self.driver().list_indexes().await;
                match listed {
                    Ok(cursor) => cursor.try_collect().await,
                    // A collection that does not exist yet has no indexes.
                    Err(error) if is_missing_namespace(&error) => Ok(Vec::new()),
                    Err(error) => Err(error),
                }
            })
            .await?;
        listed.retain(is_complete);
        Ok(listed)
    }
}

fn is_missing_namespace(error: &mongodb::error::Error) -> bool {
    const NAMESPACE_NOT_FOUND: i32 = 26;
    matches!(error.kind.as_ref(), mongodb::error::ErrorKind::Command(error) if error.code == NAMESPACE_NOT_FOUND)
}

/// A partial or sparse index leaves documents out, and one with a collation orders text otherwise.
fn is_complete(model: &IndexModel) -> bool {
    model.options.as_ref().is_none_or(|options| {
        options.partial_filter_expression.is_none()
            && options.sparse != Some(true)
            && options.collation.is_none()
            && options.hidden != Some(true)
    })
}

fn name(model: &IndexModel) -> String {
    model.options.as_ref().and_then(|options| options.name.clone()).unwrap_or_default()
}

fn serve(mut report: IndexReport, present: &[IndexModel]) -> IndexReport {
    let serves = |model: &&IndexModel| match report.usage {
        IndexUse::Filter => model.keys.keys().next().is_some_and(|first| *first == report.field),
        IndexUse::SortAscending | IndexUse::SortDescending => begins_with(&model.keys, &report.keys),
        IndexUse::Search => Words::of_one(model).hold(&report.field),
    };
    report.index = present.iter().find(serves).map(name);
    report
}

/// The indexes to make, each once. A collection has one text index at most, so none is made beside another.
fn missing(reports: Vec<IndexReport>, has_text: bool) -> Vec<IndexModel> {
    let mut models: Vec<IndexModel> = Vec::new();
    for report in reports.into_iter().filter(|report| report.index.is_none()) {
        let is_made = models.iter().any(|model| model.keys == report.keys);
        if is_made || (report.usage == IndexUse::Search && has_text) {
            continue;
        }
        let language = |name: &str| report.options().get_str(name).ok().map(str::to_owned);
        let options = IndexOptions::builder()
            .default_language(language("default_language"))
            .language_override(language("language_override"))
            .build();
        models.push(IndexModel::builder().keys(report.keys).options(options).build());
    }
    models
}

/// Whether it is a text index, of whatever kind.
fn is_text(model: &IndexModel) -> bool {
    model.keys.values().any(|kind| kind.as_str() == Some("text"))
}

/// The field that an index on `keys` begins with; none if that is hashed, text or a place, which have no order.
fn led_by(keys: &Document) -> Option<String> {
    let (first, value) = keys.iter().next()?;
    sign(value).map(|_| first.clone())
}

/// The direction of a key that has one.
fn sign(value: &Bson) -> Option<i32> {
    match value {
        Bson::Int32(number) => Some(number.signum()),
        Bson::Int64(number) => Some(number.signum() as i32),
        Bson::Double(number) => Some(number.signum() as i32),
        _ => None,
    }
}

/// Whether an index on `keys` yields the order of `order`, read forwards or backwards.
fn begins_with(keys: &Document, order: &Document) -> bool {
    let matches = |direction: i32| {
        keys.len() >= order.len()
            && keys.iter().zip(order).all(|((key, has), (path, wants))| {
                key == path && sign(has).is_some() && sign(has) == sign(wants).map(|wants| wants * direction)
            })
    };
    matches(1) || matches(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::document::{Field, FieldType, IdType, Schema};

    #[test]
    fn an_index_serves_an_order_forwards_and_backwards() {
        let order = doc! { "a": -1, "_id": 1 };
        assert!(begins_with(&doc! { "a": 1, "_id": -1 }, &order));
        assert!(begins_with(&doc! { "a": -1, "_id": 1.0, "b": 1 }, &order));
        assert!(!begins_with(&doc! { "a": 1, "_id": 1 }, &order));
        assert!(!begins_with(&doc! { "a": -1 }, &order));
        assert!(!begins_with(&doc! { "a": "hashed", "_id": 1 }, &order));
    }

    #[test]
    fn an_index_without_an_order_leads_to_nothing() {
        assert_eq!(led_by(&doc! { "a.b": -1, "c": 1 }).as_deref(), Some("a.b"));
        for keys in
            [doc! { "a": "hashed" }, doc! { "_fts": "text", "_ftsx": 1 }, doc! { "a": "2dsphere" }, doc! {}]
        {
            assert_eq!(led_by(&keys), None, "{keys}");
        }
    }

    #[test]
    fn any_index_that_begins_with_a_field_serves_its_filters() {
        let schema = Schema::new("things", IdType::Int)
            .field(Field::new("a", FieldType::Int).filterable())
            .field(Field::new("b", FieldType::Int).filterable().sortable())
            .field(Field::new("c", FieldType::Int));
        let options = IndexOptions::builder().name("mine".to_owned()).build();
        let present = [IndexModel::builder().keys(doc! { "a": 1, "z": 1 }).options(options).build()];
        let served: Vec<_> =
            IndexReport::wanted(&schema).into_iter().map(|report| serve(report, &present)).collect();
        let found: Vec<_> =
            served.iter().map(|report| (report.field.as_str(), report.index.as_deref())).collect();
        assert_eq!(found, [("a", Some("mine")), ("b", None), ("b", None)]);
    }
}
