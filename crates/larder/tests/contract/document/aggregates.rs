//! Named aggregations: the same numbers, of the same types, in the same order.

use std::collections::BTreeMap;

use bson::{Bson, Document, doc};
use larder::{
    ErrorKind,
    document::{Collection, FieldType, IdType, Pipeline, Schema, Variable},
};

use super::backend::{Backend, decimal, document, unique};

async fn run(collection: &Collection, name: &str, values: &[(&str, Bson)]) -> Vec<Document> {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    collection.aggregate(name, &values).await.unwrap().iter().map(document).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_sum_in_the_widest_type() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let groups = run(&place.shop().await, "by_country", &[]).await;
        let countries: Vec<_> = groups.iter().map(|group| group.get("_id").cloned().unwrap()).collect();
        assert_eq!(countries, [Bson::Null, "DK".into(), "NO".into(), "SE".into()], "{backend:?}");
        let things: i32 = groups.iter().map(|group| group.get_i32("things").unwrap()).sum();
        assert_eq!(things, 40, "{backend:?}");
        for group in &groups {
            assert!(
                matches!(group.get("worth"), Some(Bson::Decimal128(_) | Bson::Int32(0))),
                "{backend:?}: {group}"
            );
            assert!(matches!(group.get("cheapest"), Some(Bson::Decimal128(_))), "{backend:?}: {group}");
            assert!(matches!(group.get("last"), Some(Bson::String(_))), "{backend:?}: {group}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_bind_by_type_and_have_defaults() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let shop = place.shop().await;
        let dearest = run(&shop, "dearest", &[("most", 2.into())]).await;
        assert_eq!(dearest.len(), 2, "{backend:?}");
        assert_eq!(
            dearest[0],
            doc! { "_id": 26_i64, "name": "thing 5", "price": decimal("8.20") },
            "{backend:?}"
        );
        assert_eq!(
            run(&shop, "dearest", &[("most", 9.into()), ("stock", 99.into())]).await.len(),
            0,
            "{backend:?}"
        );
        let refused = async |values: &[(&str, Bson)]| {
            let values: BTreeMap<_, _> =
                values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            let error = shop.aggregate("dearest", &values).await.unwrap_err();
            (error.kind(), error.field().unwrap_or_default().to_owned())
        };
        assert_eq!(refused(&[]).await, (ErrorKind::Invalid, "most".to_owned()));
        assert_eq!(refused(&[("most", "2".into())]).await, (ErrorKind::Invalid, "most".to_owned()));
        assert_eq!(
            refused(&[("most", 2.into()), ("x", 2.into())]).await,
            (ErrorKind::Invalid, "x".to_owned())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_of_documents_that_cannot_be_is_refused_by_its_name() {
    let number = |name: &str| Variable { name: name.into(), field_type: FieldType::Int, default: None };
    let stages = [
        ("$sort", doc! { "_id": 1 }),
        ("$skip", doc! { "$var": "past" }),
        ("$limit", doc! { "$var": "most" }),
    ];
    let stages = stages.map(|(operator, spec)| doc! { operator: spec });
    let page = Pipeline::new("page", stages.to_vec(), vec![number("past"), number("most")]).unwrap();
    for backend in Backend::ALL {
        let place = backend.place().await;
        let collection = place.collection(Schema::new(unique("few"), IdType::Int).pipeline(page.clone()));
        collection.insert_many(&[doc! { "_id": 1_i64 }, doc! { "_id": 2_i64 }]).await.unwrap();
        for (past, most, outcome) in [
            (0, 1, Ok(1)),
            (1, i64::MAX, Ok(1)),
            (i64::MAX, 1, Ok(0)),
            (0, 0, Err("most")),
            (0, -1, Err("most")),
            (-1, 1, Err("past")),
            (i64::MIN, 1, Err("past")),
        ] {
            let values =
                [("past", past), ("most", most)].map(|(name, value)| (name.to_owned(), value.into()));
            let answer = collection.aggregate("page", &BTreeMap::from(values)).await;
            let told = answer.as_ref().map(Vec::len).map_err(|error| error.field().unwrap_or_default());
            assert_eq!(told, outcome, "{past}, {most} on {backend:?}: {answer:?}");
            assert!(answer.is_ok() || answer.is_err_and(|error| error.kind() == ErrorKind::Invalid));
        }
    }
}

/// Stages on one small collection, and what comes out.
fn cases() -> Vec<(Vec<Document>, Vec<Document>)> {
    let sum = |operand: Bson| vec![doc! { "$group": { "_id": Bson::Null, "v": { "$sum": operand } } }];
    let total = |value: Bson| vec![doc! { "_id": Bson::Null, "v": value }];
    vec![
        (sum(1.into()), total(4.into())),
        (sum("$i".into()), total(6.into())),
        (sum("$l".into()), total(7_i64.into())),
        (sum("$d".into()), total(3.75.into())),
        (sum("$m".into()), total(decimal("4.00"))),
        (sum("$absent".into()), total(0.into())),
        (
            vec![
                doc! { "$group": { "_id": "$k", "i": { "$avg": "$i" }, "n": { "$sum": 1 } } },
                doc! { "$sort": { "_id": 1 } },
            ],
            vec![doc! { "_id": "a", "i": 1.5, "n": 2 }, doc! { "_id": "b", "i": 3.0, "n": 2 }],
        ),
        (
            vec![
                doc! { "$match": { "_id": { "$in": [1_i64, 3_i64] } } },
                doc! { "$sort": { "_id": -1 } },
                doc! { "$project": { "_id": 0, "i": 1, "twice": { "$multiply": ["$i", 2] }, "sum": { "$add": ["$i", "$d"] } } },
            ],
            vec![doc! { "i": 3, "twice": 6, "sum": 5.0 }, doc! { "i": 1, "twice": 2, "sum": 1.5 }],
        ),
        (
            vec![
                doc! { "$unwind": "$t" },
                doc! { "$group": { "_id": "$t", "n": { "$sum": 1 }, "who": { "$push": "$i" } } },
                doc! { "$sort": { "n": -1, "_id": 1 } },
                doc! { "$limit": 2 },
            ],
            vec![doc! { "_id": "x", "n": 2, "who": [1, 2] }, doc! { "_id": "y", "n": 1, "who": [2] }],
        ),
        (
            vec![
                doc! { "$sort": { "i": 1 } },
                doc! { "$skip": 1 },
                doc! { "$limit": 1 },
                doc! { "$project": { "t": 0, "m": 0, "d": 0, "l": 0 } },
            ],
            vec![doc! { "_id": 1_i64, "k": "a", "i": 1 }],
        ),
        (vec![doc! { "$match": { "t": "x" } }, doc! { "$count": "n" }], vec![doc! { "n": 2 }]),
        (
            vec![
                doc! { "$match": { "_id": 2_i64 } },
                doc! { "$addFields": { "half": { "$divide": ["$i", 4] }, "no": { "$ifNull": ["$absent", "none"] } } },
                doc! { "$project": { "half": 1, "no": 1 } },
            ],
            vec![doc! { "_id": 2_i64, "half": 0.5, "no": "none" }],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_answer_the_same_everywhere() {
    for backend in Backend::ALL {
        let place = backend.place().await;
        let mut schema = Schema::new(unique("numbers"), IdType::Int).strict(false);
        for (index, (stages, _)) in cases().into_iter().enumerate() {
            schema = schema.pipeline(Pipeline::new(format!("q{index}"), stages, vec![]).unwrap());
        }
        let collection = place.collection(schema);
        let documents = [
            doc! { "_id": 1_i64, "k": "a", "i": 1, "l": 1_i64, "d": 0.5, "m": decimal("1.50"), "t": ["x"] },
            doc! { "_id": 2_i64, "k": "a", "i": 2, "l": 2_i64, "d": 1.25, "m": decimal("2.50"), "t": ["x", "y"] },
            doc! { "_id": 3_i64, "k": "b", "i": 3, "l": 4, "d": 2.0, "t": [] },
            doc! { "_id": 4_i64, "k": "b", "i": Bson::Null, "d": "text" },
        ];
        collection.insert_many(&documents).await.unwrap();
        for (index, (stages, expected)) in cases().into_iter().enumerate() {
            let found = run(&collection, &format!("q{index}"), &[]).await;
            assert_eq!(found, expected, "{stages:?} on {backend:?}");
        }
    }
}
