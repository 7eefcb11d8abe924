//! Nodes that share a Redis.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use larder_testkit::{
    eventually, mongo,
    redis::{self, Deployment, Monitor, Options, Server},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
};

use crate::{ITEMS, Larder, larder::PATIENCE};

/// Two nodes over one database and one Redis, with a key prefix of their own.
async fn two_nodes(redis: &str) -> (Larder, Larder) {
    let database = mongo::database_name();
    let url = mongo::shared().url(&database);
    // What is cached after a write has to stay: nothing is watched.
    let config = format!("{ITEMS}\n[redis]\napp = \"{database}\"\n[watch]\nenabled = false");
    let arguments = ["--mongo", &url, "--redis", redis];
    (Larder::start_with(&config, &arguments).await, Larder::start_with(&config, &arguments).await)
}

#[tokio::test]
async fn a_document_that_one_node_loaded_is_a_shared_hit_on_the_other() {
    for redis in [redis::single(), redis::cluster()] {
        let (one, two) = two_nodes(&redis).await;
        one.put("/v1/items/7", r#"{"name":"Teapot","tags":["a"],"price":"1.20"}"#).await;
        let first = one.get("/v1/items/7").await;
        assert!(first.cache_status().contains("fwd=miss"), "{first:?}");
        let second = two.get("/v1/items/7").await;
        assert!(second.cache_status().ends_with("detail=shared"), "{second:?}");
        assert_eq!((first.text(), first.etag()), (second.text(), second.etag()));
        assert!(two.get("/v1/items/7").await.cache_status().ends_with("detail=near"));
        let stats = two.get("/v1/_stats").await.json();
        assert_eq!(
            (stats["totals"]["hits_shared"].as_u64(), stats["node"]["redis"].as_str()),
            (Some(1), Some("up"))
        );
    }
}

#[tokio::test]
async fn a_shared_hit_is_one_command_to_redis_and_a_miss_two() {
    let redis = Server::start(&Options::default());
    let config = format!("{ITEMS}\n[cache]\nnear_ttl = \"0s\"");
    let larder = Larder::start_with(&config, &["--redis", &redis.url()]).await;
    // Teaches Redis the scripts, once in its life.
    larder.put("/v1/items/7", r#"{"name":"Teapot"}"#).await;
    larder.get("/v1/items/7").await;
    larder.put("/v1/items/7", r#"{"name":"Kettle"}"#).await;
    let monitor = Monitor::start(&redis);
    let about_the_document = || {
        let commands = monitor.commands_until_quiet().into_iter();
        let about = commands.filter(|command| command.iter().any(|word| word.contains(":e:")));
        about.map(|command| command[0].clone()).collect::<Vec<_>>()
    };
    assert!(larder.get("/v1/items/7").await.cache_status().contains("fwd=miss"));
    assert_eq!(about_the_document(), ["SET", "EVALSHA"]);
    assert!(larder.get("/v1/items/7").await.cache_status().ends_with("detail=shared"));
    assert_eq!(about_the_document(), ["SET"]);
}

#[tokio::test]
async fn each_thread_answers_with_a_redis_connection_of_its_own() {
    let redis = Server::start(&Options::default());
    let config = format!("threads = 3\n{ITEMS}\n[cache]\nnear_ttl = \"0s\"");
    let larder = Larder::start_with(&config, &["--redis", &redis.url()]).await;
    larder.put("/v1/items/7", r#"{"name":"Teapot"}"#).await;
    let address = larder.url().trim_start_matches("http://").to_owned();
    let mut connections = Vec::new();
    for _ in 0..3 {
        connections.push(Mutex::new(TcpStream::connect(&address).await.unwrap()));
    }
    eventually("three Redis connections were last asked for a document", PATIENCE, || async {
        let mut answer = [0; 4 << 10];
        for connection in &connections {
            let mut connection = connection.lock().await;
            connection.write_all(b"GET /v1/items/7 HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            let length = connection.read(&mut answer).await.unwrap();
            assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
        }
        let clients = redis.ask(&["CLIENT", "LIST"]);
        clients.text().unwrap().lines().filter(|client| client.contains(" cmd=set ")).count() == 3
    })
    .await;
}

#[tokio::test]
async fn a_collection_that_writes_through_has_the_new_document_at_once() {
    for redis in [redis::single(), redis::cluster()] {
        let database = mongo::database_name();
        let url = mongo::shared().url(&database);
        let config = format!(
            "{ITEMS}\n[cache]\nwrite = \"through\"\n[redis]\napp = \"{database}\"\n[watch]\nenabled = false"
        );
        let arguments = ["--mongo", &url, "--redis", &redis];
        let (one, two) =
            (Larder::start_with(&config, &arguments).await, Larder::start_with(&config, &arguments).await);
        // A node that has just begun may still be finding out where the shard stands, and leaves nothing until it knows.
        eventually("a write leaves the document", PATIENCE, || async {
            one.put("/v1/items/7", r#"{"name":"Teapot","stock":0}"#).await;
            one.get("/v1/items/7").await.cache_status().ends_with("detail=near")
        })
        .await;
        let put = one.put("/v1/items/7", r#"{"name":"Teapot","stock":1}"#).await;
        let near = one.get("/v1/items/7").await;
        assert!(near.cache_status().ends_with("detail=near"), "{near:?}");
        assert_eq!((near.json()["stock"].as_u64(), near.etag()), (Some(1), put.etag()));
        let shared = two.get("/v1/items/7").await;
        assert!(shared.cache_status().ends_with("detail=shared"), "{shared:?}");
        one.patch("/v1/items/7", r#"{"stock":2}"#).await;
        let near = one.get("/v1/items/7").await;
        assert!(near.cache_status().ends_with("detail=near"), "{near:?}");
        assert_eq!(near.json()["stock"], 2);
        eventually("the other node has it from Redis", PATIENCE, || async {
            two.get("/v1/items/7").await.json()["stock"] == 2
        })
        .await;
        let loads = two.get("/v1/_stats").await.json()["totals"]["source_loads"].clone();
        assert_eq!(loads, 0, "nobody had to ask the database");
    }
}

#[tokio::test]
async fn a_write_on_one_node_shows_on_the_other_within_the_near_lifetime() {
    for redis in [redis::single(), redis::cluster()] {
        let (one, two) = two_nodes(&redis).await;
        one.put("/v1/items/7", r#"{"name":"Teapot","stock":1}"#).await;
        two.get("/v1/items/7").await;
        one.patch("/v1/items/7", r#"{"stock":2}"#).await;
        assert_eq!(one.get("/v1/items/7").await.json()["stock"], 2, "a writer sees its own write at once");
        eventually("the other node sees the write", PATIENCE, || async {
            two.get("/v1/items/7").await.json()["stock"] == 2
        })
        .await;
        one.delete("/v1/items/7").await;
        eventually("the other node sees the delete", PATIENCE, || async {
            two.get("/v1/items/7").await.status == 404
        })
        .await;
    }
}

#[tokio::test]
async fn without_redis_every_request_is_answered_all_the_same() {
    for server in Deployment::each(&Options::default()) {
        let (larder, _other) = two_nodes(&server.url()).await;
        larder.put("/v1/items/1", r#"{"name":"a"}"#).await;
        larder.get("/v1/items/1").await;

        server.kill();
        for n in 0..200 {
            let answer = larder.get(&format!("/v1/items/{}", n % 3)).await;
            assert_eq!(answer.status, if n % 3 == 1 { 200 } else { 404 }, "{n}: {answer:?}");
            assert_eq!(
                larder.put("/v1/items/9", &json!({ "name": n.to_string() }).to_string()).await.status / 100,
                2
            );
        }
        let log = larder.output();
        assert!(log.contains("Redis is away") && !log.contains('\u{1b}'), "{log}");
        assert!(
            log.lines().filter(|line| !line.contains(" DEBUG ")).count() < 50,
            "one line for each request:\n{log}"
        );
        assert_eq!(larder.put("/v1/items/2", r#"{"name":"b"}"#).await.status, 201);
        assert_eq!(larder.get("/v1/items/2").await.json()["name"], "b");
        let ready = larder.get("/readyz").await;
        assert_eq!((ready.status, ready.json()["redis"]["up"].as_bool()), (200, Some(false)), "{ready:?}");
        assert!(larder.get("/metrics").await.text().contains("larder_redis_up 0"));

        server.restart();
        eventually("Redis is used again", PATIENCE, || async {
            larder.get("/metrics").await.text().contains("larder_redis_up 1")
        })
        .await;
        eventually("documents are shared again", PATIENCE, || async {
            larder.get("/v1/items/2").await;
            larder.get("/v1/_explain/items/2").await.json()["shared"]["state"] == "document"
        })
        .await;
    }
}

/// Each request may wait for Redis twice, a quarter of a second each time; the rest is what a busy machine may add.
const LONGEST: Duration = Duration::from_millis(1_500);
/// Two seconds after Redis answers again it is used again; the rest is what a busy machine may add.
const BACK: Duration = Duration::from_millis(3_000);

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_hangs_every_request_among_many_is_answered_soon_and_documents_are_shared_two_seconds_after_it()
 {
    for server in Deployment::each(&Options::default()) {
        let (larder, other) = two_nodes(&server.url()).await;
        larder.put("/v1/items/1", r#"{"name":"a"}"#).await;
        larder.get("/v1/items/1").await;

        server.freeze();
        let frozen = Instant::now();
        let clients = (1..17).map(async |client| {
            let mut requests = 0;
            while frozen.elapsed() < Duration::from_secs(3) {
                let (id, status) =
                    if requests % 2 == 0 { (1, 200) } else { (1_000 * client + requests, 404) };
                let begun = Instant::now();
                let answer = larder.get(&format!("/v1/items/{id}")).await;
                assert_eq!(answer.status, status, "{answer:?}");
                assert!(begun.elapsed() < LONGEST, "it took {:?}: {answer:?}", begun.elapsed());
                requests += 1;
            }
            requests
        });
        let requests: u64 = join_all(clients).await.into_iter().sum();
        // Had each one cost a deadline, there would be two hundred.
        assert!(requests > 600, "{requests} requests: the breaker never opened");

        server.thaw();
        eventually("what one node loads is shared with the other again", BACK, || async {
            // Nobody has asked for it before.
            larder.get("/v1/items/0").await;
            other.get("/v1/_explain/items/0").await.json()["shared"]["state"] == "known to be absent"
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_starts_while_redis_is_away() {
    for server in Deployment::each(&Options::default()) {
        let url = server.url();
        server.kill();
        let larder = Larder::start_with(ITEMS, &["--redis", &url]).await;
        assert_eq!(larder.put("/v1/items/1", r#"{"name":"a"}"#).await.status, 201);
        assert_eq!(larder.get("/readyz").await.status, 200);
        server.restart();
        eventually("Redis is found when it comes", PATIENCE, || async {
            larder.get("/readyz").await.json()["redis"]["up"] == true
        })
        .await;
    }
}

#[tokio::test]
async fn the_token_of_a_write_reads_it_on_another_node_at_once() {
    for redis in [redis::single(), redis::cluster()] {
        let (one, two) = two_nodes(&redis).await;
        one.put("/v1/items/7", r#"{"name":"Teapot","stock":0}"#).await;
        for stock in 1..=30 {
            two.get("/v1/items/7").await;
            let written = one.patch("/v1/items/7", &format!(r#"{{"stock":{stock}}}"#)).await;
            let token =
                written.header("x-larder-token").expect("a write beside Redis has a token").to_owned();
            let read = two.get_with("/v1/items/7", &[("x-larder-token", &token)]).await;
            assert_eq!(read.json()["stock"], stock, "{read:?}");
        }
        let deleted = one.delete("/v1/items/7").await;
        let token = deleted.header("x-larder-token").expect("a delete has a token").to_owned();
        assert_eq!(two.get_with("/v1/items/7", &[("x-larder-token", &token)]).await.status, 404);
        let wrong = two.get_with("/v1/items/7", &[("x-larder-token", "x")]).await;
        crate::assert_problem(&wrong, 400, Some("X-Larder-Token"));
    }
}

#[tokio::test]
async fn the_token_of_a_bulk_write_reads_each_of_its_documents_on_another_node() {
    for redis in [redis::single(), redis::cluster()] {
        let (one, two) = two_nodes(&redis).await;
        // The other node holds, for each of them, that there is none.
        for id in 0..40 {
            for _ in 0..2 {
                assert_eq!(two.get(&format!("/v1/items/{id}")).await.status, 404);
            }
        }
        let documents: Vec<String> = (0..40).map(|id| format!(r#"{{"_id":{id},"name":"x"}}"#)).collect();
        let written = one.post("/v1/items/bulk", &format!("[{}]", documents.join(","))).await;
        let token = written.header("x-larder-token").expect("a write beside Redis has a token").to_owned();
        assert!(token.len() < 1_000, "one token for each shard: {token}");
        for id in 0..40 {
            let read = two.get_with(&format!("/v1/items/{id}"), &[("x-larder-token", &token)]).await;
            assert_eq!(read.status, 200, "{id}: {read:?}");
            assert!(!read.cache_status().ends_with("detail=near"), "the token was looked at: {read:?}");
        }
        let failed = one.post("/v1/items/bulk", r#"[{"_id":1,"name":"x"}]"#).await;
        assert_eq!((failed.json()["created"].as_u64(), failed.header("x-larder-token")), (Some(0), None));
    }
}

#[tokio::test]
async fn a_write_that_redis_was_not_told_of_has_no_token() {
    let redis = Server::start(&Options::default());
    let larder = Larder::start_with(ITEMS, &["--redis", &redis.url()]).await;
    let has_token = async |name: &str| {
        let answer = larder.put("/v1/items/1", &format!(r#"{{"name":"{name}"}}"#)).await;
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        answer.header("x-larder-token").is_some()
    };
    eventually("writes have tokens", PATIENCE, || has_token("a")).await;
    redis.freeze();
    assert!(!has_token("b").await, "it would be the one of the write before");
    redis.thaw();
    eventually("writes have tokens again", PATIENCE, || has_token("c")).await;
}
