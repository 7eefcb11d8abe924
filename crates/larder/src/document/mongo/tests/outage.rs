//! Bad days: a server that is killed, stopped, slow or on its way out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bson::{Document, doc};
use larder_testkit::{
    eventually, mongo,
    proxy::{Fault, Proxy},
};

use super::fill;
use crate::{
    Error, ErrorKind,
    document::{
        Database, Expect, Filter, Find, Id, MergePatch, MongoConfig,
        sqlite::tests::{raw, schema},
        store::Store,
    },
};

const DEADLINE: Duration = Duration::from_millis(1_500);
/// What a call may take beyond its deadline on a busy machine.
const SLACK: Duration = Duration::from_millis(500);
const RECOVERY: Duration = Duration::from_secs(20);

async fn store(config: MongoConfig) -> Store {
    let database = Database::mongo(config).await.unwrap().with_deadline(DEADLINE);
    database.store(Arc::new(schema())).unwrap()
}

fn private(server: &mongo::Server) -> MongoConfig {
    MongoConfig::new(server.url("shop")).connect_timeout(Duration::from_millis(500))
}

/// Makes every kind of call, and checks that each fails as one of `kinds` and in time. A write may also be one of which nobody knows
/// whether it was sent.
async fn all_fail(store: &Store, kinds: &[ErrorKind]) {
    let id = Id::Int(0);
    let patch = MergePatch::new(doc! { "n": 2 }).unwrap();
    let page = Find::new(Filter::All, 10);
    let started = Instant::now();
    let (get, many, find, count, insert, replace, patched, deleted) = tokio::join!(
        store.get(&id),
        store.get_many(std::slice::from_ref(&id)),
        store.find(&page),
        store.count(&Filter::All),
        store.insert_many(vec![(Id::Int(9), raw(&doc! { "_id": 9_i64 }))]),
        store.replace(&id, doc! {}, &Expect::Any, true),
        store.patch(&id, &patch, &Expect::Any),
        store.delete(&id, &Expect::Any),
    );
    let reads = [get.unwrap_err(), many.unwrap_err(), find.unwrap_err(), count.unwrap_err()];
    let writes = [insert.unwrap_err(), replace.unwrap_err(), patched.unwrap_err(), deleted.unwrap_err()];
    assert!(started.elapsed() < DEADLINE + SLACK, "{:?}", started.elapsed());
    for (error, may_be_open) in reads.iter().map(|it| (it, false)).chain(writes.iter().map(|it| (it, true))) {
        let is_open = may_be_open && error.kind() == ErrorKind::Timeout;
        assert!(is_open || kinds.contains(&error.kind()), "{error:?}");
        assert!(error.kind() != ErrorKind::Unavailable || error.retry_after().is_some(), "{error:?}");
    }
}

#[tokio::test]
async fn a_killed_server_is_unavailable_in_time_and_every_call_recovers() {
    let server = mongo::Server::start();
    let store = store(private(&server)).await;
    fill(&store, &[doc! { "_id": 0_i64, "n": 1 }]).await;
    server.kill();
    all_fail(&store, &[ErrorKind::Unavailable]).await;
    // By now the server counts as gone: no call waits for it any more.
    eventually("calls are refused at once", RECOVERY, async || {
        let started = Instant::now();
        let refused = store.get(&Id::Int(0)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        started.elapsed() < Duration::from_millis(50)
    })
    .await;
    server.restart();
    eventually("the database is back", RECOVERY, async || store.get(&Id::Int(0)).await.is_ok()).await;
    let found = store.get(&Id::Int(0)).await.unwrap().expect("what was written lasts");
    assert_eq!(Document::try_from(found.as_ref()).unwrap(), doc! { "_id": 0_i64, "n": 1 });
    store.patch(&Id::Int(0), &MergePatch::new(doc! { "n": 3 }).unwrap(), &Expect::Present).await.unwrap();
}

#[tokio::test]
async fn a_write_whose_connection_breaks_before_its_answer_may_be_done() {
    let server = mongo::Server::start();
    let proxy = Proxy::start(server.port()).await;
    let url = server.url("shop").replace(&server.port().to_string(), &proxy.port().to_string());
    let store = store(MongoConfig::new(url)).await;
    fill(&store, &[doc! { "_id": 0_i64, "n": 1 }]).await;
    proxy.set(Fault::DropReplies);
    let (replaced, ()) =
        tokio::join!(store.replace(&Id::Int(0), doc! { "n": 2 }, &Expect::Any, true), async {
            eventually("the server has carried it out", RECOVERY, async || {
                let count = doc! { "count": schema().name(), "query": { "n": 2 } };
                server.command("shop", count).get_i32("n").is_ok_and(|n| n == 1)
            })
            .await;
            proxy.set(Fault::Refuse);
            proxy.cut();
        });
    let error = replaced.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(error.to_string().contains("may be done"), "{error:?}");
    // There is nobody any more to send one to.
    let refused = store.delete(&Id::Int(0), &Expect::Any).await.unwrap_err();
    assert!(refused.kind() == ErrorKind::Unavailable && refused.is_unsent(), "{refused:?}");
    proxy.set(Fault::Pass);
    eventually("the database is back", RECOVERY, async || store.get(&Id::Int(0)).await.is_ok()).await;
    let found = store.get(&Id::Int(0)).await.unwrap().expect("what was written lasts");
    assert_eq!(Document::try_from(found.as_ref()).unwrap(), doc! { "_id": 0_i64, "n": 2 });
}

#[tokio::test]
async fn a_silent_server_holds_no_call_past_its_deadline() {
    let server = mongo::Server::start();
    let store = store(private(&server)).await;
    fill(&store, &[doc! { "_id": 0_i64, "n": 1 }]).await;
    server.pause();
    // At first nobody knows; later the driver's monitors do.
    all_fail(&store, &[ErrorKind::Timeout, ErrorKind::Unavailable]).await;
    all_fail(&store, &[ErrorKind::Timeout, ErrorKind::Unavailable]).await;
    server.resume();
    eventually("the database is back", RECOVERY, async || store.get(&Id::Int(0)).await.is_ok()).await;
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_is_found_when_it_comes() {
    let server = mongo::Server::start();
    server.kill();
    let store = store(private(&server)).await;
    all_fail(&store, &[ErrorKind::Unavailable]).await;
    server.restart();
    eventually("the database is there", RECOVERY, async || store.get(&Id::Int(0)).await.is_ok()).await;
}

/// Makes the next commands fail with `code`, for a client of this name.
fn fail_next(server: &mongo::Server, app: &str, commands: &[&str], code: i32, times: i32) {
    let data = doc! { "failCommands": commands, "errorCode": code, "appName": app };
    server.command(
        "admin",
        doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": data },
    );
}

#[tokio::test]
async fn the_servers_refusals_are_cut_by_what_the_caller_does() {
    let server = mongo::Server::start();
    let store = store(private(&server).app("refused")).await;
    fill(&store, &[doc! { "_id": 0_i64, "n": 1 }]).await;
    let cases = [
        (50, ErrorKind::Timeout),
        (121, ErrorKind::Invalid),
        (13, ErrorKind::Config),
        (292, ErrorKind::TooLarge),
        (11600, ErrorKind::Unavailable),
        (8, ErrorKind::Source),
    ];
    for (code, kind) in cases {
        // Twice, because the driver itself tries some reads again.
        fail_next(&server, "refused", &["find", "findAndModify"], code, 2);
        let read: Error = store.get(&Id::Int(0)).await.unwrap_err();
        assert_eq!(read.kind(), kind, "{code}: {read}");
        fail_next(&server, "refused", &["find", "findAndModify"], code, 2);
        let write = store.delete(&Id::Int(5), &Expect::Any).await.unwrap_err();
        assert_eq!(write.kind(), kind, "{code}: {write}");
        fail_next(&server, "refused", &[], 0, 0);
        eventually("the next call is fine", RECOVERY, async || store.get(&Id::Int(0)).await.is_ok()).await;
    }
}

#[tokio::test]
async fn a_slow_query_ends_at_its_deadline_and_others_go_on() {
    let server = mongo::Server::start();
    let slow = store(private(&server).app("slow")).await;
    fill(&slow, &[doc! { "_id": 0_i64, "n": 1 }]).await;
    let data =
        doc! { "failCommands": ["find"], "blockConnection": true, "blockTimeMS": 5_000, "appName": "slow" };
    let once = doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": data };
    server.command("admin", once);
    let started = Instant::now();
    let (held, _) = tokio::join!(slow.get(&Id::Int(0)), async { slow.count(&Filter::All).await.unwrap() });
    assert_eq!(held.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(started.elapsed() < DEADLINE + SLACK);
    assert!(slow.get(&Id::Int(0)).await.unwrap().is_some());
}
