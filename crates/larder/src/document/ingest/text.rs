//! Values from bare text: operands of filters, variables of pipelines, cells of a CSV file.

use bson::{Bson, DateTime, oid::ObjectId};

use super::{integer, number::finite_decimal};
use crate::{
    Error, ErrorKind, Result,
    document::{FieldType, decimal::Decimal, json::parse_instant},
};

impl FieldType {
    /// Reads a value of this type from text without quotes. For an array type, reads one element.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` without a field, which the caller knows; always for objects and untyped fields.
    pub fn read_text(&self, text: &str) -> Result<Bson> {
        let value = match self {
            Self::String => Some(Bson::String(text.to_owned())),
            Self::Int => text.parse().ok().map(integer),
            // The grammar of decimals keeps out what Rust alone would take, such as "inf".
            Self::Double => finite_decimal(text).and_then(|_| text.parse().ok()).map(Bson::Double),
            Self::Decimal => finite_decimal(text).and_then(Decimal::pack).map(Bson::Decimal128),
            Self::Bool => text.parse().ok().map(Bson::Boolean),
            Self::Date => parse_instant(text).map(|instant| Bson::DateTime(DateTime::from_millis(instant))),
            Self::ObjectId => ObjectId::parse_str(text).ok().map(Bson::ObjectId),
            Self::Array(element) => return element.read_text(text),
            Self::Object | Self::Any => None,
        };
        value.ok_or_else(|| Error::new(ErrorKind::Invalid, self.demand()))
    }
}
