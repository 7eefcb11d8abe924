//! A collection whose documents are changed with `If-Match` only.

use larder_testkit::{eventually, mongo};

use crate::{ITEMS, Larder, assert_problem, client::Answer, larder::PATIENCE};

/// [`ITEMS`], where every write of a document has to say which state it expects.
fn guarded() -> String {
    ITEMS.replace("id = \"int\"", "id = \"int\"\nrequire_if_match = true")
}

async fn send(larder: &Larder, method: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let media_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let headers = [headers, &[("content-type", media_type)]].concat();
    larder.client().send(method, "/v1/items/7", &headers, body).await
}

#[tokio::test]
async fn a_write_that_does_not_say_what_it_expects_is_refused() {
    let larder = Larder::start(&guarded()).await;
    let teapot = r#"{"name":"Teapot"}"#;
    let put = send(&larder, "PUT", &[], teapot).await;
    assert_problem(&put, 428, Some("If-Match"));
    assert!(put.text().contains("GET") && put.text().contains("If-None-Match: *"), "{put:?}");
    assert_eq!(put.json()["title"], "Precondition Required");
    assert_eq!(larder.get("/v1/items/7").await.status, 404, "nothing was written");
    // Neither the document nor the body decides it.
    for (method, body) in [("PATCH", "{}"), ("PATCH", "no JSON"), ("DELETE", ""), ("PUT", "no JSON")] {
        assert_problem(&send(&larder, method, &[], body).await, 428, Some("If-Match"));
    }

    let new = [("if-none-match", "*")];
    let created = send(&larder, "PUT", &new, teapot).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_problem(&send(&larder, "PUT", &new, teapot).await, 412, Some("If-None-Match"));
    for (method, body) in [("PUT", r#"{"name":"Ghost"}"#), ("PATCH", r#"{"stock":1}"#), ("DELETE", "")] {
        assert_problem(&send(&larder, method, &[], body).await, 428, Some("If-Match"));
    }
    assert_eq!(larder.get("/v1/items/7").await.text(), created.text(), "nothing was written");

    let patched = send(&larder, "PATCH", &[("if-match", created.etag())], r#"{"stock":1}"#).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    for (method, body) in [("PUT", teapot), ("PATCH", r#"{"stock":2}"#), ("DELETE", "")] {
        let late = send(&larder, method, &[("if-match", created.etag())], body).await;
        assert_problem(&late, 412, Some("If-Match"));
        assert_problem(&send(&larder, method, &[("if-match", "7")], body).await, 400, Some("If-Match"));
    }
    assert_eq!(send(&larder, "PUT", &[("if-match", patched.etag())], teapot).await.status, 200);
    assert_eq!(send(&larder, "DELETE", &[("if-match", "*")], "").await.status, 204);
    // What makes documents needs no tag.
    assert_eq!(larder.post("/v1/items", r#"{"_id":8,"name":"a"}"#).await.status, 201);
    assert_eq!(larder.post("/v1/items/bulk", r#"[{"_id":9,"name":"a"}]"#).await.json()["created"], 1);
}

#[tokio::test]
async fn what_is_refused_for_want_of_a_condition_does_not_reach_the_database() {
    let server = mongo::Server::start();
    let config = format!("{}\n[watch]\nenabled = false", guarded());
    let larder = Larder::start_with(&config, &["--mongo", &server.url("shop")]).await;
    server.kill();
    eventually("the database is away", PATIENCE, || async { larder.get("/v1/items/7").await.status == 503 })
        .await;
    for (method, body) in [("PUT", r#"{"name":"a"}"#), ("PATCH", r#"{"stock":1}"#), ("DELETE", "")] {
        assert_problem(&send(&larder, method, &[], body).await, 428, Some("If-Match"));
        assert_eq!(send(&larder, method, &[("if-match", "*")], body).await.status, 503, "{method}");
    }
}

#[tokio::test]
async fn the_condition_that_a_write_needs_is_described() {
    for (config, required) in [(ITEMS.to_owned(), false), (guarded(), true)] {
        let description = Larder::start(&config).await.get("/openapi.json").await.json();
        for method in ["put", "patch", "delete"] {
            let operation = &description["paths"]["/v1/items/{id}"][method];
            assert_eq!(operation["responses"]["428"].is_object(), required, "{method}: {operation}");
            let parameters = operation["parameters"].as_array().expect("parameters");
            let if_match = parameters.iter().find(|parameter| parameter["name"] == "If-Match");
            // A PUT can create, too, and sends If-None-Match then.
            let always = required && method != "put";
            assert_eq!(if_match.expect("it is described")["required"] == true, always, "{method}");
        }
    }
}
