//! Paths and their operations.

use larder::document::MAX_IDS;
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    auth::RoleId,
    config::{Limits, Verb},
    resource::{Access, Resource},
    routes::openapi::{
        answers::{documents, empty, report, with_errors},
        parameters::{self, as_text, header},
    },
};

/// The name of a collection's documents among the schemas. Collections' names have no dots, so it is nobody else's.
pub(super) fn schema_name(resource: &Resource) -> String {
    format!("{}.document", resource.name)
}

/// Adds everything that a role may do with one collection.
pub(super) fn insert(
    paths: &mut Map<String, Value>,
    resource: &Resource,
    access: &Access,
    limits: &Limits,
    may_bypass: bool,
) {
    let name = &resource.name;
    let mut add = |path: String, method: &str, operation: Value| {
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation;
    };
    let document = json!({ "$ref": format!("#/components/schemas/{}", schema_name(resource)) });
    let (collection_path, item_path) = (format!("/v1/{name}"), format!("/v1/{name}/{{id}}"));
    let id = parameters::id(resource);
    let may_read = access.allows(Verb::Read);
    let if_match = if_match(may_read);

    if may_read {
        let headers = ["ETag", "Cache-Status", "Age"];
        let responses = with_errors(&[
            ("200", documents("The document.", &document, &headers)),
            ("304", empty("Not modified.", &headers)),
        ]);
        let mut parameters = parameters::of_read(may_bypass);
        parameters.insert(0, id.clone());
        add(
            item_path.clone(),
            "get",
            json!({
                "operationId": format!("read.{name}"), "summary": "Read one document", "tags": [name],
                "parameters": parameters, "responses": responses,
            }),
        );
    }
    if access.allows(Verb::List) {
        let headers = ["ETag", "Cache-Status", "Link", "Preference-Applied"];
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
                "parameters": parameters::of_list(resource, access, limits),
                "responses": with_errors(&[
                    ("200", documents("A page of documents.", &page, &headers)),
                    ("304", empty("Not modified.", &headers)),
                ]),
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
                "responses": with_errors(&[("201", created(&document, may_read))]),
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
                "responses": with_errors(&[("200", report(
                    "What became of each document, in order.", &bulk_result(), &["X-Larder-Token"],
                ))]),
            }),
        );
    }
    if access.allows(Verb::Replace) {
        let responses =
            with_errors(&[changed("Replaced.", &document, may_read), ("201", created(&document, may_read))]);
        add(
            item_path.clone(),
            "put",
            json!({
                "operationId": format!("replace.{name}"), "summary": "Put a whole document", "tags": [name],
                "parameters": [id, if_match, header("If-None-Match", "\"*\": only if there is none yet.")],
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
                "responses": with_errors(&[changed("Changed.", &document, may_read)]),
            }),
        );
    }
    if access.allows(Verb::Delete) {
        add(
            item_path,
            "delete",
            json!({
                "operationId": format!("delete.{name}"), "summary": "Delete a document", "tags": [name],
                "parameters": [id, if_match], "responses": with_errors(&[("204", empty("Deleted.", &["X-Larder-Token"]))]),
            }),
        );
    }
    for query in resource.schema().pipelines().iter().filter(|query| access.allows_query(query.name())) {
        let mut parameters: Vec<_> = query
            .variables()
            .iter()
            .map(|variable| {
                json!({
                    "name": variable.name, "in": "query", "required": variable.default.is_none(),
                    "schema": as_text(&variable.field_type),
                })
            })
            .collect();
        parameters.push(header("If-None-Match", "304 if the answer still has this ETag."));
        let headers = ["ETag", "Cache-Status"];
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
                "responses": with_errors(&[
                    ("200", documents("What the query found.", &rows, &headers)),
                    ("304", empty("Not modified.", &headers)),
                ]),
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
            "pattern": { "type": "string", "description": "A glob for ids." },
            "all": { "type": "boolean", "default": false },
            "mode": {
                "enum": ["hard", "soft"], "default": "hard",
                "description": "soft: readers get the stale document while it is loaded anew.",
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
    let done = report("What was purged.", &counts, &["X-Larder-Token"]);
    let goes_on = report("The purge takes longer than a request may, and goes on.", &counts, &[]);
    let operation = json!({
        "operationId": "purge", "summary": "Make the cache forget documents", "tags": ["larder"],
        "requestBody": body("application/json", &order), "responses": with_errors(&[("200", done), ("202", goes_on)]),
    });
    paths.insert("/v1/_purge".to_owned(), json!({ "post": operation }));
}

fn if_match(may_read: bool) -> Value {
    let any = "\"*\": only if there is such a document; else 412.";
    header("If-Match", if may_read { "Only if the document still has this ETag; else 412." } else { any })
}

/// What a write leaves is shown to those who may read it.
fn created(document: &Value, may_read: bool) -> Value {
    let description = "Created; Location says where.";
    match may_read {
        true => documents(description, document, &["ETag", "Location", "X-Larder-Token"]),
        false => empty(description, &["Location", "X-Larder-Token"]),
    }
}

fn changed(description: &str, document: &Value, may_read: bool) -> (&'static str, Value) {
    match may_read {
        true => ("200", documents(description, document, &["ETag", "X-Larder-Token"])),
        false => ("204", empty(description, &["X-Larder-Token"])),
    }
}

fn body(media_type: &str, schema: &Value) -> Value {
    json!({ "required": true, "content": { media_type: { "schema": schema } } })
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
