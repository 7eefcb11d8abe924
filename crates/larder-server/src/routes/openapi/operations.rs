//! Paths and their operations.

use larder::document::{Field, MAX_IDS};
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    auth::RoleId,
    config::{Limits, Verb},
    resource::{Access, Resource},
    routes::openapi::schemas,
};

/// The name of a collection's documents among the schemas. Collections' names have no dots, so it is nobody else's.
pub(super) fn schema_name(resource: &Resource) -> String {
    format!("{}.document", resource.name)
}

/// Adds everything that a role may do with one collection.
pub(super) fn insert(paths: &mut Map<String, Value>, resource: &Resource, access: &Access, limits: &Limits) {
    let name = &resource.name;
    let mut add = |path: String, method: &str, operation: Value| {
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation;
    };
    let document = json!({ "$ref": format!("#/components/schemas/{}", schema_name(resource)) });
    let (collection_path, item_path) = (format!("/v1/{name}"), format!("/v1/{name}/{{id}}"));
    let id = json!({ "name": "id", "in": "path", "required": true, "schema": path_id(resource) });
    let fields = text_parameter("fields", "Only these fields, joined by commas.");
    let if_match = header_parameter("If-Match", "Only if the document still has this ETag; else 412.");
    let if_none_match = header_parameter("If-None-Match", "304 if the document still has this ETag.");

    if access.allows(Verb::Read) {
        let responses =
            with_errors(&[("200", answer("The document.", &document)), ("304", described("Not modified."))]);
        add(
            item_path.clone(),
            "get",
            json!({
                "operationId": format!("read.{name}"), "summary": "Read one document", "tags": [name],
                "parameters": [id, fields, if_none_match], "responses": responses,
            }),
        );
    }
    if access.allows(Verb::List) {
        let page = json!({
            "type": "object", "required": ["items", "next"],
            "properties": {
                "items": { "type": "array", "items": document },
                "next": { "type": ["string", "null"], "description": "Send it as after to continue." },
                "count": { "type": "integer", "description": "Only with Prefer: count=exact or count=estimated." },
            },
        });
        add(
            collection_path.clone(),
            "get",
            json!({
                "operationId": format!("list.{name}"), "summary": "List documents", "tags": [name],
                "parameters": list_parameters(resource, access, limits),
                "responses": with_errors(&[("200", answer("A page of documents.", &page))]),
            }),
        );
    }
    if access.allows(Verb::Create) {
        add(
            collection_path.clone(),
            "post",
            json!({
                "operationId": format!("create.{name}"), "summary": "Create a document", "tags": [name],
                "requestBody": body("application/json", &document),
                "responses": with_errors(&[("201", answer("Created; Location says where.", &document))]),
            }),
        );
        let many = json!({ "type": "array", "items": document, "maxItems": limits.max_bulk_items });
        add(
            format!("{collection_path}/bulk"),
            "post",
            json!({
                "operationId": format!("createMany.{name}"), "summary": "Create many documents", "tags": [name],
                "requestBody": { "required": true, "content": {
                    "application/json": { "schema": many }, "application/x-ndjson": { "schema": document },
                } },
                "responses": with_errors(&[("200", answer("What became of each document, in order.", &bulk_result()))]),
            }),
        );
    }
    if access.allows(Verb::Replace) {
        let responses =
            with_errors(&[("200", answer("Replaced.", &document)), ("201", answer("Created.", &document))]);
        add(
            item_path.clone(),
            "put",
            json!({
                "operationId": format!("replace.{name}"), "summary": "Put a whole document", "tags": [name],
                "parameters": [id, if_match, header_parameter("If-None-Match", "\"*\": only if there is none yet.")],
                "requestBody": body("application/json", &document), "responses": responses,
            }),
        );
    }
    if access.allows(Verb::Patch) {
        add(
            item_path.clone(),
            "patch",
            json!({
                "operationId": format!("patch.{name}"), "summary": "Change parts of a document (RFC 7396)", "tags": [name],
                "parameters": [id, if_match],
                "requestBody": body("application/merge-patch+json", &json!({ "type": "object" })),
                "responses": with_errors(&[("200", answer("The changed document.", &document))]),
            }),
        );
    }
    if access.allows(Verb::Delete) {
        add(
            item_path,
            "delete",
            json!({
                "operationId": format!("delete.{name}"), "summary": "Delete a document", "tags": [name],
                "parameters": [id, if_match], "responses": with_errors(&[("204", described("Deleted."))]),
            }),
        );
    }
    for query in resource.schema().pipelines().iter().filter(|query| access.allows_query(query.name())) {
        let parameters: Vec<_> = query
            .variables()
            .iter()
            .map(|variable| {
                json!({
                    "name": variable.name, "in": "query", "required": variable.default.is_none(),
                    "schema": as_text(&variable.field_type),
                })
            })
            .collect();
        let rows = json!({
            "type": "object", "required": ["items"],
            "properties": { "items": { "type": "array", "items": { "type": "object" } } },
        });
        add(
            format!("{collection_path}/_q/{}", query.name()),
            "get",
            json!({
                "operationId": format!("query.{name}.{}", query.name()), "summary": format!("Run the query {}", query.name()),
                "tags": [name], "parameters": parameters,
                "responses": with_errors(&[("200", answer("What the query found.", &rows))]),
            }),
        );
    }
}

/// Adds the purge, if this role may purge anything.
pub(super) fn insert_purge(paths: &mut Map<String, Value>, app: &App, role: RoleId) {
    let may = |resource: &&Resource| resource.access(role).is_some_and(|access| access.allows(Verb::Purge));
    let names: Vec<_> = app.resources.values().filter(may).map(|resource| &resource.name).collect();
    if names.is_empty() {
        return;
    }
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    let order = json!({
        "type": "object", "required": ["collection"], "additionalProperties": false,
        "properties": {
            "collection": { "enum": names },
            "keys": { "type": "array", "items": { "type": ["string", "integer"] }, "maxItems": MAX_IDS },
            "tags": texts,
            "pattern": { "type": "string", "description": "A glob for ids. Needs Redis." },
            "all": { "type": "boolean", "default": false },
            "mode": {
                "enum": ["hard", "soft"], "default": "hard",
                "description": "soft, for keys alone: readers get the stale document while it is loaded anew.",
            },
        },
    });
    let counts = json!({
        "type": "object",
        "properties": {
            "collection": { "type": "string" }, "mode": { "type": "string" }, "keys": { "type": "integer" },
            "tags": { "type": "integer" }, "matched": { "type": ["integer", "null"] }, "all": { "type": "boolean" },
        },
    });
    let done = json!({
        "description": "What was purged.",
        "headers": { "X-Larder-Token": {
            "description": "Beside Redis: sent with a read, to any node, it reads nothing older.", "schema": { "type": "string" },
        } },
        "content": { "application/json": { "schema": counts } },
    });
    let operation = json!({
        "operationId": "purge", "summary": "Make the cache forget documents", "tags": ["larder"],
        "requestBody": body("application/json", &order), "responses": with_errors(&[("200", done)]),
    });
    paths.insert("/v1/_purge".to_owned(), json!({ "post": operation }));
}

fn list_parameters(resource: &Resource, access: &Access, limits: &Limits) -> Vec<Value> {
    let seen = |field: &&Field| access.view.sees(field.path());
    let fields = resource.schema().fields();
    let sortable: Vec<_> = fields.iter().filter(|f| f.is_sortable()).filter(seen).map(Field::path).collect();
    let mut parameters = vec![
        json!({
            "name": "limit", "in": "query", "description": "Documents on the page.",
            "schema": { "type": "integer", "minimum": 1, "maximum": limits.page_max, "default": limits.page_default },
        }),
        text_parameter("after", "The next of the page before."),
        json!({
            "name": "offset", "in": "query", "description": "Skip so many; for small numbers, use after instead.",
            "schema": { "type": "integer", "minimum": 0, "maximum": limits.offset_max },
        }),
        text_parameter("fields", "Only these fields, joined by commas."),
        text_parameter(
            "sort",
            &format!("Fields joined by commas, \"-\" for descending. Of: _id, {}.", sortable.join(", ")),
        ),
        header_parameter(
            "Prefer",
            "count=exact or count=estimated adds the number of all documents that match.",
        ),
    ];
    for field in fields.iter().filter(|field| field.is_filterable()).filter(seen) {
        let description = "A value, or an operator before it: eq. ne. gt. gte. lt. lte. in.(a,b) nin.(a,b) \
                           exists.true prefix.text is.null; repeat it for several conditions.";
        parameters.push(json!({
            "name": field.path(), "in": "query", "description": description,
            "schema": { "type": "array", "items": { "type": "string" } }, "style": "form", "explode": true,
        }));
    }
    parameters
}

fn path_id(resource: &Resource) -> Value {
    match resource.schema().id_type() {
        larder::document::IdType::ObjectId => json!({ "type": "string", "pattern": "^[0-9a-fA-F]{24}$" }),
        other => schemas::of_id(other),
    }
}

/// A variable in a query string: what is an object in a document is text there.
fn as_text(field_type: &larder::document::FieldType) -> Value {
    let schema = schemas::of_type(field_type);
    if schema.get("$ref").is_some() { json!({ "type": "string" }) } else { schema }
}

fn text_parameter(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": { "type": "string" } })
}

fn header_parameter(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "header", "description": description, "schema": { "type": "string" } })
}

fn body(media_type: &str, schema: &Value) -> Value {
    json!({ "required": true, "content": { media_type: { "schema": schema } } })
}

fn answer(description: &str, schema: &Value) -> Value {
    json!({
        "description": description,
        "headers": { "ETag": { "schema": { "type": "string" } }, "Cache-Status": { "schema": { "type": "string" } } },
        "content": { "application/json": { "schema": schema } },
    })
}

fn described(description: &str) -> Value {
    json!({ "description": description })
}

fn bulk_result() -> Value {
    let item = json!({
        "type": "object",
        "properties": { "status": { "type": "integer" }, "_id": true, "problem": { "$ref": "#/components/schemas/Problem" } },
    });
    json!({
        "type": "object",
        "properties": {
            "created": { "type": "integer" }, "failed": { "type": "integer" }, "items": { "type": "array", "items": item },
        },
    })
}

fn with_errors(successes: &[(&str, Value)]) -> Value {
    let mut responses =
        Map::from_iter(successes.iter().map(|(status, answer)| ((*status).to_owned(), answer.clone())));
    for (status, name) in [("4XX", "Refused"), ("5XX", "Failed")] {
        responses.insert(status.to_owned(), json!({ "$ref": format!("#/components/responses/{name}") }));
    }
    Value::Object(responses)
}

/// The answers that all operations share.
pub(super) fn responses() -> Value {
    let problem = |description: &str| {
        json!({
            "description": description,
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        })
    };
    json!({
        "Refused": problem("The request cannot be served as it is; field names the place."),
        "Failed": problem("The server or its database could not do it; Retry-After says when to try again."),
    })
}
