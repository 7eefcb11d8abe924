//! `/openapi.json`: the data API as OpenAPI 3.1, made from the declared collections. Each role is shown what it may do
//! and the fields that it sees, and no more.

mod answers;
mod demands;
mod operations;
mod parameters;
mod schemas;
mod search;

use hyper::{StatusCode, http::request::Parts};
use serde_json::{Map, Value, json};

use self::{demands::Demands, schemas::Side};
use crate::{
    app::App,
    config::Verb,
    routes::{Answer, Refusal, fresh},
};

/// Answers with the description for this role.
///
/// # Errors
/// As for any request: 401 for a key that is not known, or a token that does not let in.
pub(crate) fn document(app: &App, head: &Parts) -> Result<Answer, Refusal> {
    let role = app.gate.identify(&head.headers)?.role;
    let (mut paths, mut components) = (Map::new(), schemas::common());
    components.append(&mut search::conditions(&app.query_limits));
    for resource in app.resources.values() {
        let Some(access) = resource.access(role) else { continue };
        let validator = resource.validator();
        for side in [Side::Request, Side::Answer] {
            let demands = Demands::new(validator.as_deref());
            // What rows say of a document need not be sent.
            let declared = match (side, &access.rows) {
                (Side::Request, Some(rows)) => rows.reading(),
                _ => resource.schema(),
            };
            let mut schema = schemas::of_collection(declared, &access.view, side, demands);
            if access.rows.is_some() {
                schema["description"] =
                    "One of the documents that the sender may touch; others are as good as absent.".into();
            }
            components.insert(operations::schema_name(resource, side), schema);
        }
        if access.allows(Verb::List) {
            components.insert(operations::filter_name(resource), search::filter(resource, access));
        }
        operations::insert(&mut paths, resource, access, &app.limits, app.gate.may_bypass(role));
    }
    operations::insert_purge(&mut paths, app, role);
    let mut description = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Larder data API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Documents by id and by typed filters, from a cache in front of the database.",
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": { "schemas": components, "responses": answers::shared(), "headers": answers::headers() },
    });
    if !app.gate.is_open() {
        let mut bearer = json!({ "type": "http", "scheme": "bearer" });
        if app.gate.tokens().is_some() {
            bearer["bearerFormat"] = "JWT".into();
            bearer["description"] = "A JSON Web Token of the declared issuer, or a key.".into();
        }
        description["components"]["securitySchemes"] = json!({
            "bearer": bearer,
            "key": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
        });
        description["security"] = json!([{ "bearer": [] }, { "key": [] }]);
    }
    Ok(fresh(StatusCode::OK, "application/json", Value::to_string(&description)))
}
