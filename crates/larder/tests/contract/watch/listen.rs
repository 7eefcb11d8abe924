//! Changes that are told to whoever listens in the process that applies them.

use bson::doc;
use larder::document::{Change, ChangeKind, Changes, Collection, Id, Told, Watch};
use larder_testkit::mongo;

use super::place::{Place, n, next, sees, stats, until, until_led, watch};
use crate::setup::Backend;

async fn next_change(changes: &mut Changes) -> Change {
    match next(changes).await {
        Some(Told::Change { change, .. }) => change,
        other => panic!("{other:?} instead of a change"),
    }
}

async fn begins(changes: &mut Changes, place: &Place, lost: bool) {
    let collection = place.name.as_str().into();
    let expected = if lost { Told::HistoryLost { collection } } else { Told::Resumed { collection } };
    assert_eq!(next(changes).await, Some(expected));
}

/// A watch of this node, and one who listens from its start.
fn listened(node: &Collection) -> (Watch, Changes) {
    watch(node).start_listening().expect("the lease is long enough")
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_on_being_told_sees_the_change() {
    for backend in Backend::ALL {
        let place = Place::new().await;
        let node = place.node(backend.connect().await.as_ref()).await;
        let (_watch, mut changes) = listened(&node);
        begins(&mut changes, &place, true).await;
        for round in 0..20 {
            let id = doc! { "_id": 1 };
            for kind in [ChangeKind::Insert, ChangeKind::Update, ChangeKind::Replace, ChangeKind::Delete] {
                n(&node, 1).await;
                let expected = match kind {
                    ChangeKind::Insert => {
                        place.things.insert_one(doc! { "_id": 1, "n": round }).await.expect("an insert");
                        Some(round)
                    }
                    ChangeKind::Update => {
                        let change = doc! { "$set": { "n": round + 100 } };
                        place.things.update_one(id.clone(), change).await.expect("an update");
                        Some(round + 100)
                    }
                    ChangeKind::Replace => {
                        place.things.replace_one(id.clone(), doc! { "n": -1_i64 }).await.expect("a replace");
                        Some(-1)
                    }
                    _ => {
                        place.things.delete_one(id.clone()).await.expect("a delete");
                        None
                    }
                };
                let told = next_change(&mut changes).await;
                assert_eq!((told.kind, told.id), (kind, Some(Id::Int(1))), "{backend:?}");
                assert!(told.at_unix_ms.is_some());
                assert_eq!(n(&node, 1).await, expected, "{backend:?}: {kind:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_id_of_the_collection_is_told_without_one() {
    // Of its own: while the stand-in renames, it records no changes of other collections.
    let server = mongo::Server::start();
    let place = Place::on(&server).await;
    let node = place.node(None).await;
    let (_watch, mut changes) = listened(&node);
    begins(&mut changes, &place, true).await;
    place.things.insert_one(doc! { "_id": "a text" }).await.expect("an insert");
    let told = next_change(&mut changes).await;
    assert_eq!((told.kind, told.id), (ChangeKind::Insert, None));

    for (kind, end) in [
        (ChangeKind::Drop, &[ChangeKind::Drop, ChangeKind::Invalidate][..]),
        (ChangeKind::Rename, &[ChangeKind::Rename, ChangeKind::Invalidate]),
        // The stream of a collection is told of its database's end as of its own.
        (ChangeKind::DropDatabase, &[ChangeKind::Drop, ChangeKind::Invalidate]),
    ] {
        place.put(1, 1).await;
        assert_eq!(next_change(&mut changes).await.id, Some(Id::Int(1)));
        assert_eq!(n(&node, 1).await, Some(1));
        let database = place.things.client().database(&place.things.namespace().db);
        match kind {
            ChangeKind::Drop => place.things.drop().await.expect("a drop"),
            ChangeKind::Rename => place.rename("elsewhere").await,
            _ => database.drop().await.expect("a drop"),
        }
        for expected in end {
            let told = next_change(&mut changes).await;
            assert_eq!((told.kind, told.id), (*expected, None), "{kind:?}");
            assert_eq!(n(&node, 1).await, None, "{kind:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_document_are_told_one_by_one_and_in_their_order() {
    let place = Place::new().await;
    let node = place.node(None).await;
    let (_watch, mut changes) = listened(&node);
    begins(&mut changes, &place, true).await;
    let many = (0..500_i64).map(|id| doc! { "_id": id });
    place.things.insert_many(many).await.expect("inserts");
    for id in 0..500 {
        place
            .things
            .update_one(doc! { "_id": id % 3 }, doc! { "$set": { "n": id } })
            .await
            .expect("an update");
    }
    for (kind, modulus) in [(ChangeKind::Insert, 500), (ChangeKind::Update, 3)] {
        for id in 0..500 {
            let told = next_change(&mut changes).await;
            assert_eq!((told.kind, told.id), (kind, Some(Id::Int(id % modulus))));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_reads_nothing_holds_nothing_up_and_is_told_what_it_missed() {
    let place = Place::new().await;
    let node = place.node(None).await;
    let (watch, mut changes) = listened(&node);
    until_led(&[&watch]).await;
    let mut attentive = watch.changes();
    for thousand in 0..5_i64 {
        let many = (0..1_000).map(|id| doc! { "_id": thousand * 1_000 + id });
        place.things.insert_many(many).await.expect("inserts");
        for _ in 0..1_000 {
            next_change(&mut attentive).await;
        }
    }
    until(&watch, "all are applied", |stats| stats.invalidated == 5_000).await;
    // Of 5,001, the beginning included, 4,096 stand ready.
    assert_eq!(next(&mut changes).await, Some(Told::Missed(905)));
    for id in 904..5_000 {
        assert_eq!(next_change(&mut changes).await.id, Some(Id::Int(id)));
    }
    watch.stop().await;
    assert_eq!(next(&mut changes).await, None);
    assert_eq!(next(&mut watch.changes()).await, None, "it has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_process_that_leads_is_told_and_the_next_one_goes_on_where_it_was() {
    for backend in Backend::SHARED {
        let place = Place::new().await;
        let nodes = place.nodes(backend).await;
        let (first, mut told_first) = listened(&nodes[0]);
        begins(&mut told_first, &place, true).await;
        let (second, mut told_second) = listened(&nodes[1]);
        place.put(1, 1).await;
        assert_eq!(next_change(&mut told_first).await.id, Some(Id::Int(1)), "{backend:?}");
        until(&first, "its point is stored behind it", |stats| stats.invalidated == 1).await;
        first.stop().await;
        assert_eq!(next(&mut told_first).await, None);

        place.put(2, 1).await;
        begins(&mut told_second, &place, false).await;
        let mut told = next_change(&mut told_second).await;
        if told.id == Some(Id::Int(1)) {
            // The first one was stopped between applying it and storing the point.
            told = next_change(&mut told_second).await;
        }
        assert_eq!(told.id, Some(Id::Int(2)), "{backend:?}");
        assert_eq!(stats(&second).clears, 0, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_history_is_told_when_everything_cached_is_forgotten() {
    for backend in Backend::SHARED {
        let place = Place::new().await;
        let node = place.node(backend.connect().await.as_ref()).await;
        let (first, mut changes) = listened(&node);
        begins(&mut changes, &place, true).await;
        place.put(1, 1).await;
        assert_eq!(next_change(&mut changes).await.kind, ChangeKind::Insert);
        sees(&node, 1, Some(1)).await;
        first.stop().await;
        place.put(1, 2).await;
        if !mongo::shared().forget_changes(&place.things.namespace().to_string()) {
            return mongo::not_run("losing the change history on demand");
        }
        assert_eq!(n(&node, 1).await, Some(1), "{backend:?}: nobody watches");
        let (_second, mut changes) = listened(&node);
        begins(&mut changes, &place, true).await;
        assert_eq!(n(&node, 1).await, Some(2), "{backend:?}");
    }
}
