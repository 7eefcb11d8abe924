//! `GET /v1/{collection}/_q/{name}`: a named aggregation, with typed variables.

use std::collections::BTreeMap;

use bson::Bson;
use hyper::{StatusCode, http::request::Parts};
use larder::document::{Pipeline, write_json};

use crate::{
    app::App,
    routes::{Answer, Refusal, call::Call, list, parameters, target::decode},
};

/// Runs a query that is granted to this role by its name.
///
/// # Errors
/// 404 if there is no such query for this role; 400 naming a variable that is unknown, missing, given
/// twice or of another type; 413 for a larger answer than is allowed.
pub(crate) async fn run(
    app: &App,
    head: &Parts,
    collection: Option<&str>,
    name: &str,
) -> Result<Answer, Refusal> {
    let name = decode("name", name)?;
    let collection = match collection {
        Some(collection) => collection,
        None => find_collection(app, &name)?,
    };
    let call = Call::enter_for_query(app, head, collection)?;
    let query = call.resource.schema().pipelines().iter().find(|query| query.name() == name);
    // A query that is not granted is as absent as one that is not declared.
    let query = query.filter(|query| call.access.allows_query(query.name()));
    let query = query.ok_or_else(|| Refusal::not_found("there is no query of this name for this role"))?;
    let variables = read_variables(query, head.uri.query().unwrap_or_default())?;
    let within = call.resource.collection.within(&call.rows);
    let options = call.list_options()?;
    let read = within.read_aggregate(&name, &variables, &options).await?;
    let rows = &list::list_of(&read)?.items;
    let mut json = b"{\"items\":[".to_vec();
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write_json(row, call.form, &mut json)?;
        if let Some(max_bytes) = list::excess(&call, &json) {
            let detail = format!(
                "the answer is larger than {max_bytes} bytes (limits.max_answer_bytes); the query has to match, limit or \
                 project more"
            );
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail));
        }
    }
    json.extend_from_slice(b"]}");
    Ok(list::send(&call, options.mode, &read, json))
}

/// The one collection that has a query of this name.
fn find_collection<'a>(app: &'a App, name: &str) -> Result<&'a str, Refusal> {
    let mut found = app
        .resources
        .values()
        .filter(|resource| resource.schema().pipelines().iter().any(|query| query.name() == name));
    match (found.next(), found.next()) {
        (Some(resource), None) => Ok(&resource.name),
        _ => Err(Refusal::not_found(
            "use /v1/{collection}/_q/{name}: no collection, or several, have a query of this name",
        )),
    }
}

fn read_variables(query: &Pipeline, text: &str) -> Result<BTreeMap<String, Bson>, Refusal> {
    let mut values = BTreeMap::new();
    for (name, text) in parameters::decode(text)? {
        let Some(variable) = query.variables().iter().find(|variable| variable.name == name) else {
            let known: Vec<_> = query.variables().iter().map(|variable| variable.name.as_str()).collect();
            let detail = format!("is not a variable of this query; it has: {}", known.join(", "));
            return Err(Refusal::invalid(name, detail));
        };
        let value = variable.read(&text)?;
        if values.insert(name.clone(), value).is_some() {
            return Err(Refusal::invalid(name, "is given twice"));
        }
    }
    Ok(values)
}
