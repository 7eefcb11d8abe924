//! The server's contract, over HTTP: every test runs the real `larder` binary.

mod access;
mod advise;
mod alarms;
mod audit;
mod behind;
mod bench;
mod bulk;
mod client;
mod commands;
mod cors;
mod dashboard;
mod described;
mod first_start;
mod guarded;
mod import;
mod indexes;
mod input;
mod issuer;
mod jwt;
mod larder;
mod limits;
mod list;
mod lists;
mod mongo;
mod openapi;
mod own;
mod partial;
mod purge;
mod query;
mod read;
mod readme;
mod redis;
mod rows;
mod search;
mod signer;
mod slow;
mod stop;
mod tags;
mod threads;
mod top;
mod watch;
mod words;
mod write;

use crate::{client::Answer, larder::Larder};

/// A collection with every type of field, open to everyone on this machine.
const ITEMS: &str = r#"
[auth]
open = true

[[collection]]
name = "items"
id = "int"
field = [
    { path = "name", type = "string", required = true, filter = true, sort = true, search = true },
    { path = "price", type = "decimal", filter = true, sort = true },
    { path = "stock", type = "int", filter = true, sort = true },
    { path = "weight", type = "double" },
    { path = "sold", type = "bool", filter = true },
    { path = "made_at", type = "date", filter = true, sort = true },
    { path = "maker_id", type = "objectId", filter = true },
    { path = "tags", type = "array<string>", filter = true },
    { path = "size", type = "object" },
    { path = "size.width", type = "int", filter = true },
    { path = "size.height", type = "int" },
    { path = "note", type = "any" },
]

[[collection.query]]
name = "by_stock"
pipeline = """[
    { "$match": { "price": { "$gte": { "$var": "least" } } } },
    { "$group": { "_id": "$stock", "items": { "$sum": 1 }, "total": { "$sum": "$price" } } },
    { "$sort": { "_id": 1 } }
]"""
var = [{ name = "least", type = "decimal", default = "0" }]

[[collection.query]]
name = "named"
pipeline = '[{ "$match": { "name": { "$var": "name" } } }, { "$project": { "_id": 1 } }]'
var = [{ name = "name", type = "string" }]
"#;

/// A server with [`ITEMS`] and nothing in it.
async fn items() -> Larder {
    Larder::start(ITEMS).await
}

/// Checks that an answer is problem JSON with this status, which names this field.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, field: Option<&str>) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{problem}");
    assert_eq!(problem["field"].as_str(), field, "{problem}");
    for member in ["type", "title", "detail"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {problem}");
    }
}
