//! The limits of lists, as docs/http.md has them: what they allow is served, one more is refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{assert_problem, items};

const PAGE: &str = include_str!("../../../../docs/http.md");

/// The numbers of the table, by the first words of their rows.
fn documented() -> BTreeMap<&'static str, usize> {
    let (_, table) = PAGE.split_once("| | at most | setting |").expect("the page has the table");
    let rows = table.trim_start().lines().skip(1).map_while(|line| line.strip_prefix("| "));
    let number = |row: &'static str| {
        let mut cells = row.split(" | ");
        let what = cells.next()?.split([' ', ';', '`', ',']).find(|word| !word.is_empty())?;
        Some((what, cells.next()?.parse().ok()?))
    };
    rows.map(|row| number(row).unwrap_or_else(|| panic!("{row}"))).collect()
}

fn joined(parts: impl Iterator<Item = String>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

/// A query that asks for so much, and the parameter that a refusal names.
fn query(what: &str, count: usize) -> (String, &'static str) {
    let sorts = ["name", "price", "stock", "made_at", "_id"];
    match what {
        "documents" => (format!("limit={count}"), "limit"),
        "offset" => (format!("offset={count}"), "offset"),
        "conditions" => {
            let grouped = joined((1..count).map(|n| format!("stock.ne.{n}")), ",");
            (format!("and=({grouped})&stock=gt.0"), "stock")
        }
        "groups" => {
            (format!("{}name.eq.a{}", "or=(".to_owned() + &"or(".repeat(count - 1), ")".repeat(count)), "or")
        }
        "values" => (format!("stock=in.({})", joined((0..count).map(|n| n.to_string()), ",")), "stock"),
        "words" => (format!("name=text.{}", joined((0..count).map(|n| n.to_string()), "%20")), "name"),
        "bytes" => (format!("name=eq.{}", "x".repeat(count - "eq.".len())), "name"),
        "keys" => {
            (format!("sort={}", joined(sorts[..count].iter().map(|name| (*name).to_owned()), ",")), "sort")
        }
        "paths" => (format!("fields={}", joined((0..count).map(|n| format!("note.n{n}")), ",")), "fields"),
        other => panic!("the table has a row that no test knows: {other}"),
    }
}

/// A body that asks for the same.
fn body(what: &str, count: usize) -> Value {
    let sorts = ["name", "price", "stock", "made_at", "_id"];
    match what {
        "documents" => json!({ "limit": count }),
        "offset" => json!({ "offset": count }),
        "conditions" => {
            let group: Value = (1..count).map(|n| json!({ "stock": { "ne": n } })).collect();
            json!({ "filter": { "and": group, "stock": { "gt": 0 } } })
        }
        "groups" => {
            let nested = (0..count).fold(json!({ "name": "a" }), |inner, _| json!({ "or": [inner] }));
            json!({ "filter": nested })
        }
        "values" => json!({ "filter": { "stock": { "in": (0..count).collect::<Vec<_>>() } } }),
        "words" => {
            let words = joined((0..count).map(|n| n.to_string()), " ");
            json!({ "filter": { "name": { "text": words } } })
        }
        "bytes" => json!({ "filter": { "name": "x".repeat(count - "\"\"".len()) } }),
        "keys" => json!({ "sort": sorts[..count] }),
        "paths" => json!({ "fields": (0..count).map(|n| format!("note.n{n}")).collect::<Vec<_>>() }),
        other => panic!("the table has a row that no test knows: {other}"),
    }
}

#[tokio::test]
async fn a_list_may_ask_for_what_the_page_says_and_no_more() {
    let larder = items().await;
    let limits = documented();
    assert_eq!(limits.len(), 9, "{limits:?}");
    for (what, most) in limits {
        let (allowed, _) = query(what, most);
        let answer = larder.get(&format!("/v1/items?{allowed}")).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        let (refused, field) = query(what, most + 1);
        assert_problem(&larder.get(&format!("/v1/items?{refused}")).await, 400, Some(field));

        let answer = larder.post("/v1/items/_search", &body(what, most).to_string()).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        let refused = larder.post("/v1/items/_search", &body(what, most + 1).to_string()).await;
        assert_problem(&refused, 400, Some(field));
    }
}
