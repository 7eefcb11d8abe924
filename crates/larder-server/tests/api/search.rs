//! Lists by a body: QUERY, and `_search` for those who cannot send it.

use larder_testkit::mongo;
use serde_json::{Value, json};

use crate::{
    ITEMS, assert_problem,
    client::{Answer, send_chunked},
    items,
    larder::Larder,
    list::{add_ten, ids, ten_items},
};

/// The two ways to send a body.
const WAYS: [(&str, &str); 2] = [("QUERY", "/v1/items"), ("POST", "/v1/items/_search")];

const JSON: (&str, &str) = ("content-type", "application/json");

async fn send(larder: &Larder, (method, path): (&str, &str), body: &str) -> Answer {
    larder.client().send(method, path, &[JSON], body).await
}

async fn query(larder: &Larder, body: &Value) -> Answer {
    send(larder, WAYS[0], &body.to_string()).await
}

/// Bodies, and the query strings that mean the same.
fn pairs() -> Vec<(Value, &'static str)> {
    vec![
        (json!({}), ""),
        (json!({ "filter": { "price": { "gte": 9 } } }), "price=gte.9"),
        (
            json!({ "filter": { "price": { "$gt": "2", "$lt": { "$numberDecimal": "4.5" } } } }),
            "price=gt.2&price=lt.4.5",
        ),
        (json!({ "filter": { "name": "c" } }), "name=eq.c"),
        (json!({ "filter": { "name": { "in": ["a", "j"] } } }), "name=in.(a,j)"),
        (json!({ "filter": { "name": { "prefix": "b" } } }), "name=prefix.b"),
        (json!({ "filter": { "sold": true, "stock": { "ne": 0 } } }), "sold=eq.true&stock=ne.0"),
        (json!({ "filter": { "tags": "d" } }), "tags=eq.d"),
        (
            json!({ "filter": { "made_at": { "lt": "2025-01-02T00:00:00Z" } } }),
            "made_at=lt.2025-01-02T00:00:00Z",
        ),
        (
            json!({ "filter": { "or": [{ "name": "a" }, { "price": { "gt": 10 }, "stock": 0 }] } }),
            "or=(name.eq.a,and(price.gt.10,stock.eq.0))",
        ),
        (
            json!({ "filter": { "$and": [{ "$or": [{ "_id": 1 }, { "_id": 3 }] }], "sold": true } }),
            "and=(or(_id.eq.1,_id.eq.3))&sold=eq.true",
        ),
        (
            json!({ "filter": { "maker_id": null, "size.width": { "exists": false } }, "limit": 2 }),
            "maker_id=is.null&size.width=exists.false&limit=2",
        ),
        (json!({ "filter": { "maker_id": { "$ne": null } } }), "maker_id=not.null"),
        (
            json!({ "sort": ["stock", "-name"], "limit": 4, "fields": ["name", "price"] }),
            "sort=stock,-name&limit=4&fields=name,price",
        ),
        (json!({ "offset": 8 }), "offset=8"),
    ]
}

async fn check_pairs(larder: &Larder) {
    for (body, parameters) in pairs() {
        let expected = larder.get(&format!("/v1/items?{parameters}")).await;
        assert_eq!(expected.status, 200, "{parameters}: {expected:?}");
        for way in WAYS {
            let answer = send(larder, way, &body.to_string()).await;
            assert_eq!((answer.status, answer.text()), (200, expected.text()), "{way:?} {body}");
            assert_eq!(answer.etag(), expected.etag());
            assert!(answer.header("link").is_none() && answer.cache_status() == "larder; fwd=bypass");
        }
    }
}

#[tokio::test]
async fn a_body_is_answered_as_the_query_string_that_means_the_same() {
    check_pairs(&ten_items().await).await;
}

#[tokio::test]
async fn a_body_is_answered_by_mongodb_as_by_sqlite() {
    let url = mongo::shared().url(&mongo::database_name());
    let larder = Larder::start_with(&format!("{ITEMS}\n[watch]\nenabled = false"), &["--mongo", &url]).await;
    add_ten(&larder).await;
    check_pairs(&larder).await;
    for operator in ["$where", "$expr", "$regex", "$function"] {
        let body = json!({ "filter": { "or": [{ "name": { operator: ".*" } }, { "name": "a" }] } });
        assert_problem(&query(&larder, &body).await, 400, Some("name"));
        let body = json!({ "filter": { operator: "1" } });
        assert_problem(&query(&larder, &body).await, 400, Some(operator));
    }
}

#[tokio::test]
async fn pages_go_on_in_the_body_and_from_either_grammar_to_the_other() {
    let larder = ten_items().await;
    let mut body =
        json!({ "filter": { "price": { "gt": 1 } }, "sort": ["-stock"], "limit": 3, "fields": ["name"] });
    let parameters = "price=gt.1&sort=-stock&limit=3&fields=name";
    let mut seen = Vec::new();
    for way in WAYS.into_iter().cycle() {
        let page = send(&larder, way, &body.to_string()).await.json();
        seen.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        let other = larder.get(&format!("/v1/items?{parameters}&after={next}")).await.json();
        body["after"] = json!(next);
        assert_eq!(query(&larder, &body).await.json(), other);
        if let Some(next) = other["next"].as_str() {
            let mut body = body.clone();
            body["after"] = json!(next);
            assert_eq!(query(&larder, &body).await.status, 200, "a cursor of a query string");
        }
    }
    assert_eq!(seen, [2, 5, 8, 1, 4, 7, 0, 3, 6, 9]);

    for (member, other) in [
        ("filter", json!({ "price": { "gt": 2 } })),
        ("filter", json!({})),
        ("sort", json!(["stock"])),
        ("after", json!("x")),
    ] {
        let mut body = body.clone();
        body[member] = other;
        assert_problem(&query(&larder, &body).await, 400, Some("after"));
    }
}

#[tokio::test]
async fn what_cannot_be_asked_in_a_body_is_refused_by_name() {
    let larder = items().await;
    for (body, field) in [
        (r#"{"filter":{"$where":"1"}}"#, "$where"),
        (r#"{"filter":{"$expr":{"$function":{"body":"x","args":[],"lang":"js"}}}}"#, "$expr"),
        (r#"{"filter":{"name":{"$regex":".*"}}}"#, "name"),
        (r#"{"filter":{"name":{"$eq":{"$ne":null}}}}"#, "name"),
        (r#"{"filter":{"or":[{"name":"a"},{"$jsonSchema":{}}]}}"#, "$jsonSchema"),
        (r#"{"filter":{"weight":1}}"#, "weight"),
        (r#"{"filter":{"nome":"a"}}"#, "nome"),
        (r#"{"filter":{"size":{"width":1}}}"#, "size"),
        (r#"{"filter":{"price":"cheap"}}"#, "price"),
        (r#"{"filter":{"stock":"1"}}"#, "stock"),
        (r#"{"filter":{"stock":[1]}}"#, "stock"),
        (r#"{"filter":{"sold":1}}"#, "sold"),
        (r#"{"filter":{"made_at":"yesterday"}}"#, "made_at"),
        (r#"{"filter":{"maker_id":"7"}}"#, "maker_id"),
        (r#"{"filter":{"name":"a","name":"b"}}"#, "name"),
        (r#"{"limit":1,"limit":2}"#, "limit"),
        (r#"{"limit":1001}"#, "limit"),
        (r#"{"sort":["weight"]}"#, "sort"),
        (r#"{"fields":["nome"]}"#, "fields"),
        (r#"{"where":{}}"#, "where"),
        (r#"[]"#, "body"),
    ] {
        for way in WAYS {
            assert_problem(&send(&larder, way, body).await, 400, Some(field));
        }
    }
    let broken = send(&larder, WAYS[0], "{\"filter\":\n{\"name\":}}").await;
    assert_problem(&broken, 400, None);
    assert_eq!((&broken.json()["line"], &broken.json()["column"]), (&json!(2), &json!(9)));
    assert_problem(&send(&larder, WAYS[0], "").await, 400, None);
    for (method, path) in [("QUERY", "/v1/items?limit=1"), ("POST", "/v1/items/_search?limit=1")] {
        assert_problem(&send(&larder, (method, path), "{}").await, 400, Some("limit"));
    }
}

#[tokio::test]
async fn large_and_deep_bodies_are_refused() {
    let larder = Larder::start(&format!("{ITEMS}\n[limits]\nmax_body_bytes = \"1KiB\"")).await;
    let large = format!(r#"{{"filter":{{"name":"{}"}}}}"#, "x".repeat(2_000));
    for way in WAYS {
        assert_problem(&send(&larder, way, &large).await, 413, Some("body"));
    }
    assert!(send_chunked(larder.url(), "/v1/items/_search", &large).await.starts_with("HTTP/1.1 413"));

    let larder = items().await;
    for (open, close) in [("[", "]"), (r#"{"or":["#, "]}"), (r#"{"a":"#, "}")] {
        let deep = format!(r#"{{"filter":{}1{}}}"#, open.repeat(50_000), close.repeat(50_000));
        for way in WAYS {
            assert_eq!(send(&larder, way, &deep).await.status, 400);
        }
    }
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let larder = items().await;
    for (method, path) in WAYS {
        let wrong = larder.client().send(method, path, &[("content-type", "text/plain")], "{}").await;
        assert_problem(&wrong, 415, Some("Content-Type"));
        assert_eq!(wrong.header("accept-query").is_some(), method == "QUERY");
        let absent = larder.client().send(method, path, &[], "{}").await;
        assert_problem(&absent, if method == "QUERY" { 400 } else { 415 }, Some("Content-Type"));
        let packed = larder.client().send(method, path, &[JSON, ("content-encoding", "gzip")], "{}").await;
        assert_problem(&packed, 415, Some("Content-Encoding"));
    }
}

#[tokio::test]
async fn a_collection_says_that_it_takes_queries() {
    let larder = items().await;
    let options = larder.client().send("OPTIONS", "/v1/items", &[], "").await;
    for answer in [&options, &larder.get("/v1/items").await, &query(&larder, &json!({})).await] {
        assert_eq!(answer.header("accept-query"), Some("application/json"), "{answer:?}");
    }
    for path in ["/v1/items/1", "/v1/items/_q/by_stock", "/healthz"] {
        let refused = send(&larder, ("QUERY", path), "{}").await;
        assert_eq!(refused.status, 405, "{path}: {refused:?}");
        assert!(refused.header("allow").is_some_and(|allow| !allow.contains("QUERY")));
        assert!(larder.get(path).await.header("accept-query").is_none());
    }
    let refused = larder.delete("/v1/items").await;
    assert_eq!((refused.status, refused.header("allow")), (405, options.header("allow")));
}

#[tokio::test]
async fn a_document_may_still_be_called_as_the_search() {
    let config = "[auth]\nopen = true\n[[collection]]\nname = \"items\"\nid = \"string\"\nstrict = false";
    let larder = Larder::start(config).await;
    assert_eq!(larder.put("/v1/items/_search", r#"{"a":1}"#).await.status, 201);
    assert_eq!(larder.get("/v1/items/_search").await.json()["a"], 1);
    let found = send(&larder, WAYS[1], r#"{"filter":{"_id":"_search"}}"#).await;
    assert_eq!(found.json()["items"][0]["a"], 1, "{found:?}");
    assert_eq!(larder.delete("/v1/items/_search").await.status, 204);
}

#[tokio::test]
async fn a_query_is_conditional_as_a_get_is_and_a_search_is_not() {
    let larder = ten_items().await;
    let body = r#"{"limit":2}"#;
    for (way, unchanged) in [(WAYS[0], 304), (WAYS[1], 200)] {
        let etag = send(&larder, way, body).await.etag().to_owned();
        let headers = [JSON, ("if-none-match", etag.as_str())];
        let again = larder.client().send(way.0, way.1, &headers, body).await;
        assert_eq!((again.status, again.body.is_empty()), (unchanged, unchanged == 304), "{way:?}");
    }
    for way in WAYS {
        let headers = [JSON, ("prefer", "count=exact")];
        let counted =
            larder.client().send(way.0, way.1, &headers, r#"{"filter":{"sold":true},"limit":1}"#).await;
        assert_eq!(counted.json()["count"], 5, "{way:?}");
        assert_eq!(counted.header("preference-applied"), Some("count=exact"));
        let headers = [JSON, ("prefer", "count=some")];
        assert_problem(&larder.client().send(way.0, way.1, &headers, "{}").await, 400, Some("Prefer"));
    }
}

#[tokio::test]
async fn lists_by_a_body_are_counted_as_lists() {
    let larder = items().await;
    for way in WAYS {
        assert_eq!(send(&larder, way, "{}").await.status, 200);
    }
    let metrics = larder.get("/metrics").await;
    assert!(
        metrics.text().contains("larder_request_duration_seconds_count{route=\"list\"} 2\n"),
        "{metrics:?}"
    );
}
