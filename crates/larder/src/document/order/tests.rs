//! The order of values, against the rules MongoDB documents.

use std::cmp::Ordering;

use bson::{Bson, Decimal128, doc, oid::ObjectId};
use proptest::prelude::*;

use super::{class, key_of_bson, prefix_range};

fn key(value: &Bson) -> Vec<u8> {
    key_of_bson(value).unwrap()
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse().unwrap())
}

#[test]
fn values_sort_as_mongodb_sorts_them() {
    let ordered = [
        vec![Bson::MinKey],
        vec![Bson::Null],
        vec![Bson::Double(f64::NAN), decimal("NaN")],
        vec![Bson::Double(f64::NEG_INFINITY), decimal("-Infinity")],
        vec![decimal("-1E+400")],
        vec![Bson::Int64(i64::MIN), Bson::Double(i64::MIN as f64)],
        vec![Bson::Int64(i64::MIN + 1)],
        vec![decimal("-0.3")],
        vec![Bson::Double(-0.3)],
        vec![Bson::Double(-0.25), decimal("-0.25"), decimal("-0.2500")],
        vec![decimal("-1E-400")],
        vec![Bson::Int32(0), Bson::Int64(0), Bson::Double(-0.0), decimal("0E+3"), decimal("-0")],
        vec![Bson::Double(5e-324)],
        vec![decimal("0.1")],
        vec![Bson::Double(0.1)],
        vec![Bson::Int32(1), Bson::Int64(1), Bson::Double(1.0), decimal("1.000")],
        vec![Bson::Int64((1 << 53) - 1)],
        vec![Bson::Int64(1 << 53), Bson::Double((1_i64 << 53) as f64)],
        vec![Bson::Int64((1 << 53) + 1), decimal("9007199254740993")],
        vec![decimal("9007199254740993.5")],
        vec![Bson::Int64((1 << 53) + 2)],
        vec![Bson::Int64(i64::MAX)],
        vec![Bson::Double(i64::MAX as f64)],
        vec![Bson::Double(f64::MAX)],
        vec![decimal("1E+400")],
        vec![Bson::Double(f64::INFINITY), decimal("Infinity")],
        vec!["".into()],
        vec!["\0".into()],
        vec!["\0a".into()],
        vec!["a".into(), Bson::Symbol("a".into())],
        vec!["a\0".into()],
        vec!["a\u{1}".into()],
        vec!["ab".into()],
        vec!["ä".into()],
        vec![doc! {}.into()],
        vec![doc! { "b": 1 }.into(), doc! { "b": 1.0 }.into()],
        vec![doc! { "b": 1, "c": Bson::Null }.into()],
        vec![doc! { "b": 2 }.into()],
        vec![doc! { "ba": 1 }.into()],
        vec![doc! { "a": "x" }.into()],
        vec![Bson::Array(vec![])],
        vec![Bson::Array(vec![1.into()])],
        vec![Bson::Array(vec![1.into(), Bson::Null])],
        vec![Bson::Array(vec![2.into()])],
        vec![Bson::ObjectId(ObjectId::from_bytes([0; 12]))],
        vec![Bson::ObjectId(ObjectId::from_bytes([255; 12]))],
        vec![false.into()],
        vec![true.into()],
        vec![bson::DateTime::from_millis(i64::MIN).into()],
        vec![bson::DateTime::from_millis(-1).into()],
        vec![bson::DateTime::from_millis(0).into()],
        vec![bson::Timestamp { time: 1, increment: 9 }.into()],
        vec![bson::Timestamp { time: 2, increment: 0 }.into()],
        vec![Bson::MaxKey],
    ];
    for (low, lower) in ordered.iter().enumerate() {
        for (high, higher) in ordered.iter().enumerate() {
            for (a, b) in lower.iter().flat_map(|a| higher.iter().map(move |b| (a, b))) {
                assert_eq!(key(a).cmp(&key(b)), low.cmp(&high), "{a:?} against {b:?}");
            }
        }
    }
}

/// All decimal digits of a number, scaled so that texts of one length compare as the numbers do.
fn exact(value: &Bson) -> (bool, String) {
    let text = match value {
        Bson::Int64(number) => format!("{number}"),
        Bson::Double(number) => format!("{number:.1100}"),
        Bson::Decimal128(number) => plain(&number.to_string()),
        other => panic!("{other:?} is no number"),
    };
    let unsigned = text.trim_start_matches('-');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    (
        text.starts_with('-') && unsigned.bytes().any(|b| (b'1'..=b'9').contains(&b)),
        format!("{whole:0>400}{fraction:0<1200}"),
    )
}

fn plain(text: &str) -> String {
    let (mantissa, exponent) = text.split_once('E').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap();
    let negative = mantissa.starts_with('-');
    let unsigned = mantissa.trim_start_matches('-');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{whole}{fraction}");
    let point = whole.len() as i32 + exponent;
    let plain = if point <= 0 {
        format!("0.{}{digits}", "0".repeat(-point as usize))
    } else if point as usize >= digits.len() {
        format!("{digits}{}", "0".repeat(point as usize - digits.len()))
    } else {
        format!("{}.{}", &digits[..point as usize], &digits[point as usize..])
    };
    format!("{}{plain}", if negative { "-" } else { "" })
}

fn compare_exactly(a: &Bson, b: &Bson) -> Ordering {
    let ((a_negative, a), (b_negative, b)) = (exact(a), exact(b));
    match (a_negative, b_negative) {
        (false, false) => a.cmp(&b),
        (true, true) => b.cmp(&a),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

fn number() -> impl Strategy<Value = Bson> {
    let decimal = (any::<bool>(), 0_u128..10_u128.pow(34), -60_i32..60).prop_map(
        |(negative, coefficient, exponent)| {
            let sign = if negative { "-" } else { "" };
            Bson::Decimal128(format!("{sign}{coefficient}E{exponent}").parse().unwrap())
        },
    );
    prop_oneof![
        any::<i64>().prop_map(Bson::Int64),
        (-1000_i64..1000).prop_map(Bson::Int64),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Bson::Double),
        (-4000_i32..4000).prop_map(|quarter| Bson::Double(f64::from(quarter) / 4.0)),
        decimal,
        (-400_000_i64..400_000, 0_u32..4).prop_map(|(n, scale)| {
            Bson::Decimal128(format!("{n}E-{scale}").parse::<Decimal128>().unwrap())
        }),
    ]
}

/// A number, and often one right beside it of another type.
fn neighbours() -> impl Strategy<Value = (Bson, Bson)> {
    (number(), number(), 0_u8..4, -2_i64..3).prop_map(|(a, b, which, step)| match (&a, which) {
        (Bson::Int64(n), 0) => {
            let near = Bson::Double(n.saturating_add(step) as f64);
            (a, near)
        }
        (Bson::Int64(n), 1) => {
            let near = Bson::Decimal128(n.saturating_add(step).to_string().parse().unwrap());
            (a, near)
        }
        (Bson::Double(n), 2) if n.abs() < 1e30 && n.abs() > 1e-20 => {
            let near = Bson::Decimal128(format!("{n:.3e}").parse().unwrap());
            (a, near)
        }
        _ => (a, b),
    })
}

proptest! {
    #[test]
    fn numbers_of_all_types_compare_exactly((a, b) in neighbours()) {
        prop_assert_eq!(key(&a).cmp(&key(&b)), compare_exactly(&a, &b), "{:?} against {:?}", a, b);
    }

    #[test]
    fn a_prefix_range_holds_exactly_the_strings_with_that_prefix(prefix in "[a-c\0\u{7f}é]{0,3}", text in "[a-c\0\u{7f}é]{0,5}") {
        let (from, to) = prefix_range(&prefix);
        let key = key(&Bson::String(text.clone()));
        prop_assert_eq!(key >= from && key < to, text.starts_with(&prefix));
    }
}

#[test]
fn the_range_of_the_empty_prefix_is_the_class_of_strings() {
    assert_eq!(prefix_range(""), (vec![class::STRING], vec![class::STRING + 1]));
}
