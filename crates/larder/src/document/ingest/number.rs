//! Numbers between the types that hold them, without loss.

use bson::Bson;

use crate::document::{
    FieldType,
    decimal::{Decimal, Finite},
};

/// A JSON number as an exact decimal; `None` for any other JSON, and for numbers of more than 34 digits.
pub(super) fn decimal(json: &str) -> Option<Bson> {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        .then(|| finite_decimal(json))
        .flatten()
        .and_then(|decimal| decimal.pack())
        .map(Bson::Decimal128)
}

/// A decimal from text that is a number, not `NaN` or `Infinity`.
pub(crate) fn finite_decimal(text: &str) -> Option<Decimal> {
    Decimal::parse(text).filter(|decimal| matches!(decimal, Decimal::Finite(_)))
}

/// Integers of Extended JSON may stand in a decimal field, as the same number.
pub(super) fn for_field(value: Bson, field_type: &FieldType) -> Bson {
    let number = match (&value, field_type) {
        (Bson::Int32(number), FieldType::Decimal) => i64::from(*number),
        (Bson::Int64(number), FieldType::Decimal) => *number,
        _ => return value,
    };
    let exact = Finite { negative: number < 0, coefficient: number.unsigned_abs().into(), exponent: 0 };
    Decimal::Finite(exact).pack().map_or(value, Bson::Decimal128)
}
