//! The forms of Extended JSON that may come in.

use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bson::{
    Binary, Bson, DateTime, JavaScriptCodeWithScope, Regex, Timestamp, oid::ObjectId, spec::BinarySubtype,
};
use serde_json::{Map, Value};

use super::number::finite_decimal;
use crate::document::json::parse_instant;

/// The value that an object with an operator stands for; `None` if it stands for none.
pub(super) fn read(fields: &Map<String, Value>) -> Option<Bson> {
    let mut fields_iter = fields.iter();
    let (name, value) = fields_iter.next()?;
    if fields.len() > 1 {
        return code_with_scope(fields);
    }
    Some(match (name.as_str(), value) {
        ("$oid", Value::String(hex)) => Bson::ObjectId(ObjectId::parse_str(hex).ok()?),
        ("$date", Value::String(text)) => Bson::DateTime(DateTime::from_millis(parse_instant(text)?)),
        ("$date", Value::Number(number)) => Bson::DateTime(DateTime::from_millis(number.as_i64()?)),
        ("$date", Value::Object(inner)) => {
            Bson::DateTime(DateTime::from_millis(single(inner, "$numberLong")?))
        }
        ("$numberInt", Value::String(digits)) => Bson::Int32(digits.parse().ok()?),
        ("$numberLong", Value::String(digits)) => Bson::Int64(digits.parse().ok()?),
        ("$numberDouble", Value::String(text)) => Bson::Double(double(text)?),
        ("$numberDecimal", Value::String(text)) => {
            Bson::Decimal128(crate::document::decimal::Decimal::parse(text)?.pack()?)
        }
        ("$binary", Value::Object(inner)) => binary(inner)?,
        ("$uuid", Value::String(text)) => Bson::Binary(bson::Uuid::parse_str(text).ok()?.into()),
        ("$timestamp", Value::Object(inner)) => Bson::Timestamp(Timestamp {
            time: u32::try_from(inner.get("t")?.as_u64()?).ok()?,
            increment: u32::try_from(inner.get("i")?.as_u64()?).ok()?,
        }),
        ("$regularExpression", Value::Object(inner)) => Bson::RegularExpression(Regex {
            pattern: inner.get("pattern")?.as_str()?.try_into().ok()?,
            options: inner.get("options")?.as_str()?.try_into().ok()?,
        }),
        ("$symbol", Value::String(text)) => Bson::Symbol(text.clone()),
        ("$code", Value::String(text)) => Bson::JavaScriptCode(text.clone()),
        ("$minKey", Value::Number(_)) => Bson::MinKey,
        ("$maxKey", Value::Number(_)) => Bson::MaxKey,
        ("$undefined", Value::Bool(true)) => Bson::Undefined,
        _ => return None,
    })
}

fn single<T: FromStr>(fields: &Map<String, Value>, name: &str) -> Option<T> {
    if fields.len() == 1 { fields.get(name)?.as_str()?.parse().ok() } else { None }
}

fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => finite_decimal(text).and_then(|_| text.parse().ok()),
    }
}

fn binary(fields: &Map<String, Value>) -> Option<Bson> {
    let bytes = STANDARD.decode(fields.get("base64")?.as_str()?).ok()?;
    let subtype = u8::from_str_radix(fields.get("subType")?.as_str()?, 16).ok()?;
    (fields.len() == 2).then(|| Bson::Binary(Binary { subtype: BinarySubtype::from(subtype), bytes }))
}

/// Code with an empty scope: a scope with fields is a document of its own that nothing here would have checked.
fn code_with_scope(fields: &Map<String, Value>) -> Option<Bson> {
    let code = fields.get("$code")?.as_str()?.to_owned();
    let scope = fields.get("$scope")?.as_object()?;
    let empty = scope.is_empty() && fields.len() == 2;
    empty.then(|| {
        Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code, scope: bson::Document::new() })
    })
}
