//! Documents as Extended JSON, written straight from their raw bytes, without a tree in between.

mod date;
mod text;

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bson::{RawDocument, spec::ElementType};
use bytes::Bytes;

use self::{date::write_instant, text::write_text};
use super::{
    decimal::Decimal,
    raw::{self, Malformed, Value},
    word::is_utf8,
};
use crate::Result;

pub(crate) use self::date::parse_instant;

/// Which form of Extended JSON. Both keep every BSON type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum JsonForm {
    /// Numbers and dates are easy to read: `1`, `1.0`, `{"$date":"2025-01-02T03:04:05Z"}`.
    #[default]
    Relaxed,
    /// Numbers and dates name their type: `{"$numberInt":"1"}`.
    Canonical,
}

/// Renders a raw document as Extended JSON.
///
/// Doubles always have a point or an exponent, so that they read back as doubles. Cost: one pass over the bytes.
///
/// # Errors
/// `ErrorKind::Corrupt` if the bytes are not BSON or a text in them is not UTF-8.
pub fn to_json(document: &RawDocument, form: JsonForm) -> Result<Bytes> {
    let mut json = Vec::with_capacity(room_for(document.as_bytes()));
    write_document(document.as_bytes(), form, &mut json)?;
    Ok(Bytes::from(json))
}

/// Appends a raw document, as [`to_json`] renders it, to a buffer, such as that of a list.
///
/// # Errors
/// As [`to_json`]; the buffer then ends in the middle of the document.
pub fn write_json(document: &RawDocument, form: JsonForm, json: &mut Vec<u8>) -> Result<()> {
    Ok(write_document(document.as_bytes(), form, json)?)
}

/// The relaxed form of bytes that [`raw::validate`] has seen: their texts are not checked once more.
pub(crate) fn json_of_checked(document: &[u8]) -> Result<Bytes, Malformed> {
    let mut json = Vec::with_capacity(room_for(document));
    let mut writer = Writer { form: JsonForm::Relaxed, checked: true, json: &mut json };
    writer.elements(Value { kind: ElementType::EmbeddedDocument, bytes: document }, 0)?;
    Ok(Bytes::from(json))
}

fn write_document(document: &[u8], form: JsonForm, json: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut writer = Writer { form, checked: false, json };
    writer.elements(Value { kind: ElementType::EmbeddedDocument, bytes: document }, 0)
}

/// Quotes and colons take about as much as the types and lengths that they stand for.
fn room_for(document: &[u8]) -> usize {
    document.len() * 5 / 4 + 64
}

struct Writer<'a> {
    form: JsonForm,
    /// Whether the texts are known to be UTF-8.
    checked: bool,
    json: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn push(&mut self, text: &str) {
        self.json.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Malformed> {
        if !self.checked && !is_utf8(text) {
            return Err(Malformed);
        }
        write_text(text, self.json);
        Ok(())
    }

    fn elements(&mut self, value: Value<'_>, depth: u32) -> Result<(), Malformed> {
        if depth > raw::MAX_RAW_DEPTH {
            return Err(Malformed);
        }
        let array = value.is_array();
        self.json.push(if array { b'[' } else { b'{' });
        for (index, element) in value.elements()?.enumerate() {
            let element = element?;
            if index > 0 {
                self.json.push(b',');
            }
            if !array {
                self.text(element.name)?;
                self.json.push(b':');
            }
            self.value(element.value, depth)?;
        }
        self.json.push(if array { b']' } else { b'}' });
        Ok(())
    }

    fn value(&mut self, value: Value<'_>, depth: u32) -> Result<(), Malformed> {
        match value.kind {
            ElementType::String => self.text(value.text_bytes()?)?,
            ElementType::EmbeddedDocument | ElementType::Array => self.elements(value, depth + 1)?,
            ElementType::Double => self.double(value.double()?),
            ElementType::Int32 => self.integer("$numberInt", value.int32()?.into()),
            ElementType::Int64 => self.integer("$numberLong", value.int64()?),
            ElementType::Boolean => self.push(if value.boolean()? { "true" } else { "false" }),
            ElementType::Null => self.push("null"),
            ElementType::ObjectId => self.object_id(value.bytes),
            ElementType::DateTime => self.date(value.int64()?),
            ElementType::Decimal128 => {
                let decimal = Decimal::unpack(value.decimal()?);
                // Writing into a vector cannot fail.
                let _ = write!(Text(self.json), "{{\"$numberDecimal\":\"{decimal}\"}}");
            }
            ElementType::Binary => self.binary(value)?,
            ElementType::RegularExpression
            | ElementType::Timestamp
            | ElementType::JavaScriptCode
            | ElementType::JavaScriptCodeWithScope
            | ElementType::Symbol
            | ElementType::Undefined
            | ElementType::DbPointer
            | ElementType::MinKey
            | ElementType::MaxKey => self.rare(value, depth)?,
        }
        Ok(())
    }

    fn double(&mut self, number: f64) {
        if number.is_finite() && self.form == JsonForm::Relaxed {
            self.push(ryu::Buffer::new().format_finite(number));
            return;
        }
        self.push("{\"$numberDouble\":\"");
        match (number.is_nan(), number.is_infinite(), number > 0.0) {
            (true, ..) => self.push("NaN"),
            (_, true, true) => self.push("Infinity"),
            (_, true, false) => self.push("-Infinity"),
            _ => self.push(ryu::Buffer::new().format_finite(number)),
        }
        self.push("\"}");
    }

    fn integer(&mut self, name: &str, number: i64) {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(number);
        match self.form {
            JsonForm::Relaxed => self.push(digits),
            JsonForm::Canonical => self.wrapped(name, digits),
        }
    }

    /// `{"name":"text"}`, for names and texts without anything to escape.
    fn wrapped(&mut self, name: &str, text: &str) {
        for part in ["{\"", name, "\":\"", text, "\"}"] {
            self.push(part);
        }
    }

    fn object_id(&mut self, bytes: &[u8]) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.push("{\"$oid\":\"");
        for byte in bytes {
            self.json.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        self.push("\"}");
    }

    fn date(&mut self, milliseconds: i64) {
        self.push("{\"$date\":");
        if self.form == JsonForm::Relaxed && date::is_readable(milliseconds) {
            write_instant(milliseconds, self.json);
        } else {
            self.wrapped("$numberLong", itoa::Buffer::new().format(milliseconds));
        }
        self.push("}");
    }

    fn binary(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        let (subtype, bytes) = value.binary_content()?;
        self.push("{\"$binary\":{\"base64\":\"");
        self.push(&STANDARD.encode(bytes));
        let _ = write!(Text(self.json), "\",\"subType\":\"{subtype:02x}\"}}}}");
        Ok(())
    }

    fn rare(&mut self, value: Value<'_>, depth: u32) -> Result<(), Malformed> {
        match value.kind {
            ElementType::RegularExpression => {
                let (pattern, options) = value.regex()?;
                self.push("{\"$regularExpression\":{\"pattern\":");
                self.text(pattern.as_bytes())?;
                self.push(",\"options\":");
                self.text(options.as_bytes())?;
                self.push("}}");
            }
            ElementType::Timestamp => {
                let (increment, time) = value.timestamp()?;
                let _ = write!(Text(self.json), "{{\"$timestamp\":{{\"t\":{time},\"i\":{increment}}}}}");
            }
            ElementType::JavaScriptCode => self.named_text("{\"$code\":", value.text_bytes()?)?,
            ElementType::Symbol => self.named_text("{\"$symbol\":", value.text_bytes()?)?,
            ElementType::JavaScriptCodeWithScope => {
                let (code, scope) = value.code_with_scope()?;
                self.push("{\"$code\":");
                self.text(code.as_bytes())?;
                self.push(",\"$scope\":");
                self.elements(Value { kind: ElementType::EmbeddedDocument, bytes: scope }, depth + 1)?;
                self.push("}");
            }
            ElementType::DbPointer => {
                let (name, id) = value.db_pointer()?;
                self.push("{\"$dbPointer\":{\"$ref\":");
                self.text(name.as_bytes())?;
                self.push(",\"$id\":");
                self.object_id(id);
                self.push("}}");
            }
            ElementType::MinKey => self.push("{\"$minKey\":1}"),
            ElementType::MaxKey => self.push("{\"$maxKey\":1}"),
            _ => self.push("{\"$undefined\":true}"),
        }
        Ok(())
    }

    fn named_text(&mut self, open: &str, text: &[u8]) -> Result<(), Malformed> {
        self.push(open);
        self.text(text)?;
        self.push("}");
        Ok(())
    }
}

/// Lets formatted text go into the buffer.
struct Text<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
