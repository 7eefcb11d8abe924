//! The check of a typed document against the declared fields, the same for a tree and for BSON that is read in place.

use std::{collections::BTreeSet, str};

use bson::{Bson, Document, spec::ElementType};

use super::{MAX_DEPTH, excerpt, name_fault, shape::Expected};
use crate::{
    Error, Result,
    document::{
        FieldType, Schema,
        raw::{Elements, Malformed, Value},
    },
};

/// Checks a document that is a tree.
pub(super) fn tree(schema: &Schema, document: &Document) -> Result<()> {
    root(schema, fields_of(document))
}

/// Checks a document where it lies: names, kinds and depth, not what is in a text.
pub(super) fn raw(schema: &Schema, document: &[u8]) -> Result<()> {
    root(schema, elements_of(Elements::of(document)))
}

fn root<'a, N: Node<'a>>(schema: &Schema, fields: impl Iterator<Item = Named<'a, N>>) -> Result<()> {
    let expected = Expected { field_type: &FieldType::Object, fields: Some(schema.shape()) };
    Checker { strict: schema.is_strict(), path: Vec::new() }.object(fields, expected)
}

/// A value in one of the two forms.
trait Node<'a>: Copy + 'a {
    fn kind(self) -> ElementType;

    /// What is in an object; nothing in other values.
    fn object(self) -> impl Iterator<Item = Named<'a, Self>>;

    /// What is in an array, under names without meaning; nothing in other values.
    fn array(self) -> impl Iterator<Item = Named<'a, Self>>;
}

type Named<'a, N> = Result<(&'a str, N), Malformed>;

impl<'a> Node<'a> for &'a Bson {
    fn kind(self) -> ElementType {
        self.element_type()
    }

    fn object(self) -> impl Iterator<Item = Named<'a, Self>> {
        self.as_document().into_iter().flat_map(fields_of)
    }

    fn array(self) -> impl Iterator<Item = Named<'a, Self>> {
        self.as_array().into_iter().flatten().map(|value| Ok(("", value)))
    }
}

fn fields_of(document: &Document) -> impl Iterator<Item = Named<'_, &Bson>> {
    document.iter().map(|(name, value)| Ok((name.as_str(), value)))
}

impl<'a> Node<'a> for Value<'a> {
    fn kind(self) -> ElementType {
        self.kind
    }

    fn object(self) -> impl Iterator<Item = Named<'a, Self>> {
        self.is_document().then(|| elements_of(self.elements())).into_iter().flatten()
    }

    fn array(self) -> impl Iterator<Item = Named<'a, Self>> {
        self.is_array().then(|| elements_of(self.elements())).into_iter().flatten()
    }
}

fn elements_of(elements: Result<Elements<'_>, Malformed>) -> impl Iterator<Item = Named<'_, Value<'_>>> {
    let (elements, malformed) = match elements {
        Ok(elements) => (Some(elements), None),
        Err(malformed) => (None, Some(Err(malformed))),
    };
    let named = elements.into_iter().flatten().map(|element| {
        let element = element?;
        Ok((str::from_utf8(element.name).map_err(|_| Malformed)?, element.value))
    });
    named.chain(malformed)
}

struct Checker<'a> {
    strict: bool,
    path: Vec<&'a str>,
}

impl<'a> Checker<'a> {
    fn fault(&self, message: &'static str) -> Error {
        Error::invalid(excerpt(&self.path.join(".")), message)
    }

    fn object<N: Node<'a>>(
        &mut self,
        fields: impl Iterator<Item = Named<'a, N>>,
        expected: Expected<'_>,
    ) -> Result<()> {
        if self.path.len() > MAX_DEPTH as usize {
            return Err(self.fault("is nested too deeply"));
        }
        let declared = expected.fields.into_iter().flat_map(|shape| &shape.fields);
        let mut missing: BTreeSet<&str> =
            declared.filter(|(_, field)| field.required).map(|(name, _)| &**name).collect();
        for named in fields {
            let (name, value) = named.map_err(Malformed::refused)?;
            self.path.push(name);
            if let Some(fault) = name_fault(name) {
                return Err(self.fault(fault));
            }
            // The id is checked against the kind of the collection's ids by those who need it.
            if name != "_id" || self.path.len() > 1 {
                match expected.field(name) {
                    Some(field) if field.required && value.kind() == ElementType::Null => {
                        return Err(self.fault("is required and cannot be null"));
                    }
                    Some(field) => self.value(value, field.expected())?,
                    None if expected.fields.is_some() && self.strict => {
                        return Err(self.fault("is not a declared field"));
                    }
                    None => self.value(value, Expected::ANYTHING)?,
                }
            }
            missing.remove(name);
            self.path.pop();
        }
        match missing.first() {
            Some(name) => {
                let path = self.path.iter().chain([name]).copied().collect::<Vec<_>>().join(".");
                Err(Error::invalid(path, "is required"))
            }
            None => Ok(()),
        }
    }

    fn value<N: Node<'a>>(&mut self, value: N, expected: Expected<'_>) -> Result<()> {
        if !expected.takes(value.kind()) {
            return Err(self.fault(expected.field_type.demand()));
        }
        match value.kind() {
            ElementType::EmbeddedDocument => self.object(value.object(), expected),
            ElementType::Array => {
                self.path.push("[]");
                if self.path.len() > MAX_DEPTH as usize {
                    return Err(self.fault("is nested too deeply"));
                }
                for element in value.array() {
                    let (_, element) = element.map_err(Malformed::refused)?;
                    self.value(element, expected.element())?;
                }
                self.path.pop();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
