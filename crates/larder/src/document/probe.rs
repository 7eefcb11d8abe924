//! What a database was found to be able to do.

use bson::{DateTime, Document, doc};

use crate::document::Schema;

/// The field that tells a text index the language of a document: one that no document has. By default it is `language`, and
/// the words of a document that has it are cut to their stems, or the document is refused.
pub(crate) const NO_LANGUAGE: &str = "_no_language";

/// What a database says of itself, and what it was found to be able to do.
#[derive(Clone, Debug, PartialEq)]
pub struct DatabaseProbe {
    /// `sqlite` or `mongodb`.
    pub engine: &'static str,
    /// The version of the engine or the server.
    pub version: String,
    /// How many servers there are, and how they stand to each other.
    pub topology: Topology,
    /// The newest version of the wire protocol that the server speaks; `None` for an embedded engine.
    pub wire_version: Option<i32>,
    /// The server's clock when it was asked; `None` for an embedded engine.
    pub server_time: Option<DateTime>,
    /// What it offers or lacks, in a fixed order.
    pub capabilities: Vec<Capability>,
}

/// How the servers of a database stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topology {
    /// Inside this process.
    Embedded,
    /// One server alone.
    Standalone,
    /// Members that follow a primary.
    ReplicaSet,
    /// Replica sets behind routers.
    Sharded,
}

impl Topology {
    /// The name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Standalone => "standalone",
            Self::ReplicaSet => "replica set",
            Self::Sharded => "sharded cluster",
        }
    }
}

/// One thing that a database may offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// A short name, such as `transactions`.
    pub name: &'static str,
    /// Whether it is there.
    pub available: bool,
    /// What is off without it.
    pub without: &'static str,
}

impl DatabaseProbe {
    /// Whether the database offers the capability of this name.
    pub fn can(&self, name: &str) -> bool {
        self.capabilities.iter().any(|capability| capability.name == name && capability.available)
    }
}

/// What MongoDB itself was told of a collection when that was created, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CollectionOptions {
    /// The `$jsonSchema` of the validator, if writes are held to it. Larder does not: the database refuses what it forbids.
    pub json_schema: Option<Document>,
    /// The collation, unless that is the plain order of bytes. With one, texts are compared, ordered and found that are not
    /// equal for Larder: an id in other letters finds nothing when it is read, but a write by it may change another document.
    pub collation: Option<Document>,
    /// What it shows, if it is a view: that can be read, and neither written to nor watched.
    pub view_on: Option<String>,
}

/// One declared filter or sort, and the index behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexReport {
    /// The declared field, by its dotted path.
    pub field: String,
    /// What it is declared for.
    pub usage: IndexUse,
    /// The keys of an index that would serve it.
    pub keys: Document,
    /// The name of the index that does; without one, each such query looks at every document of the collection.
    pub index: Option<String>,
}

impl IndexReport {
    /// The options that an index with these keys has to have in MongoDB: one for searches takes words as they are, in whatever
    /// language they and the field `language` of their document are.
    pub fn options(&self) -> Document {
        match self.usage {
            IndexUse::Search => doc! { "default_language": "none", "language_override": NO_LANGUAGE },
            _ => Document::new(),
        }
    }

    /// What a schema needs, nothing of it found yet.
    pub(crate) fn wanted(schema: &Schema) -> Vec<Self> {
        let mut reports = Vec::new();
        for field in schema.fields().iter().filter(|field| field.path() != "_id") {
            let path = field.path();
            let mut want = |usage, keys| {
                reports.push(Self { field: path.to_owned(), usage, keys, index: None });
            };
            if field.is_sortable() {
                want(IndexUse::SortAscending, doc! { path: 1, "_id": 1 });
                want(IndexUse::SortDescending, doc! { path: -1, "_id": 1 });
            } else if field.is_filterable() {
                want(IndexUse::Filter, doc! { path: 1 });
            }
            if field.is_searchable() {
                want(IndexUse::Search, text_keys(schema));
            }
        }
        reports
    }
}

/// The keys of the one text index that a collection can have in MongoDB.
fn text_keys(schema: &Schema) -> Document {
    let searched = schema.fields().iter().filter(|field| field.is_searchable());
    searched.map(|field| (field.path().to_owned(), "text".into())).collect()
}

/// What a field is declared for. A field to sort by needs an index a direction, because every order ends with the id
/// ascending; either of them serves its filters as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IndexUse {
    /// Filters.
    Filter,
    /// Sorting, smallest first.
    SortAscending,
    /// Sorting, largest first.
    SortDescending,
    /// Searching for words. All searched fields of a collection share one index, see [`IndexReport::options`].
    Search,
}
