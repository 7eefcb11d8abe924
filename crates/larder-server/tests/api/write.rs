//! Creating, replacing, patching and deleting one document.

use crate::{assert_problem, items};

#[tokio::test]
async fn a_created_document_says_where_it_is() {
    let larder = items().await;
    let created = larder.post("/v1/items", r#"{"_id":7,"name":"Teapot"}"#).await;
    assert_eq!((created.status, created.header("location")), (201, Some("/v1/items/7")));
    assert_eq!(created.text(), r#"{"_id":7,"name":"Teapot"}"#);
    assert_eq!(larder.get("/v1/items/7").await.etag(), created.etag());
    assert_problem(&larder.post("/v1/items", r#"{"_id":7,"name":"Again"}"#).await, 409, Some("_id"));
    assert_problem(&larder.post("/v1/items", r#"{"name":"No id"}"#).await, 400, Some("_id"));
}

#[tokio::test]
async fn an_object_id_is_made_when_there_is_none() {
    let config = "[auth]\nopen = true\n[[collection]]\nname = \"notes\"\nid = \"objectId\"\nstrict = false";
    let larder = crate::Larder::start(config).await;
    let created = larder.post("/v1/notes", r#"{"text":"hello"}"#).await;
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.json()["_id"]["$oid"].as_str().expect("an ObjectId").to_owned();
    assert_eq!(created.header("location"), Some(format!("/v1/notes/{id}").as_str()));
    assert_eq!(larder.get(&format!("/v1/notes/{id}")).await.json()["text"], "hello");
    assert_problem(&larder.get("/v1/notes/7").await, 400, Some("_id"));
}

#[tokio::test]
async fn a_put_replaces_or_creates() {
    let larder = items().await;
    let created = larder.put("/v1/items/7", r#"{"name":"Teapot","stock":3}"#).await;
    assert_eq!((created.status, created.header("location")), (201, Some("/v1/items/7")));
    let replaced = larder.put("/v1/items/7", r#"{"_id":7,"name":"Kettle"}"#).await;
    assert_eq!((replaced.status, replaced.text()), (200, r#"{"_id":7,"name":"Kettle"}"#));
    assert_eq!(larder.get("/v1/items/7").await.text(), replaced.text());
    assert_problem(&larder.put("/v1/items/7", r#"{"_id":8,"name":"Other"}"#).await, 400, Some("_id"));
}

#[tokio::test]
async fn a_patch_merges_and_null_removes() {
    let larder = items().await;
    larder.put("/v1/items/7", r#"{"name":"Teapot","stock":3,"size":{"width":1,"height":2}}"#).await;
    let patched = larder.patch("/v1/items/7", r#"{"stock":null,"size":{"width":5},"price":"9.99"}"#).await;
    assert_eq!(
        (patched.status, patched.text()),
        (200, r#"{"_id":7,"name":"Teapot","size":{"width":5,"height":2},"price":{"$numberDecimal":"9.99"}}"#)
    );
    assert_eq!(larder.get("/v1/items/7").await.text(), patched.text());
    assert_problem(&larder.patch("/v1/items/8", r#"{"stock":1}"#).await, 404, None);
    assert_problem(&larder.patch("/v1/items/7", r#"{"_id":8}"#).await, 400, Some("_id"));
    assert_problem(&larder.patch("/v1/items/7", r#"{"name":null}"#).await, 400, Some("name"));
    assert_problem(&larder.patch("/v1/items/7", r#"{"stock":"many"}"#).await, 400, Some("stock"));
    assert_problem(&larder.patch("/v1/items/7", r#"{"$set":{"stock":1}}"#).await, 400, Some("$set"));
    assert_problem(&larder.patch("/v1/items/7", r#"{"size.width":1}"#).await, 400, Some("size.width"));
}

#[tokio::test]
async fn a_deleted_document_is_gone_at_once() {
    let larder = items().await;
    larder.put("/v1/items/7", r#"{"name":"Teapot"}"#).await;
    larder.get("/v1/items/7").await;
    let deleted = larder.delete("/v1/items/7").await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    assert_problem(&larder.get("/v1/items/7").await, 404, None);
    assert_problem(&larder.delete("/v1/items/7").await, 404, None);
}

#[tokio::test]
async fn a_write_on_an_older_state_is_refused() {
    let larder = items().await;
    let json = ("content-type", "application/json");
    let merge = ("content-type", "application/merge-patch+json");
    let first = larder.put("/v1/items/7", r#"{"name":"Teapot"}"#).await.etag().to_owned();
    let second = larder.patch("/v1/items/7", r#"{"stock":1}"#).await.etag().to_owned();
    let send = |method, headers: Vec<(&'static str, String)>, body| {
        let client = larder.client().clone();
        async move {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            client.send(method, "/v1/items/7", &headers, body).await
        }
    };
    let kept = |(name, value): (&'static str, &str)| (name, value.to_owned());
    for old in [first.clone(), format!("W/{second}"), "\"x\", \"y\"".to_owned()] {
        let if_match = ("if-match", old);
        for (method, content_type, body) in
            [("PUT", json, r#"{"name":"Lost"}"#), ("PATCH", merge, r#"{"stock":9}"#), ("DELETE", json, "")]
        {
            let answer = send(method, vec![kept(content_type), if_match.clone()], body).await;
            assert_problem(&answer, 412, Some("If-Match"));
        }
    }
    assert_problem(&send("DELETE", vec![("if-match", "x".to_owned())], "").await, 400, Some("If-Match"));
    let patched =
        send("PATCH", vec![kept(merge), ("if-match", format!("\"x\", {second}"))], r#"{"stock":2}"#).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    let put =
        send("PUT", vec![kept(json), ("if-match", patched.etag().to_owned())], r#"{"name":"Kettle"}"#).await;
    assert_eq!(put.status, 200);
    assert_eq!(send("DELETE", vec![("if-match", "*".to_owned())], "").await.status, 204);
    assert_problem(&send("DELETE", vec![("if-match", "*".to_owned())], "").await, 412, Some("If-Match"));
    let put = send("PUT", vec![kept(json), ("if-match", first)], r#"{"name":"Ghost"}"#).await;
    assert_problem(&put, 412, Some("If-Match"));
}

#[tokio::test]
async fn a_put_can_be_for_a_new_document_only() {
    let larder = items().await;
    let headers = [("content-type", "application/json"), ("if-none-match", "*")];
    let body = r#"{"name":"Teapot"}"#;
    assert_eq!(larder.client().send("PUT", "/v1/items/7", &headers, body).await.status, 201);
    let again = larder.client().send("PUT", "/v1/items/7", &headers, body).await;
    assert_problem(&again, 412, Some("If-None-Match"));
}

#[tokio::test]
async fn of_writers_that_saw_the_same_state_one_wins() {
    let larder = items().await;
    let etag = larder.put("/v1/items/7", r#"{"name":"Teapot","stock":0}"#).await.etag().to_owned();
    let writers: Vec<_> = (1..=20)
        .map(|n| {
            let headers = [("content-type", "application/merge-patch+json"), ("if-match", etag.as_str())];
            let sent = larder.client().send("PATCH", "/v1/items/7", &headers, format!(r#"{{"stock":{n}}}"#));
            tokio::spawn(sent)
        })
        .collect();
    let mut statuses = Vec::new();
    for writer in writers {
        statuses.push(writer.await.expect("the writer ends").status);
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (200, &[412; 19][..]));
}
