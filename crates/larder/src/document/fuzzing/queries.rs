//! Lists, cursors and named aggregations.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bson::{Bson, Document, RawDocumentBuf, doc};
use serde_json::Value;

use super::{schema, written};
use crate::{
    Error, ErrorKind,
    document::{
        CursorKey, FieldType, Filter, Find, Pipeline, Position, Query, QueryLimits, QueryParser, Variable,
        aggregate::{Flow, Run, read_stages},
        matches::Matcher,
        raw,
    },
};

/// A query that was understood keeps to its limits, can be run, and reads back from its own text. One pair a line.
pub fn filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let pairs: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('=')).collect();
    with_parser(&QueryLimits::default(), |parser| {
        if let Ok(query) = parser.parse(pairs.iter().copied()) {
            check(&query);
        }
    });
}

/// The same of a query from a body; and no name with a `$` came in that is not an operator or a typed value.
pub fn query_body(data: &[u8]) {
    with_parser(&QueryLimits::default(), |parser| {
        let Ok(query) = parser.parse_body(data) else { return };
        check(&query);
        let body: Value = serde_json::from_slice(data).expect("what was understood is JSON");
        assert!(names_are_known(&body), "{body}");
    });
}

fn with_parser(limits: &QueryLimits, check: impl FnOnce(&QueryParser<'_>)) {
    let schema = schema();
    check(&QueryParser::new(&schema).limits(limits).visible(&|path| path != "weight"));
}

fn check(query: &Query) {
    let limits = QueryLimits::default();
    assert!((1..=limits.max_limit).contains(&query.limit) && query.offset <= limits.max_offset);
    assert!(conditions(&query.filter) <= limits.max_conditions);
    let matcher = Matcher::new(&query.filter).expect("a filter that was read can be run");
    for document in documents() {
        matcher.matches(document.as_bytes()).expect("the document is sound");
    }
    // Quotes and groups make the text longer than what was asked for.
    let wide = QueryLimits { max_bytes: 1 << 20, max_depth: 16, ..limits };
    with_parser(&wide, |parser| {
        // Not everything has a word in a URL: null among others, an empty list.
        if let Some(pairs) = written::pairs(query) {
            assert_eq!(parser.parse(pairs.clone()).as_ref().ok(), Some(query), "{pairs:?}");
        }
        if let Some(body) = written::body(query) {
            assert_eq!(parser.parse_body(body.to_string().as_bytes()).as_ref().ok(), Some(query), "{body}");
        }
    });
}

fn names_are_known(value: &Value) -> bool {
    const KNOWN: [&str; 17] = [
        "$eq",
        "$ne",
        "$gt",
        "$gte",
        "$lt",
        "$lte",
        "$in",
        "$nin",
        "$exists",
        "$and",
        "$or",
        "$oid",
        "$date",
        "$numberDecimal",
        "$numberInt",
        "$numberLong",
        "$numberDouble",
    ];
    match value {
        Value::Object(members) => members.iter().all(|(name, value)| {
            (!name.starts_with('$') || KNOWN.contains(&&**name)) && names_are_known(value)
        }),
        Value::Array(elements) => elements.iter().all(names_are_known),
        _ => true,
    }
}

fn conditions(filter: &Filter) -> usize {
    match filter {
        Filter::All => 0,
        Filter::And(parts) | Filter::Or(parts) => parts.iter().map(conditions).sum(),
        Filter::Compare { path, .. }
        | Filter::Exists { path, .. }
        | Filter::Prefix { path, .. }
        | Filter::Text { path, .. } => {
            assert_ne!(path, "weight", "a hidden field was filtered by");
            1
        }
        Filter::In { values, .. } | Filter::NotIn { values, .. } => {
            assert!(values.len() <= QueryLimits::default().max_list);
            1
        }
    }
}

/// Nothing that was not sealed opens; what is sealed opens as the same position, and for its own query alone.
pub fn cursor(data: &[u8]) {
    let key = CursorKey::new(b"secret");
    let find = Find::new(Filter::All, 10);
    let opened = std::str::from_utf8(data).ok().map(|text| key.open("things", &find, b"role", text));
    assert!(opened.is_none_or(|opened| opened.is_err()), "a cursor was made up");
    // With the right seal, so that the reader behind it is reached.
    let Ok(cursor) = key.seal_bytes("things", &find, b"role", data) else { return };
    assert!(key.open("others", &find, b"role", &cursor).is_err());
    let Ok(position) = key.open("things", &find, b"role", &cursor) else { return };
    let cursor = key.seal("things", &find, b"role", &position).expect("what was opened can be sealed");
    let again = key.open("things", &find, b"role", &cursor).expect("what was sealed can be opened");
    let bytes = |Position(values): &Position| bson::serialize_to_vec(&doc! { "p": values.clone() }).ok();
    assert_eq!(bytes(&again), bytes(&position));
}

/// A declared pipeline runs: on whatever documents come it answers sound ones, the same each time, or says why not.
pub fn pipeline(data: &[u8]) {
    let Ok(stages) = serde_json::from_slice::<Vec<Document>>(data) else { return };
    let variables = vec![
        Variable { name: "text".into(), field_type: FieldType::String, default: Some("$name".into()) },
        Variable { name: "count".into(), field_type: FieldType::Int, default: Some(2.into()) },
    ];
    let pipeline = match Pipeline::new("fuzzed", stages, variables) {
        Ok(pipeline) => pipeline,
        Err(error) => return assert_eq!(error.kind(), ErrorKind::Config, "{error}"),
    };
    let bound = pipeline.bind(&BTreeMap::new()).expect("every variable has a default");
    match (run(&bound), run(&bound)) {
        (Ok(rows), Ok(again)) => {
            assert_eq!(rows, again);
            assert!(rows.len() <= MOST_ROWS);
            rows.iter().for_each(|row| assert_eq!(raw::validate(row.as_bytes()), Ok(())));
        }
        (first, second) => {
            for error in [first.err(), second.err()].into_iter().flatten() {
                use ErrorKind::{Invalid, Timeout, TooLarge};
                assert!(matches!(error.kind(), Invalid | Timeout | TooLarge), "{error}");
            }
        }
    }
}

const MOST_ROWS: usize = 100;

fn run(stages: &[Document]) -> Result<Vec<RawDocumentBuf>, Error> {
    let deadline = Instant::now() + Duration::from_millis(500);
    let stages = read_stages(stages).expect("the stages were read when the pipeline was declared");
    let mut run = Run::new(stages, MOST_ROWS, Some(deadline))?;
    for document in documents() {
        if run.push(document)? == Flow::Enough {
            break;
        }
    }
    run.finish()
}

fn documents() -> Vec<RawDocumentBuf> {
    let documents = [
        doc! { "_id": 1_i64, "name": "a", "stock": 3, "price": 1.5, "tags": ["x", "y"], "maker": { "name": "b" } },
        doc! { "_id": 2_i64, "name": "$name", "stock": i64::MAX, "parts": [{ "count": 1 }, { "count": Bson::Null }] },
        doc! { "_id": 3_i64, "stock": f64::NAN, "tags": [], "added": bson::DateTime::from_millis(i64::MIN) },
    ];
    documents
        .iter()
        .map(|document| RawDocumentBuf::try_from(document).expect("the document is sound"))
        .collect()
}
