//! What a body may say: the same as a query string.

use bson::{Bson, oid::ObjectId};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{compare, filter, schema, tree};
use crate::{
    ErrorKind,
    document::{
        CompareOp, Direction, Field, FieldType, Filter, IdType, Query, QueryLimits, QueryParser, Schema,
        SortKey, fuzzing::written,
    },
};

/// The filter that this text is.
fn filter_of(json: &str) -> Filter {
    let body = format!(r#"{{"filter":{json}}}"#);
    QueryParser::new(&schema())
        .parse_body(body.as_bytes())
        .unwrap_or_else(|error| panic!("{error}: {json}"))
        .filter
}

#[test]
fn a_body_and_a_query_string_that_mean_the_same_are_one_query() {
    let cases: [(&str, &[(&str, &str)]); 18] = [
        ("{}", &[]),
        (r#"{"name":"a"}"#, &[("name", "eq.a")]),
        (r#"{"price":{"gte":10.50,"lt":"50.5"}}"#, &[("price", "gte.10.50"), ("price", "lt.50.5")]),
        (r#"{"stock":-3,"live":{"ne":true}}"#, &[("stock", "eq.-3"), ("live", "ne.true")]),
        (r#"{"added":{"lt":"1970-01-01T00:00:00Z"}}"#, &[("added", "lt.1970-01-01")]),
        (r#"{"added":{"lt":{"$date":"1970-01-01T00:00:00Z"}}}"#, &[("added", "lt.1970-01-01")]),
        (r#"{"price":{"$numberDecimal":"1.10"}}"#, &[("price", "eq.1.10")]),
        (r#"{"_id":{"gt":5}}"#, &[("_id", "gt.5")]),
        (r#"{"tags":{"in":["a","b,\"c",""]}}"#, &[("tags", r#"in.(a,"b,\"c","")"#)]),
        (
            r#"{"maker.name":{"prefix":"ab"},"name":{"nin":["x"]}}"#,
            &[("maker.name", "prefix.ab"), ("name", "nin.(x)")],
        ),
        (r#"{"story":{"text":"red shoes"}}"#, &[("story", "text.red shoes")]),
        (r#"{"name":null,"stock":{"ne":null}}"#, &[("name", "is.null"), ("stock", "not.null")]),
        (r#"{"name":{"eq":null},"tags":{"exists":false}}"#, &[("name", "is.null"), ("tags", "exists.false")]),
        (r#"{"name":"$where"}"#, &[("name", "eq.$where")]),
        (
            r#"{"stock":{"gt":1},"or":[{"name":"a"},{"maker.name":"x.y","stock":{"in":[1,2]}}]}"#,
            &[("stock", "gt.1"), ("or", "(name.eq.a,and(maker.name.eq.x.y,stock.in.(1,2)))")],
        ),
        (r#"{"and":[{"or":[{"stock":1}]}]}"#, &[("and", "(or(stock.eq.1))")]),
        (
            r#"{"$or":[{"stock":{"$gte":1,"$lte":2}},{"$and":[{"name":{"$nin":["a"]}},{"name":{"$exists":true}}]}]}"#,
            &[("or", "(and(stock.gte.1,stock.lte.2),and(name.nin.(a),name.exists.true))")],
        ),
        (
            r#"{"stock":{"$eq":1,"$ne":2,"$gt":3,"$lt":4,"$in":[5]}}"#,
            &[
                ("stock", "eq.1"),
                ("stock", "ne.2"),
                ("stock", "gt.3"),
                ("stock", "lt.4"),
                ("stock", "in.(5)"),
            ],
        ),
    ];
    for (body, pairs) in cases {
        assert_eq!(filter_of(body), filter(pairs), "{body}");
    }
}

#[test]
fn order_page_and_fields_are_read_from_a_body() {
    let body = br#" {"sort":["-price","name"],"limit":7,"after":"abc","fields":["name","maker","extra.deep"],"filter":{}} "#;
    let query = QueryParser::new(&schema()).parse_body(body).unwrap();
    let key = |path: &str, direction| SortKey { path: path.into(), direction };
    assert_eq!(query.sort, [key("price", Direction::Descending), key("name", Direction::Ascending)]);
    assert_eq!((query.limit, query.offset, query.after.as_deref()), (7, 0, Some("abc")));
    assert_eq!(query.fields.unwrap(), ["name", "maker", "extra.deep"]);
    let none = QueryParser::new(&schema()).parse_body(br#"{"sort":[],"offset":3}"#).unwrap();
    assert_eq!((none.filter, none.sort, none.limit, none.offset), (Filter::All, Vec::new(), 50, 3));
}

#[test]
fn numbers_keep_their_exact_text_and_types_of_their_own() {
    let digits = "0.1000000000000000000000000000000001";
    let exact = compare("price", CompareOp::Eq, Bson::Decimal128(digits.parse().unwrap()));
    assert_eq!(filter_of(&format!(r#"{{"price":{digits}}}"#)), exact);
    assert_eq!(filter_of(&format!(r#"{{"price":"{digits}"}}"#)), exact);
    let large = compare("stock", CompareOp::Gt, 9_007_199_254_740_993_i64);
    assert_eq!(filter_of(r#"{"stock":{"gt":9007199254740993}}"#), large);
    assert_eq!(filter_of(r#"{"stock":{"gt":{"$numberLong":"9007199254740993"}}}"#), large);
    // Beyond what a URL can say.
    let values = vec!["a".into(), Bson::Null];
    assert_eq!(filter_of(r#"{"name":{"in":["a",null]}}"#), Filter::In { path: "name".into(), values });
    assert_eq!(filter_of(r#"{"name":{"in":[]}}"#), Filter::In { path: "name".into(), values: vec![] });
    let id = ObjectId::parse_str("0123456789abcdef01234567").unwrap();
    let schema = Schema::new("x", IdType::ObjectId);
    for json in [r#""0123456789abcdef01234567""#, r#"{"$oid":"0123456789abcdef01234567"}"#] {
        let body = format!(r#"{{"filter":{{"_id":{{"$in":[{json}]}}}}}}"#);
        let query = QueryParser::new(&schema).parse_body(body.as_bytes()).unwrap();
        assert_eq!(query.filter, Filter::In { path: "_id".into(), values: vec![id.into()] });
    }
}

#[test]
fn a_field_that_is_called_as_a_group_is_compared_as_any_other() {
    let schema = Schema::new("x", IdType::Int).field(Field::new("or", FieldType::Int).filterable());
    let parse = |body: &str| QueryParser::new(&schema).parse_body(body.as_bytes());
    assert_eq!(parse(r#"{"filter":{"or":1}}"#).unwrap().filter, compare("or", CompareOp::Eq, 1));
    assert_eq!(parse(r#"{"filter":{"or":{"gt":1}}}"#).unwrap().filter, compare("or", CompareOp::Gt, 1));
    let group = Filter::Or(vec![compare("or", CompareOp::Eq, 1)]);
    assert_eq!(parse(r#"{"filter":{"or":[{"or":1}]}}"#).unwrap().filter, group);
    assert_eq!(QueryParser::new(&schema).parse([("or", "(or.eq.1)")]).unwrap().filter, group);
    // Of one that is hidden nothing is said.
    let hidden =
        QueryParser::new(&schema).visible(&|_| false).parse_body(br#"{"filter":{"or":1}}"#).unwrap_err();
    let absent = QueryParser::new(&super::schema()).parse_body(br#"{"filter":{"or":1}}"#).unwrap_err();
    assert_eq!(hidden.to_string(), absent.to_string());
}

#[test]
fn a_refusal_of_a_body_names_the_place_and_the_fix() {
    let many = format!(r#"{{"stock":{{"in":[{}1]}}}}"#, "1,".repeat(100));
    let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(5_000));
    let crowd = format!(r#"{{"or":[{}{{"stock":1}}]}}"#, r#"{"stock":1},"#.repeat(40));
    let deep = format!("{}{{\"stock\":1}}{}", r#"{"or":["#.repeat(5), "]}".repeat(5));
    let cases: [(&str, &str, &str); 39] = [
        (r#"{"stock":{"in":[{"$numberInt":"1","$numberInt":"2"}]}}"#, "stock", "not a known form"),
        (r#"{"nme":1}"#, "nme", "cannot be filtered by; these can: _id, name, price"),
        (r#"{"note":1}"#, "note", "cannot be filtered"),
        (r#"{"secret":"a"}"#, "secret", "cannot be filtered"),
        (r#"{"or":[{"secret":{"exists":true}}]}"#, "secret", "cannot be filtered"),
        (r#"{"$where":"1"}"#, "$where", "cannot be filtered"),
        (r#"{"$expr":{"$function":{}}}"#, "$expr", "cannot be filtered"),
        (r#"{"$nor":[{"name":"a"}]}"#, "$nor", "cannot be filtered"),
        (r#"{"name":{"$regex":".*"}}"#, "name", "has no operator `$regex`; there are eq,"),
        (r#"{"name":{"$not":{"$eq":"a"}}}"#, "name", "has no operator `$not`"),
        (r#"{"name":{"$prefix":"a"}}"#, "name", "has no operator `$prefix`"),
        (r#"{"name":{"gt":"a","$date":"2025-01-01"}}"#, "name", "has no operator `$date`"),
        (r#"{"name":{"is":null}}"#, "name", "has no operator `is`"),
        (r#"{"maker":{"name":"a"}}"#, "maker", "cannot be filtered"),
        (r#"{"name":{}}"#, "name", "must have an operator"),
        (r#"{"name":["a"]}"#, "name", "must be a string"),
        (r#"{"name":{"eq":{"$gt":""}}}"#, "name", "not a known form of Extended JSON"),
        (r#"{"name":{"eq":{"a":1}}}"#, "name", "must be a string"),
        (r#"{"name":{"in":["a",["b"]]}}"#, "name", "must be a string"),
        (r#"{"name":{"in":"a"}}"#, "name", "must be a list"),
        (r#"{"name":{"gt":null}}"#, "name", "cannot be compared with null by `gt`"),
        (r#"{"name":1}"#, "name", "must be a string"),
        (r#"{"stock":"1"}"#, "stock", "must be an integer"),
        (r#"{"stock":1.5}"#, "stock", "must be an integer"),
        (r#"{"price":{"$numberDecimal":"NaN"}}"#, "price", "must be a decimal"),
        (r#"{"added":5}"#, "added", "must be a date"),
        (r#"{"live":"yes"}"#, "live", "must be true or false"),
        (r#"{"_id":"x"}"#, "_id", "must be of type int"),
        (r#"{"stock":{"prefix":"1"}}"#, "stock", "has no prefix"),
        (r#"{"name":{"$text":{"$search":"a"}}}"#, "name", "has no operator `$text`"),
        (r#"{"story":{"text":["a"]}}"#, "story", "must be a string"),
        (r#"{"stock":{"exists":1}}"#, "stock", "must be {\"exists\": true}"),
        (r#"{"name":"a","name":"b"}"#, "name", "is given twice"),
        (&many, "stock", "more than 100 values"),
        (&long, "name", "more than 4096 bytes"),
        (&crowd, "stock", "one condition more than the 32"),
        (&deep, "or", "nested more than 4"),
        (r#"{"or":[]}"#, "or", "must be a list of objects"),
        (r#"{"and":[{}]}"#, "and", "each with a condition"),
    ];
    let schema = schema();
    let parser = QueryParser::new(&schema).visible(&|path| path != "secret");
    for (json, field, message) in cases {
        let error = parser.parse_body(format!(r#"{{"filter":{json}}}"#).as_bytes()).unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some(field)), "{json}: {error}");
        assert!(error.message().contains(message), "{json}: {error}");
        assert!(error.message().len() < 250, "{error}");
    }
}

#[test]
fn a_refusal_of_a_setting_names_it() {
    let many = format!(r#"{{"fields":[{}"name"]}}"#, r#""name","#.repeat(80));
    let cases: [(&str, Option<&str>, &str); 21] = [
        ("", None, "not valid JSON"),
        (r#"{"limit":1,}"#, None, "line 1 column 12"),
        ("{} {}", None, "not valid JSON"),
        ("\u{0}", None, "not valid JSON"),
        ("[]", Some("body"), "must be an object"),
        ("null", Some("body"), "must be an object"),
        (r#"{"price":1}"#, Some("price"), "is not known; a query has filter, sort"),
        (r#"{"$where":"1"}"#, Some("$where"), "is not known"),
        (r#"{"filter":[]}"#, Some("filter"), "must be an object"),
        (r#"{"filter":{},"filter":{}}"#, Some("filter"), "is given twice"),
        (r#"{"sort":"price"}"#, Some("sort"), "must be a list of strings"),
        (r#"{"sort":["note"]}"#, Some("sort"), "`note` cannot be sorted by"),
        (r#"{"sort":["secret"]}"#, Some("sort"), "`secret` cannot be sorted by"),
        (r#"{"limit":0}"#, Some("limit"), "from 1 to 1000"),
        (r#"{"limit":"5"}"#, Some("limit"), "from 1 to 1000"),
        (r#"{"limit":5.0}"#, Some("limit"), "from 1 to 1000"),
        (r#"{"offset":10001}"#, Some("offset"), "from 0 to 10000"),
        (r#"{"offset":1,"after":"x"}"#, Some("offset"), "cannot be combined"),
        (r#"{"after":null}"#, Some("after"), "must be a string"),
        (r#"{"fields":[]}"#, Some("fields"), "must name a field"),
        (&many, Some("fields"), "more than 64"),
    ];
    let schema = schema();
    let parser = QueryParser::new(&schema).visible(&|path| path != "secret");
    for (body, field, message) in cases {
        let error = parser.parse_body(body.as_bytes()).unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, field), "{body}: {error}");
        assert!(error.message().contains(message), "{body}: {error}");
    }
}

#[test]
fn what_is_nested_without_end_is_refused_without_going_there() {
    for (open, close) in [("[", "]"), (r#"{"filter":"#, "}"), (r#"{"or":["#, "]}")] {
        let body = format!(r#"{{"filter":{}1{}}}"#, open.repeat(100_000), close.repeat(100_000));
        assert!(QueryParser::new(&schema()).parse_body(body.as_bytes()).is_err());
    }
}

fn query() -> impl Strategy<Value = Query> {
    let sort = prop::sample::subsequence(vec!["price", "name", "_id"], 0..3);
    let fields = prop::option::of(prop::sample::subsequence(vec!["name", "maker", "_id"], 1..3));
    let after = prop::option::of("[a-z]{1,5}");
    (tree(), sort, any::<bool>(), 1_u32..1_000, 0_u64..10_000, after, fields).prop_map(
        |(filter, sort, is_descending, limit, offset, after, fields)| Query {
            filter,
            sort: sort
                .into_iter()
                .map(|path| SortKey {
                    path: path.to_owned(),
                    direction: if is_descending { Direction::Descending } else { Direction::Ascending },
                })
                .collect(),
            limit,
            offset: if after.is_some() { 0 } else { offset },
            after,
            fields: fields.map(|fields| fields.into_iter().map(str::to_owned).collect()),
        },
    )
}

/// Gives the name at this place of all names another name. Answers how many names there are.
fn rename(value: &mut Value, at: Option<usize>, name: &str) -> usize {
    let mut count = 0;
    let deeper = |at: Option<usize>, count: usize| at.and_then(|at| at.checked_sub(count));
    match value {
        Value::Array(elements) => {
            for element in elements {
                count += rename(element, deeper(at, count), name);
            }
        }
        Value::Object(members) => {
            *members = std::mem::take(members)
                .into_iter()
                .map(|(known, mut value)| {
                    let is_here = at == Some(count);
                    count += 1;
                    count += rename(&mut value, deeper(at, count), name);
                    (if is_here { name.to_owned() } else { known }, value)
                })
                .collect();
        }
        _ => {}
    }
    count
}

fn unknown_operator() -> impl Strategy<Value = String> {
    let known = [
        "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$and", "$or", "$oid", "$date",
    ];
    let dangerous = [
        "$where",
        "$expr",
        "$regex",
        "$function",
        "$accumulator",
        "$jsonSchema",
        "$nor",
        "$not",
        "$text",
        "$prefix",
        "$elemMatch",
        "$comment",
        "$",
        "$$ROOT",
    ];
    prop_oneof![prop::sample::select(dangerous.map(str::to_owned).to_vec()), "\\$[a-zA-Z]{1,6}"]
        .prop_filter("an operator that there is", move |name| !known.contains(&name.as_str()))
}

proptest! {
    #[test]
    fn a_query_reads_back_from_either_grammar_as_the_same(query in query()) {
        let schema = schema();
        let wide = QueryLimits { max_depth: 9, ..QueryLimits::default() };
        let parser = QueryParser::new(&schema).limits(&wide);
        let (pairs, body) = (written::pairs(&query).unwrap(), written::body(&query).unwrap());
        let from_body = parser.parse_body(body.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&from_body, &parser.parse(pairs).unwrap(), "{}", body);
        prop_assert_eq!(from_body, query);
    }

    #[test]
    fn an_operator_that_is_not_known_is_refused_wherever_it_stands(
        query in query(), at in any::<prop::sample::Index>(), name in unknown_operator(),
    ) {
        let schema = schema();
        let parser = QueryParser::new(&schema);
        let mut body = written::body(&query).unwrap();
        let names = rename(&mut body, None, &name);
        rename(&mut body, Some(at.index(names)), &name);
        prop_assert!(body.to_string().contains(&name));
        prop_assert!(parser.parse_body(body.to_string().as_bytes()).is_err(), "{}", body);
        let beside = json!({ "filter": { "name": "a", name: body["filter"].take() } });
        prop_assert!(parser.parse_body(beside.to_string().as_bytes()).is_err(), "{}", beside);
    }

    #[test]
    fn no_text_makes_reading_a_body_panic(json in r#"[\[\]{}:,"$0-9a-c. \\ue-]{0,60}"#, name in r#"(name|stock|or|\$and|_id)"#) {
        let schema = schema();
        let parser = QueryParser::new(&schema);
        for body in [json.clone(), format!(r#"{{"filter":{json}}}"#), format!(r#"{{"filter":{{"{name}":{json}}}}}"#)] {
            let _ = parser.parse_body(body.as_bytes());
        }
    }
}
