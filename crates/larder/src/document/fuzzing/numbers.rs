//! Exact decimals and instants.

use bson::rawdoc;

use crate::document::{JsonForm, decimal::Decimal, json::parse_instant, to_json};

/// A decimal has the same text here and in the driver, reads back from it, and what is computed with it stays one.
pub fn decimal(data: &[u8]) {
    if let Some((bytes, rest)) = data.split_first_chunk::<16>() {
        let a = Decimal::unpack(*bytes);
        assert_eq!(a.pack().map(|packed| Decimal::unpack(packed.bytes())), Some(a));
        assert_eq!(a.to_string(), a.pack().map(|packed| packed.to_string()).unwrap_or_default());
        round_trip(&a.to_string());
        let b = rest.first_chunk().map_or_else(|| a.negate(), |bytes| Decimal::unpack(*bytes));
        compute(a, b, rest.last().copied().unwrap_or_default());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        round_trip(text);
    }
}

fn round_trip(text: &str) {
    let Some(number) = Decimal::parse(text) else { return };
    let shown = number.to_string();
    assert_eq!(Decimal::parse(&shown), Some(number), "{text} is shown as {shown}");
    let packed = number.pack().unwrap_or_else(|| panic!("{text} was read and cannot be packed"));
    assert_eq!(Decimal::unpack(packed.bytes()), number, "{text}");
    assert_eq!(packed.to_string(), shown);
}

fn compute(a: Decimal, b: Decimal, places: u8) {
    // MongoDB's own limits for `$round`.
    let places = i32::from(places) % 120 - 20;
    for number in [a.add(b), a.multiply(b), a.divide(b), a.round(places), a.negate()] {
        assert!(number.pack().is_some(), "{a} and {b} make {number:?}, which is no decimal");
    }
    assert_eq!(a.add(b), b.add(a), "{a} + {b}");
    assert_eq!(a.multiply(b), b.multiply(a), "{a} × {b}");
    assert_eq!(a.round(places).round(places), a.round(places), "{a} at {places} places");
    assert_eq!(a.negate().negate(), a);
}

/// An instant that is written reads back as the same one, here and in the driver.
pub fn instant(data: &[u8]) {
    let from_text = std::str::from_utf8(data).ok().and_then(parse_instant);
    let from_bits = data.first_chunk().map(|bits| i64::from_le_bytes(*bits));
    for milliseconds in [from_text, from_bits].into_iter().flatten() {
        let document = rawdoc! { "at": bson::DateTime::from_millis(milliseconds) };
        let json = to_json(&document, JsonForm::Relaxed).expect("the document is sound");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("what is written is JSON");
        let again = match &json["at"]["$date"] {
            serde_json::Value::String(text) => {
                let driver = bson::DateTime::parse_rfc3339_str(text).expect("the driver reads it");
                assert_eq!(driver.timestamp_millis(), milliseconds, "{text}");
                parse_instant(text)
            }
            number => number["$numberLong"].as_str().and_then(|digits| digits.parse().ok()),
        };
        assert_eq!(again, Some(milliseconds), "{json}");
    }
}
