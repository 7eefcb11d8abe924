//! The body of a list as JSON Schema: what may be filtered by, and with which operators.

use larder::document::{Field, FieldType, IdType, QueryLimits};
use serde_json::{Map, Value, json};

use crate::{
    config::Limits,
    resource::{Access, Resource},
    routes::openapi::{operations::filter_name, parameters, schemas},
};

/// What a field of each type is compared with: the schemas that filters refer to.
pub(super) fn conditions(limits: &QueryLimits) -> Map<String, Value> {
    let types = [
        FieldType::String,
        FieldType::Int,
        FieldType::Double,
        FieldType::Decimal,
        FieldType::Bool,
        FieldType::Date,
        FieldType::ObjectId,
    ];
    let named = |field_type| Some((name_of(field_type)?.to_owned(), condition(field_type, false, limits)));
    let mut conditions: Map<String, Value> = types.iter().filter_map(named).collect();
    conditions.insert(SEARCHED.to_owned(), condition(&FieldType::String, true, limits));
    let alone = json!({
        "type": "object", "properties": { "text": words() }, "required": ["text"], "additionalProperties": false,
    });
    conditions.insert(WORDS.to_owned(), alone);
    conditions
}

/// The conditions of a field that may be filtered by and searched, and of one that may only be searched.
const SEARCHED: &str = "Condition.Searched";
const WORDS: &str = "Condition.Words";

fn words() -> Value {
    json!({ "type": "string", "description": "It has each of these words, whole and in any case." })
}

/// The schema of what a field may be compared with.
fn name_for(field: &Field) -> Option<&'static str> {
    match (field.is_filterable(), field.is_searchable()) {
        (true, false) => name_of(field.field_type()),
        (true, true) => Some(SEARCHED),
        (false, true) => Some(WORDS),
        (false, false) => None,
    }
}

/// The schema's name; `None` for a type that cannot be filtered by. Collections' own schemas end with other words.
fn name_of(field_type: &FieldType) -> Option<&'static str> {
    Some(match field_type {
        FieldType::String => "Condition.String",
        FieldType::Int => "Condition.Int",
        FieldType::Double => "Condition.Double",
        FieldType::Decimal => "Condition.Decimal",
        FieldType::Bool => "Condition.Bool",
        FieldType::Date => "Condition.Date",
        FieldType::ObjectId => "Condition.ObjectId",
        FieldType::Array(element) => return name_of(element),
        FieldType::Object | FieldType::Any => return None,
    })
}

fn condition(field_type: &FieldType, is_searched: bool, limits: &QueryLimits) -> Value {
    let value = match field_type {
        // What is no number is compared with nothing.
        FieldType::Double => json!({ "type": "number" }),
        other => schemas::of_type(other),
    };
    let equal = json!({ "anyOf": [value, { "type": "null" }] });
    let list = json!({ "type": "array", "items": equal, "maxItems": limits.max_list });
    let mut operators = json!({
        "eq": equal, "ne": equal, "gt": value, "gte": value, "lt": value, "lte": value, "in": list, "nin": list,
        "exists": { "type": "boolean" },
    });
    if *field_type == FieldType::String {
        operators["prefix"] = json!({ "type": "string" });
    }
    if is_searched {
        operators["text"] = words();
    }
    json!({
        "description": "A value that it equals (null: null or absent), or operators that must all hold.",
        "anyOf": [value, { "type": "null" }, {
            "type": "object", "properties": operators, "minProperties": 1, "additionalProperties": false,
        }],
    })
}

/// The filter of one collection, as far as a role may filter by its fields.
pub(super) fn filter(resource: &Resource, access: &Access) -> Value {
    let schema = resource.schema();
    let group = |description: &str| {
        let parts = reference(&filter_name(resource));
        json!({ "type": "array", "items": parts, "minItems": 1, "description": description })
    };
    let id = match schema.id_type() {
        IdType::ObjectId => FieldType::ObjectId,
        IdType::String => FieldType::String,
        IdType::Int => FieldType::Int,
    };
    let mut properties = Map::new();
    properties.insert("or".to_owned(), group("At least one of these holds."));
    properties.insert("and".to_owned(), group("All of these hold."));
    properties.insert("_id".to_owned(), json!(name_of(&id).map(reference)));
    let seen = |field: &&Field| access.view.sees(field.path());
    for field in schema.fields().iter().filter(seen).filter(|field| field.path() != "_id") {
        let Some(condition) = name_for(field).map(reference) else { continue };
        // A field may be called as a group, which is a list.
        let either = properties.remove(field.path()).map(|group| json!({ "anyOf": [group, condition] }));
        properties.insert(field.path().to_owned(), either.unwrap_or(condition));
    }
    json!({
        "description": "Conditions that must all hold. MongoDB's names ($gte, $or) are taken as well.",
        "type": "object", "properties": properties, "additionalProperties": false,
    })
}

/// The whole body.
pub(super) fn body(resource: &Resource, access: &Access, limits: &Limits) -> Value {
    let sortable = parameters::sortable(resource, access);
    let keys: Vec<_> = sortable.iter().flat_map(|path| [(*path).to_owned(), format!("-{path}")]).collect();
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "filter": reference(&filter_name(resource)),
            "sort": { "type": "array", "items": { "enum": keys }, "description": "\"-\" for descending." },
            "limit": { "type": "integer", "minimum": 1, "maximum": limits.page_max, "default": limits.page_default },
            "offset": { "type": "integer", "minimum": 0, "maximum": limits.offset_max },
            "after": { "type": "string", "description": "The next of the page before." },
            "fields": { "type": "array", "items": { "type": "string" }, "minItems": 1 },
        },
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
