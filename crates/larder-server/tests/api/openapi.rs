//! `/openapi.json` against the answers themselves: what a server sends is what it described.

use larder_testkit::{mongo, redis};
use serde_json::Value;

use crate::{ITEMS, client::Answer, items, larder::Larder};

/// Headers that HTTP itself explains.
const PLAIN: [&str; 5] = ["cache-control", "content-length", "content-type", "date", "vary"];

/// Checks the headers and the media type of an answer against the description of its operation.
#[track_caller]
fn check(description: &Value, path: &str, method: &str, answer: &Answer) {
    let responses = &description["paths"][path][method]["responses"];
    let mut described = &responses[answer.status.to_string()];
    if described.is_null() {
        described = &responses[format!("{}XX", answer.status / 100)];
        let reference = described["$ref"].as_str().unwrap_or_else(|| panic!("{method} {path}: {answer:?}"));
        described = description.pointer(&reference[1..]).expect("the reference leads somewhere");
    }
    let headers = described["headers"].as_object().cloned().unwrap_or_default();
    for name in answer.headers.keys().map(|name| name.as_str()).filter(|name| !PLAIN.contains(name)) {
        let is_described = headers.keys().any(|known| known.eq_ignore_ascii_case(name));
        assert!(is_described, "{method} {path} {}: {name} is not described", answer.status);
    }
    if !answer.body.is_empty() {
        let media_type = answer.header("content-type").expect("a body has a type");
        assert!(!described["content"][media_type].is_null(), "{method} {path}: {media_type}");
    }
}

#[tokio::test]
async fn every_answer_has_only_headers_and_types_that_are_described() {
    let app = mongo::database_name();
    let larder =
        Larder::start_with(&format!("{ITEMS}\n[redis]\napp = \"{app}\""), &["--redis", &redis::single()])
            .await;
    let description = larder.get("/openapi.json").await.json();
    let mut seen = Vec::new();
    let mut check = |path: &str, method: &str, status: u16, answer: Answer| {
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        check(&description, path, method, &answer);
        seen.extend(answer.headers.keys().map(|name| name.as_str().to_owned()));
        answer
    };
    let (items, item) = ("/v1/items", "/v1/items/{id}");
    check(items, "post", 201, larder.post(items, r#"{"_id":1,"name":"a"}"#).await);
    check(item, "put", 201, larder.put("/v1/items/2", r#"{"name":"b"}"#).await);
    check(item, "put", 200, larder.put("/v1/items/2", r#"{"name":"c"}"#).await);
    check(item, "patch", 200, larder.patch("/v1/items/2", r#"{"stock":1}"#).await);
    check("/v1/items/bulk", "post", 200, larder.post("/v1/items/bulk", r#"[{"_id":3,"name":"d"}]"#).await);
    check(item, "delete", 204, larder.delete("/v1/items/3").await);
    let first = check(item, "get", 200, larder.get("/v1/items/2").await);
    check(item, "get", 200, larder.get("/v1/items/2").await);
    check(item, "get", 304, larder.get_with("/v1/items/2", &[("if-none-match", first.etag())]).await);
    check(item, "get", 200, larder.get_with("/v1/items/2", &[("accept", "application/ejson")]).await);
    for _ in 0..2 {
        check(item, "get", 404, larder.get("/v1/items/9").await);
    }
    let headers = [("prefer", "count=exact"), ("accept", "application/ejson")];
    let page = check(items, "get", 200, larder.get_with("/v1/items?limit=1", &headers).await);
    let again = [&headers[..], &[("if-none-match", page.etag())]].concat();
    check(items, "get", 304, larder.get_with("/v1/items?limit=1", &again).await);
    let body = r#"{"filter":{"stock":{"gte":1}},"limit":1}"#;
    let search = "/v1/items/_search";
    let headers = [("content-type", "application/json"), ("prefer", "count=exact")];
    check(search, "post", 200, larder.client().send("POST", search, &headers, body).await);
    check(search, "post", 400, larder.post(search, r#"{"filter":{"nome":1}}"#).await);
    let query = "/v1/items/_q/by_stock";
    let rows = check(query, "get", 200, larder.get(query).await);
    check(query, "get", 304, larder.get_with(query, &[("if-none-match", rows.etag())]).await);
    let order = r#"{"collection":"items","keys":[1]}"#;
    check("/v1/_purge", "post", 200, larder.post("/v1/_purge", order).await);
    for name in ["age", "cache-status", "etag", "link", "location", "preference-applied", "x-larder-token"] {
        assert!(seen.iter().any(|seen| seen == name), "{name} was never sent: this test looks at too little");
    }
}

fn names_of<'a>(description: &'a Value, path: &str) -> Vec<&'a str> {
    let parameters = description["paths"][path]["get"]["parameters"].as_array().expect("parameters");
    parameters.iter().map(|parameter| parameter["name"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn filters_by_id_and_groups_are_described_and_served() {
    let larder = items().await;
    larder.post("/v1/items/bulk", r#"[{"_id":1,"name":"a"},{"_id":2,"name":"b","stock":1}]"#).await;
    let description = larder.get("/openapi.json").await.json();
    let names = names_of(&description, "/v1/items");
    for (name, value) in
        [("_id", "gt.1"), ("or", "(stock.gt.0,name.eq.x)"), ("and", "(stock.gt.0,name.eq.b)")]
    {
        assert!(names.contains(&name), "{name}: {names:?}");
        let page = larder.get(&format!("/v1/items?{name}={value}")).await.json();
        assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{name}: {page}");
    }
}

#[tokio::test]
async fn the_body_of_a_search_is_described_by_what_may_be_filtered_by() {
    let description = items().await.get("/openapi.json").await.json();
    let body =
        &description["paths"]["/v1/items/_search"]["post"]["requestBody"]["content"]["application/json"];
    let members: Vec<_> = body["schema"]["properties"].as_object().expect("members").keys().collect();
    assert_eq!(members, ["after", "fields", "filter", "limit", "offset", "sort"]);
    assert_eq!(body["schema"]["properties"]["filter"]["$ref"], "#/components/schemas/items.filter");
    let schemas = &description["components"]["schemas"];
    let filter = schemas["items.filter"]["properties"].as_object().expect("fields");
    let fields: Vec<_> = filter.keys().collect();
    let expected =
        ["_id", "and", "made_at", "maker_id", "name", "or", "price", "size.width", "sold", "stock", "tags"];
    assert_eq!(fields, expected);
    assert_eq!(filter["tags"]["$ref"], "#/components/schemas/Condition.String");
    let operators = |name: &str| schemas[name]["anyOf"][2]["properties"].clone();
    assert!(operators("Condition.String")["prefix"].is_object());
    assert!(operators("Condition.Decimal")["prefix"].is_null());
    assert!(operators("Condition.Decimal")["gte"].is_object());
}

#[tokio::test]
async fn the_way_past_the_cache_is_described_to_those_who_may_take_it() {
    let larder = items().await;
    let description = larder.get("/openapi.json").await.json();
    let names = names_of(&description, "/v1/items/{id}");
    assert!(names.contains(&"X-Larder-Token") && names.contains(&"X-Larder-Cache"), "{names:?}");
    let reader = format!(
        "[[role]]\nname = \"anonymous\"\n{}[[collection.grant]]\nrole = \"anonymous\"\nverbs = [\"read\"]\n",
        "[[collection]]\nname = \"items\"\nid = \"int\"\nstrict = false\n"
    );
    let description = Larder::start(&reader).await.get("/openapi.json").await.json();
    let names = names_of(&description, "/v1/items/{id}");
    assert!(names.contains(&"X-Larder-Token") && !names.contains(&"X-Larder-Cache"), "{names:?}");
}
