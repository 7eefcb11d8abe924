//! Raw BSON, read in place: elements and values as slices of the document's bytes, every length checked.

use std::str;

use bson::{Bson, RawDocument, spec::ElementType};

use crate::{
    Error, ErrorKind,
    document::word::{find_zero, is_utf8},
};

/// How deep a document may be nested before it counts as malformed. MongoDB's own limit is 100.
pub(crate) const MAX_RAW_DEPTH: u32 = 128;

/// The first generic subtype of binary data, from before 2010.
const OLD_BINARY: u8 = 2;

/// The bytes are not BSON. A unit, so that reading stays cheap; it becomes an [`Error`] at the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Malformed {
    /// The error for bytes that a caller gave, not the database.
    pub(crate) fn refused(self) -> Error {
        Error::new(ErrorKind::Invalid, "is not BSON")
    }
}

impl From<Malformed> for Error {
    fn from(_: Malformed) -> Self {
        Self::new(ErrorKind::Corrupt, "the document is not valid BSON")
    }
}

/// One value: its type and its bytes, without the name in front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    pub(crate) kind: ElementType,
    pub(crate) bytes: &'a [u8],
}

/// One element of a document or an array.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: Value<'a>,
    /// The whole element: type, name and value, as it stands in the document.
    pub(crate) bytes: &'a [u8],
}

/// The elements of a document or an array, in order.
#[derive(Clone, Debug)]
pub(crate) struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// Reads the elements of `document`: its length, the elements, a zero byte.
    pub(crate) fn of(document: &'a [u8]) -> Result<Self, Malformed> {
        match document {
            [a, b, c, d, rest @ .., 0] if u32::from_le_bytes([*a, *b, *c, *d]) as usize == document.len() => {
                Ok(Self { rest })
            }
            _ => Err(Malformed),
        }
    }

    /// Inlined, as is what it calls: an element that is handed over in memory is written field by field and read back in wide
    /// moves, which wait for the writes; that took as long as all else.
    #[inline(always)]
    fn read(&mut self) -> Result<Element<'a>, Malformed> {
        let start = self.rest;
        let (&kind, rest) = start.split_first().ok_or(Malformed)?;
        let kind = ElementType::from(kind).ok_or(Malformed)?;
        let name_end = find_zero(rest).ok_or(Malformed)?;
        let after_name = &rest[name_end + 1..];
        let value_length = value_length(kind, after_name)?;
        let bytes = after_name.get(..value_length).ok_or(Malformed)?;
        self.rest = &after_name[value_length..];
        let element_bytes = &start[..start.len() - self.rest.len()];
        Ok(Element { name: &rest[..name_end], value: Value { kind, bytes }, bytes: element_bytes })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, Malformed>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let element = self.read();
        if element.is_err() {
            self.rest = &[];
        }
        Some(element)
    }
}

#[inline(always)]
fn value_length(kind: ElementType, bytes: &[u8]) -> Result<usize, Malformed> {
    let length = match kind {
        ElementType::Undefined | ElementType::Null | ElementType::MaxKey | ElementType::MinKey => 0,
        ElementType::Boolean => 1,
        ElementType::Int32 => 4,
        ElementType::Double | ElementType::DateTime | ElementType::Timestamp | ElementType::Int64 => 8,
        ElementType::ObjectId => 12,
        ElementType::Decimal128 => 16,
        ElementType::EmbeddedDocument | ElementType::Array | ElementType::JavaScriptCodeWithScope => {
            prefix(bytes)?
        }
        ElementType::String | ElementType::JavaScriptCode | ElementType::Symbol => prefix(bytes)? + 4,
        ElementType::Binary => prefix(bytes)? + 5,
        ElementType::DbPointer => prefix(bytes)? + 4 + 12,
        ElementType::RegularExpression => {
            let pattern = cstr_length(bytes)?;
            pattern + cstr_length(&bytes[pattern..])?
        }
    };
    Ok(length)
}

fn prefix(bytes: &[u8]) -> Result<usize, Malformed> {
    let length = bytes.first_chunk::<4>().ok_or(Malformed)?;
    usize::try_from(i32::from_le_bytes(*length)).map_err(|_| Malformed)
}

/// The length of a zero-terminated text, the zero included.
fn cstr_length(bytes: &[u8]) -> Result<usize, Malformed> {
    find_zero(bytes).map(|end| end + 1).ok_or(Malformed)
}

impl<'a> Value<'a> {
    fn fixed<const N: usize>(self) -> Result<[u8; N], Malformed> {
        self.bytes.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn int32(self) -> Result<i32, Malformed> {
        self.fixed().map(i32::from_le_bytes)
    }

    /// An Int64, or the milliseconds of a date.
    pub(crate) fn int64(self) -> Result<i64, Malformed> {
        self.fixed().map(i64::from_le_bytes)
    }

    pub(crate) fn double(self) -> Result<f64, Malformed> {
        self.fixed().map(f64::from_le_bytes)
    }

    pub(crate) fn boolean(self) -> Result<bool, Malformed> {
        match self.bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn decimal(self) -> Result<[u8; 16], Malformed> {
        self.fixed()
    }

    /// Increment and time of a timestamp, in the order of their storage.
    pub(crate) fn timestamp(self) -> Result<(u32, u32), Malformed> {
        let bits = self.fixed().map(u64::from_le_bytes)?;
        Ok((bits as u32, (bits >> 32) as u32))
    }

    /// The bytes of a string, a symbol or code, without length and final zero.
    pub(crate) fn text_bytes(self) -> Result<&'a [u8], Malformed> {
        match self.bytes {
            [_, _, _, _, text @ .., 0] if prefix(self.bytes)? == text.len() + 1 => Ok(text),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn text(self) -> Result<&'a str, Malformed> {
        str::from_utf8(self.text_bytes()?).map_err(|_| Malformed)
    }

    /// The subtype and the bytes of binary data, as they are stored.
    pub(crate) fn binary(self) -> Result<(u8, &'a [u8]), Malformed> {
        match self.bytes {
            [_, _, _, _, subtype, bytes @ ..] if prefix(self.bytes)? == bytes.len() => Ok((*subtype, bytes)),
            _ => Err(Malformed),
        }
    }

    /// The subtype and the bytes of binary data, without the second length that the old generic subtype stores in front.
    pub(crate) fn binary_content(self) -> Result<(u8, &'a [u8]), Malformed> {
        match self.binary()? {
            (OLD_BINARY, bytes) => match bytes.split_at_checked(4) {
                Some((_, content)) if prefix(bytes)? == content.len() => Ok((OLD_BINARY, content)),
                _ => Err(Malformed),
            },
            other => Ok(other),
        }
    }

    /// Pattern and options of a regular expression.
    pub(crate) fn regex(self) -> Result<(&'a str, &'a str), Malformed> {
        let split = cstr_length(self.bytes)?;
        let (pattern, options) = self.bytes.split_at(split);
        let text = |bytes: &'a [u8]| str::from_utf8(&bytes[..bytes.len() - 1]).map_err(|_| Malformed);
        if options.is_empty() { Err(Malformed) } else { Ok((text(pattern)?, text(options)?)) }
    }

    /// Code and scope of code with scope.
    pub(crate) fn code_with_scope(self) -> Result<(&'a str, &'a [u8]), Malformed> {
        let body = self.bytes.get(4..).ok_or(Malformed)?;
        let code_length = prefix(body)? + 4;
        let code =
            Value { kind: ElementType::JavaScriptCode, bytes: body.get(..code_length).ok_or(Malformed)? };
        Ok((code.text()?, &body[code_length..]))
    }

    /// Namespace and id of a DBPointer.
    pub(crate) fn db_pointer(self) -> Result<(&'a str, &'a [u8]), Malformed> {
        let split = self.bytes.len().checked_sub(12).ok_or(Malformed)?;
        let name = Value { kind: ElementType::String, bytes: &self.bytes[..split] };
        Ok((name.text()?, &self.bytes[split..]))
    }

    pub(crate) fn is_array(self) -> bool {
        self.kind == ElementType::Array
    }

    pub(crate) fn is_document(self) -> bool {
        self.kind == ElementType::EmbeddedDocument
    }

    /// An owned copy.
    pub(crate) fn to_bson(self) -> Result<Bson, Malformed> {
        // A document of one element: length, type, the empty name, the value, the end.
        let mut document = Vec::with_capacity(self.bytes.len() + 7);
        document.extend_from_slice(&(self.bytes.len() as u32 + 7).to_le_bytes());
        document.extend_from_slice(&[self.kind as u8, 0]);
        document.extend_from_slice(self.bytes);
        document.push(0);
        let document = RawDocument::from_bytes(&document).map_err(|_| Malformed)?;
        let value = document.get("").map_err(|_| Malformed)?.ok_or(Malformed)?;
        Bson::try_from(value).map_err(|_| Malformed)
    }

    /// The elements of a document or an array.
    pub(crate) fn elements(self) -> Result<Elements<'a>, Malformed> {
        Elements::of(self.bytes)
    }
}

/// The first element of this name.
pub(crate) fn find<'a>(document: &'a [u8], name: &[u8]) -> Result<Option<Value<'a>>, Malformed> {
    for element in Elements::of(document)? {
        let element = element?;
        if element.name == name {
            return Ok(Some(element.value));
        }
    }
    Ok(None)
}

fn check_text(bytes: &[u8]) -> Result<(), Malformed> {
    if is_utf8(bytes) { Ok(()) } else { Err(Malformed) }
}

/// Checks every length, type, name and text of the document, so that later readers find no surprise.
pub(crate) fn validate(document: &[u8]) -> Result<(), Malformed> {
    validate_level(document, 0)
}

fn validate_level(document: &[u8], depth: u32) -> Result<(), Malformed> {
    if depth > MAX_RAW_DEPTH {
        return Err(Malformed);
    }
    for element in Elements::of(document)? {
        let Element { name, value, .. } = element?;
        check_text(name)?;
        match value.kind {
            ElementType::String | ElementType::JavaScriptCode | ElementType::Symbol => {
                check_text(value.text_bytes()?)?;
            }
            ElementType::EmbeddedDocument | ElementType::Array => validate_level(value.bytes, depth + 1)?,
            ElementType::Boolean => {
                value.boolean()?;
            }
            ElementType::Binary => {
                value.binary_content()?;
            }
            ElementType::RegularExpression => {
                value.regex()?;
            }
            ElementType::DbPointer => {
                value.db_pointer()?;
            }
            ElementType::JavaScriptCodeWithScope => validate_level(value.code_with_scope()?.1, depth + 1)?,
            ElementType::Double
            | ElementType::Undefined
            | ElementType::ObjectId
            | ElementType::DateTime
            | ElementType::Null
            | ElementType::Int32
            | ElementType::Timestamp
            | ElementType::Int64
            | ElementType::Decimal128
            | ElementType::MinKey
            | ElementType::MaxKey => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{doc, rawdoc};
    use proptest::prelude::*;

    #[test]
    fn a_found_value_has_its_type_and_bytes() {
        let raw = rawdoc! { "a": 1_i32, "b": "text" };
        let value = find(raw.as_bytes(), b"b").unwrap().unwrap();
        assert_eq!((value.kind, value.text().unwrap()), (ElementType::String, "text"));
        assert!(find(raw.as_bytes(), b"c").unwrap().is_none());
    }

    proptest! {
        #[test]
        fn no_cut_or_flip_of_a_document_makes_reading_panic(cut in 0_usize..200, at in 0_usize..200, bit in 0_u8..8) {
            let document = doc! {
                "s": "text", "n": 1.5, "d": { "x": [1_i32, 2_i64, "three"] }, "b": true,
                "r": bson::Regex { pattern: "a".try_into().unwrap(), options: "i".try_into().unwrap() },
                "bin": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1, 2, 3] },
                "code": bson::JavaScriptCodeWithScope { code: "f".into(), scope: doc! { "y": 1 } },
            };
            let mut bytes = bson::serialize_to_vec(&document).unwrap();
            prop_assert!(validate(&bytes).is_ok());
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            bytes.truncate(bytes.len() - cut.min(bytes.len()));
            let _ = validate(&bytes);
        }
    }
}
