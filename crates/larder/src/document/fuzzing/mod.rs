//! What must hold of the documents, queries and cursors that come from outside, and of what a watch is told.

mod documents;
mod numbers;
mod queries;
pub(in crate::document) mod written;

pub use self::{
    documents::{bson, ingest, listing, patch},
    numbers::{decimal, instant},
    queries::{cursor, filter, pipeline, query_body},
};
pub use super::watch::fuzzing::{change_event, watch_point};
use super::{Field, FieldType, IdType, Schema};

/// A collection with a field of every type.
fn schema() -> Schema {
    Schema::new("things", IdType::Int)
        .field(Field::new("name", FieldType::String).required().filterable().sortable().searchable())
        .field(Field::new("price", FieldType::Decimal).filterable().sortable())
        .field(Field::new("stock", FieldType::Int).filterable().sortable())
        .field(Field::new("weight", FieldType::Double).filterable())
        .field(Field::new("live", FieldType::Bool).filterable())
        .field(Field::new("added", FieldType::Date).filterable().sortable())
        .field(Field::new("owner", FieldType::ObjectId).filterable())
        .field(Field::new("tags", FieldType::Array(Box::new(FieldType::String))).filterable())
        .field(Field::new("parts", FieldType::Array(Box::new(FieldType::Object))))
        .field(Field::new("parts.count", FieldType::Int).filterable())
        .field(Field::new("maker.name", FieldType::String).filterable())
        .field(Field::new("maker.share", FieldType::Decimal))
        .field(Field::new("extra", FieldType::Any))
        .field(Field::new("more", FieldType::Object))
}

/// A collection that takes everything.
fn open_schema() -> Schema {
    Schema::new("things", IdType::String).strict(false)
}
