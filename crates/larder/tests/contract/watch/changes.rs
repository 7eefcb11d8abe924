//! Each kind of change.

use bson::doc;
use larder::{
    cache::ReadOptions,
    document::{ChangeKind, Filter, Find, Id, Listing, WatchRole},
};
use larder_testkit::{eventually, mongo};

use super::place::{Place, SOON, n, sees, stats, until, until_led, watch};
use crate::setup::{Backend, lasting};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_past_larder_is_seen_by_the_cached_reads_of_every_node() {
    for backend in Backend::ALL {
        let place = Place::new().await;
        place.put(1, 10).await;
        let nodes = place.nodes(backend).await;
        let watches: Vec<_> = nodes.iter().map(|node| watch(node).start().unwrap()).collect();
        until_led(&watches.iter().collect::<Vec<_>>()).await;
        for round in 11..20 {
            for node in &nodes {
                n(node, 1).await;
            }
            let change = doc! { "$set": { "n": round } };
            place.things.update_one(doc! { "_id": 1 }, change).await.expect("an update");
            for node in &nodes {
                sees(node, 1, Some(round)).await;
            }
        }
        let hits: u64 = nodes.iter().map(|node| node.stats().near_hits).sum();
        assert!(hits > 0, "{backend:?}: it is cached in between");
    }
}

/// As a program stores it whose language has one type of number.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_document_whose_id_is_a_whole_double_is_seen() {
    for backend in Backend::ALL {
        let place = Place::new().await;
        let id = 5_000_000_000_i64;
        let (stored, change) = (doc! { "_id": id as f64, "n": 1_i64 }, doc! { "$set": { "n": 2_i64 } });
        place.things.insert_one(stored).await.expect("an insert");
        let nodes = place.nodes(backend).await;
        let watches: Vec<_> = nodes.iter().map(|node| watch(node).start().unwrap()).collect();
        until_led(&watches.iter().collect::<Vec<_>>()).await;
        for node in &nodes {
            assert_eq!(n(node, id).await, Some(1), "{backend:?}");
            let many = node.get_many(&[Id::Int(id)]).await.unwrap();
            assert!(many[0].is_some(), "{backend:?}: it is found among many");
        }
        place.things.update_one(doc! { "_id": id as f64 }, change).await.expect("an update");
        for node in &nodes {
            sees(node, id, Some(2)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_change_past_larder_is_seen_by_the_cached_lists_of_every_node() {
    for backend in Backend::ALL {
        let place = Place::new().await;
        let mut nodes = Vec::new();
        for _ in 0..if backend == Backend::Memory { 1 } else { 2 } {
            let builder = place.builder(&place.url, backend.connect().await.as_ref()).await;
            nodes.push(builder.cache_lists(lasting()).build().unwrap());
        }
        let watches: Vec<_> = nodes.iter().map(|node| watch(node).start().unwrap()).collect();
        until_led(&watches.iter().collect::<Vec<_>>()).await;
        let find = Find::new(Filter::All, 10);
        for step in 0..5 {
            for node in &nodes {
                node.read_page(&find, &ReadOptions::default()).await.unwrap();
            }
            let id = doc! { "_id": 1 };
            match step {
                0 => drop(place.things.insert_one(doc! { "_id": 1, "n": 1_i64 }).await.expect("an insert")),
                1 => drop(place.things.update_one(id, doc! { "$inc": { "n": 1 } }).await.expect("an update")),
                2 => drop(place.things.replace_one(id, doc! { "n": 3_i64 }).await.expect("a replace")),
                3 => drop(place.things.delete_one(id).await.expect("a delete")),
                // Of an id that cannot be cached by itself.
                _ => drop(place.things.insert_one(doc! { "_id": "a text" }).await.expect("an insert")),
            }
            let expected = Listing::from(nodes[0].find(&find).await.unwrap());
            for node in &nodes {
                eventually("the list is as the database has it", SOON, || async {
                    let read = node.read_page(&find, &ReadOptions::default()).await.unwrap();
                    read.value.as_deref() == Some(&expected)
                })
                .await;
            }
        }
        for node in &nodes {
            assert!(node.list_stats().unwrap().loads < 40, "{backend:?}: they are cached in between");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_change_of_a_document_is_seen_and_counted() {
    let place = Place::new().await;
    let node = place.node(None).await;
    let watch = watch(&node).start().unwrap();
    until_led(&[&watch]).await;
    let id = doc! { "_id": 1 };

    assert_eq!(n(&node, 1).await, None, "cached: there is none");
    place.things.insert_one(doc! { "_id": 1, "n": 1_i64 }).await.expect("an insert");
    sees(&node, 1, Some(1)).await;
    place.things.update_one(id.clone(), doc! { "$inc": { "n": 1 } }).await.expect("an update");
    sees(&node, 1, Some(2)).await;
    place.things.replace_one(id.clone(), doc! { "n": 3_i64 }).await.expect("a replace");
    sees(&node, 1, Some(3)).await;
    place.things.delete_one(id).await.expect("a delete");
    sees(&node, 1, None).await;
    // Of an id that Larder cannot have.
    place.things.insert_one(doc! { "_id": "a text" }).await.expect("an insert");

    until(&watch, "all are counted", |stats| stats.foreign == 1).await;
    let stats = stats(&watch);
    for (kind, count) in
        [(ChangeKind::Insert, 2), (ChangeKind::Update, 1), (ChangeKind::Replace, 1), (ChangeKind::Delete, 1)]
    {
        assert_eq!(stats.changes_of(kind), count, "{kind:?}: {stats:?}");
    }
    assert_eq!((stats.role, stats.invalidated, stats.clears), (WatchRole::Leading, 4, 1));
    assert!(stats.longest_lag < SOON && stats.lag.is_some(), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_the_whole_collection_clears_it_and_the_watch_goes_on() {
    // Of its own: while the stand-in renames, it records no changes of other collections.
    let server = mongo::Server::start();
    for backend in Backend::ALL {
        let place = Place::on(&server).await;
        let nodes = place.nodes(backend).await;
        let watch = watch(&nodes[0]).start().unwrap();
        until_led(&[&watch]).await;
        for kind in [ChangeKind::Drop, ChangeKind::Rename, ChangeKind::DropDatabase] {
            place.put(1, 1).await;
            for node in &nodes {
                sees(node, 1, Some(1)).await;
            }
            let database = place.things.client().database(&place.things.namespace().db);
            match kind {
                ChangeKind::Drop => place.things.drop().await.expect("a drop"),
                ChangeKind::Rename => place.rename("elsewhere").await,
                _ => database.drop().await.expect("a drop"),
            }
            for node in &nodes {
                sees(node, 1, None).await;
            }
            // The stream of a collection is told of its database's end as of its own.
            let (told, count) =
                if kind == ChangeKind::DropDatabase { (ChangeKind::Drop, 2) } else { (kind, 1) };
            until(&watch, "it is counted", |stats| stats.changes_of(told) == count).await;
        }
        until(&watch, "the last stream has ended", |stats| stats.changes_of(ChangeKind::Invalidate) == 3)
            .await;
        // And what comes after is seen as well.
        place.put(2, 1).await;
        for node in &nodes {
            sees(node, 2, Some(1)).await;
        }
        place.put(2, 2).await;
        for node in &nodes {
            sees(node, 2, Some(2)).await;
        }
        let stats = stats(&watch);
        assert_eq!((stats.history_lost, stats.failures), (0, 0), "{stats:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cached_before_anybody_watched_is_forgotten() {
    for backend in Backend::ALL {
        let place = Place::new().await;
        place.put(1, 1).await;
        let nodes = place.nodes(backend).await;
        for node in &nodes {
            assert_eq!(n(node, 1).await, Some(1));
        }
        place.put(1, 2).await;
        assert_eq!(n(&nodes[0], 1).await, Some(1), "{backend:?}: nobody watches");
        let _watch = watch(&nodes[0]).start().unwrap();
        for node in &nodes {
            sees(node, 1, Some(2)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_cached_alone_is_forgotten_with_its_document() {
    for backend in Backend::ALL {
        let place = Place::new().await;
        place.put(1, 1).await;
        let redis = backend.connect().await;
        let node = place.builder(&place.url, redis.as_ref()).await.partial("n", &["n"]).build().unwrap();
        let watch = watch(&node).start().unwrap();
        until_led(&[&watch]).await;
        let part = async || {
            let read = node.read_partial("n", &Id::Int(1), &ReadOptions::default()).await.unwrap();
            read.value.expect("it is there").raw().get_i64("n").expect("a number")
        };
        for round in 2..6 {
            // Once to have it, once from what is had.
            part().await;
            part().await;
            place.put(1, round).await;
            eventually("the change is seen", SOON, || async { part().await == round }).await;
        }
        let (_, stats) = node.partial_stats()[0];
        assert!(stats.near_hits > 0, "{backend:?}: it is cached in between");
    }
}
