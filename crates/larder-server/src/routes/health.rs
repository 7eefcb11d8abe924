//! `/healthz`: the process answers. `/readyz`: it can serve data, and which part cannot.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    app::App,
    jwt::Tokens,
    routes::{Answer, fresh, tokens},
};

/// Long enough for a slow database, shorter than any prober waits.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

/// The process is alive. Asks nobody.
pub(crate) fn alive() -> Answer {
    fresh(StatusCode::OK, "application/json", "{\"status\":\"ok\"}")
}

/// 200 when reads and writes can be served, else 503. Redis away is not a reason: the server then works without it. Keys of tokens
/// that were never fetched are one: nodes that have them can serve. An issuer that goes away later is none.
pub(crate) async fn ready(app: &App) -> Answer {
    let database = match timeout(PROBE_DEADLINE, app.database.ping()).await {
        Ok(Ok(())) => json!({ "up": true }),
        Ok(Err(error)) => {
            tracing::debug!(%error, "The database did not answer a probe.");
            json!({ "up": false, "reason": error.kind().name() })
        }
        Err(_) => json!({ "up": false, "reason": "timeout" }),
    };
    let redis = match &app.redis {
        None => json!({ "used": false }),
        Some(redis) if redis.is_available() => json!({ "used": true, "up": true }),
        Some(_) => json!({
            "used": true, "up": false,
            "effect": "requests are answered from this node's memory and the database",
        }),
    };
    let knows_tokens = app.gate.tokens().is_none_or(Tokens::is_ready);
    let is_ready = database["up"] == Value::Bool(true) && knows_tokens && !app.is_stopping();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "ready": is_ready,
        "stopping": app.is_stopping(),
        "database": database,
        "redis": redis,
        "tokens": tokens::json(app),
    });
    fresh(status, "application/json", body.to_string())
}
