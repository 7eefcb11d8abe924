//! What a query string may say, and how it is refused.

mod body;

use bson::Bson;
use proptest::prelude::*;

use super::{QueryLimits, QueryParser};
use crate::document::{CompareOp, Direction, Field, FieldType, Filter, IdType, Schema, SortKey};

fn schema() -> Schema {
    Schema::new("products", IdType::Int)
        .field(Field::new("name", FieldType::String).filterable().sortable().searchable())
        .field(Field::new("price", FieldType::Decimal).filterable().sortable())
        .field(Field::new("stock", FieldType::Int).filterable())
        .field(Field::new("added", FieldType::Date).filterable())
        .field(Field::new("live", FieldType::Bool).filterable())
        .field(Field::new("tags", FieldType::Array(Box::new(FieldType::String))).filterable().searchable())
        .field(Field::new("maker.name", FieldType::String).filterable().searchable())
        .field(Field::new("code", FieldType::String).filterable())
        .field(Field::new("secret", FieldType::String).filterable().sortable())
        .field(Field::new("note", FieldType::String))
        .field(Field::new("story", FieldType::String).searchable())
        .field(Field::new("extra", FieldType::Object))
}

fn filter(pairs: &[(&str, &str)]) -> Filter {
    QueryParser::new(&schema()).parse(pairs.iter().copied()).unwrap().filter
}

fn compare(path: &str, op: CompareOp, value: impl Into<Bson>) -> Filter {
    Filter::Compare { path: path.into(), op, value: value.into() }
}

#[test]
fn values_are_read_by_the_type_of_their_field() {
    let decimal = Bson::Decimal128("10.50".parse().unwrap());
    let instant = bson::DateTime::from_millis(0);
    let list = |values: &[&str]| values.iter().map(|value| Bson::from(*value)).collect();
    let cases: [(&str, &str, Filter); 14] = [
        ("price", "gte.10.50", compare("price", CompareOp::Gte, decimal)),
        ("stock", "eq.-3", compare("stock", CompareOp::Eq, -3)),
        ("live", "ne.true", compare("live", CompareOp::Ne, true)),
        ("added", "lt.1970-01-01T00:00:00Z", compare("added", CompareOp::Lt, instant)),
        ("_id", "gt.5", compare("_id", CompareOp::Gt, 5_i64)),
        ("name", "eq.a,(b).\"c\"", compare("name", CompareOp::Eq, "a,(b).\"c\"")),
        ("maker.name", "prefix.ab", Filter::Prefix { path: "maker.name".into(), text: "ab".into() }),
        (
            "tags",
            "in.(a,\"b,\\\"c\",)",
            Filter::In { path: "tags".into(), values: list(&["a", "b,\"c", ""]) },
        ),
        ("story", "text.Red, shoes", Filter::Text { path: "story".into(), text: "Red, shoes".into() }),
        ("name", "nin.(x)", Filter::NotIn { path: "name".into(), values: list(&["x"]) }),
        ("name", "is.null", compare("name", CompareOp::Eq, Bson::Null)),
        ("name", "not.null", compare("name", CompareOp::Ne, Bson::Null)),
        ("tags", "exists.false", Filter::Exists { path: "tags".into(), present: false }),
        ("name", "eq.$where", compare("name", CompareOp::Eq, "$where")),
    ];
    for (name, value, expected) in cases {
        assert_eq!(filter(&[(name, value)]), expected, "{name}={value}");
    }
}

#[test]
fn groups_nest_and_conditions_add_up() {
    let expected = Filter::And(vec![
        compare("stock", CompareOp::Gt, 1),
        Filter::Or(vec![
            compare("name", CompareOp::Eq, "a,b"),
            Filter::And(vec![
                compare("maker.name", CompareOp::Eq, "x.y"),
                Filter::In { path: "stock".into(), values: vec![1.into(), 2.into()] },
            ]),
        ]),
    ]);
    let group = r#"(name.eq."a,b",and(maker.name.eq.x.y,stock.in.(1,2)))"#;
    assert_eq!(filter(&[("stock", "gt.1"), ("or", group)]), expected);
}

#[test]
fn order_page_and_fields_are_read() {
    let pairs =
        [("sort", "-price,name"), ("limit", "7"), ("after", "abc"), ("fields", "name,maker,extra.deep")];
    let query = QueryParser::new(&schema()).parse(pairs).unwrap();
    let key = |path: &str, direction| SortKey { path: path.into(), direction };
    assert_eq!(query.sort, [key("price", Direction::Descending), key("name", Direction::Ascending)]);
    assert_eq!((query.limit, query.after.as_deref()), (7, Some("abc")));
    assert_eq!(query.fields.unwrap(), ["name", "maker", "extra.deep"]);
}

#[test]
fn a_refusal_names_the_parameter_and_the_fix() {
    let long = format!("eq.{}", "x".repeat(5_000));
    let many = format!("in.({}1)", "1,".repeat(100));
    let deep = "(and(or(and(or(stock.eq.1)))))";
    let crowd = format!("({}stock.eq.1)", "stock.eq.1,".repeat(40));
    let longest = format!("text.{}", "s".repeat(257));
    let wordy = "text.a b c d e f g h i j k l m n o p q";
    let cases: [(&str, &str, &str, &str); 33] = [
        ("nme", "eq.1", "nme", "cannot be filtered by; these can: _id, name, price"),
        ("note", "eq.1", "note", "cannot be filtered"),
        ("$where", "eq.1", "$where", "cannot be filtered"),
        ("name[$ne]", "eq.1", "name[$ne]", "cannot be filtered"),
        ("secret", "eq.1", "secret", "cannot be filtered"),
        ("name", "a", "name", "such as `eq.value`"),
        ("name", "$where.1", "name", "has no operator `$where`; there are eq,"),
        ("name", "regex..*", "name", "has no operator `regex`"),
        ("stock", "eq.1.5", "stock", "must be an integer"),
        ("price", "gt.NaN", "price", "must be a decimal"),
        ("added", "gt.yesterday", "added", "must be a date"),
        ("_id", "eq.x", "_id", "must be an integer"),
        ("stock", "prefix.1", "stock", "has no prefix"),
        ("stock", "text.1", "stock", "has no words"),
        ("code", "text.a", "code", "is not declared to be searched"),
        ("_id", "text.a", "_id", "has no words"),
        (
            "story",
            "eq.a",
            "story",
            "is declared to be searched for words, by `text`, and not for other filters",
        ),
        ("story", "text.…!", "story", "names no word"),
        ("story", wordy, "story", "names more than 16 words"),
        ("story", &longest, "story", "names a word of more than 256 bytes"),
        ("tags", "exists.maybe", "tags", "`exists.true` or `exists.false`"),
        ("stock", "in.1,2", "stock", "in.(a,b)"),
        ("stock", &many, "stock", "more than 100 values"),
        ("name", &long, "name", "more than 4096 bytes"),
        ("or", "stock.eq.1", "or", "list in parentheses"),
        ("or", "(nme.eq.1)", "or", "`nme` cannot be filtered"),
        ("or", "(stock.eq.1", "or", "list in parentheses"),
        ("or", deep, "or", "nested more than 4"),
        ("or", &crowd, "stock", "one condition more than the 32"),
        ("sort", "note", "sort", "`note` cannot be sorted by; these can: _id, name, price"),
        ("limit", "0", "limit", "from 1 to 1000"),
        ("offset", "10001", "offset", "from 0 to 10000"),
        ("fields", "secret", "fields", "`secret` is not a field that can be read"),
    ];
    let schema = schema();
    let visible = |path: &str| path != "secret";
    for (name, value, field, message) in cases {
        let error = QueryParser::new(&schema).visible(&visible).parse([(name, value)]).unwrap_err();
        assert_eq!(error.field(), Some(field), "{name}={value}: {error}");
        assert!(error.message().contains(message), "{name}={value}: {error}");
        assert!(error.message().len() < 250, "{error}");
    }
}

#[test]
fn limits_can_be_set() {
    let limits = QueryLimits { default_limit: 5, max_limit: 9, ..QueryLimits::default() };
    let schema = schema();
    let parser = QueryParser::new(&schema).limits(&limits);
    assert_eq!(parser.parse::<&str, &str>([]).unwrap().limit, 5);
    assert!(parser.parse([("limit", "10")]).is_err());
}

/// Writes a filter back as one group.
fn print(filter: &Filter) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let text = |value: &Bson| match value {
        Bson::String(text) => quoted(text),
        other => other.to_string(),
    };
    let list = |values: &[Bson]| values.iter().map(text).collect::<Vec<_>>().join(",");
    let group = |name: &str, parts: &[Filter]| {
        format!("{name}({})", parts.iter().map(print).collect::<Vec<_>>().join(","))
    };
    match filter {
        Filter::All => unreachable!("no parameter means everything"),
        Filter::And(parts) => group("and", parts),
        Filter::Or(parts) => group("or", parts),
        Filter::Compare { path, op: CompareOp::Eq, value: Bson::Null } => format!("{path}.is.null"),
        Filter::Compare { path, op: CompareOp::Ne, value: Bson::Null } => format!("{path}.not.null"),
        Filter::Compare { path, op, value } => {
            format!("{path}.{}.{}", format!("{op:?}").to_lowercase(), text(value))
        }
        Filter::In { path, values } => format!("{path}.in.({})", list(values)),
        Filter::NotIn { path, values } => format!("{path}.nin.({})", list(values)),
        Filter::Exists { path, present } => format!("{path}.exists.{present}"),
        Filter::Prefix { path, text } => format!("{path}.prefix.{}", quoted(text)),
        Filter::Text { path, text } => format!("{path}.text.{}", quoted(text)),
    }
}

fn leaf() -> impl Strategy<Value = Filter> {
    let op = prop_oneof![Just(CompareOp::Eq), Just(CompareOp::Ne), Just(CompareOp::Gt), Just(CompareOp::Lte)];
    let text = prop_oneof!["[a-c,()\"\\\\. é]{0,6}".prop_map(Bson::String), Just(Bson::Null)];
    let null_only_equal = |(path, op, value): (&str, CompareOp, Bson)| {
        let op = if value == Bson::Null && op != CompareOp::Ne { CompareOp::Eq } else { op };
        compare(path, op, value)
    };
    let string = prop_oneof![Just("name"), Just("maker.name"), Just("tags")];
    prop_oneof![
        (string.clone(), op.clone(), text).prop_map(null_only_equal),
        (op, any::<i32>()).prop_map(|(op, value)| compare("stock", op, value)),
        (string.clone(), prop::collection::vec("[a-c,()\"\\\\. é]{0,4}", 1..4)).prop_map(|(path, values)| {
            Filter::In { path: path.into(), values: values.into_iter().map(Bson::String).collect() }
        }),
        (string.clone(), "[a-c,()\"\\\\.]{0,4}")
            .prop_map(|(path, text)| Filter::Prefix { path: path.into(), text }),
        (string.clone(), "[a-c,()\"\\\\. ]{0,4}[a-c]")
            .prop_map(|(path, text)| Filter::Text { path: path.into(), text }),
        (string, any::<bool>()).prop_map(|(path, present)| Filter::Exists { path: path.into(), present }),
    ]
}

fn tree() -> impl Strategy<Value = Filter> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Filter::And),
            prop::collection::vec(inner, 1..3).prop_map(Filter::Or),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(tree in tree()) {
        let printed = format!("({})", print(&tree));
        prop_assert_eq!(filter(&[("and", &printed)]), Filter::And(vec![tree]), "{}", printed);
    }

    #[test]
    fn no_text_makes_parsing_panic(
        name in prop_oneof![Just("or".to_owned()), Just("name".to_owned()), Just("sort".to_owned()), ".{0,8}"],
        value in r#"[a-z$().,"\\é0-9-]{0,40}"#,
    ) {
        let _ = QueryParser::new(&schema()).parse([(name, value)]);
    }
}
