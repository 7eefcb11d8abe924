//! Documents as JSON Schema.

use larder::document::{Field, FieldType, IdType, Schema};
use serde_json::{Map, Value, json};

use crate::routes::View;

/// The schemas that every description has.
pub(super) fn common() -> Map<String, Value> {
    let wrapped = |key: &str, inner: Value| json!({ "type": "object", "properties": { key: inner }, "required": [key], "additionalProperties": false });
    let object_id = json!({ "type": "string", "pattern": "^[0-9a-fA-F]{24}$" });
    let instant = json!({ "type": "string", "format": "date-time" });
    let decimal = json!({ "type": "string", "examples": ["12.50"] });
    let schemas = json!({
        "ObjectId": { "description": "Written as the object; the text alone is read, too.", "anyOf": [wrapped("$oid", object_id.clone()), object_id] },
        "Date": { "description": "Written as the object; the text alone is read, too.", "anyOf": [wrapped("$date", instant.clone()), instant] },
        "Decimal": { "description": "An exact decimal. Written as the object; text or a number is read, too.", "anyOf": [wrapped("$numberDecimal", decimal.clone()), decimal, { "type": "number" }] },
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

/// One collection's documents, as far as a role sees them.
pub(super) fn of_collection(schema: &Schema, view: &View) -> Value {
    let mut root = Node::default();
    for field in schema.fields().iter().filter(|field| field.path() != "_id" && view.sees_some(field.path()))
    {
        root.insert(field.path(), field);
    }
    let mut value = root.into_value();
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
        FieldType::Double => json!({ "type": "number" }),
        FieldType::Bool => json!({ "type": "boolean" }),
        FieldType::Object => json!({ "type": "object" }),
        FieldType::Decimal => json!({ "$ref": "#/components/schemas/Decimal" }),
        FieldType::Date => json!({ "$ref": "#/components/schemas/Date" }),
        FieldType::ObjectId => json!({ "$ref": "#/components/schemas/ObjectId" }),
        FieldType::Array(element) => json!({ "type": "array", "items": of_type(element) }),
        FieldType::Any => json!(true),
    }
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

    fn into_value(self) -> Value {
        if self.below.is_empty() {
            return self
                .field
                .map_or_else(|| json!({ "type": "object" }), |field| of_type(field.field_type()));
        }
        let is_list = matches!(self.field.map(Field::field_type), Some(FieldType::Array(_)));
        let required: Vec<_> =
            self.below.iter().filter(|(_, node)| node.is_required()).map(|(name, _)| *name).collect();
        let mut object = json!({ "type": "object" });
        if !required.is_empty() {
            object["required"] = json!(required);
        }
        let properties = self.below.into_iter().map(|(name, node)| (name.to_owned(), node.into_value()));
        object["properties"] = Value::Object(properties.collect());
        if is_list { json!({ "type": "array", "items": object }) } else { object }
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
        let expected = json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "_id": { "type": "integer", "format": "int64" },
                "name": { "type": "string" },
                "maker": { "type": "object", "properties": { "country": { "type": "string" } } },
                "offers": { "type": "array", "items": {
                    "type": "object",
                    "properties": { "price": { "$ref": "#/components/schemas/Decimal" } },
                } },
            },
        });
        assert_eq!(of_collection(&schema, &view), expected);
    }
}
