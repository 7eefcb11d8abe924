//! Writing: inserts, replaces, patches and deletes, with and without a condition.

use bson::{Bson, Document, RawDocumentBuf, doc};
use larder::{
    ErrorKind,
    document::{
        Collection, Etag, Expect, Field, FieldType, Id, IdType, MAX_DOCUMENT_BYTES, MergePatch, Schema,
        StoredDocument, Written,
    },
};

use super::backend::{Backend, decimal};

const ID: Id = Id::Int(3);

async fn stored(collection: &Collection) -> Option<Document> {
    let stored = collection.get(&ID).await.unwrap();
    stored.map(|stored| Document::try_from(stored.raw()).unwrap())
}

fn done(written: Written) -> std::sync::Arc<StoredDocument> {
    match written {
        Written::Done(document) => document,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_id_is_a_conflict_and_leaves_what_was_there() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        let before = stored(&shop).await;
        let error = shop.insert(doc! { "_id": 3_i64, "name": "other" }).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Conflict, Some("_id")), "{backend:?}");
        let documents: Vec<Document> = [100_i64, 3, 101].iter().map(|id| doc! { "_id": *id }).collect();
        let outcomes = shop.insert_many(&documents).await.unwrap();
        let kinds: Vec<_> =
            outcomes.iter().map(|outcome| outcome.as_ref().err().map(larder::Error::kind)).collect();
        assert_eq!(kinds, [None, Some(ErrorKind::Conflict), None], "{backend:?}");
        assert_eq!(stored(&shop).await, before, "{backend:?}");
        assert!(shop.get(&Id::Int(101)).await.unwrap().is_some(), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replace_keeps_the_id_and_nothing_else() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        let replaced = done(
            shop.replace(&ID, doc! { "name": "new", "price": decimal("1.0") }, &Expect::Any).await.unwrap(),
        );
        let expected = doc! { "_id": 3_i64, "name": "new", "price": decimal("1.0") };
        assert_eq!(Document::try_from(replaced.raw()).unwrap(), expected, "{backend:?}");
        assert_eq!(stored(&shop).await, Some(expected), "{backend:?}");
        let missing = shop.replace(&Id::Int(999), doc! {}, &Expect::Any).await.unwrap();
        assert!(matches!(missing, Written::Missing), "{backend:?}: {missing:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_any_kind_keeps_to_the_declared_fields() {
    let wrong = [
        ("name", doc! { "name": 1 }),
        ("colour", doc! { "colour": "red" }),
        ("maker.country", doc! { "maker": { "country": 31 } }),
        ("parts.[].no", doc! { "parts": [{ "no": "one" }] }),
    ];
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        let before = stored(&shop).await;
        for (field, document) in &wrong {
            let taken = with(&3_i64.into(), document);
            let (sound, fresh) = (doc! { "_id": 500_i64 }, with(&501_i64.into(), document));
            let raw = |document: &Document| RawDocumentBuf::try_from(document).unwrap();
            let refused = [
                shop.insert(fresh.clone()).await.unwrap_err(),
                shop.put(&Id::Int(501), document.clone()).await.unwrap_err(),
                shop.put(&ID, document.clone()).await.unwrap_err(),
                shop.replace(&ID, document.clone(), &Expect::Any).await.unwrap_err(),
                only_the_last(shop.insert_many(&[sound.clone(), fresh.clone()]).await.unwrap()),
                only_the_last(shop.put_many_raw(vec![raw(&sound), raw(&taken)]).await.unwrap()),
                only_the_last(
                    shop.insert_many_raw(vec![raw(&doc! { "_id": 502_i64 }), raw(&fresh)]).await.unwrap(),
                ),
            ];
            for error in refused {
                assert_eq!(
                    (error.kind(), error.field()),
                    (ErrorKind::Invalid, Some(*field)),
                    "{backend:?}: {error}"
                );
            }
            assert_eq!(stored(&shop).await, before, "{backend:?}");
            assert!(shop.get(&Id::Int(501)).await.unwrap().is_none(), "{backend:?}");
            for id in [500, 502] {
                assert!(matches!(shop.delete(&Id::Int(id), &Expect::Any).await.unwrap(), Written::Done(_)));
            }
        }
    }
}

fn with(id: &Bson, document: &Document) -> Document {
    let mut whole = doc! { "_id": id };
    whole.extend(document.clone());
    whole
}

/// Of several documents only the last was refused.
fn only_the_last(mut outcomes: Vec<larder::Result<Id>>) -> larder::Error {
    let last = outcomes.pop().unwrap().unwrap_err();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_makes_what_is_missing_and_says_so() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        let id = Id::Int(500);
        assert!(shop.put(&id, doc! { "name": "a" }).await.unwrap().created, "{backend:?}");
        let again = shop.put(&id, doc! { "name": "b", "_id": 500_i64 }).await.unwrap();
        assert!(!again.created, "{backend:?}");
        assert_eq!(again.document.raw().get_str("name").unwrap(), "b");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_puts_replace_what_is_there_even_in_the_cache_and_one_that_is_refused_leaves_the_others_alone() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        assert!(stored(&shop).await.is_some(), "the document is cached, {backend:?}");
        let raw = |document: Document| RawDocumentBuf::try_from(document).unwrap();
        let documents = vec![
            raw(doc! { "_id": 600_i64, "name": "new" }),
            raw(doc! { "_id": 3_i64, "name": "replaced" }),
            raw(doc! { "_id": "text", "name": "of another kind" }),
            raw(doc! { "_id": 601_i64, "name": "first" }),
            raw(doc! { "_id": 601_i64, "name": "last" }),
            raw(doc! { "_id": 3_i64, "name": "replaced again" }),
        ];
        let outcomes = shop.put_many_raw(documents).await.unwrap();
        let kinds: Vec<_> =
            outcomes.iter().map(|outcome| outcome.as_ref().err().map(larder::Error::kind)).collect();
        assert_eq!(kinds, [None, None, Some(ErrorKind::Invalid), None, None, None], "{backend:?}");
        for (id, name) in [(600, "new"), (3, "replaced again"), (601, "last")] {
            let found = shop.get(&Id::Int(id)).await.unwrap().unwrap();
            let expected = raw(doc! { "_id": id, "name": name });
            assert_eq!(found.raw().as_bytes(), expected.as_bytes(), "{id}, {backend:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_merges_and_null_removes() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.collection(super::backend::schema().strict(false));
        let before = doc! { "_id": 3_i64, "name": "a", "maker": { "country": "NO", "city": "Oslo" }, "tags": ["x", "y"], "stock": 5 };
        shop.insert(before).await.unwrap();
        let changes = doc! { "maker": { "city": Bson::Null, "since": 1999 }, "tags": ["z"], "stock": Bson::Null, "price": decimal("2.50") };
        let patched = done(shop.patch(&ID, &MergePatch::new(changes).unwrap(), &Expect::Any).await.unwrap());
        let expected = doc! {
            "_id": 3_i64, "name": "a", "maker": { "country": "NO", "since": 1999 }, "tags": ["z"], "price": decimal("2.50"),
        };
        assert_eq!(Document::try_from(patched.raw()).unwrap(), expected, "{backend:?}");
        assert_eq!(stored(&shop).await, Some(expected), "{backend:?}");
        let nothing = MergePatch::new(doc! { "name": "b" }).unwrap();
        let missing = shop.patch(&Id::Int(999), &nothing, &Expect::Any).await.unwrap();
        assert!(matches!(missing, Written::Missing), "{backend:?}: {missing:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_does_not_hold_changes_nothing() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        let before = stored(&shop).await;
        let stale = Expect::Etag(Etag::of(b"another state"));
        let patch = MergePatch::new(doc! { "name": "x" }).unwrap();
        let outcomes = [
            shop.replace(&ID, doc! { "name": "x" }, &stale).await.unwrap(),
            shop.patch(&ID, &patch, &stale).await.unwrap(),
            shop.delete(&ID, &stale).await.unwrap(),
        ];
        for outcome in outcomes {
            assert!(matches!(outcome, Written::Changed), "{backend:?}: {outcome:?}");
        }
        assert_eq!(stored(&shop).await, before, "{backend:?}");
        for expect in [&stale, &Expect::Present] {
            let missing = shop.delete(&Id::Int(999), expect).await.unwrap();
            assert!(matches!(missing, Written::Missing), "{backend:?}: {missing:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tag_of_the_last_write_lets_the_next_one_through() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        let mut tag = shop.get(&ID).await.unwrap().unwrap().etag().clone();
        for name in ["a", "b", "c"] {
            let patch = MergePatch::new(doc! { "name": name }).unwrap();
            tag = done(shop.patch(&ID, &patch, &Expect::Etag(tag)).await.unwrap()).etag().clone();
        }
        tag = done(shop.replace(&ID, doc! { "name": "d" }, &Expect::Etag(tag)).await.unwrap()).etag().clone();
        let gone = done(shop.delete(&ID, &Expect::Etag(tag)).await.unwrap());
        assert_eq!(gone.raw().get_str("name").unwrap(), "d", "{backend:?}");
        assert!(stored(&shop).await.is_none(), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_conditional_writers_one_wins() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        let expect = Expect::Etag(shop.get(&ID).await.unwrap().unwrap().etag().clone());
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..8 {
            let (shop, expect) = (shop.clone(), expect.clone());
            writers.spawn(async move {
                let patch = MergePatch::new(doc! { "name": format!("writer {writer}") }).unwrap();
                matches!(shop.patch(&ID, &patch, &expect).await.unwrap(), Written::Done(_))
            });
        }
        let winners = writers.join_all().await.into_iter().filter(|won| *won).count();
        assert_eq!(winners, 1, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_never_changes() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        let error = shop.replace(&ID, doc! { "_id": 4_i64 }, &Expect::Any).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("_id")), "{backend:?}");
        assert_eq!(MergePatch::new(doc! { "_id": 4_i64 }).unwrap_err().field(), Some("_id"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_too_large_is_refused() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        let large = || doc! { "name": "x".repeat(MAX_DOCUMENT_BYTES) };
        let error = shop.replace(&ID, large(), &Expect::Any).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{backend:?}");
        let mut document = large();
        document.insert("_id", 900_i64);
        assert_eq!(shop.insert(document).await.unwrap_err().kind(), ErrorKind::TooLarge, "{backend:?}");
    }
}

/// A required field of an object is asked for wherever the object is: in a document that is inserted, and after a patch.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_required_is_there_after_an_insert_and_after_a_patch() {
    let schema = || {
        Schema::new("machines", IdType::Int)
            .field(Field::new("name", FieldType::String).required())
            .field(Field::new("maker.country", FieldType::String).required())
            .field(Field::new("maker.town", FieldType::String))
            .field(Field::new("parts", FieldType::Array(Box::new(FieldType::Object))))
            .field(Field::new("parts.no", FieldType::Int).required())
    };
    for backend in Backend::ALL {
        let place = backend.place().await;
        let machines = place.collection(schema());
        let insert = async |document: Document| match machines.insert(document).await {
            Ok(_) => None,
            Err(error) => Some((error.kind(), error.field().unwrap_or_default().to_owned())),
        };
        let lacks = |path: &str| Some((ErrorKind::Invalid, path.to_owned()));
        assert_eq!(insert(doc! { "_id": 1_i64 }).await, lacks("name"), "{backend:?}");
        assert_eq!(insert(doc! { "_id": 1_i64, "name": "a", "maker": {} }).await, lacks("maker.country"));
        assert_eq!(insert(doc! { "_id": 1_i64, "name": 5 }).await, lacks("name"), "{backend:?}: its type");
        assert_eq!(insert(doc! { "_id": 1_i64, "name": "a", "other": 5 }).await, lacks("other"));
        assert_eq!(insert(doc! { "_id": 3_i64, "name": "a" }).await, None, "{backend:?}");
        let patch = async |changes: Document| {
            let patch = MergePatch::new(changes).unwrap();
            match machines.patch(&ID, &patch, &Expect::Any).await {
                Ok(written) => {
                    done(written).raw().get_str("name").err().map(|_| (ErrorKind::Invalid, String::new()))
                }
                Err(error) => Some((error.kind(), error.field().unwrap_or_default().to_owned())),
            }
        };
        assert_eq!(patch(doc! { "maker": { "town": "x" } }).await, lacks("maker.country"), "{backend:?}");
        assert_eq!(patch(doc! { "name": Bson::Null }).await, lacks("name"), "{backend:?}");
        assert_eq!(patch(doc! { "parts": [{ "no": 1 }, {}] }).await, lacks("parts.no"), "{backend:?}");
        let untouched = Some(doc! { "_id": 3_i64, "name": "a" });
        assert_eq!(stored(&machines).await, untouched, "{backend:?}: what was refused changed nothing");
        assert_eq!(patch(doc! { "maker": { "country": "y", "town": "x" } }).await, None, "{backend:?}");
        assert_eq!(patch(doc! { "maker": { "town": "z" } }).await, None, "{backend:?}: the object has it");
        assert_eq!(patch(doc! { "maker": { "country": Bson::Null } }).await, lacks("maker.country"));
        assert_eq!(
            patch(doc! { "maker": Bson::Null }).await,
            None,
            "{backend:?}: without the object it is not missed"
        );
        // What lacked it before, because somebody else wrote it, can still be mended.
        let undeclared = place.collection(Schema::new(machines.schema().name(), IdType::Int));
        undeclared.replace(&ID, doc! { "other": 1 }, &Expect::Any).await.unwrap();
        let patch = MergePatch::new(doc! { "maker": { "town": "x" } }).unwrap();
        let mended = machines.patch(&ID, &patch, &Expect::Any);
        assert!(matches!(mended.await.unwrap(), Written::Done(_)), "{backend:?}");
    }
}
