//! `POST /v1/_purge` and `larder purge`.

use std::time::Duration;

use larder::cache::MAX_PATTERN_BYTES;
use larder_testkit::{
    eventually, mongo,
    proxy::{Fault, Proxy},
    redis,
};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    Larder, assert_problem,
    larder::{PATIENCE, run},
};

/// Items that stay cached for a minute, and are served stale for a minute more.
fn config(app: &str) -> String {
    let items = "[[collection]]\nname = \"items\"\nid = \"string\"\nstrict = false\ntags = [\"n:{n}\"]\n\
                 field = [{ path = \"n\", type = \"int\" }]\n";
    let secrets = items.replace("items", "bare") + "stale_if_error = \"0s\"\n";
    format!(
        "auth.open = true\nredis.app = \"{app}\"\n[cache]\nstale_while_revalidate = \"60s\"\n{items}{}",
        secrets + "stale_while_revalidate = \"0s\"\n"
    )
}

/// Two nodes over one MongoDB and one Redis, the configuration's file, and what runs a command with it.
async fn nodes(redis: &str) -> (Larder, Larder, Vec<String>) {
    let database = mongo::database_name();
    let url = mongo::shared().url(&database);
    let arguments = ["--mongo", &url, "--redis", redis];
    let one = Larder::start_with(&config(&database), &arguments).await;
    let two = Larder::start_with(&config(&database), &arguments).await;
    let file = one.folder().join("larder.toml").display().to_string();
    let options = ["--config", &file, "--redis", redis].map(ToOwned::to_owned);
    (one, two, options.into())
}

async fn cached(larder: &Larder, id: &str) -> bool {
    let explained = larder.get(&format!("/v1/_explain/items/{id}")).await.json();
    explained["near"]["state"] == "document" || explained["shared"]["state"] == "document"
}

async fn warm(nodes: [&Larder; 2]) {
    for id in ["a:1", "a:2", "b:1"] {
        for node in nodes {
            node.get(&format!("/v1/items/{id}")).await;
        }
        assert!(cached(nodes[1], id).await, "{id}");
    }
}

#[tokio::test]
async fn what_is_purged_on_one_node_is_loaded_anew_on_every_node() {
    for redis in [redis::single(), redis::cluster()] {
        let (one, two, _) = nodes(&redis).await;
        for id in ["a:1", "a:2", "b:1"] {
            one.put(&format!("/v1/items/{id}"), "{}").await;
        }
        for (body, counts, gone) in [
            (r#""keys":["a:1","b:1"]"#, [json!(2), json!(0), json!(null), json!(false)], ["a:1", "b:1"]),
            (r#""pattern":"a:*""#, [json!(0), json!(0), json!(2), json!(false)], ["a:1", "a:2"]),
            (r#""all":true"#, [json!(0), json!(0), json!(null), json!(true)], ["a:2", "b:1"]),
        ] {
            warm([&one, &two]).await;
            let purged = one.post("/v1/_purge", &format!(r#"{{"collection":"items",{body}}}"#)).await;
            assert_eq!(purged.status, 200, "{purged:?}");
            let said = purged.json();
            assert_eq!(["keys", "tags", "matched", "all"].map(|count| said[count].clone()), counts, "{said}");
            for id in gone {
                assert!(!cached(&one, id).await, "{body}: {id} is gone where it was purged, at once");
                eventually("it is gone on the other node", PATIENCE, || async { !cached(&two, id).await })
                    .await;
            }
        }
        warm([&one, &two]).await;
        one.post("/v1/_purge", r#"{"collection":"items","keys":["a:1"]}"#).await;
        assert!(cached(&one, "a:2").await, "what was not named stays");
    }
}

#[tokio::test]
async fn the_token_of_a_purge_reads_nothing_older_on_another_node_whichever_document_it_is() {
    for redis in [redis::single(), redis::cluster()] {
        let (one, two, _) = nodes(&redis).await;
        let ids: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        for id in &ids {
            one.put(&format!("/v1/items/{id}"), "{}").await;
            two.get(&format!("/v1/items/{id}")).await;
        }
        let purged = one.post("/v1/_purge", &json!({ "collection": "items", "keys": ids }).to_string()).await;
        let token = purged.header("x-larder-token").expect("a purge beside Redis has tokens").to_owned();
        assert!(token.len() < 1_000, "one token for each shard: {token}");
        for id in &ids {
            let read = two.get_with(&format!("/v1/items/{id}"), &[("x-larder-token", &token)]).await;
            assert!(read.cache_status().contains("fwd=miss"), "{id}: {read:?}");
        }
        let wrong = format!("{token},x");
        let wrong = two.get_with("/v1/items/1", &[("x-larder-token", &wrong)]).await;
        assert_problem(&wrong, 400, Some("X-Larder-Token"));
    }
}

#[tokio::test]
async fn a_soft_purge_serves_the_stale_document_while_it_is_loaded_anew() {
    let (single, _one, _) = nodes(&redis::single()).await;
    let (cluster, _two, _) = nodes(&redis::cluster()).await;
    for larder in [single, cluster, Larder::start(&config("alone")).await] {
        larder.put("/v1/items/1", r#"{"n":1}"#).await;
        // A node that has only just started keeps nothing until it follows the shard.
        eventually("it is cached", PATIENCE, || async {
            larder.get("/v1/items/1").await.cache_status().contains("hit")
        })
        .await;
        for named in [r#""keys":["1"]"#, r#""tags":["n:1"]"#, r#""pattern":"[1-3]""#, r#""all":true"#] {
            let body = format!(r#"{{"collection":"items",{named},"mode":"soft"}}"#);
            let purged = larder.post("/v1/_purge", &body).await;
            assert_eq!((purged.status, &purged.json()["mode"]), (200, &json!("soft")), "{purged:?}");
            let stale = larder.get("/v1/items/1").await;
            assert!(
                stale.status == 200 && stale.cache_status().contains("detail=stale"),
                "{body}: {stale:?}"
            );
            eventually("it is fresh again", PATIENCE, || async {
                larder.get("/v1/items/1").await.cache_status().contains("hit; ttl=")
                    && !larder.get("/v1/items/1").await.cache_status().contains("stale")
            })
            .await;
            let refused = larder.post("/v1/_purge", &body.replace("items", "bare")).await;
            assert_problem(&refused, 400, Some("mode"));
        }
    }
}

/// A server whose requests may take less time than a purge of three documents does over the proxy before its Redis.
async fn hurried() -> (Larder, Proxy, redis::Server) {
    let server = redis::Server::start(&redis::Options::default());
    let proxy = Proxy::start(server.port()).await;
    let config = config("hurried").replace(
        "[cache]",
        "redis.deadline = \"5s\"\nlimits.request_deadline = \"150ms\"\nlimits.drain = \"10s\"\n[cache]",
    );
    let larder =
        Larder::start_with(&config, &["--redis", &format!("redis://127.0.0.1:{}", proxy.port())]).await;
    (larder, proxy, server)
}

/// Each round trip takes so long, and a purge of a pattern has four at least: fills are refused, the keys found, destroyed, and
/// fills refused again.
const TRIP: Duration = Duration::from_millis(60);
const HURRIED: &str = r#"{"collection":"items","pattern":"a:*"}"#;
const ENDED: &str = "A purge that its request did not wait for has ended";

async fn warm_alone(larder: &Larder, proxy: &Proxy) {
    proxy.set(Fault::Pass);
    for id in ["a:1", "a:2", "b:1"] {
        eventually("it is cached in Redis", PATIENCE, || async {
            larder.put(&format!("/v1/items/{id}"), "{}").await;
            larder.get(&format!("/v1/items/{id}")).await;
            let explained = larder.get(&format!("/v1/_explain/items/{id}")).await;
            explained.status == 200 && explained.json()["shared"]["state"] == "document"
        })
        .await;
    }
    proxy.set(Fault::Delay(TRIP));
}

async fn gone(larder: &Larder, proxy: &Proxy) {
    eventually("the purge has come to its end", PATIENCE, || async { larder.output().contains(ENDED) }).await;
    proxy.set(Fault::Pass);
    for (id, is_left) in [("a:1", false), ("a:2", false), ("b:1", true)] {
        eventually("what was named is gone, and nothing else", PATIENCE, || async {
            let explained = larder.get(&format!("/v1/_explain/items/{id}")).await;
            explained.status == 200 && (explained.json()["shared"]["state"] == "document") == is_left
        })
        .await;
    }
}

#[tokio::test]
async fn a_purge_that_takes_longer_than_a_request_goes_on_and_says_so() {
    let (larder, proxy, _server) = hurried().await;
    warm_alone(&larder, &proxy).await;
    let accepted = larder.post("/v1/_purge", HURRIED).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let (said, tokens) = (accepted.json(), accepted.header("x-larder-token"));
    assert_eq!((&said["collection"], &said["matched"], tokens), (&json!("items"), &json!(null), None));
    gone(&larder, &proxy).await;
}

#[tokio::test]
async fn a_purge_comes_to_its_end_though_its_client_went_away() {
    let (larder, proxy, _server) = hurried().await;
    warm_alone(&larder, &proxy).await;
    let mut client =
        TcpStream::connect(larder.url().trim_start_matches("http://")).await.expect("the server listens");
    let request = format!(
        "POST /v1/_purge HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{HURRIED}",
        HURRIED.len()
    );
    client.write_all(request.as_bytes()).await.expect("the server reads");
    eventually("the request is at work, or was a moment ago", PATIENCE, || async {
        larder.get("/v1/_stats").await.json()["totals"]["in_flight"] == 2 || larder.output().contains(ENDED)
    })
    .await;
    drop(client);
    gone(&larder, &proxy).await;
}

#[tokio::test]
async fn a_server_that_stops_waits_for_a_purge() {
    let (larder, proxy, _server) = hurried().await;
    warm_alone(&larder, &proxy).await;
    assert_eq!(larder.post("/v1/_purge", HURRIED).await.status, 202);
    larder.signal("TERM");
    assert_eq!(larder.exit_code().await, 0, "{}", larder.output());
    let said = larder.output();
    assert!(said.contains(ENDED), "{said}");
}

#[tokio::test]
async fn what_is_wrong_with_a_purge_is_named() {
    let larder = crate::items().await;
    for (body, status, field) in [
        (r#"{"collection":"items","keys":["x"]}"#, 400, Some("keys[0]")),
        (r#"{"collection":"items","pattern":""}"#, 400, Some("pattern")),
        (r#"{"collection":"items"}"#, 400, Some("keys")),
        (r#"{"collection":"item","all":true}"#, 404, None),
        ("{", 400, None),
    ] {
        assert_problem(&larder.post("/v1/_purge", body).await, status, field);
    }
    assert_problem(&larder.get("/v1/_purge").await, 405, None);
    let plain = larder.client().send("POST", "/v1/_purge", &[("content-type", "text/plain")], "{}").await;
    assert_problem(&plain, 415, Some("Content-Type"));
    for body in [r#"{"collection":"items","keys":[1,"2"]}"#, r#"{"collection":"items","tags":["a"]}"#] {
        assert_eq!(larder.post("/v1/_purge", body).await.status, 200, "{body}");
    }
    let matched =
        larder.post("/v1/_purge", r#"{"collection":"items","pattern":"1*"}"#).await.json()["matched"].clone();
    assert!(matched.is_u64(), "patterns need no Redis: {matched}");
}

#[tokio::test]
async fn a_purge_that_redis_does_not_acknowledge_says_so_and_whether_it_has_to_be_ordered_again() {
    const KEPT: &str = "this server keeps the purge, and sends it again";
    const FORGOTTEN: &str = "order it again";
    let server = redis::Server::start(&redis::Options::default());
    let larder = Larder::start_with(&config("deaf"), &["--redis", &server.url()]).await;
    let orders = [
        (r#""keys":["1","2"]"#, KEPT),
        (r#""tags":["n:1"]"#, KEPT),
        (r#""all":true"#, KEPT),
        (r#""keys":["1"],"mode":"soft""#, KEPT),
        (r#""pattern":"a:*""#, FORGOTTEN),
        (r#""all":true,"mode":"soft""#, FORGOTTEN),
        (r#""keys":["1"],"tags":["n:1"]"#, FORGOTTEN),
    ];
    let refused = async |statuses: &[u16], why: &str| {
        for (order, left) in orders {
            let answer = larder.post("/v1/_purge", &format!(r#"{{"collection":"items",{order}}}"#)).await;
            assert!(statuses.contains(&answer.status), "{order}: {answer:?}");
            assert_problem(&answer, answer.status, None);
            let said = answer.json()["detail"].clone();
            let said = said.as_str().expect("a detail is text");
            assert!(
                said.contains(why) && said.contains(left) && !said.contains("database"),
                "{order}: {said}"
            );
        }
    };
    server.ask(&["ACL", "SETUSER", "default", "-evalsha", "-eval", "-get"]);
    refused(&[503], "Redis refuses what this server asks of it").await;
    server.freeze();
    // Once the breaker has opened, nothing is asked any more.
    refused(&[503, 504], "Redis ").await;
    server.kill();
    refused(&[503], "Redis cannot be reached just now").await;

    server.restart();
    larder.put("/v1/items/1", "{}").await;
    eventually("what was kept is sent, and nothing is owed any more", PATIENCE, || async {
        let explained = larder.get("/v1/_explain/items/1").await.json();
        explained["shared"]["state"] != "unreachable" && explained["invalidation_owed"] == false
    })
    .await;
}

async fn stale_served(larder: &Larder) -> u64 {
    let metrics = larder.get("/metrics").await;
    let name = "larder_stale_served_total{collection=\"items\"} ";
    let text = metrics.text();
    text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).expect("it is counted")
}

#[tokio::test]
async fn the_command_purges_what_running_servers_have_cached() {
    for redis in [redis::single(), redis::cluster()] {
        let (one, two, options) = nodes(&redis).await;
        let purge = |arguments: &[&str]| {
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            run(&[&["purge", "items"], arguments, &options].concat(), &[])
        };
        for id in ["a:1", "a:2", "b:1"] {
            one.put(&format!("/v1/items/{id}"), r#"{"n":1}"#).await;
        }
        for (arguments, says, gone) in [
            (
                vec!["--key", "a:1", "--key", "b:1", "--tag", "t"],
                "keys     2\n  tags     1",
                vec!["a:1", "b:1"],
            ),
            (vec!["--pattern", "a:*"], "matched  2", vec!["a:1", "a:2"]),
            (vec!["--all"], "all", vec!["a:1", "a:2", "b:1"]),
        ] {
            warm([&one, &two]).await;
            let output = purge(&arguments);
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains(says), "{arguments:?}: {output:?}");
            for (node, id) in [&one, &two].into_iter().flat_map(|node| gone.iter().map(move |id| (node, id)))
            {
                eventually("a server has heard", PATIENCE, || async { !cached(node, id).await }).await;
            }
        }
        warm([&one, &two]).await;
        for arguments in [
            &["--key", "a:1", "--soft"][..],
            &["--tag", "n:1", "--soft"],
            &["--pattern", "a:*", "--soft"],
            &["--all", "--soft"],
        ] {
            warm([&one, &two]).await;
            let before = stale_served(&one).await;
            let output = purge(arguments);
            assert!(String::from_utf8_lossy(&output.stdout).contains("made stale"), "{output:?}");
            eventually("a server serves it as stale", PATIENCE, || async {
                one.get("/v1/items/a:1").await;
                stale_served(&one).await > before
            })
            .await;
        }
    }
}

#[tokio::test]
async fn the_command_says_what_keeps_it_from_purging() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let file = folder.path().join("larder.toml");
    std::fs::write(&file, config("a")).expect("the folder can be written to");
    let file = file.to_str().expect("UTF-8");
    for (arguments, code, says) in [
        (vec!["purge", "items", "--all"], 2, "POST /v1/_purge"),
        (vec!["purge", "itmes", "--all"], 2, "did you mean \"items\"?"),
        (vec!["purge", "items"], 2, "--pattern"),
        (vec!["purge", "items", "--soft"], 2, "--pattern"),
        (vec!["purge", "items", "--key", ""], 2, "--key: \"\" must be"),
        (vec!["purge", "items", "--tag", ""], 2, "--tag: must be"),
        (vec!["purge", "items", "--all", "--redis", "redis://127.0.0.1:1"], 1, "run it again"),
    ] {
        let output = run(&[&arguments[..], &["--config", file]].concat(), &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn the_command_purges_nothing_of_an_order_that_is_wrong_in_part() {
    for redis in [redis::single(), redis::cluster()] {
        let (one, two, options) = nodes(&redis).await;
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        for id in ["a:1", "a:2", "b:1"] {
            one.put(&format!("/v1/items/{id}"), r#"{"n":1}"#).await;
        }
        warm([&one, &two]).await;
        let long = "*".repeat(MAX_PATTERN_BYTES + 1);
        let too_long = "t".repeat(257);
        for (arguments, named) in [
            (["--key", "a:1", "--pattern", &long], "--pattern: "),
            (["--tag", "n:1", "--pattern", ""], "--pattern: "),
            (["--key", "a:1", "--tag", &too_long], "--tag: "),
            (["--key", "a:1", "--key", ""], "--key: "),
        ] {
            let output = run(&[&["purge", "items"], &arguments[..], &options].concat(), &[]);
            for id in ["a:1", "a:2", "b:1"] {
                let explained = one.get(&format!("/v1/_explain/items/{id}")).await.json();
                assert_eq!(explained["shared"]["state"], "document", "{arguments:?} purged {id}");
            }
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
            assert!(said.contains(named), "{arguments:?}: {said}");
        }
    }
}
