//! What comes back: statuses, bodies and headers.

use serde_json::{Map, Value, json};

/// Headers that answers have, with what they say.
const HEADERS: [(&str, &str); 9] = [
    ("ETag", "The state of what was sent; for If-Match and If-None-Match."),
    ("Cache-Status", "Who answered, and why (RFC 9211)."),
    ("Age", "Seconds since the document was loaded, if the cache answered."),
    ("Link", "The next page, with rel=\"next\"."),
    ("Accept-Query", "What a QUERY of the same address may have as its body (RFC 10008)."),
    ("Location", "The address of the new document."),
    ("Preference-Applied", "The count that was asked for in Prefer."),
    ("X-Larder-Token", "Beside Redis: sent with a read, to any node, it reads this write or a later one."),
    ("Retry-After", "Seconds after which to try again."),
];

/// The headers that answers refer to.
pub(super) fn headers() -> Value {
    let describe = |(name, description): (&str, &str)| {
        let schema = if matches!(name, "Age" | "Retry-After") { "integer" } else { "string" };
        (name.to_owned(), json!({ "description": description, "schema": { "type": schema } }))
    };
    Value::Object(HEADERS.into_iter().map(describe).collect())
}

/// An answer with documents, in either form of JSON with the schema of each, and these headers.
pub(super) fn documents(description: &str, schema: &Value, canonical: &Value, headers: &[&str]) -> Value {
    let content =
        json!({ "application/json": { "schema": schema }, "application/ejson": { "schema": canonical } });
    with_headers(json!({ "description": description, "content": content }), headers)
}

/// An answer of the server itself, with these headers.
pub(super) fn report(description: &str, schema: &Value, headers: &[&str]) -> Value {
    with_headers(
        json!({ "description": description, "content": { "application/json": { "schema": schema } } }),
        headers,
    )
}

/// An answer without a body, with these headers.
pub(super) fn empty(description: &str, headers: &[&str]) -> Value {
    with_headers(json!({ "description": description }), headers)
}

/// The answers of an operation: these, and those that all operations share.
pub(super) fn with_errors(successes: &[(&str, Value)]) -> Value {
    let mut responses =
        Map::from_iter(successes.iter().map(|(status, answer)| ((*status).to_owned(), answer.clone())));
    for (status, name) in [("4XX", "Refused"), ("5XX", "Failed")] {
        responses.insert(status.to_owned(), json!({ "$ref": format!("#/components/responses/{name}") }));
    }
    Value::Object(responses)
}

/// The answers that all operations share.
pub(super) fn shared() -> Value {
    json!({
        "Refused": problem("The request cannot be served as it is; field names the place.", &["Cache-Status", "Age"]),
        "Failed": problem("The server or its database could not do it; Retry-After says when to try again.", &["Retry-After"]),
    })
}

/// An answer that is no success, with these headers.
pub(super) fn problem(description: &str, headers: &[&str]) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    let content = json!({ "application/problem+json": { "schema": schema } });
    with_headers(json!({ "description": description, "content": content }), headers)
}

fn with_headers(mut answer: Value, headers: &[&str]) -> Value {
    let refer = |name: &&str| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    if !headers.is_empty() {
        answer["headers"] = Value::Object(headers.iter().map(refer).collect());
    }
    answer
}
