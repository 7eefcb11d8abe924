//! The order of BSON values, as bytes: two values compare as their keys do with `memcmp`.
//!
//! The order is MongoDB's: first the class of the type (all numbers are one class), then the value; an absent value sorts
//! as null. Numbers of different types compare exactly, never by rounding. The keys stand in SQLite's indexes, so a
//! change of their layout needs a new [`KEY_VERSION`].

mod number;

use bson::{Bson, Document, spec::ElementType};

use super::raw::{Element, MAX_RAW_DEPTH, Malformed, Value};
pub(crate) use number::is_nan_key;

/// The layout of the keys; part of every index name.
pub(crate) const KEY_VERSION: u32 = 1;

/// Ends an object, an array or a text; below every class.
const END: u8 = 0x00;
/// Follows a zero byte inside a text, so that the zero is not its end.
const ESCAPE: u8 = 0xff;

/// The classes that filters compare within, in order. Gaps mean nothing.
pub(crate) mod class {
    pub(crate) const MIN_KEY: u8 = 1;
    pub(crate) const UNDEFINED: u8 = 2;
    pub(crate) const NULL: u8 = 5;
    pub(crate) const NUMBER: u8 = 10;
    pub(crate) const STRING: u8 = 15;
    pub(crate) const OBJECT: u8 = 20;
    pub(crate) const ARRAY: u8 = 25;
    pub(crate) const BINARY: u8 = 30;
    pub(crate) const OBJECT_ID: u8 = 35;
    pub(crate) const BOOL: u8 = 40;
    pub(crate) const DATE: u8 = 45;
    pub(crate) const TIMESTAMP: u8 = 47;
    pub(crate) const REGEX: u8 = 50;
    pub(crate) const DB_POINTER: u8 = 55;
    pub(crate) const CODE: u8 = 60;
    pub(crate) const CODE_WITH_SCOPE: u8 = 65;
    pub(crate) const MAX_KEY: u8 = 127;
}

fn class_of(kind: ElementType) -> u8 {
    match kind {
        ElementType::MinKey => class::MIN_KEY,
        ElementType::Undefined => class::UNDEFINED,
        ElementType::Null => class::NULL,
        ElementType::Int32 | ElementType::Int64 | ElementType::Double | ElementType::Decimal128 => {
            class::NUMBER
        }
        ElementType::String | ElementType::Symbol => class::STRING,
        ElementType::EmbeddedDocument => class::OBJECT,
        ElementType::Array => class::ARRAY,
        ElementType::Binary => class::BINARY,
        ElementType::ObjectId => class::OBJECT_ID,
        ElementType::Boolean => class::BOOL,
        ElementType::DateTime => class::DATE,
        ElementType::Timestamp => class::TIMESTAMP,
        ElementType::RegularExpression => class::REGEX,
        ElementType::DbPointer => class::DB_POINTER,
        ElementType::JavaScriptCode => class::CODE,
        ElementType::JavaScriptCodeWithScope => class::CODE_WITH_SCOPE,
        ElementType::MaxKey => class::MAX_KEY,
    }
}

/// Appends the key of `value`; `None` stands for an absent field.
pub(crate) fn write_key(value: Option<Value<'_>>, key: &mut Vec<u8>) -> Result<(), Malformed> {
    match value {
        None => key.push(class::NULL),
        Some(value) => {
            key.push(class_of(value.kind));
            write_body(value, key, 0)?;
        }
    }
    Ok(())
}

/// The key of a value, alone.
pub(crate) fn key_of(value: Option<Value<'_>>) -> Result<Vec<u8>, Malformed> {
    let mut key = Vec::with_capacity(16);
    write_key(value, &mut key)?;
    Ok(key)
}

/// The key of an owned value. A name or text that BSON cannot hold is malformed.
pub(crate) fn key_of_bson(value: &Bson) -> Result<Vec<u8>, Malformed> {
    with_raw(value, |value| key_of(Some(value)))
}

/// Appends the key of an owned value.
pub(crate) fn write_bson_key(value: &Bson, key: &mut Vec<u8>) -> Result<(), Malformed> {
    with_raw(value, |value| write_key(Some(value), key))
}

/// Lends the raw form of an owned value.
pub(crate) fn with_raw<T>(
    value: &Bson,
    read: impl FnOnce(Value<'_>) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let document = Document::from_iter([("v".to_owned(), value.clone())]);
    let bytes = bson::serialize_to_vec(&document).map_err(|_| Malformed)?;
    read(super::raw::find(&bytes, b"v")?.ok_or(Malformed)?)
}

fn write_body(value: Value<'_>, key: &mut Vec<u8>, depth: u32) -> Result<(), Malformed> {
    match value.kind {
        ElementType::MinKey | ElementType::Undefined | ElementType::Null | ElementType::MaxKey => {}
        ElementType::Int32 => number::write_integer(value.int32()?.into(), key),
        ElementType::Int64 => number::write_integer(value.int64()?, key),
        ElementType::Double => number::write_double(value.double()?, key),
        ElementType::Decimal128 => number::write_decimal(value.decimal()?, key),
        ElementType::String | ElementType::Symbol | ElementType::JavaScriptCode => {
            write_text(value.text_bytes()?, key);
        }
        ElementType::EmbeddedDocument | ElementType::Array => write_elements(value, key, depth)?,
        ElementType::Binary => {
            let (subtype, bytes) = value.binary()?;
            key.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            key.push(subtype);
            key.extend_from_slice(bytes);
        }
        ElementType::ObjectId | ElementType::Boolean => key.extend_from_slice(value.bytes),
        ElementType::DateTime => {
            let ordered = (value.int64()? as u64) ^ (1 << 63);
            key.extend_from_slice(&ordered.to_be_bytes());
        }
        ElementType::Timestamp => {
            let (increment, time) = value.timestamp()?;
            key.extend_from_slice(&time.to_be_bytes());
            key.extend_from_slice(&increment.to_be_bytes());
        }
        ElementType::RegularExpression => {
            let (pattern, options) = value.regex()?;
            write_text(pattern.as_bytes(), key);
            write_text(options.as_bytes(), key);
        }
        ElementType::DbPointer => {
            let (name, id) = value.db_pointer()?;
            write_text(name.as_bytes(), key);
            key.extend_from_slice(id);
        }
        ElementType::JavaScriptCodeWithScope => {
            let (code, scope) = value.code_with_scope()?;
            write_text(code.as_bytes(), key);
            write_elements(Value { kind: ElementType::EmbeddedDocument, bytes: scope }, key, depth)?;
        }
    }
    Ok(())
}

/// Objects compare element by element: type, then name, then value; arrays leave out the name.
fn write_elements(value: Value<'_>, key: &mut Vec<u8>, depth: u32) -> Result<(), Malformed> {
    if depth > MAX_RAW_DEPTH {
        return Err(Malformed);
    }
    for element in value.elements()? {
        let Element { name, value: inner, .. } = element?;
        key.push(class_of(inner.kind));
        if !value.is_array() {
            write_text(name, key);
        }
        write_body(inner, key, depth + 1)?;
    }
    key.push(END);
    Ok(())
}

fn write_text(text: &[u8], key: &mut Vec<u8>) {
    write_escaped(text, key);
    key.extend_from_slice(&[END, END]);
}

fn write_escaped(text: &[u8], key: &mut Vec<u8>) {
    let mut parts = text.split(|byte| *byte == 0);
    key.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        key.extend_from_slice(&[0, ESCAPE]);
        key.extend_from_slice(part);
    }
}

/// The range of keys, from inclusive to exclusive, of all strings that begin with `text`.
pub(crate) fn prefix_range(text: &str) -> (Vec<u8>, Vec<u8>) {
    let mut from = vec![class::STRING];
    write_escaped(text.as_bytes(), &mut from);
    let mut to = from.clone();
    // UTF-8 has no 0xff byte; the escape of a final zero byte has, and carries into the zero before it.
    while let Some(last) = to.pop() {
        if last < u8::MAX {
            to.push(last + 1);
            break;
        }
    }
    (from, to)
}

#[cfg(test)]
mod tests;
