//! Cached lists: hits until anything in the collection is written, and never another sender's.

use larder_testkit::{mongo, redis};
use serde_json::json;

use crate::{
    ITEMS, Larder, assert_problem,
    client::Answer,
    larder::run,
    list::{add_ten, ids},
    rows::{ACME, BOLT, OWNER, config as tenants, send, send_with},
};

const CACHED: &str = "[cache]\nlists_ttl = \"1m\"\n";
const DEAR: &str = "/v1/items?price=gte.9&sort=-price";

async fn ten_items() -> Larder {
    let larder = Larder::start(&format!("{ITEMS}\n{CACHED}")).await;
    add_ten(&larder).await;
    larder
}

/// What is said of an answer from the cache, and what of one from the database.
fn assert_hit(answer: &Answer, is_hit: bool) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let status = answer.cache_status();
    assert_eq!(status.starts_with("larder; hit; ttl="), is_hit, "{answer:?}");
    assert_eq!(status.starts_with("larder; fwd=miss"), !is_hit, "{answer:?}");
    assert_eq!(answer.header("age").is_some(), is_hit, "{answer:?}");
}

#[tokio::test]
async fn a_list_is_a_hit_until_anything_is_written() {
    let larder = ten_items().await;
    let steps: [(&str, &str, &str, u16); 6] = [
        ("POST", "/v1/items", r#"{"_id":20,"name":"x","price":"20"}"#, 201),
        ("PUT", "/v1/items/3", r#"{"name":"y","price":"21"}"#, 200),
        ("PATCH", "/v1/items/3", r#"{"price":"22"}"#, 200),
        ("DELETE", "/v1/items/9", "", 204),
        ("POST", "/v1/items/bulk", r#"[{"_id":21,"name":"z","price":"23"}]"#, 200),
        ("POST", "/v1/_purge", r#"{"collection":"items","keys":[1]}"#, 200),
    ];
    for (method, path, body, status) in steps {
        let miss = larder.get(DEAR).await;
        assert_hit(&miss, false);
        let hit = larder.get(DEAR).await;
        assert_hit(&hit, true);
        assert_eq!((hit.text(), hit.etag()), (miss.text(), miss.etag()));
        let media_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let headers: &[_] = if body.is_empty() { &[] } else { &[("content-type", media_type)] };
        let written = larder.client().send(method, path, headers, body).await;
        assert_eq!(written.status, status, "{written:?}");
        assert_eq!(larder.get("/v1/items/3").await.status, 200);
    }
    assert_hit(&larder.get(DEAR).await, false);
    assert_eq!(ids(&larder.get(DEAR).await.json()), [21, 3, 20, 8]);
    let stats = &larder.get("/v1/_stats").await.json()["collections"][0]["lists"];
    assert_eq!((stats["hits_near"].as_u64(), stats["source_loads"].as_u64()), (Some(7), Some(7)), "{stats}");
    let metrics = larder.get("/metrics").await;
    let line = r#"larder_list_near_hits_total{collection="items"} 7"#;
    assert!(metrics.text().lines().any(|it| it == line), "{}", metrics.text());
}

#[tokio::test]
async fn what_means_the_same_is_one_list_and_its_answers_are_what_they_were() {
    let larder = ten_items().await;
    let first = larder.get("/v1/items?price=gte.9&sort=-price&limit=50").await;
    let body = r#"{"filter":{"price":{"gte":9}},"sort":["-price"]}"#;
    let headers = [("content-type", "application/json")];
    for (method, path) in [("QUERY", "/v1/items"), ("POST", "/v1/items/_search")] {
        let same = larder.client().send(method, path, &headers, body).await;
        assert_hit(&same, true);
        assert_eq!(same.text(), first.text(), "{method}");
    }
    let unchanged = larder.get_with(DEAR, &[("if-none-match", first.etag())]).await;
    assert_eq!((unchanged.status, unchanged.cache_status().contains("hit")), (304, true), "{unchanged:?}");

    for is_hit in [false, true] {
        let counted = larder.get_with(&format!("{DEAR}&limit=1"), &[("prefer", "count=exact")]).await;
        assert_hit(&counted, is_hit);
        assert_eq!((counted.json()["count"].as_u64(), ids(&counted.json())), (Some(2), vec![9]));
        let second = counted.json()["next"].as_str().expect("there is one more").to_owned();
        let second = larder.get(&format!("{DEAR}&limit=1&after={second}")).await;
        assert_hit(&second, is_hit);
        assert_eq!(ids(&second.json()), [8]);
        let query = larder.get("/v1/items/_q/by_stock").await;
        assert_hit(&query, is_hit);
        assert_eq!(query.json()["items"].as_array().map(Vec::len), Some(3), "{query:?}");
    }
    // As what it was cut from, which is there already.
    let fields = larder.get(&format!("{DEAR}&fields=name")).await;
    assert_hit(&fields, false);
    assert_eq!(fields.json()["items"], json!([{ "_id": 9, "name": "j" }, { "_id": 8, "name": "i" }]));
}

#[tokio::test]
async fn a_request_may_go_past_cached_lists_where_it_may_go_past_documents() {
    let larder = ten_items().await;
    larder.get(DEAR).await;
    let past = larder.get_with(DEAR, &[("x-larder-cache", "bypass")]).await;
    assert_eq!(past.cache_status(), "larder; fwd=bypass");
    let fresh = larder.get_with(DEAR, &[("cache-control", "no-cache")]).await;
    assert_eq!(fresh.cache_status(), "larder; fwd=request; detail=asked");
    assert_hit(&larder.get(DEAR).await, true);
    let wrong = larder.get_with(DEAR, &[("x-larder-token", "nonsense")]).await;
    assert_problem(&wrong, 400, Some("X-Larder-Token"));
}

#[tokio::test]
async fn another_node_lists_what_a_token_stands_for() {
    for redis in [redis::single(), redis::cluster()] {
        let database = mongo::database_name();
        let url = mongo::shared().url(&database);
        let config = format!(
            "{ITEMS}\n[redis]\napp = \"{database}\"\n{CACHED}near_ttl = \"1m\"\n[watch]\nenabled = false"
        );
        let arguments = ["--mongo", &url, "--redis", &redis];
        let one = Larder::start_with(&config, &arguments).await;
        let two = Larder::start_with(&config, &arguments).await;
        add_ten(&one).await;
        for round in 0..10 {
            assert_eq!(two.get(DEAR).await.status, 200);
            assert_hit(&two.get(DEAR).await, true);
            let body = json!({ "price": format!("{}", 100 + round) }).to_string();
            let written = one.patch("/v1/items/0", &body).await;
            let token = written.header("x-larder-token").expect("beside Redis each write has one");
            let listed = two.get_with(DEAR, &[("x-larder-token", token)]).await;
            let price = &listed.json()["items"][0]["price"]["$numberDecimal"];
            assert_eq!(*price, format!("{}", 100 + round), "{listed:?}");
        }
        let purged = larder_purge(&one, &redis).await;
        assert!(purged, "the command has told Redis");
        let listed = one.get(DEAR).await;
        assert!(listed.cache_status().starts_with("larder; fwd=miss"), "{listed:?}");
    }
}

/// The command, which knows what the server knows from the same file.
async fn larder_purge(larder: &Larder, redis: &str) -> bool {
    let config = larder.folder().join("larder.toml").display().to_string();
    let redis = redis.to_owned();
    let purge = move || run(&["purge", "items", "--key", "1", "--config", &config, "--redis", &redis], &[]);
    let output = tokio::task::spawn_blocking(purge).await.expect("it runs");
    output.status.success()
}

#[tokio::test]
async fn nobody_is_shown_what_was_listed_for_somebody_else() {
    let url = mongo::shared().url(&mongo::database_name());
    let config = format!("{CACHED}{}", tenants());
    for shop in [Larder::start(&config).await, Larder::start_with(&config, &["--mongo", &url]).await] {
        for (id, tenant, region, n) in [(1, "acme", "eu", 1), (2, "bolt", "eu", 2), (3, "acme", "us", 4)] {
            let body =
                json!({ "_id": id, "org": { "tenant": tenant }, "region": region, "n": n }).to_string();
            assert_eq!(send(&shop, OWNER, "POST", "/v1/orders", &body).await.status, 201);
        }
        let expected: [(&str, &[i64], u64); 3] =
            [(OWNER, &[1, 2, 3], 7), (ACME, &[1, 3], 5), (BOLT, &[2], 2)];
        for round in 0..3 {
            for (key, orders, total) in &expected {
                let count = [("prefer", "count=exact")];
                let page = send_with(&shop, key, "GET", "/v1/orders", &count, "").await;
                assert_hit(&page, round > 0);
                assert_eq!(ids(&page.json()), *orders, "{key}");
                assert_eq!(page.json()["count"].as_u64(), Some(orders.len() as u64), "{key}");
                let shows_whose = page.text().contains("tenant");
                assert_eq!(shows_whose, *key == OWNER, "{key}: {page:?}");
                let query = send(&shop, key, "GET", "/v1/orders/_q/total", "").await;
                assert_hit(&query, round > 0);
                assert_eq!(query.json()["items"][0]["n"].as_u64(), Some(*total), "{key}");
            }
        }
    }
}

#[tokio::test]
async fn a_description_says_what_requests_and_answers_of_cached_lists_may_carry() {
    let described = |larder: Larder| async move {
        let description = larder.get("/openapi.json").await.json();
        ["/v1/items/get", "/v1/items/_search/post", "/v1/items/_q/by_stock/get"].map(|operation| {
            let (path, method) = operation.rsplit_once('/').expect("it has a method");
            let operation = &description["paths"][path][method];
            assert!(operation.is_object(), "{path} {method}: {description}");
            let names = operation["parameters"].to_string();
            let headers = &operation["responses"]["200"]["headers"];
            (names.contains("X-Larder-Token"), headers.get("Age").is_some())
        })
    };
    assert_eq!(described(ten_items().await).await, [(true, true); 3]);
    assert_eq!(described(Larder::start(ITEMS).await).await, [(false, false); 3]);
}

#[tokio::test]
async fn without_a_time_for_them_lists_ask_the_database_each_time() {
    let larder = Larder::start(ITEMS).await;
    add_ten(&larder).await;
    for _ in 0..2 {
        let listed = larder.get(DEAR).await;
        assert_eq!((listed.status, listed.cache_status()), (200, "larder; fwd=bypass"));
    }
    assert!(larder.get("/v1/_stats").await.json()["collections"][0]["lists"].is_null());
    assert!(!larder.get("/metrics").await.text().contains("larder_list_"));
}
