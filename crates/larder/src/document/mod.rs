//! Cached documents and typed queries over a collection in MongoDB or SQLite.
#![cfg_attr(
    not(feature = "sqlite"),
    expect(
        dead_code,
        unused_imports,
        reason = "much of what reads documents in process serves SQLite alone"
    )
)]

mod aggregate;
#[cfg(any(feature = "mongo", feature = "sqlite"))]
mod collection;
mod cursor;
#[cfg(any(feature = "mongo", feature = "sqlite"))]
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
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "mongo", feature = "sqlite"))]
mod store;
mod stored;
mod write;

#[cfg(feature = "mongo")]
pub use self::mongo::MongoConfig;
#[cfg(any(feature = "mongo", feature = "sqlite"))]
pub(crate) use self::store::Store;
#[cfg(any(feature = "mongo", feature = "sqlite"))]
pub use self::{
    collection::{Collection, CollectionBuilder, Inserted, MAX_AGGREGATED, MAX_IDS, Put},
    database::Database,
};
pub use self::{
    cursor::CursorKey,
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
