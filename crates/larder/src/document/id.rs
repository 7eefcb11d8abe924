//! Document ids: the three kinds that a collection can declare.

use std::{fmt, num::IntErrorKind};

use bson::{Bson, RawDocument, oid::ObjectId};

use crate::{
    Error, Result,
    document::{decimal::Decimal, raw},
};

/// The most bytes a string id may have.
pub const MAX_ID_BYTES: usize = 256;

/// Which kind of `_id` a collection has. Every document of a collection has an id of its one declared kind, so the text
/// form of an id is unique within its collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdType {
    /// A 12-byte ObjectId, written as 24 lower-case hexadecimal digits.
    ObjectId,
    /// A string of 1 to [`MAX_ID_BYTES`] bytes without control characters.
    String,
    /// A signed 64-bit integer.
    Int,
}

impl IdType {
    /// The name used in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::ObjectId => "objectId",
            Self::String => "string",
            Self::Int => "int",
        }
    }

    /// Reads an id from its text form, as it stands in a URL.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming `_id`, if the text is not an id of this kind.
    pub fn parse(self, text: &str) -> Result<Id> {
        match self {
            Self::ObjectId => ObjectId::parse_str(text)
                .map(Id::ObjectId)
                .map_err(|_| Error::invalid("_id", "must be 24 hexadecimal digits")),
            Self::Int => match text.parse::<i64>() {
                // One document, one text: "+7" and "007" are not ids.
                Ok(number) if itoa::Buffer::new().format(number) == text => Ok(Id::Int(number)),
                Err(wrong)
                    if matches!(wrong.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow) =>
                {
                    Err(Error::invalid("_id", "must be an integer of at most 64 bits: it is too large"))
                }
                _ => Err(Error::invalid("_id", "must be an integer without leading zeros")),
            },
            Self::String => Id::string(text),
        }
    }

    /// Reads an id from a BSON value. Every integer type is accepted for [`IdType::Int`].
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming `_id`, if the value is not an id of this kind.
    pub fn read(self, value: &Bson) -> Result<Id> {
        match (self, value) {
            (Self::ObjectId, Bson::ObjectId(id)) => Ok(Id::ObjectId(*id)),
            (Self::Int, Bson::Int64(number)) => Ok(Id::Int(*number)),
            (Self::Int, Bson::Int32(number)) => Ok(Id::Int((*number).into())),
            (Self::String | Self::ObjectId, Bson::String(text)) => self.parse(text),
            _ => Err(Error::invalid("_id", format!("must be of type {}", self.name()))),
        }
    }

    /// The id of a stored document. Others than Larder may have stored a whole number as a double or a decimal; MongoDB finds it by
    /// the integer that it is equal to, and so it is cached.
    pub(crate) fn read_raw(self, document: &RawDocument) -> Result<Id> {
        let value = raw::find(document.as_bytes(), b"_id")?.ok_or(raw::Malformed)?.to_bson()?;
        let whole = match (self, &value) {
            (Self::Int, Bson::Double(number)) => whole(*number),
            (Self::Int, Bson::Decimal128(number)) => Decimal::unpack(number.bytes()).whole(),
            _ => None,
        };
        whole.map_or_else(|| self.read(&value), |number| Ok(Id::Int(number)))
    }
}

/// The integer that a double is equal to.
fn whole(number: f64) -> Option<i64> {
    // The largest integer is no double; the next number that is one is too large by one.
    let fits = (i64::MIN as f64..-(i64::MIN as f64)).contains(&number);
    (fits && number.fract() == 0.0).then_some(number as i64)
}

/// The `_id` of a document.
///
/// ```
/// use larder::document::{Id, IdType};
/// let id = IdType::Int.parse("42")?;
/// assert_eq!(id, Id::Int(42));
/// assert_eq!(id.to_string(), "42");
/// assert!(IdType::Int.parse("042").is_err());
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// See [`IdType::ObjectId`].
    ObjectId(ObjectId),
    /// See [`IdType::String`].
    String(String),
    /// See [`IdType::Int`].
    Int(i64),
}

impl Id {
    /// A string id, checked.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` if the text is empty, too long or holds control characters.
    pub fn string(text: &str) -> Result<Self> {
        if text.is_empty() || text.len() > MAX_ID_BYTES || text.chars().any(char::is_control) {
            return Err(Error::invalid("_id", "must be 1 to 256 bytes of text without control characters"));
        }
        Ok(Self::String(text.to_owned()))
    }

    /// The kind of this id.
    pub fn id_type(&self) -> IdType {
        match self {
            Self::ObjectId(_) => IdType::ObjectId,
            Self::String(_) => IdType::String,
            Self::Int(_) => IdType::Int,
        }
    }
}

impl From<&Id> for Bson {
    fn from(id: &Id) -> Self {
        match id {
            Id::ObjectId(id) => Self::ObjectId(*id),
            Id::String(text) => Self::String(text.clone()),
            Id::Int(number) => Self::Int64(*number),
        }
    }
}

impl From<i64> for Id {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<ObjectId> for Id {
    fn from(id: ObjectId) -> Self {
        Self::ObjectId(id)
    }
}

impl TryFrom<String> for Id {
    type Error = Error;

    /// A string id, checked as by [`Id::string`].
    fn try_from(text: String) -> Result<Self> {
        Self::string(&text)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ObjectId(id) => write!(f, "{id}"),
            Self::String(text) => f.write_str(text),
            Self::Int(number) => write!(f, "{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::{doc, rawdoc};

    use super::*;

    #[test]
    fn a_stored_whole_number_is_the_id_that_it_is_equal_to_whatever_its_type() {
        let read = |value: Bson| {
            let document = bson::serialize_to_raw_document_buf(&doc! { "_id": value }).unwrap();
            IdType::Int.read_raw(&document).ok()
        };
        let decimal = |text: &str| Bson::Decimal128(text.parse().unwrap());
        for five in [
            Bson::Int32(5),
            Bson::Int64(5),
            Bson::Double(5.0),
            decimal("5"),
            decimal("5.00"),
            decimal("50E-1"),
        ] {
            assert_eq!(read(five.clone()), Some(Id::Int(5)), "{five:?}");
        }
        assert_eq!(read(Bson::Double(-9_223_372_036_854_775_808.0)), Some(Id::Int(i64::MIN)));
        assert_eq!(read(decimal("-9223372036854775808")), Some(Id::Int(i64::MIN)));
        assert_eq!(read(decimal("5E9")), Some(Id::Int(5_000_000_000)));
        assert_eq!(read(decimal("-0")), Some(Id::Int(0)));
        for other in [
            Bson::Double(5.5),
            Bson::Double(f64::NAN),
            Bson::Double(f64::INFINITY),
            Bson::Double(9_223_372_036_854_775_808.0),
            decimal("5.5"),
            decimal("9223372036854775808"),
            decimal("1E6000"),
            decimal("NaN"),
        ] {
            assert_eq!(read(other.clone()), None, "{other:?}");
        }
        assert!(IdType::String.read_raw(&rawdoc! { "_id": 5.0 }).is_err());
    }
}
