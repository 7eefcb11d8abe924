//! What JSON from outside becomes, and what is refused with which field.

use bson::{Bson, Document, doc, oid::ObjectId};
use proptest::prelude::*;

use crate::{
    ErrorKind,
    document::{Field, FieldType, IdType, JsonForm, Schema, to_json},
};

fn schema() -> Schema {
    Schema::new("products", IdType::Int)
        .field(Field::new("name", FieldType::String).required())
        .field(Field::new("price", FieldType::Decimal))
        .field(Field::new("weight", FieldType::Double))
        .field(Field::new("stock", FieldType::Int))
        .field(Field::new("owner", FieldType::ObjectId))
        .field(Field::new("added", FieldType::Date))
        .field(Field::new("tags", FieldType::Array(Box::new(FieldType::String))))
        .field(Field::new("maker.country", FieldType::String).required())
        .field(Field::new("maker.since", FieldType::Date))
        .field(Field::new("parts", FieldType::Array(Box::new(FieldType::Object))))
        .field(Field::new("parts.no", FieldType::Int).required())
        .field(Field::new("extra", FieldType::Object))
        .field(Field::new("any", FieldType::Any))
}

fn read(json: &str) -> Document {
    schema().read_document(json.as_bytes()).unwrap()
}

/// The field at fault, and what is said about it.
fn refused(json: &str) -> (String, String) {
    let error = schema().read_document(json.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{json}");
    (error.field().unwrap_or_default().to_owned(), error.message().to_owned())
}

#[test]
fn plain_json_is_read_by_the_declared_types() {
    let document = read(
        r#"{"name":"a","price":12.50,"weight":3,"stock":5000000000,"owner":"0123456789abcdef01234567",
            "added":"2025-01-02T03:04:05Z","tags":["x"],"_id":7,"maker":{"country":"NO"},
            "parts":[{"no":1}],"extra":{"free":[1,2.5,null]},"any":[{"x":1}]}"#,
    );
    let expected = doc! {
        "_id": 7_i64, "name": "a", "price": "12.50".parse::<bson::Decimal128>().unwrap(), "weight": 3.0,
        "stock": 5_000_000_000_i64, "owner": ObjectId::parse_str("0123456789abcdef01234567").unwrap(),
        "added": bson::DateTime::from_millis(1_735_787_045_000), "tags": ["x"], "maker": { "country": "NO" },
        "parts": [{ "no": 1 }], "extra": { "free": [1, 2.5, Bson::Null] }, "any": [{ "x": 1 }],
    };
    assert_eq!(document, expected);
    assert_eq!(document.keys().next().map(String::as_str), Some("_id"));
}

#[test]
fn decimals_keep_all_their_digits_as_numbers_and_as_strings() {
    for number in ["0.1000000000000000000000000000000001", "\"0.1000000000000000000000000000000001\""] {
        let document = read(&format!(r#"{{"name":"a","maker":{{"country":"NO"}},"price":{number}}}"#));
        assert_eq!(document.get("price").unwrap().to_string(), "0.1000000000000000000000000000000001");
    }
}

#[test]
fn a_refusal_names_the_field() {
    let cases = [
        (r#"{"maker":{"country":"x"}}"#, "name", "is required"),
        (r#"{"name":null,"maker":{"country":"x"}}"#, "name", "is required and cannot be null"),
        (r#"{"name":"a","maker":{}}"#, "maker.country", "is required"),
        (r#"{"name":"a","nme":1}"#, "nme", "is not a declared field"),
        (r#"{"name":"a","maker":{"city":1}}"#, "maker.city", "is not a declared field"),
        (r#"{"name":"a","parts":[{"no":1},{}]}"#, "parts.no", "is required"),
        (r#"{"name":"a","parts":[{"no":"1"}]}"#, "parts.no", "must be an integer"),
        (r#"{"name":1}"#, "name", "must be a string"),
        (r#"{"name":"a","name":"b"}"#, "name", "is given twice"),
        (r#"{"name":"a","stock":1.5}"#, "stock", "must be an integer"),
        (r#"{"name":"a","stock":18446744073709551615}"#, "stock", "is an integer of more than 64 bits"),
        (r#"{"name":"a","tags":"x"}"#, "tags", "must be an array"),
        (r#"{"name":"a","tags":[1]}"#, "tags", "must be a string"),
        (r#"{"name":"a","extra":{"$where":"1"}}"#, "extra", "is not a known form of Extended JSON"),
        (
            r#"{"name":"a","extra":{"$numberInt":"1","$numberInt":"2"}}"#,
            "extra",
            "is not a known form of Extended JSON",
        ),
        (
            r#"{"name":"a","extra":{"a":1,"$where":"1"}}"#,
            "extra.$where",
            "a field name cannot begin with `$`",
        ),
        (r#"{"name":"a","extra":{"a.b":1}}"#, "extra.a.b", "a field name cannot contain a point"),
        (
            r#"{"name":"a","extra":{"a\u0000":1}}"#,
            "extra.a\u{fffd}",
            "a field name cannot contain a zero byte",
        ),
        (r#"{"$set":{"a":1}}"#, "$set", "a field name cannot begin with `$`"),
        (r#"{"_id":"x","name":"a"}"#, "_id", "must be of type int"),
        (r#"{"_id":1,"_id":2}"#, "_id", "is given twice"),
        (r#"[1]"#, "", "the document must be an object"),
    ];
    for (json, field, message) in cases {
        assert_eq!(refused(json), (field.to_owned(), message.to_owned()), "{json}");
    }
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    assert!(refused(r#"{"name":"a",}"#).1.contains("line 1 column"));
    assert!(refused(r#"{"name":"a","maker":{"country":"x"}} {}"#).1.contains("trailing"));
}

#[test]
fn nesting_and_size_have_limits() {
    let nested = |depth: usize| {
        format!(
            r#"{{"name":"a","maker":{{"country":"x"}},"any":{}1{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    assert!(schema().read_raw(nested(31).as_bytes()).is_ok());
    assert!(refused(&nested(32)).1.contains("too deeply"));
    let wide = format!(r#"{{"name":"a","any":[{}1]}}"#, "1,".repeat(2_000_000));
    assert_eq!(schema().read_raw(wide.as_bytes()).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn a_patch_may_remove_what_is_not_required() {
    let patch = schema().read_patch(br#"{"stock":null,"price":"1.5","maker":{"since":null}}"#).unwrap();
    let expected = doc! {
        "stock": Bson::Null, "price": "1.5".parse::<bson::Decimal128>().unwrap(), "maker": { "since": Bson::Null }
    };
    assert_eq!(*patch.changes(), expected);
    let field = |json: &str| schema().read_patch(json.as_bytes()).unwrap_err().field().map(str::to_owned);
    assert_eq!(field(r#"{"name":null}"#).as_deref(), Some("name"));
    assert_eq!(field(r#"{"_id":1}"#).as_deref(), Some("_id"));
    assert_eq!(field(r#"{"maker":{"country":null}}"#).as_deref(), Some("maker.country"));
}

#[test]
fn a_schema_that_is_not_strict_takes_what_it_does_not_know() {
    let open = Schema::new("x", IdType::String).field(Field::new("n", FieldType::Int)).strict(false);
    assert_eq!(open.read_document(br#"{"n":1,"m":{"o":2}}"#).unwrap(), doc! { "n": 1, "m": { "o": 2 } });
}

#[test]
fn typed_documents_are_checked_by_the_same_rules() {
    let good = read(r#"{"name":"a","maker":{"country":"x"},"parts":[{"no":1}]}"#);
    schema().check(&good).unwrap();
    let cases = [
        ("name", Bson::Int32(1)),
        ("new", Bson::Int32(1)),
        ("tags", vec![Bson::Int32(1)].into()),
        ("maker", doc! {}.into()),
        ("parts", vec![Bson::from(doc! { "no": "1" })].into()),
    ];
    for (name, value) in cases {
        let mut bad = good.clone();
        bad.insert(name, value);
        let error = schema().check(&bad).unwrap_err();
        assert!(error.field().is_some_and(|field| field.starts_with(name)), "{error}");
        let raw = schema().check_raw(&bson::RawDocumentBuf::try_from(&bad).unwrap()).unwrap_err();
        assert_eq!(raw.to_string(), error.to_string());
    }
}

#[test]
fn bson_of_a_caller_that_is_none_is_refused() {
    let mut bytes = bson::RawDocumentBuf::try_from(doc! { "name": "a", "maker": { "country": "x" } })
        .unwrap()
        .into_bytes();
    let cut = bytes.windows(7).position(|window| window == b"country").unwrap();
    // A name and a text that are no UTF-8, and lengths that lead out of the document.
    for at in [cut, cut + 12, cut - 5, cut + 8] {
        let before = std::mem::replace(&mut bytes[at], 0xff);
        let raw = bson::RawDocument::from_bytes(&bytes).unwrap();
        let error = schema().check_raw(raw).unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, None), "{error}");
        bytes[at] = before;
    }
}

fn scalar() -> impl Strategy<Value = Bson> {
    prop_oneof![
        any::<i32>().prop_map(Bson::Int32),
        any::<i64>().prop_map(Bson::Int64),
        any::<f64>().prop_map(Bson::Double),
        ".{0,12}".prop_map(Bson::String),
        any::<bool>().prop_map(Bson::Boolean),
        Just(Bson::Null),
        any::<i64>().prop_map(|instant| Bson::DateTime(bson::DateTime::from_millis(instant))),
        (0_i64..253_402_300_800_000).prop_map(|instant| Bson::DateTime(bson::DateTime::from_millis(instant))),
        any::<[u8; 12]>().prop_map(|bytes| Bson::ObjectId(ObjectId::from_bytes(bytes))),
        any::<i64>().prop_map(|n| Bson::Decimal128(format!("{n}E-7").parse().unwrap())),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| {
            Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes })
        }),
        (any::<u32>(), any::<u32>())
            .prop_map(|(time, increment)| Bson::Timestamp(bson::Timestamp { time, increment })),
        Just(Bson::MinKey),
    ]
}

fn document() -> impl Strategy<Value = Document> {
    document_of("[a-zé ]{1,5}", "[a-e]{1,3}")
}

/// With names that match the first pattern, and below the top the second.
fn document_of(names: &'static str, inner_names: &'static str) -> impl Strategy<Value = Document> {
    let value = scalar().prop_recursive(3, 20, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Bson::Array),
            prop::collection::btree_map(inner_names, inner, 0..4)
                .prop_map(|map| Bson::Document(map.into_iter().collect())),
        ]
    });
    prop::collection::btree_map(names, value, 0..6).prop_map(|map| map.into_iter().collect())
}

proptest! {
    #[test]
    fn a_tree_and_its_bson_are_judged_alike(document in document_of("[a-d]", "[a-d$.]"), strict in any::<bool>()) {
        let schema = Schema::new("x", IdType::String)
            .field(Field::new("a", FieldType::Any).required())
            .field(Field::new("b.a", FieldType::Any).required())
            .field(Field::new("c", FieldType::Array(Box::new(FieldType::Object))))
            .field(Field::new("c.d", FieldType::Double).required())
            .strict(strict);
        let raw = bson::RawDocumentBuf::try_from(&document).unwrap();
        let said = [schema.check(&document), schema.check_raw(&raw)].map(|said| said.map_err(|error| error.to_string()));
        prop_assert_eq!(&said[0], &said[1]);
    }

    #[test]
    fn every_document_survives_the_way_through_json(document in document()) {
        let open = Schema::new("x", IdType::String).strict(false);
        let raw = bson::RawDocumentBuf::try_from(&document).unwrap();
        let canonical = to_json(&raw, JsonForm::Canonical).unwrap();
        let back = open.read_raw(&canonical).unwrap();
        prop_assert_eq!(back.as_bytes(), raw.as_bytes());
        // The relaxed form keeps everything but the width of integers, and reads back to the same relaxed form.
        let relaxed = to_json(&raw, JsonForm::Relaxed).unwrap();
        let again = open.read_raw(&relaxed).unwrap();
        prop_assert_eq!(to_json(&again, JsonForm::Relaxed).unwrap(), relaxed);
    }

    #[test]
    fn no_text_makes_reading_panic(json in r#"[\[\]{}:,"$0-9a-c. \\ue-]{0,60}"#) {
        let _ = schema().read_raw(json.as_bytes());
        let _ = schema().read_patch(json.as_bytes());
    }
}
