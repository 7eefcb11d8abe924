//! How each type is written as JSON.

use bson::{Bson, RawDocumentBuf, doc, oid::ObjectId, rawdoc};

use super::{JsonForm, to_json};
use crate::ErrorKind;

fn json(document: &bson::Document, form: JsonForm) -> String {
    let raw = RawDocumentBuf::try_from(document).unwrap();
    String::from_utf8(to_json(&raw, form).unwrap().to_vec()).unwrap()
}

#[test]
fn every_type_has_its_relaxed_form() {
    let cases: [(Bson, &str); 17] = [
        (1_i32.into(), "1"),
        (i64::MIN.into(), "-9223372036854775808"),
        (1.0.into(), "1.0"),
        (1e300.into(), "1e300"),
        ((-0.0).into(), "-0.0"),
        (0.1.into(), "0.1"),
        (f64::NAN.into(), r#"{"$numberDouble":"NaN"}"#),
        (f64::NEG_INFINITY.into(), r#"{"$numberDouble":"-Infinity"}"#),
        ("a\"b\\\n\u{1}é".into(), r#""a\"b\\\n\u0001é""#),
        (Bson::Decimal128("12.50".parse().unwrap()), r#"{"$numberDecimal":"12.50"}"#),
        (Bson::ObjectId(ObjectId::from_bytes([171; 12])), r#"{"$oid":"abababababababababababab"}"#),
        (bson::DateTime::from_millis(1_735_787_045_000).into(), r#"{"$date":"2025-01-02T03:04:05Z"}"#),
        (bson::DateTime::from_millis(-1).into(), r#"{"$date":{"$numberLong":"-1"}}"#),
        (vec![Bson::Null, true.into()].into(), "[null,true]"),
        (doc! { "x": {} }.into(), r#"{"x":{}}"#),
        (Bson::MaxKey, r#"{"$maxKey":1}"#),
        (bson::Timestamp { time: 7, increment: 8 }.into(), r#"{"$timestamp":{"t":7,"i":8}}"#),
    ];
    for (value, expected) in cases {
        assert_eq!(json(&doc! { "v": value }, JsonForm::Relaxed), format!("{{\"v\":{expected}}}"));
    }
}

#[test]
fn the_canonical_form_names_the_types_of_numbers() {
    let document = doc! { "i": 1_i32, "l": 2_i64, "d": 3.0, "t": bson::DateTime::from_millis(5) };
    let expected = concat!(
        r#"{"i":{"$numberInt":"1"},"l":{"$numberLong":"2"},"d":{"$numberDouble":"3.0"},"#,
        r#""t":{"$date":{"$numberLong":"5"}}}"#
    );
    assert_eq!(json(&document, JsonForm::Canonical), expected);
}

#[test]
fn broken_bytes_are_corrupt() {
    let mut bytes = rawdoc! { "a": "text" }.into_bytes();
    let text = bytes.windows(4).position(|window| window == b"text").unwrap();
    bytes[text] = 0xff;
    let raw = RawDocumentBuf::from_bytes(bytes).unwrap();
    assert_eq!(to_json(&raw, JsonForm::Relaxed).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn old_binary_data_keeps_its_length_on_the_way_through_json() {
    let old = bson::Binary { subtype: bson::spec::BinarySubtype::BinaryOld, bytes: vec![1, 2, 3] };
    let raw = bson::RawDocumentBuf::try_from(doc! { "b": old }).unwrap();
    let json = to_json(&raw, JsonForm::Relaxed).unwrap();
    assert_eq!(json, r#"{"b":{"$binary":{"base64":"AQID","subType":"02"}}}"#);
    let open = crate::document::Schema::new("x", crate::document::IdType::Int).strict(false);
    assert_eq!(open.read_raw(&json).unwrap().as_bytes(), raw.as_bytes());
}
