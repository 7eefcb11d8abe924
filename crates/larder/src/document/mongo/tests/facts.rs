//! What MongoDB's manual says and a server that stands in for it may do otherwise. Each fact is asked of the server at
//! hand; what a false one would spoil is left out of the random tests, said and counted.

use std::sync::OnceLock;

use bson::{Bson, Document, doc};
use futures_util::StreamExt;
use larder_testkit::mongo;

use crate::document::{CompareOp, Filter, SortKey};

/// Documents, one question, and the ids it finds, in order: the documents are numbered from 0 on.
struct Fact {
    name: &'static str,
    documents: Vec<Document>,
    query: Document,
    sort: Document,
    finds: Vec<i64>,
    spoils: Spoils,
}

/// What a false fact makes useless.
enum Spoils {
    /// Documents, and filters whatever they are asked of.
    Finds { document: fn(&Bson) -> bool, filter: fn(&Filter) -> bool },
    /// Orders of these documents.
    Orders(fn(&[Document], &SortKey) -> bool),
}

impl Fact {
    /// Whether one document is found by a query.
    fn of_match(
        name: &'static str,
        document: Document,
        query: Document,
        matches: bool,
        spoils: Spoils,
    ) -> Self {
        let finds = if matches { vec![0] } else { Vec::new() };
        Self { name, documents: vec![document], query, sort: doc! {}, finds, spoils }
    }
}

fn facts() -> Vec<Fact> {
    let no_document: fn(&Bson) -> bool = |_| false;
    let no_filter: fn(&Filter) -> bool = |_| false;
    vec![
        Fact::of_match(
            "not a number compares with no number",
            doc! { "a": f64::NAN },
            doc! { "a": { "$gt": 1 } },
            false,
            Spoils::Finds {
                document: |value| any(value, is_nan),
                filter: |filter| values(filter).iter().any(is_nan),
            },
        ),
        Fact::of_match(
            "null is at most null, and an absent field as well",
            doc! {},
            doc! { "a": { "$lte": Bson::Null } },
            true,
            Spoils::Finds {
                document: no_document,
                filter: |filter| match filter {
                    Filter::Compare { op: CompareOp::Gte | CompareOp::Lte, value, .. } => {
                        *value == Bson::Null
                    }
                    _ => false,
                },
            },
        ),
        Fact::of_match(
            "a regular expression finds text only",
            doc! { "a": 0 },
            doc! { "a": { "$regex": "^" } },
            false,
            Spoils::Finds {
                document: no_document,
                // Words are looked for in what `o` is as text.
                filter: |filter| match filter {
                    Filter::Prefix { text, .. } => text.is_empty(),
                    Filter::Text { path, .. } => path == "o",
                    _ => false,
                },
            },
        ),
        Fact::of_match(
            "in an empty array no field exists",
            doc! { "a": [] },
            doc! { "a.b": { "$exists": false } },
            true,
            Spoils::Finds {
                // More than this one case: how paths go through arrays.
                document: |value| value.as_document().is_some_and(|top| top.get("o").is_some_and(is_array)),
                filter: no_filter,
            },
        ),
        Fact {
            name: "two empty arrays are level in an order, and the next key decides",
            documents: vec![doc! { "a": [] }, doc! { "a": [] }],
            query: doc! {},
            sort: doc! { "a": 1, "_id": 1 },
            finds: vec![0, 1],
            spoils: Spoils::Orders(|documents, key| {
                let is_empty = |document: &&Document| {
                    at(document, &key.path).and_then(Bson::as_array).is_some_and(Vec::is_empty)
                };
                documents.iter().filter(is_empty).count() > 1
            }),
        },
        Fact {
            name: "inside an object an array compares element by element",
            documents: vec![doc! { "a": { "b": [0, 0] } }, doc! { "a": { "b": [0] } }],
            query: doc! {},
            sort: doc! { "a": 1, "_id": 1 },
            finds: vec![1, 0],
            spoils: Spoils::Orders(|documents, key| {
                let holds_an_array = |document: &&Document| {
                    at(document, &key.path)
                        .and_then(Bson::as_document)
                        .is_some_and(|object| object.values().any(is_array))
                };
                documents.iter().filter(holds_an_array).count() > 1
            }),
        },
    ]
}

/// The documents and filters that mean on this server what they mean in MongoDB.
pub(super) fn keep_sound(documents: &mut Vec<Document>, filters: &mut Vec<Filter>) {
    for fact in false_facts() {
        if let Spoils::Finds { document: spoils_document, filter: spoils_filter } = fact.spoils {
            documents.retain(|document| !spoils_document(&Bson::Document(document.clone())));
            filters.retain(|filter| !any_part(filter, spoils_filter));
        }
    }
}

/// Whether this server puts these documents into this order as MongoDB does.
pub(super) fn is_sound_order(documents: &[Document], sort: &[SortKey]) -> bool {
    false_facts().iter().all(|fact| match fact.spoils {
        Spoils::Orders(spoils) => !sort.iter().any(|key| spoils(documents, key)),
        Spoils::Finds { .. } => true,
    })
}

/// Asked once, on a thread of its own: a runtime cannot start inside another.
fn false_facts() -> &'static [Fact] {
    static FALSE: OnceLock<Vec<Fact>> = OnceLock::new();
    FALSE.get_or_init(|| std::thread::scope(|scope| scope.spawn(find_false_facts).join().unwrap()))
}

fn find_false_facts() -> Vec<Fact> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut found = Vec::new();
        for fact in facts() {
            if found_by(&fact).await != fact.finds {
                mongo::not_run(fact.name);
                found.push(fact);
            }
        }
        found
    })
}

async fn found_by(fact: &Fact) -> Vec<i64> {
    let client = mongodb::Client::with_uri_str(mongo::shared().url("")).await.unwrap();
    let driver = client.database(&mongo::database_name()).collection::<Document>("facts");
    for (id, document) in (0_i64..).zip(&fact.documents) {
        let mut whole = doc! { "_id": id };
        whole.extend(document.clone());
        driver.insert_one(whole).await.unwrap();
    }
    let found = driver.find(fact.query.clone()).sort(fact.sort.clone()).await.unwrap();
    found.map(|document| document.unwrap().get_i64("_id").unwrap()).collect().await
}

/// What stands at a path that leads through no array.
fn at<'a>(document: &'a Document, path: &str) -> Option<&'a Bson> {
    match path.split_once('.') {
        None => document.get(path),
        Some((first, rest)) => at(document.get(first)?.as_document()?, rest),
    }
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
