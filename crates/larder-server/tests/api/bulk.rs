//! Many documents at once.

use crate::{Larder, assert_problem, items};

#[tokio::test]
async fn each_document_has_its_own_outcome() {
    let larder = items().await;
    larder.put("/v1/items/2", r#"{"name":"taken"}"#).await;
    let body = r#"[{"_id":1,"name":"a"},{"_id":2,"name":"b"},{"_id":3,"name":7},{"_id":4,"name":"d","x":1},{"_id":5,"name":"e"},{"_id":1,"name":"f"}]"#;
    let answer = larder.post("/v1/items/bulk", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    assert_eq!((json["created"].as_i64(), json["failed"].as_i64()), (Some(2), Some(4)));
    let statuses: Vec<_> =
        json["items"].as_array().expect("items").iter().map(|item| item["status"].as_u64()).collect();
    assert_eq!(statuses, [201, 409, 400, 400, 201, 409].map(Some));
    assert_eq!(json["items"][2]["problem"]["field"], "name");
    assert_eq!(json["items"][3]["problem"]["field"], "x");
    assert_eq!(json["items"][4]["_id"], 5);
    assert_eq!(larder.get("/v1/items/5").await.json()["name"], "e");
    assert_eq!(larder.get("/v1/items/2").await.json()["name"], "taken");
}

#[tokio::test]
async fn lines_are_taken_as_well_as_an_array() {
    let larder = items().await;
    let lines = "{\"_id\":1,\"name\":\"a\"}\n\n  {\"_id\":2,\"name\":\"b\"}\r\nnot json\n";
    let headers = [("content-type", "application/x-ndjson")];
    let answer = larder.client().send("POST", "/v1/items/bulk", &headers, lines).await;
    let json = answer.json();
    assert_eq!((json["created"].as_i64(), json["failed"].as_i64()), (Some(2), Some(1)), "{json}");
    assert_eq!(larder.post("/v1/items/bulk", "[]").await.json()["created"], 0);
}

#[tokio::test]
async fn wrong_json_is_told_with_its_line_and_column_in_the_whole_body() {
    let larder = items().await;
    let lines = "{\"_id\":1,\"name\":\"a\"}\r\n\n{\"_id\":3,,}\n{}\n  {\"_id\":5,,}\n";
    let array = "[{\"_id\":1},\n  {\"name\":\"\\ud800\"}, {\n \"name\":\"\\ud800\"}]";
    for (media_type, body, places) in [
        ("application/x-ndjson", lines, [(2, 3, 10), (4, 5, 12)]),
        ("application/json", array, [(1, 2, 18), (2, 3, 16)]),
    ] {
        let answer =
            larder.client().send("POST", "/v1/items/bulk", &[("content-type", media_type)], body).await;
        for (item, line, column) in places {
            let problem =
                &answer.json()["items"][item - usize::from(media_type.ends_with("ndjson"))]["problem"];
            assert_eq!((&problem["line"], &problem["column"]), (&line.into(), &column.into()), "{answer:?}");
            let place = format!(" at line {line} column {column}");
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.ends_with(&place)), "{problem}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_cut_into_documents_is_refused_whole() {
    let config = format!("{}\n[limits]\nmax_bulk_items = 3", crate::ITEMS);
    let larder = Larder::start(&config).await;
    for body in ["{}", "[", "[{}", "7", ""] {
        let answer = larder.post("/v1/items/bulk", body).await;
        assert_problem(&answer, 400, None);
        assert!(answer.json()["line"].is_u64());
    }
    let four: Vec<_> = (0..4).map(|n| format!(r#"{{"_id":{n},"name":"a"}}"#)).collect();
    let many = larder.post("/v1/items/bulk", &format!("[{}]", four.join(","))).await;
    assert_problem(&many, 413, Some("body"));
    assert!(many.text().contains("at most 3 documents at once (limits.max_bulk_items)"), "{many:?}");
    // What comes behind the one too many is not looked at.
    assert_problem(&larder.post("/v1/items/bulk", "[{},{},{},{},").await, 413, Some("body"));
    assert_eq!(larder.get("/v1/items").await.json()["items"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn a_document_that_was_known_to_be_absent_is_found_after_a_bulk_insert() {
    let larder = items().await;
    assert_eq!(larder.get("/v1/items/1").await.status, 404);
    larder.post("/v1/items/bulk", r#"[{"_id":1,"name":"a"}]"#).await;
    assert_eq!(larder.get("/v1/items/1").await.status, 200);
}
