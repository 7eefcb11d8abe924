//! What MongoDB's manual says and a server that stands in for it may do otherwise. Each fact is asked of the server at
//! hand; what a false one would spoil is left out of the random tests, said and counted.

use std::sync::OnceLock;

use bson::{Bson, Document, doc};
use larder_testkit::mongo;

use crate::document::{CompareOp, Filter};

/// One document, one query, and whether they match.
struct Fact {
    name: &'static str,
    document: Document,
    query: Document,
    matches: bool,
    spoils_document: fn(&Bson) -> bool,
    spoils_filter: fn(&Filter) -> bool,
}

fn facts() -> Vec<Fact> {
    vec![
        Fact {
            name: "not a number compares with no number",
            document: doc! { "a": f64::NAN },
            query: doc! { "a": { "$gt": 1 } },
            matches: false,
            spoils_document: |value| any(value, is_nan),
            spoils_filter: |filter| values(filter).iter().any(is_nan),
        },
        Fact {
            name: "null is at most null, and an absent field as well",
            document: doc! {},
            query: doc! { "a": { "$lte": Bson::Null } },
            matches: true,
            spoils_document: |_| false,
            spoils_filter: |filter| match filter {
                Filter::Compare { op: CompareOp::Gte | CompareOp::Lte, value, .. } => *value == Bson::Null,
                _ => false,
            },
        },
        Fact {
            name: "a regular expression finds text only",
            document: doc! { "a": 0 },
            query: doc! { "a": { "$regex": "^" } },
            matches: false,
            spoils_document: |_| false,
            spoils_filter: |filter| matches!(filter, Filter::Prefix { text, .. } if text.is_empty()),
        },
        Fact {
            name: "in an empty array no field exists",
            document: doc! { "a": [] },
            query: doc! { "a.b": { "$exists": false } },
            matches: true,
            // More than this one case: how paths go through arrays.
            spoils_document: |value| {
                value.as_document().is_some_and(|top| top.get("o").is_some_and(is_array))
            },
            spoils_filter: |_| false,
        },
    ]
}

/// The documents and filters that mean on this server what they mean in MongoDB.
pub(super) fn keep_sound(documents: &mut Vec<Document>, filters: &mut Vec<Filter>) {
    static FALSE: OnceLock<Vec<Fact>> = OnceLock::new();
    for fact in FALSE.get_or_init(|| std::thread::scope(|scope| scope.spawn(false_facts).join().unwrap())) {
        documents.retain(|document| !(fact.spoils_document)(&Bson::Document(document.clone())));
        filters.retain(|filter| !any_part(filter, fact.spoils_filter));
    }
}

/// On a thread of its own: a runtime cannot start inside another.
fn false_facts() -> Vec<Fact> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut found = Vec::new();
        for fact in facts() {
            if matches(&fact).await != fact.matches {
                mongo::not_run(fact.name);
                found.push(fact);
            }
        }
        found
    })
}

async fn matches(fact: &Fact) -> bool {
    let client = mongodb::Client::with_uri_str(mongo::shared().url("")).await.unwrap();
    let driver = client.database(&mongo::database_name()).collection::<Document>("facts");
    driver.insert_one(fact.document.clone()).await.unwrap();
    driver.find_one(fact.query.clone()).await.unwrap().is_some()
}

fn any_part(filter: &Filter, test: fn(&Filter) -> bool) -> bool {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => parts.iter().any(|part| any_part(part, test)),
        leaf => test(leaf),
    }
}

fn values(filter: &Filter) -> Vec<Bson> {
    match filter {
        Filter::Compare { value, .. } => vec![value.clone()],
        Filter::In { values, .. } | Filter::NotIn { values, .. } => values.clone(),
        _ => Vec::new(),
    }
}

fn any(value: &Bson, test: fn(&Bson) -> bool) -> bool {
    let inside = match value {
        Bson::Document(document) => document.values().any(|value| any(value, test)),
        Bson::Array(array) => array.iter().any(|value| any(value, test)),
        _ => false,
    };
    inside || test(value)
}

fn is_nan(value: &Bson) -> bool {
    matches!(value, Bson::Double(number) if number.is_nan())
}

fn is_array(value: &Bson) -> bool {
    matches!(value, Bson::Array(_))
}
