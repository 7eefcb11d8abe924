//! `/v1/_top`: the documents that this node is asked for most.

use hyper::{StatusCode, http::request::Parts};
use serde_json::json;

use crate::{
    app::App,
    routes::{Answer, Refusal, fresh, parameters, stats},
};

/// How many documents are told unless the request says so, and at most.
const LIMIT: (usize, usize) = (20, 1_000);

/// Answers with the hottest documents of all collections, or of one.
///
/// # Errors
/// 401 or 403 for a role that is not an administrator's; 404 for a collection that does not exist; 400 for a parameter that
/// cannot be read.
pub(crate) fn json(app: &App, head: &Parts) -> Result<Answer, Refusal> {
    stats::require_admin(app, head)?;
    let asked = Asked::read(head.uri.query().unwrap_or_default())?;
    if let Some(name) = &asked.collection
        && !app.resources.contains_key(name)
    {
        return Err(Refusal::not_found("there is no such collection"));
    }
    let wanted = |name: &str| asked.collection.as_ref().is_none_or(|collection| collection == name);
    let mut hottest: Vec<_> = app
        .resources
        .values()
        .filter(|resource| wanted(&resource.name))
        .flat_map(|resource| {
            resource.collection.hot_keys(asked.limit).into_iter().map(|hot| (&resource.name, hot))
        })
        .collect();
    hottest.sort_by(|(_, a), (_, b)| b.reads_per_second.total_cmp(&a.reads_per_second));
    hottest.truncate(asked.limit);
    let span = app.telemetry.window.lock().until(&stats::sample(app));
    let keys = hottest.iter().map(|(collection, hot)| {
        json!({
            "collection": collection,
            "key": hot.key.to_string(),
            "reads_per_s": hot.reads_per_second,
            "share": hot.share,
            "hot": hot.is_hot(),
        })
    });
    let body = json!({
        "reads_per_s": span.per_second(span.hits + span.source_reads),
        "hit_rate": span.hit_rate(),
        "keys": keys.collect::<Vec<_>>(),
    });
    Ok(fresh(StatusCode::OK, "application/json", body.to_string()))
}

struct Asked {
    limit: usize,
    collection: Option<String>,
}

impl Asked {
    fn read(query: &str) -> Result<Self, Refusal> {
        let mut asked = Self { limit: LIMIT.0, collection: None };
        for (name, value) in parameters::decode(query)? {
            match name.as_str() {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LIMIT.1).contains(limit));
                    let wrong =
                        || Refusal::invalid("limit", format!("must be a number from 1 to {}", LIMIT.1));
                    asked.limit = limit.ok_or_else(wrong)?;
                }
                "collection" => asked.collection = Some(value),
                _ => {
                    return Err(Refusal::invalid(
                        name,
                        "is not a parameter here; there are limit and collection",
                    ));
                }
            }
        }
        Ok(asked)
    }
}
