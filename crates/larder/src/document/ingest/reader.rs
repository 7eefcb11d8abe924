//! The state of one reading of JSON: the BSON written so far, and where in the document it stands.

use std::{borrow::Cow, collections::HashSet};

use bson::{Bson, Document, spec::ElementType};
use serde::de::DeserializeSeed;

use super::{
    MAX_DEPTH, excerpt,
    shape::{Expected, Shape},
    syntax,
    value::Place,
};
use crate::{
    Error, ErrorKind, Result,
    document::{
        FieldType, Id, MAX_DOCUMENT_BYTES, Schema,
        order::with_raw,
        raw::{Elements, Value},
        write,
    },
};

/// What the JSON is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Document,
    Patch,
}

/// The state of one reading.
pub(super) struct Reader<'s> {
    pub(super) schema: &'s Schema,
    pub(super) mode: Mode,
    pub(super) out: Vec<u8>,
    pub(super) id: Option<Id>,
    pub(super) path: Vec<Cow<'s, str>>,
    pub(super) depth: u32,
    /// Set before serde's own error is returned, which says less.
    error: Option<Error>,
}

impl<'s> Reader<'s> {
    pub(super) fn new(schema: &'s Schema, mode: Mode) -> Self {
        Self { schema, mode, out: Vec::new(), id: None, path: Vec::new(), depth: 0, error: None }
    }

    /// The BSON of the document, `_id` first.
    pub(super) fn read(mut self, json: &[u8]) -> Result<Vec<u8>> {
        self.out.reserve(json.len() + json.len() / 4);
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let expected = Expected { field_type: &FieldType::Object, fields: Some(self.schema.shape()) };
        let read = Place { reader: &mut self, expected }.deserialize(&mut deserializer);
        match read.and_then(|kind| deserializer.end().map(|()| kind)) {
            Ok(ElementType::EmbeddedDocument) => {}
            // `null`, and Extended JSON for a scalar.
            Ok(_) => return Err(Error::new(ErrorKind::Invalid, "the document must be an object")),
            Err(error) => return Err(self.error.unwrap_or_else(|| syntax(&error))),
        }
        if let Some(id) = &self.id {
            self.out = with_id_first(id, &self.out)?;
        }
        write::check_size(self.out.len())?;
        Ok(self.out)
    }

    /// One value of the field at `path`, as it would be read in a document. The path is for errors alone.
    pub(super) fn read_value(mut self, path: &str, expected: Expected<'_>, json: &str) -> Result<Bson> {
        self.path.push(path.to_owned().into());
        // Below the document: there Extended JSON may stand.
        self.depth = 1;
        let mut deserializer = serde_json::Deserializer::from_str(json);
        match (Place { reader: &mut self, expected }.deserialize(&mut deserializer)) {
            Ok(kind) => Ok(Value { kind, bytes: &self.out }.to_bson()?),
            Err(error) => Err(self.error.unwrap_or_else(|| syntax(&error).with_field(path))),
        }
    }

    pub(super) fn fail<E: serde::de::Error>(&mut self, error: Error) -> E {
        let message = error.message().to_owned();
        self.error.get_or_insert(error);
        E::custom(message)
    }

    pub(super) fn refuse<E: serde::de::Error>(&mut self, message: &'static str) -> E {
        let error = match self.path.is_empty() {
            true => Error::new(ErrorKind::Invalid, "the document ".to_owned() + message),
            false => Error::invalid(excerpt(&self.path.join(".")), message),
        };
        self.fail(error)
    }

    /// Appends the bytes of a value and answers its type.
    pub(super) fn write(&mut self, value: &Bson) -> ElementType {
        match value {
            Bson::String(text) => self.write_text(text),
            Bson::Int32(number) => self.out.extend_from_slice(&number.to_le_bytes()),
            Bson::Int64(number) => self.out.extend_from_slice(&number.to_le_bytes()),
            Bson::Double(number) => self.out.extend_from_slice(&number.to_le_bytes()),
            Bson::Boolean(truth) => self.out.push(u8::from(*truth)),
            Bson::DateTime(instant) => self.out.extend_from_slice(&instant.timestamp_millis().to_le_bytes()),
            Bson::ObjectId(id) => self.out.extend_from_slice(&id.bytes()),
            Bson::Decimal128(decimal) => self.out.extend_from_slice(&decimal.bytes()),
            other => {
                // Scalars of Extended JSON have no text that BSON cannot hold: it was checked when they were read.
                let _ = with_raw(other, |value| {
                    self.out.extend_from_slice(value.bytes);
                    Ok(())
                });
            }
        }
        value.element_type()
    }

    pub(super) fn write_text(&mut self, text: &str) {
        self.out.extend_from_slice(&(text.len() as u32 + 1).to_le_bytes());
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(0);
    }

    /// Begins an element; its type is set when its value is known.
    pub(super) fn begin_element(&mut self, name: &str) -> usize {
        let start = self.out.len();
        self.out.push(0);
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(0);
        start
    }

    pub(super) fn begin_level<E: serde::de::Error>(&mut self) -> Result<usize, E> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.refuse("is nested too deeply"));
        }
        self.out.extend_from_slice(&[0; 4]);
        Ok(self.out.len() - 4)
    }

    pub(super) fn end_level<E: serde::de::Error>(&mut self, start: usize) -> Result<(), E> {
        self.depth -= 1;
        self.out.push(0);
        let length = self.out.len() - start;
        self.out[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
        self.check_size()
    }

    /// Small JSON can be large BSON, so the size is watched on the way.
    pub(super) fn check_size<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.out.len() > MAX_DOCUMENT_BYTES {
            let error = write::check_size(self.out.len()).expect_err("the size was just found too large");
            return Err(self.fail(error));
        }
        Ok(())
    }

    /// The fields of an object are complete: none twice, none missing.
    pub(super) fn finish_object<E: serde::de::Error>(
        &mut self,
        start: usize,
        expected: Expected<'_>,
    ) -> Result<(), E> {
        self.end_level(start)?;
        let mut names: Vec<&[u8]> = Vec::new();
        let mut seen = HashSet::new();
        for element in Elements::of(&self.out[start..]).into_iter().flatten().flatten() {
            let repeated = match names.len() < 16 {
                true => names.contains(&element.name),
                false => seen.contains(element.name) || names[..16].contains(&element.name),
            };
            if repeated {
                self.path.push(String::from_utf8_lossy(element.name).into_owned().into());
                return Err(self.refuse("is given twice"));
            }
            if names.len() >= 16 {
                seen.insert(element.name);
            }
            names.push(element.name);
        }
        let Some(Shape { fields, .. }) = expected.fields.filter(|_| self.mode == Mode::Document) else {
            return Ok(());
        };
        let missing = fields.iter().find(|(name, field)| {
            let at_root = self.path.is_empty() && &***name == "_id";
            field.required && !at_root && !names.contains(&name.as_bytes())
        });
        if let Some((name, _)) = missing {
            self.path.push(name.to_string().into());
            return Err(self.refuse("is required"));
        }
        Ok(())
    }
}

fn with_id_first(id: &Id, document: &[u8]) -> Result<Vec<u8>> {
    let mut whole = write::to_raw(&Document::from_iter([("_id".to_owned(), Bson::from(id))]))?.into_bytes();
    whole.pop();
    whole.extend_from_slice(&document[4..]);
    let length = whole.len() as u32;
    whole[..4].copy_from_slice(&length.to_le_bytes());
    Ok(whole)
}
