//! What other programs write to the database.

use bson::doc;
use larder_testkit::{eventually, mongo, redis};
use serde_json::Value;

use crate::{ITEMS, Larder, larder::PATIENCE};

async fn watch_of(larder: &Larder) -> Value {
    larder.get("/v1/_stats").await.json()["collections"][0]["watch"].clone()
}

async fn until_role(larder: &Larder, role: &str) {
    eventually("the role is taken", PATIENCE, || async { watch_of(larder).await["role"] == role }).await;
}

/// Writes past Larder, and waits until every node answers with it from its cache.
async fn write_and_see(server: &mongo::Server, database: &str, nodes: &[&Larder], stock: i64) {
    let update =
        doc! { "q": { "_id": 7_i64 }, "u": { "$set": { "name": "Pot", "stock": stock } }, "upsert": true };
    server.command(database, doc! { "update": "items", "updates": [update] });
    for larder in nodes {
        eventually("the change is seen, and cached", PATIENCE, || async {
            let answer = larder.get("/v1/items/7").await;
            answer.status == 200 && answer.json()["stock"] == stock && answer.cache_status().contains("hit")
        })
        .await;
    }
}

#[tokio::test]
async fn a_write_by_another_program_is_seen_without_any_setting() {
    let server = mongo::Server::start();
    let larder = Larder::start_with(ITEMS, &["--mongo", &server.url("shop")]).await;
    until_role(&larder, "leading").await;
    assert_eq!(larder.get("/v1/items/7").await.status, 404);
    for stock in 1..4 {
        write_and_see(&server, "shop", &[&larder], stock).await;
    }
    let watch = watch_of(&larder).await;
    assert_eq!((&watch["changes"]["insert"], &watch["changes"]["update"]), (&1.into(), &2.into()), "{watch}");
    assert!(watch["lag_ms"].is_u64() && watch["silent_ms"].is_u64() && watch["trouble"].is_null(), "{watch}");

    let metrics = larder.get("/metrics").await.text().to_owned();
    for line in [
        "larder_watch_active{collection=\"items\"} 1",
        "larder_watch_changes_total{collection=\"items\",kind=\"update\"} 2",
        "larder_watch_history_lost_total{collection=\"items\"} 0",
        "larder_watch_lag_seconds{collection=\"items\"} ",
        "larder_watch_silent_seconds{collection=\"items\"} ",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}

#[tokio::test]
async fn of_two_servers_one_watches_for_both_and_the_other_takes_over() {
    let server = mongo::Server::start();
    let config = format!("{ITEMS}\n[redis]\napp = \"{}\"\n[watch]\nlease = \"1s\"", mongo::database_name());
    let (url, redis) = (server.url("shop"), redis::single());
    let arguments = ["--mongo", &url, "--redis", &redis];
    let first = Larder::start_with(&config, &arguments).await;
    until_role(&first, "leading").await;
    let second = Larder::start_with(&config, &arguments).await;
    until_role(&second, "standby").await;
    write_and_see(&server, "shop", &[&first, &second], 1).await;
    assert_eq!(watch_of(&second).await["invalidated"], 0);
    drop(first);
    until_role(&second, "leading").await;
    write_and_see(&server, "shop", &[&second], 2).await;
}

#[tokio::test]
async fn watching_can_be_turned_off_and_polling_on() {
    let server = mongo::Server::start();
    let off = format!("{ITEMS}\n[watch]\nenabled = false");
    let larder = Larder::start_with(&off, &["--mongo", &server.url("shop")]).await;
    assert!(watch_of(&larder).await.is_null());
    assert!(!larder.get("/metrics").await.text().contains("larder_watch"));

    let polled = ITEMS.replace("id = \"int\"", "id = \"int\"\npoll_updated_at = \"made_at\"");
    let larder = Larder::start(&polled).await;
    until_role(&larder, "polling").await;
    let larder = Larder::start(ITEMS).await;
    assert!(watch_of(&larder).await.is_null(), "the embedded database belongs to this process");
}

#[tokio::test]
async fn the_doctor_says_how_changes_are_seen() {
    let server = mongo::Server::start();
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let config = folder.path().join("larder.toml");
    std::fs::write(&config, ITEMS).expect("the folder can be written to");
    let check = || {
        let config = config.to_str().expect("UTF-8");
        let output = crate::larder::run(&["check", "--config", config, "--mongo", &server.url("shop")], &[]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(check().contains("seen through change streams"), "{}", check());
    // As a server alone answers.
    let data = doc! { "failCommands": ["aggregate"], "errorCode": 40573, "appName": "larder" };
    server.command("admin", doc! { "configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data });
    let said = check();
    assert!(said.contains("neither change streams nor poll_updated_at"), "{said}");
}
