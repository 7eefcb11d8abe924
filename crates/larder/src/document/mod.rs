//! Cached documents and typed queries over a collection in MongoDB or SQLite.
//!
//! A [`Schema`] declares a collection: the kind of its ids, its fields and their types, and what may be filtered, sorted and
//! searched. A [`Collection`] over a [`Database`] reads documents by id through the cache, and finds, counts, writes and
//! aggregates in the database. Both databases give the same answers, of the same types, in the same order.
//!
//! What comes from outside becomes typed values at the edge, and only values go on from there:
//!
//! | from outside | becomes | by |
//! |---|---|---|
//! | the id in a URL | [`Id`] | [`IdType::parse`] |
//! | filters, order, page, fields, in a URL or as JSON | [`Query`], then [`Find`] | [`QueryParser`] |
//! | the cursor of a page | [`Position`] | [`CursorKey`] |
//! | a JSON document | raw BSON | [`Schema::read_raw`] |
//! | a JSON merge patch | [`MergePatch`] | [`Schema::read_patch`] |
//! | what is known of a sender, such as the tenant | a [`Filter`] of the documents that are theirs | [`FilterTemplate::bind`] |
//! | the name of an aggregation and its variables | stages with literals | [`Pipeline`], [`Variable::read`] |
//!
//! # Examples
//! A page of a list, its cursor, and the page behind it:
//! ```
//! # #[cfg(not(feature = "sqlite"))] fn main() {}
//! # #[cfg(feature = "sqlite")]
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> larder::Result<()> {
//! use larder::document::{CursorKey, Database, Field, FieldType, IdType, QueryParser, Schema};
//!
//! let schema = Schema::new("products", IdType::Int)
//!     .field(Field::new("name", FieldType::String).required())
//!     .field(Field::new("price", FieldType::Decimal).filterable().sortable());
//! let products = Database::sqlite_in_memory().await?.collection(schema).build()?;
//! for json in [r#"{"_id":1,"name":"Cup","price":"4.50"}"#, r#"{"_id":2,"name":"Pot","price":"30"}"#] {
//!     products.insert(products.schema().read_document(json.as_bytes())?).await?;
//! }
//! let parse = || QueryParser::new(products.schema()).parse([("price", "gte.1"), ("sort", "-price"), ("limit", "1")]);
//!
//! let find = parse()?.into_find(None);
//! let first = products.find(&find).await?;
//! let key = CursorKey::random();
//! let cursor = key.seal("products", &find, b"public", &first.next.expect("there is a second page"))?;
//!
//! let position = key.open("products", &find, b"public", &cursor)?;
//! let second = products.find(&parse()?.into_find(Some(position))).await?;
//! assert_eq!(second.items[0].get_str("name").ok(), Some("Cup"));
//! assert!(second.next.is_none());
//! # Ok(()) }
//! ```
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
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod grammar;
mod id;
mod indexed;
mod ingest;
mod json;
#[cfg(any(feature = "mongo", feature = "sqlite"))]
mod lists;
mod matches;
mod merge;
#[cfg(feature = "mongo")]
mod mongo;
#[cfg(any(feature = "mongo", feature = "sqlite"))]
mod operate;
mod order;
#[cfg(any(feature = "mongo", feature = "sqlite"))]
mod partial;
mod path;
mod pipeline;
mod probe;
mod project;
#[cfg(any(feature = "mongo", feature = "sqlite"))]
mod purge;
mod raw;
mod schema;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "mongo", feature = "sqlite"))]
mod store;
mod stored;
#[cfg(any(feature = "mongo", feature = "sqlite"))]
mod tag;
mod term;
#[cfg(any(feature = "mongo", feature = "sqlite"))]
mod watch;
#[cfg(any(feature = "mongo", feature = "sqlite"))]
mod within;
mod word;
mod write;
#[cfg(any(feature = "mongo", feature = "sqlite"))]
mod writing;

#[cfg(feature = "mongo")]
pub use self::mongo::MongoConfig;
#[cfg(feature = "mongo")]
pub(crate) use self::mongo::{MongoCollection, REMOVED, Removals, VersionedWrite};
#[cfg(any(feature = "mongo", feature = "sqlite"))]
pub(crate) use self::store::Store;
#[cfg(any(feature = "mongo", feature = "sqlite"))]
pub use self::{
    collection::{Collection, CollectionBuilder, Inserted, MAX_AGGREGATED, MAX_IDS, Put},
    database::Database,
    lists::Listing,
    partial::MAX_PARTIALS,
    tag::MAX_DOCUMENT_TAGS,
    watch::{Change, ChangeKind, Changes, Told, Watch, WatchBuilder, WatchRole, WatchStats},
    within::Within,
};
pub use self::{
    cursor::CursorKey,
    filter::{CompareOp, Filter},
    find::{Direction, Find, MAX_PAGE_BYTES, Page, Position, SortKey},
    grammar::{FilterTemplate, Query, QueryLimits, QueryParser},
    id::{Id, IdType, MAX_ID_BYTES},
    indexed::{IndexedFields, Unindexed},
    ingest::MAX_DEPTH,
    json::{JsonForm, to_json, write_json},
    merge::MergePatch,
    pipeline::{Pipeline, Variable},
    probe::{Capability, CollectionOptions, DatabaseProbe, IndexReport, IndexUse, Topology},
    schema::{Field, FieldType, Schema},
    stored::{Etag, StoredDocument},
    write::{Expect, MAX_DOCUMENT_BYTES, Written},
};
