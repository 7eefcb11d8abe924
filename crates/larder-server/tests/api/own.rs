//! The server's own pages, and addresses that mean nothing.

use serde_json::Value;

use crate::{Larder, assert_problem, items};

#[tokio::test]
async fn every_error_is_problem_json() {
    let larder = items().await;
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/v1/", 404),
        ("GET", "/v1/items/", 404),
        ("GET", "/v1/items/1/2", 404),
        ("GET", "/v1/_nothing", 404),
        ("GET", "/v1/itmes", 404),
        ("POST", "/v1/items/1", 405),
        ("PUT", "/v1/items", 405),
        ("DELETE", "/v1/items", 405),
        ("TRACE", "/v1/items/1", 405),
        ("PUT", "/v1/items/1/_q/x", 404),
        ("POST", "/healthz", 405),
        ("DELETE", "/", 405),
    ] {
        let answer = larder.client().send(method, path, &[], "").await;
        assert_problem(&answer, status, None);
        assert_eq!(answer.header("allow").is_some(), status == 405, "{method} {path}: {answer:?}");
    }
    let nearly = larder.get("/v1/itmes").await.json();
    assert!(
        nearly["detail"].as_str().is_some_and(|detail| detail.contains("did you mean \"items\"")),
        "{nearly}"
    );
}

#[tokio::test]
async fn options_say_what_is_served() {
    let larder = items().await;
    for (path, allow) in [
        ("/v1/items/1", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
        ("/v1/items/bulk", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        ("/v1/items/_search", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        ("/v1/items", "GET, HEAD, POST, QUERY, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ] {
        let answer = larder.client().send("OPTIONS", path, &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (204, Some(allow)), "{path}");
    }
    let item = larder.client().send("OPTIONS", "/v1/items/1", &[], "").await;
    assert_eq!(item.header("accept-patch"), Some("application/merge-patch+json"));
}

#[tokio::test]
async fn a_long_address_and_a_large_head_are_refused() {
    let larder = items().await;
    let answer = larder.get(&format!("/v1/items?name=eq.{}", "x".repeat(9_000))).await;
    assert_problem(&answer, 414, None);
    let filler = format!("x-filler: {}\r\n", "y".repeat(4_000));
    let request = format!("GET /v1/items/1 HTTP/1.1\r\nhost: localhost\r\n{}\r\n", filler.repeat(20));
    let answer = crate::client::send_raw(larder.url(), &request).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(larder.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn health_readiness_and_figures_are_there() {
    let larder = items().await;
    assert_eq!(larder.get("/healthz").await.json()["status"], "ok");
    let ready = larder.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &Value::Bool(true)));
    assert_eq!(ready.json()["redis"]["used"], false);

    larder.put("/v1/items/1", r#"{"name":"a"}"#).await;
    for _ in 0..3 {
        larder.get("/v1/items/1").await;
    }
    larder.get("/v1/items/x").await;
    let stats = larder.get("/v1/_stats").await.json();
    assert_eq!(stats["totals"]["hits_near"], 2, "{stats}");
    assert_eq!(stats["collections"][0]["name"], "items");
    assert!(stats["window"]["p99_us"].as_u64().is_some_and(|p99| p99 > 0), "{stats}");

    let metrics = larder.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "larder_cache_hits_total{collection=\"items\",tier=\"near\"} 2",
        "larder_request_duration_seconds_count{route=\"read\"} 4",
        "larder_request_errors_total{route=\"read\",class=\"4xx\"} 1",
        "larder_requests_in_flight 1",
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line} is not in\n{}", metrics.text());
    }
    check_exposition(metrics.text());
}

/// Every line is a comment or `name{labels} number`, and every series was announced with its type.
#[track_caller]
fn check_exposition(text: &str) {
    let mut announced = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            announced.push(name);
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = series.split('{').next().expect("a name");
        let base =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(announced.contains(&name) || announced.contains(&base), "{line}");
    }
}

#[tokio::test]
async fn explain_says_what_each_tier_holds() {
    let larder = items().await;
    larder.put("/v1/items/1", r#"{"name":"a"}"#).await;
    assert_eq!(larder.get("/v1/_explain/items/1").await.json()["near"]["state"], "empty");
    larder.get("/v1/items/1").await;
    larder.get("/v1/items/2").await;
    let explained = larder.get("/v1/_explain/items/1").await.json();
    assert_eq!(
        (&explained["near"]["state"], &explained["shared"]),
        (&"document".into(), &Value::Null),
        "{explained}"
    );
    assert_eq!(larder.get("/v1/_explain/items/2").await.json()["near"]["state"], "known to be absent");
    assert_problem(&larder.get("/v1/_explain/items/x").await, 400, Some("_id"));
    let said = crate::larder::run(&["explain", "items", "1", "--url", larder.url()], &[]);
    assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).contains("document"), "{said:?}");
}

#[tokio::test]
async fn the_description_refers_only_to_what_it_has() {
    let larder = items().await;
    let description = larder.get("/openapi.json").await.json();
    assert_eq!(description["openapi"], "3.1.0");
    let item = &description["paths"]["/v1/items/{id}"];
    for method in ["get", "put", "patch", "delete"] {
        assert!(item[method]["operationId"].is_string(), "{method}");
    }
    let schemas = &description["components"]["schemas"];
    let width = &schemas["items.document"]["properties"]["size"]["properties"]["width"];
    assert_eq!(width["type"], serde_json::json!(["integer", "null"]));
    assert_eq!(schemas["items.body"]["required"], serde_json::json!(["name"]));
    let filters = description["paths"]["/v1/items"]["get"]["parameters"].to_string();
    assert!(filters.contains("\"price\"") && !filters.contains("\"weight\""));
    check_description(&description);
}

/// References lead somewhere, operation ids are unique, path parameters are declared.
fn check_description(description: &Value) {
    let mut references = Vec::new();
    collect_references(description, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a reference within the document");
        assert!(description.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut ids = Vec::new();
    for (path, operations) in description["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            ids.push(operation["operationId"].as_str().expect("an id").to_owned());
            assert!(
                operation["responses"].as_object().is_some_and(|answers| answers.len() > 1),
                "{method} {path}"
            );
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let is_declared =
                parameters.iter().any(|parameter| parameter["in"] == "path" && parameter["name"] == "id");
            assert_eq!(path.contains("{id}"), is_declared, "{method} {path}");
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "operation ids are unique");
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                found.push(reference.clone());
            }
            members.values().for_each(|member| collect_references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_first_page_is_there() {
    let larder = items().await;
    let page = larder.get("/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").is_some());
    assert_eq!(larder.get("/_dashboard/dashboard.js").await.status, 200);
}

#[tokio::test]
async fn a_full_house_is_told_to_come_back() {
    let config = format!("{}\n[limits]\nmax_in_flight = 1", crate::ITEMS);
    let larder = Larder::start(&config).await;
    // A body that does not come keeps the one place.
    let half = "POST /v1/items HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let address = larder.url().trim_start_matches("http://");
    let keepers = tokio::sync::Mutex::new(Vec::new());
    larder_testkit::eventually("the place is taken", crate::larder::PATIENCE, || async {
        // One more each time: it may have come while the question below had the place, and was refused itself. None goes before the
        // end, or the place that was seen taken could be that of one that is going.
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("the server listens");
        tokio::io::AsyncWriteExt::write_all(&mut stream, half.as_bytes()).await.expect("the server reads");
        keepers.lock().await.push(stream);
        let answer = larder.get("/v1/items/1").await;
        answer.status == 503 && answer.header("retry-after") == Some("1")
    })
    .await;
    assert_problem(&larder.get("/v1/items/1").await, 503, None);
    drop(keepers);
    larder_testkit::eventually("the place is free again", crate::larder::PATIENCE, || async {
        larder.get("/v1/items/1").await.status == 404
    })
    .await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_waited_for_no_longer_than_the_request_may_take() {
    let config = format!("{}\n[limits]\nrequest_deadline = \"100ms\"", crate::ITEMS);
    let larder = Larder::start(&config).await;
    let half = "POST /v1/items HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let answer = crate::client::send_raw(larder.url(), half).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(
        larder.get("/v1/items?limit=1").await.json()["items"],
        serde_json::json!([]),
        "nothing was written"
    );
}

#[tokio::test]
async fn the_start_names_addresses_of_ones_own_collections_to_try() {
    let declared = |name: &str| format!("[[collection]]\nname = \"{name}\"\nid = \"int\"\n");
    let config = format!("auth.open = true\n{}", ["a", "long-name", "c", "d"].map(declared).concat());
    let larder = Larder::start(&config).await;
    let said = larder.output();
    let lines =
        said.lines().skip_while(|line| *line != "To try:").skip(1).take_while(|line| !line.is_empty());
    let urls: Vec<&str> = lines.filter_map(|line| line.trim().strip_prefix(larder.url())).collect();
    let paths: Vec<&str> = urls.iter().filter_map(|line| line.split_whitespace().next()).collect();
    let expected = ["/", "/v1/a?limit=3", "/v1/long-name?limit=3", "/v1/c?limit=3", "/openapi.json"];
    assert_eq!(paths, expected, "{said}");
    for path in paths {
        assert_eq!(larder.get(path).await.status, 200, "{path}");
    }
}
