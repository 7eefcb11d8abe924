//! Reading one document.

use crate::{assert_problem, items};

const TEAPOT: &str =
    r#"{"_id":7,"name":"Teapot","price":"12.50","stock":3,"weight":1,"made_at":"2025-01-02T03:04:05Z"}"#;

#[tokio::test]
async fn a_miss_is_followed_by_a_hit_with_the_same_answer() {
    let larder = items().await;
    larder.post("/v1/items", TEAPOT).await;
    let first = larder.get("/v1/items/7").await;
    let second = larder.get("/v1/items/7").await;
    assert_eq!(first.status, 200);
    assert_eq!(
        first.text(),
        r#"{"_id":7,"name":"Teapot","price":{"$numberDecimal":"12.50"},"stock":3,"weight":1.0,"made_at":{"$date":"2025-01-02T03:04:05Z"}}"#
    );
    assert!(first.cache_status().starts_with("larder; fwd=miss; detail="), "{first:?}");
    assert!(first.header("age").is_none());
    let status = second.cache_status();
    assert!(status.starts_with("larder; hit; ttl=") && status.ends_with("; detail=near"), "{status}");
    assert_eq!(second.header("age"), Some("0"));
    assert_eq!((first.body.clone(), first.etag()), (second.body.clone(), second.etag()));
    assert_eq!(second.header("content-type"), Some("application/json"));
    assert_eq!(second.header("cache-control"), Some("private, no-cache"));
    assert_eq!(second.header("vary"), Some("Accept, Authorization, X-API-Key"));
}

#[tokio::test]
async fn who_has_the_document_already_gets_304() {
    let larder = items().await;
    larder.post("/v1/items", TEAPOT).await;
    let etag = larder.get("/v1/items/7").await.etag().to_owned();
    for matching in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let answer = larder.get_with("/v1/items/7", &[("if-none-match", &matching)]).await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{matching}");
        assert_eq!(answer.etag(), etag);
        assert!(answer.cache_status().contains("hit"));
    }
    assert_eq!(larder.get_with("/v1/items/7", &[("if-none-match", "\"x\"")]).await.status, 200);
    larder.patch("/v1/items/7", r#"{"stock":4}"#).await;
    let changed = larder.get_with("/v1/items/7", &[("if-none-match", &etag)]).await;
    assert_eq!((changed.status, changed.json()["stock"].as_i64()), (200, Some(4)));
}

#[tokio::test]
async fn head_answers_as_get_without_the_body() {
    let larder = items().await;
    larder.post("/v1/items", TEAPOT).await;
    let get = larder.get("/v1/items/7").await;
    let head = larder.client().send("HEAD", "/v1/items/7", &[], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.etag(), get.etag());
    assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()));
}

#[tokio::test]
async fn what_is_not_there_is_remembered_as_such() {
    let larder = items().await;
    let first = larder.get("/v1/items/7").await;
    assert_problem(&first, 404, None);
    assert!(first.cache_status().contains("detail=cold"), "{first:?}");
    let second = larder.get("/v1/items/7").await;
    assert_problem(&second, 404, None);
    assert!(second.cache_status().contains("hit"), "{second:?}");
    larder.post("/v1/items", TEAPOT).await;
    assert_eq!(larder.get("/v1/items/7").await.status, 200);
}

#[tokio::test]
async fn only_the_asked_fields_are_sent_with_a_tag_of_their_own() {
    let larder = items().await;
    larder.post("/v1/items", r#"{"_id":7,"name":"Teapot","size":{"width":3,"height":4},"stock":1}"#).await;
    let whole = larder.get("/v1/items/7").await;
    let part = larder.get("/v1/items/7?fields=name,size.width").await;
    assert_eq!(part.text(), r#"{"_id":7,"name":"Teapot","size":{"width":3}}"#);
    assert!(part.cache_status().contains("hit"), "{part:?}");
    assert_ne!(part.etag(), whole.etag());
    assert_problem(&larder.get("/v1/items/7?fields=nome").await, 400, Some("fields"));
    assert_problem(&larder.get("/v1/items/7?fields=name&fields=stock").await, 400, Some("fields"));
    assert_problem(&larder.get("/v1/items/7?price=gt.1").await, 400, Some("price"));
}

#[tokio::test]
async fn canonical_json_names_the_type_of_every_number() {
    let larder = items().await;
    larder.post("/v1/items", TEAPOT).await;
    let answer = larder.get_with("/v1/items/7?fields=weight", &[("accept", "application/ejson")]).await;
    assert_eq!(answer.text(), r#"{"_id":{"$numberLong":"7"},"weight":{"$numberDouble":"1.0"}}"#);
    assert_eq!(answer.header("content-type"), Some("application/ejson"));
}

#[tokio::test]
async fn ids_that_are_none_are_refused() {
    let larder = items().await;
    for id in ["x", "07", "+7", "7.0", "1e3", "99999999999999999999", "%FF", "$where", "%7B%22$gt%22:0%7D"] {
        assert_problem(&larder.get(&format!("/v1/items/{id}")).await, 400, Some("_id"));
        assert_problem(&larder.delete(&format!("/v1/items/{id}")).await, 400, Some("_id"));
    }
}

#[tokio::test]
async fn string_ids_may_hold_what_is_escaped_in_a_path() {
    let config = "[auth]\nopen = true\n[[collection]]\nname = \"pages\"\nid = \"string\"\nstrict = false";
    let larder = crate::Larder::start(config).await;
    for (id, path) in [("a/b", "a%2Fb"), ("bulk", "bulk"), ("ü ?", "%C3%BC%20%3F"), ("_q", "_q")] {
        let created = larder.post("/v1/pages", &format!(r#"{{"_id":"{id}","n":1}}"#)).await;
        assert_eq!(created.status, 201, "{created:?}");
        let location = created.header("location").expect("a Location").to_owned();
        assert_eq!(larder.get(&location).await.json()["_id"], id);
        assert_eq!(larder.get(&format!("/v1/pages/{path}")).await.json()["_id"], id);
    }
    assert_problem(&larder.get("/v1/pages/a%00b").await, 400, Some("_id"));
    assert_problem(&larder.get(&format!("/v1/pages/{}", "a".repeat(300))).await, 400, Some("_id"));
}

#[tokio::test]
async fn a_reader_may_ask_for_the_database_past_the_cache() {
    let larder = items().await;
    larder.post("/v1/items", TEAPOT).await;
    larder.get("/v1/items/7").await;
    let bypass = larder.get_with("/v1/items/7", &[("x-larder-cache", "bypass")]).await;
    assert_eq!(bypass.cache_status(), "larder; fwd=bypass");
    let bypass = larder.get_with("/v1/items/7", &[("cache-control", "no-store")]).await;
    assert_eq!(bypass.cache_status(), "larder; fwd=bypass");
    let refresh = larder.get_with("/v1/items/7", &[("cache-control", "max-age=0, No-Cache")]).await;
    assert_eq!(refresh.cache_status(), "larder; fwd=request; detail=asked");
    assert!(larder.get("/v1/items/7").await.cache_status().contains("hit"));
}
