//! One pass over the JSON text that writes BSON bytes as it goes.

use std::{borrow::Cow, fmt};

use bson::{Bson, spec::ElementType};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    extended, integer, name_fault, number, operand,
    reader::{Mode, Reader},
    shape::{Expected, Shape},
};
use crate::{Error, Result, document::FieldType};

/// Where the next value goes, and what it must be. Reading it answers the BSON type that was written.
pub(super) struct Place<'a, 's, 'e> {
    pub(super) reader: &'a mut Reader<'s>,
    pub(super) expected: Expected<'e>,
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
        if !self.expected.takes(value.element_type()) {
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
        let read = operand::id_of(self.schema.id_type(), &value);
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
        let mut is_repeated = false;
        while let Some((name, value)) = map.next_entry()? {
            is_repeated |= fields.insert(name, value).is_some();
        }
        match extended::read(&fields).filter(|_| !is_repeated) {
            Some(value) => {
                let value = number::for_field(value, self.expected.field_type);
                self.scalar(&value)
            }
            None => Err(self.reader.refuse("is not a known form of Extended JSON")),
        }
    }
}
