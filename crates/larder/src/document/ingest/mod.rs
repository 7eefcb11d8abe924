//! JSON into BSON by the declared types: plain JSON where a field is declared, Extended JSON everywhere.
//!
//! What is read is checked on the way: unknown fields, wrong types, missing fields, names that MongoDB would take for
//! operators, depth and size. Every refusal names the field.

mod check;
mod extended;
mod number;
mod operand;
mod reader;
mod shape;
mod text;
mod value;

use bson::{Bson, Document, RawDocument, RawDocumentBuf};

use self::reader::{Mode, Reader};
use super::{
    MergePatch, Schema,
    raw::{self, Malformed},
    write,
};
use crate::{Error, ErrorKind, Result};

pub(crate) use self::{
    operand::{id_of, read_id, read_operand},
    shape::Shape,
};

/// How deep a document from outside may be nested.
pub const MAX_DEPTH: u32 = 32;

/// The longest excerpt of a client's own text that an error repeats.
const MAX_EXCERPT_BYTES: usize = 48;

impl Schema {
    /// Reads a document from JSON. Its `_id`, if it has one, becomes its first field.
    ///
    /// In a declared field plain JSON is read by the field's type: a string as an ObjectId or as an RFC 3339 date, a
    /// number or a string as an exact decimal, an integer in a double's field as a double. Extended JSON (`{"$oid": …}`)
    /// is read everywhere. Elsewhere integers become Int32 or Int64 by their size, other numbers doubles.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming the field that is unknown (in a [strict](Schema::strict) schema), missing, given twice
    /// or of another type, or whose name begins with `$` or holds a point or a zero byte; also for text that is not JSON
    /// and for nesting deeper than [`MAX_DEPTH`]. `ErrorKind::TooLarge` above
    /// [`MAX_DOCUMENT_BYTES`](super::MAX_DOCUMENT_BYTES).
    pub fn read_raw(&self, json: &[u8]) -> Result<RawDocumentBuf> {
        let bytes = Reader::new(self, Mode::Document).read(json)?;
        RawDocumentBuf::from_bytes(bytes).map_err(|_| Malformed.into())
    }

    /// Reads a document as [`Schema::read_raw`] does, into a tree.
    ///
    /// # Errors
    /// As [`Schema::read_raw`].
    pub fn read_document(&self, json: &[u8]) -> Result<Document> {
        Document::try_from(self.read_raw(json)?).map_err(|_| Malformed.into())
    }

    /// Reads a merge patch: like a document, but null removes the field it stands in, and nothing is missing.
    ///
    /// # Errors
    /// As [`Schema::read_raw`]; also `ErrorKind::Invalid` naming `_id`, or a required field that would be removed.
    pub fn read_patch(&self, json: &[u8]) -> Result<MergePatch> {
        let bytes = Reader::new(self, Mode::Patch).read(json)?;
        MergePatch::new(bson::deserialize_from_slice(&bytes).map_err(|_| Malformed)?)
    }

    /// Checks a typed document against the declaration: the same rules as for [`Schema::read_raw`], nothing converted.
    ///
    /// # Errors
    /// As [`Schema::read_raw`].
    pub fn check(&self, document: &Document) -> Result<()> {
        check::tree(self, document)?;
        write::check_size(write::to_raw(document)?.as_bytes().len())
    }

    /// [`check`](Self::check) of BSON, where it lies; also `ErrorKind::Invalid` for what is not BSON.
    pub(crate) fn check_raw(&self, document: &RawDocument) -> Result<()> {
        check::raw(self, document.as_bytes())?;
        raw::validate(document.as_bytes()).map_err(Malformed::refused)?;
        write::check_size(document.as_bytes().len())
    }
}

/// What is said of text that is not JSON.
pub(crate) fn syntax(error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("not valid JSON: {error}"))
}

/// A short piece of a client's text, safe to repeat in a message.
pub(crate) fn excerpt(text: &str) -> String {
    let mut end = text.len().min(MAX_EXCERPT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut excerpt: String =
        text[..end].chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if end < text.len() {
        excerpt.push('…');
    }
    excerpt
}

/// Why a field name cannot be stored, if it cannot.
pub(crate) fn name_fault(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("a field name cannot be empty"),
        _ if name.starts_with('$') => Some("a field name cannot begin with `$`"),
        _ if name.contains('.') => Some("a field name cannot contain a point"),
        _ if name.contains('\0') => Some("a field name cannot contain a zero byte"),
        _ => None,
    }
}

/// An integer as small as it fits.
pub(crate) fn integer(number: i64) -> Bson {
    i32::try_from(number).map_or(Bson::Int64(number), Bson::Int32)
}

#[cfg(test)]
mod tests;
