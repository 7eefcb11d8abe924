//! Writes and aggregations of someone who may touch only the documents that match.

use std::sync::atomic::{AtomicBool, Ordering};

use bson::{Bson, Document, doc};
use larder::{
    ErrorKind,
    document::{
        Collection, CompareOp, Etag, Expect, Filter, Find, Id, IdType, MergePatch, Pipeline, Schema, Written,
    },
};

use super::backend::{Backend, Place, document, unique};

const ID: Id = Id::Int(1);

fn of(tenant: &str) -> Filter {
    Filter::Compare { path: "tenant".into(), op: CompareOp::Eq, value: tenant.into() }
}

fn patch(changes: Document) -> MergePatch {
    MergePatch::new(changes).unwrap()
}

fn orders(place: &Place) -> Collection {
    let count = vec![doc! { "$group": { "_id": Bson::Null, "n": { "$sum": "$n" } } }];
    let schema = Schema::new(unique("orders"), IdType::Int).strict(false);
    place.collection(schema.pipeline(Pipeline::new("sum", count, vec![]).unwrap()))
}

/// The document 1 as the database has it.
async fn stored(orders: &Collection) -> Option<Document> {
    let filter = Filter::Compare { path: "_id".into(), op: CompareOp::Eq, value: 1_i64.into() };
    orders.find(&Find::new(filter, 1)).await.unwrap().items.first().map(document)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_outside_is_as_good_as_absent() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let orders = orders(&place);
        let before = doc! { "_id": 1_i64, "tenant": "a", "n": 1, "o": { "n": 1 } };
        orders.insert(before.clone()).await.unwrap();
        let tag = orders.get(&ID).await.unwrap().unwrap().etag().clone();
        let rows = of("b");
        let other = orders.within(&rows);
        for expect in [Expect::Any, Expect::Present, Expect::Etag(tag), Expect::Etag(Etag::of(b"x"))] {
            let mine = doc! { "tenant": "b" };
            let writes = [
                other.replace(&ID, mine.clone(), &expect).await.unwrap(),
                other.patch(&ID, &patch(doc! { "n": 2 }), &expect).await.unwrap(),
                other.patch(&ID, &patch(doc! { "o": { "n": 2 } }), &expect).await.unwrap(),
                other.patch(&ID, &patch(mine), &expect).await.unwrap(),
                other.patch(&ID, &patch(doc! {}), &expect).await.unwrap(),
                other.delete(&ID, &expect).await.unwrap(),
            ];
            for written in writes {
                assert!(matches!(written, Written::Missing), "{backend:?} {expect:?}: {written:?}");
            }
        }
        let error = other.put(&ID, doc! { "tenant": "b" }).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Conflict, Some("_id")), "{backend:?}: {error}");
        assert_eq!(stored(&orders).await, Some(before), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_leaves_a_document_outside() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let orders = orders(&place);
        let before = doc! { "_id": 1_i64, "tenant": "a", "n": 1 };
        orders.insert(before.clone()).await.unwrap();
        let tag = orders.get(&ID).await.unwrap().unwrap().etag().clone();
        let rows = of("a");
        let own = orders.within(&rows);
        for expect in [Expect::Any, Expect::Present, Expect::Etag(tag)] {
            let writes = [
                own.replace(&ID, doc! { "tenant": "b" }, &expect).await.unwrap(),
                own.replace(&Id::Int(9), doc! { "n": 1 }, &expect).await.unwrap(),
                own.patch(&ID, &patch(doc! { "tenant": "b", "n": 2 }), &expect).await.unwrap(),
                own.patch(&ID, &patch(doc! { "tenant": Bson::Null }), &expect).await.unwrap(),
                own.patch(&ID, &patch(doc! { "tenant": { "x": 1 } }), &expect).await.unwrap(),
            ];
            for written in writes {
                assert!(matches!(written, Written::Outside), "{backend:?} {expect:?}: {written:?}");
            }
        }
        for id in [ID, Id::Int(9)] {
            assert_eq!(own.put(&id, doc! { "tenant": "b" }).await.unwrap_err().kind(), ErrorKind::Invalid);
        }
        assert_eq!(orders.count(&Filter::All).await.unwrap(), 1, "{backend:?}");
        assert_eq!(stored(&orders).await, Some(before), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_documents_are_written_as_ever() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let orders = orders(&place);
        let rows = of("a");
        let own = orders.within(&rows);
        assert!(own.put(&ID, doc! { "tenant": "a", "n": 1 }).await.unwrap().created, "{backend:?}");
        assert!(!own.put(&ID, doc! { "tenant": "a", "n": 2 }).await.unwrap().created, "{backend:?}");
        for changes in [doc! { "n": 3 }, doc! { "tenant": "a", "n": 3 }] {
            let patched = own.patch(&ID, &patch(changes), &Expect::Any).await.unwrap();
            let Written::Done(patched) = patched else { panic!("{backend:?}: {patched:?}") };
            assert_eq!(patched.raw().get_i32("n").unwrap(), 3);
        }
        let replaced = own.replace(&ID, doc! { "tenant": "a" }, &Expect::Present).await.unwrap();
        assert!(matches!(replaced, Written::Done(_)), "{backend:?}: {replaced:?}");
        assert!(matches!(own.delete(&ID, &Expect::Any).await.unwrap(), Written::Done(_)), "{backend:?}");
        assert_eq!(stored(&orders).await, None, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregation_begins_with_the_documents_that_match() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let orders = orders(&place);
        let documents = [("a", 1), ("a", 2), ("ab", 4), ("b", 8)];
        let documents = documents
            .iter()
            .zip(1_i64..)
            .map(|((tenant, n), id)| doc! { "_id": id, "tenant": *tenant, "n": *n });
        orders.insert_many(&documents.collect::<Vec<_>>()).await.unwrap();
        let prefix = Filter::Prefix { path: "tenant".into(), text: "a".into() };
        for (rows, sum) in [(Filter::All, 15), (of("a"), 3), (prefix, 7)] {
            let found = orders.within(&rows).aggregate("sum", &Default::default()).await.unwrap();
            assert_eq!(found[0].get_i32("n").unwrap(), sum, "{backend:?}: {rows:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_moves_away_at_the_same_time_is_not_written() {
    const MOVES: usize = 150;
    for backend in Backend::ALL {
        let place = backend.place().await;
        let orders = orders(&place);
        let home = doc! { "_id": 1_i64, "tenant": "a" };
        orders.insert(home.clone()).await.unwrap();
        let (done, rows) = (AtomicBool::new(false), of("a"));
        let marked = |changes: Document| {
            let (orders, done, rows) = (&orders, &done, &rows);
            async move {
                while !done.load(Ordering::Relaxed) {
                    let patched = orders.within(rows).patch(&ID, &patch(changes.clone()), &Expect::Any).await;
                    // The others may be in the way for ever; that is told.
                    assert!(
                        patched.as_ref().map_or_else(|error| error.kind() == ErrorKind::Conflict, |_| true)
                    );
                    tokio::task::yield_now().await;
                }
            }
        };
        let moved = async {
            for _ in 0..MOVES {
                let away = doc! { "_id": 1_i64, "tenant": "b" };
                orders.replace(&ID, away.clone(), &Expect::Any).await.unwrap();
                for _ in 0..3 {
                    assert_eq!(stored(&orders).await, Some(away.clone()), "{backend:?}");
                }
                orders.replace(&ID, home.clone(), &Expect::Any).await.unwrap();
            }
            done.store(true, Ordering::Relaxed);
        };
        // One that the database can carry out by itself, and one for which it has to be looked at.
        tokio::join!(moved, marked(doc! { "mark": 1 }), marked(doc! { "tenant": "a", "mark": 2 }));
    }
}
