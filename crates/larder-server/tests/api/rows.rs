//! Roles that may touch some documents only, by what is known of who has them.

use std::sync::atomic::{AtomicBool, Ordering};

use bson::doc;
use larder_testkit::mongo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    Larder, assert_problem,
    client::Answer,
    signer::{Signer, claims},
};

pub(crate) const OWNER: &str = "owner-key";
pub(crate) const ACME: &str = "acme-key";
pub(crate) const BOLT: &str = "bolt-key";
const NOBODY: &str = "nobody-key";
const EVERYWHERE: &str = "everywhere-key";
const WRONG: &str = "wrong-key";

/// Orders of tenants, and notes of members. The role "tenant" sees neither field that says whose an order is.
pub(crate) fn config() -> String {
    let keys = [
        (OWNER, "owner", ""),
        (ACME, "tenant", r#"claims = { tenant = "acme", regions = ["eu", "us"], user = 1 }"#),
        (BOLT, "tenant", r#"claims = { tenant = "bolt", regions = ["eu"], user = 2 }"#),
        (EVERYWHERE, "tenant", r#"claims = { tenant = "acme", regions = [] }"#),
        (WRONG, "tenant", r#"claims = { tenant = ["acme"], regions = ["eu"] }"#),
        (NOBODY, "tenant", ""),
    ];
    let keys = keys.map(|(key, role, claims)| {
        let hash: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[[key]]\nname = \"{key}\"\nrole = \"{role}\"\nsha256 = \"{hash}\"\n{claims}\n")
    });
    format!(
        r#"
[watch]
enabled = false
[[role]]
name = "owner"
bypass = true
[[role]]
name = "tenant"
{}

[[collection]]
name = "orders"
id = "int"
field = [
    {{ path = "org", type = "object" }},
    {{ path = "org.tenant", type = "string", required = true }},
    {{ path = "region", type = "string" }},
    {{ path = "n", type = "int", filter = true, sort = true }},
    {{ path = "note", type = "string" }},
]
partial = [{{ name = "brief", fields = ["n"] }}]
query = [{{ name = "total", pipeline = '[{{ "$group": {{ "_id": null, "n": {{ "$sum": "$n" }} }} }}]' }}]
grant = [
    {{ role = "owner", verbs = ["read", "list", "create", "replace", "patch", "delete"], queries = ["total"] }},
    {{ role = "tenant", verbs = ["read", "list", "create", "patch", "delete"], queries = ["total"], hide = ["org"], write = ["region", "n", "note"], rows = ["org.tenant=eq.{{tenant}}", "region=in.{{regions}}"] }},
    {{ role = "anonymous", verbs = ["read", "list"], rows = ["note=eq.public"] }},
]

[[collection]]
name = "notes"
id = "int"
field = [
    {{ path = "tenant", type = "string", required = true }},
    {{ path = "members", type = "array<int>" }},
    {{ path = "text", type = "string" }},
]
grant = [
    {{ role = "owner", verbs = ["read", "list", "create", "replace", "patch", "delete"] }},
    {{ role = "tenant", verbs = ["read", "list", "create", "replace", "patch", "delete"], rows = ["tenant=eq.{{tenant}}", "members=eq.{{user}}"] }},
]
"#,
        keys.concat()
    )
}

/// As [`config`], for tenants whose grant for notes withholds its members.
fn with_members_withheld(limits: &str) -> String {
    let whole = r#"verbs = ["read", "list", "create", "replace", "patch", "delete"], rows = ["tenant"#;
    let config = config();
    assert!(config.contains(whole));
    config.replace(whole, &format!(r#"verbs = ["read", "create", "patch"], {limits}, rows = ["tenant"#))
}

/// The same over each database: an order of each tenant, which its owner has made.
async fn shops() -> [Larder; 2] {
    shops_of(&config()).await
}

async fn shops_of(config: &str) -> [Larder; 2] {
    let url = mongo::shared().url(&mongo::database_name());
    let shops = [Larder::start(config).await, Larder::start_with(config, &["--mongo", &url]).await];
    for shop in &shops {
        for (id, tenant, region, n) in
            [(1, "acme", "eu", 1), (2, "bolt", "eu", 2), (3, "acme", "us", 4), (4, "acme", "moon", 8)]
        {
            let body =
                json!({ "_id": id, "org": { "tenant": tenant }, "region": region, "n": n }).to_string();
            assert_eq!(send(shop, OWNER, "POST", "/v1/orders", &body).await.status, 201);
        }
        let body = r#"{"_id":1,"tenant":"acme","members":[1,3],"text":"a"}"#;
        assert_eq!(send(shop, OWNER, "POST", "/v1/notes", body).await.status, 201);
    }
    shops
}

pub(crate) async fn send(larder: &Larder, key: &str, method: &str, path: &str, body: &str) -> Answer {
    send_with(larder, key, method, path, &[], body).await
}

pub(crate) async fn send_with(
    larder: &Larder,
    key: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let mut all = vec![("x-api-key", key), ("content-type", content_type)];
    all.extend_from_slice(headers);
    larder.client().send(method, path, &all, body).await
}

/// Everything of an answer but the time of its making.
fn told(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap_or_default().to_owned())
    };
    (answer.status, headers.map(header).collect(), answer.text().to_owned())
}

fn ids(answer: &Answer) -> Vec<i64> {
    let json = answer.json();
    let items = json["items"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
    items.iter().filter_map(|item| item["_id"].as_i64()).collect()
}

async fn order(larder: &Larder, id: u32) -> Value {
    send_with(larder, OWNER, "GET", &format!("/v1/orders/{id}"), &[("x-larder-cache", "bypass")], "")
        .await
        .json()
}

#[tokio::test]
async fn anothers_document_is_as_absent_as_one_that_is_not_there() {
    for larder in shops().await {
        let tag = send(&larder, OWNER, "GET", "/v1/orders/2", "").await.etag().to_owned();
        let own = send(&larder, BOLT, "GET", "/v1/orders/2", "").await;
        assert_eq!((own.status, own.text()), (200, r#"{"_id":2,"n":2,"region":"eu"}"#));
        let again = send(&larder, BOLT, "GET", "/v1/orders/2", "").await;
        assert!(again.cache_status().contains("hit"), "one entry serves all tenants: {again:?}");
        let (view, own_tag) = ("?fields=n", own.etag().to_owned());
        assert_eq!(
            send(&larder, BOLT, "GET", "/v1/orders/2?fields=n", "").await.text(),
            r#"{"_id":2,"n":2}"#
        );
        for _ in 0..2 {
            for headers in [
                vec![],
                vec![("if-none-match", tag.as_str())],
                vec![("if-none-match", own_tag.as_str())],
                vec![("if-none-match", "*")],
            ] {
                for (method, query) in [("GET", ""), ("GET", view), ("HEAD", "")] {
                    let read = |id: u32| {
                        let path = format!("/v1/orders/{id}{query}");
                        let (larder, headers) = (&larder, &headers);
                        async move { told(&send_with(larder, ACME, method, &path, headers, "").await) }
                    };
                    let (hidden, outside, absent) = (read(2).await, read(4).await, read(99).await);
                    assert_eq!(absent.0, 404);
                    assert_eq!(hidden, absent, "{method} {query} {headers:?}");
                    assert_eq!(outside, absent, "{method} {query} {headers:?}");
                    assert!(
                        !absent.1.iter().any(|(name, _)| name == "age" || name == "cache-status"),
                        "{absent:?}"
                    );
                }
            }
        }
        assert_eq!(send(&larder, ACME, "GET", "/v1/orders/1", "").await.status, 200);
    }
}

#[tokio::test]
async fn lists_counts_and_queries_are_of_ones_own() {
    for larder in shops().await {
        for (key, expected, total) in
            [(OWNER, vec![1, 2, 3, 4], 15), (ACME, vec![1, 3], 5), (BOLT, vec![2], 2)]
        {
            for kind in ["exact", "estimated"] {
                let prefer = format!("count={kind}");
                let list = send_with(&larder, key, "GET", "/v1/orders", &[("prefer", &prefer)], "").await;
                assert_eq!(
                    (ids(&list), list.json()["count"].as_u64()),
                    (expected.clone(), Some(expected.len() as u64))
                );
            }
            let sum = send(&larder, key, "GET", "/v1/orders/_q/total", "").await;
            assert_eq!(sum.json()["items"], json!([{ "_id": null, "n": total }]), "{key}");
        }
        let asked = send(&larder, ACME, "GET", "/v1/orders?or=(n.eq.1,n.eq.2,n.eq.8)", "").await;
        assert_eq!(ids(&asked), [1]);
        for (method, path) in [("POST", "/v1/orders/_search"), ("QUERY", "/v1/orders")] {
            let searched =
                send(&larder, ACME, method, path, r#"{"filter":{"or":[{"n":1},{"n":2},{"n":8}]}}"#).await;
            assert_eq!(ids(&searched), [1], "{method}");
        }
        assert_problem(
            &send(&larder, ACME, "GET", "/v1/orders?org.tenant=eq.bolt", "").await,
            400,
            Some("org.tenant"),
        );
    }
}

#[tokio::test]
async fn a_cursor_is_of_no_use_to_another_tenant() {
    for larder in shops().await {
        let body = r#"[{"_id":10,"region":"eu","n":1},{"_id":11,"region":"eu","n":1}]"#;
        assert_eq!(send(&larder, BOLT, "POST", "/v1/orders/bulk", body).await.json()["created"], 2);
        let page = send(&larder, ACME, "GET", "/v1/orders?limit=1&sort=-n", "").await;
        assert_eq!(ids(&page), [3]);
        let next = page.json()["next"].as_str().expect("another page").to_owned();
        let path = format!("/v1/orders?limit=1&sort=-n&after={next}");
        assert_eq!(ids(&send(&larder, ACME, "GET", &path, "").await), [1]);
        for key in [BOLT, OWNER] {
            assert_problem(&send(&larder, key, "GET", &path, "").await, 400, Some("after"));
        }
    }
}

#[tokio::test]
async fn what_a_tenant_creates_is_its_own() {
    for larder in shops().await {
        let created = send(&larder, ACME, "POST", "/v1/orders", r#"{"_id":20,"region":"eu","n":1}"#).await;
        assert_eq!(
            (created.status, created.text()),
            (201, r#"{"_id":20,"region":"eu","n":1}"#),
            "{created:?}"
        );
        assert_eq!(order(&larder, 20).await["org"], json!({ "tenant": "acme" }));
        let right = r#"{"_id":21,"org":{"tenant":"acme"},"region":"us"}"#;
        assert_eq!(send(&larder, ACME, "POST", "/v1/orders", right).await.status, 201);
        for (body, field) in [
            (r#"{"_id":22,"org":{"tenant":"bolt"},"region":"eu"}"#, Some("org.tenant")),
            (r#"{"_id":22,"org":{"tenant":null},"region":"eu"}"#, Some("org.tenant")),
            (r#"{"_id":22,"org":{"tenant":"acme","x":1},"region":"eu"}"#, Some("org.x")),
            (r#"{"_id":22,"region":"moon"}"#, None),
            (r#"{"_id":22}"#, None),
        ] {
            let answer = send(&larder, ACME, "POST", "/v1/orders", body).await;
            assert_problem(&answer, 403, field);
            assert!(!answer.text().contains("acme"), "{answer:?}");
            let bulk = send(&larder, ACME, "POST", "/v1/orders/bulk", &format!("[{body}]")).await.json();
            assert_eq!((&bulk["failed"], &bulk["items"][0]["status"]), (&json!(1), &json!(403)), "{bulk}");
        }
        assert_eq!(send(&larder, OWNER, "GET", "/v1/orders/22", "").await.status, 404);
        let taken = send(&larder, ACME, "POST", "/v1/orders", r#"{"_id":2,"region":"eu"}"#).await;
        assert_problem(&taken, 409, Some("_id"));
        let note = send(&larder, BOLT, "POST", "/v1/notes", r#"{"_id":5}"#).await;
        assert_eq!(note.text(), r#"{"_id":5,"tenant":"bolt","members":[2]}"#, "a list has it as its element");
    }
}

#[tokio::test]
async fn anothers_document_cannot_be_written() {
    for larder in shops().await {
        let tag = send(&larder, OWNER, "GET", "/v1/orders/2", "").await.etag().to_owned();
        let before = order(&larder, 2).await;
        for (method, body) in
            [("PATCH", r#"{"n":7}"#), ("PATCH", r#"{"region":"us"}"#), ("PATCH", "{}"), ("DELETE", "")]
        {
            for headers in [
                vec![],
                vec![("if-match", "*")],
                vec![("if-match", tag.as_str())],
                vec![("if-match", "\"x\"")],
            ] {
                let write = |id: u32| {
                    let path = format!("/v1/orders/{id}");
                    let (larder, headers) = (&larder, &headers);
                    async move { told(&send_with(larder, ACME, method, &path, headers, body).await) }
                };
                let (hidden, absent) = (write(2).await, write(99).await);
                assert_eq!(absent.0, if headers.is_empty() { 404 } else { 412 });
                assert_eq!(hidden, absent, "{method} {body} {headers:?}");
            }
        }
        assert_eq!(order(&larder, 2).await, before);
        let own = send(&larder, ACME, "PATCH", "/v1/orders/1", r#"{"n":7,"org":{"tenant":"acme"}}"#).await;
        assert_eq!((own.status, own.json()["n"].as_i64()), (200, Some(7)), "{own:?}");
        let tag = own.etag().to_owned();
        let tagged =
            send_with(&larder, ACME, "PATCH", "/v1/orders/1", &[("if-match", &tag)], r#"{"n":8}"#).await;
        assert_eq!(tagged.status, 200, "{tagged:?}");
        assert_eq!(send(&larder, ACME, "DELETE", "/v1/orders/1", "").await.status, 204);
    }
}

#[tokio::test]
async fn a_document_cannot_be_given_away() {
    for larder in shops().await {
        for (body, field) in [
            (r#"{"org":{"tenant":"bolt"}}"#, Some("org.tenant")),
            (r#"{"region":"moon"}"#, None),
            (r#"{"region":null}"#, None),
        ] {
            assert_problem(&send(&larder, ACME, "PATCH", "/v1/orders/1", body).await, 403, field);
        }
        assert_problem(
            &send(&larder, ACME, "PATCH", "/v1/notes/1", r#"{"members":[3]}"#).await,
            403,
            Some("members"),
        );
        assert_problem(
            &send(&larder, ACME, "PUT", "/v1/notes/1", r#"{"tenant":"bolt"}"#).await,
            403,
            Some("tenant"),
        );
        assert_eq!(order(&larder, 1).await["org"]["tenant"], "acme");
        assert_eq!(send(&larder, ACME, "PATCH", "/v1/orders/1", r#"{"region":"us"}"#).await.status, 200);
    }
}

#[tokio::test]
async fn a_list_with_ones_own_element_is_not_written_by_who_may_not_write_it() {
    for limits in [r#"write = ["text"]"#, r#"hide = ["members"]"#] {
        for larder in shops_of(&with_members_withheld(limits)).await {
            for members in ["[1,99]", "[1]", "[3]", "[]", "null"] {
                let patch = format!(r#"{{"text":"b","members":{members}}}"#);
                let patched = send(&larder, ACME, "PATCH", "/v1/notes/1", &patch).await;
                assert_problem(&patched, 403, Some("members"));
            }
            for members in ["[1,99]", "[99,1]", "[1,1]", "[3]", "[]"] {
                let body = format!(r#"{{"_id":9,"members":{members}}}"#);
                let created = send(&larder, ACME, "POST", "/v1/notes", &body).await;
                assert_problem(&created, 403, Some("members"));
            }
            let kept = send(&larder, OWNER, "GET", "/v1/notes/1", "").await;
            assert_eq!(kept.json(), json!({ "_id": 1, "tenant": "acme", "members": [1, 3], "text": "a" }));
            let own = r#"{"tenant":"acme","text":"b"}"#;
            assert_eq!(send(&larder, ACME, "PATCH", "/v1/notes/1", own).await.status, 200);
            for (id, members) in [(10, ""), (11, r#","members":[1]"#)] {
                let body = format!(r#"{{"_id":{id},"text":"c"{members}}}"#);
                assert_eq!(send(&larder, ACME, "POST", "/v1/notes", &body).await.status, 201, "{body}");
                let note = send(&larder, OWNER, "GET", &format!("/v1/notes/{id}"), "").await.json();
                assert_eq!(note["members"], json!([1]), "{note}");
            }
        }
    }
}

#[tokio::test]
async fn a_put_makes_or_replaces_ones_own_and_meets_anothers_as_a_taken_id() {
    for larder in shops().await {
        assert_eq!(send(&larder, ACME, "PUT", "/v1/notes/7", r#"{"text":"b"}"#).await.status, 201);
        let replaced = send(&larder, ACME, "PUT", "/v1/notes/7", r#"{"text":"c"}"#).await;
        assert_eq!(
            (replaced.status, replaced.text()),
            (200, r#"{"_id":7,"text":"c","tenant":"acme","members":[1]}"#)
        );
        let other = send(&larder, BOLT, "PUT", "/v1/notes/7", r#"{"text":"mine"}"#).await;
        assert_problem(&other, 409, Some("_id"));
        let created = send(&larder, BOLT, "POST", "/v1/notes", r#"{"_id":7,"text":"mine"}"#).await;
        assert_eq!(told(&other), told(&created), "it is told no more than by a POST");
        let new = send_with(&larder, BOLT, "PUT", "/v1/notes/7", &[("if-none-match", "*")], "{}").await;
        assert_problem(&new, 412, Some("If-None-Match"));
        let tag = replaced.etag().to_owned();
        for tag in ["*", &tag] {
            let tagged = |id: u32| {
                let path = format!("/v1/notes/{id}");
                let larder = &larder;
                async move { told(&send_with(larder, BOLT, "PUT", &path, &[("if-match", tag)], "{}").await) }
            };
            assert_eq!(tagged(7).await, tagged(99).await);
        }
        let kept = send(&larder, OWNER, "GET", "/v1/notes/7", "").await;
        assert_eq!(kept.text(), replaced.text());
    }
}

#[tokio::test]
async fn without_a_fitting_claim_nothing_is_answered() {
    for larder in shops().await {
        for (key, claim) in [(NOBODY, "tenant"), (WRONG, "tenant"), (EVERYWHERE, "regions")] {
            for (method, path, body) in [
                ("GET", "/v1/orders/1", ""),
                ("GET", "/v1/orders/99", ""),
                ("GET", "/v1/orders", ""),
                ("GET", "/v1/orders/_q/total", ""),
                ("POST", "/v1/orders", r#"{"_id":30,"org":{"tenant":"acme"},"region":"eu"}"#),
                ("POST", "/v1/orders/bulk", r#"[{"_id":30}]"#),
                ("PATCH", "/v1/orders/1", "{}"),
                ("DELETE", "/v1/orders/1", ""),
            ] {
                let answer = send(&larder, key, method, path, body).await;
                assert_problem(&answer, 403, None);
                let text = answer.text();
                assert!(
                    text.contains(&format!("\\\"{claim}\\\"")) && !text.contains("acme"),
                    "{method} {path}: {text}"
                );
            }
        }
        assert_eq!(send(&larder, OWNER, "GET", "/v1/orders/30", "").await.status, 404);
        assert_eq!(send(&larder, OWNER, "GET", "/v1/orders/1", "").await.status, 200);
    }
}

#[tokio::test]
async fn requests_without_a_key_may_have_rows_of_fixed_values() {
    for larder in shops().await {
        assert_eq!(send(&larder, OWNER, "PATCH", "/v1/orders/3", r#"{"note":"public"}"#).await.status, 200);
        assert_eq!(ids(&larder.get("/v1/orders").await), [3]);
        assert_eq!(larder.get("/v1/orders/3").await.status, 200);
        assert_eq!(told(&larder.get("/v1/orders/1").await), told(&larder.get("/v1/orders/99").await));
    }
}

#[tokio::test]
async fn a_write_is_read_at_once_with_its_token() {
    for larder in shops().await {
        let patched = send(&larder, ACME, "PATCH", "/v1/orders/1", r#"{"n":70}"#).await;
        let read = match patched.header("x-larder-token") {
            Some(token) => {
                send_with(&larder, ACME, "GET", "/v1/orders/1", &[("x-larder-token", token)], "").await
            }
            None => send(&larder, ACME, "GET", "/v1/orders/1", "").await,
        };
        assert_eq!(read.json()["n"], 70);
        assert_eq!(send(&larder, BOLT, "GET", "/v1/orders/1", "").await.status, 404);
        let moved = send(&larder, OWNER, "PATCH", "/v1/orders/1", r#"{"org":{"tenant":"bolt"}}"#).await;
        assert_eq!(moved.status, 200);
        assert_eq!(
            send(&larder, ACME, "GET", "/v1/orders/1", "").await.status,
            404,
            "near copies are asked, too"
        );
        assert_eq!(send(&larder, BOLT, "GET", "/v1/orders/1", "").await.status, 200);
    }
}

#[tokio::test]
async fn a_document_that_moves_away_meanwhile_is_not_patched() {
    for larder in shops().await {
        let done = AtomicBool::new(false);
        let patching = async {
            while !done.load(Ordering::Relaxed) {
                let patched =
                    send(&larder, ACME, "PATCH", "/v1/orders/1", r#"{"note":"acme was here"}"#).await;
                assert!([200, 404].contains(&patched.status), "{patched:?}");
            }
        };
        let moving = async {
            for _ in 0..60 {
                for (tenant, note) in [("bolt", Value::Null), ("acme", Value::Null)] {
                    let body = json!({ "org": { "tenant": tenant }, "note": note }).to_string();
                    assert_eq!(send(&larder, OWNER, "PATCH", "/v1/orders/1", &body).await.status, 200);
                    if tenant == "bolt" {
                        assert_eq!(order(&larder, 1).await["note"], Value::Null);
                    }
                }
            }
            done.store(true, Ordering::Relaxed);
        };
        tokio::join!(patching, moving);
    }
}

#[tokio::test]
async fn which_value_of_another_is_met_by_a_unique_index_is_not_told() {
    let (server, database) = (mongo::shared(), mongo::database_name());
    let index = doc! { "key": { "note": 1 }, "name": "note", "unique": true, "sparse": true };
    server.command(&database, doc! { "createIndexes": "orders", "indexes": [index] });
    let larder = Larder::start_with(&config(), &["--mongo", &server.url(&database)]).await;
    let first = r#"{"_id":1,"org":{"tenant":"bolt"},"region":"eu","note":"a"}"#;
    assert_eq!(send(&larder, OWNER, "POST", "/v1/orders", first).await.status, 201);
    let met = send(&larder, ACME, "POST", "/v1/orders", r#"{"_id":2,"region":"eu","note":"a"}"#).await;
    assert_problem(&met, 409, None);
    let named = r#"{"_id":2,"org":{"tenant":"bolt"},"note":"a"}"#;
    assert_problem(&send(&larder, OWNER, "POST", "/v1/orders", named).await, 409, Some("note"));
}

#[tokio::test]
async fn the_description_says_that_answers_are_limited() {
    let [larder, _] = shops().await;
    let described =
        |description: Value| description["components"]["schemas"]["orders.document"]["description"].clone();
    let tenant = send(&larder, ACME, "GET", "/openapi.json", "").await;
    assert!(described(tenant.json()).as_str().is_some_and(|text| text.contains("may touch")), "{tenant:?}");
    assert!(!tenant.text().contains("acme") && !tenant.text().contains("org"), "{tenant:?}");
    assert_eq!(described(send(&larder, OWNER, "GET", "/openapi.json", "").await.json()), Value::Null);
}

#[tokio::test]
async fn a_list_that_no_index_carries_is_refused_without_naming_what_a_role_does_not_see() {
    let declared = "name = \"orders\"\nid = \"int\"";
    let config = config().replace(declared, &format!("{declared}\nrequire_index = true"));
    let larder = Larder::start(&config).await;
    let body = r#"{"_id":1,"org":{"tenant":"acme"},"region":"eu","n":1}"#;
    assert_eq!(send(&larder, OWNER, "POST", "/v1/orders", body).await.status, 201);
    let refused = send(&larder, ACME, "GET", "/v1/orders", "").await;
    assert_problem(&refused, 400, None);
    assert!(!refused.text().contains("org") && !refused.text().contains("tenant"), "{refused:?}");
    assert_eq!(ids(&send(&larder, ACME, "GET", "/v1/orders?n=eq.1", "").await), [1]);
}

#[tokio::test]
async fn a_token_says_whose_documents_are_its_bearers() {
    const SECRET: &str = "a secret of at least thirty-two bytes";
    let jwt = format!(
        "[jwt]\nsecret = \"{SECRET}\"\nalgorithms = [\"HS256\"]\nissuer = \"{}\"\naudience = [\"{}\"]\nrole_claim = \"shop_role\"",
        claims(&json!({}))["iss"].as_str().expect("an issuer"),
        claims(&json!({}))["aud"].as_str().expect("an audience"),
    );
    let larder = Larder::start(&format!("{}\n{jwt}\n", config())).await;
    for (id, tenant) in [(1, "acme"), (2, "bolt")] {
        let body = json!({ "_id": id, "org": { "tenant": tenant }, "region": "eu" }).to_string();
        assert_eq!(send(&larder, OWNER, "POST", "/v1/orders", &body).await.status, 201);
    }
    for (changes, status, seen) in [
        (json!({ "tenant": "acme", "regions": ["eu"] }), 200, vec![1]),
        (json!({ "tenant": "bolt", "regions": ["eu", "us"] }), 200, vec![2]),
        (json!({ "tenant": "acme" }), 403, vec![]),
    ] {
        let mut known = claims(&changes);
        known["shop_role"] = json!("tenant");
        let bearer =
            format!("Bearer {}", Signer::secret(SECRET.as_bytes()).token(&json!({ "alg": "HS256" }), &known));
        let list = larder.get_with("/v1/orders", &[("authorization", &bearer)]).await;
        assert_eq!(list.status, status, "{list:?}");
        if status == 200 {
            assert_eq!(ids(&list), seen);
        }
    }
}
