//! Values from JSON by themselves: operands of filters, and ids.

use bson::Bson;
use serde_json::Value;

use super::{
    extended,
    reader::{Mode, Reader},
    shape::Expected,
};
use crate::{
    Error, ErrorKind, Result,
    document::{FieldType, Id, IdType, Schema, decimal::Decimal},
};

/// Reads what the field at `path` is compared with: as in a document, one element for an array. Nothing that is no number in a
/// number's field, as in bare text.
///
/// # Errors
/// `ErrorKind::Invalid` naming the path; always for objects and untyped fields.
pub(crate) fn read_operand(schema: &Schema, path: &str, field_type: &FieldType, json: &str) -> Result<Bson> {
    let demand = || Error::new(ErrorKind::Invalid, field_type.demand()).with_field(path);
    match field_type {
        FieldType::Array(element) => return read_operand(schema, path, element, json),
        FieldType::Object | FieldType::Any => return Err(demand()),
        _ => {}
    }
    let expected = Expected { field_type, fields: None };
    let value = Reader::new(schema, Mode::Document).read_value(path, expected, json)?;
    let is_finite = match &value {
        Bson::Double(number) => number.is_finite(),
        Bson::Decimal128(packed) => matches!(Decimal::unpack(packed.bytes()), Decimal::Finite(_)),
        _ => true,
    };
    if is_finite { Ok(value) } else { Err(demand()) }
}

/// Reads an id from JSON.
///
/// # Errors
/// `ErrorKind::Invalid` naming `_id`, if it is not an id of this kind.
pub(crate) fn read_id(id_type: IdType, json: &str) -> Result<Id> {
    // What serde cannot read is no id either.
    id_of(id_type, &serde_json::from_str(json).unwrap_or_default())
}

/// The id that a JSON value is.
///
/// # Errors
/// As [`read_id`].
pub(crate) fn id_of(id_type: IdType, value: &Value) -> Result<Id> {
    let typed = match value {
        Value::String(text) => Some(Bson::String(text.clone())),
        Value::Number(number) => number.as_i64().map(Bson::Int64),
        Value::Object(fields) => extended::read(fields),
        _ => None,
    };
    match typed {
        Some(value) => id_type.read(&value),
        None => Err(Error::invalid("_id", format!("must be of type {}", id_type.name()))),
    }
}
