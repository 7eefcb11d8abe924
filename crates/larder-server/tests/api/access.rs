//! Keys, roles, verbs and field lists.

use bson::doc;
use larder_testkit::mongo;
use sha2::{Digest, Sha256};

use crate::{Larder, assert_problem, client::Answer};

const CLERK: &str = "clerk-key";
const OWNER: &str = "owner-key";
const READER: &str = "reader-key";
const WRITER: &str = "writer-key";
const PRICER: &str = "pricer-key";

/// Products with a cost that only the owner sees, and that the writer writes without reading them;
/// the pricer writes a margin that it does not see. Users, of whom readers
/// know nothing.
fn config() -> String {
    let hash = |key: &str| Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!(
        r#"
[[role]]
name = "owner"
admin = true
bypass = true
[[role]]
name = "clerk"
[[role]]
name = "reader"
[[role]]
name = "writer"
[[role]]
name = "pricer"
[[key]]
name = "the owner"
role = "owner"
sha256 = "{}"
[[key]]
name = "the till"
role = "clerk"
sha256 = "{}"
[[key]]
name = "the shop window"
role = "reader"
sha256 = "{}"
[[key]]
name = "the stock keeper"
role = "writer"
sha256 = "{}"
[[key]]
name = "the price gun"
role = "pricer"
sha256 = "{}"

[[collection]]
name = "products"
id = "int"
field = [
    {{ path = "name", type = "string", filter = true, sort = true }},
    {{ path = "cost", type = "int", filter = true, sort = true }},
    {{ path = "maker", type = "object" }},
    {{ path = "maker.name", type = "string", filter = true }},
    {{ path = "maker.margin", type = "int", filter = true }},
]
grant = [
    {{ role = "owner", verbs = ["read", "list", "create", "replace", "patch", "delete", "purge"] }},
    {{ role = "clerk", verbs = ["read", "list", "create", "patch"], hide = ["cost", "maker.margin"] }},
    {{ role = "reader", verbs = ["read", "list"], read = ["name"] }},
    {{ role = "writer", verbs = ["create", "replace", "patch", "delete"] }},
    {{ role = "pricer", verbs = ["create"], read = ["name"], write = ["name", "maker.margin"] }},
]

[[collection]]
name = "parts"
id = "int"
field = [
    {{ path = "name", type = "string" }},
    {{ path = "cost", type = "int", required = true }},
    {{ path = "maker", type = "object" }},
    {{ path = "maker.name", type = "string" }},
    {{ path = "maker.margin", type = "int", required = true }},
]
grant = [
    {{ role = "owner", verbs = ["read", "create"] }},
    {{ role = "clerk", verbs = ["read", "create", "patch"], hide = ["cost", "maker.margin"] }},
]

[[collection]]
name = "users"
id = "int"
strict = false
grant = [{{ role = "owner", verbs = ["read"] }}]

[[collection]]
name = "news"
id = "int"
strict = false
grant = [
    {{ role = "anonymous", verbs = ["read"] }},
    {{ role = "owner", verbs = ["replace"] }},
]
"#,
        hash(OWNER),
        hash(CLERK),
        hash(READER),
        hash(WRITER),
        hash(PRICER)
    )
}

async fn shop() -> Larder {
    let larder = Larder::start(&config()).await;
    let body = r#"{"name":"Teapot","cost":5,"maker":{"name":"Wren","margin":3}}"#;
    assert_eq!(send(&larder, OWNER, "PUT", "/v1/products/1", body).await.status, 201);
    larder
}

async fn send(larder: &Larder, key: &str, method: &str, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let headers = [("authorization", bearer.as_str()), ("content-type", content_type)];
    larder.client().send(method, path, &headers, body).await
}

#[tokio::test]
async fn what_is_not_granted_is_refused() {
    let larder = shop().await;
    let statuses = [
        // (key, method, path, body, status)
        ("", "GET", "/v1/products/1", "", 401),
        ("", "GET", "/v1/nothing/1", "", 401),
        ("", "GET", "/v1/users/1", "", 401),
        ("", "GET", "/v1/news/1", "", 404),
        ("", "PUT", "/v1/news/1", "{}", 403),
        ("wrong", "GET", "/v1/news/1", "", 401),
        (READER, "GET", "/v1/products/1", "", 200),
        (READER, "GET", "/v1/products", "", 200),
        (READER, "QUERY", "/v1/products", "{}", 200),
        (READER, "POST", "/v1/products/_search", "{}", 200),
        (WRITER, "QUERY", "/v1/products", "{}", 403),
        (WRITER, "POST", "/v1/products/_search", "{}", 403),
        (READER, "QUERY", "/v1/users", "{}", 404),
        ("", "QUERY", "/v1/products", "{}", 401),
        (READER, "POST", "/v1/products", r#"{"_id":2,"name":"b"}"#, 403),
        (READER, "POST", "/v1/products/bulk", "[]", 403),
        (READER, "PUT", "/v1/products/1", "{}", 403),
        (READER, "PATCH", "/v1/products/1", "{}", 403),
        (READER, "DELETE", "/v1/products/1", "", 403),
        (READER, "GET", "/v1/users/1", "", 404),
        (READER, "GET", "/v1/nothing/1", "", 404),
        (READER, "GET", "/metrics", "", 403),
        (READER, "GET", "/v1/_stats", "", 403),
        (READER, "GET", "/v1/_top", "", 403),
        (READER, "GET", "/v1/_advise", "", 403),
        (READER, "GET", "/v1/_explain/products/1", "", 403),
        ("", "GET", "/metrics", "", 401),
        ("", "GET", "/healthz", "", 200),
        (OWNER, "GET", "/metrics", "", 200),
        (OWNER, "GET", "/v1/_explain/products/1", "", 200),
        ("", "POST", "/v1/_purge", r#"{"collection":"products","all":true}"#, 401),
        (READER, "POST", "/v1/_purge", r#"{"collection":"products","all":true}"#, 403),
        (OWNER, "POST", "/v1/_purge", r#"{"collection":"products","all":true}"#, 200),
        (OWNER, "POST", "/v1/_purge", r#"{"collection":"users","all":true}"#, 403),
        (OWNER, "POST", "/v1/_purge", r#"{"collection":"nothing","all":true}"#, 404),
        (CLERK, "DELETE", "/v1/products/1", "", 403),
        (OWNER, "DELETE", "/v1/products/1", "", 204),
    ];
    for (key, method, path, body, status) in statuses {
        let answer = match key {
            "" => larder.client().send(method, path, &[("content-type", "application/json")], body).await,
            key => send(&larder, key, method, path, body).await,
        };
        assert_eq!(answer.status, status, "{key} {method} {path}: {answer:?}");
        if status == 401 {
            assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
        }
    }
}

#[tokio::test]
async fn a_role_cannot_tell_a_collection_it_may_not_use_from_one_that_does_not_exist() {
    let larder = shop().await;
    let hidden = send(&larder, READER, "GET", "/v1/users/1", "").await;
    let absent = send(&larder, READER, "GET", "/v1/nothing/1", "").await;
    assert_eq!(hidden.body, absent.body);
}

#[tokio::test]
async fn a_key_may_stand_in_either_header_but_not_in_both() {
    let larder = shop().await;
    for headers in [
        vec![("authorization", "Bearer reader-key")],
        vec![("authorization", "bearer  reader-key ")],
        vec![("x-api-key", READER)],
    ] {
        assert_eq!(larder.get_with("/v1/products/1", &headers).await.status, 200, "{headers:?}");
    }
    let both = [("authorization", "Bearer reader-key"), ("x-api-key", READER)];
    assert_problem(&larder.get_with("/v1/products/1", &both).await, 400, Some("X-API-Key"));
    for wrong in ["Basic cmVhZGVyLWtleQ==", "reader-key", "Bearer", "Bearer "] {
        let answer = larder.get_with("/v1/products/1", &[("authorization", wrong)]).await;
        assert_eq!(answer.status, 401, "{wrong}");
    }
}

#[tokio::test]
async fn a_cached_document_is_cut_anew_for_every_role() {
    let larder = shop().await;
    let owner = send(&larder, OWNER, "GET", "/v1/products/1", "").await;
    let clerk = send(&larder, CLERK, "GET", "/v1/products/1", "").await;
    let reader = send(&larder, READER, "GET", "/v1/products/1", "").await;
    let again = send(&larder, OWNER, "GET", "/v1/products/1", "").await;
    assert_eq!(owner.text(), r#"{"_id":1,"name":"Teapot","cost":5,"maker":{"name":"Wren","margin":3}}"#);
    assert_eq!(clerk.text(), r#"{"_id":1,"name":"Teapot","maker":{"name":"Wren"}}"#);
    assert_eq!(reader.text(), r#"{"_id":1,"name":"Teapot"}"#);
    assert_eq!(again.text(), owner.text());
    assert!(clerk.cache_status().contains("hit") && reader.cache_status().contains("hit"));
    assert!(owner.etag() != clerk.etag() && clerk.etag() != reader.etag());
    for (key, expected) in [(CLERK, clerk.text()), (READER, reader.text())] {
        let list = send(&larder, key, "GET", "/v1/products", "").await;
        assert_eq!(list.text(), format!(r#"{{"items":[{expected}],"next":null}}"#));
    }
}

#[tokio::test]
async fn a_change_of_a_hidden_field_does_not_show_in_the_tag() {
    let larder = shop().await;
    let before = send(&larder, READER, "GET", "/v1/products/1", "").await.etag().to_owned();
    assert_eq!(send(&larder, OWNER, "PATCH", "/v1/products/1", r#"{"cost":6}"#).await.status, 200);
    assert_eq!(send(&larder, READER, "GET", "/v1/products/1", "").await.etag(), before);
}

#[tokio::test]
async fn a_hidden_field_is_as_unknown_as_one_that_is_not_declared() {
    let larder = shop().await;
    for (query, field) in [
        ("cost=eq.5", "cost"),
        ("maker.margin=gt.1", "maker.margin"),
        ("or=(cost.eq.5,name.eq.a)", "cost"),
        ("sort=cost", "sort"),
        ("fields=cost", "fields"),
        ("fields=maker.margin", "fields"),
    ] {
        let answer = send(&larder, CLERK, "GET", &format!("/v1/products?{query}"), "").await;
        assert_problem(&answer, 400, Some(field));
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        let named: Vec<_> = detail.split("these can:").skip(1).collect();
        assert!(!named.concat().contains("cost"), "{detail}");
    }
    for (body, field) in [
        (r#"{"filter":{"cost":5}}"#, "cost"),
        (r#"{"filter":{"maker.margin":{"$gt":1}}}"#, "maker.margin"),
        (r#"{"filter":{"or":[{"cost":5},{"name":"a"}]}}"#, "cost"),
        (r#"{"sort":["cost"]}"#, "sort"),
        (r#"{"fields":["cost"]}"#, "fields"),
    ] {
        let hidden = send(&larder, CLERK, "QUERY", "/v1/products", body).await;
        assert_problem(&hidden, 400, Some(field));
        let absent = send(&larder, CLERK, "QUERY", "/v1/products", &body.replace("cost", "zost")).await;
        assert_eq!(hidden.text().replace("cost", "zost"), absent.text());
    }
    let found = send(&larder, CLERK, "QUERY", "/v1/products", r#"{"filter":{"maker.name":"Wren"}}"#).await;
    assert_eq!(found.text(), r#"{"items":[{"_id":1,"name":"Teapot","maker":{"name":"Wren"}}],"next":null}"#);
    assert_eq!(send(&larder, CLERK, "GET", "/v1/products?maker.name=eq.Wren", "").await.status, 200);
    assert_problem(&send(&larder, CLERK, "GET", "/v1/products/1?fields=cost", "").await, 400, Some("fields"));
}

#[tokio::test]
async fn a_field_that_may_not_be_written_is_refused_by_name() {
    let larder = shop().await;
    for (body, field) in [
        (r#"{"cost":1}"#, "cost"),
        (r#"{"maker":{"margin":1}}"#, "maker.margin"),
        (r#"{"maker":null}"#, "maker"),
        (r#"{"maker":{}}"#, "maker"),
    ] {
        assert_problem(&send(&larder, CLERK, "PATCH", "/v1/products/1", body).await, 403, Some(field));
    }
    let patched = send(&larder, CLERK, "PATCH", "/v1/products/1", r#"{"maker":{"name":"Finch"}}"#).await;
    assert_eq!(patched.text(), r#"{"_id":1,"name":"Teapot","maker":{"name":"Finch"}}"#);
    let whole = send(&larder, OWNER, "GET", "/v1/products/1", "").await.json();
    assert_eq!((whole["cost"].as_i64(), whole["maker"]["margin"].as_i64()), (Some(5), Some(3)));
    let created = send(&larder, CLERK, "POST", "/v1/products", r#"{"_id":2,"name":"b","cost":1}"#).await;
    assert_problem(&created, 403, Some("cost"));
    let bulk = send(&larder, CLERK, "POST", "/v1/products/bulk", r#"[{"_id":2,"cost":1}]"#).await.json();
    assert_eq!(bulk["items"][0]["problem"]["field"], "cost");
}

#[tokio::test]
async fn a_field_that_may_not_be_written_is_refused_before_it_is_read() {
    let larder = shop().await;
    for (body, field) in [
        (r#"{"cost":"dear"}"#, "cost"),
        (r#"{"_id":9,"maker":{"margin":"wide"}}"#, "maker.margin"),
        (r#"{"maker":{"margin":"wide"},"maker":{"name":"Finch"}}"#, "maker.margin"),
        (r#"{"maker":"Finch"}"#, "maker"),
    ] {
        for (method, path) in [("PATCH", "/v1/products/1"), ("POST", "/v1/products")] {
            let answer = send(&larder, CLERK, method, path, body).await;
            assert_problem(&answer, 403, Some(field));
            assert_eq!(answer.json()["detail"], "this role may not write this field", "{method} {body}");
        }
    }
    let cut_off = send(&larder, CLERK, "PATCH", "/v1/products/1", r#"{"cost":["dear""#).await;
    assert_problem(&cut_off, 400, None);
    assert_eq!(cut_off.json()["type"], "urn:larder:problem:invalid-json");
    assert_eq!((cut_off.json()["line"].as_u64(), cut_off.json()["column"].as_u64()), (Some(1), Some(15)));
}

#[tokio::test]
async fn a_required_field_that_a_role_does_not_see_is_not_named() {
    let larder = shop().await;
    assert_eq!(send(&larder, OWNER, "POST", "/v1/parts", r#"{"_id":1,"cost":1}"#).await.status, 201);
    for (method, path, body) in [
        ("POST", "/v1/parts", r#"{"_id":2,"name":"Lid"}"#),
        ("PATCH", "/v1/parts/1", r#"{"maker":{"name":"Finch"}}"#),
    ] {
        let answer = send(&larder, CLERK, method, path, body).await;
        assert_problem(&answer, 403, None);
        assert!(!answer.text().contains("cost") && !answer.text().contains("margin"), "{answer:?}");
    }
    assert_problem(&send(&larder, OWNER, "POST", "/v1/parts", r#"{"_id":2}"#).await, 400, Some("cost"));
}

#[tokio::test]
async fn a_unique_index_of_a_field_that_a_role_does_not_see_is_not_named() {
    let (server, database) = (mongo::shared(), mongo::database_name());
    let index = |field: &str| doc! { "key": { field: 1 }, "name": field, "unique": true, "sparse": true };
    let indexes = [index("maker.margin"), index("name")];
    server.command(&database, doc! { "createIndexes": "products", "indexes": indexes.to_vec() });
    let larder = Larder::start_with(&config(), &["--mongo", &server.url(&database)]).await;
    let first = r#"{"_id":1,"name":"Teapot","maker":{"margin":3}}"#;
    assert_eq!(send(&larder, OWNER, "POST", "/v1/products", first).await.status, 201);
    let same_margin = r#"{"_id":2,"name":"Kettle","maker":{"margin":3}}"#;
    let same_name = r#"{"_id":2,"name":"Teapot"}"#;
    let named = send(&larder, OWNER, "POST", "/v1/products", same_margin).await;
    assert_problem(&named, 409, Some("maker.margin"));
    assert_problem(&send(&larder, PRICER, "POST", "/v1/products", same_name).await, 409, Some("name"));
    for (method, path, body) in
        [("POST", "/v1/products", same_margin), ("POST", "/v1/products/bulk", &format!("[{same_margin}]"))]
    {
        let answer = send(&larder, PRICER, method, path, body).await;
        assert!(answer.text().contains("409") && !answer.text().contains("margin"), "{method}: {answer:?}");
        assert!(!answer.text().contains("\"field\""), "{method}: {answer:?}");
    }
}

#[tokio::test]
async fn a_write_tells_nothing_of_the_document_to_a_role_that_may_not_read() {
    let larder = shop().await;
    let (products, one) = ("/v1/products", "/v1/products/1");
    for (method, path, body, status) in [
        ("PATCH", one, "{}", 204),
        ("PATCH", one, r#"{"name":"Kettle"}"#, 204),
        ("PUT", one, r#"{"name":"Pot"}"#, 204),
        ("PUT", "/v1/products/2", r#"{"name":"b"}"#, 201),
        ("POST", products, r#"{"_id":3,"name":"c"}"#, 201),
        ("DELETE", "/v1/products/2", "", 204),
    ] {
        let answer = send(&larder, WRITER, method, path, body).await;
        assert_eq!((answer.status, answer.text()), (status, ""), "{method} {path}: {answer:?}");
        assert_eq!((answer.header("etag"), answer.header("content-type")), (None, None), "{method} {path}");
        assert_eq!(answer.header("location").is_some(), status == 201, "{method} {path}: {answer:?}");
    }
    let bulk =
        send(&larder, WRITER, "POST", "/v1/products/bulk", r#"[{"_id":4,"name":"d"},{"_id":3}]"#).await;
    assert_eq!(bulk.json()["items"][0], serde_json::json!({ "status": 201, "_id": 4 }));
    assert_eq!(bulk.json()["items"][1]["problem"]["field"], "_id", "{bulk:?}");
    assert_problem(&send(&larder, WRITER, "POST", products, r#"{"_id":3}"#).await, 409, Some("_id"));
    assert_eq!(send(&larder, OWNER, "GET", one, "").await.text(), r#"{"_id":1,"name":"Pot"}"#);
}

#[tokio::test]
async fn a_role_that_may_not_read_cannot_find_out_a_document_by_guessing_its_tag() {
    let larder = shop().await;
    let path = "/v1/products/1";
    let tag = send(&larder, OWNER, "GET", path, "").await.etag().to_owned();
    let guess = |method: &'static str, tag: &str, body: &'static str| {
        let content_type =
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let headers = [("x-api-key", WRITER), ("content-type", content_type), ("if-match", tag)];
        larder.client().send(method, path, &headers, body)
    };
    for (method, body) in [("PATCH", "{}"), ("PUT", "{}"), ("DELETE", "")] {
        let [right, wrong] = [guess(method, &tag, body).await, guess(method, "\"0\"", body).await];
        assert_problem(&right, 403, Some("If-Match"));
        assert_eq!(right.body, wrong.body, "{method}");
    }
    assert_eq!(guess("PATCH", "*", "{}").await.status, 204, "whether there is one is told by every write");
}

#[tokio::test]
async fn the_answers_of_a_role_that_may_not_read_are_described_as_they_are() {
    let larder = shop().await;
    let paths = send(&larder, WRITER, "GET", "/openapi.json", "").await.json()["paths"].clone();
    for (path, method, status, described) in [
        ("/v1/products", "post", "201", true),
        ("/v1/products/{id}", "put", "201", true),
        ("/v1/products/{id}", "put", "204", true),
        ("/v1/products/{id}", "put", "200", false),
        ("/v1/products/{id}", "patch", "204", true),
        ("/v1/products/{id}", "patch", "200", false),
    ] {
        let answer = &paths[path][method]["responses"][status];
        assert_eq!(!answer.is_null(), described, "{method} {path} {status}");
        assert!(answer["content"].is_null() && answer["headers"]["ETag"].is_null(), "{answer}");
    }
}

#[tokio::test]
async fn a_tag_of_what_a_role_sees_guards_its_writes() {
    let larder = shop().await;
    let seen = send(&larder, CLERK, "GET", "/v1/products/1", "").await.etag().to_owned();
    let patch = |etag: String| {
        let headers = [
            ("x-api-key", CLERK),
            ("content-type", "application/merge-patch+json"),
            ("if-match", etag.as_str()),
        ];
        larder.client().send("PATCH", "/v1/products/1", &headers, r#"{"name":"Kettle"}"#)
    };
    assert_eq!(patch(seen.clone()).await.status, 200);
    assert_problem(&patch(seen).await, 412, Some("If-Match"));
}

#[tokio::test]
async fn a_role_is_described_only_what_it_may_use() {
    let larder = shop().await;
    let reader = send(&larder, READER, "GET", "/openapi.json", "").await;
    let text = reader.text();
    assert!(text.contains("/v1/products/{id}") && !text.contains("users"), "{text}");
    assert!(!text.contains("cost") && !text.contains("margin"), "{text}");
    let paths = reader.json()["paths"].as_object().expect("paths").clone();
    let posts: Vec<_> = paths.iter().filter(|(_, methods)| !methods["post"].is_null()).collect();
    assert!(matches!(posts[..], [(path, _)] if path == "/v1/products/_search"), "{posts:?}");
    let writer = send(&larder, WRITER, "GET", "/openapi.json", "").await;
    assert!(!writer.text().contains("_search") && !writer.text().contains("products.filter"), "{writer:?}");
    let owner = send(&larder, OWNER, "GET", "/openapi.json", "").await;
    assert!(owner.text().contains("cost") && owner.text().contains("users"));
    assert_eq!(
        owner.json()["paths"]["/v1/_purge"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
            ["collection"]["enum"],
        serde_json::json!(["products"])
    );
}

#[tokio::test]
async fn only_a_role_with_bypass_comes_past_the_cache() {
    let larder = shop().await;
    send(&larder, READER, "GET", "/v1/products/1", "").await;
    let past = |key| {
        let headers = [("x-api-key", key), ("x-larder-cache", "bypass")];
        larder.client().send("GET", "/v1/products/1", &headers, "")
    };
    assert_eq!(past(OWNER).await.cache_status(), "larder; fwd=bypass");
    assert!(past(READER).await.cache_status().contains("hit"));
}

#[tokio::test]
async fn a_cursor_of_one_role_is_of_no_use_to_another() {
    let larder = shop().await;
    send(&larder, OWNER, "PUT", "/v1/products/2", r#"{"name":"b"}"#).await;
    let page = send(&larder, OWNER, "GET", "/v1/products?limit=1", "").await.json();
    let cursor = page["next"].as_str().expect("another page");
    let path = format!("/v1/products?limit=1&after={cursor}");
    assert_eq!(send(&larder, OWNER, "GET", &path, "").await.status, 200);
    assert_problem(&send(&larder, CLERK, "GET", &path, "").await, 400, Some("after"));
}

#[tokio::test]
async fn keys_appear_in_no_log_and_no_answer() {
    let larder = shop().await;
    for key in [OWNER, "a-key-that-is-not-known"] {
        let answer = send(&larder, key, "GET", "/v1/products/1", "").await;
        assert!(!format!("{answer:?}").contains(key));
    }
    let output = larder.output();
    assert!(!output.contains(OWNER) && !output.contains("a-key-that-is-not-known"), "{output}");
}

#[tokio::test]
async fn an_open_server_answers_to_names_of_this_machine_only() {
    let larder = crate::items().await;
    assert_problem(&larder.get_with("/v1/items", &[("host", "evil.example")]).await, 421, Some("Host"));
    assert_eq!(larder.get_with("/v1/items", &[("host", "localhost:1")]).await.status, 200);
    let shop = shop().await;
    let headers = [("host", "shop.example"), ("x-api-key", READER)];
    assert_eq!(shop.get_with("/v1/products", &headers).await.status, 200, "keys protect this one");
}
