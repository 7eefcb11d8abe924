//! Bodies that are wrong.

use crate::{Larder, assert_problem, items};

#[tokio::test]
async fn a_wrong_document_is_refused_by_the_field_that_is_wrong() {
    let larder = items().await;
    let deep = format!(r#"{{"_id":1,"name":"a","note":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
    for (body, field) in [
        (r#"{"_id":1}"#, "name"),
        (r#"{"_id":1,"name":5}"#, "name"),
        (r#"{"_id":1,"name":null}"#, "name"),
        (r#"{"_id":"x","name":"a"}"#, "_id"),
        (r#"{"_id":{"$gt":0},"name":"a"}"#, "_id"),
        (r#"{"_id":1,"name":"a","colour":"red"}"#, "colour"),
        (r#"{"_id":1,"name":"a","price":"cheap"}"#, "price"),
        (r#"{"_id":1,"name":"a","price":{"$gt":1}}"#, "price"),
        (r#"{"_id":1,"name":"a","stock":1.5}"#, "stock"),
        (r#"{"_id":1,"name":"a","sold":"true"}"#, "sold"),
        (r#"{"_id":1,"name":"a","made_at":"soon"}"#, "made_at"),
        (r#"{"_id":1,"name":"a","maker_id":"7"}"#, "maker_id"),
        (r#"{"_id":1,"name":"a","tags":"red"}"#, "tags"),
        (r#"{"_id":1,"name":"a","tags":["red",5]}"#, "tags"),
        (r#"{"_id":1,"name":"a","size":{"depth":1}}"#, "size.depth"),
        (r#"{"_id":1,"name":"a","size.width":1}"#, "size.width"),
        (r#"{"_id":1,"name":"a","$where":"1"}"#, "$where"),
        (r#"{"_id":1,"name":"a","note":{"$where":"1"}}"#, "note"),
        (r#"{"_id":1,"name":"a","note":{"a.b":"1"}}"#, "note"),
        (r#"{"_id":1,"name":"a","name":"b"}"#, "name"),
        (deep.as_str(), "note"),
    ] {
        let answer = larder.post("/v1/items", body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        let named = answer.json()["field"].as_str().unwrap_or_default().to_owned();
        // Inside an undeclared shape the place may be named more closely.
        assert!(
            named == field || named.starts_with(&format!("{field}.")),
            "{body} names {named}, not {field}"
        );
    }
    assert_eq!(larder.get("/v1/items").await.json()["items"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn what_is_not_json_is_refused_with_its_place() {
    let larder = items().await;
    for body in [
        "",
        "{",
        "{\"_id\":1,}",
        "[]",
        "7",
        "\"x\"",
        "null",
        "{\"_id\":1,\"name\":\"a\"}}",
        "\u{feff}{}",
        "{'_id':1}",
    ] {
        let answer = larder.post("/v1/items", body).await;
        assert_problem(&answer, 400, None);
    }
    let answer = larder.post("/v1/items", "{\n  \"_id\": 1,\n  \"name\": oops\n}").await;
    let problem = answer.json();
    assert_eq!((problem["line"].as_u64(), problem["column"].as_u64()), (Some(3), Some(11)), "{problem}");
    let not_utf8 = larder.client().send(
        "POST",
        "/v1/items",
        &[("content-type", "application/json")],
        b"{\"_id\":1,\"name\":\"\xff\"}",
    );
    assert_eq!(not_utf8.await.status, 400);
}

#[tokio::test]
async fn other_media_types_are_refused_with_the_ones_that_are_taken() {
    let larder = items().await;
    larder.put("/v1/items/7", r#"{"name":"a"}"#).await;
    for (method, path, content_type) in [
        ("POST", "/v1/items", "text/plain"),
        ("POST", "/v1/items", "application/xml"),
        ("POST", "/v1/items", "application/x-www-form-urlencoded"),
        ("PUT", "/v1/items/7", "application/merge-patch+json"),
        ("PATCH", "/v1/items/7", "application/json"),
        ("PATCH", "/v1/items/7", "application/json-patch+json"),
        ("POST", "/v1/items/bulk", "text/csv"),
    ] {
        let answer = larder.client().send(method, path, &[("content-type", content_type)], "{}").await;
        assert_problem(&answer, 415, Some("Content-Type"));
        assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.contains("json")));
    }
    let without = larder.client().send("POST", "/v1/items", &[], "{}").await;
    assert_problem(&without, 415, Some("Content-Type"));
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let compressed = larder.client().send("POST", "/v1/items", &headers, "x").await;
    assert_problem(&compressed, 415, Some("Content-Encoding"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_or_not_it_says_its_length() {
    let config = format!("{}\n[limits]\nmax_body_bytes = \"1KiB\"\nmax_bulk_bytes = \"2KiB\"", crate::ITEMS);
    let larder = Larder::start(&config).await;
    let large = format!(r#"{{"_id":1,"name":"{}"}}"#, "x".repeat(2_000));
    let bulk = format!("[{large},{large}]");
    for (refused, limit) in [
        (larder.post("/v1/items", &large).await, "1024 bytes (limits.max_body_bytes)"),
        (larder.put("/v1/items/1", &large).await, "1024 bytes (limits.max_body_bytes)"),
        (larder.patch("/v1/items/1", &large).await, "1024 bytes (limits.max_body_bytes)"),
        (larder.post("/v1/items/bulk", &bulk).await, "2048 bytes (limits.max_bulk_bytes)"),
    ] {
        assert_problem(&refused, 413, Some("body"));
        assert!(refused.text().contains(limit), "{refused:?}");
    }
    let chunked = crate::client::send_chunked(larder.url(), "/v1/items", &large).await;
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    assert_eq!(larder.post("/v1/items", r#"{"_id":1,"name":"small"}"#).await.status, 201);
}

#[tokio::test]
async fn large_bodies_are_refused_while_others_have_the_room() {
    let config = format!(
        "{}\n[limits]\nmax_body_bytes = \"16KiB\"\nmax_bulk_bytes = \"16KiB\"\nmax_body_memory_bytes = \"20KiB\"",
        crate::ITEMS
    );
    let larder = Larder::start(&config).await;
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(12_000));
    assert_eq!(larder.put("/v1/items/1", &large).await.status, 201);
    let half = "PUT /v1/items/2 HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 12000\r\n\r\n{";
    let address = larder.url().trim_start_matches("http://");
    let keeper = tokio::sync::Mutex::new(None);
    larder_testkit::eventually("the room is taken", crate::larder::PATIENCE, || async {
        // A new one each time: it may have come while the question below had the room, and was refused itself.
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("the server listens");
        tokio::io::AsyncWriteExt::write_all(&mut stream, half.as_bytes()).await.expect("the server reads");
        *keeper.lock().await = Some(stream);
        let answer = larder.put("/v1/items/1", &large).await;
        answer.status == 503 && answer.header("retry-after").is_some()
    })
    .await;
    assert_eq!(
        larder.put("/v1/items/1", r#"{"name":"small"}"#).await.status,
        200,
        "there is room for a small one"
    );
    drop(keeper);
    larder_testkit::eventually("the room is free again", crate::larder::PATIENCE, || async {
        larder.put("/v1/items/1", &large).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn what_an_address_says_wrongly_is_named() {
    let larder = items().await;
    larder.put("/v1/items/1", r#"{"name":"a"}"#).await;
    for (address, field, says) in [
        ("/v1/items?name=eq.%ff", "name", "must be UTF-8"),
        ("/v1/items?limit=1&%ff=1", "%ff", "must be UTF-8"),
        ("/v1/items/_q/named?name=%ff", "name", "must be UTF-8"),
        ("/v1/items/1?fields=%ff", "fields", "must be UTF-8"),
        ("/v1/items/%ff", "_id", "must be UTF-8"),
        ("/v1/items/9999999999999999999999", "_id", "it is too large"),
        ("/v1/items/-9223372036854775809", "_id", "it is too large"),
        ("/v1/items/007", "_id", "without leading zeros"),
    ] {
        let answer = larder.get(address).await;
        assert_problem(&answer, 400, Some(field));
        assert!(answer.text().contains(says), "{address}: {answer:?}");
    }
    assert_eq!(larder.get("/v1/items?name=eq.a+b%20%C3%A9&limit=1").await.status, 200);
}
