//! Lists: filters, order, pages.

use serde_json::{Value, json};

use crate::{Larder, assert_problem, items};

/// Ten items: names a to j, prices 1 to 10, every second one sold.
pub(crate) async fn ten_items() -> Larder {
    let larder = items().await;
    add_ten(&larder).await;
    larder
}

/// Adds them to a server with nothing in it.
pub(crate) async fn add_ten(larder: &Larder) {
    let documents: Vec<Value> = (0..10)
        .map(|n| {
            let name = char::from(b'a' + n).to_string();
            json!({
                "_id": n, "name": name, "price": format!("{}.50", n + 1), "stock": n % 3, "sold": n % 2 == 1,
                "tags": [name, "all"], "made_at": format!("2025-01-0{}T00:00:00Z", n % 9 + 1),
            })
        })
        .collect();
    let answer = larder.post("/v1/items/bulk", &Value::from(documents).to_string()).await;
    assert_eq!(answer.json()["created"], 10, "{answer:?}");
}

pub(crate) fn ids(page: &Value) -> Vec<i64> {
    page["items"].as_array().expect("items").iter().filter_map(|item| item["_id"].as_i64()).collect()
}

#[tokio::test]
async fn filters_are_read_by_the_declared_types() {
    let larder = ten_items().await;
    for (query, expected) in [
        ("", (0..10).collect::<Vec<i64>>()),
        ("price=gte.9", vec![8, 9]),
        ("price=gt.2&price=lt.4.5", vec![1, 2]),
        ("name=eq.c", vec![2]),
        ("name=in.(a,j)", vec![0, 9]),
        ("name=prefix.b", vec![1]),
        ("sold=eq.true&stock=eq.0", vec![3, 9]),
        ("tags=eq.d", vec![3]),
        ("made_at=lt.2025-01-02T00:00:00Z", vec![0, 9]),
        ("or=(name.eq.a,price.gt.10)", vec![0, 9]),
        ("maker_id=exists.true", vec![]),
        ("sort=-price&limit=3", vec![9, 8, 7]),
        ("sort=stock,-name&limit=4", vec![9, 6, 3, 0]),
        ("offset=8", vec![8, 9]),
    ] {
        let answer = larder.get(&format!("/v1/items?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        assert_eq!(ids(&answer.json()), expected, "{query}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps_or_repeats() {
    let larder = ten_items().await;
    let mut path = "/v1/items?sort=-stock&limit=3&fields=name".to_owned();
    let mut seen = Vec::new();
    loop {
        let answer = larder.get(&path).await;
        let page = answer.json();
        seen.extend(ids(&page));
        assert!(page["items"][0].get("price").is_none(), "only the asked fields");
        let Some(next) = page["next"].as_str() else {
            assert!(answer.header("link").is_none());
            break;
        };
        let link = answer.header("link").expect("a Link with each cursor");
        assert!(link.contains(next) && link.ends_with("; rel=\"next\""), "{link}");
        path = link.trim_start_matches('<').split('>').next().expect("an address").to_owned();
    }
    assert_eq!(seen, [2, 5, 8, 1, 4, 7, 0, 3, 6, 9]);
}

#[tokio::test]
async fn a_cursor_opens_only_in_its_own_query() {
    let larder = ten_items().await;
    let page = larder.get("/v1/items?sort=price&limit=2").await.json();
    let cursor = page["next"].as_str().expect("more pages");
    assert_eq!(
        ids(&larder.get(&format!("/v1/items?sort=price&limit=5&after={cursor}")).await.json()),
        [2, 3, 4, 5, 6]
    );
    let (rest, last) = cursor.split_at(cursor.len() - 1);
    let forged = format!("{rest}{}", if last == "A" { "B" } else { "A" });
    for query in [
        format!("sort=-price&after={cursor}"),
        format!("sort=price&stock=eq.1&after={cursor}"),
        format!("after={cursor}"),
        format!("sort=price&after={forged}"),
        "sort=price&after=x".to_owned(),
        format!("sort=price&after={}", "A".repeat(7_000)),
    ] {
        assert_problem(&larder.get(&format!("/v1/items?{query}")).await, 400, Some("after"));
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_by_name() {
    let larder = items().await;
    for (query, field) in [
        ("$where=eq.1", "$where"),
        ("$expr=eq.1", "$expr"),
        ("price[$gt]=1", "price[$gt]"),
        ("weight=eq.1", "weight"),
        ("nome=eq.a", "nome"),
        ("size=eq.1", "size"),
        ("price=10", "price"),
        ("price=regex..*", "price"),
        ("price=gte.cheap", "price"),
        ("stock=eq.1.5", "stock"),
        ("sold=eq.yes", "sold"),
        ("made_at=gt.yesterday", "made_at"),
        ("maker_id=eq.7", "maker_id"),
        ("sort=weight", "sort"),
        ("sort=price,-price", "sort"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("offset=1001", "offset"),
        ("fields=nome", "fields"),
        ("after=x&offset=1", "offset"),
        ("limit=1&limit=2", "limit"),
        ("or=(name.eq.a,$where.eq.1)", "or"),
    ] {
        assert_problem(&larder.get(&format!("/v1/items?{query}")).await, 400, Some(field));
    }
    let deep = format!("or={}name.eq.a{}", "(or".repeat(50), ")".repeat(50));
    assert_eq!(larder.get(&format!("/v1/items?{deep}")).await.status, 400);
    let many = "stock=eq.1&".repeat(60);
    assert_eq!(larder.get(&format!("/v1/items?{many}")).await.status, 400);
}

#[tokio::test]
async fn counts_come_only_when_asked_for() {
    let larder = ten_items().await;
    let plain = larder.get("/v1/items?limit=1").await;
    assert!(plain.json().get("count").is_none());
    for (prefer, query, expected) in [
        ("count=exact", "sold=eq.true", 5),
        ("count=estimated", "", 10),
        ("respond-async, count=exact", "", 10),
    ] {
        let answer = larder.get_with(&format!("/v1/items?limit=1&{query}"), &[("prefer", prefer)]).await;
        assert_eq!(answer.json()["count"], expected, "{prefer}");
        assert!(answer.header("preference-applied").is_some_and(|applied| prefer.contains(applied)));
    }
    assert_problem(&larder.get_with("/v1/items", &[("prefer", "count=some")]).await, 400, Some("Prefer"));
}

#[tokio::test]
async fn a_list_has_a_tag_too() {
    let larder = ten_items().await;
    let first = larder.get("/v1/items?limit=2").await;
    assert_eq!(first.cache_status(), "larder; fwd=bypass");
    let again = larder.get_with("/v1/items?limit=2", &[("if-none-match", first.etag())]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    larder.patch("/v1/items/0", r#"{"stock":9}"#).await;
    assert_eq!(larder.get_with("/v1/items?limit=2", &[("if-none-match", first.etag())]).await.status, 200);
}

#[tokio::test]
async fn a_page_larger_than_its_limit_is_refused() {
    let config = format!("{}\n[limits]\nmax_answer_bytes = \"300B\"", crate::ITEMS);
    let larder = Larder::start(&config).await;
    for n in 0..5 {
        larder.post("/v1/items", &format!(r#"{{"_id":{n},"name":"{}"}}"#, "x".repeat(100))).await;
    }
    assert_eq!(larder.get("/v1/items?limit=2").await.status, 200);
    assert_problem(&larder.get("/v1/items").await, 400, Some("limit"));
}

#[tokio::test]
async fn a_page_that_ends_with_a_value_too_long_for_a_cursor_names_the_sort_and_another_limit_helps() {
    let larder = items().await;
    for (id, name) in [(1, "a".to_owned()), (2, "b".repeat(10_000)), (3, "c".to_owned()), (4, "d".to_owned())]
    {
        larder.post("/v1/items", &format!(r#"{{"_id":{id},"name":"{name}"}}"#)).await;
    }
    let refused = larder.get("/v1/items?sort=name&limit=2").await;
    assert_problem(&refused, 400, Some("sort"));
    assert!(refused.text().contains("another `limit`"), "{refused:?}");
    assert_eq!(larder.get("/v1/items?sort=name&limit=3").await.status, 200);
    assert_eq!(larder.get("/v1/items?sort=price&limit=2").await.status, 200);
}
