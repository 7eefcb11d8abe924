//! The MongoDB of the tests does what MongoDB's manual says, as far as the product relies on it. Run it with
//! `LARDER_TEST_MONGO` or a `mongod` on the PATH to hold the stand-in against the real thing.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::TryStreamExt;
use larder_testkit::mongo::{self, Server};
use mongodb::{
    Client, Collection, Database,
    change_stream::{
        ChangeStream,
        event::{ChangeStreamEvent, OperationType, ResumeToken},
    },
    error::ErrorKind,
    options::{ClientOptions, FullDocumentType},
};

type Events = ChangeStream<ChangeStreamEvent<Document>>;

const PATIENCE: Duration = Duration::from_secs(10);
const CHANGE_STREAM_HISTORY_LOST: i32 = 286;

async fn database(server: &Server) -> Database {
    let mut options = ClientOptions::parse(server.url("")).await.expect("a URL");
    options.server_selection_timeout = Some(Duration::from_secs(5));
    Client::with_options(options).expect("a client").database(&mongo::database_name())
}

async fn next(events: &mut Events) -> ChangeStreamEvent<Document> {
    tokio::time::timeout(PATIENCE, events.try_next())
        .await
        .expect("an event in time")
        .expect("the stream is healthy")
        .expect("the stream goes on")
}

async fn ends(events: &mut Events) -> bool {
    let next = tokio::time::timeout(PATIENCE, events.try_next()).await.expect("an answer in time");
    next.expect("the stream is healthy").is_none()
}

fn key(event: &ChangeStreamEvent<Document>) -> i32 {
    event.document_key.as_ref().and_then(|key| key.get_i32("_id").ok()).expect("an integer key")
}

fn code(error: &mongodb::error::Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

#[tokio::test]
async fn an_insert_tells_the_document_its_key_and_its_place() {
    let database = database(mongo::shared()).await;
    let things = database.collection::<Document>("things");
    let mut events = things.watch().await.expect("a stream");
    things.insert_one(doc! { "_id": 1, "name": "bread" }).await.expect("an insert");
    let event = next(&mut events).await;
    assert_eq!(event.operation_type, OperationType::Insert);
    assert_eq!(key(&event), 1);
    assert_eq!(event.full_document, Some(doc! { "_id": 1, "name": "bread" }));
    let place = event.ns.expect("a namespace");
    assert_eq!((place.db.as_str(), place.coll.as_deref()), (database.name(), Some("things")));
    assert!(event.cluster_time.is_some());
}

#[tokio::test]
async fn a_refused_insert_is_no_event() {
    let things = database(mongo::shared()).await.collection::<Document>("things");
    things.insert_one(doc! { "_id": 1 }).await.expect("an insert");
    let mut events = things.watch().await.expect("a stream");
    let twice = things.insert_many([doc! { "_id": 1 }, doc! { "_id": 2 }]).ordered(false).await;
    assert!(twice.is_err());
    assert_eq!(key(&next(&mut events).await), 2);
}

#[tokio::test]
async fn an_update_tells_what_it_set_and_removed() {
    let things = database(mongo::shared()).await.collection::<Document>("things");
    let bread =
        doc! { "_id": 1, "name": "bread", "price": { "net": 3, "gross": 4 }, "tags": ["a"], "old": true };
    things.insert_one(bread).await.expect("an insert");
    let mut events = things.watch().await.expect("a stream");
    let update = doc! {
        "$set": { "price.net": 5, "name": "bread", "made.by.hand": true },
        "$unset": { "old": "", "never": "" },
        "$push": { "tags": "b" },
    };
    things.update_one(doc! { "_id": 1 }, update).await.expect("an update");
    let event = next(&mut events).await;
    assert_eq!(event.operation_type, OperationType::Update);
    assert_eq!(key(&event), 1);
    assert_eq!(event.full_document, None);
    let description = event.update_description.expect("a description");
    let expected = doc! { "price.net": 5, "made": { "by": { "hand": true } }, "tags.1": "b" };
    let told: std::collections::BTreeMap<_, _> = description.updated_fields.into_iter().collect();
    assert_eq!(told, expected.into_iter().collect());
    assert_eq!(description.removed_fields, ["old"]);
}

#[tokio::test]
async fn a_find_and_modify_is_an_event_and_an_update_without_effect_is_none() {
    let things = database(mongo::shared()).await.collection::<Document>("things");
    things.insert_one(doc! { "_id": 1, "n": 1 }).await.expect("an insert");
    let mut events = things.watch().await.expect("a stream");
    things.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 1 } }).await.expect("an update");
    things.find_one_and_update(doc! { "_id": 1 }, doc! { "$inc": { "n": 1 } }).await.expect("an update");
    things.find_one_and_delete(doc! { "_id": 1 }).await.expect("a delete");
    let event = next(&mut events).await;
    assert_eq!(event.update_description.expect("an update").updated_fields, doc! { "n": 2 });
    assert_eq!(next(&mut events).await.operation_type, OperationType::Delete);
}

#[tokio::test]
async fn a_replace_is_told_as_a_replace_and_an_upsert_as_an_insert() {
    let things = database(mongo::shared()).await.collection::<Document>("things");
    let mut events = things.watch().await.expect("a stream");
    things.replace_one(doc! { "_id": 1 }, doc! { "a": 1 }).upsert(true).await.expect("an upsert");
    things.replace_one(doc! { "_id": 1 }, doc! { "b": 2 }).await.expect("a replace");
    let event = next(&mut events).await;
    assert_eq!((event.operation_type.clone(), key(&event)), (OperationType::Insert, 1));
    let event = next(&mut events).await;
    assert_eq!((event.operation_type.clone(), key(&event)), (OperationType::Replace, 1));
    assert_eq!(event.full_document, Some(doc! { "_id": 1, "b": 2 }));
}

#[tokio::test]
async fn a_delete_tells_the_key_of_each_document() {
    let things = database(mongo::shared()).await.collection::<Document>("things");
    things.insert_many([doc! { "_id": 1 }, doc! { "_id": 2 }]).await.expect("inserts");
    let mut events = things.watch().await.expect("a stream");
    things.delete_many(doc! {}).await.expect("deletes");
    for id in [1, 2] {
        let event = next(&mut events).await;
        assert_eq!((event.operation_type.clone(), key(&event)), (OperationType::Delete, id));
        assert_eq!(event.full_document, None);
    }
}

#[tokio::test]
async fn the_full_document_is_looked_up_when_the_event_is_read() {
    let things = database(mongo::shared()).await.collection::<Document>("things");
    things.insert_one(doc! { "_id": 1, "n": 1 }).await.expect("an insert");
    let watching = things.watch().full_document(FullDocumentType::UpdateLookup);
    let mut events = watching.await.expect("a stream");
    things.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 2 } }).await.expect("an update");
    assert_eq!(next(&mut events).await.full_document, Some(doc! { "_id": 1, "n": 2 }));
}

#[tokio::test]
async fn a_pipeline_filters_the_events() {
    let things = database(mongo::shared()).await.collection::<Document>("things");
    let watching = things.watch().pipeline([doc! { "$match": { "operationType": "delete" } }]);
    let mut events = watching.await.expect("a stream");
    things.insert_one(doc! { "_id": 1 }).await.expect("an insert");
    things.delete_one(doc! { "_id": 1 }).await.expect("a delete");
    assert_eq!(next(&mut events).await.operation_type, OperationType::Delete);
}

#[tokio::test]
async fn another_collection_is_not_told() {
    let database = database(mongo::shared()).await;
    let (things, others) = (database.collection::<Document>("things"), database.collection("others"));
    let mut events = things.watch().await.expect("a stream");
    others.insert_one(doc! { "_id": 1 }).await.expect("an insert");
    things.insert_one(doc! { "_id": 2 }).await.expect("an insert");
    assert_eq!(key(&next(&mut events).await), 2);
}

#[tokio::test]
async fn a_drop_is_told_and_ends_the_stream() {
    let things = database(mongo::shared()).await.collection::<Document>("things");
    things.insert_one(doc! { "_id": 1 }).await.expect("an insert");
    let mut events = things.watch().await.expect("a stream");
    things.drop().await.expect("a drop");
    let event = next(&mut events).await;
    assert_eq!(event.operation_type, OperationType::Drop);
    assert_eq!(event.ns.and_then(|place| place.coll).as_deref(), Some("things"));
    assert_eq!(next(&mut events).await.operation_type, OperationType::Invalidate);
    assert!(ends(&mut events).await);
}

async fn rename(things: &Collection<Document>, to: &str) {
    let client = things.client();
    let target = format!("{}.{to}", things.namespace().db);
    let command = doc! { "renameCollection": things.namespace().to_string(), "to": target };
    client.database("admin").run_command(command).await.expect("a rename");
}

#[tokio::test]
async fn a_rename_tells_both_names_and_ends_the_stream() {
    let database = database(mongo::shared()).await;
    let things = database.collection::<Document>("things");
    things.insert_one(doc! { "_id": 1 }).await.expect("an insert");
    let mut events = things.watch().await.expect("a stream");
    rename(&things, "moved").await;
    let event = next(&mut events).await;
    assert_eq!(event.operation_type, OperationType::Rename);
    assert_eq!(event.ns.and_then(|place| place.coll).as_deref(), Some("things"));
    assert_eq!(event.to.and_then(|place| place.coll).as_deref(), Some("moved"));
    assert_eq!(next(&mut events).await.operation_type, OperationType::Invalidate);
    assert!(ends(&mut events).await);

    things.insert_one(doc! { "_id": 2 }).await.expect("an insert under the old name");
    let moved = database.collection::<Document>("moved");
    assert_eq!(moved.find_one(doc! {}).await.expect("a read"), Some(doc! { "_id": 1 }));
    assert_eq!(moved.count_documents(doc! {}).await.expect("a count"), 1);
}

#[tokio::test]
async fn dropping_the_database_is_told_as_a_drop_and_spares_its_namesakes() {
    let database = database(mongo::shared()).await;
    let namesake = database.client().database(&format!("{}0", database.name()));
    namesake.collection("things").insert_one(doc! { "_id": 7 }).await.expect("an insert");
    let things = database.collection::<Document>("things");
    things.insert_one(doc! { "_id": 1 }).await.expect("an insert");
    let mut events = things.watch().await.expect("a stream");
    database.drop().await.expect("a drop");
    assert_eq!(next(&mut events).await.operation_type, OperationType::Drop);
    assert_eq!(next(&mut events).await.operation_type, OperationType::Invalidate);
    assert!(ends(&mut events).await);
    let left = namesake.collection::<Document>("things").count_documents(doc! {}).await;
    assert_eq!(left.expect("a count"), 1);
}

#[tokio::test]
async fn a_database_stream_covers_its_collections_and_ends_with_the_database() {
    let database = database(mongo::shared()).await;
    database.collection("a").insert_one(doc! { "_id": 1 }).await.expect("an insert");
    let mut events = database.watch().await.expect("a stream");
    database.collection("b").insert_one(doc! { "_id": 2 }).await.expect("an insert");
    assert_eq!(key(&next(&mut events).await), 2);
    database.drop().await.expect("a drop");
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(next(&mut events).await.operation_type);
    }
    let expected =
        [OperationType::Drop, OperationType::Drop, OperationType::DropDatabase, OperationType::Invalidate];
    assert_eq!(told, expected);
    assert!(ends(&mut events).await);
}

#[tokio::test]
async fn a_stream_resumes_behind_an_event_and_misses_nothing() {
    let things = database(mongo::shared()).await.collection::<Document>("things");
    let mut events = things.watch().await.expect("a stream");
    things.insert_many([doc! { "_id": 1 }, doc! { "_id": 2 }]).await.expect("inserts");
    let token = next(&mut events).await.id;
    drop(events);
    things.insert_one(doc! { "_id": 3 }).await.expect("an insert");
    let mut events = things.watch().resume_after(token.clone()).await.expect("a stream");
    assert_eq!(key(&next(&mut events).await), 2);
    assert_eq!(key(&next(&mut events).await), 3);
    let mut events = things.watch().start_after(token).await.expect("a stream");
    assert_eq!(key(&next(&mut events).await), 2);
}

#[tokio::test]
async fn a_quiet_stream_has_a_token_to_resume_from() {
    let things = database(mongo::shared()).await.collection::<Document>("things");
    let events = things.watch().await.expect("a stream");
    let token = events.resume_token().expect("a token before the first event");
    drop(events);
    things.insert_one(doc! { "_id": 1 }).await.expect("an insert");
    let mut events = things.watch().resume_after(token).await.expect("a stream");
    assert_eq!(key(&next(&mut events).await), 1);
}

#[tokio::test]
async fn a_stream_starts_at_a_cluster_time() {
    let things = database(mongo::shared()).await.collection::<Document>("things");
    let mut events = things.watch().await.expect("a stream");
    things.insert_many([doc! { "_id": 1 }, doc! { "_id": 2 }]).await.expect("inserts");
    let time = next(&mut events).await.cluster_time.expect("a time");
    let mut events = things.watch().start_at_operation_time(time).await.expect("a stream");
    assert_eq!(key(&next(&mut events).await), 1);
}

#[tokio::test]
async fn only_start_after_goes_past_an_invalidation() {
    let things = database(mongo::shared()).await.collection::<Document>("things");
    things.insert_one(doc! { "_id": 1 }).await.expect("an insert");
    let mut events = things.watch().await.expect("a stream");
    things.drop().await.expect("a drop");
    let dropped = next(&mut events).await.id;
    let invalidated = next(&mut events).await.id;
    things.insert_one(doc! { "_id": 2 }).await.expect("an insert");

    let mut events = things.watch().resume_after(dropped).await.expect("a stream");
    assert_eq!(next(&mut events).await.operation_type, OperationType::Invalidate);
    let refused = things.watch().resume_after(invalidated.clone()).await.map(|_| ()).expect_err("a refusal");
    assert_eq!(code(&refused), Some(260));
    let mut events = things.watch().start_after(invalidated).await.expect("a stream");
    assert_eq!(key(&next(&mut events).await), 2);
}

#[tokio::test]
async fn a_stream_outlives_a_crash_of_the_server() {
    let server = Server::start();
    let things = database(&server).await.collection::<Document>("things");
    let mut events = things.watch().await.expect("a stream");
    things.insert_one(doc! { "_id": 1 }).await.expect("an insert");
    let token = next(&mut events).await.id;
    things.insert_one(doc! { "_id": 2 }).await.expect("an insert");
    server.kill();
    server.restart();
    let mut events = things.watch().resume_after(token).await.expect("a stream");
    assert_eq!(key(&next(&mut events).await), 2);
    assert_eq!(things.count_documents(doc! {}).await.expect("a count"), 2);
    things.insert_one(doc! { "_id": 3 }).await.expect("an insert");
    assert_eq!(key(&next(&mut events).await), 3);
}

#[tokio::test]
async fn an_open_stream_goes_on_by_itself_after_a_restart() {
    let server = Server::start();
    let things = database(&server).await.collection::<Document>("things");
    let mut events = things.watch().await.expect("a stream");
    things.insert_one(doc! { "_id": 1 }).await.expect("an insert");
    assert_eq!(key(&next(&mut events).await), 1);
    server.restart();
    let again =
        database(&server).await.client().database(&things.namespace().db).collection::<Document>("things");
    again.insert_one(doc! { "_id": 2 }).await.expect("an insert");
    assert_eq!(key(&next(&mut events).await), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_crash_is_in_the_data_and_in_the_feed() {
    let server = Server::start();
    let things = database(&server).await.collection::<Document>("things");
    let token = things.watch().await.expect("a stream").resume_token().expect("a token");
    let writers = (0..4).map(|writer| {
        let things = things.clone();
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for id in (writer * 100_000).. {
                match things.insert_one(doc! { "_id": id }).await {
                    Ok(_) => acknowledged.push(id),
                    Err(_) => return acknowledged,
                }
            }
            acknowledged
        })
    });
    let writers: Vec<_> = writers.collect();
    larder_testkit::eventually("the writers are at work", PATIENCE, async || {
        things.count_documents(doc! {}).await.expect("a count") >= 50
    })
    .await;
    server.kill();
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.expect("a writer"));
    }
    server.restart();

    let things =
        database(&server).await.client().database(&things.namespace().db).collection::<Document>("things");
    let stored = things.count_documents(doc! {}).await.expect("a count");
    let mut events = things.watch().resume_after(token).await.expect("a stream");
    let mut told = std::collections::BTreeSet::new();
    let mut time = bson::Timestamp { time: 0, increment: 0 };
    for _ in 0..stored {
        let event = next(&mut events).await;
        assert!(told.insert(key(&event)), "{} was told twice", key(&event));
        let at = event.cluster_time.expect("a time");
        assert!(at > time, "{at:?} comes behind {time:?}");
        time = at;
    }
    for id in acknowledged {
        assert!(told.contains(&id), "{id} was acknowledged and is lost");
    }
}

async fn lost(things: &Collection<Document>, token: ResumeToken) -> Option<i32> {
    let mut events = match things.watch().resume_after(token).await {
        Ok(events) => events,
        Err(error) => return code(&error),
    };
    events.try_next().await.err().and_then(|error| code(&error))
}

#[tokio::test]
async fn a_stream_is_refused_when_its_history_is_lost_and_others_are_not() {
    let server = mongo::shared();
    let database = database(server).await;
    let (things, others) =
        (database.collection::<Document>("things"), database.collection::<Document>("others"));
    let mut tokens = Vec::new();
    for collection in [&things, &others] {
        let mut events = collection.watch().await.expect("a stream");
        collection.insert_one(doc! { "_id": 1 }).await.expect("an insert");
        tokens.push(next(&mut events).await.id);
        collection.insert_one(doc! { "_id": 2 }).await.expect("an insert");
    }
    if !server.forget_changes(&format!("{}.things", database.name())) {
        return mongo::not_run("losing the change history on demand");
    }
    assert_eq!(lost(&things, tokens[0].clone()).await, Some(CHANGE_STREAM_HISTORY_LOST));
    let mut events = others.watch().resume_after(tokens[1].clone()).await.expect("a stream");
    assert_eq!(key(&next(&mut events).await), 2);
    let mut events = things.watch().await.expect("a stream from now on");
    things.insert_one(doc! { "_id": 3 }).await.expect("an insert");
    assert_eq!(key(&next(&mut events).await), 3);
}

#[tokio::test]
async fn a_waiting_stream_costs_no_requests() {
    let things = database(mongo::shared()).await.collection::<Document>("things");
    let mut events = things.watch().max_await_time(Duration::from_millis(300)).await.expect("a stream");
    // The first answer is the one that opened the stream; the second is asked for.
    assert!(events.next_if_any().await.expect("a healthy stream").is_none());
    let asked = std::time::Instant::now();
    assert!(events.next_if_any().await.expect("a healthy stream").is_none());
    assert!(asked.elapsed() >= Duration::from_millis(250), "answered after {:?}", asked.elapsed());
}

#[tokio::test]
async fn a_fail_point_fails_the_commands_of_its_application_only() {
    let server = Server::start();
    let data = doc! { "failCommands": ["find"], "errorCode": 50, "appName": "unlucky" };
    server
        .command("admin", doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": data });
    let mut options = ClientOptions::parse(server.url("")).await.expect("a URL");
    options.app_name = Some("unlucky".to_owned());
    options.retry_reads = Some(false);
    let unlucky =
        Client::with_options(options).expect("a client").database("shop").collection::<Document>("things");
    let lucky = database(&server).await.collection::<Document>("things");
    lucky.find_one(doc! {}).await.expect("a read");
    let error = unlucky.find_one(doc! {}).await.expect_err("the fail point");
    assert_eq!(code(&error), Some(50));
    unlucky.find_one(doc! {}).await.expect("a read after the fail point");
}

#[tokio::test]
async fn the_validator_of_a_collection_is_told_with_its_options() {
    let database = database(mongo::shared()).await;
    let schema = |least: i32| doc! { "$jsonSchema": { "properties": { "stock": { "bsonType": "int", "minimum": least } } } };
    let options = async || {
        let listed =
            database.run_command(doc! { "listCollections": 1, "filter": { "name": "things" } }).await;
        let listed = listed.expect("a list");
        let batch =
            listed.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch")).expect("a batch");
        batch[0].as_document().and_then(|one| one.get_document("options").ok()).expect("options").clone()
    };
    let create = doc! { "create": "things", "validator": schema(0), "validationAction": "warn" };
    database.run_command(create).await.expect("a collection");
    let told = options().await;
    assert_eq!(told.get_document("validator").expect("a validator"), &schema(0));
    assert_eq!(told.get_str("validationAction").expect("an action"), "warn");
    database.run_command(doc! { "collMod": "things", "validator": schema(1) }).await.expect("a change");
    assert_eq!(options().await.get_document("validator").expect("a validator"), &schema(1));
}
