//! Documents as JSON Schema.

use larder::document::{Field, FieldType, IdType, Schema};
use serde_json::{Map, Value, json};

use super::demands::Demands;
use crate::routes::View;

/// The schemas that every description has.
pub(super) fn common() -> Map<String, Value> {
    let wrapped = |key: &str, inner: Value| json!({ "type": "object", "properties": { key: inner }, "required": [key], "additionalProperties": false });
    let object_id = json!({ "type": "string", "pattern": "^[0-9a-fA-F]{24}$" });
    let instant = json!({ "type": "string", "format": "date-time" });
    let decimal = json!({ "type": "string", "examples": ["12.50"] });
    // Before 1970 and after 9999 a date is written as its milliseconds.
    let milliseconds = wrapped("$numberLong", json!({ "type": "string", "pattern": "^-?[0-9]+$" }));
    let no_number = wrapped("$numberDouble", json!({ "enum": ["NaN", "Infinity", "-Infinity"] }));
    let schemas = json!({
        "ObjectId": { "description": "Written as the object; the text alone is read, too.", "anyOf": [wrapped("$oid", object_id.clone()), object_id] },
        "Date": { "description": "Written as the object; the text alone is read, too.", "anyOf": [wrapped("$date", instant.clone()), wrapped("$date", milliseconds), instant] },
        "Double": { "description": "What is no number is written as the object.", "anyOf": [{ "type": "number" }, no_number] },
        "Decimal": { "description": "An exact decimal. Written as the object; text or a number is read, too.", "anyOf": [wrapped("$numberDecimal", decimal.clone()), decimal, { "type": "number" }] },
        "Canonical": { "description": "In canonical Extended JSON numbers and dates are objects that name their type.", "type": "object" },
        "Problem": {
            "description": "RFC 9457.",
            "type": "object",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": { "type": "string" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string" },
                "field": { "type": "string", "description": "The place in the input that is at fault." },
                "line": { "type": "integer" },
                "column": { "type": "integer" },
            },
        },
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    }
}

/// Where a document stands that a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// In a body: what is required has to be there.
    Request,
    /// In an answer: it may be asked for with some of its fields only.
    Answer,
}

/// One collection's documents, as far as a role sees them, with what the database itself demands of them.
pub(super) fn of_collection(schema: &Schema, view: &View, side: Side, demands: Demands<'_>) -> Value {
    let mut root = Node::default();
    for field in schema.fields().iter().filter(|field| field.path() != "_id" && view.sees_some(field.path()))
    {
        root.insert(field.path(), field);
    }
    let mut value = root.into_object(&Scope { side, view }, demands);
    value["properties"]["_id"] = of_id(schema.id_type());
    value
}

pub(super) fn of_id(id_type: IdType) -> Value {
    match id_type {
        IdType::ObjectId => json!({ "$ref": "#/components/schemas/ObjectId" }),
        IdType::String => json!({ "type": "string", "minLength": 1, "maxLength": 256 }),
        IdType::Int => json!({ "type": "integer", "format": "int64" }),
    }
}

pub(super) fn of_type(field_type: &FieldType) -> Value {
    match field_type {
        FieldType::String => json!({ "type": "string" }),
        FieldType::Int => json!({ "type": "integer", "format": "int64" }),
        FieldType::Double => json!({ "$ref": "#/components/schemas/Double" }),
        FieldType::Bool => json!({ "type": "boolean" }),
        FieldType::Object => json!({ "type": "object" }),
        FieldType::Decimal => json!({ "$ref": "#/components/schemas/Decimal" }),
        FieldType::Date => json!({ "$ref": "#/components/schemas/Date" }),
        FieldType::ObjectId => json!({ "$ref": "#/components/schemas/ObjectId" }),
        FieldType::Array(element) => json!({ "type": "array", "items": or_null(of_type(element)) }),
        FieldType::Any => json!(true),
    }
}

/// The same or null, which may stand wherever nothing is required.
fn or_null(mut schema: Value) -> Value {
    match schema.get("type") {
        Some(known) => schema["type"] = json!([known, "null"]),
        None if schema.is_object() => return json!({ "anyOf": [schema, { "type": "null" }] }),
        None => {}
    }
    schema
}

/// For which side, and for whom, documents are described.
struct Scope<'a> {
    side: Side,
    view: &'a View,
}

/// Dotted paths, gathered into the tree that they describe.
#[derive(Default)]
struct Node<'a> {
    field: Option<&'a Field>,
    below: Vec<(&'a str, Node<'a>)>,
}

impl<'a> Node<'a> {
    fn insert(&mut self, path: &'a str, field: &'a Field) {
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        let index = self.below.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.below.push((name, Node::default()));
            self.below.len() - 1
        });
        let child = &mut self.below[index].1;
        match rest {
            Some(rest) => child.insert(rest, field),
            None => child.field = Some(field),
        }
    }

    fn is_required(&self) -> bool {
        self.field.is_some_and(Field::is_required)
    }

    fn into_value(self, scope: &Scope<'_>, demands: Demands<'_>) -> Value {
        let takes_null = !self.is_required() && (scope.side == Side::Answer || !demands.refuse_null());
        let leaf = self.field.filter(|_| self.below.is_empty());
        let value = match self.field.map(Field::field_type) {
            Some(field_type) if leaf.is_some() => of_type(field_type),
            Some(FieldType::Array(_)) => {
                json!({ "type": "array", "items": or_null(self.into_object(scope, demands.elements())) })
            }
            _ => self.into_object(scope, demands),
        };
        let mut value = if takes_null { or_null(value) } else { value };
        if let Some(field) = leaf.filter(|field| scope.view.sees(field.path())) {
            demands.describe(&mut value);
            // What was stored before there was a validator is answered, too.
            if scope.side == Side::Request {
                demands.restrict(&mut value, field.field_type());
            }
        }
        value
    }

    fn into_object(self, scope: &Scope<'_>, demands: Demands<'_>) -> Value {
        let mut object = json!({ "type": "object" });
        let required = self.below.iter().filter(|(name, node)| node.is_required() || demands.require(name));
        let required: Vec<_> = required.map(|(name, _)| *name).collect();
        if scope.side == Side::Request && !required.is_empty() {
            object["required"] = json!(required);
        }
        if !self.below.is_empty() {
            let of_member =
                |(name, node): (&str, Self)| (name.to_owned(), node.into_value(scope, demands.member(name)));
            object["properties"] = Value::Object(self.below.into_iter().map(of_member).collect());
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_paths_become_nested_objects_and_hidden_ones_are_left_out() {
        let schema = Schema::new("products", IdType::Int)
            .field(Field::new("name", FieldType::String).required())
            .field(Field::new("maker.country", FieldType::String))
            .field(Field::new("maker.margin", FieldType::Double))
            .field(Field::new("offers", FieldType::Array(Box::new(FieldType::Object))))
            .field(Field::new("offers.price", FieldType::Decimal));
        let view = View::new(None, vec!["maker.margin".to_owned()]);
        let decimal = json!({ "$ref": "#/components/schemas/Decimal" });
        let mut expected = json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "_id": { "type": "integer", "format": "int64" },
                "name": { "type": "string" },
                "maker": { "type": ["object", "null"], "properties": { "country": { "type": ["string", "null"] } } },
                "offers": { "type": ["array", "null"], "items": {
                    "type": ["object", "null"],
                    "properties": { "price": { "anyOf": [decimal, { "type": "null" }] } },
                } },
            },
        });
        let none = Demands::default();
        assert_eq!(of_collection(&schema, &view, Side::Request, none), expected);
        // Of a document as it is sent nothing is required: it may be asked for in part.
        expected.as_object_mut().unwrap().remove("required");
        assert_eq!(of_collection(&schema, &view, Side::Answer, none), expected);
    }

    #[test]
    fn what_the_database_demands_shows_of_the_fields_that_are_seen() {
        let schema = Schema::new("products", IdType::Int)
            .field(Field::new("name", FieldType::String))
            .field(Field::new("cost", FieldType::Int))
            .field(Field::new("maker", FieldType::Object))
            .field(Field::new("maker.country", FieldType::String))
            .field(Field::new("offers", FieldType::Array(Box::new(FieldType::Object))))
            .field(Field::new("offers.stock", FieldType::Int))
            .field(Field::new("extra", FieldType::Object));
        let validator = bson::doc! {
            "bsonType": "object", "title": "not the field's", "required": ["_id", "name", "cost", "margin"],
            "properties": {
                "name": { "bsonType": "string", "description": "what it is called", "maxLength": 40 },
                "cost": { "bsonType": "int", "description": "secret", "minimum": 7 },
                "margin": { "bsonType": "int", "description": "undeclared" },
                "maker": { "bsonType": "object", "required": ["country", "cost"], "description": "with its cost", "properties": {
                    "country": { "enum": ["CH", "JP"] }, "cost": { "minimum": 3 },
                } },
                "offers": { "bsonType": ["array", "null"], "items": { "properties": { "stock": { "minimum": 0 } } } },
                "extra": { "description": "with a secret", "bsonType": "object" },
            },
        };
        let view =
            View::new(None, vec!["cost".to_owned(), "maker.cost".to_owned(), "extra.secret".to_owned()]);
        let described = |side| of_collection(&schema, &view, side, Demands::new(Some(&validator)));
        let expected = json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "_id": { "type": "integer", "format": "int64" },
                "name": { "type": "string", "description": "what it is called", "maxLength": 40 },
                "maker": { "type": "object", "required": ["country"], "properties": {
                    "country": { "type": ["string", "null"], "enum": ["CH", "JP"] },
                } },
                "offers": { "type": ["array", "null"], "items": { "type": ["object", "null"], "properties": {
                    "stock": { "type": ["integer", "null"], "format": "int64", "minimum": 0 },
                } } },
                "extra": { "type": "object" },
            },
        });
        assert_eq!(described(Side::Request), expected);
        let answer = described(Side::Answer);
        assert_eq!(
            answer["properties"]["name"],
            json!({ "type": ["string", "null"], "description": "what it is called" })
        );
        assert!(
            answer["required"].is_null() && answer["properties"]["maker"]["required"].is_null(),
            "{answer}"
        );
    }
}
