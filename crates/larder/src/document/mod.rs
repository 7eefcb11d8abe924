//! Cached documents and typed queries over a collection in MongoDB or SQLite.

mod filter;
mod find;
mod id;
mod json;
mod pipeline;
mod schema;
mod stored;
mod write;

pub use self::{
    filter::{CompareOp, Filter},
    find::{Direction, Find, Page, Position, SortKey},
    id::{Id, IdType, MAX_ID_BYTES},
    pipeline::{Pipeline, Variable},
    schema::{Field, FieldType, Schema},
    stored::{Etag, StoredDocument},
    write::{Expect, Written},
};
