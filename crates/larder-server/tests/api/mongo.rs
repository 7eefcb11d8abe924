//! The same server over a MongoDB.

use bson::doc;
use larder_testkit::{eventually, mongo};

use crate::{ITEMS, Larder, assert_problem, client::Answer, commands::run_with, larder::PATIENCE};

/// A server over a database of its own on this MongoDB. It watches nothing, so that what is cached after a write stays.
async fn items_on(server: &mongo::Server) -> Larder {
    let url = server.url(&mongo::database_name());
    Larder::start_with(&format!("{ITEMS}\n[watch]\nenabled = false"), &["--mongo", &url]).await
}

/// Each kind of request that asks the database, about documents that are not cached.
const REQUESTS: [(&str, &str, &str); 9] = [
    ("GET", "/v1/items/3", ""),
    ("HEAD", "/v1/items/3", ""),
    ("GET", "/v1/items", ""),
    ("QUERY", "/v1/items", "{}"),
    ("POST", "/v1/items/_search", "{}"),
    ("GET", "/v1/items/_q/by_stock", ""),
    ("POST", "/v1/items", r#"{"_id":9,"name":"b"}"#),
    ("PUT", "/v1/items/9", r#"{"name":"b"}"#),
    ("DELETE", "/v1/items/9", ""),
];

async fn send(larder: &Larder, method: &str, path: &str, body: &str) -> Answer {
    larder.client().send(method, path, &[("content-type", "application/json")], body).await
}

fn retry_after(answer: &Answer) -> Option<u64> {
    answer.header("retry-after")?.parse().ok()
}

/// Lets every command of Larder fail with this code; 0 ends that.
fn fail_with(server: &mongo::Server, code: i32) {
    let commands = ["find", "aggregate", "insert", "update", "findAndModify", "delete"];
    let data = doc! { "failCommands": commands.to_vec(), "errorCode": code, "appName": "larder" };
    let mode = if code == 0 { "off" } else { "alwaysOn" };
    server.command("admin", doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data });
}

#[tokio::test]
async fn documents_go_to_mongodb_and_back() {
    let larder = items_on(mongo::shared()).await;
    let body = r#"{"_id":7,"name":"Teapot","price":"12.50","weight":1,"made_at":"2025-01-02T03:04:05Z","maker_id":"5f43a1b2c3d4e5f60718293a"}"#;
    let created = larder.post("/v1/items", body).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(
        created.text(),
        r#"{"_id":7,"name":"Teapot","price":{"$numberDecimal":"12.50"},"weight":1.0,"made_at":{"$date":"2025-01-02T03:04:05Z"},"maker_id":{"$oid":"5f43a1b2c3d4e5f60718293a"}}"#
    );
    let first = larder.get("/v1/items/7").await;
    assert_eq!((first.text(), first.etag()), (created.text(), created.etag()));
    assert!(larder.get("/v1/items/7").await.cache_status().contains("hit"));
    assert_problem(&larder.post("/v1/items", body).await, 409, Some("_id"));

    let patched = larder.patch("/v1/items/7", r#"{"stock":3,"weight":null}"#).await;
    assert_eq!(patched.json()["stock"], 3);
    let headers = [("content-type", "application/merge-patch+json"), ("if-match", created.etag())];
    let late = larder.client().send("PATCH", "/v1/items/7", &headers, r#"{"stock":4}"#).await;
    assert_problem(&late, 412, Some("If-Match"));
    assert_eq!(larder.get("/v1/items/7").await.text(), patched.text());

    let many: Vec<_> =
        (10..30).map(|n| format!(r#"{{"_id":{n},"name":"n{n}","stock":{}}}"#, n % 3)).collect();
    let bulk = larder.post("/v1/items/bulk", &format!("[{}]", many.join(","))).await;
    assert_eq!(bulk.json()["created"], 20, "{bulk:?}");
    let page = larder.get("/v1/items?stock=eq.1&sort=-name&limit=2&fields=name").await;
    assert_eq!(
        page.json()["items"],
        serde_json::json!([{ "_id": 28, "name": "n28" }, { "_id": 25, "name": "n25" }])
    );
    let next = page.json()["next"].as_str().expect("more pages").to_owned();
    let page = larder.get(&format!("/v1/items?stock=eq.1&sort=-name&limit=2&fields=name&after={next}")).await;
    assert_eq!(page.json()["items"][0]["_id"], 22);
    let totals = larder.get("/v1/items/_q/by_stock").await;
    assert_eq!(totals.status, 200, "{totals:?}");

    assert_eq!(larder.delete("/v1/items/7").await.status, 204);
    assert_problem(&larder.get("/v1/items/7").await, 404, None);
    assert_eq!(larder.get("/v1/_stats").await.json()["node"]["database"], "mongo");
}

#[tokio::test]
async fn operators_do_not_reach_mongodb() {
    let larder = items_on(mongo::shared()).await;
    larder.put("/v1/items/1", r#"{"name":"a"}"#).await;
    for query in ["$where=eq.1", "name[$ne]=x", "name=regex..*", "$expr=eq.1", "name[$gt]="] {
        assert_eq!(larder.get(&format!("/v1/items?{query}")).await.status, 400, "{query}");
    }
    for text in ["%7B%22$ne%22:null%7D", "$ne", ".*"] {
        let answer = larder.get(&format!("/v1/items?name=eq.{text}")).await;
        assert_eq!(answer.json()["items"].as_array().map(Vec::len), Some(0), "{text}");
        let answer = larder.get(&format!("/v1/items?name=prefix.{text}")).await;
        assert_eq!(answer.json()["items"].as_array().map(Vec::len), Some(0), "{text}");
    }
}

#[tokio::test]
async fn without_mongodb_cached_reads_go_on_and_the_rest_is_told_to_come_back() {
    let server = mongo::Server::start();
    let url = server.url("shop");
    let config = format!(
        "{ITEMS}\n[cache]\nttl = \"1s\"\nlists_ttl = \"1s\"\nstale_if_error = \"10m\"\n[mongo]\ndeadline = \"1s\"\n[watch]\nenabled = false"
    );
    let larder = Larder::start_with(&config, &["--mongo", &url]).await;
    larder.put("/v1/items/1", r#"{"name":"a"}"#).await;
    let cached = ["/v1/items/1", "/v1/items?limit=1"];
    for path in cached {
        assert_eq!(larder.get(path).await.status, 200);
    }
    assert_eq!(larder.get("/readyz").await.status, 200);

    server.kill();
    eventually("reads of what is not cached are refused", PATIENCE, || async {
        larder.get("/v1/items/2").await.status == 503
    })
    .await;
    for (method, path, body) in REQUESTS {
        let answer = send(&larder, method, path, body).await;
        assert_eq!(answer.status, 503, "{method} {path}: {answer:?}");
        if method != "HEAD" {
            assert_problem(&answer, 503, None);
        }
        assert!(retry_after(&answer).is_some_and(|after| after > 0), "{method} {path}: {answer:?}");
    }
    for path in cached {
        eventually("what is cached is served past its lifetime", PATIENCE, || async {
            let answer = larder.get(path).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.cache_status().contains("stale")
        })
        .await;
    }
    let ready = larder.get("/readyz").await;
    assert_eq!((ready.status, ready.json()["database"]["up"].as_bool()), (503, Some(false)));
    assert_eq!(larder.get("/healthz").await.status, 200);

    server.restart();
    eventually("writes work again by themselves", PATIENCE, || async {
        larder.put("/v1/items/2", r#"{"name":"b"}"#).await.status == 201
    })
    .await;
    assert_eq!(larder.get("/v1/items/2").await.json()["name"], "b");
    assert_eq!(larder.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_mongodb_that_refuses_this_server_is_not_a_fault_of_the_request() {
    let server = mongo::Server::start();
    let larder = items_on(&server).await;
    for code in [13, 18, 8000] {
        fail_with(&server, code);
        for (method, path, body) in REQUESTS {
            let answer = send(&larder, method, path, body).await;
            assert_eq!(answer.status, 503, "{code} {method} {path}: {answer:?}");
            assert!(
                retry_after(&answer).is_some_and(|after| after > 1),
                "{code} {method} {path}: {answer:?}"
            );
            assert!(method == "HEAD" || answer.text().contains("its login or its rights"), "{answer:?}");
        }
        assert!(larder.output().contains("MongoDB does not allow this to Larder's user"));
        fail_with(&server, 0);
        assert_eq!(larder.get("/v1/items").await.status, 200, "it serves again by itself");
    }
}

#[tokio::test]
async fn only_a_write_that_ran_out_of_time_may_have_happened() {
    let server = mongo::Server::start();
    let larder = items_on(&server).await;
    fail_with(&server, 50);
    for (method, path, body) in REQUESTS {
        let answer = send(&larder, method, path, body).await;
        assert_eq!(answer.status, 504, "{method} {path}: {answer:?}");
        let is_read = ["GET", "HEAD", "QUERY"].contains(&method) || path.ends_with("/_search");
        assert_eq!(retry_after(&answer).is_some(), is_read, "{method} {path}: {answer:?}");
        assert_eq!(answer.text().contains("a write may"), !is_read, "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_ended() {
    let server = mongo::Server::start();
    let config = format!("{ITEMS}\n[limits]\nrequest_deadline = \"50ms\"\n[watch]\nenabled = false");
    let larder = Larder::start_with(&config, &["--mongo", &server.url("shop")]).await;
    server.pause();
    let read = larder.get("/v1/items?limit=1").await;
    assert_eq!(read.status, 504, "{read:?}");
    let write = larder.put("/v1/items/1", r#"{"name":"a"}"#).await;
    assert_eq!(write.status, 504, "{write:?}");
    assert!(write.text().contains("a write may or may not have happened"), "{}", write.text());
}

#[tokio::test]
async fn a_server_starts_while_mongodb_is_away() {
    let server = mongo::Server::start();
    let url = server.url("shop");
    server.kill();
    let larder = Larder::start_with(ITEMS, &["--mongo", &url]).await;
    assert_eq!(larder.get("/readyz").await.status, 503);
    server.restart();
    eventually("it is found when it comes", PATIENCE, || async { larder.get("/readyz").await.status == 200 })
        .await;
    assert_eq!(larder.put("/v1/items/1", r#"{"name":"a"}"#).await.status, 201);
}

#[tokio::test]
async fn what_others_stored_is_served_as_it_is() {
    let server = mongo::Server::start();
    let document = doc! { "_id": 7_i64, "name": "by hand", "undeclared": { "a.b": 1 }, "stock": 1.5 };
    server.command("shop", doc! { "insert": "items", "documents": [document] });
    let larder = Larder::start_with(ITEMS, &["--mongo", &server.url("shop")]).await;
    let answer = larder.get("/v1/items/7").await;
    assert_eq!(answer.text(), r#"{"_id":7,"name":"by hand","undeclared":{"a.b":1},"stock":1.5}"#);
}

/// The stand-in compares by no collation; what it was told is what is looked at.
#[tokio::test]
async fn the_doctor_says_that_a_collection_compares_texts_otherwise() {
    let server = mongo::Server::start();
    for (collation, is_named) in
        [(doc! { "locale": "simple" }, false), (doc! { "locale": "en", "strength": 2 }, true)]
    {
        let shop = mongo::database_name();
        server.command(&shop, doc! { "create": "items", "collation": collation });
        let output = run_with(ITEMS, &["check", "--mongo", &server.url(&shop)], &[]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.contains("collection items") && said.contains("collation"), is_named, "{said}");
    }
}

#[tokio::test]
async fn the_doctor_says_what_a_mongodb_lacks() {
    let url = mongo::shared().url(&mongo::database_name());
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let config = folder.path().join("larder.toml");
    std::fs::write(&config, ITEMS).expect("the folder can be written to");
    let config = config.to_str().expect("UTF-8");
    let output = crate::larder::run(&["check", "--config", config, "--mongo", &url], &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("mongodb") && said.contains("transactions"), "{said}");
    assert!(said.contains("none for price") && said.contains("createIndex"), "{said}");
    let output = crate::larder::run(&["check", "--config", config, "--mongo", &url, "--create-indexes"], &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains("none for") && said.contains("are there"), "{said}");
    let output = crate::larder::run(
        &["check", "--config", config, "--mongo", "mongodb://u:hunter2@127.0.0.1:1/shop"],
        &[],
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
