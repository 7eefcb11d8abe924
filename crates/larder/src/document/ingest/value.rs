//! One pass over the JSON text that writes BSON bytes as it goes.

use std::{borrow::Cow, collections::HashSet, fmt};

use bson::{Bson, Document, spec::ElementType};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    MAX_DEPTH, excerpt, extended, integer, name_fault, number,
    shape::{Expected, Shape},
    syntax,
};
use crate::{
    Error, Result,
    document::{FieldType, Id, MAX_DOCUMENT_BYTES, Schema, order::with_raw, raw::Elements, write},
};

/// What the JSON is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Document,
    Patch,
}

/// The state of one reading.
pub(super) struct Reader<'s> {
    schema: &'s Schema,
    mode: Mode,
    out: Vec<u8>,
    id: Option<Id>,
    path: Vec<Cow<'s, str>>,
    depth: u32,
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
            Ok(_) => return Err(Error::new(crate::ErrorKind::Invalid, "the document must be an object")),
            Err(error) => return Err(self.error.unwrap_or_else(|| syntax(&error))),
        }
        if let Some(id) = &self.id {
            self.out = with_id_first(id, &self.out)?;
        }
        write::check_size(self.out.len())?;
        Ok(self.out)
    }

    fn fail<E: serde::de::Error>(&mut self, error: Error) -> E {
        let message = error.message().to_owned();
        self.error.get_or_insert(error);
        E::custom(message)
    }

    fn refuse<E: serde::de::Error>(&mut self, message: &'static str) -> E {
        let error = match self.path.is_empty() {
            true => Error::new(crate::ErrorKind::Invalid, "the document ".to_owned() + message),
            false => Error::invalid(excerpt(&self.path.join(".")), message),
        };
        self.fail(error)
    }

    /// Appends the bytes of a value and answers its type.
    fn write(&mut self, value: &Bson) -> ElementType {
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

    fn write_text(&mut self, text: &str) {
        self.out.extend_from_slice(&(text.len() as u32 + 1).to_le_bytes());
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(0);
    }

    /// Begins an element; its type is set when its value is known.
    fn begin_element(&mut self, name: &str) -> usize {
        let start = self.out.len();
        self.out.push(0);
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(0);
        start
    }

    fn begin_level<E: serde::de::Error>(&mut self) -> Result<usize, E> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.refuse("is nested too deeply"));
        }
        self.out.extend_from_slice(&[0; 4]);
        Ok(self.out.len() - 4)
    }

    fn end_level<E: serde::de::Error>(&mut self, start: usize) -> Result<(), E> {
        self.depth -= 1;
        self.out.push(0);
        let length = self.out.len() - start;
        self.out[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
        self.check_size()
    }

    /// Small JSON can be large BSON, so the size is watched on the way.
    fn check_size<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.out.len() > MAX_DOCUMENT_BYTES {
            let error = write::check_size(self.out.len()).expect_err("the size was just found too large");
            return Err(self.fail(error));
        }
        Ok(())
    }

    /// The fields of an object are complete: none twice, none missing.
    fn finish_object<E: serde::de::Error>(&mut self, start: usize, expected: Expected<'_>) -> Result<(), E> {
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

/// Where the next value goes, and what it must be. Reading it answers the BSON type that was written.
struct Place<'a, 's, 'e> {
    reader: &'a mut Reader<'s>,
    expected: Expected<'e>,
}

impl<'de> DeserializeSeed<'de> for Place<'_, '_, '_> {
    type Value = ElementType;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ElementType, D::Error> {
        if *self.expected.field_type != FieldType::Decimal {
            return deserializer.deserialize_any(self);
        }
        // An exact decimal must not pass through a double.
        let text = <&RawValue>::deserialize(deserializer)?.get();
        match number::decimal(text) {
            Some(decimal) => Ok(self.reader.write(&decimal)),
            None => serde_json::Deserializer::from_str(text).deserialize_any(self).map_err(D::Error::custom),
        }
    }
}

impl Place<'_, '_, '_> {
    fn scalar<E: serde::de::Error>(self, value: &Bson) -> Result<ElementType, E> {
        if !self.expected.takes(value) {
            return Err(self.reader.refuse(self.expected.field_type.demand()));
        }
        Ok(self.reader.write(value))
    }

    fn object<'de, A: MapAccess<'de>>(
        self,
        first: Option<Cow<'de, str>>,
        mut map: A,
    ) -> Result<ElementType, A::Error> {
        let Self { reader, expected } = self;
        if !expected.takes_object() {
            return Err(reader.refuse(expected.field_type.demand()));
        }
        let start = reader.begin_level()?;
        let mut next = first;
        while let Some(name) = next {
            reader.field(&name, expected, &mut map)?;
            next = map.next_key()?;
        }
        reader.finish_object(start, expected)?;
        Ok(ElementType::EmbeddedDocument)
    }
}

impl Reader<'_> {
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        expected: Expected<'_>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        if self.path.is_empty() && name == "_id" {
            return self.read_id(map);
        }
        self.path.push(name.to_owned().into());
        if let Some(fault) = name_fault(name) {
            return Err(self.refuse(fault));
        }
        let declared = expected.field(name);
        if declared.is_none() && expected.fields.is_some() && self.schema.is_strict() {
            return Err(self.refuse("is not a declared field"));
        }
        let inner = declared.map_or(Expected::ANYTHING, Shape::expected);
        let start = self.begin_element(name);
        let kind = map.next_value_seed(Place { reader: self, expected: inner })?;
        if kind == ElementType::Null && declared.is_some_and(|field| field.required) {
            return Err(self.refuse("is required and cannot be null"));
        }
        self.out[start] = kind as u8;
        self.path.pop();
        Ok(())
    }

    fn read_id<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        if self.mode == Mode::Patch {
            return Err(self.fail(Error::invalid("_id", "cannot be changed")));
        }
        if self.id.is_some() {
            return Err(self.fail(Error::invalid("_id", "is given twice")));
        }
        let value: serde_json::Value = map.next_value()?;
        let id_type = self.schema.id_type();
        let read = match &value {
            serde_json::Value::String(text) => id_type.read(&Bson::String(text.clone())),
            serde_json::Value::Number(number) => number
                .as_i64()
                .ok_or_else(|| Error::invalid("_id", format!("must be of type {}", id_type.name())))
                .and_then(|number| id_type.read(&Bson::Int64(number))),
            serde_json::Value::Object(fields) => extended::read(fields)
                .ok_or_else(|| Error::invalid("_id", format!("must be of type {}", id_type.name())))
                .and_then(|value| id_type.read(&value)),
            _ => Err(Error::invalid("_id", format!("must be of type {}", id_type.name()))),
        };
        match read {
            Ok(id) => self.id = Some(id),
            Err(error) => return Err(self.fail(error)),
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Place<'_, '_, '_> {
    type Value = ElementType;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: serde::de::Error>(self, truth: bool) -> Result<ElementType, E> {
        self.scalar(&Bson::Boolean(truth))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<ElementType, E> {
        match self.expected.field_type {
            FieldType::Double => self.scalar(&Bson::Double(number as f64)),
            _ => self.scalar(&integer(number)),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<ElementType, E> {
        match (i64::try_from(number), self.expected.field_type) {
            (Ok(number), _) => self.visit_i64(number),
            (Err(_), FieldType::Double) => self.scalar(&Bson::Double(number as f64)),
            (Err(_), _) => Err(self.reader.refuse("is an integer of more than 64 bits")),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<ElementType, E> {
        self.scalar(&Bson::Double(number))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<ElementType, E> {
        Ok(ElementType::Null)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ElementType, E> {
        match self.expected.field_type {
            FieldType::String | FieldType::Any => {
                self.reader.write_text(text);
                Ok(ElementType::String)
            }
            FieldType::Date | FieldType::ObjectId | FieldType::Decimal => {
                match self.expected.field_type.read_text(text) {
                    Ok(value) => Ok(self.reader.write(&value)),
                    Err(_) => Err(self.reader.refuse(self.expected.field_type.demand())),
                }
            }
            other => Err(self.reader.refuse(other.demand())),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<ElementType, A::Error> {
        let Self { reader, expected } = self;
        if !expected.takes_array() {
            return Err(reader.refuse(expected.field_type.demand()));
        }
        let start = reader.begin_level()?;
        let mut index = 0_u32;
        loop {
            let element = reader.begin_element(itoa::Buffer::new().format(index));
            let place = Place { reader, expected: expected.element() };
            let Some(kind) = items.next_element_seed(place)? else {
                reader.out.truncate(element);
                break;
            };
            reader.out[element] = kind as u8;
            reader.check_size()?;
            index += 1;
        }
        reader.end_level(start)?;
        Ok(ElementType::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ElementType, A::Error> {
        let first: Option<Cow<'de, str>> = map.next_key()?;
        // Extended JSON has its operator first; at the root a `$` is always wrong.
        let Some(name) = first.as_ref().filter(|name| name.starts_with('$') && self.reader.depth > 0) else {
            return self.object(first, map);
        };
        let mut fields = serde_json::Map::new();
        fields.insert(name.clone().into_owned(), map.next_value()?);
        while let Some((name, value)) = map.next_entry()? {
            fields.insert(name, value);
        }
        match extended::read(&fields) {
            Some(value) => {
                let value = number::for_field(value, self.expected.field_type);
                self.scalar(&value)
            }
            None => Err(self.reader.refuse("is not a known form of Extended JSON")),
        }
    }
}
