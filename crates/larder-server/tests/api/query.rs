//! Named queries.

use crate::{Larder, assert_problem, items};

async fn stocked() -> Larder {
    let larder = items().await;
    let body = r#"[
        {"_id":1,"name":"a","stock":1,"price":"0.10"},
        {"_id":2,"name":"b","stock":1,"price":"0.20"},
        {"_id":3,"name":"c","stock":2,"price":"5"}
    ]"#;
    assert_eq!(larder.post("/v1/items/bulk", body).await.json()["created"], 3);
    larder
}

#[tokio::test]
async fn a_query_answers_with_typed_variables() {
    let larder = stocked().await;
    let answer = larder.get("/v1/items/_q/by_stock").await;
    assert_eq!(
        answer.text(),
        r#"{"items":[{"_id":1,"items":2,"total":{"$numberDecimal":"0.30"}},{"_id":2,"items":1,"total":{"$numberDecimal":"5"}}]}"#
    );
    assert_eq!(answer.cache_status(), "larder; fwd=bypass");
    let few = larder.get("/v1/items/_q/by_stock?least=1").await;
    assert_eq!(few.json()["items"].as_array().map(Vec::len), Some(1));
    let again = larder.get_with("/v1/items/_q/by_stock?least=1", &[("if-none-match", few.etag())]).await;
    assert_eq!(again.status, 304);
    assert_eq!(larder.get("/v1/_q/named?name=b").await.text(), r#"{"items":[{"_id":2}]}"#);
}

#[tokio::test]
async fn variables_cannot_carry_operators() {
    let larder = stocked().await;
    for text in ["{\"$gt\":\"\"}", "$name", "[$ne]", "eq.a"] {
        let query: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let answer = larder.get(&format!("/v1/items/_q/named?name={query}")).await;
        assert_eq!((answer.status, answer.text()), (200, r#"{"items":[]}"#), "{text}");
    }
}

#[tokio::test]
async fn a_wrong_variable_is_refused_by_name() {
    let larder = items().await;
    for (path, field) in [
        ("/v1/items/_q/named", "name"),
        ("/v1/items/_q/named?name=a&name=b", "name"),
        ("/v1/items/_q/named?name=a&x=1", "x"),
        ("/v1/items/_q/by_stock?least=cheap", "least"),
    ] {
        assert_problem(&larder.get(path).await, 400, Some(field));
    }
    assert_problem(&larder.get("/v1/_q/nothing").await, 404, None);
    assert_problem(&larder.get("/v1/items/_q/nothing").await, 404, None);
}

#[tokio::test]
async fn an_answer_larger_than_its_limit_is_refused() {
    let config = format!("{}\n[limits]\nmax_answer_bytes = \"100B\"", crate::ITEMS);
    let larder = Larder::start(&config).await;
    let name = |n| if n < 2 { "few" } else { "many" };
    let items: Vec<_> = (0..20).map(|n| format!(r#"{{"_id":{n},"name":"{}"}}"#, name(n))).collect();
    larder.post("/v1/items/bulk", &format!("[{}]", items.join(","))).await;
    let few = larder.get("/v1/items/_q/named?name=few").await;
    assert_eq!(few.text(), r#"{"items":[{"_id":0},{"_id":1}]}"#);
    let refused = larder.get("/v1/items/_q/named?name=many").await;
    assert_problem(&refused, 413, None);
    assert!(refused.text().contains("larger than 100 bytes (limits.max_answer_bytes)"), "{refused:?}");
}
