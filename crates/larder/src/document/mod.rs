//! Cached documents and typed queries over a collection in MongoDB or SQLite.

mod aggregate;
mod collection;
mod cursor;
mod database;
mod decimal;
mod filter;
mod find;
mod grammar;
mod id;
mod ingest;
mod json;
mod matches;
mod merge;
#[cfg(feature = "mongo")]
mod mongo;
mod order;
mod path;
mod pipeline;
mod probe;
mod project;
mod raw;
mod schema;
mod sqlite;
mod store;
mod stored;
mod write;

#[cfg(feature = "mongo")]
pub use self::mongo::MongoConfig;
pub(crate) use self::store::Store;
pub use self::{
    collection::{Collection, CollectionBuilder, Inserted, MAX_AGGREGATED, MAX_IDS, Put},
    cursor::CursorKey,
    database::Database,
    filter::{CompareOp, Filter},
    find::{Direction, Find, Page, Position, SortKey},
    grammar::{Query, QueryLimits, QueryParser},
    id::{Id, IdType, MAX_ID_BYTES},
    ingest::MAX_DEPTH,
    json::{JsonForm, to_json, write_json},
    merge::MergePatch,
    pipeline::{Pipeline, Variable},
    probe::{Capability, DatabaseProbe, IndexReport, IndexUse, Topology},
    schema::{Field, FieldType, Schema},
    stored::{Etag, StoredDocument},
    write::{Expect, MAX_DOCUMENT_BYTES, Written},
};
