//! SQLite against a plain model: all documents in memory, filtered, sorted and cut by hand.

use std::{sync::Arc, time::Duration};

use bson::{Bson, Document, RawDocumentBuf, doc};
use larder_testkit::eventually;
use proptest::prelude::*;
use tokio::time::timeout;

use crate::{
    ErrorKind,
    document::{
        CompareOp, Database, Direction, Etag, Expect, Field, FieldType, Filter, Find, Id, IdType, MergePatch,
        Schema, SortKey, Written, find::order_of, matches::Matcher, path, store::Store,
    },
};

pub(in crate::document) fn schema() -> Schema {
    Schema::new("things", IdType::Int)
        .field(Field::new("n", FieldType::Double).filterable().sortable())
        .field(Field::new("s", FieldType::String).filterable().sortable().searchable())
        .field(Field::new("o.n", FieldType::Int).filterable().sortable())
        .field(Field::new("tags", FieldType::Array(Box::new(FieldType::String))).filterable().searchable())
}

async fn collection() -> Store {
    let database = Database::sqlite_in_memory().await.unwrap();
    database.store(Arc::new(schema())).unwrap()
}

pub(in crate::document) fn raw(document: &Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

pub(in crate::document) fn value() -> impl Strategy<Value = Bson> {
    prop_oneof![
        4 => (-3_i32..4).prop_map(Bson::Int32),
        2 => (-6_i32..7).prop_map(|half| Bson::Double(f64::from(half) / 2.0)),
        1 => (-30_i32..40).prop_map(|tenth| Bson::Decimal128(format!("{tenth}E-1").parse().unwrap())),
        1 => Just(Bson::Double(f64::NAN)),
        3 => "[ab\0]{0,2}".prop_map(Bson::String),
        3 => "[aAéÉ_,]{1,2}( [aAsſ])?".prop_map(Bson::String),
        1 => Just(Bson::Null),
        1 => any::<bool>().prop_map(Bson::Boolean),
    ]
}

fn field() -> impl Strategy<Value = Option<Bson>> {
    prop_oneof![
        3 => value().prop_map(Some),
        1 => Just(None),
        1 => prop::collection::vec(value(), 0..3).prop_map(|array| Some(array.into())),
    ]
}

pub(in crate::document) fn document() -> impl Strategy<Value = Document> {
    let inner = prop_oneof![
        field().prop_map(|n| n.map(|n| doc! { "n": n }.into())),
        prop::collection::vec(value().prop_map(|n| doc! { "n": n }), 0..3)
            .prop_map(|array| Some(Bson::from(array))),
    ];
    // Most sets have no arrays, so that the indexes are used; some have.
    let plain = (prop::option::of(value()), prop::option::of(value()), prop::option::of(value()))
        .prop_map(|(n, s, inner)| (n, s, inner.map(|n| doc! { "n": n }.into())));
    let any = (field(), field(), inner);
    prop_oneof![9 => plain, 1 => any].prop_map(|(n, s, o)| {
        let mut document = Document::new();
        for (name, value) in [("n", n), ("s", s), ("o", o)] {
            if let Some(value) = value {
                document.insert(name, value);
            }
        }
        document
    })
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![Just("n"), Just("s"), Just("o.n"), Just("o"), Just("tags")].prop_map(str::to_owned)
}

pub(in crate::document) fn filter() -> impl Strategy<Value = Filter> {
    let op = prop_oneof![
        Just(CompareOp::Eq),
        Just(CompareOp::Ne),
        Just(CompareOp::Gt),
        Just(CompareOp::Gte),
        Just(CompareOp::Lt),
        Just(CompareOp::Lte),
    ];
    let leaf = prop_oneof![
        Just(Filter::All),
        (path(), op.clone(), value()).prop_map(|(path, op, value)| Filter::Compare { path, op, value }),
        (op, 0_i64..30).prop_map(|(op, id)| Filter::Compare { path: "_id".into(), op, value: id.into() }),
        (path(), prop::collection::vec(value(), 0..3)).prop_map(|(path, values)| Filter::In { path, values }),
        (path(), prop::collection::vec(value(), 0..3))
            .prop_map(|(path, values)| Filter::NotIn { path, values }),
        (path(), any::<bool>()).prop_map(|(path, present)| Filter::Exists { path, present }),
        (path(), "[ab\0]{0,2}").prop_map(|(path, text)| Filter::Prefix { path, text }),
        (path(), "[abé_\0]{1,2}([ ,][AS])?").prop_map(|(path, text)| Filter::Text { path, text }),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Filter::And),
            prop::collection::vec(inner, 1..3).prop_map(Filter::Or),
        ]
    })
}

pub(in crate::document) fn sort() -> impl Strategy<Value = Vec<SortKey>> {
    let direction = prop_oneof![Just(Direction::Ascending), Just(Direction::Descending)];
    let path = prop_oneof![4 => path(), 1 => Just("_id".to_owned())];
    prop::collection::vec((path, direction).prop_map(|(path, direction)| SortKey { path, direction }), 0..3)
}

/// What a find without a page must answer.
pub(in crate::document) fn model(documents: &[Document], filter: &Filter, sort: &[SortKey]) -> Vec<Document> {
    let matcher = Matcher::new(filter).unwrap();
    let mut found: Vec<_> =
        documents.iter().map(raw).filter(|raw| matcher.matches(raw.as_bytes()).unwrap()).collect();
    found.sort_by(|a, b| {
        let keys = order_of(sort);
        let orders = keys.iter().map(|key| {
            let path = path::Path::new(&key.path);
            let key_of =
                |raw: &RawDocumentBuf| path::sort_value(raw.as_bytes(), &path, key.direction).unwrap().key;
            let order = key_of(a).cmp(&key_of(b));
            if key.direction == Direction::Ascending { order } else { order.reverse() }
        });
        orders.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
    found.iter().map(|raw| Document::try_from(raw.as_ref()).unwrap()).collect()
}

pub(in crate::document) async fn walk(collection: &Store, mut find: Find) -> Vec<Document> {
    let mut all = Vec::new();
    loop {
        let page = collection.find(&find).await.unwrap();
        assert!(page.items.len() <= find.limit as usize);
        assert!(all.len() < 1_000, "pages without end: {find:?}");
        all.extend(page.items.iter().map(|raw| Document::try_from(raw.as_ref()).unwrap()));
        match page.next {
            Some(next) => find.after = Some(next),
            None => return all,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn every_find_answers_as_the_model_does(
        documents in prop::collection::vec(document(), 0..25),
        queries in prop::collection::vec((filter(), sort(), 1_u32..6), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let documents: Vec<Document> = documents.into_iter().enumerate().map(|(index, document)| {
            let mut whole = doc! { "_id": index as i64 };
            whole.extend(document);
            whole
        }).collect();
        runtime.block_on(async {
            let collection = collection().await;
            let items = documents.iter().enumerate().map(|(id, document)| (Id::Int(id as i64), raw(document))).collect();
            assert!(collection.insert_many(items).await.unwrap().iter().all(Result::is_ok));
            for (filter, sort, limit) in queries {
                let expected = model(&documents, &filter, &sort);
                let find = Find { sort: sort.clone(), ..Find::new(filter.clone(), limit) };
                let text = format!("{filter:?} by {sort:?}");
                // NaN is not equal to itself, so documents are compared as text.
                assert_eq!(format!("{:?}", walk(&collection, find).await), format!("{expected:?}"), "{text}");
                assert_eq!(collection.count(&filter).await.unwrap(), expected.len() as u64, "{text}");
            }
        });
    }
}

#[tokio::test]
async fn a_write_that_expects_another_state_changes_nothing() {
    let collection = collection().await;
    let id = Id::Int(1);
    let stale = Expect::Etag(Etag::of(b"something else"));
    let missing = collection.replace(&id, doc! { "n": 1.0 }, &Expect::Present, true).await.unwrap();
    assert!(matches!(missing.written, Written::Missing));
    let made = collection.replace(&id, doc! { "n": 1.0 }, &Expect::Any, true).await.unwrap();
    let Written::Done(stored) = made.written else { panic!("{made:?}") };
    assert!(made.inserted);
    assert!(matches!(collection.delete(&id, &stale).await.unwrap(), Written::Changed));
    let patch = MergePatch::new(doc! { "n": 2.0 }).unwrap();
    assert!(matches!(collection.patch(&id, &patch, &stale).await.unwrap(), Written::Changed));
    let fresh = Expect::Etag(stored.etag().clone());
    let Written::Done(patched) = collection.patch(&id, &patch, &fresh).await.unwrap() else {
        panic!("patch")
    };
    assert_eq!(collection.get(&id).await.unwrap().unwrap().as_bytes(), patched.raw().as_bytes());
    assert!(matches!(collection.delete(&id, &fresh).await.unwrap(), Written::Changed));
    assert!(matches!(collection.delete(&id, &Expect::Any).await.unwrap(), Written::Done(_)));
    assert!(matches!(collection.delete(&id, &Expect::Any).await.unwrap(), Written::Missing));
}

#[tokio::test]
async fn a_taken_id_leaves_the_other_inserts_alone() {
    let collection = collection().await;
    let item = |id: i64| (Id::Int(id), raw(&doc! { "_id": id }));
    collection.insert_many(vec![item(2)]).await.unwrap();
    let outcomes = collection.insert_many(vec![item(1), item(2), item(3)]).await.unwrap();
    let kinds: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().err().map(crate::Error::kind)).collect();
    assert_eq!(kinds, [None, Some(ErrorKind::Conflict), None]);
    let found = collection.get_many(&[Id::Int(3), Id::Int(9), Id::Int(1), Id::Int(3)]).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, true]);
}

#[tokio::test]
async fn a_file_keeps_its_documents_and_refuses_another_kind_of_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.sqlite");
    let open = async |schema: Schema| Database::sqlite(&path).await.unwrap().store(Arc::new(schema)).unwrap();
    let store = open(schema()).await;
    store.insert_many(vec![(Id::Int(7), raw(&doc! { "_id": 7_i64, "n": 1.5 }))]).await.unwrap();
    drop(store);
    let again = open(schema().field(Field::new("new", FieldType::Date).sortable())).await;
    assert!(again.get(&Id::Int(7)).await.unwrap().is_some());
    let other = open(Schema::new("things", IdType::String)).await;
    assert_eq!(other.get(&Id::String("a".into())).await.unwrap_err().kind(), ErrorKind::Config);
}

/// A write that was sent to the database is carried out there whether somebody waits for it or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_caller_goes_away_before_the_database_is_at_it_leaves_nothing_old() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.sqlite");
    let things = Database::sqlite(&path).await.unwrap().collection(schema()).build().unwrap();
    things.insert(doc! { "_id": 7_i64, "n": 1.0 }).await.unwrap();
    let n = async || things.get(&Id::Int(7)).await.unwrap().map(|it| it.raw().get_f64("n").unwrap());
    // Holds the write up, and no reader.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let patch = MergePatch::new(doc! { "n": 2.0 }).unwrap();
    let held = Duration::from_millis(200);
    assert!(timeout(held, things.patch(&Id::Int(7), &patch, &Expect::Any)).await.is_err(), "it has to wait");
    assert_eq!(n().await, Some(1.0), "what the database has until then, and kept");
    other.execute_batch("ROLLBACK").unwrap();
    eventually("the write is seen", Duration::from_secs(10), async || n().await == Some(2.0)).await;
}

#[tokio::test]
async fn a_stored_document_that_is_broken_is_reported_and_spoils_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.sqlite");
    let plain =
        Schema::new("things", IdType::Int).field(Field::new("n", FieldType::Double).filterable().sortable());
    let store = Database::sqlite(&path).await.unwrap().store(Arc::new(plain)).unwrap();
    let items = (0..3_i64).map(|id| (Id::Int(id), raw(&doc! { "_id": id, "n": id as f64 }))).collect();
    store.insert_many(items).await.unwrap();
    let vandal = rusqlite::Connection::open(&path).unwrap();
    vandal.execute("UPDATE doc_things SET doc = x'0badbadbad' WHERE id = 1", []).unwrap();
    let by_n = |op, n: f64| Filter::Compare { path: "n".into(), op, value: n.into() };
    let sound = store.find(&Find::new(by_n(CompareOp::Gte, 2.0), 9)).await.unwrap();
    assert_eq!(sound.items.len(), 1);
    assert!(store.get(&Id::Int(2)).await.unwrap().is_some());
    for error in [
        store.get(&Id::Int(1)).await.unwrap_err(),
        store.find(&Find::new(Filter::All, 9)).await.unwrap_err(),
        store.count(&by_n(CompareOp::Ne, 7.0)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    assert!(matches!(store.delete(&Id::Int(0), &Expect::Any).await.unwrap(), Written::Done(_)));
}
