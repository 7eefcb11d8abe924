//! The declared fields as a tree.

use std::collections::BTreeMap;

use bson::{Bson, Document, spec::ElementType};

use crate::document::{FieldType, Schema};

/// What is declared at one place and below it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub(super) field_type: Option<FieldType>,
    pub(super) required: bool,
    pub(super) fields: BTreeMap<Box<str>, Shape>,
}

impl Shape {
    pub(crate) fn of(schema: &Schema) -> Self {
        let mut root = Self::default();
        for field in schema.fields() {
            let mut node = &mut root;
            for part in field.path().split('.') {
                node = node.fields.entry(part.into()).or_default();
            }
            node.field_type = Some(field.field_type().clone());
            node.required = field.is_required();
        }
        root
    }

    pub(super) fn expected(&self) -> Expected<'_> {
        let fields = (!self.fields.is_empty()).then_some(self);
        match &self.field_type {
            Some(field_type) => Expected { field_type, fields },
            None if fields.is_some() => Expected { field_type: &FieldType::Object, fields },
            None => Expected::ANYTHING,
        }
    }
}

/// What may stand at a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) field_type: &'a FieldType,
    /// The fields of the object, or of the objects in the array; `None` leaves them free.
    pub(super) fields: Option<&'a Shape>,
}

impl<'a> Expected<'a> {
    pub(super) const ANYTHING: Self = Self { field_type: &FieldType::Any, fields: None };

    /// What an element of an array here must be.
    pub(super) fn element(self) -> Self {
        match self.field_type {
            FieldType::Array(element) => Self { field_type: element, fields: self.fields },
            _ => Self::ANYTHING,
        }
    }

    /// What the field `name` of an object here must be; `None` if it is not declared.
    pub(super) fn field(self, name: &str) -> Option<&'a Shape> {
        self.fields.and_then(|shape| shape.fields.get(name))
    }

    pub(super) fn takes_object(self) -> bool {
        matches!(self.field_type, FieldType::Object | FieldType::Any)
    }

    pub(super) fn takes_array(self) -> bool {
        matches!(self.field_type, FieldType::Array(_) | FieldType::Any)
    }

    pub(super) fn takes(self, kind: ElementType) -> bool {
        self.field_type.takes(kind)
    }
}

impl FieldType {
    /// Whether a typed value of this kind may stand here as it is. Null may stand anywhere.
    pub(crate) fn takes(&self, kind: ElementType) -> bool {
        matches!(
            (self, kind),
            (_, ElementType::Null)
                | (FieldType::Any, _)
                | (FieldType::String, ElementType::String)
                | (FieldType::Int, ElementType::Int32 | ElementType::Int64)
                | (FieldType::Double, ElementType::Double | ElementType::Int32 | ElementType::Int64)
                | (FieldType::Decimal, ElementType::Decimal128)
                | (FieldType::Bool, ElementType::Boolean)
                | (FieldType::Date, ElementType::DateTime)
                | (FieldType::ObjectId, ElementType::ObjectId)
                | (FieldType::Object, ElementType::EmbeddedDocument)
                | (FieldType::Array(_), ElementType::Array)
        )
    }

    /// The words for this type in an error.
    pub(crate) fn demand(&self) -> &'static str {
        match self {
            FieldType::String => "must be a string",
            FieldType::Int => "must be an integer",
            FieldType::Double => "must be a number",
            FieldType::Decimal => "must be a decimal number, best written as a string",
            FieldType::Bool => "must be true or false",
            FieldType::Date => "must be a date such as \"2025-01-02T03:04:05Z\"",
            FieldType::ObjectId => "must be an ObjectId of 24 hexadecimal digits",
            FieldType::Object => "must be an object",
            FieldType::Array(_) => "must be an array",
            FieldType::Any => "is not a value that can be stored",
        }
    }
}

impl Shape {
    /// The path of a required field that is missing, or null, in an object that is there.
    pub(crate) fn missing_in(&self, document: &Document) -> Option<String> {
        self.fields.iter().find_map(|(name, field)| match document.get(&**name) {
            None | Some(Bson::Null) => field.required.then(|| name.to_string()),
            Some(value) => field.missing_below(value).map(|path| format!("{name}.{path}")),
        })
    }

    fn missing_below(&self, value: &Bson) -> Option<String> {
        match value {
            Bson::Document(document) => self.missing_in(document),
            Bson::Array(array) => array.iter().find_map(|element| self.missing_below(element)),
            _ => None,
        }
    }

    /// Whether a merge patch by itself takes a required field away from the object that it goes into.
    #[cfg(feature = "mongo")]
    pub(crate) fn is_missed_by(&self, changes: &Document) -> bool {
        changes.iter().any(|(name, change)| {
            self.fields.get(&**name).is_some_and(|field| match change {
                Bson::Null => field.required,
                Bson::Document(inner) => field.is_missed_by(inner),
                value => field.missing_below(value).is_some(),
            })
        })
    }
}
