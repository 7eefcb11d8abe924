//! Paths and their operations.

use larder::document::{MAX_IDS, Pipeline, Variable};
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    auth::RoleId,
    config::{Limits, Verb},
    resource::{Access, Resource},
    routes::openapi::{
        answers::{documents, empty, problem, report, with_errors},
        parameters::{self, as_text, header},
        schemas::Side,
        search,
    },
};

/// The name of a collection's documents among the schemas. Collections' names have no dots, so it is nobody else's.
pub(super) fn schema_name(resource: &Resource, side: Side) -> String {
    let what = match side {
        Side::Request => "body",
        Side::Answer => "document",
    };
    format!("{}.{what}", resource.name)
}

/// The name of a collection's filter among the schemas.
pub(super) fn filter_name(resource: &Resource) -> String {
    format!("{}.filter", resource.name)
}

/// Adds everything that a role may do with one collection.
pub(super) fn insert(
    paths: &mut Map<String, Value>,
    resource: &Resource,
    access: &Access,
    limits: &Limits,
    may_bypass: bool,
) {
    let refer = |side| json!({ "$ref": format!("#/components/schemas/{}", schema_name(resource, side)) });
    let (sent, document) = (refer(Side::Request), refer(Side::Answer));
    let offer =
        Offer { resource, access, limits, may_read: access.allows(Verb::Read), may_bypass, sent, document };
    let collection = format!("/v1/{}", resource.name);
    let (item, bulk) = (format!("{collection}/{{id}}"), format!("{collection}/bulk"));
    let search = format!("{collection}/_search");
    let mut add = |verb, path: &str, method: &str, describe: fn(&_) -> Value| {
        if access.allows(verb) {
            let operations = paths.entry(path).or_insert_with(|| json!({}));
            operations[method] = describe(&offer);
        }
    };
    add(Verb::Read, &item, "get", Offer::read);
    add(Verb::List, &collection, "get", Offer::list);
    add(Verb::List, &search, "post", Offer::search);
    add(Verb::Create, &collection, "post", Offer::create);
    add(Verb::Create, &bulk, "post", Offer::create_many);
    add(Verb::Replace, &item, "put", Offer::replace);
    add(Verb::Patch, &item, "patch", Offer::patch);
    add(Verb::Delete, &item, "delete", Offer::delete);
    for query in resource.schema().pipelines().iter().filter(|query| access.allows_query(query.name())) {
        paths.insert(format!("{collection}/_q/{}", query.name()), json!({ "get": offer.run(query) }));
    }
}

/// What one role is offered of one collection: each method describes an operation.
struct Offer<'a> {
    resource: &'a Resource,
    access: &'a Access,
    limits: &'a Limits,
    may_read: bool,
    may_bypass: bool,
    /// Refers to the schema of documents in bodies.
    sent: Value,
    /// Refers to the schema of documents in answers.
    document: Value,
}

impl Offer<'_> {
    fn name(&self) -> &str {
        &self.resource.name
    }

    fn read(&self) -> Value {
        let headers = ["ETag", "Cache-Status", "Age"];
        let mut parameters = parameters::of_read(self.may_bypass);
        parameters.insert(0, parameters::id(self.resource));
        json!({
            "operationId": format!("read.{}", self.name()), "summary": "Read one document", "tags": [self.name()],
            "parameters": parameters,
            "responses": with_errors(&[
                ("200", documents("The document.", &self.document, &canonical(), &headers)),
                ("304", empty("Not modified.", &headers)),
            ]),
        })
    }

    fn list(&self) -> Value {
        let headers = self.of_list(&["ETag", "Cache-Status", "Link", "Preference-Applied", "Accept-Query"]);
        let (page, canonical) = (page(&self.document), page(&canonical()));
        let mut parameters = parameters::of_list(self.resource, self.access, self.limits);
        parameters.extend(self.of_cached_list());
        json!({
            "operationId": format!("list.{}", self.name()), "summary": "List documents", "tags": [self.name()],
            "parameters": parameters,
            "responses": with_errors(&[
                ("200", documents("A page of documents.", &page, &canonical, &headers)),
                ("304", empty("Not modified.", &headers)),
            ]),
        })
    }

    /// The headers of an answer with a list: with an age, if lists are cached.
    fn of_list<'h>(&self, headers: &[&'h str]) -> Vec<&'h str> {
        let age = self.resource.collection.caches_lists().then_some("Age");
        headers.iter().copied().chain(age).collect()
    }

    fn of_cached_list(&self) -> Vec<Value> {
        match self.resource.collection.caches_lists() {
            true => parameters::of_cached(self.may_bypass),
            false => Vec::new(),
        }
    }

    fn search(&self) -> Value {
        let description = format!(
            "What QUERY /v1/{} answers to the same body (RFC 10008), which OpenAPI 3.1 has no words for; without 304.",
            self.name()
        );
        let headers = self.of_list(&["ETag", "Cache-Status", "Preference-Applied"]);
        let mut parameters = vec![parameters::prefer()];
        parameters.extend(self.of_cached_list());
        let (page, canonical) = (page(&self.document), page(&canonical()));
        json!({
            "operationId": format!("search.{}", self.name()), "summary": "List documents, by a filter in the body",
            "description": description, "tags": [self.name()], "parameters": parameters,
            "requestBody": body("application/json", &search::body(self.resource, self.access, self.limits)),
            "responses": with_errors(&[("200", documents("A page of documents.", &page, &canonical, &headers))]),
        })
    }

    fn create(&self) -> Value {
        json!({
            "operationId": format!("create.{}", self.name()), "summary": "Create a document", "tags": [self.name()],
            "requestBody": body("application/json", &self.sent),
            "responses": with_errors(&[("201", self.created())]),
        })
    }

    fn create_many(&self) -> Value {
        let many = json!({ "type": "array", "items": self.sent, "maxItems": self.limits.max_bulk_items });
        json!({
            "operationId": format!("createMany.{}", self.name()), "summary": "Create many documents", "tags": [self.name()],
            "requestBody": { "required": true, "content": {
                "application/json": { "schema": many }, "application/x-ndjson": { "schema": self.sent },
            } },
            "responses": with_errors(&[("200", report(
                "What became of each document, in order.", &bulk_result(), &["X-Larder-Token"],
            ))]),
        })
    }

    fn replace(&self) -> Value {
        // One of the two has to be there then, which OpenAPI cannot say of two headers.
        let only_new = match self.resource.requires_if_match {
            true => "\"*\": only if there is none yet. This or If-Match is required.",
            false => "\"*\": only if there is none yet.",
        };
        let if_none_match = header("If-None-Match", only_new);
        json!({
            "operationId": format!("replace.{}", self.name()), "summary": "Put a whole document", "tags": [self.name()],
            "parameters": [parameters::id(self.resource), self.if_match(), if_none_match],
            "requestBody": body("application/json", &self.sent),
            "responses": self.with_condition(&[self.changed("Replaced."), ("201", self.created())]),
        })
    }

    fn patch(&self) -> Value {
        json!({
            "operationId": format!("patch.{}", self.name()), "summary": "Change parts of a document (RFC 7396)",
            "tags": [self.name()], "parameters": [parameters::id(self.resource), self.required_if_match()],
            "requestBody": body("application/merge-patch+json", &json!({ "type": "object" })),
            "responses": self.with_condition(&[self.changed("Changed.")]),
        })
    }

    fn delete(&self) -> Value {
        json!({
            "operationId": format!("delete.{}", self.name()), "summary": "Delete a document", "tags": [self.name()],
            "parameters": [parameters::id(self.resource), self.required_if_match()],
            "responses": self.with_condition(&[("204", empty("Deleted.", &["X-Larder-Token"]))]),
        })
    }

    fn run(&self, query: &Pipeline) -> Value {
        let of_variable = |variable: &Variable| {
            json!({
                "name": variable.name, "in": "query", "required": variable.default.is_none(),
                "schema": as_text(&variable.field_type),
            })
        };
        let mut parameters: Vec<_> = query.variables().iter().map(of_variable).collect();
        parameters.push(header("If-None-Match", "304 if the answer still has this ETag."));
        parameters.extend(self.of_cached_list());
        let headers = self.of_list(&["ETag", "Cache-Status"]);
        let rows = json!({
            "type": "object", "required": ["items"],
            "properties": { "items": { "type": "array", "items": { "type": "object" } } },
        });
        json!({
            "operationId": format!("query.{}.{}", self.name(), query.name()),
            "summary": format!("Run the query {}", query.name()), "tags": [self.name()], "parameters": parameters,
            "responses": with_errors(&[
                ("200", documents("What the query found.", &rows, &rows, &headers)),
                ("304", empty("Not modified.", &headers)),
            ]),
        })
    }

    fn if_match(&self) -> Value {
        let any = "\"*\": only if there is such a document; else 412.";
        let tagged = "Only if the document still has this ETag; else 412.";
        header("If-Match", if self.may_read { tagged } else { any })
    }

    /// The same for a write that has no other condition to name.
    fn required_if_match(&self) -> Value {
        let mut parameter = self.if_match();
        if self.resource.requires_if_match {
            parameter["required"] = json!(true);
        }
        parameter
    }

    /// The answers of a write that may be conditional, or must.
    fn with_condition(&self, successes: &[(&str, Value)]) -> Value {
        let mut responses = with_errors(successes);
        if self.resource.requires_if_match {
            responses["428"] = problem("The write names no state that it expects: If-Match is missing.", &[]);
        }
        responses
    }

    /// What a write leaves is shown to those who may read it.
    fn created(&self) -> Value {
        let description = "Created; Location says where.";
        match self.may_read {
            true => {
                documents(description, &self.document, &canonical(), &["ETag", "Location", "X-Larder-Token"])
            }
            false => empty(description, &["Location", "X-Larder-Token"]),
        }
    }

    fn changed(&self, description: &str) -> (&'static str, Value) {
        match self.may_read {
            true => {
                ("200", documents(description, &self.document, &canonical(), &["ETag", "X-Larder-Token"]))
            }
            false => ("204", empty(description, &["X-Larder-Token"])),
        }
    }
}

/// A page of such documents.
fn page(document: &Value) -> Value {
    json!({
        "type": "object", "required": ["items", "next"],
        "properties": {
            "items": { "type": "array", "items": document },
            "next": { "type": ["string", "null"], "description": "Send it as after to continue." },
            "count": { "type": "integer", "description": "Only with Prefer: count=exact or count=estimated." },
        },
    })
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
        "type": "object", "required": ["collection", "mode", "keys", "tags", "matched", "all"],
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

fn body(media_type: &str, schema: &Value) -> Value {
    json!({ "required": true, "content": { media_type: { "schema": schema } } })
}

/// Refers to the schema of any document in canonical Extended JSON.
fn canonical() -> Value {
    json!({ "$ref": "#/components/schemas/Canonical" })
}

fn bulk_result() -> Value {
    let item = json!({
        "type": "object", "required": ["status"],
        "properties": { "status": { "type": "integer" }, "_id": true, "problem": { "$ref": "#/components/schemas/Problem" } },
    });
    json!({
        "type": "object", "required": ["created", "failed", "items"],
        "properties": {
            "created": { "type": "integer" }, "failed": { "type": "integer" }, "items": { "type": "array", "items": item },
        },
    })
}
