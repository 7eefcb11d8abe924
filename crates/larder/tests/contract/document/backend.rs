//! The databases that every document test runs over, and a small shop to ask about.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bson::{Bson, DateTime, Document, RawDocumentBuf, doc, oid::ObjectId};
use larder::document::{
    Collection, CompareOp, Database, Direction, Field, FieldType, Filter, Find, IdType, Page, Pipeline,
    Schema, SortKey, Variable,
};
use larder_testkit::mongo;

/// These tests are about answers, not about time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where documents live in one run of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    SqliteFile,
    SqliteMemory,
    Mongo,
}

/// A database of one test, and the folder that goes with it.
pub(crate) struct Place {
    pub(crate) database: Database,
    _folder: Option<tempfile::TempDir>,
}

impl Backend {
    pub(crate) const ALL: [Self; 3] = [Self::SqliteFile, Self::SqliteMemory, Self::Mongo];

    /// An empty database that no other test sees.
    pub(crate) async fn place(self) -> Place {
        let folder =
            (self == Self::SqliteFile).then(|| tempfile::tempdir().expect("a temporary folder can be made"));
        let database = match (self, &folder) {
            (_, Some(folder)) => Database::sqlite(folder.path().join("documents.sqlite")).await,
            (Self::Mongo, None) => Database::mongo(&*mongo::shared().url(&mongo::database_name())).await,
            _ => Database::sqlite_in_memory().await,
        };
        let database = database.expect("the test database opens").with_deadline(PATIENCE);
        Place { database, _folder: folder }
    }
}

impl Place {
    /// A collection over this database, with a cache of its own.
    pub(crate) fn collection(&self, schema: Schema) -> Collection {
        self.database.collection(schema).build().expect("the schema is sound")
    }

    /// The shop's things, as [`things`] has them.
    pub(crate) async fn shop(&self) -> Collection {
        let collection = self.collection(schema());
        for outcome in collection.insert_many(&things()).await.expect("the inserts run") {
            outcome.expect("no id is taken");
        }
        collection
    }
}

/// A name for what must differ from test to test.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{prefix}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn schema() -> Schema {
    Schema::new(unique("things"), IdType::Int)
        .field(Field::new("name", FieldType::String).filterable().sortable().searchable())
        .field(Field::new("price", FieldType::Decimal).filterable().sortable())
        .field(Field::new("stock", FieldType::Int).filterable().sortable())
        .field(Field::new("rating", FieldType::Double).filterable().sortable())
        .field(Field::new("live", FieldType::Bool).filterable())
        .field(Field::new("added", FieldType::Date).filterable().sortable())
        .field(Field::new("owner", FieldType::ObjectId).filterable())
        .field(Field::new("tags", FieldType::Array(Box::new(FieldType::String))).filterable().searchable())
        .field(Field::new("maker.country", FieldType::String).filterable().sortable())
        .field(Field::new("parts", FieldType::Array(Box::new(FieldType::Object))))
        .field(Field::new("parts.no", FieldType::Int).filterable())
        .field(Field::new("mixed", FieldType::Any))
        .pipeline(by_country())
        .pipeline(dearest())
}

fn by_country() -> Pipeline {
    let group = doc! {
        "_id": "$maker.country", "things": { "$sum": 1 }, "stock": { "$sum": "$stock" },
        "worth": { "$sum": { "$multiply": ["$price", "$stock"] } }, "mean": { "$avg": "$rating" },
        "cheapest": { "$min": "$price" }, "last": { "$max": "$name" },
    };
    Pipeline::new("by_country", vec![doc! { "$group": group }, doc! { "$sort": { "_id": 1 } }], vec![])
        .expect("the pipeline is allowed")
}

fn dearest() -> Pipeline {
    let stages = vec![
        doc! { "$match": { "stock": { "$gte": { "$var": "stock" } } } },
        doc! { "$sort": { "price": -1, "_id": 1 } },
        doc! { "$limit": { "$var": "most" } },
        doc! { "$project": { "name": 1, "price": 1 } },
    ];
    let variables = vec![
        Variable { name: "stock".into(), field_type: FieldType::Int, default: Some(Bson::Int32(1)) },
        Variable { name: "most".into(), field_type: FieldType::Int, default: None },
    ];
    Pipeline::new("dearest", stages, variables).expect("the pipeline is allowed")
}

pub(crate) fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse().expect("the test writes decimals"))
}

/// Forty things with ties, nulls, absent fields, arrays and all the types.
pub(crate) fn things() -> Vec<Document> {
    (0..40_i64).map(thing).collect()
}

fn thing(number: i64) -> Document {
    let mut thing = doc! { "_id": number, "name": format!("thing {}", number % 7) };
    if number % 5 != 0 {
        thing.insert("price", decimal(&format!("{}.{}0", number % 9, number % 4)));
    }
    match number % 4 {
        0 => thing.insert("stock", Bson::Null),
        1 => thing.insert("stock", Bson::Int32((number % 3) as i32)),
        2 => thing.insert("stock", Bson::Int64(number % 3)),
        _ => None,
    };
    if number % 3 != 0 {
        thing.insert("rating", (number % 6) as f64 / 2.0);
    }
    thing.insert("live", number % 2 == 0);
    thing.insert("added", DateTime::from_millis(1_700_000_000_000 + (number % 10) * 86_400_000));
    thing.insert("owner", ObjectId::from_bytes([(number % 3) as u8; 12]));
    thing.insert("tags", (0..number % 4).map(|tag| format!("tag {tag}")).collect::<Vec<_>>());
    if number % 6 != 0 {
        let country = ["NO", "SE", "DK"][(number % 3) as usize];
        thing.insert("maker", doc! { "country": country });
    }
    if number % 8 == 0 {
        thing.insert("parts", vec![doc! { "no": number as i32 }, doc! { "no": 100 }]);
    }
    thing
}

pub(crate) fn compare(path: &str, op: CompareOp, value: impl Into<Bson>) -> Filter {
    Filter::Compare { path: path.into(), op, value: value.into() }
}

pub(crate) fn eq(path: &str, value: impl Into<Bson>) -> Filter {
    compare(path, CompareOp::Eq, value)
}

/// A sort such as `["-price", "name"]`.
pub(crate) fn sort(keys: &[&str]) -> Vec<SortKey> {
    let key = |key: &&str| match key.strip_prefix('-') {
        Some(path) => SortKey { path: path.to_owned(), direction: Direction::Descending },
        None => SortKey { path: (*key).to_owned(), direction: Direction::Ascending },
    };
    keys.iter().map(key).collect()
}

pub(crate) fn document(raw: &RawDocumentBuf) -> Document {
    Document::try_from(raw.as_ref()).expect("the database answers BSON")
}

pub(crate) fn ids(documents: &[RawDocumentBuf]) -> Vec<i64> {
    documents.iter().map(|raw| document(raw).get_i64("_id").expect("ids are Int64")).collect()
}

/// All pages, one behind the other.
pub(crate) async fn walk(collection: &Collection, mut find: Find) -> Vec<RawDocumentBuf> {
    let mut all = Vec::new();
    loop {
        let Page { items, next } = collection.find(&find).await.expect("the find runs");
        assert!(items.len() <= find.limit as usize);
        all.extend(items);
        assert!(all.len() < 1_000, "the pages repeat");
        match next {
            Some(next) => find.after = Some(next),
            None => return all,
        }
    }
}
