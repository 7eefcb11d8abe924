//! What a request may carry: in its path, its query string and its headers.

use larder::document::{Field, FieldType, IdType};
use serde_json::{Value, json};

use crate::{
    config::Limits,
    resource::{Access, Resource},
    routes::openapi::schemas,
};

/// How a field's condition is written.
const CONDITION: &str = "An operator and a value: eq. ne. gt. gte. lt. lte. in.(a,b) nin.(a,b) exists.true prefix.text \
                         is.null not.null; repeat it for several conditions.";

/// How a search is written.
const WORDS: &str =
    "text.red shoes: has each of these words, whole and in any case; repeat it for several conditions.";

/// The parameters of a read of one document, but for its id.
pub(super) fn of_read(may_bypass: bool) -> Vec<Value> {
    let mut parameters = vec![fields(), header("If-None-Match", "304 if the document still has this ETag.")];
    parameters.extend(of_cached(may_bypass));
    parameters
}

/// How the cache is to be treated, where there is one.
pub(super) fn of_cached(may_bypass: bool) -> Vec<Value> {
    let token = "What an earlier write answered with: read that write, or a later one.";
    let mut parameters = vec![header("X-Larder-Token", token)];
    if may_bypass {
        parameters.push(json!({
            "name": "X-Larder-Cache", "in": "header", "schema": { "enum": ["bypass"] },
            "description": "bypass: read the database and leave the cache aside. Cache-Control: no-cache refreshes the cache.",
        }));
    }
    parameters
}

/// The parameters of a list: page, order, fields, and a filter for each field that may be filtered by.
pub(super) fn of_list(resource: &Resource, access: &Access, limits: &Limits) -> Vec<Value> {
    let seen = |field: &&Field| access.view.sees(field.path());
    let fields_of = resource.schema().fields();
    let sortable = sortable(resource, access);
    let mut parameters = vec![
        json!({
            "name": "limit", "in": "query", "description": "Documents on the page.",
            "schema": { "type": "integer", "minimum": 1, "maximum": limits.page_max, "default": limits.page_default },
        }),
        text("after", "The next of the page before."),
        json!({
            "name": "offset", "in": "query", "description": "Skip so many; for small numbers, use after instead.",
            "schema": { "type": "integer", "minimum": 0, "maximum": limits.offset_max },
        }),
        fields(),
        text("sort", &format!("Fields joined by commas, \"-\" for descending. Of: {}.", sortable.join(", "))),
        prefer(),
        header("If-None-Match", "304 if the page still has this ETag."),
        repeated(
            "or",
            "At least one of these holds: (field.operator.value,...), with and(...) and or(...) inside.",
        ),
        repeated("and", "All of these hold: (field.operator.value,...), with and(...) and or(...) inside."),
        repeated("_id", CONDITION),
    ];
    let filters = fields_of.iter().filter(seen).filter_map(condition_of);
    // A field that is called as a setting can only be named in a group.
    let known = |parameter: &Value| parameters.iter().any(|other| other["name"] == parameter["name"]);
    let filters: Vec<Value> = filters.filter(|parameter| !known(parameter)).collect();
    parameters.extend(filters);
    parameters
}

/// The parameter of a field that may be filtered by or searched.
fn condition_of(field: &Field) -> Option<Value> {
    let conditions = [(field.is_filterable(), CONDITION), (field.is_searchable(), WORDS)];
    let written: Vec<&str> = conditions.iter().filter(|(is_so, _)| *is_so).map(|(_, text)| *text).collect();
    (!written.is_empty()).then(|| repeated(field.path(), &written.join(" ")))
}

/// What a role may sort by.
pub(super) fn sortable<'a>(resource: &'a Resource, access: &Access) -> Vec<&'a str> {
    let fields = resource.schema().fields().iter();
    let seen = fields.filter(|field| field.is_sortable() && access.view.sees(field.path()));
    ["_id"].into_iter().chain(seen.map(Field::path)).collect()
}

/// The id in the path.
pub(super) fn id(resource: &Resource) -> Value {
    let schema = match resource.schema().id_type() {
        IdType::ObjectId => json!({ "type": "string", "pattern": "^[0-9a-fA-F]{24}$" }),
        other => schemas::of_id(other),
    };
    json!({ "name": "id", "in": "path", "required": true, "schema": schema })
}

/// A variable in a query string: what is an object in a document is text there.
pub(super) fn as_text(field_type: &FieldType) -> Value {
    if *field_type == FieldType::Double {
        return json!({ "type": "number" });
    }
    let schema = schemas::of_type(field_type);
    if schema.get("$ref").is_some() { json!({ "type": "string" }) } else { schema }
}

/// A header of a request.
pub(super) fn header(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "header", "description": description, "schema": { "type": "string" } })
}

/// How a list is counted.
pub(super) fn prefer() -> Value {
    header("Prefer", "count=exact or count=estimated adds the number of all documents that match.")
}

fn fields() -> Value {
    text("fields", "Only these fields, joined by commas.")
}

fn text(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": { "type": "string" } })
}

fn repeated(name: &str, description: &str) -> Value {
    json!({
        "name": name, "in": "query", "description": description,
        "schema": { "type": "array", "items": { "type": "string" } }, "style": "form", "explode": true,
    })
}
