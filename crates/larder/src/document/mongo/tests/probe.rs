//! What the probe finds, and the indexes of a declaration.

use bson::doc;
use larder_testkit::mongo;

use super::{collection, database, fill};
use crate::{
    ErrorKind,
    document::{
        Database, Direction, Filter, Find, IndexUse, SortKey,
        sqlite::tests::{schema, walk},
    },
};

#[tokio::test]
async fn the_probe_tells_what_the_server_can_do() {
    let probe = database().await.probe().await.unwrap();
    assert_eq!(probe.engine, "mongodb");
    assert!(probe.wire_version.unwrap() >= 9, "the driver works with MongoDB 4.4 and newer");
    assert!(probe.server_time.is_some());
    let names: Vec<_> = probe.capabilities.iter().map(|capability| capability.name).collect();
    assert_eq!(names, ["replica set", "sessions", "transactions", "change streams", "explain"]);
    mongo::note(&format!("it says it is {}, a {}", probe.version, probe.topology.name()));
    for capability in &probe.capabilities {
        if !capability.available {
            mongo::not_run(capability.name);
        }
    }
}

#[tokio::test]
async fn declared_fields_get_their_indexes_once_and_answers_stay_the_same() {
    let collection = collection(schema()).await;
    fill(
        &collection,
        &[doc! { "_id": 0_i64, "n": 1.0 }, doc! { "_id": 1_i64, "n": 1.0 }, doc! { "_id": 2_i64 }],
    )
    .await;
    let sort = vec![SortKey { path: "n".into(), direction: Direction::Descending }];
    let find = Find { sort, ..Find::new(Filter::All, 2) };
    let before = walk(&collection, find.clone()).await;
    let missing = collection.index_report().await.unwrap();
    assert!(missing.iter().all(|report| report.index.is_none()));
    collection.ensure_indexes().await.unwrap();
    collection.ensure_indexes().await.unwrap();
    let report = collection.index_report().await.unwrap();
    assert!(report.iter().all(|report| report.index.is_some()), "{report:?}");
    let tags: Vec<_> =
        report.iter().filter(|report| report.field == "tags").map(|report| report.usage).collect();
    assert_eq!(tags, [IndexUse::Filter, IndexUse::Search]);
    assert_eq!(walk(&collection, find).await, before);
}

#[tokio::test]
async fn a_url_that_cannot_work_is_refused_without_its_password() {
    for url in [
        "mongodb://ann:hush@localhost:1",
        "mongodb://ann:hush@localhost:notaport/shop",
        "http://ann:hush@x/y",
    ] {
        let error = Database::mongo(url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}
