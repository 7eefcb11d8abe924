//! Writes: conditions, merges and races.

use bson::{Bson, Document, doc};

use super::{collection, fill};
use crate::{
    ErrorKind,
    document::{
        Etag, Expect, Id, MergePatch, Written,
        sqlite::tests::{raw, schema},
        store::Store,
    },
};

const ID: Id = Id::Int(0);

fn patch(changes: Document) -> MergePatch {
    MergePatch::new(changes).unwrap()
}

async fn stored(collection: &Store) -> Document {
    Document::try_from(collection.get(&ID).await.unwrap().unwrap().as_ref()).unwrap()
}

async fn tag(collection: &Store) -> Expect {
    Expect::Etag(Etag::of(collection.get(&ID).await.unwrap().unwrap().as_bytes()))
}

#[tokio::test]
async fn a_condition_holds_or_nothing_is_written() {
    let collection = collection(schema()).await;
    let stale = Expect::Etag(Etag::of(b"something else"));
    let missing = collection.replace(&ID, doc! { "n": 1.0 }, &Expect::Present, true).await.unwrap();
    assert!(matches!(missing.written, Written::Missing));
    assert!(matches!(
        collection.patch(&ID, &patch(doc! { "n": 1 }), &stale).await.unwrap(),
        Written::Missing
    ));

    let made = collection.replace(&ID, doc! { "n": 1.0 }, &Expect::Any, true).await.unwrap();
    assert!(made.inserted);
    let again = collection.replace(&ID, doc! { "n": 1.5 }, &Expect::Any, true).await.unwrap();
    assert!(!again.inserted);

    for written in [
        collection.replace(&ID, doc! { "n": 9 }, &stale, false).await.unwrap().written,
        collection.patch(&ID, &patch(doc! { "n": 9 }), &stale).await.unwrap(),
        collection.delete(&ID, &stale).await.unwrap(),
    ] {
        assert!(matches!(written, Written::Changed), "{written:?}");
    }
    assert_eq!(stored(&collection).await, doc! { "_id": 0_i64, "n": 1.5 });

    let fresh = tag(&collection).await;
    let Written::Done(patched) = collection.patch(&ID, &patch(doc! { "n": 2.0 }), &fresh).await.unwrap()
    else {
        panic!("the tag is fresh")
    };
    assert_eq!(tag(&collection).await, Expect::Etag(patched.etag().clone()));
    assert!(matches!(collection.delete(&ID, &fresh).await.unwrap(), Written::Changed));
    assert!(matches!(collection.delete(&ID, &tag(&collection).await).await.unwrap(), Written::Done(_)));
    assert!(matches!(collection.delete(&ID, &Expect::Any).await.unwrap(), Written::Missing));
}

#[tokio::test]
async fn a_merge_does_what_the_rfc_says_wherever_it_goes() {
    let before =
        doc! { "_id": 0_i64, "a": 1, "b": { "c": 1, "d": 2 }, "e": [1, 2], "f": 5, "g": [{ "h": 1 }] };
    let cases = [
        doc! { "a": 2, "b": { "c": Bson::Null, "x": 3 }, "e": [3] },
        doc! { "f": { "g": Bson::Null, "h": 1 } },
        doc! { "g": { "0": 7 } },
        doc! { "new": { "deep": { "er": 1 } } },
        doc! { "new": {} },
        doc! { "b": {} },
        doc! { "none": Bson::Null },
        doc! {},
    ];
    let collection = collection(schema()).await;
    fill(&collection, std::slice::from_ref(&before)).await;
    for changes in cases {
        for expect in [Expect::Any, Expect::Present, Expect::Etag(Etag::of(raw(&before).as_bytes()))] {
            collection.replace(&ID, before.clone(), &Expect::Any, true).await.unwrap();
            let expected = patch(changes.clone()).apply(&raw(&before), collection.schema()).unwrap();
            let written = collection.patch(&ID, &patch(changes.clone()), &expect).await.unwrap();
            let Written::Done(after) = written else { panic!("{changes}: {written:?}") };
            assert_eq!(
                Document::try_from(after.raw()).unwrap(),
                Document::try_from(expected.as_ref()).unwrap()
            );
            assert_eq!(after.raw().as_bytes(), collection.get(&ID).await.unwrap().unwrap().as_bytes());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writers_with_one_tag_exactly_one_wins() {
    let collection = collection(schema()).await;
    fill(&collection, &[doc! { "_id": 0_i64, "n": 0 }]).await;
    for round in 1..=5 {
        let fresh = tag(&collection).await;
        let writers = (0..8).map(|writer| {
            let (collection, fresh) = (collection.clone(), fresh.clone());
            tokio::spawn(async move {
                let written = match writer % 2 {
                    0 => collection
                        .patch(&ID, &patch(doc! { "n": round, "by": writer }), &fresh)
                        .await
                        .unwrap(),
                    _ => {
                        let next = doc! { "n": round, "by": writer };
                        collection.replace(&ID, next, &fresh, false).await.unwrap().written
                    }
                };
                matches!(written, Written::Done(_))
            })
        });
        let mut winners = 0;
        for writer in writers.collect::<Vec<_>>() {
            winners += u32::from(writer.await.unwrap());
        }
        assert_eq!(winners, 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_another_writer_adds_counts_as_a_change() {
    let collection = collection(schema()).await;
    fill(&collection, &[doc! { "_id": 0_i64, "n": 0 }]).await;
    let fresh = tag(&collection).await;
    collection.patch(&ID, &patch(doc! { "added": true }), &Expect::Any).await.unwrap();
    assert!(matches!(collection.delete(&ID, &fresh).await.unwrap(), Written::Changed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_merge_is_lost_when_many_meet() {
    let collection = collection(schema()).await;
    fill(&collection, &[doc! { "_id": 0_i64, "o": { "start": 1 }, "scalar": 1 }]).await;
    let writers = (0..6).map(|writer| {
        let collection = collection.clone();
        tokio::spawn(async move {
            // The first goes by MongoDB's operators; the second has to read first, since a number is in its way.
            let direct = doc! { "o": { format!("w{writer}"): 1 } };
            let careful = doc! { "scalar": { format!("w{writer}"): {} } };
            for changes in [direct, careful] {
                collection.patch(&ID, &patch(changes), &Expect::Any).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let document = stored(&collection).await;
    assert_eq!(document.get_document("o").unwrap().len(), 7);
    assert_eq!(document.get_document("scalar").unwrap().len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_upserts_one_inserts() {
    let collection = collection(schema()).await;
    let writers = (0..8).map(|writer| {
        let collection = collection.clone();
        tokio::spawn(async move {
            collection.replace(&ID, doc! { "by": writer }, &Expect::Any, true).await.unwrap().inserted
        })
    });
    let mut inserted = 0;
    for writer in writers.collect::<Vec<_>>() {
        inserted += u32::from(writer.await.unwrap());
    }
    assert_eq!(inserted, 1);
}

#[tokio::test]
async fn a_taken_id_leaves_the_other_inserts_alone_and_is_named() {
    let collection = collection(schema()).await;
    let item = |id: i64| (Id::Int(id), raw(&doc! { "_id": id }));
    collection.insert_many(vec![item(2)]).await.unwrap();
    let outcomes = collection.insert_many(vec![item(1), item(2), item(3)]).await.unwrap();
    let errors: Vec<_> = outcomes.into_iter().map(Result::err).collect();
    let refused = errors[1].as_ref().unwrap();
    assert_eq!((refused.kind(), refused.field()), (ErrorKind::Conflict, Some("_id")));
    assert!(errors[0].is_none() && errors[2].is_none());
    assert_eq!(collection.count(&crate::document::Filter::All).await.unwrap(), 3);
    assert_eq!(collection.estimated_count().await.unwrap(), 3);
}
