//! Each stage and expression of an aggregation, on documents in memory.

use std::time::Instant;

use bson::{Bson, Document, RawDocumentBuf, doc};

use super::{Run, read_stages, run::Flow};
use crate::{Error, ErrorKind};

fn aggregate(documents: &[Document], stages: &[Document]) -> Result<Vec<Document>, Error> {
    let mut run = Run::new(read_stages(stages)?, 1_000, None)?;
    for document in documents {
        if run.push(RawDocumentBuf::try_from(document).unwrap())? == Flow::Enough {
            break;
        }
    }
    Ok(run.finish()?.iter().map(|raw| Document::try_from(raw.as_ref()).unwrap()).collect())
}

fn one(document: Document, stage: Document) -> Document {
    let mut out = aggregate(&[document], &[stage]).unwrap();
    assert_eq!(out.len(), 1);
    out.remove(0)
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse().unwrap())
}

/// The value of an expression on a document.
fn value(document: Document, expression: impl Into<Bson>) -> Bson {
    let out =
        one(document, doc! { "$project": { "_id": 0, "v": { "$ifNull": [expression.into(), "none"] } } });
    out.get("v").cloned().unwrap()
}

#[test]
fn arithmetic_answers_in_the_widest_type() {
    let document = doc! { "i": 3, "l": 4_i64, "d": 0.5, "m": decimal("1.50"), "n": Bson::Null, "t": bson::DateTime::from_millis(9) };
    let cases: [(Bson, Bson); 17] = [
        (doc! { "$add": ["$i", 1] }.into(), 4.into()),
        (doc! { "$add": [i32::MAX, 1] }.into(), (i64::from(i32::MAX) + 1).into()),
        (doc! { "$add": [i64::MAX, 1] }.into(), (i64::MAX as f64 + 1.0).into()),
        (doc! { "$add": ["$i", "$l"] }.into(), 7_i64.into()),
        (doc! { "$add": ["$i", "$d"] }.into(), 3.5.into()),
        (doc! { "$add": ["$m", "$i"] }.into(), decimal("4.50")),
        (doc! { "$add": ["$i", "$n"] }.into(), "none".into()),
        (doc! { "$add": ["$i", "$absent"] }.into(), "none".into()),
        (doc! { "$add": ["$t", 1] }.into(), bson::DateTime::from_millis(10).into()),
        (doc! { "$subtract": ["$t", "$t"] }.into(), 0_i64.into()),
        (doc! { "$multiply": ["$m", "$i", 2] }.into(), decimal("9.00")),
        (doc! { "$multiply": ["$i", "$l"] }.into(), 12_i64.into()),
        (doc! { "$divide": ["$i", 2] }.into(), 1.5.into()),
        (doc! { "$divide": [6, 3] }.into(), 2.0.into()),
        (doc! { "$round": [2.345, 2] }.into(), 2.34.into()),
        (doc! { "$round": [decimal("2.5")] }.into(), decimal("2")),
        (doc! { "$round": [155, -1] }.into(), 160.into()),
    ];
    for (expression, expected) in cases {
        assert_eq!(value(document.clone(), expression.clone()), expected, "{expression}");
    }
    let by_zero = aggregate(&[document], &[doc! { "$project": { "v": { "$divide": ["$i", 0] } } }]);
    assert_eq!(by_zero.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn fields_choices_and_literals() {
    let document = doc! { "a": [{ "b": 1 }, { "b": 2 }, { "c": 3 }], "s": "x", "z": 0 };
    let cases: [(Bson, Bson); 8] = [
        ("$a.b".into(), vec![1, 2].into()),
        (doc! { "$size": "$a" }.into(), 3.into()),
        (doc! { "$cond": ["$z", "yes", "no"] }.into(), "no".into()),
        (doc! { "$cond": { "if": { "$gt": [1, "$z"] }, "then": "$s", "else": 1 } }.into(), "x".into()),
        (doc! { "$literal": "$s" }.into(), "$s".into()),
        (doc! { "$concat": ["$s", "-", "y"] }.into(), "x-y".into()),
        (doc! { "k": "$s", "absent": "$q" }.into(), doc! { "k": "x" }.into()),
        (doc! { "$and": [true, { "$not": ["$z"] }] }.into(), true.into()),
    ];
    for (expression, expected) in cases {
        assert_eq!(value(document.clone(), expression.clone()), expected, "{expression}");
    }
}

#[test]
fn groups_gather_values_and_keep_number_types() {
    let documents = [
        doc! { "k": 1, "i": 1, "d": 0.1, "m": decimal("1.10"), "s": "b" },
        doc! { "k": 1.0, "i": 2, "d": 0.2, "m": decimal("2.20"), "s": "a" },
        doc! { "i": 5, "d": "text" },
        doc! { "k": Bson::Null, "i": 6_i64, "s": "c" },
    ];
    let group = doc! { "$group": {
        "_id": "$k", "n": { "$sum": 1 }, "i": { "$sum": "$i" }, "d": { "$sum": "$d" }, "m": { "$sum": "$m" },
        "avg": { "$avg": "$i" }, "avg_m": { "$avg": "$m" }, "min": { "$min": "$s" }, "max": { "$max": "$s" },
        "first": { "$first": "$s" }, "last": { "$last": "$s" }, "all": { "$push": "$s" }, "count": { "$count": {} },
    } };
    let groups = aggregate(&documents, &[group, doc! { "$sort": { "_id": 1 } }]).unwrap();
    let expected = [
        doc! { "_id": Bson::Null, "n": 2, "i": 11_i64, "d": 0, "m": 0, "avg": 5.5, "avg_m": Bson::Null, "min": "c",
        "max": "c", "first": Bson::Null, "last": "c", "all": ["c"], "count": 2 },
        doc! { "_id": 1, "n": 2, "i": 3, "d": 0.30000000000000004, "m": decimal("3.30"), "avg": 1.5,
        "avg_m": decimal("1.65"), "min": "a", "max": "b", "first": "b", "last": "a", "all": ["b", "a"], "count": 2 },
    ];
    assert_eq!(groups, expected);
}

#[test]
fn sums_of_doubles_do_not_depend_on_the_order() {
    let numbers = [1e16, 1.0, -1e16, 1.0];
    let sum = |numbers: &[f64]| {
        let documents: Vec<Document> = numbers.iter().map(|n| doc! { "n": *n }).collect();
        let group = doc! { "$group": { "_id": Bson::Null, "n": { "$sum": "$n" } } };
        aggregate(&documents, &[group]).unwrap()[0].get_f64("n").unwrap()
    };
    let reversed: Vec<f64> = numbers.iter().rev().copied().collect();
    assert_eq!((sum(&numbers), sum(&reversed)), (2.0, 2.0));
}

#[test]
fn documents_are_reshaped() {
    let document = doc! { "_id": 1, "a": { "b": 1, "c": 2 }, "t": ["x", "y"], "z": 3 };
    let cases = [
        (doc! { "$project": { "z": 1, "a.c": 1 } }, doc! { "_id": 1, "a": { "c": 2 }, "z": 3 }),
        (doc! { "$project": { "_id": 0, "z": true, "new": "$a.b" } }, doc! { "z": 3, "new": 1 }),
        (doc! { "$project": { "a": { "b": 0 }, "t": 0 } }, doc! { "_id": 1, "a": { "c": 2 }, "z": 3 }),
        (doc! { "$unset": ["a", "t"] }, doc! { "_id": 1, "z": 3 }),
        (
            doc! { "$addFields": { "a.d": "$z", "z": 4, "gone": "$absent" } },
            doc! { "_id": 1, "a": { "b": 1, "c": 2, "d": 3 }, "t": ["x", "y"], "z": 4 },
        ),
        // What comes to no value takes the field away, and an object sets what it names.
        (
            doc! { "$addFields": { "z": "$absent", "a": { "b": "$absent", "d": { "e": "$z" } } } },
            doc! { "_id": 1, "a": { "c": 2, "d": { "e": 3 } }, "t": ["x", "y"] },
        ),
    ];
    for (stage, expected) in cases {
        assert_eq!(one(document.clone(), stage.clone()), expected, "{stage}");
    }
}

#[test]
fn unwinding_drops_what_has_no_element_unless_told_to_keep_it() {
    let documents = [
        doc! { "_id": 1, "t": ["x", "y"] },
        doc! { "_id": 2, "t": [] },
        doc! { "_id": 3 },
        doc! { "_id": 4, "t": "z" },
    ];
    let plain = aggregate(&documents, &[doc! { "$unwind": "$t" }]).unwrap();
    assert_eq!(
        plain,
        [doc! { "_id": 1, "t": "x" }, doc! { "_id": 1, "t": "y" }, doc! { "_id": 4, "t": "z" }]
    );
    // An array on the way is not entered.
    let deep = [doc! { "_id": 1, "a": [{ "b": 1 }, { "b": 2 }] }, doc! { "_id": 2, "a": { "b": [3] } }];
    let found = aggregate(&deep, &[doc! { "$unwind": "$a.b" }]).unwrap();
    assert_eq!(found, [doc! { "_id": 2, "a": { "b": 3 } }]);
    let options = doc! { "path": "$t", "preserveNullAndEmptyArrays": true, "includeArrayIndex": "i" };
    let kept = aggregate(&documents[1..], &[doc! { "$unwind": options }]).unwrap();
    assert_eq!(
        kept,
        [
            doc! { "_id": 2, "i": Bson::Null },
            doc! { "_id": 3, "i": Bson::Null },
            doc! { "_id": 4, "t": "z", "i": Bson::Null },
        ]
    );
}

#[test]
fn limits_skips_sorts_and_counts_follow_their_order() {
    let documents: Vec<Document> = (0..500).map(|n| doc! { "_id": n, "k": n % 7 }).collect();
    let ids = |stages: &[Document]| -> Vec<i32> {
        aggregate(&documents, stages)
            .unwrap()
            .iter()
            .map(|document| document.get_i32("_id").unwrap())
            .collect()
    };
    let sort = doc! { "$sort": { "k": -1, "_id": 1 } };
    assert_eq!(ids(&[sort.clone(), doc! { "$limit": 3 }]), [6, 13, 20]);
    assert_eq!(ids(&[sort.clone(), doc! { "$skip": 2 }, doc! { "$limit": 2 }]), [20, 27]);
    assert_eq!(ids(&[doc! { "$limit": 2 }, sort]), [1, 0]);
    let count = [doc! { "$match": { "k": { "$in": [1, 2] } } }, doc! { "$count": "n" }];
    assert_eq!(aggregate(&documents, &count).unwrap(), [doc! { "n": 144 }]);
    assert!(
        aggregate(&documents, &[doc! { "$match": { "k": 9 } }, doc! { "$count": "n" }]).unwrap().is_empty()
    );
}

#[test]
fn what_is_not_allowed_is_refused_by_name_at_any_depth() {
    let cases = [
        (doc! { "$out": "x" }, "`$out`"),
        (doc! { "$merge": { "into": "x" } }, "`$merge`"),
        (doc! { "$lookup": { "from": "x" } }, "`$lookup`"),
        (doc! { "$match": { "$where": "1" } }, "`$where`"),
        (doc! { "$match": { "$expr": { "$function": {} } } }, "`$expr`"),
        (doc! { "$match": { "$or": [{ "a": 1 }, { "$and": [{ "$where": "1" }] }] } }, "`$where`"),
        (doc! { "$match": { "a": { "$regex": "x" } } }, "`$regex`"),
        (doc! { "$match": { "a": { "$not": { "$where": "x" } } } }, "`$not`"),
        (doc! { "$project": { "x": { "$function": { "body": "f" } } } }, "`$function`"),
        (
            doc! { "$addFields": { "x": { "$add": [1, { "$cond": [true, { "$accumulator": {} }, 1] }] } } },
            "`$accumulator`",
        ),
        (doc! { "$group": { "_id": { "$getField": "x" } } }, "`$getField`"),
        (doc! { "$group": { "_id": 1, "x": { "$accumulator": {} } } }, "`$accumulator`"),
        (doc! { "$group": { "_id": 1, "x": { "$sum": { "$function": {} } } } }, "`$function`"),
        (doc! { "$project": { "x": "$$NOW" } }, "`$$NOW`"),
        (doc! { "$sort": { "a": { "$meta": "textScore" } } }, "1 or -1"),
        (doc! { "$limit": -1 }, "$limit"),
        (doc! { "$limit": 0 }, "$limit"),
        (doc! { "$skip": 1.0 }, "$skip"),
        (doc! { "$match": {}, "$limit": 1 }, "one operator"),
    ];
    for (stage, named) in cases {
        let error = read_stages(std::slice::from_ref(&stage)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{stage}");
        assert!(error.to_string().contains(named), "{stage}: {error}");
    }
}

#[test]
fn a_run_ends_when_its_answer_is_full() {
    let documents = vec![doc! { "n": [1, 2, 3] }; 1_001];
    assert_eq!(aggregate(&documents, &[doc! { "$unwind": "$n" }]).unwrap().len(), 1_000);
}

#[test]
fn a_pipeline_that_holds_too_much_is_stopped() {
    let documents = vec![doc! { "text": "x".repeat(1 << 20) }; 101];
    let group = doc! { "$group": { "_id": Bson::Null, "all": { "$push": "$text" } } };
    assert_eq!(aggregate(&documents, &[group]).unwrap_err().kind(), ErrorKind::TooLarge);
}

mod binding {
    use std::collections::BTreeMap;

    use super::*;
    use crate::document::{FieldType, Pipeline, Variable};

    fn variable(name: &str, field_type: FieldType, default: Option<Bson>) -> Variable {
        Variable { name: name.into(), field_type, default }
    }

    fn values(pairs: &[(&str, Bson)]) -> BTreeMap<String, Bson> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn values_stand_as_literals_wherever_text_could_mean_more() {
        let pipeline = Pipeline::new(
            "q",
            vec![
                doc! { "$match": { "a": { "$gte": { "$var": "s" } } } },
                doc! { "$project": { "x": { "$var": "s" }, "n": { "$var": "n" } } },
                doc! { "$limit": { "$var": "n" } },
            ],
            vec![variable("s", FieldType::String, None), variable("n", FieldType::Int, Some(3.into()))],
        )
        .unwrap();
        let bound = pipeline.bind(&values(&[("s", "$secret".into())])).unwrap();
        let expected = [
            doc! { "$match": { "a": { "$gte": "$secret" } } },
            doc! { "$project": { "x": { "$literal": "$secret" }, "n": { "$literal": 3 } } },
            doc! { "$limit": 3 },
        ];
        assert_eq!(bound, expected);
    }

    #[test]
    fn a_variable_that_does_not_fit_is_named() {
        let stages = || vec![doc! { "$match": { "a": { "$var": "s" } } }];
        let pipeline = Pipeline::new("q", stages(), vec![variable("s", FieldType::String, None)]).unwrap();
        let wrong = [values(&[]), values(&[("s", 1.into())]), values(&[("s", doc! { "$gt": "" }.into())])];
        for values in wrong {
            let error = pipeline.bind(&values).unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("s")));
        }
        assert_eq!(
            pipeline.bind(&values(&[("s", "x".into()), ("t", 1.into())])).unwrap_err().field(),
            Some("t")
        );
        let counted = |default| {
            let stages = vec![doc! { "$limit": { "$var": "n" } }];
            Pipeline::new("q", stages, vec![variable("n", FieldType::Double, Some(default))])
        };
        let error = counted(3.into()).unwrap().bind(&values(&[("n", 1.5.into())])).unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("n")));
        assert_eq!(counted(0.into()).unwrap_err().kind(), ErrorKind::Config);
        let declared = |variables| Pipeline::new("q", stages(), variables).unwrap_err();
        assert_eq!(declared(vec![]).kind(), ErrorKind::Config);
        assert_eq!(declared(vec![variable("s", FieldType::Any, None)]).kind(), ErrorKind::Config);
    }
}

#[test]
fn a_document_with_many_elements_is_unwound_within_the_deadline() {
    let stages = read_stages(&[doc! { "$unwind": "$n" }]).unwrap();
    let mut run = Run::new(stages, 1_000, Some(Instant::now())).unwrap();
    let numbers: Vec<Bson> = (0..100).map(Bson::Int32).collect();
    let document = RawDocumentBuf::try_from(&doc! { "_id": 1, "n": numbers }).unwrap();
    assert_eq!(run.push(document).unwrap_err().kind(), ErrorKind::Timeout);
}
