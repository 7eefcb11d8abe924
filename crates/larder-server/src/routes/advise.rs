//! `/v1/_advise`: what other cache settings would change, by what this node has counted.

use hyper::{StatusCode, http::request::Parts};
use larder::cache::{Advice, LEAST_READS};
use serde_json::{Value, json};

use crate::{
    app::App,
    routes::{Answer, Refusal, fresh, stats::require_admin},
};

/// Answers with the advice for each collection, from all that was counted since the start.
///
/// # Errors
/// 401 or 403 for a role that is not an administrator's.
pub(crate) fn json(app: &App, head: &Parts) -> Result<Answer, Refusal> {
    require_admin(app, head)?;
    let collections = app.resources.values().map(|resource| {
        let stats = resource.collection.stats();
        json!({
            "name": resource.name,
            "reads": stats.cache_reads(),
            "hit_rate": (stats.cache_reads() > 0).then(|| stats.hit_rate()),
            "enough_reads": stats.cache_reads() >= LEAST_READS,
            "compared": stats.reloads_compared,
            "unchanged": stats.reloads_unchanged,
            "advice": resource.collection.advise().iter().map(told).collect::<Vec<_>>(),
        })
    });
    let body = json!({
        "uptime_ms": app.telemetry.uptime().as_millis() as u64,
        "least_reads": LEAST_READS,
        "collections": collections.collect::<Vec<_>>(),
    });
    Ok(fresh(StatusCode::OK, "application/json", body.to_string()))
}

fn told(advice: &Advice) -> Value {
    json!({
        "setting": advice.setting.name(),
        "now": advice.now,
        "better": advice.better,
        "because": advice.because,
    })
}
