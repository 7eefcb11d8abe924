//! Finding: filters, order, pages and projections.

use bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use larder::document::{CompareOp, Filter, Find, Id};

use super::backend::{Backend, compare, decimal, document, eq, ids, sort, things, unique, walk};

fn matching(things: &[Document], test: impl Fn(&Document) -> bool) -> Vec<i64> {
    things.iter().filter(|thing| test(thing)).map(|thing| thing.get_i64("_id").unwrap()).collect()
}

fn number(thing: &Document, field: &str) -> Option<f64> {
    match thing.get(field)? {
        Bson::Int32(number) => Some(f64::from(*number)),
        Bson::Int64(number) => Some(*number as f64),
        Bson::Double(number) => Some(*number),
        Bson::Decimal128(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

fn tags(thing: &Document) -> Vec<&str> {
    thing.get_array("tags").unwrap().iter().filter_map(Bson::as_str).collect()
}

fn country(thing: &Document) -> Option<&str> {
    thing.get_document("maker").ok()?.get_str("country").ok()
}

fn words(path: &str, text: &str) -> Filter {
    Filter::Text { path: path.into(), text: text.into() }
}

type Test = fn(&Document) -> bool;

/// Filters, and what each means in plain words.
fn filters() -> Vec<(Filter, Test)> {
    let owner = ObjectId::from_bytes([1; 12]);
    let day = DateTime::from_millis(1_700_000_000_000 + 5 * 86_400_000);
    let texts = |values: &[&str]| values.iter().map(|value| Bson::from(*value)).collect::<Vec<_>>();
    vec![
        (Filter::All, |_| true),
        (eq("name", "thing 3"), |thing| thing.get("name") == Some(&Bson::from("thing 3"))),
        (compare("name", CompareOp::Ne, "thing 3"), |thing| {
            thing.get("name") != Some(&Bson::from("thing 3"))
        }),
        // Numbers of all types are one order.
        (eq("stock", 1), |thing| number(thing, "stock") == Some(1.0)),
        (eq("stock", 1.0), |thing| number(thing, "stock") == Some(1.0)),
        (compare("price", CompareOp::Gte, decimal("2.1")), |thing| {
            number(thing, "price").is_some_and(|n| n >= 2.1)
        }),
        (compare("price", CompareOp::Lt, 2), |thing| number(thing, "price").is_some_and(|n| n < 2.0)),
        (compare("rating", CompareOp::Gt, 1_i64), |thing| number(thing, "rating").is_some_and(|n| n > 1.0)),
        // Other types are neither above nor below.
        (compare("price", CompareOp::Gte, ""), |_| false),
        (compare("name", CompareOp::Gt, 5), |_| false),
        // Null matches absent; exists tells them apart.
        (eq("stock", Bson::Null), |thing| matches!(thing.get("stock"), None | Some(Bson::Null))),
        (compare("stock", CompareOp::Ne, Bson::Null), |thing| {
            !matches!(thing.get("stock"), None | Some(Bson::Null))
        }),
        (Filter::Exists { path: "stock".into(), present: true }, |thing| thing.contains_key("stock")),
        (Filter::Exists { path: "stock".into(), present: false }, |thing| !thing.contains_key("stock")),
        (eq("live", true), |thing| thing.get("live") == Some(&Bson::from(true))),
        (compare("added", CompareOp::Lte, day), |thing| {
            thing.get_datetime("added").unwrap().timestamp_millis() <= 1_700_432_000_000
        }),
        (eq("owner", owner), |thing| thing.get("owner") == Some(&Bson::from(ObjectId::from_bytes([1; 12])))),
        // Arrays match by any element, and their negation by none.
        (eq("tags", "tag 1"), |thing| tags(thing).contains(&"tag 1")),
        (compare("tags", CompareOp::Ne, "tag 1"), |thing| !tags(thing).contains(&"tag 1")),
        (eq("tags", texts(&["tag 0", "tag 1"])), |thing| tags(thing) == ["tag 0", "tag 1"]),
        (Filter::In { path: "tags".into(), values: texts(&["tag 2", "x"]) }, |thing| {
            tags(thing).contains(&"tag 2")
        }),
        (Filter::NotIn { path: "tags".into(), values: texts(&["tag 2", "x"]) }, |thing| {
            !tags(thing).contains(&"tag 2")
        }),
        (Filter::Prefix { path: "name".into(), text: "thing 1".into() }, |thing| {
            thing.get_str("name").unwrap().starts_with("thing 1")
        }),
        (Filter::Prefix { path: "name".into(), text: "thing.".into() }, |_| false),
        // Words are whole, in any case and order, and in one or the other of an array's strings.
        (words("name", "3 THING"), |thing| thing.get("name") == Some(&Bson::from("thing 3"))),
        (words("name", "thin"), |_| false),
        (words("name", "thing 1").and(words("tags", "2, 0")), |thing| {
            thing.get("name") == Some(&Bson::from("thing 1"))
                && tags(thing).contains(&"tag 2")
                && tags(thing).contains(&"tag 0")
        }),
        (words("name", "!"), |_| false),
        (eq("maker.country", "SE"), |thing| country(thing) == Some("SE")),
        (eq("maker.country", Bson::Null), |thing| country(thing).is_none()),
        (Filter::In { path: "maker.country".into(), values: vec!["SE".into(), Bson::Null] }, |thing| {
            matches!(country(thing), None | Some("SE"))
        }),
        (eq("parts.no", 100), |thing| thing.contains_key("parts")),
        (compare("parts.no", CompareOp::Lt, 17), |thing| {
            thing.get_i64("_id").unwrap() < 17 && thing.contains_key("parts")
        }),
        (compare("_id", CompareOp::Gt, 35_i64), |thing| thing.get_i64("_id").unwrap() > 35),
        (Filter::In { path: "_id".into(), values: vec![3_i64.into(), 99_i64.into()] }, |thing| {
            thing.get("_id") == Some(&Bson::from(3_i64))
        }),
        // Of an empty list nothing is one, and everything is none.
        (Filter::In { path: "name".into(), values: vec![] }, |_| false),
        (Filter::In { path: "_id".into(), values: vec![] }, |_| false),
        (Filter::NotIn { path: "name".into(), values: vec![] }, |_| true),
        (
            Filter::Or(vec![
                eq("live", false),
                Filter::And(vec![eq("name", "thing 2"), eq("stock", Bson::Null)]),
            ]),
            |thing| {
                thing.get("live") == Some(&Bson::from(false))
                    || (thing.get("name") == Some(&Bson::from("thing 2"))
                        && matches!(thing.get("stock"), None | Some(Bson::Null)))
            },
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_finds_and_counts_what_it_says() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        for (filter, test) in filters() {
            let expected = matching(&things(), test);
            let found = ids(&walk(&shop, Find::new(filter.clone(), 100)).await);
            assert_eq!(found, expected, "{filter:?} on {backend:?}");
            assert_eq!(
                shop.count(&filter).await.unwrap(),
                expected.len() as u64,
                "{filter:?} on {backend:?}"
            );
        }
        assert_eq!(shop.estimated_count().await.unwrap(), 40);
    }
}

/// What a document is sorted by: null and absent are one, and below all numbers and texts.
fn key(thing: &Document, path: &str) -> (u8, f64, String) {
    let value = match path.split_once('.') {
        Some((outer, inner)) => {
            thing.get_document(outer).ok().and_then(|inner_document| inner_document.get(inner))
        }
        None => thing.get(path),
    };
    match value {
        None | Some(Bson::Null) => (0, 0.0, String::new()),
        Some(Bson::String(text)) => (2, 0.0, text.clone()),
        Some(Bson::DateTime(instant)) => (3, instant.timestamp_millis() as f64, String::new()),
        Some(_) => (1, number(thing, path).unwrap(), String::new()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_are_the_whole_sorted_list() {
    let orders: [&[&str]; 9] = [
        &[],
        &["-_id"],
        &["price"],
        &["-price"],
        &["-stock", "name"],
        &["name", "-rating"],
        &["maker.country", "-added", "price"],
        &["-live", "_id"],
        &["stock", "-_id", "name"],
    ];
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        for order in orders {
            let mut expected = things();
            expected.sort_by(|a, b| {
                for path in order.iter().chain(&["_id"]) {
                    let (path, descending) =
                        path.strip_prefix('-').map_or((*path, false), |path| (path, true));
                    let order = match path {
                        "live" => a.get_bool(path).unwrap().cmp(&b.get_bool(path).unwrap()),
                        _ => key(a, path).partial_cmp(&key(b, path)).unwrap(),
                    };
                    let order = if descending { order.reverse() } else { order };
                    if order.is_ne() {
                        return order;
                    }
                }
                std::cmp::Ordering::Equal
            });
            let expected = matching(&expected, |_| true);
            for limit in [1, 3, 7, 39, 40, 100] {
                let find = Find { sort: sort(order), ..Find::new(Filter::All, limit) };
                let found = ids(&walk(&shop, find).await);
                assert_eq!(found, expected, "{order:?} by {limit} on {backend:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_full_exactly_is_the_last() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        assert!(shop.find(&Find::new(Filter::All, 40)).await.unwrap().next.is_none());
        assert!(shop.find(&Find::new(Filter::All, 39)).await.unwrap().next.is_some());
        let none = shop.find(&Find::new(eq("name", "nobody"), 5)).await.unwrap();
        assert!(none.items.is_empty() && none.next.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_documents_ends_early_and_the_next_goes_on() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.collection(super::backend::schema());
        for id in 0..7_i64 {
            shop.insert(doc! { "_id": id, "name": "x".repeat(5 << 20) }).await.unwrap();
        }
        let page = shop.find(&Find::new(Filter::All, 100)).await.unwrap();
        assert_eq!(ids(&page.items), [0, 1, 2, 3], "{backend:?}");
        let rest = shop.find(&Find { after: page.next, ..Find::new(Filter::All, 100) }).await.unwrap();
        assert_eq!((ids(&rest.items), rest.next.is_none()), (vec![4, 5, 6], true), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_written_between_pages_neither_repeat_nor_hide_others() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        let mut find = Find { sort: sort(&["-name"]), ..Find::new(Filter::All, 10) };
        let first = shop.find(&find).await.unwrap();
        let seen = ids(&first.items);
        shop.delete(&Id::Int(seen[9]), &larder::document::Expect::Any).await.unwrap();
        shop.insert(doc! { "_id": 1_000_i64, "name": "zzz, before the first page" }).await.unwrap();
        find.after = first.next;
        let rest = ids(&walk(&shop, find).await);
        let mut all: Vec<i64> = seen.into_iter().chain(rest).collect();
        all.sort_unstable();
        assert_eq!(all, (0..40).collect::<Vec<_>>(), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_skips_from_the_beginning() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        let find = Find { offset: 5, sort: sort(&["-_id"]), ..Find::new(Filter::All, 3) };
        assert_eq!(ids(&shop.find(&find).await.unwrap().items), [34, 33, 32], "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_keeps_the_paths_and_the_id_and_pages_go_on() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        let fields = Some(vec!["maker.country".to_owned(), "parts.no".to_owned(), "name".to_owned()]);
        let find = Find { fields, sort: sort(&["price"]), ..Find::new(Filter::All, 7) };
        let found = walk(&shop, find).await;
        assert_eq!(found.len(), 40, "{backend:?}");
        let eight =
            found.iter().map(document).find(|thing| thing.get("_id") == Some(&Bson::from(8_i64))).unwrap();
        let parts = vec![doc! { "no": 8 }, doc! { "no": 100 }];
        assert_eq!(
            eight,
            doc! { "_id": 8_i64, "name": "thing 1", "maker": { "country": "DK" }, "parts": parts },
            "{backend:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arrays_sort_by_their_smallest_or_largest_element() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let schema = super::backend::schema();
        let shop = place.collection(schema);
        let things = [
            doc! { "_id": 0_i64, "tags": ["c", "g"] },
            doc! { "_id": 1_i64, "tags": ["b", "h"] },
            doc! { "_id": 2_i64, "tags": ["d"] },
            doc! { "_id": 3_i64 },
            doc! { "_id": 4_i64, "tags": ["a", "i"] },
        ];
        shop.insert_many(&things).await.unwrap();
        for (order, expected) in [("tags", [3, 4, 1, 0, 2]), ("-tags", [4, 1, 0, 2, 3])] {
            let find = Find { sort: sort(&[order]), ..Find::new(Filter::All, 2) };
            assert_eq!(ids(&walk(&shop, find).await), expected, "{order} on {backend:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_every_kind_order_and_page() {
    use larder::document::{IdType, Schema};
    for backend in Backend::ALL {
        let place = backend.place().await;
        let texts = place.collection(Schema::new(unique("texts"), IdType::String));
        let names = ["b", "a", "ab", "é", "Z", "10", "9", "a b", "日本"];
        let documents: Vec<Document> = names.iter().map(|name| doc! { "_id": *name }).collect();
        texts.insert_many(&documents).await.unwrap();
        let mut expected = names;
        expected.sort_unstable();
        let found = walk(&texts, Find::new(Filter::All, 2)).await;
        let found: Vec<String> =
            found.iter().map(|raw| document(raw).get_str("_id").unwrap().to_owned()).collect();
        assert_eq!(found, expected, "{backend:?}");

        let objects = place.collection(Schema::new(unique("objects"), IdType::ObjectId));
        let made: Vec<ObjectId> =
            (0..9).map(|n| ObjectId::from_bytes([n * 30, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, n])).collect();
        let documents: Vec<Document> = made.iter().rev().map(|id| doc! { "_id": *id }).collect();
        objects.insert_many(&documents).await.unwrap();
        let found = walk(&objects, Find::new(Filter::All, 4)).await;
        let found: Vec<ObjectId> =
            found.iter().map(|raw| document(raw).get_object_id("_id").unwrap()).collect();
        assert_eq!(found, made, "{backend:?}");
        let last = objects.find(&Find::new(compare("_id", CompareOp::Gte, made[7]), 9)).await.unwrap();
        assert_eq!(last.items.len(), 2, "{backend:?}");
    }
}
