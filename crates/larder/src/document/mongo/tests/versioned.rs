//! Versioned writes: what came late, twice or out of order.

use std::collections::BTreeMap;

use bson::{Document, doc};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde::{Deserialize, Serialize};

use super::{collection, database};
use crate::{
    ErrorKind,
    document::{Expect, Id, IdType, Schema, mongo::versioned::*, store::Store},
    source::{MongoSink, Sink, Source},
};

fn schema() -> Schema {
    Schema::new("things", IdType::Int)
}

async fn stored(store: &Store, id: i64) -> Option<Document> {
    let raw = store.get(&Id::Int(id)).await.unwrap()?;
    Some(Document::try_from(raw.as_ref()).unwrap())
}

fn write(id: i64, version: i64, n: Option<i32>) -> VersionedWrite {
    VersionedWrite { id: Id::Int(id), document: n.map(|n| doc! { "n": n }), version }
}

fn all_ok(outcomes: &[crate::Result<()>]) -> bool {
    outcomes.iter().all(Result::is_ok)
}

/// Whatever is delivered in whatever order and how often: the write with the highest version of each document stands.
#[tokio::test]
async fn an_older_write_never_overwrites_a_newer_one() {
    for removals in [Removals::LeaveTraces, Removals::LeaveNothing] {
        let store = collection(schema()).await;
        let mongo = store.mongo().unwrap();
        let mut dice = StdRng::seed_from_u64(7);
        let mut writes = Vec::new();
        for version in 1..120_i32 {
            // Without traces a removal forgets its version, so that nothing older may come after it.
            let removes = removals == Removals::LeaveTraces && dice.random_bool(0.3);
            writes.push(write(dice.random_range(0..9), version.into(), (!removes).then_some(version)));
        }
        let mut deliveries = [writes.clone(), writes.iter().step_by(3).cloned().collect()].concat();
        deliveries.shuffle(&mut dice);
        let mut batch: BTreeMap<i64, VersionedWrite> = BTreeMap::new();
        for delivery in deliveries {
            let Id::Int(id) = delivery.id else { panic!("an integer") };
            if batch.contains_key(&id) || batch.len() > 5 {
                let sent: Vec<_> = std::mem::take(&mut batch).into_values().collect();
                assert!(mongo.apply(&sent, removals).await.iter().all(Result::is_ok));
            }
            batch.insert(id, delivery);
        }
        let sent: Vec<_> = batch.into_values().collect();
        assert!(mongo.apply(&sent, removals).await.iter().all(Result::is_ok));
        for id in 0..9 {
            let last = writes.iter().rev().find(|write| write.id == Id::Int(id)).unwrap();
            let found = stored(&store, id).await.unwrap();
            assert_eq!(found.get_i64(VERSION).unwrap(), last.version, "{removals:?}: document {id}");
            let value = found.get_i32("n").ok();
            assert_eq!(value, last.document.as_ref().map(|document| document.get_i32("n").unwrap()));
        }
    }
}

#[tokio::test]
async fn without_traces_a_removal_deletes_unless_a_later_write_is_there() {
    let store = collection(schema()).await;
    let mongo = store.mongo().unwrap();
    let apply = async |one| assert!(all_ok(&mongo.apply(&[one], Removals::LeaveNothing).await));
    apply(write(1, 5, Some(5))).await;
    apply(write(1, 4, None)).await;
    assert_eq!(stored(&store, 1).await.unwrap().get_i32("n").unwrap(), 5, "the later one stands");
    apply(write(1, 6, None)).await;
    assert_eq!(stored(&store, 1).await, None);
    apply(write(1, 6, None)).await;
    // What has no version was written by somebody else, before.
    store.replace(&Id::Int(2), doc! { "n": 0, "other": 1 }, &Expect::Any, true).await.unwrap();
    apply(write(2, 1, Some(1))).await;
    assert_eq!(stored(&store, 2).await.unwrap(), doc! { "_id": 2_i64, "n": 1, VERSION: 1_i64 });
}

#[tokio::test]
async fn a_document_that_is_refused_leaves_the_others_of_its_batch_alone() {
    let store = collection(schema()).await;
    let mongo = store.mongo().unwrap();
    let unique = mongodb::options::IndexOptions::builder().unique(true).build();
    let index = mongodb::IndexModel::builder().keys(doc! { "n": 1 }).options(unique).build();
    mongo.driver().create_index(index).await.unwrap();
    let outcomes = mongo
        .apply(&[write(1, 1, Some(7)), write(2, 2, Some(7)), write(3, 3, Some(8))], Removals::LeaveNothing)
        .await;
    let refused: Vec<_> =
        outcomes.iter().map(|it| it.as_ref().err().map(|error| (error.kind(), error.field()))).collect();
    assert_eq!(refused, [None, Some((ErrorKind::Conflict, Some("n"))), None]);
    assert!(stored(&store, 3).await.is_some());
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Cart {
    items: u32,
}

#[tokio::test]
async fn values_of_ones_own_type_go_through_the_sink_and_traces_are_not_read() {
    let database = database().await;
    let sink = MongoSink::<i64, Cart>::new(&database, schema()).unwrap();
    let traced = sink.clone().keep_traces(std::time::Duration::from_secs(3_600)).await.unwrap();
    let write = |value: Option<u32>, version| crate::source::Write {
        key: 1,
        value: value.map(|items| Cart { items }),
        version,
    };
    assert!(all_ok(&traced.apply(&[write(Some(3), 10)]).await));
    assert_eq!(traced.load(&1).await.unwrap(), Some(Cart { items: 3 }));
    assert!(all_ok(&traced.apply(&[write(None, 12)]).await));
    assert_eq!(traced.load_many(&[1, 2]).await.unwrap(), [None, None]);
    assert!(all_ok(&traced.apply(&[write(Some(4), 11)]).await), "it came too late, and is done with");
    assert_eq!(traced.load(&1).await.unwrap(), None);
    sink.put(&1, &Cart { items: 9 }).await.unwrap();
    assert_eq!(sink.load(&1).await.unwrap(), Some(Cart { items: 9 }));
    sink.remove(&1).await.unwrap();
    assert_eq!(sink.load(&1).await.unwrap(), None);
    let too_large = write(Some(1), u64::MAX);
    assert_eq!(sink.apply(&[too_large]).await[0].as_ref().unwrap_err().kind(), ErrorKind::Invalid);
    let short = sink.keep_traces(std::time::Duration::ZERO).await.unwrap_err();
    assert_eq!(short.field(), Some("keep_for"));
}
